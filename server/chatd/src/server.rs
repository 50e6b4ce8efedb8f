//! The program `chatd`: from its arguments to its exit status.

use std::ffi::OsString;
use std::process::ExitCode;

use crate::config::{ArgsError, Request};
use crate::{diagnostics, key, launcher};
use settings::{EXIT_USAGE, StartError};

/// The command line of `chatd`: manual pages and completions are made from it.
pub fn server_command() -> clap::Command {
    crate::config::command()
}

/// The program `chatd`: `args` with the program's name first.
pub fn server_main(args: impl IntoIterator<Item = OsString>) -> ExitCode {
    let outcome = match Request::from_args(args) {
        Ok(Request::Serve(config)) => launcher::launch(*config),
        Ok(Request::GenerateKey(path)) => key::generate(&path).map_err(StartError::failure),
        Err(ArgsError::Clap(error)) => {
            // Help and version go to standard output with status 0, mistakes to standard error
            // with 2. A closed standard output is no reason to fail.
            let _ = error.print();
            return ExitCode::from(u8::try_from(error.exit_code()).unwrap_or(EXIT_USAGE));
        }
        Err(ArgsError::Start(error)) => Err(error),
    };
    match outcome {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            diagnostics::last_words(&error.message);
            ExitCode::from(error.status)
        }
    }
}
