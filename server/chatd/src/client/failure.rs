//! How the client ends.

/// How the program ends; the numbers are documented in `--help`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u8)]
pub(super) enum Exit {
    /// Standard input or output failed.
    LocalIo = 1,
    /// Wrong arguments, settings or key file.
    Usage = 2,
    /// No connection.
    Unreachable = 3,
    /// Closed before a byte came: most likely the key.
    Refused = 4,
    /// Closed, reset or silent before the work was done.
    Lost = 5,
    /// Ctrl-C; what a shell reports for a program that SIGINT ended.
    Interrupted = 130,
}

/// The end of the program before its work is done.
#[derive(Debug)]
pub(super) struct Failure {
    pub(super) exit: Exit,
    /// One line for standard error; `None` where the user knows.
    pub(super) message: Option<String>,
}

impl Failure {
    pub(super) fn new(exit: Exit, message: impl Into<String>) -> Self {
        Self { exit, message: Some(message.into()) }
    }

    pub(super) fn interrupted() -> Self {
        Self { exit: Exit::Interrupted, message: None }
    }
}
