//! Messages to the system's log, without waiting for it.
//!
//! `syslog(3)` waits when nobody reads its socket, which is why it isn't used. The datagrams are
//! the same as its own (RFC 3164, 4.1, without a host name).

use std::ffi::CStr;
use std::os::fd::AsRawFd;
use std::os::unix::net::UnixDatagram;
use std::sync::{Mutex, PoisonError};

use nix::sys::socket::{MsgFlags, send};

use super::Severity;
use crate::platform::SYSLOG_SOCKET;

/// Connected early, while the server may still reach it, and anew when its reader was restarted.
static SOCKET: Mutex<Option<UnixDatagram>> = Mutex::new(None);

/// Connects, if there is something to connect to.
pub(super) fn open() {
    *SOCKET.lock().unwrap_or_else(PoisonError::into_inner) = connect();
}

/// Sends `message`. Returns whether that was possible at once.
pub(super) fn write(severity: Severity, message: &str) -> bool {
    let priority = libc::LOG_DAEMON | severity as libc::c_int;
    let pid = std::process::id();
    let datagram = format!("<{priority}>{} chatd[{pid}]: {message}", time_of_day());
    let mut socket = SOCKET.lock().unwrap_or_else(PoisonError::into_inner);
    for _ in 0..2 {
        if socket.is_none() {
            *socket = connect();
        }
        let Some(connected) = &*socket else { return false };
        let flags = MsgFlags::MSG_DONTWAIT | MsgFlags::MSG_NOSIGNAL;
        match send(connected.as_raw_fd(), datagram.as_bytes(), flags) {
            Ok(_) => return true,
            Err(nix::Error::EAGAIN | nix::Error::ENOBUFS | nix::Error::EMSGSIZE) => return false,
            Err(_) => *socket = None, // its reader has gone; there may be a new one
        }
    }
    false
}

fn connect() -> Option<UnixDatagram> {
    let socket = UnixDatagram::unbound().ok()?;
    socket.connect(SYSLOG_SOCKET).ok()?;
    Some(socket)
}

/// `Nov  5 13:00:09`, in local time.
fn time_of_day() -> String {
    let mut text = [0u8; 32];
    // SAFETY: `time` is given no pointer; the others read and write the variables above them, and
    // `strftime` no more than the length of its buffer. All-zero bytes are a valid `tm`.
    let length = unsafe {
        let now = libc::time(std::ptr::null_mut());
        let mut local: libc::tm = std::mem::zeroed();
        libc::localtime_r(&raw const now, &raw mut local);
        let format: &CStr = c"%b %e %H:%M:%S";
        let to = text.as_mut_ptr().cast();
        libc::strftime(to, text.len(), format.as_ptr(), &raw const local)
    };
    String::from_utf8_lossy(&text[..length]).into_owned()
}
