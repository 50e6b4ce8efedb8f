//! How a command ends: what it prints, and the one way from an error to an exit status.

use std::io::Write;
use std::process::ExitCode;

use forkproof_report::ExitStatus;

use crate::run::SelectionError;

/// Why a command did not do what it was to do: one line, and the exit status.
#[derive(Debug)]
pub(super) struct CommandError {
    status: ExitStatus,
    message: String,
}

/// What a command comes to.
pub(super) type CommandResult = Result<ExitStatus, CommandError>;

impl CommandError {
    /// The command line, or a file that it names, is wrong.
    pub(super) fn usage(message: impl std::fmt::Display) -> Self {
        Self { status: ExitStatus::Usage, message: message.to_string() }
    }

    /// The harness or its surroundings failed.
    pub(super) fn no_verdict(message: impl std::fmt::Display) -> Self {
        Self { status: ExitStatus::NoVerdict, message: message.to_string() }
    }

    /// Nothing is selected.
    pub(super) fn nothing_selected(message: impl std::fmt::Display) -> Self {
        Self { status: ExitStatus::NothingSelected, message: message.to_string() }
    }
}

impl From<SelectionError> for CommandError {
    fn from(error: SelectionError) -> Self {
        match error {
            SelectionError::BadGlob(_) => Self::usage(error),
            SelectionError::NoMatch(_) => Self::nothing_selected(error),
        }
    }
}

/// Tells the error, if there is one, and gives the exit status.
pub(super) fn conclude(result: CommandResult) -> ExitCode {
    let status = result.unwrap_or_else(|error| {
        eprintln!("forkproof: {}", error.message);
        error.status
    });
    status.into()
}

/// Writes to standard output; a reader that has gone, as `head` does, is no error.
pub(super) fn print(text: &str) -> CommandResult {
    match anstream::stdout().write_all(text.as_bytes()) {
        Err(error) if error.kind() != std::io::ErrorKind::BrokenPipe => {
            Err(CommandError::no_verdict(error))
        }
        _ => Ok(ExitStatus::Conformant),
    }
}
