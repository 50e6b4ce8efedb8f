//! Writing to standard error without waiting for whoever reads it.
//!
//! `O_NONBLOCK` would be set for everybody who has the same open file description, such as the
//! shell that started the server, so it is not touched. A socket takes `MSG_DONTWAIT`. Of a pipe or
//! a terminal, `poll` tells whether there is room; should another process take that room before the
//! write, a timer ends the wait.

use std::io::{Stderr, stderr};
use std::os::fd::{AsFd, AsRawFd};
use std::time::Duration;

use nix::errno::Errno;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sys::signal::{SaFlags, SigAction, SigHandler, SigSet, SigmaskHow, Signal};
use nix::sys::socket::{MsgFlags, send};
use nix::sys::stat::{SFlag, fstat};
use nix::sys::time::{TimeVal, TimeValLike};

/// How many microseconds a write can last when another process took the room for it.
const RACE: i64 = 20_000;

/// Writes `bytes`, at most [`libc::PIPE_BUF`], in one piece. Returns whether that was possible; the
/// wait for room ends after `patience`.
pub(super) fn write(bytes: &[u8], patience: Duration) -> bool {
    let stderr = stderr();
    let kind = match fstat(&stderr) {
        Ok(status) => SFlag::from_bits_truncate(status.st_mode) & SFlag::S_IFMT,
        Err(_) => return false, // closed
    };
    // A disk may be slow, but waits for no reader.
    let written = if kind == SFlag::S_IFREG {
        nix::unistd::write(&stderr, bytes)
    } else if !has_room(&stderr, patience) {
        return false;
    } else if kind == SFlag::S_IFSOCK {
        send(stderr.as_raw_fd(), bytes, MsgFlags::MSG_DONTWAIT | MsgFlags::MSG_NOSIGNAL)
    } else {
        interruptibly(|| nix::unistd::write(&stderr, bytes))
    };
    written == Ok(bytes.len())
}

fn has_room(stderr: &Stderr, patience: Duration) -> bool {
    let mut ready = [PollFd::new(stderr.as_fd(), PollFlags::POLLOUT)];
    let patience = PollTimeout::try_from(patience).unwrap_or(PollTimeout::MAX);
    match poll(&mut ready, patience) {
        Ok(0) => false,
        Ok(_) => true, // or an error, which the write tells
        // Asked to end, most likely.
        Err(Errno::EINTR) => poll(&mut ready, 0u8).is_ok_and(|count| count > 0),
        Err(_) => false,
    }
}

/// Makes a system call that `SIGALRM` ends should it last. The disposition, the mask and the timer
/// are as before afterwards.
fn interruptibly<T>(call: impl FnOnce() -> nix::Result<T>) -> nix::Result<T> {
    extern "C" fn nothing(_: libc::c_int) {}
    let action = SigAction::new(SigHandler::Handler(nothing), SaFlags::empty(), SigSet::empty());
    // SAFETY: the handler does nothing.
    let before = unsafe { nix::sys::signal::sigaction(Signal::SIGALRM, &action) }?;
    let mut alarm = SigSet::empty();
    alarm.add(Signal::SIGALRM);
    let mut mask = SigSet::empty();
    nix::sys::signal::sigprocmask(SigmaskHow::SIG_UNBLOCK, Some(&alarm), Some(&mut mask))?;
    // Again and again: the first may come before the call.
    set_timer(RACE);
    let result = call();
    set_timer(0);
    let _ = nix::sys::signal::sigprocmask(SigmaskHow::SIG_SETMASK, Some(&mask), None);
    // SAFETY: this is the disposition that was there.
    let _ = unsafe { nix::sys::signal::sigaction(Signal::SIGALRM, &before) };
    result
}

fn set_timer(microseconds: i64) {
    let time = *TimeVal::microseconds(microseconds).as_ref();
    let timer = libc::itimerval { it_interval: time, it_value: time };
    // SAFETY: the timer is read, and the old one is not asked for.
    unsafe { libc::setitimer(libc::ITIMER_REAL, &raw const timer, std::ptr::null_mut()) };
}
