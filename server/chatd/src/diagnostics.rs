//! The server's own messages: to standard error, or to the system's log.
//!
//! One message is one line and one `write`, so that the lines of many processes do not mix. Keys
//! and chat content are never part of a message.

use std::io::Write;
use std::sync::atomic::{AtomicBool, Ordering};

use nix::syslog::{Facility, Priority, Severity};

static TO_SYSLOG: AtomicBool = AtomicBool::new(false);

/// Where the server's own messages go.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum, serde::Deserialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Sink {
    /// Standard error, which a background daemon then keeps open.
    Stderr,
    /// `syslog(3)`, facility `daemon`.
    Syslog,
}

/// Directs all later messages of this process and its children to `sink`.
pub(crate) fn open(sink: Sink) {
    TO_SYSLOG.store(sink == Sink::Syslog, Ordering::Relaxed);
    if sink == Sink::Syslog {
        // SAFETY: openlog keeps the pointer, and a string constant lives for ever. (nix's wrapper
        // passes a copy on the stack on systems other than Linux.)
        unsafe { libc::openlog(c"chatd".as_ptr(), libc::LOG_PID, libc::LOG_DAEMON) };
    }
}

/// Says `message` with its urgency.
fn say(severity: Severity, message: &str) {
    // One line, whatever a name or an address may hold.
    let line = settings::printable(message);
    if TO_SYSLOG.load(Ordering::Relaxed) {
        let _ = nix::syslog::syslog(Priority::new(severity, Facility::LOG_DAEMON), line.as_str());
    } else {
        let line = format!("chatd[{}]: {line}\n", std::process::id());
        let _ = std::io::stderr().write_all(line.as_bytes());
    }
}

/// Something went wrong that someone should look at.
pub(crate) fn error(message: &str) {
    say(Severity::LOG_ERR, message);
}

/// Something is unusual and the server goes on.
pub(crate) fn warning(message: &str) {
    say(Severity::LOG_WARNING, message);
}

/// An ordinary event.
pub(crate) fn info(message: &str) {
    say(Severity::LOG_INFO, message);
}
