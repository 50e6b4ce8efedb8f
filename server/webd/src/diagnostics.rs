//! The server's own messages, to standard error.
//!
//! One message is one line and one `write`, so that the lines of many processes do not mix.

use std::io::Write;

/// Says `message` on one line, whatever a path or an address in it may hold. A standard error that
/// is closed or full is no reason to fail.
pub(crate) fn say(message: &str) {
    let line = format!("webd[{}]: {}\n", std::process::id(), settings::printable(message));
    let _ = std::io::stderr().write_all(line.as_bytes());
}
