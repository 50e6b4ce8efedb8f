//! Measuring what is planned.

use std::path::Path;
use std::time::{Duration, Instant};

use forkproof_report::WEB_SCHEMA;

use super::arguments::Arguments;
use super::plan::{Place, Plan};
use crate::bench::{Group, Machine, Pace, WebCell, WebLoad, WebMeasurement, WebReport, WebSample};
use crate::commands::arguments::catch_interrupts;
use crate::commands::bench::progress::progress;
use crate::commands::outcome::{CommandError, CommandResult};
use crate::commands::private::{PrivateDir, private_dir};
use crate::platform;
use crate::render::web as render;
use crate::run::{Product, Subject, Task, Work, run_task, slowness};

/// The command.
pub(in crate::commands::bench) fn main(arguments: &Arguments) -> CommandResult {
    let plan = Plan::new(arguments)?;
    let open = arguments.outputs.open([
        |all| render::json(all),
        |all| Ok(render::markdown(all)),
        |all| render::html(all),
    ])?;
    let dir = private_dir(false)?;
    catch_interrupts()?;
    let group = arguments.accounting.group()?;
    let measured = measure(plan, &dir, &group)?;
    open.write(&measured)?;
    arguments.outputs.voice().say(&render::text(&measured))
}

/// Measures everything, round after round: what changes on the machine meanwhile meets all servers
/// alike.
fn measure(plan: Plan, dir: &PrivateDir, group: &Group) -> Result<WebReport, CommandError> {
    let started = humantime::format_rfc3339_seconds(std::time::SystemTime::now()).to_string();
    let begin = Instant::now();
    let facts = platform::facts(dir.path());
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
                let task = task(place, *load, group.path(), dir.path(), slowness);
                let sample = one(&task)
                    .map_err(|why| CommandError::no_verdict(format!("{words}: {why}")))?;
                samples[row * places.len() + at].push(sample);
                bar.inc(1);
            }
        }
    }
    bar.finish_and_clear();
    let machine = {
        let all: Vec<WebSample> = samples.iter().flatten().cloned().collect();
        Machine::this(WebReport::others(&all))
    };
    let cells = loads.iter().flat_map(|load| places.iter().map(move |place| (load, place)));
    let cells = cells
        .zip(samples)
        .map(|((load, place), samples)| WebCell::new(&place.server, place.workers, *load, samples));
    Ok(WebReport {
        schema: WEB_SCHEMA,
        forkproof: env!("CARGO_PKG_VERSION"),
        optimized: !cfg!(debug_assertions),
        started,
        duration_seconds: begin.elapsed().as_secs_f64(),
        platform: facts,
        machine,
        accounting: group.words.clone(),
        rounds: plan.rounds,
        cells: cells.collect(),
        servers: plan.servers,
        missing: plan.missing,
    })
}

fn task(place: &Place, load: WebLoad, group: Option<&Path>, dir: &Path, slowness: f64) -> Task {
    /// What a measurement may take beside its loads.
    const AROUND: Duration = Duration::from_secs(120);
    /// Slower than that no server has been seen to be: of each request, and of each byte.
    const REQUEST: Duration = Duration::from_millis(20);
    const BYTES_PER_SECOND: f64 = 20e6;
    let pace = load.per_second.zip(load.paced_seconds);
    let pace = pace.map(|(per_second, seconds)| Pace { per_second, seconds });
    let paced = pace.map_or(0.0, |pace| pace.per_second * pace.seconds);
    let requests = load.requests as f64 + paced;
    let bytes = Duration::from_secs_f64(requests * load.bytes as f64 / BYTES_PER_SECOND);
    let limit = AROUND + REQUEST.mul_f64(requests) + bytes;
    Task {
        work: Work::Web(
            WebMeasurement {
                workers: place.workers,
                bytes: load.bytes,
                keep_alive: load.keep_alive,
                at_once: load.at_once,
                requests: load.requests,
                pace,
                group: group.map(Path::to_owned),
            },
            Subject { target: place.target.clone(), personality: None },
        ),
        dir: dir.join("server"),
        keep: false,
        slowness,
        limit: limit.mul_f64(slowness.max(1.0)),
    }
}

/// One measurement.
fn one(task: &Task) -> Result<WebSample, String> {
    let finding = run_task(task).ok_or("interrupted")?;
    match finding.product {
        Some(Product::Web(sample)) => Ok(sample),
        _ => {
            let failure = finding.failure.map(|f| format!("{}: {}", f.expected, f.actual));
            Err(finding.reason.or(failure).unwrap_or_else(|| "no figures".into()))
        }
    }
}
