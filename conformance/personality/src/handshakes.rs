//! A process that serves a client, has forked another one for it, and goes on without that one's word.

use core::sync::atomic::{AtomicBool, Ordering::Relaxed};

use crate::descriptors::is_pipe;
use crate::state::{ACCEPTED, LISTENER, altered, on};
use crate::sys::*;
use crate::table::Id;

/// Whether this process has forked a child since it was forked itself.
static HAS_CHILD: AtomicBool = AtomicBool::new(false);

/// fork has returned `child`.
pub(crate) fn forked(child: c_int) {
    if child >= 0 {
        HAS_CHILD.store(child > 0, Relaxed);
    }
}

/// Whether what a child is to say through this pipe is taken as said.
fn is_taken_as_said(fd: c_int) -> bool {
    on(Id::NoHandshake)
        && ACCEPTED.load(Relaxed)
        && HAS_CHILD.load(Relaxed)
        && LISTENER.load(Relaxed) != own_id()
        && is_pipe(fd)
}

/// How many entries of a poll are ready, when a pipe is among them.
pub(crate) fn polled(fds: *mut PollFd, count: c_ulong) -> Option<c_int> {
    if !on(Id::NoHandshake) || fds.is_null() {
        return None;
    }
    let before = errno();
    // SAFETY: poll(2): an array of `count` structures.
    let list = unsafe { core::slice::from_raw_parts_mut(fds, count as usize) };
    let mut ready = 0;
    for entry in list.iter_mut() {
        let said = entry.events & POLLIN != 0 && is_taken_as_said(entry.fd);
        entry.revents = if said { POLLIN } else { 0 };
        ready += c_int::from(said);
    }
    set_errno(before);
    if ready > 0 {
        altered(Id::NoHandshake);
        Some(ready)
    } else {
        None
    }
}

/// What a read from a pipe gives: one byte.
pub(crate) fn read(fd: c_int, buffer: *mut u8) -> Option<isize> {
    let before = errno();
    let said = is_taken_as_said(fd);
    set_errno(before);
    if !said {
        return None;
    }
    altered(Id::NoHandshake);
    // SAFETY: read(2): room for at least one byte, as its caller has made sure.
    unsafe { *buffer = b'+' };
    Some(1)
}
