//! Sockets as Darwin has them.

use core::sync::atomic::{AtomicU32, Ordering::Relaxed};

use crate::real;
use crate::state::{altered, fail, on, value};
use crate::sys::*;
use crate::table::Id;

/// The values of darwin-sockets.
const ACCEPT: u32 = 1;
const OPTIONS: u32 = 2;
const SEND: u32 = 4;

fn has(part: u32) -> bool {
    on(Id::DarwinSockets) && value(Id::DarwinSockets) & part != 0
}

/// Whether nobody is at the other end of a stream socket any more.
fn is_abandoned(fd: c_int) -> bool {
    let mut state = PollFd { fd, events: POLLIN, revents: 0 };
    real::poll(&mut state, 1, 0) > 0 && state.revents & (POLLERR | POLLHUP) != 0
}

/// After an accept: the address of a peer that has gone is empty.
pub(crate) fn accepted(client: c_int, len: *mut c_uint) {
    if has(ACCEPT) && !len.is_null() && is_abandoned(client) {
        altered(Id::DarwinSockets);
        // SAFETY: accept(2): not null, so a length to write.
        unsafe { *len = 0 };
    }
}

/// Whether an option cannot be set, since the peer has gone.
pub(crate) fn refuses_options(fd: c_int) -> bool {
    has(OPTIONS) && {
        let before = errno();
        let (mut peer, mut len) = ([0u8; 128], 128);
        let connected = real::getpeername(fd, peer.as_mut_ptr(), &mut len) == 0;
        let refuses = (connected || errno() == ENOTCONN && !listens(fd)) && is_abandoned(fd);
        set_errno(before);
        if refuses {
            fail(Id::DarwinSockets, EINVAL);
        }
        refuses
    }
}

fn listens(fd: c_int) -> bool {
    let (mut listens, mut len) = (0 as c_int, 4 as c_uint);
    // SAFETY: getsockopt(2): an int and its size, both ours.
    unsafe {
        getsockopt(fd, SOL_SOCKET, SO_ACCEPTCONN, (&raw mut listens).cast(), &mut len) < 0
            || listens != 0
    }
}

/// Whether a send fails: the first of a process while the connection is torn down, as Darwin says, the
/// second for want of room.
pub(crate) fn send_fails() -> bool {
    static SENT: AtomicU32 = AtomicU32::new(0);
    if !has(SEND) {
        return false;
    }
    let error = match SENT.fetch_add(1, Relaxed) {
        0 => EPROTOTYPE,
        1 => ENOBUFS,
        _ => return false,
    };
    fail(Id::DarwinSockets, error);
    true
}
