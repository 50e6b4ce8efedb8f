//! The server's own messages, to standard error.
//!
//! One message is one line and one `write`, so that the lines of many processes do not mix. Nobody
//! waits for whoever reads them: where there is no room for a line it is dropped. (A pipe that has
//! room has it for a whole line, pipe(7), unless another process takes it just then.)

use std::io::Write;
use std::os::fd::AsFd;

use nix::poll::{PollFd, PollFlags, poll};

/// Says `message` on one line, whatever a path or an address in it may hold. A standard error that
/// is closed or full is no reason to fail, nor to wait.
pub(crate) fn say(message: &str) {
    let line = format!("webd[{}]: {}", std::process::id(), settings::printable(message));
    let most = line.len().min(libc::PIPE_BUF - 1);
    let stderr = std::io::stderr();
    let mut ready = [PollFd::new(stderr.as_fd(), PollFlags::POLLOUT)];
    if poll(&mut ready, 0u8) == Ok(0) {
        return;
    }
    let _ = stderr.lock().write_all(&[&line.as_bytes()[..most], b"\n"].concat());
}
