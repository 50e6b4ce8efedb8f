//! `forkproof baseline --from REPORT`: a first baseline from a report's failures, to be edited.

use std::path::PathBuf;

use forkproof_report::{ExitStatus, Report};

use super::destination::{Destination, is_output};
use super::outcome::{CommandError, CommandResult, print};
use crate::run::{self, FORMAT};

/// What `--help` says last.
pub(super) const AFTER_HELP: &str = "\
Exit status: 0 written, also when nothing failed · 2 usage, also a report that cannot be read or a \
file that is there already · 3 it could not be written.";

/// What `--help` says last: the format, too.
pub(super) fn long_help() -> String {
    format!("{FORMAT}\n\n{AFTER_HELP}")
}

/// The command's arguments.
#[derive(clap::Args, Debug)]
pub(super) struct Arguments {
    /// What `forkproof run --report` wrote; each failure in it becomes an entry. Informative
    /// requirements (level may), which fail no run, are left out
    #[arg(long, value_name = "REPORT")]
    from: PathBuf,

    /// Write it there instead of to standard output
    #[arg(long, value_name = "FILE")]
    output: Option<PathBuf>,

    /// Replace the file if it is there already
    #[arg(long, requires = "output")]
    force: bool,
}

/// The command.
pub(super) fn main(arguments: &Arguments) -> CommandResult {
    let text = Report::read(&arguments.from)
        .and_then(|report| {
            run::draft(&report).map_err(|what| format!("{}: {what}", arguments.from.display()))
        })
        .map_err(CommandError::usage)?;
    let Some(path) = &arguments.output else { return print(&text) };
    if !arguments.force && !is_output(path) && path.symlink_metadata().is_ok() {
        return Err(CommandError::usage(format!(
            "{} is there already: name another file, or replace it with --force",
            path.display()
        )));
    }
    let destination = Destination::open(path).map_err(CommandError::usage)?;
    destination.write(&text).map_err(CommandError::no_verdict)?;
    Ok(ExitStatus::Conformant)
}
