//! `forkproof vm …`: a file per subcommand, with its arguments, what it prints and its exit status.
//! Nothing below knows of the command line.

mod arguments;
mod build;
mod display;
mod fetch;
mod images;
mod options;
mod repro;
mod run;
mod say;
mod shell;

pub use arguments::{Arguments, main};
