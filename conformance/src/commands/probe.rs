//! `forkproof probe`: every probe below a warden of its own, one after the other, so that none
//! disturbs another.

use std::path::Path;
use std::time::Duration;

use forkproof_report::{ExitStatus, PROBE_SCHEMA};

use super::arguments::catch_interrupts;
use super::outcome::{CommandError, CommandResult, print, say};
use super::private::private_dir;
use crate::platform;
use crate::probe::{self, Fact, Measured, Probe, ProbeReport};
use crate::render::{self, facts};
use crate::run::{Choice, Product, Task, Work, run_task, slowness};

/// What `--help` says last.
pub(super) const AFTER_HELP: &str = "\
Exit status: 0 everything was measured, whatever it is · 2 usage · 3 something could not be \
measured · 4 nothing was selected.";

/// How long a probe may take on an ordinary machine, in seconds; most take milliseconds.
const DEADLINE: f64 = 20.0;

/// The command's arguments.
#[derive(clap::Args, Debug)]
pub(super) struct Arguments {
    /// Probes: ids or globs (`locks/*`, `v6only-default`, `widths`); all when none is named
    #[arg(value_name = "GLOB")]
    globs: Vec<String>,

    /// Print JSON, with what POSIX says and what Linux and FreeBSD document
    #[arg(long)]
    json: bool,

    /// Give up on a probe after this many seconds [default: 20, more on a slow machine]
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
pub(super) fn main(arguments: &Arguments) -> CommandResult {
    let ids: Vec<&'static str> = probe::all().map(|probe| probe.id).collect();
    let choice = Choice { ids: &ids, noun: "probe", shown_by: "forkproof probe" };
    let chosen = choice.matching(&arguments.globs)?;
    let dir = private_dir(false)?;
    catch_interrupts()?;
    let limit = arguments.deadline.unwrap_or_else(|| DEADLINE * slowness());
    let limit = Duration::from_secs_f64(limit);
    let platform = platform::facts(dir.path());
    let mut measured = Vec::new();
    for probe in probe::all().filter(|probe| chosen.contains(probe.id)) {
        let value = measure(probe, dir.path(), limit)
            .ok_or_else(|| CommandError::no_verdict("interrupted"))?;
        measured.push(Fact::new(probe, value, &platform.system));
    }
    let report = ProbeReport {
        schema: PROBE_SCHEMA.to_owned(),
        forkproof: env!("CARGO_PKG_VERSION").to_owned(),
        platform,
        facts: measured,
    };
    if arguments.json {
        print(&render::json(&report).map_err(CommandError::no_verdict)?)?;
    } else {
        say(&facts::table(&report))?;
    }
    Ok(if report.errors() > 0 { ExitStatus::NoVerdict } else { ExitStatus::Conformant })
}

/// Measures below a warden; none when interrupted.
fn measure(probe: &Probe, dir: &Path, limit: Duration) -> Option<Measured> {
    let finding = run_task(&Task {
        work: Work::Probe(probe.id.to_owned()),
        dir: dir.join(probe.id.replace('/', ".")),
        keep: false,
        slowness: 1.0,
        limit,
    })?;
    Some(match (finding.product, finding.reason) {
        (Some(Product::Fact(value)), _) => Measured::Value(value),
        (_, Some(error)) => Measured::Error { error },
        (_, None) => Measured::Error { error: "the probe gave neither value nor reason".into() },
    })
}

/// What a probe executes, to see what an executed program inherits.
pub(super) fn executed(what: &str) -> CommandResult {
    let text = match what {
        "signal-state" => probe::state_after_exec(),
        _ => Err(format!("no probe executes `{what}`")),
    };
    print(&text.map_err(CommandError::no_verdict)?)
}
