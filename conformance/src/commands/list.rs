//! `forkproof list` and `forkproof explain`: the catalogue.

use super::arguments::Selection;
use super::outcome::{CommandError, CommandResult, print, say};
use crate::render::catalogue;
use crate::run::{self, SelectionError};

#[derive(clap::Args, Debug)]
pub(super) struct Arguments {
    #[command(flatten)]
    selection: Selection,

    /// How to show it
    #[arg(long, value_enum, default_value_t = Format::Text)]
    format: Format,
}

#[derive(Debug, Clone, Copy, clap::ValueEnum)]
enum Format {
    Text,
    Json,
}

/// `forkproof list`.
pub(super) fn main(arguments: &Arguments) -> CommandResult {
    let selected = arguments.selection.requirements()?;
    match arguments.format {
        Format::Text => say(&catalogue::list(&selected)),
        Format::Json => print(&catalogue::as_json(&selected).map_err(CommandError::no_verdict)?),
    }
}

/// `forkproof explain`: one requirement in full, or several as a list.
pub(super) fn explain(name: &str) -> CommandResult {
    // As `run` takes it: an id, its end alone, an area, or a glob.
    let found = match run::select(&[name.to_owned()], None) {
        Ok(found) => found,
        Err(SelectionError::BadGlob(why)) => return Err(CommandError::usage(why)),
        Err(SelectionError::NoMatch(_)) => {
            let hint = run::requirement_hint(name);
            return Err(CommandError::usage(format!("no requirement `{name}`: {hint}")));
        }
    };
    match found.as_slice() {
        [requirement] => say(&catalogue::explanation(requirement)),
        several => say(&catalogue::list(several)),
    }
}
