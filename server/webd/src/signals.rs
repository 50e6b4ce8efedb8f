//! Signal dispositions and masks, set explicitly in each role.
//!
//! Nothing is inherited: a parent may have ignored or blocked any signal, and both survive `exec`.
//! A handler notes its signal and writes a byte to a socket that the role's loop waits on. So no wait
//! depends on the mask, and what FreeBSD 13.2 overlooks after a fork (chatd's `platform`) is no matter
//! here. Before an upgrade's exec all signals are blocked: what comes then stays pending for the new program.
//!
//! | role | caught | ignored |
//! |---|---|---|
//! | master | `SIGCHLD`, `SIGTERM`, `SIGINT`, `SIGQUIT`, `SIGHUP`, `SIGUSR1`, `SIGUSR2` | `SIGPIPE`, `SIGXFSZ` |
//! | worker | `SIGTERM` (drain), `SIGUSR1` (ends a wait of the accepting thread) | `SIGINT`, `SIGQUIT`, `SIGHUP`, `SIGUSR2`, `SIGPIPE`, `SIGXFSZ` |
//! | `webd worker` | the same, and `SIGINT` as `SIGTERM` | `SIGHUP`, `SIGUSR2`, `SIGPIPE`, `SIGXFSZ` |

use std::io;
use std::os::fd::IntoRawFd;
use std::os::unix::net::UnixStream;
use std::sync::atomic::{AtomicI32, AtomicU32, Ordering};

use nix::sys::signal::{SaFlags, SigAction, SigHandler, SigSet, SigmaskHow, Signal, sigaction};

static PENDING: AtomicU32 = AtomicU32::new(0);
static WAKE: AtomicI32 = AtomicI32::new(-1);

extern "C" fn note(signal: libc::c_int) {
    // Only what is safe here: an atomic operation, and a write that cannot block.
    PENDING.fetch_or(1 << signal, Ordering::Relaxed);
    let errno = nix::errno::Errno::last_raw();
    // SAFETY: one byte that lives for ever, and a descriptor that is never closed.
    unsafe { libc::write(WAKE.load(Ordering::Relaxed), c"!".as_ptr().cast(), 1) };
    nix::errno::Errno::set_raw(errno);
}

extern "C" fn interrupt(_: libc::c_int) {
    // That a system call of this thread ended is the whole message.
}

/// Whether `signal` has come since the last call.
pub(crate) fn take(signal: Signal) -> bool {
    let bit = 1 << signal as libc::c_int;
    PENDING.fetch_and(!bit, Ordering::Relaxed) & bit != 0
}

/// Makes the master's dispositions this process's. The socket becomes readable when a signal has
/// come; whoever reads it asks [`take`] then.
pub(crate) fn assume_master() -> io::Result<UnixStream> {
    let caught = [
        Signal::SIGCHLD,
        Signal::SIGTERM,
        Signal::SIGINT,
        Signal::SIGQUIT,
        Signal::SIGHUP,
        Signal::SIGUSR1,
        Signal::SIGUSR2,
    ];
    assume(&caught, &[])
}

/// Makes a worker's dispositions this process's, like [`assume_master`].
pub(crate) fn assume_worker(has_master: bool) -> io::Result<UnixStream> {
    use Signal::{SIGHUP, SIGINT, SIGQUIT, SIGTERM, SIGUSR2};
    if has_master {
        // A terminal sends these to the master and its workers alike; the master decides.
        assume(&[SIGTERM], &[SIGINT, SIGQUIT, SIGHUP, SIGUSR2])
    } else {
        assume(&[SIGTERM, SIGINT], &[SIGHUP, SIGUSR2])
    }
}

/// Keeps every signal pending from now on.
pub(crate) fn block_all() {
    let _ = nix::sys::signal::sigprocmask(SigmaskHow::SIG_SETMASK, Some(&SigSet::all()), None);
}

/// Lets signals in.
pub(crate) fn unblock_all() -> nix::Result<()> {
    nix::sys::signal::sigprocmask(SigmaskHow::SIG_SETMASK, Some(&SigSet::empty()), None)
}

/// Ends a system call that `thread` waits in, if it is a worker's.
pub(crate) fn interrupt_thread(thread: nix::sys::pthread::Pthread) {
    let _ = nix::sys::pthread::pthread_kill(thread, Signal::SIGUSR1);
}

fn assume(caught: &[Signal], ignored: &[Signal]) -> io::Result<UnixStream> {
    let (woken, wake) = UnixStream::pair()?;
    woken.set_nonblocking(true)?;
    wake.set_nonblocking(true)?;
    WAKE.store(wake.into_raw_fd(), Ordering::Relaxed);
    for signal in Signal::iterator() {
        let handler = match signal {
            Signal::SIGKILL | Signal::SIGSTOP => continue,
            Signal::SIGPIPE | Signal::SIGXFSZ => SigHandler::SigIgn,
            signal if caught.contains(&signal) => SigHandler::Handler(note),
            signal if ignored.contains(&signal) => SigHandler::SigIgn,
            Signal::SIGUSR1 => SigHandler::Handler(interrupt),
            _ => SigHandler::SigDfl,
        };
        // Without SA_RESTART: every wait is meant to end.
        let action = SigAction::new(handler, SaFlags::empty(), SigSet::empty());
        // SAFETY: the handlers above do nothing but what is safe in a handler.
        unsafe { sigaction(signal, &action) }?;
    }
    // Only now, so that what is pending meets its handler.
    unblock_all()?;
    Ok(woken)
}
