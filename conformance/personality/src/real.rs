//! The functions that the program would have called: the next ones in the
//! dynamic linker's order (dlsym(3), RTLD_NEXT).

use core::ffi::CStr;
use core::sync::atomic::{AtomicPtr, Ordering::Relaxed};

use crate::sys::*;

/// A function of libc, under the first of its names that exists here.
struct Symbol {
    names: &'static [&'static CStr],
    address: AtomicPtr<c_void>,
}

impl Symbol {
    fn get(&self) -> *mut c_void {
        let known = self.address.load(Relaxed);
        if known.is_null() { self.resolve() } else { known }
    }

    fn resolve(&self) -> *mut c_void {
        for name in self.names {
            // SAFETY: the name is a C string; RTLD_NEXT needs no handle.
            let found = unsafe { dlsym(RTLD_NEXT, name.as_ptr()) };
            if !found.is_null() {
                self.address.store(found, Relaxed);
                return found;
            }
        }
        core::ptr::null_mut()
    }
}

macro_rules! real {
    ($(fn $name:ident($($arg:ident: $type:ty),* $(; $extra:ident: $last:ty)?) $(-> $result:ty)? = [$($symbol:literal),+];)*) => {
        #[allow(non_upper_case_globals)]
        mod symbols {
            use super::*;
            $(pub(super) static $name: Symbol = Symbol { names: &[$($symbol),+], address: AtomicPtr::new(core::ptr::null_mut()) };)*
        }
        /// Looks all of them up, so that none needs dlsym in a signal handler.
        pub(crate) fn resolve_all() {
            $(symbols::$name.resolve();)*
        }
        $(
            #[allow(clippy::too_many_arguments)]
            pub(crate) fn $name($($arg: $type,)* $($extra: $last)?) $(-> $result)? {
                let address = symbols::$name.get();
                if address.is_null() {
                    // Only a program that calls what its libc lacks gets here.
                    // SAFETY: abort takes nothing and does not return.
                    unsafe { abort() }
                }
                real!(@call address, ($($arg: $type),*), ($($extra: $last)?), ($($result)?))
            }
        )*
    };
    (@call $address:ident, ($($arg:ident: $type:ty),*), (), ($($result:ty)?)) => {{
        // SAFETY: the symbol is libc's function of this type; the arguments are
        // the caller's own, under its contract (see the crate's rules).
        unsafe {
            let function: unsafe extern "C" fn($($type),*) $(-> $result)? = core::mem::transmute($address);
            function($($arg),*)
        }
    }};
    (@call $address:ident, ($($arg:ident: $type:ty),*), ($extra:ident: $last:ty), ($($result:ty)?)) => {{
        // SAFETY: as above; the last argument is one of a variable list.
        unsafe {
            let function: unsafe extern "C" fn($($type,)* ...) $(-> $result)? = core::mem::transmute($address);
            function($($arg,)* $extra)
        }
    }};
}

