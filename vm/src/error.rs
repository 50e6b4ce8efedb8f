//! Every way in which images and machines fail, each told in one sentence.

use std::path::{Path, PathBuf};

/// A result whose error is told to the user as it is.
pub type Result<T> = std::result::Result<T, Error>;

/// What went wrong. `Display` is one sentence: what, where, and what would be right.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// No image has this id.
    #[error("no image `{id}`: {}", hint(.nearest))]
    UnknownImage {
        /// What was asked for.
        id: String,
        /// The ids that look like it, best first; may be empty.
        nearest: Vec<String>,
    },
    /// A description of an image that cannot be used.
    #[error("{file}: {problem}")]
    BadDescription {
        /// The file, with the line after a colon where it is known.
        file: String,
        /// What is wrong, with the field's name.
        problem: String,
    },
    /// The command asks for what cannot be done with this image.
    #[error("{0}")]
    Usage(String),
    /// The image, or its checksums, cannot be had: an HTTP status or a network error.
    #[error("image `{id}` is unavailable: {url}: {why}{}", in_brackets(.note))]
    Unavailable {
        /// The image.
        id: String,
        /// What was asked for.
        url: String,
        /// The HTTP status or the network's error.
        why: String,
        /// What the catalogue says of its availability; may be empty.
        note: String,
    },
    /// The publisher's checksums do not name such a file.
    #[error(
        "image `{id}`: {url} names no file `{pattern}`; it names {}",
        listed(.names)
    )]
    NotPublished {
        /// The image.
        id: String,
        /// The checksum file.
        url: String,
        /// The patterns that were looked for.
        pattern: String,
        /// The names that are there.
        names: Vec<String>,
    },
    /// The publisher's checksums name several such files.
    #[error("image `{id}`: {url} names more than one file `{pattern}`: {}", listed(.names))]
    AmbiguousName {
        /// The image.
        id: String,
        /// The checksum file.
        url: String,
        /// The pattern.
        pattern: String,
        /// The names that match.
        names: Vec<String>,
    },
    /// With `--offline`: the image is not in the cache.
    #[error(
        "image `{id}` is not in the cache ({cache}), and nothing is downloaded with --offline: \
         run `forkproof vm fetch {id}` with a network first",
        cache = .cache.display()
    )]
    NotCached {
        /// The image.
        id: String,
        /// Where it would be.
        cache: PathBuf,
    },
    /// The download is not what the publisher's checksum says. It has been removed.
    #[error(
        "image `{id}`: checksum mismatch: {url} should have {expected} and has {actual}; \
         the download was removed"
    )]
    ChecksumMismatch {
        /// The image.
        id: String,
        /// Where it came from.
        url: String,
        /// The publisher's digest, with its algorithm.
        expected: String,
        /// The digest of what came.
        actual: String,
    },
    /// With `--locked`: the digest is not the recorded one.
    #[error(
        "image `{id}`: {from} {actual}, and {} records {expected}: \
         fetch without --locked to accept the change",
        .lock_file.display()
    )]
    NotAsLocked {
        /// The image.
        id: String,
        /// Whose digest the actual one is, as the start of a clause: "the publisher offers".
        from: String,
        /// The digest now.
        actual: String,
        /// The lock file.
        lock_file: PathBuf,
        /// The recorded digest, or "nothing for it".
        expected: String,
    },
    /// An archive or a disk that is not what it should be, although its checksum is right.
    #[error("image `{id}`: {file} is damaged or unusable: {why}", file = .file.display())]
    Damaged {
        /// The image.
        id: String,
        /// Which file; of a download, its URL.
        file: PathBuf,
        /// What is wrong with it.
        why: String,
    },
    /// No space left (ENOSPC), or the quota is used up (EDQUOT).
    #[error("no space left to write {}: free some and try again{}", .path.display(), in_brackets(.kept))]
    DiskFull {
        /// What was being written.
        path: PathBuf,
        /// What is left of it; may be empty.
        kept: String,
    },
    /// Another process works on the same image.
    #[error("image `{id}`: another process holds {}: wait for it to end", .lock.display())]
    CacheBusy {
        /// The image.
        id: String,
        /// The lock's file.
        lock: PathBuf,
    },
    /// A file or directory cannot be used.
    #[error("cannot {action} {}: {error}", .path.display())]
    Io {
        /// What was to be done, as a verb: "read".
        action: &'static str,
        /// With what.
        path: PathBuf,
        /// Why not.
        error: std::io::Error,
    },
    /// A local build failed.
    #[error("image `{id}`: the build failed: {why}")]
    BuildFailed {
        /// The image.
        id: String,
        /// Which step, and its last words.
        why: String,
    },
    /// A program that a local build needs is not installed.
    #[error("`{program}` is not installed: {install}")]
    ToolMissing {
        /// The program.
        program: String,
        /// The command that installs it on this system.
        install: String,
    },
    /// QEMU is not installed.
    #[error("`{program}` is not installed: {install}")]
    QemuMissing {
        /// The program.
        program: String,
        /// The command that installs it on this system, with the package's name.
        install: String,
    },
    /// QEMU did not start, or ended by itself before the guest was done.
    #[error("image `{id}`: QEMU failed: {why}")]
    QemuFailed {
        /// The image.
        id: String,
        /// How it ended, and its last words.
        why: String,
    },
    /// The guest did not come up.
    #[error("image `{id}` did not boot: {why}; the console's end: {}", one_line(.console))]
    NotBooted {
        /// The image.
        id: String,
        /// The limit that was reached, or how it ended.
        why: String,
        /// The end of the console.
        console: String,
    },
    /// The guest came up and left no result.
    #[error("image `{id}` wrote no result: {why}; the console's end: {}", one_line(.console))]
    NoResult {
        /// The image.
        id: String,
        /// What the result's disk holds instead, or the limit that was reached.
        why: String,
        /// The end of the console.
        console: String,
    },
    /// The guest cannot run the program that was put into it.
    #[error("image `{id}`: the payload {} does not run there: {}", .payload.display(), one_line(.why))]
    PayloadDoesNotRun {
        /// The image.
        id: String,
        /// The program, on this host.
        payload: PathBuf,
        /// What the guest's shell or loader said.
        why: String,
    },
    /// The suite ran in the guest and came to no verdict.
    #[error("image `{id}`: no verdict: {why}")]
    NoVerdict {
        /// The image.
        id: String,
        /// Why.
        why: String,
    },
    /// The suite's options select nothing there.
    #[error("image `{id}`: {why}")]
    NothingSelected {
        /// The image.
        id: String,
        /// What the suite said.
        why: String,
    },
    /// The suite ran in the guest, and a requirement failed.
    #[error("image `{id}`: the suite failed: {why}")]
    SuiteFailed {
        /// The image.
        id: String,
        /// What failed.
        why: String,
    },
    /// Ctrl-C, or another request to end.
    #[error("interrupted")]
    Interrupted,
}

