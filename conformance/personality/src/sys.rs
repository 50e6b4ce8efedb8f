//! What the platform's headers say, as far as this library needs it.
//!
//! Written by hand so that one rustc run without dependencies builds the
//! library; compared with the libc crate, name by name and offset by offset,
//! whenever cargo compiles it (`proof` below).

pub(crate) use core::ffi::{c_char, c_int, c_long, c_short, c_uint, c_ulong, c_void};

/// `off_t` of the plain calls: 32 bits on 32-bit glibc, 64 elsewhere
/// (musl: always 64; FreeBSD: `__int64_t` in sys/_types.h).
#[cfg(all(target_os = "linux", target_env = "gnu"))]
pub(crate) type OffT = c_long;
#[cfg(not(all(target_os = "linux", target_env = "gnu")))]
pub(crate) type OffT = i64;

/// How setgroups(2) counts: in size_t on Linux, in int on FreeBSD.
#[cfg(target_os = "linux")]
pub(crate) type GroupCount = usize;
#[cfg(target_os = "freebsd")]
pub(crate) type GroupCount = c_int;

macro_rules! constants {
    ($($name:ident: $type:ty = $linux:expr, $freebsd:expr;)*) => {
        $(
            #[cfg(target_os = "linux")]
            pub(crate) const $name: $type = $linux;
            #[cfg(target_os = "freebsd")]
            pub(crate) const $name: $type = $freebsd;
        )*
        #[cfg(not(panic = "abort"))]
        mod constants_proof {
            $(const _: () = assert!(super::$name as i64 == libc::$name as i64, stringify!($name));)*
        }
    };
}

// Linux: the generic numbers, as on x86, ARM, RISC-V and s390x. FreeBSD: sys/socket.h,
// sys/fcntl.h, sys/signal.h, sys/errno.h, netinet6/in6.h, sys/resource.h.
constants! {
    AF_UNIX: c_int = 1, 1;
    SOCK_STREAM: c_int = 1, 1;
    AF_INET: c_int = 2, 2;
    AF_INET6: c_int = 10, 28;
    SOL_SOCKET: c_int = 1, 0xffff;
    SO_REUSEADDR: c_int = 2, 0x0004;
    SO_REUSEPORT: c_int = 15, 0x0200;
    SO_TYPE: c_int = 3, 0x1008;
    SO_ACCEPTCONN: c_int = 30, 0x0002;
    IPPROTO_IPV6: c_int = 41, 41;
    IPV6_V6ONLY: c_int = 26, 27;
    MSG_NOSIGNAL: c_int = 0x4000, 0x20000;
    MSG_PEEK: c_int = 2, 2;
    MSG_DONTWAIT: c_int = 0x40, 0x80;
    SHUT_RDWR: c_int = 2, 2;
    O_RDONLY: c_int = 0, 0;
    O_RDWR: c_int = 2, 2;
    O_CREAT: c_int = 0o100, 0x200;
    O_TRUNC: c_int = 0o1000, 0x400;
    O_APPEND: c_int = 0o2000, 8;
    O_NONBLOCK: c_int = 0o4000, 4;
    O_EXCL: c_int = 0o200, 0x800;
    O_CLOEXEC: c_int = 0o2000000, 0x0010_0000;
    F_DUPFD: c_int = 0, 0;
    F_GETFD: c_int = 1, 1;
    F_GETFL: c_int = 3, 3;
    F_SETFL: c_int = 4, 4;
    F_DUPFD_CLOEXEC: c_int = 1030, 17;
    F_RDLCK: c_short = 0, 1;
    F_WRLCK: c_short = 1, 3;
    F_UNLCK: c_short = 2, 2;
    LOCK_SH: c_int = 1, 1;
    LOCK_EX: c_int = 2, 2;
    LOCK_NB: c_int = 4, 4;
    LOCK_UN: c_int = 8, 8;
    SEEK_SET: c_int = 0, 0;
    SEEK_CUR: c_int = 1, 1;
    SEEK_END: c_int = 2, 2;
    FIONBIO: c_ulong = 0x5421, 0x8004_667e;
    SA_NOCLDWAIT: c_int = 2, 0x20;
    SA_ONSTACK: c_int = 0x0800_0000, 1;
    SA_RESTART: c_int = 0x1000_0000, 2;
    SA_NODEFER: c_int = 0x4000_0000, 0x10;
    SA_RESETHAND: c_int = 0x8000_0000_u32 as c_int, 4;
    SIG_BLOCK: c_int = 0, 1;
    SIG_UNBLOCK: c_int = 1, 2;
    SIG_SETMASK: c_int = 2, 3;
    SIG_DFL: usize = 0, 0;
    SIG_IGN: usize = 1, 1;
    SIG_ERR: usize = usize::MAX, usize::MAX;
    SIGINT: c_int = 2, 2;
    SIGTERM: c_int = 15, 15;
    SIGKILL: c_int = 9, 9;
    SIGPIPE: c_int = 13, 13;
    SIGCHLD: c_int = 17, 20;
    SIGUSR1: c_int = 10, 30;
    SIGUSR2: c_int = 12, 31;
    WNOHANG: c_int = 1, 1;
    WEXITED: c_int = 4, 16;
    WNOWAIT: c_int = 0x0100_0000, 8;
    AI_ADDRCONFIG: c_int = 0x20, 0x400;
    POLLIN: c_short = 1, 1;
    POLLOUT: c_short = 4, 4;
    POLLHUP: c_short = 0x10, 0x10;
    POLLERR: c_short = 8, 8;
    POLLRDHUP: c_short = 0x2000, 0x4000;
    PROT_READ: c_int = 1, 1;
    PROT_WRITE: c_int = 2, 2;
    MAP_SHARED: c_int = 1, 1;
    MAP_PRIVATE: c_int = 2, 2;
    MAP_ANON: c_int = 0x20, 0x1000;
    S_IFMT: u32 = 0o170000, 0o170000;
    S_IFREG: u32 = 0o100000, 0o100000;
    _SC_OPEN_MAX: c_int = 4, 5;
    ESRCH: c_int = 3, 3;
    EINTR: c_int = 4, 4;
    EIO: c_int = 5, 5;
    ENOMEM: c_int = 12, 12;
    CLOCK_REALTIME: c_int = 0, 0;
    CLOCK_MONOTONIC: c_int = 1, 4;
    ECHILD: c_int = 10, 10;
    EACCES: c_int = 13, 13;
    EINVAL: c_int = 22, 22;
    EMFILE: c_int = 24, 24;
    EFBIG: c_int = 27, 27;
    ENOSPC: c_int = 28, 28;
    EAGAIN: c_int = 11, 35;
    EOVERFLOW: c_int = 75, 84;
    EAFNOSUPPORT: c_int = 97, 47;
    EADDRNOTAVAIL: c_int = 99, 49;
    EADDRINUSE: c_int = 98, 48;
    EPROTOTYPE: c_int = 91, 41;
    ENOBUFS: c_int = 105, 55;
    ECONNABORTED: c_int = 103, 53;
    ECONNRESET: c_int = 104, 54;
    ENOTCONN: c_int = 107, 57;
}

