//! `forkproof run`.

use std::ffi::OsString;
use std::io::IsTerminal;
use std::path::{Path, PathBuf};
use std::time::Duration;

use forkproof_report::{Facts, Report, Verdict};
use indicatif::{ProgressBar, ProgressStyle};
use settings::printable;

use super::arguments::{Selection, catch_interrupts, parse_scale, program_target};
use super::destination::{Destination, is_output};
use super::outcome::{CommandError, CommandResult, Voice, print};
use super::private::private_dir;
use super::project;
use crate::personality::{self, Selected};
use crate::render::run::{events, markdown, tap, terminal};
use crate::render::{self, junit};
use crate::requirement::Requirement;
use crate::requirements;
use crate::run::{self, Baseline, Event, Execution, Plan, execute};
use crate::{platform, subject::Target};

#[derive(clap::Args, Debug)]
pub(super) struct Arguments {
    #[command(flatten)]
    selection: Selection,

    /// The server to check: a manifest, or the name of one inside (reference, webd, papayachat)
    #[arg(long, value_name = "MANIFEST|NAME")]
    target: Option<OsString>,

    /// Check this program instead of the target's own; without `--target`, one that has the
    /// reference server's command line
    #[arg(long, value_name = "FILE")]
    program: Option<PathBuf>,

    /// Run the server under these personalities, as if on another platform
    #[arg(long = "as", value_name = "PERSONALITY,…")]
    personality: Option<String>,

    /// Known failures, and checks to skip; see `forkproof baseline --help`
    #[arg(long, value_name = "FILE")]
    baseline: Option<PathBuf>,

    /// Run this many checks at a time [default: three per processor]
    #[arg(short, long, value_name = "N", value_parser = clap::value_parser!(u16).range(1..))]
    jobs: Option<u16>,

    /// Run each check this many times, and count the failures of each
    #[arg(long, value_name = "N", default_value_t = 1, value_parser = clap::value_parser!(u32).range(1..))]
    repeat: u32,

    /// Stop after this many failures
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..))]
    max_fail: Option<u32>,

    /// Stop after the first failure
    #[arg(long, conflicts_with = "max_fail")]
    fail_fast: bool,

    /// Check again only what did not pass in this report
    #[arg(long, value_name = "REPORT", conflicts_with_all = ["globs", "level", "shard"])]
    rerun_failed: Option<PathBuf>,

    /// When failures are shown in full: as soon as they are known, at the end, or not at all
    #[arg(long, value_name = "WHEN", value_enum, default_value_t = FailureOutput::Final)]
    failure_output: FailureOutput,

    /// What is printed on standard output: text for people; a JSON object for each event, one a
    /// line; or TAP 14 at the end. With the latter two the text goes to standard error
    #[arg(long, value_enum, default_value_t = Format::Text)]
    format: Format,

    /// Show only what is wrong
    #[arg(short, long)]
    quiet: bool,

    /// Also show the slowest checks, and why a check is unsupported
    #[arg(short, long, conflicts_with = "quiet")]
    verbose: bool,

    /// Keep the private directory of each check, and say where it is
    #[arg(long)]
    keep: bool,

    /// Write the report as JSON; `-` is standard output
    #[arg(long, value_name = "FILE")]
    report: Option<PathBuf>,

    /// Write the report as JUnit XML; `-` is standard output
    #[arg(long, value_name = "FILE")]
    junit: Option<PathBuf>,

    /// Write a summary as Markdown; `-` is standard output
    #[arg(long, value_name = "FILE")]
    summary: Option<PathBuf>,

    /// Multiply all deadlines by this, on top of the measured slowness of the machine
    #[arg(long, value_name = "FACTOR", value_parser = parse_scale)]
    deadline_scale: Option<f64>,

    #[command(flatten)]
    source: project::Source,
}

/// When failures are shown in full.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
enum FailureOutput {
    Immediate,
    Final,
    None,
}

/// What is printed on standard output.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
enum Format {
    Text,
    Jsonl,
    Tap,
}

/// How a run is shown while it goes on.
#[derive(Debug, Clone, Copy)]
struct Show {
    voice: Voice,
    format: Format,
    failures: FailureOutput,
    quiet: bool,
    verbose: bool,
}

