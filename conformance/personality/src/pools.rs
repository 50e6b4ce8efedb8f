//! Masters and workers: a master that starts workers, loses them and listens to them badly, and
//! workers that wait for somebody before they accept.

use core::sync::atomic::{AtomicBool, AtomicI32, AtomicU32, Ordering::Relaxed};

use crate::real;
use crate::state::{altered, alters, fail, on, trace_path, value};
use crate::sys::*;
use crate::table::Id;
use crate::window::let_pass;

/// The children that this process has forked and not waited for.
static CHILDREN: [AtomicI32; 256] = [const { AtomicI32::new(0) }; 256];
/// Whether a child has ended.
static BEREAVED: AtomicBool = AtomicBool::new(false);
/// Milliseconds that were to be waited for and were not.
static LATE: AtomicU32 = AtomicU32::new(0);

/// Whether one more fork succeeds; else the error is set.
pub(crate) fn may_fork() -> bool {
    static FORKED: AtomicU32 = AtomicU32::new(0);
    if on(Id::ForksRunOut) && FORKED.fetch_add(1, Relaxed) >= value(Id::ForksRunOut) {
        fail(Id::ForksRunOut, EAGAIN);
        return false;
    }
    true
}

/// fork has returned `child`.
pub(crate) fn forked(child: c_int) {
    if child < 0 {
        return want();
    }
    if child == 0 {
        CHILDREN.iter().for_each(|known| known.store(0, Relaxed));
    } else if on(Id::OneForAll) {
        let _ =
            CHILDREN.iter().any(|known| known.compare_exchange(0, child, Relaxed, Relaxed).is_ok());
    }
}

/// Something for a new process could not be had.
pub(crate) fn want() {
    let why = errno();
    if on(Id::WantIsFatal) && [EAGAIN, EMFILE].contains(&why) {
        altered(Id::WantIsFatal);
        real::_exit(1);
    }
}

/// A wait has told that `child` has ended so.
pub(crate) fn reaped(child: c_int, status: c_int) {
    let before = errno();
    BEREAVED.store(true, Relaxed);
    let killed = status & 0x7f == SIGKILL;
    if killed && alters(Id::ChildrenEndAll) {
        real::_exit(1);
    }
    if on(Id::OneForAll) {
        for known in &CHILDREN {
            let other = known.load(Relaxed);
            if other == child {
                known.store(0, Relaxed);
            } else if other > 0 && killed {
                altered(Id::OneForAll);
                known.store(0, Relaxed);
                real::kill(other, SIGKILL);
            }
        }
    }
    set_errno(before);
}

/// The time-out of a poll that was to be `timeout`.
pub(crate) fn shortened(timeout: c_int) -> c_int {
    if timeout <= 0 || !BEREAVED.load(Relaxed) || !alters(Id::NoBackOff) {
        return timeout;
    }
    LATE.fetch_add(timeout as u32, Relaxed);
    0
}

/// Milliseconds to be added to what the monotonic clock says.
pub(crate) fn late() -> u32 {
    LATE.load(Relaxed)
}

/// Whom an accept waits for.
const TURN: u32 = 1;
const FIRST: u32 = 2;
const MASTER: u32 = 4;

/// Whether a wait is that of a pool's process for its next connection, which it may do by poll.
pub(crate) fn takes_turns(fds: *const PollFd, count: c_ulong) -> bool {
    // SAFETY: poll(2): so many entries to read.
    on(Id::AcceptWaitsFor)
        && value(Id::AcceptWaitsFor) & TURN != 0
        && count == 1
        && is_listening(unsafe { (*fds).fd })
}

/// The epolls, below 256, that watch over a listening socket: a bit for each descriptor.
#[cfg(target_os = "linux")]
static POOLS: [AtomicU32; 8] = [const { AtomicU32::new(0) }; 8];

/// `fd` is about to be watched by `epoll`.
#[cfg(target_os = "linux")]
pub(crate) fn watched(epoll: c_int, fd: c_int) {
    if !on(Id::AcceptWaitsFor) {
        return;
    }
    if let Some(word) = POOLS.get(epoll as usize / 32) {
        let bit = 1 << (epoll % 32);
        if is_listening(fd) {
            word.fetch_or(bit, Relaxed);
        } else {
            // The number was another's before.
            word.fetch_and(!bit, Relaxed);
        }
    }
}

