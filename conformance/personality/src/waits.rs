//! Calls that wait for descriptors, signals or time.

use core::ptr::{null, null_mut};

use crate::kept::begin_wait;
use crate::processes::loop_ends;
use crate::signals::{Call, interrupted, storm, waiting_mask};
use crate::start::any;
use crate::state::{altered, alters, fail, on, value};
use crate::sys::*;
use crate::table::Id;
use crate::{descriptors, handshakes, pools, real, streams, window};

const FD_SETSIZE: c_int = 1024;
const NOW: Timespec = Timespec { sec: 0, nsec: 0 };

pub(crate) fn poll(fds: *mut PollFd, count: c_ulong, timeout: c_int) -> c_int {
    if !any() {
        return real::poll(fds, count, timeout);
    }
    if let Some(ready) = handshakes::polled(fds, count) {
        return ready;
    }
    let mut timeout = lengthened(pools::shortened(timeout));
    if on(Id::BusyWait) && timeout != 0 {
        timeout = value(Id::BusyWait) as c_int;
        altered(Id::BusyWait);
    }
    let takes_turns = timeout != 0 && pools::takes_turns(fds, count);
    if takes_turns && !pools::may_accept() {
        return -1;
    }
    let result = watch(fds, count, || real::poll(fds, count, timeout));
    // Else the turn lasts until accept.
    if takes_turns && result <= 0 {
        pools::accepted();
    }
    descriptors::polled(fds, count, result)
}

/// The time-out of a wait that was to be `timeout`.
fn lengthened(timeout: c_int) -> c_int {
    let least = value(Id::TimeoutsNeverFire).max(1) as c_int;
    if timeout >= least && alters(Id::TimeoutsNeverFire) { -1 } else { timeout }
}

#[cfg(target_os = "linux")]
pub(crate) fn epoll_ctl(epoll: c_int, operation: c_int, fd: c_int, event: *mut c_void) -> c_int {
    const EPOLL_CTL_ADD: c_int = 1;
    if operation == EPOLL_CTL_ADD {
        pools::watched(epoll, fd);
    }
    real::linux::epoll_ctl(epoll, operation, fd, event)
}

#[cfg(target_os = "linux")]
pub(crate) fn epoll_wait(epoll: c_int, events: *mut c_void, most: c_int, timeout: c_int) -> c_int {
    if !any() {
        return real::linux::epoll_wait(epoll, events, most, timeout);
    }
    let takes_turns = timeout != 0 && pools::takes_turns_in(epoll);
    if takes_turns && !pools::may_accept() {
        return -1;
    }
    let result = real::linux::epoll_wait(epoll, events, most, lengthened(timeout));
    // Else the turn lasts until accept.
    if takes_turns && result <= 0 {
        pools::accepted();
    }
    result
}

#[cfg(target_os = "freebsd")]
pub(crate) fn kevent(
    queue: c_int,
    changes: *const c_void,
    change_count: c_int,
    events: *mut c_void,
    event_count: c_int,
    timeout: *const Timespec,
) -> c_int {
    let mut timeout = timeout;
    if any() && event_count > 0 && !timeout.is_null() {
        // SAFETY: kevent(2): not null, so a time to read.
        let Timespec { sec, nsec } = unsafe { timeout.read() };
        let milliseconds = sec.saturating_mul(1000).saturating_add(nsec / 1_000_000);
        let milliseconds = milliseconds.try_into().unwrap_or(c_int::MAX);
        if lengthened(milliseconds) < 0 {
            timeout = null();
        }
    }
    real::freebsd::kevent(queue, changes, change_count, events, event_count, timeout)
}

pub(crate) fn ppoll(
    fds: *mut PollFd,
    count: c_ulong,
    timeout: *const Timespec,
    mask: *const Sigset,
) -> c_int {
    if !any() {
        return real::ppoll(fds, count, timeout, mask);
    }
    if let Some(ready) = handshakes::polled(fds, count) {
        return ready;
    }
    let mut short = NOW;
    let timeout = limit(timeout, &mut short);
    with_mask(mask, |mask| watch(fds, count, || real::ppoll(fds, count, timeout, mask)))
}

/// What is left of a timeout; `short` is room for another one.
fn limit(timeout: *const Timespec, short: &mut Timespec) -> *const Timespec {
    // SAFETY: ppoll(2), pselect(2): null or a time to read.
    let never_waits = !timeout.is_null() && unsafe { (*timeout).sec == 0 && (*timeout).nsec == 0 };
    if !never_waits && alters(Id::BusyWait) {
        let milliseconds = value(Id::BusyWait);
        short.sec = (milliseconds / 1000) as TimeT;
        short.nsec = (milliseconds % 1000 * 1_000_000) as c_long;
        return short;
    }
    if !timeout.is_null() && !never_waits && alters(Id::TimeoutsNeverFire) {
        return null();
    }
    timeout
}

