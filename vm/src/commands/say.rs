//! What is printed, and what an error means for the exit status.

use std::io::Write;

use forkproof_report::ExitStatus;

use crate::error::{Error, Result};

/// The exit status of a command that ends with this: 1 is only for a suite that ran and failed.
pub(super) fn exit_status(error: &Error) -> ExitStatus {
    match error {
        Error::Usage(_) => ExitStatus::Usage,
        Error::SuiteFailed { .. } => ExitStatus::NotConformant,
        Error::NothingSelected { .. } => ExitStatus::NothingSelected,
        _ => ExitStatus::NoVerdict,
    }
}

/// Tells an error in one line; its exit status.
pub(super) fn complain(error: &Error) -> ExitStatus {
    eprintln!("forkproof: {}", settings::printable_lines(&error.to_string()));
    exit_status(error)
}

/// Writes a line to standard output; a reader that has gone, as `head` does, is no error.
pub(super) fn say(text: &str) -> Result<()> {
    match writeln!(std::io::stdout(), "{text}") {
        Err(error) if error.kind() != std::io::ErrorKind::BrokenPipe => {
            Err(Error::io("write", "standard output".as_ref(), error))
        }
        _ => Ok(()),
    }
}
