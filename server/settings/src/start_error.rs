//! Why a server doesn't start, and the exit status that says so.

use std::fmt;

use crate::text::one_line;

/// Exit status: the server could not start, or ended on an error.
pub const EXIT_FAILURE: u8 = 1;
/// Exit status: the command line, or a file that it names, is wrong.
pub const EXIT_USAGE: u8 = 2;

/// A reason why a server doesn't start: one line for a person, whatever it quotes, and the exit status.
#[derive(Debug)]
pub struct StartError {
    /// What is wrong, where, and what would be right.
    pub message: String,
    /// [`EXIT_FAILURE`] or [`EXIT_USAGE`].
    pub status: u8,
}

impl StartError {
    /// The machine refuses: a port in use, a file that cannot be written.
    pub fn failure(message: impl Into<String>) -> Self {
        Self { message: one_line(&message.into()), status: EXIT_FAILURE }
    }

    /// What the user gave is wrong: an option, the configuration, a key.
    pub fn usage(message: impl Into<String>) -> Self {
        Self { message: one_line(&message.into()), status: EXIT_USAGE }
    }
}

impl fmt::Display for StartError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_it_quotes_is_harmless() {
        for error in [StartError::usage("a `\u{80}\n`"), StartError::failure("a `\u{80}\n`")] {
            assert_eq!(error.to_string(), "a `\\u{80} `");
        }
    }
}
