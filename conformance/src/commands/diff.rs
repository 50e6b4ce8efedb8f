//! `forkproof diff A.json B.json`, and of facts of many systems.

use std::ffi::OsString;
use std::path::{Path, PathBuf};

use forkproof_report::ExitStatus;

use super::destination::Destination;
use super::outcome::{CommandError, CommandResult, Voice, print};
use crate::diff::{compare, read};
use crate::probe::ProbeReport;
use crate::render::facts::SideBySide;
use crate::render::matrix::input::Source;
use crate::render::{self, matrix};

/// What `--help` says last.
pub(super) const AFTER_HELP: &str = "\
Two files may both be facts or both be reports. With more than two files, or with --html or \
--markdown, all must be facts; they are shown side by side. For reports, use `forkproof report`.

Exit status: 0 nothing differs · 1 a fact or a verdict differs · 2 usage, or files that cannot be \
compared. Differences between the platforms themselves are shown, but don't count.";

/// The command's arguments.
#[derive(clap::Args, Debug)]
pub(super) struct Arguments {
    /// What `forkproof probe --json` has printed, or two reports of `forkproof run`. LABEL= names
    /// the column of facts; otherwise it has the name of its platform
    #[arg(value_name = "[LABEL=]FILE", required = true, num_args = 2..)]
    files: Vec<OsString>,

    /// Show the differences between two files as JSON
    #[arg(long, conflicts_with_all = ["html", "markdown"])]
    json: bool,

    /// Write the facts of all files, side by side, as a self-contained HTML page
    #[arg(long, value_name = "FILE")]
    html: Option<PathBuf>,

    /// Write them as Markdown
    #[arg(long, value_name = "FILE")]
    markdown: Option<PathBuf>,
}

/// The command.
pub(super) fn main(arguments: &Arguments) -> CommandResult {
    let sources: Vec<Source> = arguments
        .files
        .iter()
        .map(|file| Source::parse(file))
        .collect::<Result<_, _>>()
        .map_err(CommandError::usage)?;
    match sources.as_slice() {
        [a, b] if arguments.html.is_none() && arguments.markdown.is_none() => {
            two(a, b, arguments.json)
        }
        _ if arguments.json => Err(CommandError::usage("--json compares two files")),
        many => side_by_side(many, arguments),
    }
}

fn two(a: &Source, b: &Source, json: bool) -> CommandResult {
    let (path_a, path_b) = (&a.path, &b.path);
    let a = read(path_a).map_err(CommandError::usage)?;
    let b = read(path_b).map_err(CommandError::usage)?;
    if a.kind != b.kind {
        return Err(CommandError::usage(format!(
            "{} is {} and {} is {}: compare two of a kind",
            path_a.display(),
            a.kind,
            path_b.display(),
            b.kind
        )));
    }
    let difference = compare(a, b).map_err(CommandError::no_verdict)?;
    if json {
        print(&render::json(&difference).map_err(CommandError::no_verdict)?)?;
    } else {
        Voice::Output.say(&difference.text(path_a, path_b))?;
    }
    Ok(status(difference.is_empty()))
}

fn side_by_side(sources: &[Source], arguments: &Arguments) -> CommandResult {
    let reports: Vec<ProbeReport> = sources
        .iter()
        .map(|source| ProbeReport::read(&source.path))
        .collect::<Result<_, _>>()
        .map_err(CommandError::usage)?;
    let mut systems: Vec<(Vec<String>, &ProbeReport)> = Vec::new();
    for (source, report) in sources.iter().zip(&reports) {
        let mut lines = match &source.label {
            Some(label) => vec![settings::printable(label)],
            None => matrix::platform_lines(&report.platform),
        };
        // Two of one platform are told apart by their files.
        if systems.iter().any(|(others, _)| *others == lines) {
            lines.push(settings::printable(&source.path.display().to_string()));
        }
        systems.push((lines, report));
    }
    let table = SideBySide::new(&systems);
    type Render = fn(&SideBySide) -> Result<String, String>;
    let outputs: Vec<(&Path, Render)> = [
        (&arguments.html, SideBySide::html as Render),
        (&arguments.markdown, SideBySide::markdown),
    ]
    .into_iter()
    .filter_map(|(path, render)| Some((path.as_deref()?, render)))
    .collect();
    let read: Vec<&Path> = sources.iter().map(|source| source.path.as_path()).collect();
    let mut destinations = Destination::open_all(outputs.iter().map(|(path, _)| *path), &read)
        .map_err(CommandError::usage)?;
    for (destination, (_, render)) in destinations.iter_mut().zip(&outputs) {
        render(&table)
            .and_then(|text| destination.fill(&text))
            .map_err(CommandError::no_verdict)?;
    }
    if outputs.is_empty() {
        Voice::Output.say(&table.text())?;
    }
    destinations.into_iter().try_for_each(Destination::keep).map_err(CommandError::no_verdict)?;
    Ok(status(table.is_empty()))
}

fn status(nothing_differs: bool) -> ExitStatus {
    if nothing_differs { ExitStatus::Conformant } else { ExitStatus::NotConformant }
}
