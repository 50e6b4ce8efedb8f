//! Every way in which images and machines fail, each told in one sentence.

use std::fmt;
use std::path::{Path, PathBuf};

use settings::{SettingsError, printable, reason};

/// A result whose error is told to the user as it is.
pub(crate) type Result<T> = std::result::Result<T, Error>;

/// What went wrong. `Display` is one sentence: what, where, and what would be right.
#[derive(Debug)]
pub(crate) enum Error {
    /// The command line, or a file that it names, asks for what cannot be done.
    Usage(String),
    /// The image, or its checksums, cannot be had: an HTTP status or a network error. `note` is what
    /// the catalogue says of its availability; it may be empty.
    Unavailable { id: String, url: String, why: String, note: String },
    /// The publisher's checksums do not name such a file.
    NotPublished(String),
    /// An archive or a disk that is not what it should be, although its checksum is right. Of a
    /// download, `file` is its URL.
    Damaged { id: String, file: String, why: String },
    /// No space left (ENOSPC), or the quota is used up (EDQUOT). `kept` is what is left of the file;
    /// it may be empty.
    DiskFull { path: PathBuf, kept: String },
    /// A file or directory cannot be used; `action` is a verb.
    Io { action: &'static str, path: PathBuf, error: std::io::Error },
    /// A program is not installed; `install` is the command that installs it on this system.
    ToolMissing { program: String, install: String },
    /// Anything else that keeps an image or a machine from its end: the whole sentence.
    Failed(String),
    /// The suite ran in the guest, and a requirement failed.
    SuiteFailed { id: String, why: String },
    /// The suite's options select nothing there.
    NothingSelected { id: String, why: String },
    /// Ctrl-C, or another request to end.
    Interrupted,
}

impl Error {
    /// An error of the file system, of which a full disk is a kind of its own.
    pub(crate) fn io(action: &'static str, path: &Path, error: std::io::Error) -> Self {
        match error.raw_os_error() {
            Some(libc::ENOSPC | libc::EDQUOT) => {
                Self::DiskFull { path: path.to_owned(), kept: String::new() }
            }
            _ => Self::Io { action, path: path.to_owned(), error },
        }
    }

    pub(crate) fn build_failed(id: &str, why: impl fmt::Display) -> Self {
        Self::Failed(format!("image `{id}`: the build failed: {why}"))
    }

    /// QEMU did not start, or ended by itself before the guest was done.
    pub(crate) fn qemu_failed(id: &str, why: impl fmt::Display) -> Self {
        Self::Failed(format!("image `{id}`: QEMU failed: {why}"))
    }

    /// The guest did not come up. `console` is the end of what it showed.
    pub(crate) fn not_booted(id: &str, why: impl fmt::Display, console: &str) -> Self {
        let console = one_line(console);
        Self::Failed(format!("image `{id}` did not boot: {why}; the console's end: {console}"))
    }

    /// The guest came up and left no result.
    pub(crate) fn no_result(id: &str, why: impl fmt::Display, console: &str) -> Self {
        let console = one_line(console);
        Self::Failed(format!("image `{id}` wrote no result: {why}; the console's end: {console}"))
    }

    /// The guest cannot run the program that was put into it; `why` is what its loader said.
    pub(crate) fn does_not_run(id: &str, payload: &Path, why: &str) -> Self {
        Self::Failed(format!(
            "image `{id}`: the payload {} does not run there: {}",
            payload.display(),
            one_line(why)
        ))
    }

    /// The suite ran in the guest and came to no verdict.
    pub(crate) fn no_verdict(id: &str, why: impl fmt::Display) -> Self {
        Self::Failed(format!("image `{id}`: no verdict: {why}"))
    }
}

impl From<SettingsError> for Error {
    fn from(error: SettingsError) -> Self {
        Self::Usage(error.to_string())
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let in_brackets = |text: &str| match text {
            "" => String::new(),
            text => format!(" ({text})"),
        };
        match self {
            Self::Usage(sentence) | Self::NotPublished(sentence) | Self::Failed(sentence) => {
                f.write_str(sentence)
            }
            Self::Unavailable { id, url, why, note } => {
                let note = in_brackets(note);
                write!(f, "image `{id}` is unavailable: {url}: {why}{note}")
            }
            Self::Damaged { id, file, why } => {
                write!(f, "image `{id}`: {file} is damaged or unusable: {why}")
            }
            Self::DiskFull { path, kept } => write!(
                f,
                "no space left to write {}: free some and try again{}",
                path.display(),
                in_brackets(kept)
            ),
            Self::Io { action, path, error } => {
                write!(f, "cannot {action} {}: {}", path.display(), reason(error))
            }
            Self::ToolMissing { program, install } => {
                write!(f, "`{program}` is not installed: {install}")
            }
            Self::SuiteFailed { id, why } => write!(f, "image `{id}`: the suite failed: {why}"),
            Self::NothingSelected { id, why } => write!(f, "image `{id}`: {why}"),
            Self::Interrupted => f.write_str("interrupted"),
        }
    }
}

/// A guest's lines joined: a console may hold anything, a terminal's orders too.
fn one_line(console: &str) -> String {
    let lines: Vec<String> =
        console.lines().map(excerpt).filter(|line| !line.is_empty()).take(SHOWN_LINES).collect();
    if lines.is_empty() { "(nothing)".to_owned() } else { lines.join(" | ") }
}

/// How many of a guest's lines an error shows, and how many characters of each.
const SHOWN_LINES: usize = 6;
const SHOWN_WIDTH: usize = 200;

/// A guest's line as it is shown: without NULs, which a terminal does not show either, without what
/// steers a terminal, and not without end.
pub(crate) fn excerpt(line: &str) -> String {
    let mut shown: String =
        line.trim().chars().filter(|&c| c != '\0').take(SHOWN_WIDTH + 1).collect();
    if let Some((end, _)) = shown.char_indices().nth(SHOWN_WIDTH) {
        shown.replace_range(end.., "…");
    }
    printable(shown.trim_end())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_guests_line_is_shown_within_bounds() {
        assert_eq!(excerpt(" a\0\0b\u{1b}[2J "), "ab\u{fffd}[2J");
        assert_eq!(excerpt(&"\0".repeat(100_000)), "");
        assert_eq!(excerpt(&"ä".repeat(100_000)), "ä".repeat(200) + "…");
        let lines = one_line(&"x\n".repeat(100_000));
        assert_eq!(lines, "x | x | x | x | x | x");
    }
}
