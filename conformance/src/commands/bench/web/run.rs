//! Measuring what is planned.

use std::path::Path;
use std::time::{Duration, Instant};

use forkproof_report::WEB_SCHEMA;

use super::arguments::Arguments;
use super::plan::Plan;
use crate::bench::{
    DisturbedCell, DisturbedMeasurement, Group, Machine, Pace, WebCell, WebLoad, WebMeasurement,
    WebReport, WebSample,
};
use crate::commands::arguments::catch_interrupts;
use crate::commands::bench::progress::progress;
use crate::commands::outcome::{CommandError, CommandResult};
use crate::commands::private::{PrivateDir, private_dir};
use crate::platform;
use crate::run::{Product, Subject, Task, Work, run_task, slowness};

/// The command.
pub fn main(arguments: &Arguments) -> CommandResult {
    let plan = Plan::new(arguments)?;
    let open = arguments.outputs.open()?;
    let dir = private_dir(false)?;
    catch_interrupts()?;
    let group = arguments.accounting.group()?;
    let measured = measure(plan, &dir, &group)?;
    open.write(&measured)
}

/// Measures everything, round after round: what changes on the machine meanwhile meets all servers
/// alike.
fn measure(plan: Plan, dir: &PrivateDir, group: &Group) -> Result<WebReport, CommandError> {
    let started = humantime::format_rfc3339_seconds(std::time::SystemTime::now()).to_string();
    let begin = Instant::now();
    let facts = platform::facts(dir.path());
    let (rounds, disturbed) = match plan.disturbances.is_empty() {
        true => (compare(&plan, dir, group)?, Vec::new()),
        false => (Vec::new(), disturb(&plan, dir)?),
    };
    let all: Vec<WebSample> = rounds.iter().flatten().cloned().collect();
    let (places, loads) = (&plan.places, &plan.loads);
    let cells = loads.iter().flat_map(|load| places.iter().map(move |place| (load, place)));
    let cells = cells
        .zip(rounds)
        .map(|((load, place), samples)| WebCell::new(&place.server, place.workers, *load, samples));
    Ok(WebReport {
        schema: WEB_SCHEMA,
        forkproof: env!("CARGO_PKG_VERSION"),
        optimized: !cfg!(debug_assertions),
        started,
        duration_seconds: begin.elapsed().as_secs_f64(),
        platform: facts,
        machine: Machine::this(WebReport::others(&all)),
        accounting: group.words.clone(),
        rounds: plan.rounds,
        cells: cells.collect(),
        disturbed,
        servers: plan.servers,
        missing: plan.missing,
    })
}

/// The samples of each load and server, in the order of the loads.
fn compare(
    plan: &Plan,
    dir: &PrivateDir,
    group: &Group,
) -> Result<Vec<Vec<WebSample>>, CommandError> {
    let (places, loads) = (&plan.places, &plan.loads);
    let bar = progress(plan.rounds * loads.len() * places.len());
    let mut samples: Vec<Vec<WebSample>> = vec![Vec::new(); loads.len() * places.len()];
    for round in 0..plan.rounds {
        let slowness = slowness();
        for (row, load) in loads.iter().enumerate() {
            let mut order: Vec<usize> = (0..places.len()).collect();
            if round % 2 == 1 {
                order.reverse();
            }
            for at in order {
                let place = &places[at];
                let words = place.words();
                bar.set_message(format!("round {} of {}: {words}", round + 1, plan.rounds));
                let pace = pace(load);
                let work = Work::Web(
                    WebMeasurement {
                        workers: place.workers,
                        bytes: load.bytes,
                        keep_alive: load.keep_alive,
                        at_once: load.at_once,
                        requests: load.requests,
                        pace,
                        group: group.path().map(Path::to_owned),
                    },
                    Subject { target: place.target.clone(), personality: None },
                );
                let paced = pace.map_or(0.0, |pace| pace.per_second * pace.seconds);
                let requests = load.requests as f64 + paced;
                let task = task(work, limit(requests, load.bytes), dir.path(), slowness);
                match one(&task, &words)? {
                    Product::Web(sample) => samples[row * places.len() + at].push(sample),
                    _ => return Err(CommandError::no_verdict(format!("{words}: no figures"))),
                }
                bar.inc(1);
            }
        }
    }
    bar.finish_and_clear();
    Ok(samples)
}

/// Each server under each disturbance.
fn disturb(plan: &Plan, dir: &PrivateDir) -> Result<Vec<DisturbedCell>, CommandError> {
    let mut cells = Vec::new();
    let bar = progress(plan.disturbances.len() * plan.loads.len() * plan.places.len());
    for &(kind, times) in &plan.disturbances {
        for load in &plan.loads {
            let Some(pace) = pace(load) else { continue };
            for place in &plan.places {
                let words = place.words();
                bar.set_message(words.clone());
                let missing = kind.missing(&place.target);
                let mut cell = DisturbedCell {
                    server: place.server.clone(),
                    workers: place.workers,
                    kind,
                    times,
                    keep_alive: load.keep_alive,
                    bytes: load.bytes,
                    at_once: load.at_once,
                    per_second: pace.per_second,
                    seconds: pace.seconds,
                    missing,
                    sample: None,
                };
                if cell.missing.is_none() {
                    let measurement = DisturbedMeasurement {
                        kind,
                        times,
                        workers: place.workers,
                        bytes: load.bytes,
                        keep_alive: load.keep_alive,
                        at_once: load.at_once,
                        pace,
                    };
                    let subject = Subject { target: place.target.clone(), personality: None };
                    let limit = limit(pace.per_second * pace.seconds, load.bytes);
                    let work = Work::Disturbed(measurement, subject);
                    match one(&task(work, limit, dir.path(), slowness()), &words)? {
                        Product::Disturbed(sample) => cell.sample = Some(sample),
                        _ => return Err(CommandError::no_verdict(format!("{words}: no figures"))),
                    }
                }
                cells.push(cell);
                bar.inc(1);
            }
        }
    }
    bar.finish_and_clear();
    Ok(cells)
}

fn pace(load: &WebLoad) -> Option<Pace> {
    let pace = load.per_second.zip(load.paced_seconds);
    pace.map(|(per_second, seconds)| Pace { per_second, seconds })
}

/// How long so many requests may take.
fn limit(requests: f64, bytes: usize) -> Duration {
    /// What a measurement may take beside its loads.
    const AROUND: Duration = Duration::from_secs(120);
    /// Slower than that no server has been seen to be: of each request, and of each byte.
    const REQUEST: Duration = Duration::from_millis(20);
    const BYTES_PER_SECOND: f64 = 20e6;
    let bytes = Duration::from_secs_f64(requests * bytes as f64 / BYTES_PER_SECOND);
    AROUND + REQUEST.mul_f64(requests) + bytes
}

fn task(work: Work, limit: Duration, dir: &Path, slowness: f64) -> Task {
    Task {
        work,
        dir: dir.join("server"),
        keep: false,
        slowness,
        limit: limit.mul_f64(slowness.max(1.0)),
    }
}

/// One measurement, of what `words` say.
fn one(task: &Task, words: &str) -> Result<Product, CommandError> {
    let finding = run_task(task).ok_or_else(|| CommandError::no_verdict("interrupted"))?;
    finding.product.ok_or_else(|| {
        let failure = finding.failure.map(|f| format!("{}: {}", f.expected, f.actual));
        let why = finding.reason.or(failure).unwrap_or_else(|| "no figures".into());
        CommandError::no_verdict(format!("{words}: {why}"))
    })
}
