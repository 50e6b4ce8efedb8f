//! How a command ends: what it prints, and the one way from an error to an exit status.

use std::io::{IsTerminal, Write};
use std::process::ExitCode;

use forkproof_report::ExitStatus;

use crate::render::wrap;
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
        eprintln!("forkproof: {}", settings::printable_lines(&error.message));
        error.status
    });
    status.into()
}

/// Where words for people go.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Voice {
    /// Standard output.
    Output,
    /// Standard error, since standard output carries a document for programs.
    Error,
}

impl Voice {
    /// Beside a document on standard output, if there is one.
    pub(super) fn beside(document: bool) -> Self {
        if document { Self::Error } else { Self::Output }
    }

    /// Whether somebody is looking at it.
    pub(super) fn is_terminal(self) -> bool {
        match self {
            Self::Output => std::io::stdout().is_terminal(),
            Self::Error => std::io::stderr().is_terminal(),
        }
    }

    /// Says it, in lines that fit a terminal; a reader that has gone, as `head` does, is no error.
    pub(super) fn say(self, text: &str) -> CommandResult {
        let size = match self {
            Self::Output => terminal_size::terminal_size_of(std::io::stdout()),
            Self::Error => terminal_size::terminal_size_of(std::io::stderr()),
        };
        match size {
            Some((width, _)) => self.write(&wrap(text, width.0.into())),
            // Not broken for a file, in which it is searched.
            None => self.write(text),
        }
    }

    fn write(self, text: &str) -> CommandResult {
        let said = match self {
            Self::Output => anstream::stdout().write_all(text.as_bytes()),
            Self::Error => anstream::stderr().write_all(text.as_bytes()),
        };
        match said {
            Err(error) if error.kind() != std::io::ErrorKind::BrokenPipe => {
                Err(CommandError::no_verdict(error))
            }
            _ => Ok(ExitStatus::Conformant),
        }
    }
}

/// Says it on standard output.
pub(super) fn say(text: &str) -> CommandResult {
    Voice::Output.say(text)
}

/// Writes a document for programs to standard output, as it is.
pub(super) fn print(text: &str) -> CommandResult {
    Voice::Output.write(text)
}
