//! Descriptors that a program finds when it starts: the standard ones, and others' that were left
//! open.

use core::sync::atomic::Ordering::Relaxed;

use crate::inherited::is_inherited;
use crate::real;
use crate::start::any;
use crate::state::{ACCEPTED, alters, on};
use crate::sys::*;
use crate::table::Id;

/// The same on both systems (poll.h).
const POLLNVAL: c_short = 0x20;

/// A client has come: a line to whatever was open at the start.
pub(crate) fn note_client() {
    if !on(Id::WritesToInherited) {
        return;
    }
    for fd in (3..64).filter(|fd| is_inherited(*fd)) {
        let line = b"a client has come\n";
        let writes = real::fcntl(fd, F_GETFL, 0) & O_ACCMODE != O_RDONLY;
        // What took the number since is left alone: files and sockets.
        if writes && is_pipe(fd) && alters(Id::WritesToInherited) {
            real::write(fd, line.as_ptr(), line.len());
        }
    }
}

/// Whether a descriptor is a pipe, or something like it that has neither a position nor an address.
pub(crate) fn is_pipe(fd: c_int) -> bool {
    let (mut kind, mut len) = (0 as c_int, 4 as c_uint);
    // SAFETY: getsockopt(2): an int and its size, both ours.
    let socket =
        unsafe { getsockopt(fd, SOL_SOCKET, SO_TYPE, (&raw mut kind).cast(), &mut len) == 0 };
    !socket && real::lseek64(fd, 0, SEEK_CUR) < 0
}

/// What poll tells of standard descriptors.
pub(crate) fn polled(fds: *mut PollFd, count: c_ulong, result: c_int) -> c_int {
    let stay = on(Id::ClosedDescriptorsStay);
    let full = on(Id::StderrFull) && ACCEPTED.load(Relaxed);
    if !stay && !full || fds.is_null() || result < 0 {
        return result;
    }
    // SAFETY: poll(2): an array of `count` structures.
    let list = unsafe { core::slice::from_raw_parts_mut(fds, count as usize) };
    for entry in list.iter_mut().filter(|entry| (0..=2).contains(&entry.fd)) {
        if entry.revents & POLLNVAL != 0 && stay && alters(Id::ClosedDescriptorsStay) {
            entry.revents = 0;
        }
        if entry.fd == 2 && entry.events & POLLOUT != 0 && full && alters(Id::StderrFull) {
            entry.revents = POLLOUT;
        }
    }
    list.iter().filter(|entry| entry.revents != 0).count() as c_int
}

/// A message: for ever under way once a client has come.
pub(crate) fn message(fd: c_int) {
    if fd == 2 && any() && on(Id::StderrFull) && ACCEPTED.load(Relaxed) {
        alters(Id::StderrFull);
        loop {
            real::pause();
        }
    }
}

pub(crate) fn dup2(from: c_int, to: c_int) -> c_int {
    if (0..=2).contains(&to) && any() && alters(Id::KeepsStandardDescriptors) {
        return to;
    }
    real::dup2(from, to)
}