/// The clocks that tell the time of day, and those that only go on: exact ones and fast ones
/// (Linux time.h; FreeBSD sys/_clock_id.h).
pub(crate) const REALTIME: &[c_int] =
    if cfg!(target_os = "freebsd") { &[0, 9, 10, 13] } else { &[0, 5] };
pub(crate) const MONOTONIC: &[c_int] =
    if cfg!(target_os = "freebsd") { &[4, 11, 12] } else { &[1, 4, 6, 7] };

// Numbers that differ within one system by architecture or C library.
/// The access mode; musl's own O_ACCMODE has the bit of O_PATH as well.
pub(crate) const O_ACCMODE: c_int = 3;
/// F_SETLK for [`Flock`]: the record lock call of this `off_t`.
#[cfg(all(target_os = "linux", any(target_pointer_width = "64", target_env = "gnu")))]
pub(crate) const F_SETLK: c_int = 6;
#[cfg(all(target_os = "linux", not(any(target_pointer_width = "64", target_env = "gnu"))))]
pub(crate) const F_SETLK: c_int = 13; // musl, 32 bits: F_SETLK64
#[cfg(target_os = "freebsd")]
pub(crate) const F_SETLK: c_int = 12;
/// F_GETLK for [`Flock`]: the number before it on each of them.
pub(crate) const F_GETLK: c_int = F_SETLK - 1;
/// F_SETLKW, the waiting one: the next number on each of them.
pub(crate) const F_SETLKW: c_int = F_SETLK + 1;
/// SO_RCVTIMEO; 32-bit Linux has a second one for a 64-bit time_t.
#[cfg(target_os = "linux")]
pub(crate) const SO_RCVTIMEO: [c_int; 2] = [20, 66];
#[cfg(target_os = "freebsd")]
pub(crate) const SO_RCVTIMEO: [c_int; 2] = [0x1006, 0x1006];
/// SO_NOSIGPIPE of FreeBSD's setsockopt(2); Linux has no such option.
#[cfg(target_os = "freebsd")]
pub(crate) const SO_NOSIGPIPE: c_int = 0x0800;
/// RLIMIT_NOFILE: asm-generic/resource.h, FreeBSD sys/resource.h.
pub(crate) const RLIMIT_NOFILE: c_int = if cfg!(target_os = "freebsd") { 8 } else { 7 };

