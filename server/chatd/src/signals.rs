//! Signal dispositions and masks, set explicitly in every role.
//!
//! Nothing is inherited: a parent may have ignored or blocked any signal, and both survive `exec`
//! (POSIX.1-2024, `exec`: "Signals set to be ignored … shall be set to be ignored", "the signal
//! mask … shall be inherited"). Every `sigaction` structure is built whole by `set`, so no flag
//! is ever left to what the stack held before: an accidental `SA_RESETHAND` is how the server of
//! the paper died at its second message.
//!
//! The signals that a role waits for stay blocked except inside `ppoll`, which opens the mask and
//! waits in one step (POSIX.1-2024, `ppoll`): there is no moment between "nothing to do" and
//! "asleep" in which a wake-up is lost. Where a system loses one nevertheless, `wait` first has the
//! kernel look anew.
//!
//! | role | caught | ignored |
//! |---|---|---|
//! | daemon | `SIGHUP`, `SIGINT`, `SIGTERM`, `SIGCHLD` | `SIGPIPE`, `SIGUSR1`, `SIGXFSZ` |
//! | receiver that waits for the key | `SIGINT`, `SIGTERM`, `SIGCHLD` | `SIGPIPE`, `SIGUSR1`, `SIGXFSZ` |
//! | receiver | `SIGINT`, `SIGTERM`, `SIGCHLD` | `SIGHUP`, `SIGPIPE`, `SIGUSR1`, `SIGXFSZ` |
//! | sender | `SIGUSR1` | `SIGHUP`, `SIGPIPE`, `SIGXFSZ` |

use std::fmt;
use std::sync::atomic::{AtomicBool, Ordering};

use nix::errno::Errno;
use nix::poll::{PollFd, ppoll};
use nix::sys::signal::{SaFlags, SigAction, SigHandler, SigSet, SigmaskHow, Signal, sigprocmask};
use nix::sys::time::TimeSpec;
use nix::unistd::Pid;

use crate::platform;

static TERMINATE: AtomicBool = AtomicBool::new(false);
static HANGUP: AtomicBool = AtomicBool::new(false);
static CHILD: AtomicBool = AtomicBool::new(false);

extern "C" fn note(signal: libc::c_int) {
    // Atomic stores are all that happens here; everything else waits for the main line.
    match signal {
        libc::SIGTERM | libc::SIGINT => TERMINATE.store(true, Ordering::Relaxed),
        libc::SIGHUP => HANGUP.store(true, Ordering::Relaxed),
        libc::SIGCHLD => CHILD.store(true, Ordering::Relaxed),
        _ => {} // SIGUSR1: that the wait ended is the whole message.
    }
}

/// `ppoll`: waits for descriptors, time, or a signal that `mask` opens.
pub(crate) fn wait(
    ready: &mut [PollFd],
    timeout: Option<TimeSpec>,
    mask: SigSet,
) -> nix::Result<libc::c_int> {
    if platform::PENDING_MAY_BE_OVERLOOKED {
        look_anew();
    }
    ppoll(ready, timeout, Some(mask))
}

/// Waits for no signal and for no time, whereby the kernel reads what it would else know from an earlier
/// moment (see [`platform::PENDING_MAY_BE_OVERLOOKED`]). No signal comes or goes by it.
fn look_anew() {
    let none = SigSet::empty();
    let at_once = TimeSpec::new(0, 0);
    // SAFETY: both pointers are to the variables above, and nobody wants to know more of a signal
    // that does not come: EAGAIN is the answer (POSIX.1-2024, sigtimedwait).
    unsafe { libc::sigtimedwait(none.as_ref(), std::ptr::null_mut(), at_once.as_ref()) };
}

/// Forgets `signal`, which is blocked, if it is pending, and tells whether it was. Its handler does not
/// run.
pub(crate) fn take_pending(signal: Signal) -> bool {
    let mut pending = SigSet::empty().as_ref().to_owned();
    // SAFETY: the pointer is to the variable above, which sigpending(2) fills.
    let asked = Errno::result(unsafe { libc::sigpending(&raw mut pending) });
    // SAFETY: sigpending has filled it.
    let pending = unsafe { SigSet::from_sigset_t_unchecked(pending) };
    let came = asked.is_ok() && pending.contains(signal);
    if came {
        let mut only = SigSet::empty();
        only.add(signal);
        // Pending already, so this does not wait.
        let _ = only.wait();
    }
    came
}

