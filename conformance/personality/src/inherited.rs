//! The dispositions and the mask that the program was started with.

use core::sync::atomic::{AtomicU32, Ordering::Relaxed};

use crate::real;
use crate::state::{altered, on};
use crate::sys::*;
use crate::table::Id;

/// Signals ignored when the program started.
static IGNORED: AtomicU32 = AtomicU32::new(0);
/// Signals blocked when the program started.
static BLOCKED: AtomicU32 = AtomicU32::new(0);

/// The bit of a signal in a mask of the first 32; 0 for later ones.
pub(crate) fn bit(signal: c_int) -> u32 {
    if (1..=32).contains(&signal) { 1 << (signal - 1) } else { 0 }
}

/// Looks at them, before the program changes any.
pub(crate) fn remember() {
    for signal in 1..=32 {
        let mut old = Sigaction::DEFAULT;
        if real::sigaction(signal, core::ptr::null(), &mut old) == 0 && old.handler == SIG_IGN {
            IGNORED.fetch_or(bit(signal), Relaxed);
        }
    }
    let mut mask = Sigset::EMPTY;
    real::sigprocmask(SIG_BLOCK, core::ptr::null(), &mut mask);
    BLOCKED.store(mask.low(), Relaxed);
    if on(Id::NeverReaps) && IGNORED.load(Relaxed) & bit(SIGCHLD) != 0 {
        real::sigaction(SIGCHLD, &Sigaction::DEFAULT, core::ptr::null_mut());
        altered(Id::NeverReaps);
    }
}

/// Signals ignored when the program started, as bits.
pub(crate) fn ignored() -> u32 {
    IGNORED.load(Relaxed)
}

/// Signals blocked when the program started, as bits.
pub(crate) fn blocked() -> u32 {
    BLOCKED.load(Relaxed)
}