/// A signal mask: 1024 bits in glibc and musl, 128 on FreeBSD
/// (sys/_sigset.h). Only the first 32 signals are looked at.
#[cfg(target_os = "linux")]
#[repr(C)]
#[derive(Clone, Copy)]
pub(crate) struct Sigset([SigWord; 1024 / SigWord::BITS as usize]);
#[cfg(target_os = "linux")]
type SigWord = c_ulong;
#[cfg(target_os = "freebsd")]
type SigWord = u32;
#[cfg(target_os = "freebsd")]
#[repr(C)]
#[derive(Clone, Copy)]
pub(crate) struct Sigset([SigWord; 4]);

impl Sigset {
    pub(crate) const EMPTY: Sigset = {
        #[cfg(target_os = "linux")]
        {
            Sigset([0; 1024 / SigWord::BITS as usize])
        }
        #[cfg(target_os = "freebsd")]
        {
            Sigset([0; 4])
        }
    };

    /// Signals 1 to 32 as bits, signal 1 the lowest.
    pub(crate) fn low(&self) -> u32 {
        (self.0[0] & 0xffff_ffff) as u32
    }

    pub(crate) fn set_low(&mut self, bits: u32) {
        self.0[0] = (self.0[0] & !0xffff_ffff) | SigWord::from(bits);
    }
}

/// `struct sigaction` (Linux with glibc or musl, except MIPS; glibc's bits/sigaction.h of s390;
/// FreeBSD sigaction(2) and sys/signal.h).
#[cfg(all(target_os = "linux", not(all(target_arch = "s390x", target_env = "gnu"))))]
#[repr(C)]
#[derive(Clone, Copy)]
pub(crate) struct Sigaction {
    pub(crate) handler: usize,
    pub(crate) mask: Sigset,
    pub(crate) flags: c_int,
    pub(crate) restorer: usize,
}
#[cfg(all(target_os = "linux", target_arch = "s390x", target_env = "gnu"))]
#[repr(C)]
#[derive(Clone, Copy)]
pub(crate) struct Sigaction {
    pub(crate) handler: usize,
    pub(crate) _reserved: c_int,
    pub(crate) flags: c_int,
    pub(crate) restorer: usize,
    pub(crate) mask: Sigset,
}
#[cfg(target_os = "freebsd")]
#[repr(C)]
#[derive(Clone, Copy)]
pub(crate) struct Sigaction {
    pub(crate) handler: usize,
    pub(crate) flags: c_int,
    pub(crate) mask: Sigset,
}

impl Sigaction {
    pub(crate) const DEFAULT: Sigaction = Sigaction {
        handler: SIG_DFL,
        #[cfg(all(target_arch = "s390x", target_env = "gnu"))]
        _reserved: 0,
        mask: Sigset::EMPTY,
        flags: 0,
        #[cfg(target_os = "linux")]
        restorer: 0,
    };
}

/// FreeBSD fcntl.h.
#[cfg(target_os = "freebsd")]
pub(crate) const O_EMPTY_PATH: c_int = 0x0200_0000;

/// Linux open(2), asm/fcntl.h: the architectures differ; FreeBSD fcntl.h.
pub(crate) const O_NOFOLLOW: c_int = if cfg!(target_os = "freebsd") {
    0x100
} else if cfg!(any(target_arch = "arm", target_arch = "aarch64")) {
    0x8000
} else {
    0x2_0000
};

/// `struct flock` of the plain fcntl (FreeBSD: fcntl(2)).
#[cfg(target_os = "linux")]
#[repr(C)]
pub(crate) struct Flock {
    pub(crate) kind: c_short,
    pub(crate) whence: c_short,
    pub(crate) start: OffT,
    pub(crate) len: OffT,
    pub(crate) pid: c_int,
}
#[cfg(target_os = "freebsd")]
#[repr(C)]
pub(crate) struct Flock {
    pub(crate) start: OffT,
    pub(crate) len: OffT,
    pub(crate) pid: c_int,
    pub(crate) kind: c_short,
    pub(crate) whence: c_short,
    pub(crate) sysid: c_int,
}

