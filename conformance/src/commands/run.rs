//! `forkproof run`.

use std::ffi::OsString;
use std::io::{IsTerminal, Write};
use std::path::{Path, PathBuf};
use std::time::Duration;

use forkproof_report::{Facts, Report, Verdict};
use indicatif::{ProgressBar, ProgressStyle};

use super::arguments::{Selection, catch_interrupts, parse_scale, program_target};
use super::destination::Destination;
use super::outcome::{CommandError, CommandResult, print};
use super::private::private_dir;
use crate::personality::{self, Selected};
use crate::render::run::{markdown, terminal};
use crate::render::{self, junit};
use crate::requirement::Requirement;
use crate::requirements;
use crate::run::{self, Baseline, Event, Execution, Plan, execute};
use crate::{platform, subject::Target};

#[derive(clap::Args, Debug)]
pub(super) struct Arguments {
    #[command(flatten)]
    selection: Selection,

    /// The server to check: a manifest, or the name of one inside (reference, papayachat)
    #[arg(long, value_name = "MANIFEST|NAME")]
    target: Option<OsString>,

    /// Check this program instead of the target's own; without `--target`, one that has the
    /// reference server's command line
    #[arg(long, value_name = "FILE")]
    program: Option<PathBuf>,

    /// Put the server under these personalities: see how it fares on another platform
    #[arg(long = "as", value_name = "PERSONALITY,…")]
    personality: Option<String>,

    /// Failures that are known, and what is not to be run; see `forkproof baseline --help`
    #[arg(long, value_name = "FILE")]
    baseline: Option<PathBuf>,

    /// Checks at a time [default: three for each processor]
    #[arg(short, long, value_name = "N", value_parser = clap::value_parser!(u16).range(1..))]
    jobs: Option<u16>,

    /// Run each requirement so many times, and count what differs
    #[arg(long, value_name = "N", default_value_t = 1, value_parser = clap::value_parser!(u32).range(1..))]
    repeat: u32,

    /// Begin no further check after so many failures
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..))]
    max_fail: Option<u32>,

    /// Begin no further check after the first failure
    #[arg(long, conflicts_with = "max_fail")]
    fail_fast: bool,

    /// Check what was not well in this report, and nothing else
    #[arg(long, value_name = "REPORT", conflicts_with_all = ["globs", "level", "shard"])]
    rerun_failed: Option<PathBuf>,

    /// Show no line for what passes or is not run
    #[arg(short, long)]
    quiet: bool,

    /// Show which checks took longest, too
    #[arg(short, long, conflicts_with = "quiet")]
    verbose: bool,

    /// Keep the private directories of the checks, and say where they are
    #[arg(long)]
    keep: bool,

    /// Write the report as JSON
    #[arg(long, value_name = "FILE")]
    report: Option<PathBuf>,

    /// Write the report as JUnit XML
    #[arg(long, value_name = "FILE")]
    junit: Option<PathBuf>,

    /// Write a summary as Markdown
    #[arg(long, value_name = "FILE")]
    summary: Option<PathBuf>,

    /// Make all deadlines this many times as long, on top of the measured slowness
    #[arg(long, value_name = "FACTOR", default_value_t = 1.0, value_parser = parse_scale)]
    deadline_scale: f64,
}