impl Error {
    /// The exit status of a command that ends with this: 2 for usage, 3 for no verdict, and 1 only
    /// for a suite that ran and failed.
    pub fn exit_status(&self) -> u8 {
        match self {
            Self::UnknownImage { .. } | Self::BadDescription { .. } | Self::Usage(_) => 2,
            Self::SuiteFailed { .. } => 1,
            Self::NothingSelected { .. } => 4,
            _ => 3,
        }
    }

    /// An error of the file system, of which a full disk is a kind of its own.
    pub fn io(action: &'static str, path: &Path, error: std::io::Error) -> Self {
        match error.raw_os_error() {
            Some(libc::ENOSPC | libc::EDQUOT) => {
                Self::DiskFull { path: path.to_owned(), kept: String::new() }
            }
            _ => Self::Io { action, path: path.to_owned(), error },
        }
    }
}

fn hint(nearest: &[String]) -> String {
    if nearest.is_empty() {
        return "`forkproof vm images` shows them all".to_owned();
    }
    let nearest: Vec<String> = nearest.iter().map(|id| format!("`{id}`")).collect();
    format!("did you mean {}?", nearest.join(" or "))
}

fn in_brackets(text: &str) -> String {
    if text.is_empty() { String::new() } else { format!(" ({text})") }
}

/// Enough names to see how they look now.
fn listed(names: &[String]) -> String {
    const SHOWN: usize = 12;
    if names.is_empty() {
        return "none at all".to_owned();
    }
    let shown = names.iter().take(SHOWN).map(String::as_str).collect::<Vec<_>>().join(", ");
    match names.len().saturating_sub(SHOWN) {
        0 => shown,
        more => format!("{shown} and {more} more"),
    }
}

/// Lines joined, without control characters: a console may hold anything.
fn one_line(console: &str) -> String {
    let lines: Vec<String> = console
        .lines()
        .map(|line| line.chars().filter(|c| !c.is_control()).collect::<String>().trim().to_owned())
        .filter(|line| !line.is_empty())
        .collect();
    if lines.is_empty() { "(nothing)".to_owned() } else { lines.join(" | ") }
}