// After a semicolon: the argument of a variable list.
real! {
    fn accept(fd: c_int, addr: *mut u8, len: *mut c_uint) -> c_int = [c"accept"];
    fn accept4(fd: c_int, addr: *mut u8, len: *mut c_uint, flags: c_int) -> c_int = [c"accept4"];
    fn alarm(seconds: c_uint) -> c_uint = [c"alarm"];
    fn dup2(from: c_int, to: c_int) -> c_int = [c"dup2"];
    fn bind(fd: c_int, addr: *const u8, len: c_uint) -> c_int = [c"bind"];
    fn clock_nanosleep(clock: c_int, flags: c_int, ask: *const Timespec, left: *mut Timespec) -> c_int = [c"clock_nanosleep"];
    fn close(fd: c_int) -> c_int = [c"close"];
    fn exit(status: c_int) -> ! = [c"exit"];
    fn _exit(status: c_int) -> ! = [c"_exit"];
    fn fcntl(fd: c_int, command: c_int; argument: usize) -> c_int = [c"fcntl64", c"fcntl"];
    fn flock(fd: c_int, operation: c_int) -> c_int = [c"flock"];
    fn fork() -> c_int = [c"fork"];
    fn fstat(fd: c_int, buffer: *mut StatBuffer) -> c_int = [c"fstat"];
    fn fstat64(fd: c_int, buffer: *mut StatBuffer) -> c_int = [c"fstat64", c"fstat"];
    fn fstatat(dir: c_int, path: *const c_char, buffer: *mut StatBuffer, flags: c_int) -> c_int = [c"fstatat"];
    fn ftruncate(fd: c_int, size: OffT) -> c_int = [c"ftruncate"];
    fn getaddrinfo(node: *const c_char, service: *const c_char, hints: *const Addrinfo, result: *mut *mut c_void) -> c_int = [c"getaddrinfo"];
    fn gettimeofday(time: *mut Timespec, zone: *mut c_void) -> c_int = [c"gettimeofday"];
    fn time(into: *mut TimeT) -> TimeT = [c"time"];
    fn getuid() -> c_uint = [c"getuid"];
    fn geteuid() -> c_uint = [c"geteuid"];
    fn getdtablesize() -> c_int = [c"getdtablesize"];
    fn getpeername(fd: c_int, addr: *mut u8, len: *mut c_uint) -> c_int = [c"getpeername"];
    fn getrlimit(resource: c_int, limit: *mut c_void) -> c_int = [c"getrlimit"];
    fn initgroups(user: *const c_char, group: c_uint) -> c_int = [c"initgroups"];
    fn ioctl(fd: c_int, request: c_ulong; argument: usize) -> c_int = [c"ioctl"];
    fn kill(pid: c_int, signal: c_int) -> c_int = [c"kill"];
    fn killpg(group: c_int, signal: c_int) -> c_int = [c"killpg"];
    fn listen(fd: c_int, backlog: c_int) -> c_int = [c"listen"];
    fn lseek(fd: c_int, offset: OffT, whence: c_int) -> OffT = [c"lseek"];
    fn lseek64(fd: c_int, offset: i64, whence: c_int) -> i64 = [c"lseek64", c"lseek"];
    fn lstat(path: *const c_char, buffer: *mut StatBuffer) -> c_int = [c"lstat"];
    fn nanosleep(ask: *const Timespec, left: *mut Timespec) -> c_int = [c"nanosleep"];
    fn open(path: *const c_char, flags: c_int; mode: c_uint) -> c_int = [c"open"];
    fn open64(path: *const c_char, flags: c_int; mode: c_uint) -> c_int = [c"open64", c"open"];
    fn openat(dir: c_int, path: *const c_char, flags: c_int; mode: c_uint) -> c_int = [c"openat"];
    fn pipe(ends: *mut c_int) -> c_int = [c"pipe"];
    fn pause() -> c_int = [c"pause"];
    fn poll(fds: *mut PollFd, count: c_ulong, timeout: c_int) -> c_int = [c"poll"];
    fn ppoll(fds: *mut PollFd, count: c_ulong, timeout: *const Timespec, mask: *const Sigset) -> c_int = [c"ppoll"];
    fn pread64(fd: c_int, buffer: *mut u8, len: usize, offset: i64) -> isize = [c"pread64", c"pread"];
    fn pselect(count: c_int, read: *mut c_void, write: *mut c_void, except: *mut c_void, timeout: *const Timespec, mask: *const Sigset) -> c_int = [c"pselect"];
    fn pthread_sigmask(how: c_int, set: *const Sigset, old: *mut Sigset) -> c_int = [c"pthread_sigmask"];
    fn pwrite64(fd: c_int, buffer: *const u8, len: usize, offset: i64) -> isize = [c"pwrite64", c"pwrite"];
    fn read(fd: c_int, buffer: *mut u8, len: usize) -> isize = [c"read"];
    fn recv(fd: c_int, buffer: *mut u8, len: usize, flags: c_int) -> isize = [c"recv"];
    fn recvfrom(fd: c_int, buffer: *mut u8, len: usize, flags: c_int, addr: *mut u8, addr_len: *mut c_uint) -> isize = [c"recvfrom"];
    fn recvmsg(fd: c_int, message: *mut c_void, flags: c_int) -> isize = [c"recvmsg"];
    fn rename(from: *const c_char, to: *const c_char) -> c_int = [c"rename"];
    fn select(count: c_int, read: *mut c_void, write: *mut c_void, except: *mut c_void, timeout: *mut c_void) -> c_int = [c"select"];
    fn send(fd: c_int, buffer: *const u8, len: usize, flags: c_int) -> isize = [c"send"];
    fn sendmsg(fd: c_int, message: *const c_void, flags: c_int) -> isize = [c"sendmsg"];
    fn sendto(fd: c_int, buffer: *const u8, len: usize, flags: c_int, addr: *const u8, addr_len: c_uint) -> isize = [c"sendto"];
    fn setegid(id: c_uint) -> c_int = [c"setegid"];
    fn seteuid(id: c_uint) -> c_int = [c"seteuid"];
    fn setgid(id: c_uint) -> c_int = [c"setgid"];
    fn setgroups(count: GroupCount, list: *const c_uint) -> c_int = [c"setgroups"];
    fn setitimer(which: c_int, new: *const c_void, old: *mut c_void) -> c_int = [c"setitimer"];
    fn setpgid(pid: c_int, group: c_int) -> c_int = [c"setpgid"];
    fn setregid(real: c_uint, effective: c_uint) -> c_int = [c"setregid"];
    fn setresgid(real: c_uint, effective: c_uint, saved: c_uint) -> c_int = [c"setresgid"];
    fn setresuid(real: c_uint, effective: c_uint, saved: c_uint) -> c_int = [c"setresuid"];
    fn setreuid(real: c_uint, effective: c_uint) -> c_int = [c"setreuid"];
    fn setsid() -> c_int = [c"setsid"];
    fn setsockopt(fd: c_int, level: c_int, name: c_int, value: *const c_void, len: c_uint) -> c_int = [c"setsockopt"];
    fn setuid(id: c_uint) -> c_int = [c"setuid"];
    fn sigaction(signal: c_int, new: *const Sigaction, old: *mut Sigaction) -> c_int = [c"sigaction"];
    fn signal(signal: c_int, handler: usize) -> usize = [c"signal"];
    fn sigprocmask(how: c_int, set: *const Sigset, old: *mut Sigset) -> c_int = [c"sigprocmask"];
    fn sigpending(set: *mut Sigset) -> c_int = [c"sigpending"];
    fn clock_gettime(clock: c_int, time: *mut Timespec) -> c_int = [c"clock_gettime"];
    fn sigsuspend(mask: *const Sigset) -> c_int = [c"sigsuspend"];
    fn sigtimedwait(set: *const Sigset, info: *mut c_void, timeout: *const Timespec) -> c_int = [c"sigtimedwait"];
    fn socket(domain: c_int, kind: c_int, protocol: c_int) -> c_int = [c"socket"];
    fn socketpair(domain: c_int, kind: c_int, protocol: c_int, pair: *mut c_int) -> c_int = [c"socketpair"];
    fn stat(path: *const c_char, buffer: *mut StatBuffer) -> c_int = [c"stat"];
    fn sysconf(name: c_int) -> c_long = [c"sysconf"];
    fn umask(mask: c_uint) -> c_uint = [c"umask"];
    fn unlink(path: *const c_char) -> c_int = [c"unlink"];
    fn wait4(pid: c_int, status: *mut c_int, options: c_int, usage: *mut c_void) -> c_int = [c"wait4"];
    fn waitpid(pid: c_int, status: *mut c_int, options: c_int) -> c_int = [c"waitpid"];
    fn write(fd: c_int, buffer: *const u8, len: usize) -> isize = [c"write"];
    fn writev(fd: c_int, vector: *const Iovec, count: c_int) -> isize = [c"writev"];
}

