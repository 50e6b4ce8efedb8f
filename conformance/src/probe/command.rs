//! `forkproof probe`: every probe below a warden of its own, one after the other, so that none
//! disturbs another.

use std::path::Path;
use std::process::ExitCode;
use std::time::Duration;

use super::report::{Fact, ProbeReport, SCHEMA};
use super::{Measured, Probe, all};
use crate::cli::{self, complain_no_verdict, complain_selection, print};
use crate::facts::Facts;
use crate::selection::Choice;
use crate::target::Target;
use crate::warden::{Task, Work};
use crate::{execution, slowness};

/// What `--help` says last.
pub const AFTER_HELP: &str = "\
Exit status: 0 everything was measured, whatever it is · 2 usage · 3 something could not be \
measured · 4 nothing was selected.";

/// How long a probe may take on an ordinary machine, in seconds; most take milliseconds.
const DEADLINE: f64 = 20.0;

/// The command's arguments.
#[derive(clap::Args, Debug)]
pub struct Arguments {
    /// Probes: ids or globs (`locks/*`, `v6only-default`, `widths`); all when none is named
    #[arg(value_name = "GLOB")]
    globs: Vec<String>,

    /// Show them as JSON, with what POSIX says and what Linux and FreeBSD are documented to do
    #[arg(long)]
    json: bool,

    /// Give up on a probe after so many seconds [default: 20, longer on a slow machine]
    #[arg(long, value_name = "SECONDS", value_parser = parse_deadline)]
    deadline: Option<f64>,
}

fn parse_deadline(text: &str) -> Result<f64, String> {
    match text.parse::<f64>() {
        Ok(seconds) if (0.0..=3600.0).contains(&seconds) => Ok(seconds),
        _ => Err("must be a number of seconds from 0 to 3600".into()),
    }
}

/// The command.
pub fn main(arguments: &Arguments) -> ExitCode {
    let ids: Vec<&'static str> = all().map(|probe| probe.id).collect();
    let choice = Choice { ids: &ids, noun: "probe", shown_by: "forkproof probe" };
    let chosen = match choice.matching(&arguments.globs) {
        Ok(chosen) => chosen,
        Err(error) => return complain_selection(&error),
    };
    let target = match Target::reference() {
        Ok(target) => target,
        Err(error) => return complain_no_verdict(format!("this program's own path: {error}")),
    };
    let dir = match tempfile::Builder::new().prefix("forkproof-").tempdir() {
        Ok(dir) => dir,
        Err(error) => return complain_no_verdict(format!("no temporary directory: {error}")),
    };
    if let Err(errno) = execution::catch_interrupts() {
        return complain_no_verdict(format!("signals: {}", errno.desc()));
    }
    let limit = arguments.deadline.unwrap_or_else(|| DEADLINE * slowness::measure());
    let limit = Duration::from_secs_f64(limit);
    let platform = Facts::gather(dir.path());
    let mut facts = Vec::new();
    for probe in all().filter(|probe| chosen.contains(probe.id)) {
        match measure(probe, dir.path(), limit, &target) {
            Some(measured) => facts.push(Fact::new(probe, measured, &platform.system)),
            None => return complain_no_verdict("interrupted"),
        }
    }
    let report = ProbeReport {
        schema: SCHEMA.to_owned(),
        forkproof: env!("CARGO_PKG_VERSION").to_owned(),
        platform,
        facts,
    };
    let text = if arguments.json {
        match report.json() {
            Ok(text) => text,
            Err(error) => return complain_no_verdict(error),
        }
    } else {
        report.table()
    };
    let printed = print(&text);
    if report.errors() > 0 { ExitCode::from(cli::NO_VERDICT) } else { printed }
}

/// Measures below a warden; none when interrupted.
fn measure(probe: &Probe, dir: &Path, limit: Duration, target: &Target) -> Option<Measured> {
    let finding = execution::run_task(&Task {
        work: Work::Probe(probe.id.to_owned()),
        dir: dir.join(probe.id.replace('/', ".")),
        keep: false,
        slowness: 1.0,
        limit,
        target: target.clone(),
        personality: None,
    })?;
    Some(match (finding.measured, finding.reason) {
        (Some(value), _) => Measured::Value(value),
        // The warden's words are about checks.
        (None, Some(reason)) => Measured::Error { error: reason.replace("the check", "the probe") },
        (None, None) => Measured::Error { error: "the probe gave neither value nor reason".into() },
    })
}

/// What a probe executes, to see what an executed program inherits.
pub fn executed(what: &str) -> ExitCode {
    let text = match what {
        "signal-state" => super::state_after_exec(),
        _ => Err(format!("no probe executes `{what}`")),
    };
    match text {
        Ok(text) => print(&text),
        Err(error) => complain_no_verdict(error),
    }
}
