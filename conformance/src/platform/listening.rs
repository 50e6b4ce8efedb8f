//! Who listens where, from what each system tells of a process's sockets.

use super::system::listeners;

/// Whether a process has a socket open that listens on `port`.
pub fn listens(pid: i32, port: u16) -> Result<bool, String> {
    Ok(listeners(pid)?.iter().any(|address| address.port() == port))
}