/// The command.
pub(super) fn main(mut arguments: Arguments) -> CommandResult {
    let project = arguments.source.read().map_err(CommandError::usage)?;
    if let Some(project) = &project {
        eprintln!("settings from {}", printable(&project.file.display().to_string()));
        arguments.fill_in(&project.settings);
    }
    let (requirements, earlier) = match &arguments.rerun_failed {
        Some(path) => failed_in(path).map(|(failed, target)| (failed, Some(target)))?,
        None => (arguments.selection.requirements()?, None),
    };
    let program = arguments.program.as_deref();
    let target = match &arguments.target {
        Some(named) => Target::named(named, program).map_err(CommandError::usage)?,
        None => program_target(program)?,
    };
    if let Some(earlier) = earlier.filter(|earlier| program.is_none() && *earlier != target.name) {
        return Err(CommandError::usage(format!(
            "--rerun-failed: that report is of {}, and this would check {}: add --target",
            printable(&earlier),
            printable(&target.name)
        )));
    }
    if let Some(text) = &arguments.personality {
        Selected::parse_list(text)
            .and_then(|_| personality::refuse_uninterposable(&target.program))
            .map_err(CommandError::usage)?;
    }
    let baseline = arguments.baseline.as_deref().map(Baseline::read).transpose();
    let baseline = baseline.map_err(CommandError::usage)?.unwrap_or_default();
    let wanted: [(&Option<PathBuf>, Render); 3] = [
        (&arguments.report, |report| render::json(report).map_err(|error| error.to_string())),
        (&arguments.junit, |report| junit::of_run(report).map_err(|error| error.to_string())),
        (&arguments.summary, |report| Ok(markdown::render(report))),
    ];
    let voice = arguments.voice()?;
    let outputs = wanted.iter().filter_map(|(path, _)| path.as_deref());
    let read: Vec<&Path> = arguments.baseline.iter().map(PathBuf::as_path).collect();
    let destinations = Destination::open_all(outputs, &read).map_err(CommandError::usage)?;
    let renders = wanted.iter().filter(|(path, _)| path.is_some()).map(|(_, render)| *render);
    let destinations: Vec<(Destination, Render)> = destinations.into_iter().zip(renders).collect();
    let show = Show {
        voice,
        format: arguments.format,
        failures: arguments.failure_output,
        quiet: arguments.quiet,
        verbose: arguments.verbose,
    };
    let dir = private_dir(arguments.keep)?;
    catch_interrupts()?;
    let facts = platform::facts(dir.path());
    let mut plan = Plan {
        requirements,
        repeat: arguments.repeat as usize,
        jobs: arguments.jobs.map_or(facts.processors * 3, usize::from),
        target,
        slowness: run::slowness() * arguments.deadline_scale.unwrap_or(1.0),
        scale: arguments.deadline_scale.unwrap_or(1.0),
        dir: dir.path().to_owned(),
        keep: arguments.keep,
        max_fail: match arguments.fail_fast {
            true => Some(1),
            false => arguments.max_fail.map(|most| most as usize),
        },
        personality: arguments.personality.clone(),
        command: command_line(project.as_ref()),
        exceptions: baseline.holding(&facts).map_err(CommandError::usage)?,
    };
    let started = humantime::format_rfc3339_seconds(std::time::SystemTime::now()).to_string();
    let execution = watch(&mut plan, &facts, show)?;
    let report = run::report(&plan, &execution, facts, started);
    if arguments.verbose {
        show.voice.say(&terminal::slowest(&report, plan.slow()))?;
    }
    let failures = arguments.failure_output == FailureOutput::Final;
    let shown = terminal::Shown { verbose: arguments.verbose, failures };
    show.voice.say(&terminal::conclusion(&report, shown))?;
    if arguments.keep {
        show.voice.say(&format!("Directories kept in {}\n", dir.keep().display()))?;
    }
    match arguments.format {
        Format::Text => {}
        Format::Jsonl => drop(print(&events::last(&report).map_err(CommandError::no_verdict)?)?),
        Format::Tap => drop(print(&tap::render(&report))?),
    }
    for (destination, render) in destinations {
        let written = render(&report).and_then(|text| destination.write(&text));
        written.map_err(CommandError::no_verdict)?;
    }
    Ok(report.conclusion.exit_status())
}

impl Arguments {
    /// What the command line does not say is as the project's settings say.
    fn fill_in(&mut self, settings: &project::Settings) {
        // Another server's program and failures are none of this one's.
        if self.target.is_none() {
            self.target = settings.target.clone().map(Into::into);
            self.program = self.program.take().or_else(|| settings.program.clone());
            self.baseline = self.baseline.take().or_else(|| settings.baseline.clone());
        }
        for (own, file) in [
            (&mut self.report, &settings.report),
            (&mut self.junit, &settings.junit),
            (&mut self.summary, &settings.summary),
        ] {
            *own = own.take().or_else(|| file.clone());
        }
        self.jobs = self.jobs.or(settings.jobs.map(Into::into));
        self.deadline_scale = self.deadline_scale.or(settings.deadline_scale.map(|scale| scale.0));
        if !self.fail_fast {
            self.max_fail = self.max_fail.or(settings.max_fail.map(Into::into));
        }
        self.selection.level_or(settings.level);
    }
}

