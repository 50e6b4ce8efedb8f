//! Ctrl-C: what is under way ends by itself, and cleans up.

use std::sync::atomic::{AtomicBool, Ordering};

use nix::sys::signal::{SaFlags, SigAction, SigHandler, SigSet, Signal, sigaction};

static REQUESTED: AtomicBool = AtomicBool::new(false);

extern "C" fn note(_signal: libc::c_int) {
    REQUESTED.store(true, Ordering::Relaxed);
}

/// From here on `SIGINT`, `SIGTERM` and `SIGHUP` are noted; a second one of a kind ends the program
/// at once.
///
/// # Errors
/// sigaction(2) refuses.
pub fn catch() -> nix::Result<()> {
    // SA_RESETHAND on purpose: whoever asks twice does not want to wait.
    let action = SigAction::new(SigHandler::Handler(note), SaFlags::SA_RESETHAND, SigSet::empty());
    for signal in [Signal::SIGINT, Signal::SIGTERM, Signal::SIGHUP] {
        // SAFETY: the handler only stores to an atomic.
        unsafe { sigaction(signal, &action) }?;
    }
    Ok(())
}

/// Whether one was noted.
#[must_use]
pub fn requested() -> bool {
    REQUESTED.load(Ordering::Relaxed)
}
