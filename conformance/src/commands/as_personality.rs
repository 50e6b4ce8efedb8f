//! `forkproof as`: any program on another platform.

use std::ffi::OsString;

use super::outcome::{CommandError, CommandResult, say};
use crate::personality::{self, Selected};
use crate::render::catalogue;

#[derive(clap::Args, Debug)]
#[command(
    override_usage = "forkproof as PERSONALITY… -- COMMAND [ARGUMENT]…\n       forkproof as --list"
)]
pub(super) struct Arguments {
    /// Personalities, as NAME or NAME=VALUE; `--list` shows them
    #[arg(value_name = "PERSONALITY", required_unless_present = "list")]
    personalities: Vec<String>,

    /// The program to run, and its arguments
    #[arg(last = true, required_unless_present = "list", value_name = "COMMAND")]
    command: Vec<OsString>,

    /// List the personalities: what each imitates, and the values it takes
    #[arg(long)]
    list: bool,
}

/// Becomes the command; what is wrong with the personalities or the program is usage.
pub(super) fn main(arguments: &Arguments) -> CommandResult {
    if arguments.list {
        return say(&catalogue::personalities());
    }
    let selected: Result<Vec<Selected<'_>>, String> =
        arguments.personalities.iter().map(|text| Selected::parse(text)).collect();
    match selected.and_then(|selected| personality::run_as(&selected, &arguments.command)) {
        Ok(never) => match never {},
        Err(message) => Err(CommandError::usage(message)),
    }
}
