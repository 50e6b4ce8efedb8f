//! The interposed functions by their C names, and nothing else.
//!
//! Functions with variable arguments (open, fcntl, ioctl) are defined with one
//! more argument: in the calling conventions of x86, ARM, RISC-V and s390x it is found
//! where a caller puts it, and is not used where the caller gave none. `vfork`
//! is not here: a function that calls it cannot return.

use crate::sys::*;
use crate::{
    clocks, descriptors, files, locks, names, pid_files, processes, real, signals, sockets,
    streams, waits,
};

macro_rules! export {
    ($($(#[$meta:meta])* fn $name:ident($($arg:ident: $type:ty),* $(,)?) -> $result:ty { $body:expr })*) => {
        $(
            $(#[$meta])*
            #[unsafe(no_mangle)]
            unsafe extern "C" fn $name($($arg: $type),*) -> $result { $body }
        )*
    };
}

export! {
    // sockets
    fn socket(domain: c_int, kind: c_int, protocol: c_int) -> c_int { sockets::socket(domain, kind, protocol) }
    fn setsockopt(fd: c_int, level: c_int, name: c_int, value: *const c_void, len: c_uint) -> c_int { sockets::setsockopt(fd, level, name, value, len) }
    fn socketpair(domain: c_int, kind: c_int, protocol: c_int, pair: *mut c_int) -> c_int { sockets::socketpair(domain, kind, protocol, pair) }
    fn bind(fd: c_int, addr: *const u8, len: c_uint) -> c_int { sockets::bind(fd, addr, len) }
    fn listen(fd: c_int, backlog: c_int) -> c_int { sockets::listen(fd, backlog) }
    fn accept(fd: c_int, addr: *mut u8, len: *mut c_uint) -> c_int { sockets::accept(fd, addr, len, None) }
    fn accept4(fd: c_int, addr: *mut u8, len: *mut c_uint, flags: c_int) -> c_int { sockets::accept(fd, addr, len, Some(flags)) }
    fn getpeername(fd: c_int, addr: *mut u8, len: *mut c_uint) -> c_int { sockets::getpeername(fd, addr, len) }
    fn close(fd: c_int) -> c_int { sockets::close(fd) }
    fn getaddrinfo(node: *const c_char, service: *const c_char, hints: *const Addrinfo, result: *mut *mut c_void) -> c_int { names::resolve(node, service, hints, result) }

    // signals
    fn sigaction(signal: c_int, new: *const Sigaction, old: *mut Sigaction) -> c_int { signals::sigaction(signal, new, old) }
    #[cfg(all(target_os = "linux", target_env = "gnu"))]
    fn __sigaction(signal: c_int, new: *const Sigaction, old: *mut Sigaction) -> c_int { signals::sigaction(signal, new, old) }
    fn signal(number: c_int, handler: usize) -> usize { signals::signal(number, handler) }
    fn sigprocmask(how: c_int, set: *const Sigset, old: *mut Sigset) -> c_int { signals::mask(how, set, old, real::sigprocmask) }
    fn pthread_sigmask(how: c_int, set: *const Sigset, old: *mut Sigset) -> c_int { signals::mask(how, set, old, real::pthread_sigmask) }

    // waits
    fn sigtimedwait(set: *const Sigset, info: *mut c_void, timeout: *const Timespec) -> c_int { waits::sigtimedwait(set, info, timeout) }
    fn poll(fds: *mut PollFd, count: c_ulong, timeout: c_int) -> c_int { waits::poll(fds, count, timeout) }
    #[cfg(target_os = "linux")]
    fn epoll_ctl(epoll: c_int, operation: c_int, fd: c_int, event: *mut c_void) -> c_int { waits::epoll_ctl(epoll, operation, fd, event) }
    #[cfg(target_os = "linux")]
    fn epoll_wait(epoll: c_int, events: *mut c_void, most: c_int, timeout: c_int) -> c_int { waits::epoll_wait(epoll, events, most, timeout) }
    #[cfg(target_os = "freebsd")]
    fn kevent(queue: c_int, changes: *const c_void, change_count: c_int, events: *mut c_void, event_count: c_int, timeout: *const Timespec) -> c_int {
        waits::kevent(queue, changes, change_count, events, event_count, timeout)
    }
    fn ppoll(fds: *mut PollFd, count: c_ulong, timeout: *const Timespec, mask: *const Sigset) -> c_int { waits::ppoll(fds, count, timeout, mask) }
    fn sigsuspend(mask: *const Sigset) -> c_int { waits::sigsuspend(mask) }
    fn pause() -> c_int { waits::pause() }
    fn select(count: c_int, read: *mut c_void, write: *mut c_void, except: *mut c_void, timeout: *mut c_void) -> c_int { waits::select(count, read, write, except, timeout) }
    fn pselect(count: c_int, read: *mut c_void, write: *mut c_void, except: *mut c_void, timeout: *const Timespec, mask: *const Sigset) -> c_int {
        waits::pselect(count, read, write, except, timeout, mask)
    }
    fn nanosleep(ask: *const Timespec, left: *mut Timespec) -> c_int { if waits::sleepless() { 0 } else { real::nanosleep(ask, left) } }
    fn clock_nanosleep(clock: c_int, flags: c_int, ask: *const Timespec, left: *mut Timespec) -> c_int {
        if waits::sleepless() { 0 } else { real::clock_nanosleep(clock, flags, ask, left) }
    }
    fn clock_gettime(clock: c_int, time: *mut Timespec) -> c_int { clocks::clock_gettime(clock, time) }
    #[cfg(all(target_os = "linux", target_env = "gnu", target_pointer_width = "32"))]
    fn __clock_gettime64(clock: c_int, time: *mut [i64; 2]) -> c_int { clocks::clock_gettime64(clock, time) }
    #[cfg(all(target_os = "linux", target_env = "gnu", target_pointer_width = "32"))]
    fn __gettimeofday64(time: *mut [i64; 2], _zone: *mut c_void) -> c_int { clocks::gettimeofday64(time) }
    #[cfg(all(target_os = "linux", target_env = "gnu", target_pointer_width = "32"))]
    fn __time64(into: *mut i64) -> i64 { clocks::time64(into) }
    fn gettimeofday(time: *mut Timespec, zone: *mut c_void) -> c_int { clocks::gettimeofday(time, zone) }
    fn time(into: *mut TimeT) -> TimeT { clocks::time(into) }
    fn alarm(seconds: c_uint) -> c_uint { if processes::silent() { 0 } else { real::alarm(seconds) } }
    fn setitimer(which: c_int, new: *const c_void, old: *mut c_void) -> c_int { if processes::silent() { 0 } else { real::setitimer(which, new, old) } }

    // locks
    fn flock(fd: c_int, operation: c_int) -> c_int { locks::flock(fd, operation) }

    // processes
    fn fork() -> c_int { processes::fork() }
    fn exit(status: c_int) -> ! { real::exit(processes::exit_status(status)) }
    fn _exit(status: c_int) -> ! { real::_exit(processes::exit_status(status)) }
    fn _Exit(status: c_int) -> ! { real::_exit(processes::exit_status(status)) }
    fn waitpid(pid: c_int, status: *mut c_int, options: c_int) -> c_int {
        if processes::cut(pid) { no_child() } else { processes::wait(options, status, |status| real::waitpid(pid, status, options)) }
    }
    fn wait4(pid: c_int, status: *mut c_int, options: c_int, usage: *mut c_void) -> c_int {
        if processes::cut(pid) { no_child() } else { processes::wait(options, status, |status| real::wait4(pid, status, options, usage)) }
    }
    fn kill(pid: c_int, signal: c_int) -> c_int { processes::kill(pid, signal, || real::kill(pid, signal)) }
    fn killpg(group: c_int, signal: c_int) -> c_int { processes::kill(-group, signal, || real::killpg(group, signal)) }
    fn setsid() -> c_int { processes::new_session() }
    fn setpgid(pid: c_int, group: c_int) -> c_int { processes::leave_group(|| 0, || real::setpgid(pid, group)) }
    fn getuid() -> c_uint { processes::user(real::getuid()) }
    fn geteuid() -> c_uint { processes::user(real::geteuid()) }
    fn setuid(id: c_uint) -> c_int { processes::become_user([id], |[id]| real::setuid(id)) }
    fn setgid(id: c_uint) -> c_int { processes::become_user([id], |[id]| real::setgid(id)) }
    fn seteuid(id: c_uint) -> c_int { processes::become_user([id], |[id]| real::seteuid(id)) }
    fn setegid(id: c_uint) -> c_int { processes::become_user([id], |[id]| real::setegid(id)) }
    fn setreuid(real: c_uint, effective: c_uint) -> c_int { processes::become_user([real, effective], |[r, e]| real::setreuid(r, e)) }
    fn setregid(real: c_uint, effective: c_uint) -> c_int { processes::become_user([real, effective], |[r, e]| real::setregid(r, e)) }
    fn setresuid(real: c_uint, effective: c_uint, saved: c_uint) -> c_int { processes::become_user([real, effective, saved], |[r, e, s]| real::setresuid(r, e, s)) }
    fn setresgid(real: c_uint, effective: c_uint, saved: c_uint) -> c_int { processes::become_user([real, effective, saved], |[r, e, s]| real::setresgid(r, e, s)) }
    fn initgroups(user: *const c_char, group: c_uint) -> c_int { processes::become_user([group], |[group]| real::initgroups(user, group)) }
    fn getrlimit(resource: c_int, limit: *mut c_void) -> c_int { processes::limits(resource, limit, PLAIN_INFINITY, real::getrlimit(resource, limit)) }
    fn sysconf(name: c_int) -> c_long { if name == _SC_OPEN_MAX && processes::unlimited() { -1 } else { real::sysconf(name) } }
    fn getdtablesize() -> c_int { if processes::unlimited() { c_int::MAX } else { real::getdtablesize() } }

    // streams
    fn read(fd: c_int, buffer: *mut u8, len: usize) -> isize { streams::take(fd, buffer, len, 0, |buffer, len| real::read(fd, buffer, len)) }
    fn recv(fd: c_int, buffer: *mut u8, len: usize, flags: c_int) -> isize { streams::take(fd, buffer, len, flags, |buffer, len| real::recv(fd, buffer, len, flags)) }
    fn recvfrom(fd: c_int, buffer: *mut u8, len: usize, flags: c_int, addr: *mut u8, addr_len: *mut c_uint) -> isize {
        streams::take(fd, buffer, len, flags, |buffer, len| real::recvfrom(fd, buffer, len, flags, addr, addr_len))
    }
    fn pread(fd: c_int, buffer: *mut u8, len: usize, offset: OffT) -> isize { streams::pread(fd, buffer, len, wide(offset)) }
    fn write(fd: c_int, buffer: *const u8, len: usize) -> isize { streams::give(fd, buffer, len, None, |buffer, len, _| real::write(fd, buffer, len)) }
    fn send(fd: c_int, buffer: *const u8, len: usize, flags: c_int) -> isize {
        streams::give(fd, buffer, len, Some(flags), |buffer, len, flags| real::send(fd, buffer, len, flags))
    }
    fn sendto(fd: c_int, buffer: *const u8, len: usize, flags: c_int, addr: *const u8, addr_len: c_uint) -> isize {
        streams::give(fd, buffer, len, Some(flags), |buffer, len, flags| real::sendto(fd, buffer, len, flags, addr, addr_len))
    }
    fn recvmsg(fd: c_int, message: *mut c_void, flags: c_int) -> isize { streams::take_message(fd, message, flags) }
    fn sendmsg(fd: c_int, message: *const c_void, flags: c_int) -> isize { streams::send_message(fd, message, flags) }
    fn pwrite(fd: c_int, buffer: *const u8, len: usize, offset: OffT) -> isize { streams::pwrite(fd, buffer, len, wide(offset)) }
    fn writev(fd: c_int, vector: *const Iovec, count: c_int) -> isize { streams::writev(fd, vector, count) }

    // files
    fn rename(from: *const c_char, to: *const c_char) -> c_int { pid_files::rename(from, to) }
    fn unlink(path: *const c_char) -> c_int { pid_files::unlink(path) }
    fn umask(mask: c_uint) -> c_uint { pid_files::umask(mask) }
    fn dup2(from: c_int, to: c_int) -> c_int { descriptors::dup2(from, to) }
    fn open(path: *const c_char, flags: c_int, mode: c_uint) -> c_int { files::open(path, flags, mode, real::open) }
    fn openat(dir: c_int, path: *const c_char, flags: c_int, mode: c_uint) -> c_int { files::open(path, flags, mode, |path, flags, mode| real::openat(dir, path, flags, mode)) }
    fn fcntl(fd: c_int, command: c_int, argument: usize) -> c_int { files::fcntl(fd, command, argument) }
    fn ioctl(fd: c_int, request: c_ulong, argument: usize) -> c_int { files::ioctl(fd, request, argument) }
    fn lseek(fd: c_int, offset: OffT, whence: c_int) -> OffT { files::seek(wide(offset), whence, |offset| wide(real::lseek(fd, offset as OffT, whence))) as OffT }
    fn ftruncate(fd: c_int, size: OffT) -> c_int { files::truncate(|| real::ftruncate(fd, size)) }
    fn stat(path: *const c_char, buffer: *mut StatBuffer) -> c_int {
        files::stat(files::stale(path).map_or_else(|| real::stat(path, buffer), |fd| real::fstat(fd, buffer)), buffer, STAT)
    }
    fn lstat(path: *const c_char, buffer: *mut StatBuffer) -> c_int {
        files::stat(files::stale(path).map_or_else(|| real::lstat(path, buffer), |fd| real::fstat(fd, buffer)), buffer, STAT)
    }
    fn fstat(fd: c_int, buffer: *mut StatBuffer) -> c_int { files::stat(real::fstat(fd, buffer), buffer, STAT) }
    fn fstatat(dir: c_int, path: *const c_char, buffer: *mut StatBuffer, flags: c_int) -> c_int {
        files::stat(files::stale(path).map_or_else(|| real::fstatat(dir, path, buffer, flags), |fd| real::fstat(fd, buffer)), buffer, STAT)
    }
}

export! {
    fn setgroups(count: GroupCount, list: *const c_uint) -> c_int { processes::become_user([], |[]| real::setgroups(count, list)) }
    // POSIX.1-2024 has setpgrp without arguments; FreeBSD's takes those of setpgid
    // (setpgid(2), COMPATIBILITY).
    #[cfg(target_os = "linux")]
    fn setpgrp() -> c_int { processes::leave_group(|| 0, || real::setpgid(0, 0)) }
    #[cfg(target_os = "freebsd")]
    fn setpgrp(pid: c_int, group: c_int) -> c_int { processes::leave_group(|| 0, || real::setpgid(pid, group)) }
}

/// RLIM_INFINITY of the plain getrlimit: FreeBSD's is the greatest signed
/// number (sys/resource.h), Linux's has all bits set.
#[cfg(target_os = "freebsd")]
const PLAIN_INFINITY: i64 = i64::MAX;
#[cfg(all(target_os = "linux", target_env = "gnu"))]
const PLAIN_INFINITY: c_ulong = c_ulong::MAX;
#[cfg(all(target_os = "linux", not(target_env = "gnu")))]
const PLAIN_INFINITY: u64 = u64::MAX;

fn no_child() -> c_int {
    set_errno(ECHILD);
    -1
}

/// The same number in 64 bits; `OffT` has 32 of them on some platforms.
#[allow(clippy::useless_conversion)]
fn wide(offset: OffT) -> i64 {
    offset.into()
}

/// Names that glibc has, and musl as aliases: the large-file calls, which
/// programs with `_FILE_OFFSET_BITS=64` and Rust's own library use.
#[cfg(target_os = "linux")]
mod linux {
    use super::*;

    export! {
        fn open64(path: *const c_char, flags: c_int, mode: c_uint) -> c_int { files::open(path, flags, mode, real::open64) }
        fn openat64(dir: c_int, path: *const c_char, flags: c_int, mode: c_uint) -> c_int { files::open(path, flags, mode, |path, flags, mode| real::linux::openat64(dir, path, flags, mode)) }
        fn fcntl64(fd: c_int, command: c_int, argument: usize) -> c_int { files::fcntl(fd, command, argument) }
        fn lseek64(fd: c_int, offset: i64, whence: c_int) -> i64 { files::seek(offset, whence, |offset| real::lseek64(fd, offset, whence)) }
        fn ftruncate64(fd: c_int, size: i64) -> c_int { files::truncate(|| real::linux::ftruncate64(fd, size)) }
        fn pread64(fd: c_int, buffer: *mut u8, len: usize, offset: i64) -> isize { streams::pread(fd, buffer, len, offset) }
        fn pwrite64(fd: c_int, buffer: *const u8, len: usize, offset: i64) -> isize { streams::pwrite(fd, buffer, len, offset) }
        fn stat64(path: *const c_char, buffer: *mut StatBuffer) -> c_int {
            files::stat(files::stale(path).map_or_else(|| real::linux::stat64(path, buffer), |fd| real::fstat64(fd, buffer)), buffer, STAT64)
        }
        fn lstat64(path: *const c_char, buffer: *mut StatBuffer) -> c_int {
            files::stat(files::stale(path).map_or_else(|| real::linux::lstat64(path, buffer), |fd| real::fstat64(fd, buffer)), buffer, STAT64)
        }
        fn fstat64(fd: c_int, buffer: *mut StatBuffer) -> c_int { files::stat(real::fstat64(fd, buffer), buffer, STAT64) }
        fn fstatat64(dir: c_int, path: *const c_char, buffer: *mut StatBuffer, flags: c_int) -> c_int {
            files::stat(files::stale(path).map_or_else(|| real::linux::fstatat64(dir, path, buffer, flags), |fd| real::fstat64(fd, buffer)), buffer, STAT64)
        }
        fn statx(dir: c_int, path: *const c_char, flags: c_int, mask: c_uint, buffer: *mut StatBuffer) -> c_int {{
            // AT_EMPTY_PATH: an empty path means the descriptor itself (statx(2)).
            const AT_EMPTY_PATH: c_int = 0x1000;
            let result = match files::stale(path) {
                Some(fd) => real::linux::statx(fd, c"".as_ptr(), flags | AT_EMPTY_PATH, mask, buffer),
                None => real::linux::statx(dir, path, flags, mask, buffer),
            };
            files::stat(result, buffer, Some(STATX))
        }}
        fn getrlimit64(resource: c_int, limit: *mut c_void) -> c_int { processes::limits(resource, limit, u64::MAX, real::linux::getrlimit64(resource, limit)) }
        fn prlimit64(pid: c_int, resource: c_int, new: *const c_void, old: *mut c_void) -> c_int {
            processes::limits(resource, old, u64::MAX, real::linux::prlimit64(pid, resource, new, old))
        }
    }
}

/// What programs compiled with _FORTIFY_SOURCE call instead (glibc, LSB Core
/// "Interfaces for libc"): the check is kept, the call is ours.
#[cfg(all(target_os = "linux", target_env = "gnu"))]
mod fortified {
    use super::*;

    fn check(len: usize, room: usize) {
        if len > room {
            // SAFETY: abort takes nothing and does not return.
            unsafe { abort() }
        }
    }

    export! {
        fn __read_chk(fd: c_int, buffer: *mut u8, len: usize, room: usize) -> isize {{
            check(len, room);
            streams::take(fd, buffer, len, 0, |buffer, len| real::read(fd, buffer, len))
        }}
        fn __recv_chk(fd: c_int, buffer: *mut u8, len: usize, room: usize, flags: c_int) -> isize {{
            check(len, room);
            streams::take(fd, buffer, len, flags, |buffer, len| real::recv(fd, buffer, len, flags))
        }}
        fn __pread_chk(fd: c_int, buffer: *mut u8, len: usize, offset: OffT, room: usize) -> isize {{
            check(len, room);
            streams::pread(fd, buffer, len, wide(offset))
        }}
        fn __pread64_chk(fd: c_int, buffer: *mut u8, len: usize, offset: i64, room: usize) -> isize {{
            check(len, room);
            streams::pread(fd, buffer, len, offset)
        }}
        fn __poll_chk(fds: *mut PollFd, count: c_ulong, timeout: c_int, room: usize) -> c_int {{
            check(count as usize * size_of::<PollFd>(), room);
            waits::poll(fds, count, timeout)
        }}
        fn __ppoll_chk(fds: *mut PollFd, count: c_ulong, timeout: *const Timespec, mask: *const Sigset, room: usize) -> c_int {{
            check(count as usize * size_of::<PollFd>(), room);
            waits::ppoll(fds, count, timeout, mask)
        }}
        fn __open_2(path: *const c_char, flags: c_int) -> c_int { files::open(path, flags, 0, real::open) }
        fn __open64_2(path: *const c_char, flags: c_int) -> c_int { files::open(path, flags, 0, real::open64) }
    }
}
