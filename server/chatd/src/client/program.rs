//! The program `chat`: from its arguments to its exit status.

use std::env;
use std::ffi::OsString;
use std::io::{IsTerminal, stdin, stdout};
use std::process::ExitCode;

use clap::{CommandFactory, Parser};

use super::again::converse_on;
use super::connection::Connection;
use super::conversation::converse;
use super::display::Output;
use super::failure::{Exit, Failure};
use super::look::Look;
use super::options::{Arguments, Options, variable_to_blame};
use super::pipe::{self, Pipe};
use super::terminal::Terminal;
use crate::key::Key;

/// The command line of `chat`: manual pages and completions are made from it.
pub fn client_command() -> clap::Command {
    Arguments::command()
}

/// Runs the client with `args`, the first of which is the program's name, on the process's
/// standard input, output and error. Messages and the exit status are those of the program.
///
/// Settings come from `args`, then the environment, then the configuration file. The mode of a
/// terminal is changed while lines are edited, and restored before the return. `SIGPIPE` must be
/// ignored, as it is in every Rust program by default.
pub fn client_main(args: impl IntoIterator<Item = OsString>) -> ExitCode {
    let arguments = match Arguments::try_parse_from(args) {
        Ok(arguments) => arguments,
        Err(error) => {
            // Nothing is left to tell somebody whose standard error is gone.
            let _ = error.print();
            if let Some(variable) = variable_to_blame(&error) {
                eprintln!("note: the value is that of the environment variable {variable}");
            }
            return ExitCode::from(if error.use_stderr() { Exit::Usage as u8 } else { 0 });
        }
    };
    match run(arguments) {
        Ok(()) => ExitCode::SUCCESS,
        Err(Failure { exit, message }) => {
            if let Some(message) = message {
                eprintln!("chat: {message}");
            }
            ExitCode::from(exit as u8)
        }
    }
}

fn run(arguments: Arguments) -> Result<(), Failure> {
    let options = Options::resolve(arguments)?;
    let (key, warning) =
        Key::read(&options.key_file, None).map_err(|why| Failure::new(Exit::Usage, why))?;
    if let Some(warning) = warning {
        eprintln!("chat: warning: {warning}");
    }
    let connection = Connection::open(&options, &key)?;
    drop(key);

    if options.listen {
        return pipe::listen(&connection, Output::stdout(options.raw));
    }
    let at_terminal = stdin().is_terminal();
    // A dumb terminal, as in an editor's shell, edits lines itself and obeys no control sequence.
    let dumb = env::var_os("TERM").is_some_and(|name| name == "dumb");
    if at_terminal && stdout().is_terminal() && !dumb && !options.raw {
        let username = options.username.as_str();
        let look = Look::new(options.times);
        let mut terminal = Terminal::open(username, look).map_err(|errno| {
            let message = format!("cannot use the terminal: {}", errno.desc());
            Failure::new(Exit::LocalIo, message)
        })?;
        return converse_on(connection, &mut terminal, &options);
    }
    let prefix = if options.raw { None } else { Some(format!("{}: ", options.username.as_str())) };
    // Who types at a terminal without having said --print still wants to see the chat somewhere.
    let output = (options.print || at_terminal).then(|| Output::stdout(options.raw));
    converse(&connection, &mut Pipe::new(prefix, output), options.timeout, Vec::new())
}