#[repr(C)]
#[derive(Clone, Copy)]
pub(crate) struct PollFd {
    pub(crate) fd: c_int,
    pub(crate) events: c_short,
    pub(crate) revents: c_short,
}

#[repr(C)]
#[derive(Clone, Copy)]
pub(crate) struct Timespec {
    pub(crate) sec: TimeT,
    pub(crate) nsec: c_long,
}
/// `time_t` of the calls under their plain names: `long` on Linux (the 64-bit one
/// of 32-bit glibc and musl has names of its own, `__ppoll64`, `__ppoll_time64`,
/// which are not interposed) and FreeBSD/i386; 64 bits on the rest of FreeBSD.
#[cfg(any(target_os = "linux", all(target_os = "freebsd", target_arch = "x86")))]
pub(crate) type TimeT = c_long;
#[cfg(not(any(target_os = "linux", all(target_os = "freebsd", target_arch = "x86"))))]
pub(crate) type TimeT = i64;

#[repr(C)]
pub(crate) struct Iovec {
    pub(crate) base: *mut c_void,
    pub(crate) len: usize,
}

/// `struct addrinfo`: the order of the last four is each system's own (netdb.h).
#[repr(C)]
pub(crate) struct Addrinfo {
    pub(crate) flags: c_int,
    pub(crate) family: c_int,
    pub(crate) kind: c_int,
    pub(crate) protocol: c_int,
    pub(crate) rest: [*mut c_void; 4],
}

/// Room for any `struct stat`, aligned for any field.
#[repr(C, align(16))]
pub(crate) struct StatBuffer(pub(crate) [u8; 512]);

/// Where a `struct stat` keeps what the personalities change: offset, size.
#[derive(Clone, Copy)]
pub(crate) struct StatLayout {
    pub(crate) dev: (usize, usize),
    pub(crate) ino: (usize, usize),
    pub(crate) mode: (usize, usize),
    pub(crate) size: (usize, usize),
    pub(crate) mtime: (usize, usize),
}

/// `struct stat` of the plain calls, and `struct stat64`. `None` where nobody
/// has written the layout down: there the stat personalities are void.
pub(crate) const STAT: Option<StatLayout> = stat_layout(false);
pub(crate) const STAT64: Option<StatLayout> = stat_layout(true);

#[cfg(all(target_os = "linux", target_arch = "x86_64", target_pointer_width = "64"))]
const fn stat_layout(_wide: bool) -> Option<StatLayout> {
    Some(StatLayout { dev: (0, 8), ino: (8, 8), mode: (24, 4), size: (48, 8), mtime: (88, 8) })
}
#[cfg(all(target_os = "linux", any(target_arch = "aarch64", target_arch = "riscv64")))]
const fn stat_layout(_wide: bool) -> Option<StatLayout> {
    Some(StatLayout { dev: (0, 8), ino: (8, 8), mode: (16, 4), size: (48, 8), mtime: (88, 8) })
}
#[cfg(all(target_os = "linux", target_arch = "x86", target_env = "gnu"))]
const fn stat_layout(wide: bool) -> Option<StatLayout> {
    if wide {
        // The 64-bit st_ino is the last field; the one at 12 is a 32-bit copy.
        Some(StatLayout { dev: (0, 8), ino: (88, 8), mode: (16, 4), size: (44, 8), mtime: (72, 4) })
    } else {
        Some(StatLayout { dev: (0, 8), ino: (12, 4), mode: (16, 4), size: (44, 4), mtime: (64, 4) })
    }
}
#[cfg(all(target_os = "linux", target_arch = "arm", target_env = "gnu"))]
const fn stat_layout(wide: bool) -> Option<StatLayout> {
    if wide {
        // As on x86, but numbers of 64 bits lie at multiples of 8.
        Some(StatLayout { dev: (0, 8), ino: (96, 8), mode: (16, 4), size: (48, 8), mtime: (80, 4) })
    } else {
        Some(StatLayout { dev: (0, 8), ino: (12, 4), mode: (16, 4), size: (44, 4), mtime: (64, 4) })
    }
}
#[cfg(all(target_os = "linux", target_arch = "s390x", target_env = "gnu"))]
const fn stat_layout(_wide: bool) -> Option<StatLayout> {
    Some(StatLayout { dev: (0, 8), ino: (8, 8), mode: (24, 4), size: (48, 8), mtime: (72, 8) })
}
// FreeBSD 12 and later, sys/stat.h: 64-bit st_ino, st_dev first.
#[cfg(all(target_os = "freebsd", not(target_arch = "x86")))]
const fn stat_layout(_wide: bool) -> Option<StatLayout> {
    Some(StatLayout { dev: (0, 8), ino: (8, 8), mode: (24, 2), size: (112, 8), mtime: (64, 8) })
}
#[cfg(not(any(
    all(target_os = "linux", target_arch = "x86_64", target_pointer_width = "64"),
    all(target_os = "linux", any(target_arch = "aarch64", target_arch = "riscv64")),
    all(target_os = "linux", target_arch = "x86", target_env = "gnu"),
    all(target_os = "linux", target_arch = "arm", target_env = "gnu"),
    all(target_os = "linux", target_arch = "s390x", target_env = "gnu"),
    all(target_os = "freebsd", not(target_arch = "x86")),
)))]
const fn stat_layout(_wide: bool) -> Option<StatLayout> {
    None
}