/// The words after the program's name, as they would have to be elsewhere: with the settings named.
fn command_line(project: Option<&project::Project>) -> Vec<String> {
    let mut words: Vec<String> =
        std::env::args_os().skip(1).map(|word| word.to_string_lossy().into_owned()).collect();
    if let Some(project) = project {
        if !words.iter().any(|word| word == "--config" || word.starts_with("--config=")) {
            words.push(format!("--config={}", project.file.display()));
        }
    }
    words
}

/// The requirements that were not well in a report.
fn failed_in(path: &Path) -> Result<(Vec<&'static Requirement>, String), CommandError> {
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
    let failed: Result<_, _> = failed
        .into_iter()
        .map(|id| {
            requirements::find(id).ok_or_else(|| {
                CommandError::usage(format!("{}: no requirement `{id}` here", path.display()))
            })
        })
        .collect();
    Ok((failed?, report.target.name))
}

/// A report as a document; the error says what went wrong.
type Render = fn(&Report) -> Result<String, String>;

impl Arguments {
    /// Where text for people goes; standard output carries one document at most.
    fn voice(&self) -> Result<Voice, CommandError> {
        let files =
            [("--report", &self.report), ("--junit", &self.junit), ("--summary", &self.summary)];
        let mut documents: Vec<&str> = files
            .iter()
            .filter(|(_, path)| path.as_deref().is_some_and(is_output))
            .map(|(option, _)| *option)
            .collect();
        if self.format != Format::Text {
            documents.push("--format");
        }
        match documents.as_slice() {
            [first, second, ..] => Err(CommandError::usage(format!(
                "{first} and {second} would both write to standard output: name a file for one"
            ))),
            documents => Ok(Voice::beside(!documents.is_empty())),
        }
    }
}

/// Executes the plan and shows how it goes: a line for each check that is over, and on a terminal
/// a bar with the ones that are running.
fn watch(plan: &mut Plan, facts: &Facts, show: Show) -> Result<Execution, CommandError> {
    let total = plan.requirements.len() * plan.repeat;
    // A reader that has gone is met again at the summary.
    let say = |text: &str| drop(show.voice.say(text));
    say(&format!(
        "forkproof {} checks {} against {} requirements\n{}\n\n",
        env!("CARGO_PKG_VERSION"),
        settings::printable(&plan.target.name),
        plan.requirements.len(),
        facts.line()
    ));
    if show.format == Format::Jsonl {
        print(&events::first(plan, facts).map_err(CommandError::no_verdict)?)?;
    }
    let bar = if std::io::stderr().is_terminal() && show.voice.is_terminal() {
        ProgressBar::new(total as u64)
    } else {
        ProgressBar::hidden()
    };
    if let Ok(style) = ProgressStyle::with_template("{bar:30} {pos}/{len} {elapsed} {wide_msg}") {
        bar.set_style(style);
    }
    bar.enable_steady_tick(Duration::from_millis(200));
    let mut running: Vec<&str> = Vec::new();
    let (repeated, slow, foreign) = (plan.repeat > 1, plan.slow(), plan.target.rehearse);
    let execution = execute(plan, |event| {
        if show.format == Format::Jsonl {
            let _ = events::of(event).map(|line| bar.suspend(|| print(&line)));
        }
        match event {
            Event::Started(requirement, _) => running.push(requirement.id),
            Event::Finished(record) => {
                if let Some(at) = running.iter().position(|&id| id == record.requirement.id) {
                    running.remove(at);
                }
                let trouble = record.finding.verdict.is_trouble();
                let shown = match record.finding.verdict {
                    _ if trouble => true,
                    Verdict::Unsupported => show.verbose,
                    _ => !show.quiet,
                };
                if shown {
                    let mut text = terminal::record_line(record, repeated, slow);
                    text.push('\n');
                    if trouble && show.failures == FailureOutput::Immediate {
                        let entry = run::entry(record.requirement, &[record], foreign);
                        text.extend(entry.as_ref().map(terminal::at_once));
                    }
                    bar.suspend(|| say(&text));
                }
                bar.inc(1);
            }
        }
        bar.set_message(running.join(" "));
    });
    bar.finish_and_clear();
    Ok(execution)
}
