//! The command line.

use std::ffi::OsString;
use std::io::{IsTerminal, Write};
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::Duration;

use clap::{Parser, Subcommand};
use indicatif::{ProgressBar, ProgressStyle};

use crate::baseline::{Baseline, draft};
use crate::catalogue::{self, Level};
use crate::destination::Destination;
use crate::execution::{self, Conclusion, Event, Plan};
use crate::facts::Facts;
use crate::personality::{self, Selected};
use crate::report::{self, Report};
use crate::selection::{self, SelectionError, Shard};
use crate::target::Target;
use crate::{bench, controls, diff, matrix, platform, probe, slowness, warden};

/// Everything that was checked holds.
pub(crate) const CONFORMANT: u8 = 0;
/// A requirement failed.
pub(crate) const NOT_CONFORMANT: u8 = 1;
/// The command line, or a file that it names, is wrong.
const USAGE: u8 = 2;
/// The harness or its surroundings failed, or the run was interrupted.
pub(crate) const NO_VERDICT: u8 = 3;
/// Nothing was selected.
const NOTHING_SELECTED: u8 = 4;

const AFTER_HELP: &str = "\
Exit status: 0 conformant · 1 a requirement failed, or the baseline is stale · 2 usage · 3 no \
verdict (the harness or the environment failed, or the run was interrupted) · 4 nothing was selected.";

const CONTROLS_HELP: &str = "\
Exit status: 0 all caught · 1 a requirement missed its control, failed for a wrong reason, or a \
control changed nothing · 2 usage · 3 not all could be run · 4 nothing was selected.";

/// Does this forking server behave the same on every Unix?
#[derive(Parser, Debug)]
#[command(name = "forkproof", version, after_help = AFTER_HELP, max_term_width = 100)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand, Debug)]
enum Command {
    /// Check a server on this host
    #[command(after_help = AFTER_HELP)]
    Run(Run),
    /// Show the catalogue
    List(List),
    /// Show one requirement: source, trap, fix, and whether it can be checked here
    Explain {
        /// The requirement's id
        id: String,
    },
    /// Prove that every requirement can fail, and fails for the right reason
    #[command(after_help = CONTROLS_HELP)]
    Controls(controls::Arguments),
    /// Run any dynamically linked program as if on another platform
    As(As),
    /// Measure a server's speed, latency, memory and idle cost on this host
    Bench(bench::Arguments),
    /// Measure this operating system's own facts; no server is judged
    #[command(after_help = probe::command::AFTER_HELP)]
    Probe(probe::command::Arguments),
    /// Show what changed between two files of facts, or two reports
    #[command(after_help = diff::AFTER_HELP)]
    Diff(diff::Arguments),
    /// Merge reports of several platforms into one matrix: a page, Markdown, JUnit, or a table here
    #[command(after_help = matrix::command::AFTER_HELP)]
    Report(matrix::command::Arguments),
    /// Write a first baseline of known failures from a report
    #[command(after_help = draft::AFTER_HELP, after_long_help = draft::long_help())]
    Baseline(draft::Arguments),
    /// Images and machines: run the suite on other systems
    #[cfg(feature = "vm")]
    #[command(subcommand)]
    Vm(forkproof_vm::cli::Arguments),
    /// Run the reference server, which is part of this program
    #[command(disable_help_flag = true)]
    Chatd {
        /// Its arguments; see `forkproof chatd --help`
        #[arg(trailing_var_arg = true, allow_hyphen_values = true)]
        arguments: Vec<OsString>,
    },
    /// Run its client
    #[command(disable_help_flag = true)]
    Chat {
        /// Its arguments; see `forkproof chat --help`
        #[arg(trailing_var_arg = true, allow_hyphen_values = true)]
        arguments: Vec<OsString>,
    },
    /// The process around one check
    #[command(name = "__check", hide = true)]
    Check { task: String },
    /// The executed half of a probe
    #[command(name = "__probe", hide = true)]
    ExecutedProbe { what: String },
    /// What slowness is measured with
    #[command(name = "__nothing", hide = true)]
    Nothing,
    /// Whether a private namespace can be had
    #[command(name = "__try-namespace", hide = true)]
    TryNamespace { namespace: platform::Namespace },
}

