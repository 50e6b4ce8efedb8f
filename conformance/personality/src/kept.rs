//! What a personality keeps back, to be released by a later call.

use core::sync::atomic::{AtomicBool, AtomicI32, Ordering::Relaxed};

use crate::real;
use crate::sys::*;

/// A descriptor whose LOCK_UN waits for the end of a write, or -1.
static KEPT: AtomicI32 = AtomicI32::new(-1);
/// The end of a pipe by which a child lets its daemon go on, or -1; see keys-checked-by-daemon.
static DAEMON_WAITS: AtomicI32 = AtomicI32::new(-1);
/// Whether single-read has had its read since the last wait.
pub(crate) static READ_SINCE_WAKE: AtomicBool = AtomicBool::new(false);

/// Keeps the LOCK_UN of a descriptor back, for lock-held-over-write.
pub(crate) fn keep_locked(fd: c_int) {
    KEPT.store(fd, Relaxed);
}

/// Does the LOCK_UN that lock-held-over-write kept back.
pub(crate) fn release_lock() {
    let fd = KEPT.swap(-1, Relaxed);
    if fd >= 0 {
        let failure = errno();
        real::flock(fd, LOCK_UN);
        set_errno(failure);
    }
}

/// Closing the descriptor unlocks: the LOCK_UN must not hit another file that
/// gets its number. A duplicate would hold the lock on, so it is done first.
pub(crate) fn forget(fd: c_int) {
    if KEPT.load(Relaxed) == fd {
        release_lock();
    }
}

/// What ends with a wait: the lock that was kept over a write, and the one read that a wake allows.
pub(crate) fn begin_wait() {
    release_lock();
    READ_SINCE_WAKE.store(false, Relaxed);
}

/// Keeps the daemon waiting until this end of its pipe is closed.
pub(crate) fn keep_daemon(end: c_int) {
    DAEMON_WAITS.store(end, Relaxed);
}

/// Lets the daemon go on: this process has been let in, since it locks the log or forks.
pub(crate) fn release_daemon() {
    let end = DAEMON_WAITS.swap(-1, Relaxed);
    if end >= 0 {
        real::close(end);
    }
}
