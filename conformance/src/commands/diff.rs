//! `forkproof diff A.json B.json`.

use std::path::PathBuf;

use forkproof_report::ExitStatus;

use super::outcome::{CommandError, CommandResult, print, say};
use crate::diff::{compare, read};
use crate::render;

/// What `--help` says last.
pub(super) const AFTER_HELP: &str = "\
Exit status: 0 nothing differs · 1 a fact or a verdict differs · 2 usage, or files that cannot be \
compared. Differences between the platforms themselves are shown, but don't count.";

/// The command's arguments.
#[derive(clap::Args, Debug)]
pub(super) struct Arguments {
    /// What `forkproof probe --json` has printed, or a report of `forkproof run`
    a: PathBuf,
    /// The same from another system
    b: PathBuf,

    /// Show the differences as JSON
    #[arg(long)]
    json: bool,
}

/// The command.
pub(super) fn main(arguments: &Arguments) -> CommandResult {
    let a = read(&arguments.a).map_err(CommandError::usage)?;
    let b = read(&arguments.b).map_err(CommandError::usage)?;
    if a.kind != b.kind {
        return Err(CommandError::usage(format!(
            "{} is {} and {} is {}: compare two of a kind",
            arguments.a.display(),
            a.kind,
            arguments.b.display(),
            b.kind
        )));
    }
    let difference = compare(a, b).map_err(CommandError::no_verdict)?;
    if arguments.json {
        print(&render::json(&difference).map_err(CommandError::no_verdict)?)?;
    } else {
        say(&difference.text(&arguments.a, &arguments.b))?;
    }
    Ok(if difference.is_empty() { ExitStatus::Conformant } else { ExitStatus::NotConformant })
}
