//! `forkproof list` and `forkproof explain`: the catalogue.

use super::arguments::Selection;
use super::outcome::{CommandError, CommandResult, print};
use crate::render::catalogue;
use crate::requirements;

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
        Format::Text => print(&catalogue::list(&selected)),
        Format::Json => print(&catalogue::as_json(&selected).map_err(CommandError::no_verdict)?),
    }
}

/// `forkproof explain`.
pub(super) fn explain(id: &str) -> CommandResult {
    // The name alone will do, as it does for `run`.
    let found = requirements::find(id).or_else(|| {
        let mut named = requirements::all().filter(|r| r.id.split('/').nth(1) == Some(id));
        named.next().filter(|_| named.next().is_none())
    });
    let area: Vec<_> =
        requirements::all().filter(|r| r.area() == id.trim_end_matches("/*")).collect();
    if !area.is_empty() {
        return print(&catalogue::list(&area));
    }
    let Some(requirement) = found else {
        let hint = requirements::did_you_mean(id)
            .unwrap_or_else(|| "`forkproof list` shows them all".to_owned());
        return Err(CommandError::usage(format!("no requirement `{id}`: {hint}")));
    };
    print(&catalogue::explanation(requirement))
}