/// Whether `SIGTERM` or `SIGINT` has come. Stays true.
pub(crate) fn terminating() -> bool {
    TERMINATE.load(Ordering::Relaxed)
}

/// Whether `SIGHUP` has come since the last call.
pub(crate) fn take_hangup() -> bool {
    HANGUP.swap(false, Ordering::Relaxed)
}

/// Whether `SIGCHLD` has come since the last call.
pub(crate) fn take_child() -> bool {
    CHILD.swap(false, Ordering::Relaxed)
}

/// What a role does with its signals.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Dispositions {
    /// Caught, and blocked except inside `ppoll`.
    pub(crate) caught: &'static [Signal],
    /// Ignored.
    pub(crate) ignored: &'static [Signal],
}

/// The daemon's dispositions.
pub(crate) const DAEMON: Dispositions = Dispositions {
    caught: &[Signal::SIGHUP, Signal::SIGINT, Signal::SIGTERM, Signal::SIGCHLD],
    ignored: &[Signal::SIGPIPE, Signal::SIGUSR1, Signal::SIGXFSZ],
};

/// The dispositions of a receiver that waits for the key. `SIGHUP` ends it, when the daemon needs
/// its place, and is ignored as soon as the key is there: only strangers are ever ended by it.
pub(crate) const STRANGER: Dispositions = Dispositions {
    caught: RECEIVER.caught,
    ignored: &[Signal::SIGPIPE, Signal::SIGUSR1, Signal::SIGXFSZ],
};

/// A receiver's dispositions once its client has shown the key.
pub(crate) const RECEIVER: Dispositions = Dispositions {
    caught: &[Signal::SIGINT, Signal::SIGTERM, Signal::SIGCHLD],
    // A killed daemon leaves its clusters an orphaned process group, which is sent SIGHUP when one
    // of them is stopped (POSIX.1-2024, `_Exit`): the chat goes on.
    ignored: &[Signal::SIGHUP, Signal::SIGPIPE, Signal::SIGUSR1, Signal::SIGXFSZ],
};

/// A sender's dispositions. `SIGTERM` keeps its default: a sender has nothing to put in order.
pub(crate) const SENDER: Dispositions = Dispositions {
    caught: &[Signal::SIGUSR1],
    ignored: &[Signal::SIGHUP, Signal::SIGPIPE, Signal::SIGXFSZ],
};

impl Dispositions {
    /// Makes these the process's dispositions, every other signal's the default, and the mask
    /// exactly the caught signals. Returns the mask to wait with: nothing blocked.
    ///
    /// The caught signals are blocked before any disposition changes, so that none is handled by
    /// the role that the process had before.
    pub(crate) fn assume(&self) -> nix::Result<SigSet> {
        let mut blocked = SigSet::empty();
        for &signal in self.caught {
            blocked.add(signal);
        }
        sigprocmask(SigmaskHow::SIG_BLOCK, Some(&blocked), None)?;
        for signal in Signal::iterator() {
            if signal == Signal::SIGKILL || signal == Signal::SIGSTOP {
                continue;
            }
            let handler = if self.caught.contains(&signal) {
                SigHandler::Handler(note)
            } else if self.ignored.contains(&signal) {
                SigHandler::SigIgn
            } else {
                SigHandler::SigDfl
            };
            set(signal, handler)?;
        }
        TERMINATE.store(false, Ordering::Relaxed);
        HANGUP.store(false, Ordering::Relaxed);
        CHILD.store(false, Ordering::Relaxed);
        sigprocmask(SigmaskHow::SIG_SETMASK, Some(&blocked), None)?;
        Ok(SigSet::empty())
    }
}

/// Sets one disposition with a structure that is initialised whole.
///
/// No `SA_RESTART`: a wait must end when its signal comes, so every interruptible call here
/// expects `EINTR`.
fn set(signal: Signal, handler: SigHandler) -> nix::Result<()> {
    let action = SigAction::new(handler, SaFlags::empty(), SigSet::empty());
    // SAFETY: the handler only stores to atomics, which is async-signal-safe.
    unsafe { nix::sys::signal::sigaction(signal, &action) }.map(drop)
}

/// Ignores `signal` from now on.
pub(crate) fn ignore(signal: Signal) -> nix::Result<()> {
    set(signal, SigHandler::SigIgn)
}