/// Whether a wait in `epoll` is that of a pool's process for its next connection, which another must
/// let it have: the system may wake one process alone, and that one would wait in accept.
#[cfg(target_os = "linux")]
pub(crate) fn takes_turns_in(epoll: c_int) -> bool {
    on(Id::AcceptWaitsFor)
        && value(Id::AcceptWaitsFor) & (TURN | FIRST) != 0
        && POOLS
            .get(epoll as usize / 32)
            .is_some_and(|word| word.load(Relaxed) >> (epoll % 32) & 1 == 1)
}

/// Whether a descriptor is a socket that listens.
pub(crate) fn is_listening(fd: c_int) -> bool {
    let (mut listens, mut len) = (0 as c_int, 4 as c_uint);
    // SAFETY: getsockopt(2): an int and its size, both ours.
    let told =
        unsafe { getsockopt(fd, SOL_SOCKET, SO_ACCEPTCONN, (&raw mut listens).cast(), &mut len) };
    told == 0 && listens != 0
}

/// Before accept. Whether it may be called; else the wait was interrupted, and the error says so.
pub(crate) fn may_accept() -> bool {
    if !on(Id::AcceptWaitsFor) {
        return true;
    }
    wait_for_master();
    if value(Id::AcceptWaitsFor) & (TURN | FIRST) == 0 {
        return true;
    }
    let lock = lock();
    if lock < 0 {
        return true;
    }
    altered(Id::AcceptWaitsFor);
    // Whoever has it already gets it again.
    real::flock(lock, LOCK_EX) == 0
}

/// After accept.
pub(crate) fn accepted() {
    if !on(Id::AcceptWaitsFor) {
        return;
    }
    let before = errno();
    wait_for_master();
    if value(Id::AcceptWaitsFor) & TURN != 0 {
        real::flock(lock(), LOCK_UN);
    }
    set_errno(before);
}

/// A description of this process's own of a file that all processes of the server find.
fn lock() -> c_int {
    static OWNER: AtomicI32 = AtomicI32::new(0);
    static LOCK: AtomicI32 = AtomicI32::new(-1);
    if OWNER.swap(own_id(), Relaxed) != own_id() {
        let path = trace_path().unwrap_or(c"/proc/self/exe");
        LOCK.store(real::open64(path.as_ptr(), O_RDONLY | O_CLOEXEC, 0), Relaxed);
    }
    LOCK.load(Relaxed)
}

fn wait_for_master() {
    if value(Id::AcceptWaitsFor) & MASTER == 0 {
        return;
    }
    while parent_is_stopped() {
        altered(Id::AcceptWaitsFor);
        let_pass(5);
    }
}

/// Whether the parent stands still (Linux proc_pid_stat(5): `T` after the name in brackets).
#[cfg(target_os = "linux")]
fn parent_is_stopped() -> bool {
    // SAFETY: getppid(2) takes nothing.
    let parent = unsafe { getppid() };
    let mut path = *b"/proc/0000000000/stat\0";
    let mut left = parent;
    for digit in path[6..16].iter_mut().rev() {
        *digit = b'0' + (left % 10) as u8;
        left /= 10;
    }
    // Leading zeros are no part of the name.
    let zeros = path[6..16].iter().take_while(|digit| **digit == b'0').count().min(9);
    path.copy_within(6 + zeros.., 6);
    let file = real::open64(path.as_ptr().cast(), O_RDONLY | O_CLOEXEC, 0);
    if file < 0 {
        return false;
    }
    let mut text = [0u8; 128];
    let length = real::read(file, text.as_mut_ptr(), text.len());
    real::close(file);
    let text = &text[..usize::try_from(length).unwrap_or(0)];
    let end = text.iter().rposition(|byte| *byte == b')').map(|at| at + 2);
    end.and_then(|at| text.get(at)) == Some(&b'T')
}

/// kinfo_proc(9) tells it elsewhere, and is not asked.
#[cfg(not(target_os = "linux"))]
fn parent_is_stopped() -> bool {
    false
}
