//! `forkproof baseline --from REPORT`: a first baseline from a report's failures, to be edited.

use std::path::PathBuf;

use forkproof_report::{ExitStatus, Report};

use super::destination::{Destination, is_output};
use super::outcome::{CommandError, CommandResult, print};
use crate::run::{self, FORMAT};

/// What `--help` says last.
pub(super) const AFTER_HELP: &str = "\
Exit status: 0 written, even if nothing failed · 2 usage, an unreadable report, or a file that \
already exists · 3 the file could not be written.";

/// What `--help` says last: the format, too.
pub(super) fn long_help() -> String {
    format!("{FORMAT}\n\n{AFTER_HELP}")
}

/// The command's arguments.
#[derive(clap::Args, Debug)]
pub(super) struct Arguments {
    /// A report that `forkproof run --report` has written. Each failure becomes an entry, except
    /// those of level `may`, which never fail a run
    #[arg(long, value_name = "REPORT")]
    from: PathBuf,

    /// Write to this file instead of standard output
    #[arg(long, value_name = "FILE")]
    output: Option<PathBuf>,

    /// Replace the file if it already exists
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
            "{} already exists: name another file, or replace it with --force",
            path.display()
        )));
    }
    let destination = Destination::open(path).map_err(CommandError::usage)?;
    destination.write(&text).map_err(CommandError::no_verdict)?;
    Ok(ExitStatus::Conformant)
}
