//! The server's own messages: to standard error, or to the system's log.
//!
//! One message is one line and one `write`, so that the lines of many processes do not mix. Keys
//! and chat content are never part of a message.
//!
//! Nobody waits for a reader of messages: one that can't be written at once is dropped and counted,
//! and the next one that can be is preceded by their number.

mod dropped;
mod stderr;
mod syslog;

use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

static TO_SYSLOG: AtomicBool = AtomicBool::new(false);

/// How long the last words of a server that doesn't start may wait for their reader.
const LAST_WORDS: Duration = Duration::from_secs(5);

/// Where the server's own messages go.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum, serde::Deserialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Sink {
    /// Standard error, which a background daemon then keeps open.
    Stderr,
    /// The system's log, facility `daemon`.
    Syslog,
}

/// How urgent a message is, in the numbers of `syslog(3)`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(i32)]
enum Severity {
    Error = libc::LOG_ERR,
    Warning = libc::LOG_WARNING,
    Info = libc::LOG_INFO,
}

/// Directs all later messages of this process and its children to `sink`.
pub(crate) fn open(sink: Sink) {
    TO_SYSLOG.store(sink == Sink::Syslog, Ordering::Relaxed);
    if sink == Sink::Syslog {
        syslog::open();
    }
    dropped::share();
}

/// Says `message` with its urgency.
fn say(severity: Severity, message: &str) {
    match dropped::take() {
        0 => {}
        count => {
            let told = match count {
                1 => "1 message was dropped: it could not be written".to_owned(),
                _ => format!("{count} messages were dropped: they could not be written"),
            };
            if !write(Severity::Warning, &told) {
                return dropped::add(count + 1);
            }
        }
    }
    if !write(severity, message) {
        dropped::add(1);
    }
}

fn write(severity: Severity, message: &str) -> bool {
    // One line, whatever a name or an address may hold.
    let mut line = settings::printable(message);
    if TO_SYSLOG.load(Ordering::Relaxed) {
        return syslog::write(severity, &line);
    }
    line.insert_str(0, &format!("chatd[{}]: ", std::process::id()));
    stderr::write(one_piece(line).as_bytes(), Duration::ZERO)
}

/// `line` with its end, as far as a pipe takes it in one piece (POSIX.1-2024, write, PIPE_BUF).
fn one_piece(mut line: String) -> String {
    const MORE: &str = "…";
    if line.len() >= libc::PIPE_BUF {
        let mut end = libc::PIPE_BUF - MORE.len() - 1;
        while !line.is_char_boundary(end) {
            end -= 1;
        }
        line.truncate(end);
        line.push_str(MORE);
    }
    line.push('\n');
    line
}

/// Says on standard error why the program ends. Unlike a message, this waits for a while.
pub(crate) fn last_words(text: &str) {
    stderr::write(
        one_piece(format!("chatd: {}", settings::printable(text))).as_bytes(),
        LAST_WORDS,
    );
}

/// Something went wrong that someone should look at.
pub(crate) fn error(message: &str) {
    say(Severity::Error, message);
}

/// Something is unusual and the server goes on.
pub(crate) fn warning(message: &str) {
    say(Severity::Warning, message);
}

/// An ordinary event.
pub(crate) fn info(message: &str) {
    say(Severity::Info, message);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_message_is_one_piece() {
        assert_eq!(one_piece("joined".into()), "joined\n");
        for length in libc::PIPE_BUF - 3..libc::PIPE_BUF + 3 {
            for letter in ["x", "ä", "🥭"] {
                let piece = one_piece(letter.repeat(length));
                assert!(piece.len() <= libc::PIPE_BUF, "{}", piece.len());
                assert!(piece.ends_with("\n"));
            }
        }
    }
}