/// Calls that only Linux has, under these names.
#[cfg(target_os = "linux")]
pub(crate) mod linux {
    use super::*;

    real! {
        fn statx(dir: c_int, path: *const c_char, flags: c_int, mask: c_uint, buffer: *mut StatBuffer) -> c_int = [c"statx"];
        fn epoll_ctl(epoll: c_int, operation: c_int, fd: c_int, event: *mut c_void) -> c_int = [c"epoll_ctl"];
        fn epoll_wait(epoll: c_int, events: *mut c_void, most: c_int, timeout: c_int) -> c_int = [c"epoll_wait"];
        fn fstatat64(dir: c_int, path: *const c_char, buffer: *mut StatBuffer, flags: c_int) -> c_int = [c"fstatat64", c"fstatat"];
        fn ftruncate64(fd: c_int, size: i64) -> c_int = [c"ftruncate64", c"ftruncate"];
        fn getrlimit64(resource: c_int, limit: *mut c_void) -> c_int = [c"getrlimit64", c"getrlimit"];
        fn lstat64(path: *const c_char, buffer: *mut StatBuffer) -> c_int = [c"lstat64", c"lstat"];
        fn openat64(dir: c_int, path: *const c_char, flags: c_int; mode: c_uint) -> c_int = [c"openat64", c"openat"];
        fn stat64(path: *const c_char, buffer: *mut StatBuffer) -> c_int = [c"stat64", c"stat"];
        fn prlimit64(pid: c_int, resource: c_int, new: *const c_void, old: *mut c_void) -> c_int = [c"prlimit64", c"prlimit"];
    }
}

/// Calls that only FreeBSD has, under these names.
#[cfg(target_os = "freebsd")]
pub(crate) mod freebsd {
    use super::*;

    real! {
        fn kevent(queue: c_int, changes: *const c_void, change_count: c_int, events: *mut c_void, event_count: c_int, timeout: *const Timespec) -> c_int = [c"kevent"];
    }
}

/// Calls that only glibc on 32-bit Linux has, where `time_t` may have 32 bits or 64.
#[cfg(all(target_os = "linux", target_env = "gnu", target_pointer_width = "32"))]
pub(crate) mod time64 {
    use super::*;

    real! {
        fn clock_gettime64(clock: c_int, time: *mut [i64; 2]) -> c_int = [c"__clock_gettime64"];
    }
}