/// Waits with another mask: at once with the wait, or before it.
fn with_mask(mask: *const Sigset, wait: impl Fn(*const Sigset) -> c_int) -> c_int {
    if mask.is_null() {
        return wait(mask);
    }
    // SAFETY: ppoll(2), pselect(2), sigsuspend(2): not null, so a set to read.
    let mut mask = unsafe { *mask };
    waiting_mask(&mut mask);
    window::wait_with_stale(&mut mask);
    if !on(Id::RacingWait) {
        return wait(&mask);
    }
    altered(Id::RacingWait);
    let mut old = Sigset::EMPTY;
    real::sigprocmask(SIG_SETMASK, &mask, &mut old);
    // Whatever was pending has been handled by now, and the wait misses it; also what comes while
    // the race lasts.
    let microseconds = value(Id::RacingWait);
    if microseconds > 0 {
        let race = Timespec {
            sec: (microseconds / 1_000_000) as TimeT,
            nsec: (microseconds % 1_000_000 * 1000) as c_long,
        };
        real::nanosleep(&race, null_mut());
    }
    let result = wait(null());
    let failure = errno();
    real::sigprocmask(SIG_SETMASK, &old, null_mut());
    set_errno(failure);
    result
}

/// The part that poll and ppoll have in common.
fn watch(fds: *mut PollFd, count: c_ulong, wait: impl Fn() -> c_int) -> c_int {
    let list: &mut [PollFd] = if fds.is_null() || count == 0 {
        &mut []
    } else {
        // SAFETY: poll(2): an array of `count` structures to read and write.
        unsafe { core::slice::from_raw_parts_mut(fds, count as usize) }
    };
    if on(Id::FdSetsize) && list.iter().any(|entry| entry.fd >= FD_SETSIZE) {
        return fail(Id::FdSetsize, EINVAL);
    }
    if list.iter().all(|entry| entry.events & POLLOUT == 0) {
        begin_wait();
    }
    if storm() {
        return -1;
    }
    if !on(Id::EofNeverComes) {
        let result = wait();
        interrupted(Call::Poll, result < 0);
        loop_ends(result < 0);
        return result;
    }
    // An entry that is at its end is taken out (a negative descriptor is
    // skipped, poll(2)) and put back afterwards.
    let mut silenced = [false; 256];
    let result = loop {
        let result = wait();
        if result <= 0 {
            break result;
        }
        let mut left = result;
        for (at, entry) in list.iter_mut().enumerate().take(silenced.len()) {
            let ended =
                entry.revents & (POLLIN | POLLHUP | POLLRDHUP) != 0 && streams::at_end(entry.fd);
            if entry.fd >= 0 && ended {
                altered(Id::EofNeverComes);
                entry.revents &= !(POLLIN | POLLHUP | POLLRDHUP);
                if entry.revents == 0 {
                    silenced[at] = true;
                    entry.fd = !entry.fd;
                    left -= 1;
                }
            }
        }
        if left > 0 {
            break left;
        }
    };
    for (entry, silenced) in list.iter_mut().zip(silenced) {
        if silenced {
            entry.fd = !entry.fd;
            entry.revents = 0;
        }
    }
    result
}

/// Reads anew what stale-mask-after-fork has stale.
pub(crate) fn sigtimedwait(
    set: *const Sigset,
    info: *mut c_void,
    timeout: *const Timespec,
) -> c_int {
    window::mask_is_fresh();
    real::sigtimedwait(set, info, timeout)
}

pub(crate) fn sigsuspend(mask: *const Sigset) -> c_int {
    if !any() || mask.is_null() {
        return real::sigsuspend(mask);
    }
    begin_wait();
    with_mask(mask, |mask| {
        if alters(Id::BusyWait) {
            real::ppoll(null_mut(), 0, &NOW, mask);
            set_errno(EINTR);
            -1
        } else if mask.is_null() {
            real::pause()
        } else {
            real::sigsuspend(mask)
        }
    })
}

pub(crate) fn pause() -> c_int {
    if any() {
        begin_wait();
        if alters(Id::BusyWait) {
            set_errno(EINTR);
            return -1;
        }
    }
    real::pause()
}

pub(crate) fn select(
    count: c_int,
    read: *mut c_void,
    write: *mut c_void,
    except: *mut c_void,
    timeout: *mut c_void,
) -> c_int {
    let mut timeout = timeout;
    if any() {
        begin_wait();
        // SAFETY: select(2): null or a struct timeval, laid out as a timespec is.
        let waits = !timeout.is_null()
            && unsafe {
                let time = timeout.cast::<Timespec>();
                (*time).sec != 0 || (*time).nsec != 0
            };
        if waits && alters(Id::TimeoutsNeverFire) {
            timeout = null_mut();
        }
    }
    real::select(count, read, write, except, timeout)
}

pub(crate) fn pselect(
    count: c_int,
    read: *mut c_void,
    write: *mut c_void,
    except: *mut c_void,
    timeout: *const Timespec,
    mask: *const Sigset,
) -> c_int {
    if !any() {
        return real::pselect(count, read, write, except, timeout, mask);
    }
    begin_wait();
    let mut short = NOW;
    let timeout = limit(timeout, &mut short);
    with_mask(mask, |mask| real::pselect(count, read, write, except, timeout, mask))
}

/// Whether a sleep is to be skipped.
pub(crate) fn sleepless() -> bool {
    any() && alters(Id::BusyWait)
}