/// `struct statx` is the same on every architecture (Linux statx(2)). The
/// device is two fields, major and minor, at 136.
#[cfg(target_os = "linux")]
pub(crate) const STATX: StatLayout =
    StatLayout { dev: (136, 8), ino: (32, 8), mode: (28, 2), size: (40, 8), mtime: (112, 8) };

// dlsym is in libdl before glibc 2.34, and in libc everywhere else.
#[cfg_attr(target_os = "linux", link(name = "dl"))]
#[link(name = "c")]
unsafe extern "C" {
    pub(crate) fn dlsym(handle: *mut c_void, name: *const c_char) -> *mut c_void;
    pub(crate) fn getenv(name: *const c_char) -> *const c_char;
    pub(crate) static mut environ: *mut *mut c_char;
    pub(crate) fn abort() -> !;
    pub(crate) fn atexit(function: extern "C" fn()) -> c_int;
    pub(crate) fn fflush(stream: *mut c_void) -> c_int;
    pub(crate) fn getsockname(fd: c_int, name: *mut c_void, len: *mut c_uint) -> c_int;
    pub(crate) fn getsockopt(
        fd: c_int,
        level: c_int,
        name: c_int,
        value: *mut c_void,
        len: *mut c_uint,
    ) -> c_int;
    pub(crate) fn mmap(
        at: *mut c_void,
        len: usize,
        prot: c_int,
        flags: c_int,
        fd: c_int,
        offset: OffT,
    ) -> *mut c_void;
    pub(crate) fn shutdown(fd: c_int, how: c_int) -> c_int;
    // id_t is unsigned int on Linux and 64 bits on FreeBSD.
    #[cfg(target_os = "linux")]
    pub(crate) fn waitid(kind: c_int, id: c_uint, info: *mut c_void, options: c_int) -> c_int;
    #[cfg(target_os = "freebsd")]
    pub(crate) fn waitid(kind: c_int, id: i64, info: *mut c_void, options: c_int) -> c_int;
    #[cfg(target_os = "linux")]
    pub(crate) fn syscall(number: c_long, ...) -> c_long;
    fn getpid() -> c_int;
    pub(crate) fn getppid() -> c_int;
    #[cfg(target_os = "linux")]
    pub(crate) fn prctl(option: c_int, value: c_ulong, ...) -> c_int;
    // FreeBSD procctl(2): procctl(idtype_t, id_t, int, void *), id_t 64 bits.
    #[cfg(target_os = "freebsd")]
    pub(crate) fn procctl(kind: c_int, id: i64, command: c_int, value: *mut c_void) -> c_int;
    #[cfg_attr(target_os = "linux", link_name = "__errno_location")]
    #[cfg_attr(target_os = "freebsd", link_name = "__error")]
    fn errno_location() -> *mut c_int;
}

#[cfg(panic = "abort")]
#[panic_handler]
fn panic(_: &core::panic::PanicInfo<'_>) -> ! {
    // SAFETY: abort takes nothing and does not return.
    unsafe { abort() }
}

pub(crate) const RTLD_NEXT: *mut c_void = usize::MAX as *mut c_void;

/// This process's id.
pub(crate) fn own_id() -> c_int {
    // SAFETY: getpid(2) takes nothing.
    unsafe { getpid() }
}