/// The command.
pub(super) fn main(arguments: &Arguments) -> CommandResult {
    let requirements = match &arguments.rerun_failed {
        Some(path) => failed_in(path)?,
        None => arguments.selection.requirements()?,
    };
    let program = arguments.program.as_deref();
    let target = match &arguments.target {
        Some(named) => Target::named(named, program).map_err(CommandError::usage)?,
        None => program_target(program)?,
    };
    if let Some(text) = &arguments.personality {
        Selected::parse_list(text)
            .and_then(|_| personality::refuse_uninterposable(&target.program))
            .map_err(CommandError::usage)?;
    }
    let baseline = arguments.baseline.as_deref().map(Baseline::read).transpose();
    let baseline = baseline.map_err(CommandError::usage)?.unwrap_or_default();
    let mut destinations = Vec::new();
    let wanted: [(&Option<PathBuf>, Render); 3] = [
        (&arguments.report, |report| render::json(report).map_err(|error| error.to_string())),
        (&arguments.junit, |report| junit::of_run(report).map_err(|error| error.to_string())),
        (&arguments.summary, |report| Ok(markdown::render(report))),
    ];
    for (path, render) in wanted {
        if let Some(path) = path {
            destinations.push((Destination::open(path).map_err(CommandError::usage)?, render));
        }
    }
    let dir = private_dir(arguments.keep)?;
    catch_interrupts()?;
    let facts = platform::facts(dir.path());
    let mut plan = Plan {
        requirements,
        repeat: arguments.repeat as usize,
        jobs: arguments.jobs.map_or(facts.processors * 3, usize::from),
        target,
        slowness: run::slowness() * arguments.deadline_scale,
        dir: dir.path().to_owned(),
        keep: arguments.keep,
        max_fail: match arguments.fail_fast {
            true => Some(1),
            false => arguments.max_fail.map(|most| most as usize),
        },
        personality: arguments.personality.clone(),
        command: std::env::args_os()
            .skip(1)
            .map(|word| word.to_string_lossy().into_owned())
            .collect(),
        exceptions: baseline.holding(&facts).map_err(CommandError::usage)?,
    };
    let started = humantime::format_rfc3339_seconds(std::time::SystemTime::now()).to_string();
    let execution = watch(&mut plan, &facts, arguments.quiet, arguments.verbose);
    let report = run::report(&plan, &execution, facts, started);
    if arguments.verbose {
        print(&terminal::slowest(&report))?;
    }
    print(&terminal::conclusion(&report, arguments.verbose))?;
    if arguments.keep {
        print(&format!("Directories kept in {}\n", dir.keep().display()))?;
    }
    for (destination, render) in destinations {
        let written = render(&report).and_then(|text| destination.write(&text));
        written.map_err(CommandError::no_verdict)?;
    }
    Ok(report.conclusion.exit_status())
}

/// The requirements that were not well in a report.
fn failed_in(path: &Path) -> Result<Vec<&'static Requirement>, CommandError> {
    let report = Report::read(path).map_err(CommandError::usage)?;
    let failed: Vec<&str> = report
        .requirements
        .iter()
        .filter(|entry| entry.verdict.is_trouble())
        .map(|entry| entry.id.as_str())
        .collect();
    if failed.is_empty() {
        return Err(CommandError::nothing_selected(format!(
            "{}: nothing in it failed",
            path.display()
        )));
    }
    failed
        .into_iter()
        .map(|id| {
            requirements::find(id).ok_or_else(|| {
                CommandError::usage(format!("{}: no requirement `{id}` here", path.display()))
            })
        })
        .collect()
}

/// A report as a document; the error says what went wrong.
type Render = fn(&Report) -> Result<String, String>;

/// Executes the plan and shows how it goes: a line for each check that is over, and on a terminal
/// a bar with the ones that are running.
fn watch(plan: &mut Plan, facts: &Facts, quiet: bool, verbose: bool) -> Execution {
    let total = plan.requirements.len() * plan.repeat;
    let mut out = anstream::stdout();
    let _ = writeln!(
        out,
        "forkproof {} checks {} against {} requirements\n{}\n",
        env!("CARGO_PKG_VERSION"),
        settings::printable(&plan.target.name),
        plan.requirements.len(),
        facts.line()
    );
    let bar = if std::io::stderr().is_terminal() && std::io::stdout().is_terminal() {
        ProgressBar::new(total as u64)
    } else {
        ProgressBar::hidden()
    };
    if let Ok(style) = ProgressStyle::with_template("{bar:30} {pos}/{len} {elapsed} {wide_msg}") {
        bar.set_style(style);
    }
    bar.enable_steady_tick(Duration::from_millis(200));
    let mut running: Vec<&str> = Vec::new();
    let repeated = plan.repeat > 1;
    let execution = execute(plan, |event| {
        match event {
            Event::Started(requirement) => running.push(requirement.id),
            Event::Finished(record) => {
                if let Some(at) = running.iter().position(|&id| id == record.requirement.id) {
                    running.remove(at);
                }
                let shown = match record.finding.verdict {
                    verdict if verdict.is_trouble() => true,
                    Verdict::Unsupported => verbose,
                    _ => !quiet,
                };
                if shown {
                    let line = terminal::record_line(record, repeated);
                    bar.suspend(|| {
                        // A reader that has gone is met again at the summary.
                        let _ = writeln!(out, "{line}");
                    });
                }
                bar.inc(1);
            }
        }
        bar.set_message(running.join(" "));
    });
    bar.finish_and_clear();
    execution
}
