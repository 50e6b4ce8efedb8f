//! Dispositions and masks.

use core::sync::atomic::{AtomicU32, Ordering::Relaxed};

use crate::inherited::{self, bit};
use crate::start::any;
use crate::state::{altered, alters, on, value};
use crate::sys::*;
use crate::table::Id;
use crate::{real, window};

pub(crate) fn sigaction(signal: c_int, new: *const Sigaction, old: *mut Sigaction) -> c_int {
    if !any() || new.is_null() {
        return real::sigaction(signal, new, old);
    }
    // SAFETY: sigaction(2): not null, so a structure to read.
    let mut action = unsafe { *new };
    if !alter(signal, &mut action) {
        return real::sigaction(signal, core::ptr::null(), old);
    }
    real::sigaction(signal, &action, old)
}

/// signal() of BSD and glibc is sigaction with SA_RESTART and the signal itself
/// blocked meanwhile (glibc sysdeps/posix/signal.c, FreeBSD libc gen/signal.c).
pub(crate) fn signal(signal: c_int, handler: usize) -> usize {
    if !any() {
        return real::signal(signal, handler);
    }
    let mut new = Sigaction { handler, flags: SA_RESTART, ..Sigaction::DEFAULT };
    new.mask.set_low(bit(signal));
    let mut old = Sigaction::DEFAULT;
    if sigaction(signal, &new, &mut old) == 0 { old.handler } else { SIG_ERR }
}

/// Changes what is about to be installed; `false` when nothing is to be.
fn alter(signal: c_int, action: &mut Sigaction) -> bool {
    let bit = bit(signal);
    if inherited::ignored() & bit != 0 && action.handler != SIG_IGN && alters(Id::InheritsIgnored) {
        return false;
    }
    if on(Id::SignalDefault) && value(Id::SignalDefault) & bit != 0 {
        dispose(Id::SignalDefault, action, SIG_DFL);
    }
    if on(Id::SigpipeDefault) && signal == SIGPIPE {
        dispose(Id::SigpipeDefault, action, SIG_DFL);
    }
    if on(Id::SignalIgnored) && value(Id::SignalIgnored) & bit != 0 {
        dispose(Id::SignalIgnored, action, SIG_IGN);
    }
    if on(Id::NeverReaps) && signal == SIGCHLD {
        if action.handler == SIG_IGN {
            dispose(Id::NeverReaps, action, SIG_DFL);
        }
        flags(Id::NeverReaps, action, SA_NOCLDWAIT, 0);
    }
    if on(Id::SignalsNotBlocked) {
        let mask = action.mask.low();
        if mask & value(Id::SignalsNotBlocked) != 0 {
            action.mask.set_low(mask & !value(Id::SignalsNotBlocked));
            altered(Id::SignalsNotBlocked);
        }
    }
    if action.handler == SIG_DFL || action.handler == SIG_IGN {
        return true;
    }
    if on(Id::SysvSignals) {
        flags(Id::SysvSignals, action, SA_RESTART, SA_RESETHAND | SA_NODEFER);
    }
    if on(Id::UninitialisedSaFlags) {
        let garbage = garbage_flags(value(Id::UninitialisedSaFlags), signal);
        flags(Id::UninitialisedSaFlags, action, GARBAGE, garbage);
    }
    if on(Id::NoSaRestart) {
        flags(Id::NoSaRestart, action, SA_RESTART, 0);
    }
    if on(Id::EintrIsFatal) {
        action.flags &= !SA_RESTART;
    }
    true
}

fn dispose(id: Id, action: &mut Sigaction, handler: usize) {
    if action.handler != handler {
        action.handler = handler;
        altered(id);
    }
}

fn flags(id: Id, action: &mut Sigaction, clear: c_int, set: c_int) {
    let flags = action.flags & !clear | set;
    if flags != action.flags {
        action.flags = flags;
        altered(id);
    }
}