#[derive(clap::Args, Debug)]
pub(crate) struct Selection {
    /// Requirements: ids or globs (`signals/*`, `handler-persists`, `auth`); all when none is named
    #[arg(value_name = "GLOB")]
    globs: Vec<String>,

    /// Only requirements of this level or a stronger one
    #[arg(long, value_enum)]
    level: Option<Level>,

    /// Only the Kth of N parts
    #[arg(long, value_name = "K/N")]
    shard: Option<Shard>,
}

#[derive(clap::Args, Debug)]
struct Run {
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

#[derive(clap::Args, Debug)]
#[command(
    override_usage = "forkproof as PERSONALITY… -- COMMAND [ARGUMENT]…\n       forkproof as --list"
)]
struct As {
    /// Personalities, as NAME or NAME=VALUE; `--list` shows them
    #[arg(value_name = "PERSONALITY", required_unless_present = "list")]
    personalities: Vec<String>,

    /// The program to run, and its arguments
    #[arg(last = true, required_unless_present = "list", value_name = "COMMAND")]
    command: Vec<OsString>,

    /// Show the personalities: what each imitates, and what it takes after `=`
    #[arg(long)]
    list: bool,
}

#[derive(clap::Args, Debug)]
struct List {
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

pub(crate) fn parse_scale(text: &str) -> Result<f64, String> {
    match text.parse::<f64>() {
        Ok(scale) if (0.1..=1000.0).contains(&scale) => Ok(scale),
        _ => Err("must be a number from 0.1 to 1000".into()),
    }
}

/// The program `forkproof`.
pub fn main() -> ExitCode {
    match Cli::parse().command {
        Command::Run(arguments) => run(&arguments),
        Command::List(arguments) => list(&arguments),
        Command::Explain { id } => explain(&id),
        Command::Controls(arguments) => controls::main(&arguments),
        Command::As(arguments) => run_as(&arguments),
        Command::Bench(arguments) => bench::main(&arguments),
        Command::Probe(arguments) => probe::command::main(&arguments),
        Command::Diff(arguments) => diff::main(&arguments),
        Command::Report(arguments) => matrix::command::main(&arguments),
        Command::Baseline(arguments) => draft::main(&arguments),
        #[cfg(feature = "vm")]
        Command::Vm(arguments) => forkproof_vm::cli::main(&arguments),
        Command::ExecutedProbe { what } => probe::command::executed(&what),
        Command::Chatd { arguments } => chatd::server_main(named("chatd", arguments)),
        Command::Chat { arguments } => chatd::client::main(named("chat", arguments)),
        Command::Check { task } => warden::main(&task),
        Command::Nothing => ExitCode::SUCCESS,
        Command::TryNamespace { namespace } => match platform::try_namespace(namespace) {
            Ok(()) => ExitCode::SUCCESS,
            Err(reason) => {
                eprintln!("{reason}");
                ExitCode::FAILURE
            }
        },
    }
}

/// Becomes the command; what is wrong with the personalities or the program is usage.
fn run_as(arguments: &As) -> ExitCode {
    if arguments.list {
        return print(&report::terminal::personalities());
    }
    let selected: Result<Vec<Selected<'_>>, String> =
        arguments.personalities.iter().map(|text| Selected::parse(text)).collect();
    match selected.and_then(|selected| personality::run_as(&selected, &arguments.command)) {
        Ok(never) => match never {},
        Err(message) => complain_usage(message),
    }
}

fn named(name: &str, arguments: Vec<OsString>) -> impl Iterator<Item = OsString> {
    std::iter::once(OsString::from(name)).chain(arguments)
}

/// Says what is wrong, in one line, and gives the exit status.
pub(crate) fn complain(status: u8, message: impl std::fmt::Display) -> ExitCode {
    eprintln!("forkproof: {message}");
    ExitCode::from(status)
}

/// As [`complain`], for wrong usage.
pub(crate) fn complain_usage(message: impl std::fmt::Display) -> ExitCode {
    complain(USAGE, message)
}

/// As [`complain`], for a selection that cannot be made.
pub(crate) fn complain_selection(error: &SelectionError) -> ExitCode {
    match error {
        SelectionError::BadGlob(_) => complain_usage(error),
        SelectionError::NoMatch(_) => complain(NOTHING_SELECTED, error),
    }
}

/// As [`complain`], for failures of the surroundings.
pub(crate) fn complain_no_verdict(message: impl std::fmt::Display) -> ExitCode {
    complain(NO_VERDICT, message)
}

pub(crate) fn select(
    arguments: &Selection,
) -> Result<Vec<&'static catalogue::Requirement>, ExitCode> {
    let selected =
        selection::select(&arguments.globs, arguments.level).map_err(|e| complain_selection(&e))?;
    let selected = selection::shard(selected, arguments.shard);
    if selected.is_empty() {
        return Err(complain(
            NOTHING_SELECTED,
            "nothing is selected: the level or the shard leaves none",
        ));
    }
    Ok(selected)
}

