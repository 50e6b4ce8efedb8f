//! The program `webd`: from its arguments to its exit status.

use std::ffi::OsString;
use std::process::ExitCode;

use crate::config::{ArgsError, Config, Request};
use crate::sockets::{AT_START, open_all};
use crate::upgrade::Program;
use crate::{access_log, announce, diagnostics, master, privileges, worker};
use settings::{EXIT_USAGE, StartError};

/// The command line of `webd`: manual pages and completions are made from it.
pub fn server_command() -> clap::Command {
    <crate::options::Cli as clap::CommandFactory>::command()
}

/// The program `webd`: `args` with the program's name first.
pub fn server_main(args: impl IntoIterator<Item = OsString>) -> ExitCode {
    let args: Vec<OsString> = args.into_iter().collect();
    if args.get(1).is_some_and(|argument| argument == worker::ARGUMENT) {
        return worker::main();
    }
    let own = args.len();
    let outcome = match Request::from_args(args.clone()) {
        Ok(Request::Checked) => Ok(()),
        Ok(Request::Serve(config)) => Program::started_as(own)
            .map_err(|error| StartError::failure(settings::reason(&error)))
            .and_then(|program| master::run(*config, program, args)),
        Ok(Request::Work(config)) => work_alone(*config),
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
            eprintln!("webd: {error}");
            ExitCode::from(error.status)
        }
    }
}

/// A worker without a master, in this process: for another host's master, under any supervisor.
fn work_alone(config: Config) -> Result<(), StartError> {
    let identity = privileges::find(config.user.as_deref())?;
    let (listeners, note) = open_all(&config.listen, AT_START)?;
    let log = config.access_log.as_deref().map(|path| {
        access_log::open(path).map_err(|error| {
            let why = settings::reason(&error);
            StartError::failure(format!("access log {}: {why}", path.display()))
        })
    });
    let log = log.transpose()?;
    note.iter().for_each(|note| diagnostics::say(note));
    for listener in &listeners {
        diagnostics::say(&format!("worker listening on http://{}/", listener.address));
    }
    if let Some(path) = &config.ready_file {
        let lines: String = listeners.iter().map(|one| format!("{}\n", one.address)).collect();
        announce::write_file(path, "ready file", &lines)?;
    }
    let config = Config { workers: 1, ..config };
    worker::serve(config, listeners, None, log, identity.as_ref())
}
