//! `forkproof list` and `forkproof explain`: the catalogue.

use std::path::{Path, PathBuf};

use super::arguments::Selection;
use super::destination::{Destination, make_directory};
use super::outcome::{CommandError, CommandResult, print, say};
use crate::render::{catalogue, pages, words};
use crate::{personality, results, run};

#[derive(clap::Args, Debug)]
pub(super) struct Arguments {
    #[command(flatten)]
    selection: Selection,

    /// How to show it
    #[arg(long, value_enum, default_value_t = Format::Text)]
    format: Format,

    /// Write a page for each area there, as HTML or Markdown
    #[arg(long, value_name = "DIRECTORY")]
    output: Option<PathBuf>,

    /// Show in these pages on which platforms each requirement passed or failed, from a directory of
    /// kept results with a folder for each platform. Adds a page of the platforms and one of their
    /// facts
    #[arg(long, value_name = "DIRECTORY", requires = "output")]
    results: Option<PathBuf>,
}

#[derive(Debug, Clone, Copy, clap::ValueEnum)]
enum Format {
    Text,
    Json,
    Markdown,
    Html,
}

/// `forkproof list`.
pub(super) fn main(arguments: &Arguments) -> CommandResult {
    let selected = arguments.selection.requirements()?;
    let platforms = match &arguments.results {
        Some(directory) => results::read(directory).map_err(CommandError::usage)?,
        None => Vec::new(),
    };
    let pages = match (arguments.format, &arguments.output) {
        (Format::Markdown, Some(_)) => pages::markdown(&selected, &platforms),
        (Format::Html, Some(_)) => pages::html(&selected, &platforms),
        (Format::Markdown | Format::Html, None) => {
            return Err(CommandError::usage(
                "HTML and Markdown are a page for each area: name a directory with --output",
            ));
        }
        (Format::Text | Format::Json, Some(_)) => {
            return Err(CommandError::usage("--output goes with --format html or markdown"));
        }
        (Format::Text, None) => return say(&catalogue::list(&selected)),
        (Format::Json, None) => {
            return print(&catalogue::as_json(&selected).map_err(CommandError::no_verdict)?);
        }
    };
    let directory = arguments.output.as_deref().unwrap_or(Path::new("."));
    write(&pages.map_err(CommandError::no_verdict)?, directory)
}

/// Writes pages to a directory, which is made if necessary; all of them, or none.
fn write(pages: &[(String, String)], directory: &Path) -> CommandResult {
    make_directory(directory).map_err(CommandError::usage)?;
    let mut filled = Vec::new();
    for (name, text) in pages {
        let mut destination =
            Destination::open(&directory.join(name)).map_err(CommandError::usage)?;
        destination.fill(text).map_err(CommandError::no_verdict)?;
        filled.push(destination);
    }
    filled.into_iter().try_for_each(Destination::keep).map_err(CommandError::no_verdict)?;
    print(&format!("{} pages in {}\n", pages.len(), directory.display()))
}

/// `forkproof explain`: one requirement in full, or several as a list; what a word of a report
/// means; a personality.
pub(super) fn explain(name: &str) -> CommandResult {
    // As `run` takes it: an id, its end alone, an area, or a glob.
    let error = match run::select(&[name.to_owned()], None) {
        Ok(selected) => {
            return match selected.as_slice() {
                [requirement] => say(&catalogue::explanation(requirement)),
                several => say(&catalogue::list(several)),
            };
        }
        Err(error) => error,
    };
    if let Some(text) = words::meaning(name) {
        return say(&text);
    }
    match personality::find(name) {
        Ok(found) => say(&catalogue::personality(found)),
        Err(_) => Err(error.into()),
    }
}
