//! The window between fork and what a child does first, and who is told of an end meanwhile.

use core::ptr::null_mut;
use core::sync::atomic::{AtomicBool, AtomicI32, Ordering::Relaxed};

use crate::inherited::bit;
use crate::real;
use crate::state::{LISTENER, altered, alters, on, value};
use crate::sys::*;
use crate::table::Id;

/// What a child does before its fork returns.
pub(crate) fn enter() {
    if alters(Id::SlowChild) {
        let_pass(value(Id::SlowChild));
    }
    if on(Id::ForkLosesSignals) {
        lose_signals();
    }
    #[cfg(target_os = "linux")]
    if on(Id::CloseRangeOnly) {
        close_range_or_end();
    }
}

/// Lets so much time pass. Signals are handled meanwhile, by whatever handlers there are.
pub(crate) fn let_pass(milliseconds: u32) {
    let mut left = Timespec {
        sec: (milliseconds / 1000) as TimeT,
        nsec: (milliseconds % 1000 * 1_000_000) as c_long,
    };
    let mut ask = Timespec { sec: left.sec, nsec: left.nsec };
    while real::nanosleep(&ask, &mut left) < 0 && errno() == EINTR {
        ask = Timespec { sec: left.sec, nsec: left.nsec };
    }
}

/// Throws away what came in the window: ignoring a signal discards it (POSIX.1-2024, sigaction).
fn lose_signals() {
    let mut pending = Sigset::EMPTY;
    if real::sigpending(&mut pending) < 0 {
        return;
    }
    for signal in [SIGTERM, SIGINT] {
        if pending.low() & bit(signal) != 0 {
            altered(Id::ForkLosesSignals);
            let ignore = Sigaction { handler: SIG_IGN, ..Sigaction::DEFAULT };
            let mut before = Sigaction::DEFAULT;
            real::sigaction(signal, &ignore, &mut before);
            real::sigaction(signal, &before, null_mut());
        }
    }
}

/// Whether this process has forked, or was, and has not opened its mask since.
static STALE: AtomicBool = AtomicBool::new(false);

/// In the parent and in the child, after a fork.
pub(crate) fn mask_goes_stale() {
    STALE.store(on(Id::StaleMaskAfterFork), Relaxed);
}

/// The mask has been opened by a call of its own, or looked at.
pub(crate) fn mask_is_fresh() {
    STALE.store(false, Relaxed);
}

/// The first wait after a fork: what is pending by now does not end it.
pub(crate) fn wait_with_stale(mask: &mut Sigset) {
    if !STALE.swap(false, Relaxed) {
        return;
    }
    let_pass(value(Id::StaleMaskAfterFork));
    let mut pending = Sigset::EMPTY;
    if real::sigpending(&mut pending) == 0 && pending.low() & !mask.low() != 0 {
        altered(Id::StaleMaskAfterFork);
        mask.set_low(mask.low() | pending.low());
    }
}

/// Closes nothing, by the one call that this program knows for it.
#[cfg(target_os = "linux")]
fn close_range_or_end() {
    /// The same number on every architecture (Linux, since 5.1).
    const SYS_CLOSE_RANGE: c_long = 436;
    // SAFETY: close_range(2): three numbers; no descriptor is that high.
    let result = unsafe { syscall(SYS_CLOSE_RANGE, 0x7fff_ff00, 0x7fff_ff01, 0) };
    if result < 0 {
        altered(Id::CloseRangeOnly);
        real::_exit(1);
    }
}

/// In the parent: waits until the child has ended, and leaves it to be reaped.
pub(crate) fn wait_in_turn(child: c_int) {
    const P_PID: c_int = 1;
    if child <= 0 || LISTENER.load(Relaxed) != own_id() || !alters(Id::ServesInTurn) {
        return;
    }
    let mut info = [0u64; 16];
    // SAFETY: waitid(2): room for a siginfo_t, 128 bytes at most.
    while unsafe {
        waitid(wait_kind(P_PID), child as _, info.as_mut_ptr().cast(), WEXITED | WNOWAIT)
    } < 0
        && errno() == EINTR
    {}
}

/// P_PID is 1 on Linux and 0 on FreeBSD (sys/wait.h).
fn wait_kind(linux: c_int) -> c_int {
    if cfg!(target_os = "freebsd") { 0 } else { linux }
}

/// Whether whoever is signalled has been told of its end before, and is told no more.
pub(crate) fn told_before(pid: c_int, signal: c_int) -> bool {
    static TOLD: [AtomicI32; 256] = [const { AtomicI32::new(0) }; 256];
    if !on(Id::ToldOnce) || signal == 0 || pid == 0 {
        return false;
    }
    let known = |other: c_int| TOLD.iter().any(|told| told.load(Relaxed) == other);
    // A group may hold one that was told.
    let told = known(pid) || pid < 0 && TOLD[0].load(Relaxed) != 0;
    if told {
        altered(Id::ToldOnce);
    } else if signal == SIGTERM {
        let _ = TOLD.iter().any(|told| told.compare_exchange(0, pid, Relaxed, Relaxed).is_ok());
    }
    told
}
