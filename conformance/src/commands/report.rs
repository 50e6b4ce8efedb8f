//! `forkproof report R.json… --html F`.

use std::ffi::OsString;
use std::path::{Path, PathBuf};

use super::destination::{Destination, is_output};
use super::outcome::{CommandError, CommandResult, Voice};
use crate::render::junit;
use crate::render::matrix::{Matrix, html, input, markdown, terminal};

/// What `--help` says last.
pub(super) const AFTER_HELP: &str = "\
Without --html, --markdown or --junit the matrix is printed. Requirements whose verdict differs \
between platforms come first, then those that fail on all of them.

Exit status: 0 written, and every run is conformant · 1 a run is not conformant · 2 usage, or a \
file that is not a report: nothing is written then · 3 a run has no verdict and none is \
nonconformant, or a file could not be written.";

/// The command's arguments.
#[derive(clap::Args, Debug)]
pub(super) struct Arguments {
    /// A report of `forkproof run`, one for each column. LABEL= names the column; otherwise it has
    /// the name of its platform
    #[arg(value_name = "[LABEL=]REPORT", required = true)]
    reports: Vec<OsString>,

    /// Write the matrix as a self-contained HTML page
    #[arg(long, value_name = "FILE")]
    html: Option<PathBuf>,

    /// Write it as Markdown, for a job summary
    #[arg(long, value_name = "FILE")]
    markdown: Option<PathBuf>,

    /// Write it as JUnit XML, with a test suite per column
    #[arg(long, value_name = "FILE")]
    junit: Option<PathBuf>,

    /// Title of the page
    #[arg(long)]
    title: Option<String>,
}

/// A rendering of the matrix; the error says what went wrong.
type Render = fn(&Matrix<'_>) -> Result<String, String>;

/// The command.
pub(super) fn main(arguments: &Arguments) -> CommandResult {
    let (sources, columns) = input::read_all(&arguments.reports).map_err(CommandError::usage)?;
    let matrix = Matrix::new(&columns, arguments.title.as_deref());
    let outputs: Vec<(&Path, Render)> = [
        (&arguments.html, html::render as Render),
        (&arguments.markdown, |matrix| Ok(markdown::render(matrix))),
        (&arguments.junit, |matrix| junit::of_matrix(matrix).map_err(|error| error.to_string())),
    ]
    .into_iter()
    .filter_map(|(path, render)| Some((path.as_deref()?, render)))
    .collect();
    let read: Vec<&Path> = sources.iter().map(|source| source.path.as_path()).collect();
    let destinations = Destination::open_all(outputs.iter().map(|(path, _)| *path), &read)
        .map_err(CommandError::usage)?;
    let filled: Result<Vec<Destination>, String> = destinations
        .into_iter()
        .zip(&outputs)
        .map(|(mut destination, (_, render))| {
            destination.fill(&render(&matrix)?)?;
            Ok(destination)
        })
        .collect();
    filled
        .and_then(|all| all.into_iter().try_for_each(Destination::keep))
        .map_err(CommandError::no_verdict)?;
    Voice::beside(outputs.iter().any(|(path, _)| is_output(path))).say(&if outputs.is_empty() {
        terminal::render(&matrix)
    } else {
        terminal::summary(&matrix)
    })?;
    Ok(matrix.conclusion().exit_status())
}
