//! The dispositions, the mask and the descriptors that the program was started with.

use core::sync::atomic::{AtomicU32, Ordering::Relaxed};

use crate::real;
use crate::state::{altered, on};
use crate::sys::*;
use crate::table::Id;

/// Signals ignored when the program started.
static IGNORED: AtomicU32 = AtomicU32::new(0);
/// Signals blocked when the program started.
static BLOCKED: AtomicU32 = AtomicU32::new(0);

/// Descriptors from 0 to 63 that were open when the program started, a bit for each.
static OPEN: [AtomicU32; 2] = [const { AtomicU32::new(0) }; 2];

/// The bit of a signal in a mask of the first 32; 0 for later ones.
pub(crate) fn bit(signal: c_int) -> u32 {
    if (1..=32).contains(&signal) { 1 << (signal - 1) } else { 0 }
}

/// Looks at them, before the program changes any.
pub(crate) fn remember() {
    for fd in 0..64 {
        if real::fcntl(fd, F_GETFD, 0) >= 0 {
            OPEN[fd as usize / 32].fetch_or(1 << (fd % 32), Relaxed);
        }
    }
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

/// Whether a descriptor was open when the program started.
pub(crate) fn is_inherited(fd: c_int) -> bool {
    let word = usize::try_from(fd).ok().and_then(|fd| OPEN.get(fd / 32));
    word.is_some_and(|word| word.load(Relaxed) >> (fd % 32) & 1 == 1)
}