/// Lets `signal` through while `body` runs: for calls such as `flock` that cannot open the mask
/// themselves. The signal may come just before the call; whoever sends it must send it again.
pub(crate) fn with_open<T>(signal: Signal, body: impl FnOnce() -> T) -> T {
    let mut set = SigSet::empty();
    set.add(signal);
    let opened = sigprocmask(SigmaskHow::SIG_UNBLOCK, Some(&set), None).is_ok();
    let result = body();
    if opened {
        let _ = sigprocmask(SigmaskHow::SIG_BLOCK, Some(&set), None);
    }
    result
}

/// Repeats `call` while a signal interrupts it.
pub(crate) fn retry<T>(mut call: impl FnMut() -> nix::Result<T>) -> nix::Result<T> {
    loop {
        match call() {
            Err(Errno::EINTR) => {}
            other => return other,
        }
    }
}

/// How a child has ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Ending {
    /// It exited with this status.
    Exited(i32),
    /// A signal of this number killed it.
    Killed(i32),
}

impl fmt::Display for Ending {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match *self {
            Self::Exited(status) => write!(f, "ended with status {status}"),
            Self::Killed(number) => match Signal::try_from(number) {
                Ok(signal) => write!(f, "was killed by {}", signal.as_str()),
                Err(_) => write!(f, "was killed by signal {number}"),
            },
        }
    }
}

/// Reaps `pid`, or any child, if it has ended; `None` while none has. `ECHILD`: there is none.
///
/// nix's `waitpid` reports `EINVAL` for a child that a real-time signal killed, which it has no
/// name for, when the kernel has already reaped that child: it would never be seen again.
pub(crate) fn reap(pid: Option<Pid>) -> nix::Result<Option<(Pid, Ending)>> {
    wait_for(pid, libc::WNOHANG)
}

/// Waits until `pid` has ended, and reaps it.
pub(crate) fn await_end(pid: Pid) -> Option<Ending> {
    wait_for(Some(pid), 0).ok().flatten().map(|(_, ending)| ending)
}

fn wait_for(pid: Option<Pid>, options: libc::c_int) -> nix::Result<Option<(Pid, Ending)>> {
    let pid = pid.map_or(-1, Pid::as_raw);
    loop {
        let mut status = 0;
        // SAFETY: the pointer is to the variable above.
        match Errno::result(unsafe { libc::waitpid(pid, &raw mut status, options) }) {
            Ok(0) => return Ok(None),
            Ok(ended) if libc::WIFEXITED(status) => {
                let ending = Ending::Exited(libc::WEXITSTATUS(status));
                return Ok(Some((Pid::from_raw(ended), ending)));
            }
            Ok(ended) if libc::WIFSIGNALED(status) => {
                let ending = Ending::Killed(libc::WTERMSIG(status));
                return Ok(Some((Pid::from_raw(ended), ending)));
            }
            // Stops are not asked for, but a tracer's child may show one.
            Ok(_) | Err(Errno::EINTR) => {}
            Err(errno) => return Err(errno),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const AT_ONCE: Option<TimeSpec> = Some(TimeSpec::new(0, 0));

    /// Also where `wait` does not ask for it.
    #[test]
    fn what_is_pending_ends_one_wait_and_no_look() {
        let mut blocked = SigSet::empty();
        blocked.add(Signal::SIGWINCH);
        blocked.thread_block().unwrap();
        set(Signal::SIGWINCH, SigHandler::Handler(note)).unwrap();
        assert_eq!(wait(&mut [], AT_ONCE, SigSet::empty()), Ok(0));
        nix::sys::signal::raise(Signal::SIGWINCH).unwrap();
        look_anew();
        assert_eq!(wait(&mut [], None, SigSet::empty()), Err(Errno::EINTR));
        assert_eq!(wait(&mut [], AT_ONCE, SigSet::empty()), Ok(0));
        let mut after = SigSet::empty();
        sigprocmask(SigmaskHow::SIG_BLOCK, None, Some(&mut after)).unwrap();
        assert!(after.contains(Signal::SIGWINCH), "the mask is as it was");
    }

    #[test]
    fn what_is_pending_is_forgotten() {
        let mut blocked = SigSet::empty();
        blocked.add(Signal::SIGURG);
        blocked.thread_block().unwrap();
        set(Signal::SIGURG, SigHandler::Handler(note)).unwrap();
        take_pending(Signal::SIGURG); // does not wait
        nix::sys::signal::raise(Signal::SIGURG).unwrap();
        take_pending(Signal::SIGURG);
        assert_eq!(wait(&mut [], AT_ONCE, SigSet::empty()), Ok(0));
    }
}