/// The flags that garbage can set without the program crashing for another
/// reason: SA_SIGINFO would change what the handler is called with.
const GARBAGE: c_int = SA_RESETHAND | SA_NODEFER | SA_RESTART | SA_ONSTACK;

/// The same for the same seed and signal, in every process and on every machine;
/// seed 1 gives every signal SA_RESETHAND, the case of the paper.
fn garbage_flags(seed: u32, signal: c_int) -> c_int {
    let mut word = seed.wrapping_mul(0x9e37_79b9) ^ (signal as u32).wrapping_mul(0x85eb_ca6b);
    word ^= word >> 15;
    word = word.wrapping_mul(0xc2b2_ae35);
    word ^= word >> 13;
    let mut flags = if seed == 1 { SA_RESETHAND } else { 0 };
    for (at, flag) in [SA_RESETHAND, SA_NODEFER, SA_RESTART, SA_ONSTACK].into_iter().enumerate() {
        if word >> at & 1 == 1 {
            flags |= flag;
        }
    }
    flags
}

/// sigprocmask and pthread_sigmask, which differ in how they report errors.
pub(crate) fn mask(
    how: c_int,
    set: *const Sigset,
    old: *mut Sigset,
    real: fn(c_int, *const Sigset, *mut Sigset) -> c_int,
) -> c_int {
    if !any() || set.is_null() {
        return real(how, set, old);
    }
    // SAFETY: sigprocmask(2): not null, so a set to read.
    let mut wanted = unsafe { *set };
    let before = wanted.low();
    if on(Id::SignalsNotBlocked) && how != SIG_UNBLOCK {
        wanted.set_low(wanted.low() & !value(Id::SignalsNotBlocked));
        if wanted.low() != before {
            altered(Id::SignalsNotBlocked);
        }
    }
    if on(Id::InheritsBlocked) {
        let inherited = inherited::blocked();
        let kept = match how {
            SIG_UNBLOCK => wanted.low() & !inherited,
            SIG_SETMASK => wanted.low() | inherited,
            _ => wanted.low(),
        };
        if kept != wanted.low() {
            wanted.set_low(kept);
            altered(Id::InheritsBlocked);
        }
    }
    if how == SIG_SETMASK && wanted.low() == 0 {
        window::mask_is_fresh();
    }
    real(how, &wanted, old)
}

/// The mask for the time of a wait.
pub(crate) fn waiting_mask(mask: &mut Sigset) {
    if on(Id::InheritsBlocked) {
        let kept = mask.low() | inherited::blocked();
        if kept != mask.low() {
            mask.set_low(kept);
            altered(Id::InheritsBlocked);
        }
    }
}

/// Whether this call is one of those that eintr-storm interrupts: the first, and
/// half of the others in a fixed irregular order. A strict alternation would
/// starve a loop of two calls, poll and read, that begins again after each EINTR.
pub(crate) fn storm() -> bool {
    static CALLS: AtomicU32 = AtomicU32::new(0);
    if !on(Id::EintrStorm) {
        return false;
    }
    let word = CALLS.fetch_add(1, Relaxed).wrapping_mul(0x9e37_79b9);
    let hit = (word ^ word >> 15).wrapping_mul(0x85eb_ca6b) >> 31 == 0;
    if hit {
        altered(Id::EintrStorm);
        set_errno(EINTR);
    }
    hit
}

/// A kind of call that eintr-is-fatal can be limited to, as a bit of its value.
#[derive(Clone, Copy)]
pub(crate) enum Call {
    Accept = 1,
    Read = 2,
    Write = 4,
    Flock = 8,
    Poll = 16,
    Wait = 32,
}

/// Turns EINTR into EIO where a program does not know EINTR.
pub(crate) fn interrupted(call: Call, failed: bool) {
    if failed
        && errno() == EINTR
        && value(Id::EintrIsFatal) & call as u32 != 0
        && alters(Id::EintrIsFatal)
    {
        set_errno(EIO);
    }
}
