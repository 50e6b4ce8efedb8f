//! `chatd`, the reference forking chat server of forkproof, and `chat`, its command-line client.
//!
//! The server reads as the figure it is taken from: a **daemon** accepts and forks; per client a
//! **receiver** reads the socket and appends to the chat log, and a **sender** is woken by
//! `SIGUSR1` and writes what the log has gained. No event loop, no database, no thread.
//!
//! | part | file |
//! |---|---|
//! | command line and configuration file | [`config`] |
//! | foreground or background, readiness, pid file | [`launcher`] |
//! | listening sockets | [`listen`] |
//! | accepting, forking, reaping, ending | [`daemon`] |
//! | one client's bytes into the log | [`receiver`] |
//! | the log's bytes to one client | [`sender`] |
//! | the chat log under `flock` | [`log`] |
//! | which process groups hear a multicast | [`generations`] |
//! | dispositions and masks | [`signals`] |
//! | the shared key | [`key`] |
//! | from root to a plain user | [`privileges`] |
//! | the server's own messages | [`diagnostics`] |
//! | what differs between systems | [`platform`] |
//!
//! Data flows one way: socket → receiver → log → sender → socket. The processes of a client share
//! nothing but the socket and the *lifeline*, a pipe that tells the sender when its receiver ends.

pub mod client;
pub mod config;
pub mod daemon;
pub mod diagnostics;
pub mod generations;
pub mod key;
pub mod launcher;
pub mod listen;
pub mod log;
pub mod platform;
pub mod privileges;
pub mod receiver;
pub mod sender;
pub mod signals;

use std::ffi::OsString;
use std::process::ExitCode;

/// Exit status: the server ended because it was asked to, or its daemon is ready.
pub const EXIT_OK: u8 = 0;
/// Exit status: the server could not start, or ended on an error.
pub const EXIT_FAILURE: u8 = 1;
/// Exit status: the command line, the configuration file or the key file is wrong.
pub const EXIT_USAGE: u8 = 2;

/// A reason why the server doesn't start: one line for a person, and the exit status.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StartError {
    /// What is wrong, where, and what would be right.
    pub message: String,
    /// [`EXIT_FAILURE`] or [`EXIT_USAGE`].
    pub status: u8,
}

impl StartError {
    /// The machine refuses: a port in use, a file that cannot be written.
    pub fn failure(message: impl Into<String>) -> Self {
        Self { message: message.into(), status: EXIT_FAILURE }
    }

    /// What the user gave is wrong: an option, the configuration, the key.
    pub fn usage(message: impl Into<String>) -> Self {
        Self { message: message.into(), status: EXIT_USAGE }
    }
}

impl std::fmt::Display for StartError {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.message)
    }
}

impl std::error::Error for StartError {}

/// The program `chatd`: `args` with the program's name first.
pub fn server_main(args: impl IntoIterator<Item = OsString>) -> ExitCode {
    let request = match config::Request::from_args(args) {
        Ok(request) => request,
        Err(config::ArgsError::Clap(error)) => {
            // Help and version go to standard output with status 0, mistakes to standard error
            // with 2. A closed standard output is no reason to fail.
            let _ = error.print();
            return ExitCode::from(u8::try_from(error.exit_code()).unwrap_or(EXIT_USAGE));
        }
        Err(config::ArgsError::Start(error)) => return complain(&error),
    };
    let outcome = match request {
        config::Request::GenerateKey(path) => key::generate(&path),
        config::Request::Serve(config) => launcher::launch(*config),
    };
    match outcome {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => complain(&error),
    }
}

fn complain(error: &StartError) -> ExitCode {
    eprintln!("chatd: {error}");
    ExitCode::from(error.status)
}