pub(crate) fn errno() -> c_int {
    // SAFETY: the C library returns the address of this thread's errno.
    unsafe { *errno_location() }
}

pub(crate) fn set_errno(value: c_int) {
    // SAFETY: as above; it is this thread's own.
    unsafe { *errno_location() = value }
}

#[cfg(not(panic = "abort"))]
mod proof {
    use super::*;
    use core::mem::{offset_of, size_of};

    const _: () = assert!(size_of::<Sigset>() == size_of::<libc::sigset_t>());
    const _: () = assert!(size_of::<Sigaction>() == size_of::<libc::sigaction>());
    const _: () =
        assert!(offset_of!(Sigaction, handler) == offset_of!(libc::sigaction, sa_sigaction));
    const _: () = assert!(offset_of!(Sigaction, flags) == offset_of!(libc::sigaction, sa_flags));
    const _: () = assert!(offset_of!(Sigaction, mask) == offset_of!(libc::sigaction, sa_mask));
    const _: () = assert!(size_of::<Flock>() == size_of::<libc::flock>());
    const _: () = assert!(offset_of!(Flock, kind) == offset_of!(libc::flock, l_type));
    const _: () = assert!(offset_of!(Flock, whence) == offset_of!(libc::flock, l_whence));
    const _: () = assert!(offset_of!(Flock, start) == offset_of!(libc::flock, l_start));
    const _: () = assert!(offset_of!(Flock, len) == offset_of!(libc::flock, l_len));
    const _: () = assert!(size_of::<OffT>() == size_of::<libc::off_t>());
    #[allow(deprecated)] // libc marks musl's time_t so
    const _: () = assert!(size_of::<TimeT>() == size_of::<libc::time_t>());
    const _: () = assert!(size_of::<Addrinfo>() == size_of::<libc::addrinfo>());
    const _: () = assert!(offset_of!(Addrinfo, family) == offset_of!(libc::addrinfo, ai_family));
    const _: () = assert!(size_of::<PollFd>() == size_of::<libc::pollfd>());
    const _: () = assert!(offset_of!(PollFd, revents) == offset_of!(libc::pollfd, revents));
    const _: () = assert!(size_of::<StatBuffer>() >= size_of::<libc::stat>());
    const _: () = assert!(F_SETLK == libc::F_SETLK && F_SETLKW == libc::F_SETLKW);
    const _: () = assert!(SO_RCVTIMEO[0] == libc::SO_RCVTIMEO);
    const _: () = assert!(RLIMIT_NOFILE as i64 == libc::RLIMIT_NOFILE as i64);
    #[cfg(target_os = "freebsd")]
    const _: () = assert!(SO_NOSIGPIPE == libc::SO_NOSIGPIPE);

    macro_rules! field {
        ($at:expr, $struct:ty, $field:ident) => {
            assert!(
                $at.0 == offset_of!($struct, $field)
                    && $at.1 == {
                        const fn size<T>(_: *const T) -> usize {
                            size_of::<T>()
                        }
                        let it = core::mem::MaybeUninit::<$struct>::uninit();
                        // SAFETY: only the address of the field is taken.
                        size(unsafe { &raw const (*it.as_ptr()).$field })
                    },
                stringify!($struct $field)
            )
        };
    }
    const _: () = if let Some(s) = STAT {
        field!(s.dev, libc::stat, st_dev);
        field!(s.ino, libc::stat, st_ino);
        field!(s.mode, libc::stat, st_mode);
        field!(s.size, libc::stat, st_size);
        field!(s.mtime, libc::stat, st_mtime);
    };
    #[cfg(all(target_os = "linux", target_env = "gnu"))]
    const _: () = if let Some(s) = STAT64 {
        field!(s.dev, libc::stat64, st_dev);
        field!(s.ino, libc::stat64, st_ino);
        field!(s.mode, libc::stat64, st_mode);
        field!(s.size, libc::stat64, st_size);
        field!(s.mtime, libc::stat64, st_mtime);
    };
    #[cfg(target_os = "linux")]
    const _: () = {
        assert!(STATX.dev.0 == offset_of!(libc::statx, stx_dev_major));
        field!(STATX.ino, libc::statx, stx_ino);
        field!(STATX.mode, libc::statx, stx_mode);
        field!(STATX.size, libc::statx, stx_size);
        assert!(STATX.mtime.0 == offset_of!(libc::statx, stx_mtime));
    };
}
