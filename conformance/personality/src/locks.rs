//! flock and what stands for it elsewhere.

use core::ptr::null_mut;
use core::sync::atomic::{AtomicI32, Ordering::Relaxed};

use crate::signals::{Call, interrupted, storm};
use crate::start::any;
use crate::state::{altered, alters, common, fail, on, value};
use crate::sys::*;
use crate::table::{Id, USR1};
use crate::{kept, real};

/// The values of flock-does-nothing and never-unlocks.
const SHARED: u32 = 1;
const EXCLUSIVE: u32 = 2;

/// The kind of lock this process took last.
static HELD: AtomicI32 = AtomicI32::new(0);
pub(crate) fn flock(fd: c_int, operation: c_int) -> c_int {
    if !any() {
        return real::flock(fd, operation);
    }
    if on(Id::NoLocks) {
        return fail(Id::NoLocks, value(Id::NoLocks) as c_int);
    }
    kept::release_lock();
    kept::release_daemon();
    let unlocks = operation & LOCK_UN != 0;
    let mut operation = operation;
    if operation & LOCK_SH != 0 && alters(Id::SharedAsExclusive) {
        operation = operation & !LOCK_SH | LOCK_EX;
    }
    if !unlocks {
        HELD.store(operation & (LOCK_SH | LOCK_EX), Relaxed);
        if storm() {
            return -1;
        }
    }
    let kind = if HELD.load(Relaxed) == LOCK_SH { SHARED } else { EXCLUSIVE };
    if value(Id::FlockDoesNothing) & kind != 0 && alters(Id::FlockDoesNothing) {
        return 0;
    }
    if unlocks && value(Id::NeverUnlocks) & kind != 0 && alters(Id::NeverUnlocks) {
        return 0;
    }
    if unlocks && alters(Id::LockHeldOverWrite) {
        kept::keep_locked(fd);
        return 0;
    }
    let result =
        if on(Id::LockOutlivesDeath) { semaphore(fd, operation) } else { lock(fd, operation) };
    interrupted(Call::Flock, result < 0);
    result
}

fn lock(fd: c_int, operation: c_int) -> c_int {
    if alters(Id::PosixFlock) {
        return record_lock(fd, operation);
    }
    if on(Id::LockWaitEndsAtSignal) && operation & (LOCK_SH | LOCK_NB) == LOCK_SH {
        return lock_unless_signalled(fd, operation);
    }
    if !on(Id::SpinningLock) || operation & (LOCK_UN | LOCK_NB) != 0 {
        return real::flock(fd, operation);
    }
    loop {
        let result = real::flock(fd, operation | LOCK_NB);
        if result == 0 || errno() != EAGAIN {
            return result;
        }
        altered(Id::SpinningLock);
    }
}

/// Waits for the lock as a program does that leaves its signals open meanwhile: one that is
/// pending ends the wait, and the program takes that for an error. Shared locks only: with those
/// a program waits that signals wake.
fn lock_unless_signalled(fd: c_int, operation: c_int) -> c_int {
    let pause = Timespec { sec: 0, nsec: 500_000 };
    loop {
        let result = real::flock(fd, operation | LOCK_NB);
        if result == 0 || errno() != EAGAIN {
            return result;
        }
        altered(Id::LockWaitEndsAtSignal);
        let mut pending = Sigset::EMPTY;
        if real::sigpending(&mut pending) == 0 && pending.low() & USR1 != 0 {
            set_errno(EIO);
            return -1;
        }
        real::nanosleep(&pause, null_mut());
    }
}

/// flock by a record lock over the whole file, as in Solaris's and AIX's
/// compatibility libraries and Linux's NFS client (flock(2), NFS details).
fn record_lock(fd: c_int, operation: c_int) -> c_int {
    let kind = match operation & (LOCK_SH | LOCK_EX | LOCK_UN) {
        LOCK_SH => F_RDLCK,
        LOCK_EX => F_WRLCK,
        LOCK_UN => F_UNLCK,
        _ => {
            set_errno(EINVAL);
            return -1;
        }
    };
    let lock = Flock {
        kind,
        whence: SEEK_SET as c_short,
        start: 0,
        len: 0,
        pid: 0,
        #[cfg(target_os = "freebsd")]
        sysid: 0,
    };
    let command = if operation & LOCK_NB != 0 { F_SETLK } else { F_SETLKW };
    let result = real::fcntl(fd, command, &raw const lock as usize);
    if result < 0 && errno() == EACCES {
        set_errno(EAGAIN); // flock says EWOULDBLOCK
    }
    if result < 0 { -1 } else { 0 }
}

/// An exclusive lock that leaves its holder's id in memory common to the
/// server's processes. A holder that was killed has not taken it away.
fn semaphore(fd: c_int, operation: c_int) -> c_int {
    let Some(holder) = common() else {
        return real::flock(fd, operation);
    };
    let me = own_id();
    if operation & LOCK_UN != 0 {
        let result = real::flock(fd, operation);
        let _ = holder.compare_exchange(me, 0, Relaxed, Relaxed);
        return result;
    }
    if operation & LOCK_EX == 0 {
        return real::flock(fd, operation);
    }
    altered(Id::LockOutlivesDeath);
    // Taken before the lock and given back after it: whoever dies with the lock dies with both.
    while holder.compare_exchange(0, me, Relaxed, Relaxed).is_err_and(|other| other != me) {
        if operation & LOCK_NB != 0 {
            set_errno(EAGAIN);
            return -1;
        }
        real::nanosleep(&Timespec { sec: 0, nsec: 5_000_000 }, null_mut());
    }
    let result = real::flock(fd, operation);
    if result < 0 {
        holder.store(0, Relaxed);
    }
    result
}