fn list(arguments: &List) -> ExitCode {
    let selected = match select(&arguments.selection) {
        Ok(selected) => selected,
        Err(status) => return status,
    };
    let text = match arguments.format {
        Format::Text => report::terminal::list(&selected),
        Format::Json => match report::json::catalogue(&selected) {
            Ok(text) => text,
            Err(error) => return complain_no_verdict(error),
        },
    };
    print(&text)
}

fn explain(id: &str) -> ExitCode {
    // The name alone will do, as it does for `run`.
    let found = catalogue::find(id).or_else(|| {
        let mut named = catalogue::all().filter(|r| r.id.split('/').nth(1) == Some(id));
        named.next().filter(|_| named.next().is_none())
    });
    match found {
        Some(requirement) => print(&report::terminal::explanation(requirement)),
        None => {
            let nearest = catalogue::nearest(id);
            let hint = if nearest.is_empty() {
                "`forkproof list` shows them all".to_owned()
            } else {
                format!("did you mean {}?", nearest.join(" or "))
            };
            complain_usage(format!("no requirement `{id}`: {hint}"))
        }
    }
}

/// Writes to standard output; a reader that has gone, as `head` does, is no error.
pub(crate) fn print(text: &str) -> ExitCode {
    match anstream::stdout().write_all(text.as_bytes()) {
        Err(error) if error.kind() != std::io::ErrorKind::BrokenPipe => complain_no_verdict(error),
        _ => ExitCode::SUCCESS,
    }
}

fn run(arguments: &Run) -> ExitCode {
    let requirements = match select(&arguments.selection) {
        Ok(selected) => selected,
        Err(status) => return status,
    };
    let target = match &arguments.target {
        Some(named) => Target::named(named, arguments.program.as_deref()).map_err(complain_usage),
        None => program_target(arguments.program.as_deref()),
    };
    let target = match target {
        Ok(target) => target,
        Err(status) => return status,
    };
    let personality = match &arguments.personality {
        None => None,
        Some(text) => match Selected::parse_list(text)
            .and_then(|_| personality::refuse_uninterposable(&target.program))
        {
            Ok(()) => Some(text.clone()),
            Err(message) => return complain_usage(message),
        },
    };
    let baseline = match arguments.baseline.as_deref().map(Baseline::read).transpose() {
        Ok(baseline) => baseline.unwrap_or_default(),
        Err(message) => return complain_usage(message),
    };
    let mut destinations = Vec::new();
    for path in [&arguments.report, &arguments.junit, &arguments.summary] {
        match path.as_deref().map(Destination::open).transpose() {
            Ok(destination) => destinations.push(destination),
            Err(message) => return complain_usage(message),
        }
    }
    let dir = match private_dir() {
        Ok(dir) => dir,
        Err(status) => return status,
    };
    if let Err(errno) = execution::catch_interrupts() {
        return complain_no_verdict(format!("signals: {}", errno.desc()));
    }
    let facts = Facts::gather(dir.path());
    let exceptions = match baseline.holding(&facts) {
        Ok(exceptions) => exceptions,
        Err(message) => return complain_usage(message),
    };
    let jobs = arguments.jobs.map_or(facts.processors * 3, usize::from);
    let plan = Plan {
        requirements,
        repeat: arguments.repeat as usize,
        jobs,
        target,
        slowness: slowness::measure() * arguments.deadline_scale,
        dir: dir.path().to_owned(),
        keep: arguments.keep,
        personality,
        exceptions,
    };
    let started = chrono::Utc::now().to_rfc3339_opts(chrono::SecondsFormat::Secs, true);
    let execution = watch(&plan, &facts);
    let report = Report::new(&plan, &execution, facts, started);
    if print(&report::terminal::conclusion(&report)) != ExitCode::SUCCESS {
        return ExitCode::from(NO_VERDICT);
    }
    if arguments.keep {
        let kept = dir.keep();
        let _ = writeln!(anstream::stdout(), "Directories kept in {}", kept.display());
    }
    let texts = [
        report::json::render(&report).map_err(|error| error.to_string()),
        report::junit::render(&report).map_err(|error| error.to_string()),
        Ok(report::markdown::render(&report)),
    ];
    for (destination, text) in destinations.into_iter().zip(texts) {
        if let Some(destination) = destination {
            if let Err(message) = text.and_then(|text| destination.write(&text)) {
                return complain_no_verdict(message);
            }
        }
    }
    ExitCode::from(match report.conclusion {
        Conclusion::Conformant => CONFORMANT,
        Conclusion::NotConformant => NOT_CONFORMANT,
        Conclusion::NoVerdict => NO_VERDICT,
    })
}

