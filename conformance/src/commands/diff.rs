//! `forkproof diff A.json B.json`.

use std::path::PathBuf;

use forkproof_report::ExitStatus;

use super::outcome::{CommandError, CommandResult, print, say};
use crate::diff::{compare, read};
use crate::render;

/// What `--help` says last.
pub(super) const AFTER_HELP: &str = "\
Exit status: 0 no fact or verdict differs · 1 some do · 2 usage, also files that cannot be compared.
A difference of the platforms alone is shown and does not count.";

/// The command's arguments.
#[derive(clap::Args, Debug)]
pub(super) struct Arguments {
    /// What `forkproof probe --json` gave, or `forkproof run --report`
    a: PathBuf,
    /// The same from the other system
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
