//! `chat`, the command-line client of a papaya line protocol server.
//!
//! The client connects, sends the bytes of its key, and from then on writes lines and receives
//! every byte that is appended to the server's log. Three ways of use share the connection:
//!
//! | standard input, standard output | module | what happens |
//! |---|---|---|
//! | a terminal, a terminal | `terminal` | lines are edited; what arrives is shown above them |
//! | anything else | `pipe` | input is sent, then the server has to confirm it |
//! | `--listen` | `pipe` | nothing is sent, what arrives is printed |
//!
//! The protocol has no word for "accepted": the server of a refused client closes, and so does
//! one that ends. `connection` decides which of them is more likely, and its messages name both
//! where they cannot be told apart.

mod connection;
mod conversation;
mod delivery;
mod display;
mod key;
mod options;
mod pipe;
mod terminal;

use std::env;
use std::ffi::OsString;
use std::io::{IsTerminal, stdin, stdout};
use std::process::ExitCode;

use clap::Parser;

use connection::Connection;
use conversation::converse;
use display::Output;
use options::{Arguments, Options};
use pipe::Pipe;
use terminal::Terminal;

/// How the program ends; the numbers are documented in `--help`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u8)]
enum Exit {
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
struct Failure {
    exit: Exit,
    /// One line for standard error; `None` where the user knows.
    message: Option<String>,
}

impl Failure {
    fn new(exit: Exit, message: impl Into<String>) -> Self {
        Self { exit, message: Some(message.into()) }
    }

    fn interrupted() -> Self {
        Self { exit: Exit::Interrupted, message: None }
    }
}

/// Runs the client with `args`, the first of which is the program's name, on the process's
/// standard input, output and error. Messages and the exit status are those of the program.
///
/// Settings come from `args`, then the environment, then the configuration file. The mode of a
/// terminal is changed while lines are edited, and restored before the return. `SIGPIPE` must be ignored, as it is in every Rust program by default.
pub fn main(args: impl IntoIterator<Item = OsString>) -> ExitCode {
    let arguments = match Arguments::try_parse_from(args) {
        Ok(arguments) => arguments,
        Err(error) => {
            // Nothing is left to tell somebody whose standard error is gone.
            let _ = error.print();
            if let Some(variable) = options::variable_to_blame(&error) {
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
    let key = key::Key::read(&options.key_file)?;
    if let Some(warning) = key.warning() {
        eprintln!("chat: warning: {warning}");
    }
    let connection = Connection::open(&options, &key)?;

    if options.listen {
        return pipe::listen(&connection, Output::stdout());
    }
    let at_terminal = stdin().is_terminal();
    // A dumb terminal, as in an editor's shell, edits lines itself and obeys no control sequence.
    let dumb = env::var_os("TERM").is_some_and(|name| name == "dumb");
    if at_terminal && stdout().is_terminal() && !dumb && !options.raw {
        let username = options.username.as_str();
        let mut terminal = Terminal::open(username).map_err(|errno| {
            let message = format!("cannot use the terminal: {}", errno.desc());
            Failure::new(Exit::LocalIo, message)
        })?;
        return converse(&connection, &mut terminal, options.timeout);
    }
    let prefix = match options.raw {
        true => None,
        false => Some(format!("{}: ", options.username.as_str())),
    };
    // Who types at a terminal without having said --print still wants to see the chat somewhere.
    let output = (options.print || at_terminal).then(Output::stdout);
    converse(&connection, &mut Pipe::new(prefix, output), options.timeout)
}