/// The server to look at: the one inside, or `program`.
pub(crate) fn program_target(program: Option<&Path>) -> Result<Target, ExitCode> {
    match program {
        Some(path) => absolute_program(path).map(Target::program).map_err(complain_usage),
        None => Target::reference()
            .map_err(|error| complain_no_verdict(format!("this program's own path: {error}"))),
    }
}

/// A directory of this run's own, for the checks'.
pub(crate) fn private_dir() -> Result<tempfile::TempDir, ExitCode> {
    let dir = tempfile::Builder::new()
        .prefix("forkproof-")
        .tempdir()
        .map_err(|error| complain_no_verdict(format!("no temporary directory: {error}")))?;
    if nix::unistd::geteuid().is_root() {
        // Checks that start a server as another user need a way to its directory; the names below
        // are still nobody else's to list.
        let passable = std::os::unix::fs::PermissionsExt::from_mode(0o711);
        std::fs::set_permissions(dir.path(), passable)
            .map_err(|error| complain_no_verdict(format!("{}: {error}", dir.path().display())))?;
    }
    Ok(dir)
}

fn absolute_program(path: &Path) -> Result<PathBuf, String> {
    let cannot = |error: std::io::Error| format!("program {}: {error}", path.display());
    let path = path.canonicalize().map_err(cannot)?;
    nix::unistd::access(&path, nix::unistd::AccessFlags::X_OK).map_err(|errno| {
        format!("program {}: cannot be executed: {}", path.display(), errno.desc())
    })?;
    if path.is_dir() {
        return Err(format!("program {}: it is a directory", path.display()));
    }
    Ok(path)
}

/// Executes the plan and shows how it goes: a line for each check that is over, and on a terminal
/// a bar with the ones that are running.
fn watch(plan: &Plan, facts: &Facts) -> execution::Execution {
    let total = plan.requirements.len() * plan.repeat;
    let mut out = anstream::stdout();
    let _ = writeln!(
        out,
        "forkproof {} checks {} against {} requirements\n{}\n",
        env!("CARGO_PKG_VERSION"),
        plan.target.name,
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
    let execution = execution::execute(plan, |event| {
        match event {
            Event::Started(requirement) => running.push(requirement.id),
            Event::Finished(record) => {
                if let Some(at) = running.iter().position(|&id| id == record.requirement.id) {
                    running.remove(at);
                }
                let line = report::terminal::record_line(record, plan.repeat > 1);
                bar.suspend(|| {
                    // A reader that has gone is met again at the summary.
                    let _ = writeln!(out, "{line}");
                });
                bar.inc(1);
            }
        }
        bar.set_message(running.join(" "));
    });
    bar.finish_and_clear();
    execution
}
