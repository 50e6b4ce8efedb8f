//! A web server that is disturbed while it is under a load: which requests that costs.

use std::collections::BTreeMap;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::disturbance::{Disturbance, Disturber};
use super::load;
use super::measurement::{Latency, Pace};
use super::started::Started;
use crate::harness::Check;
use crate::stop::Step;

/// One measurement.
#[derive(Debug, Clone, Copy, Serialize, Deserialize)]
pub struct DisturbedMeasurement {
    /// What is done to it.
    pub kind: Disturbance,
    /// How often, at even distances.
    pub times: usize,
    /// How many workers it was told to have, if it was told.
    pub workers: Option<usize>,
    /// The length of the file that is asked for, in bytes.
    pub bytes: usize,
    /// Whether connections are used again.
    pub keep_alive: bool,
    /// So many connections at most.
    pub at_once: usize,
    /// The load.
    pub pace: Pace,
}

/// What one measurement gives.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct DisturbedSample {
    /// How often it was done. Not again before the server has recovered.
    pub done: usize,
    /// How long it took, in s, until there were as many other workers; those cases alone in which
    /// they came.
    pub recovered_seconds: Vec<f64>,
    /// Requests that were to be made.
    pub requests: u64,
    /// Requests without a good answer.
    pub failed: u64,
    /// How often each thing went wrong.
    pub failures: BTreeMap<String, u64>,
    /// Requests made once more because the server had closed the kept connection: no failures.
    pub retried: u64,
    /// Latencies of the good answers, from when they were due.
    pub latency: Option<Latency>,
}

/// Does one measurement, in this process, which is its own.
pub fn measure_disturbed(
    check: &mut Check,
    measurement: &DisturbedMeasurement,
) -> Step<DisturbedSample> {
    let DisturbedMeasurement { kind, times, workers, bytes, at_once, pace, .. } = *measurement;
    let started = Started::start(check, workers, bytes, at_once, None)?;
    // Which processes are its workers is known when no more come.
    started.server.pool()?;
    let order = started.order(measurement.keep_alive, at_once);
    started.warm(&order)?;
    let time = Duration::from_secs_f64(pace.seconds);
    let mut disturber = Disturber::new(check, &started.server, kind, times, time)?;
    let interval = Duration::from_secs_f64(1.0 / pace.per_second);
    let answers = load::open(
        &order,
        interval,
        time,
        Some(&mut |elapsed| {
            disturber.go_on(elapsed)?;
            Ok(disturber.next())
        }),
    )?;
    disturber.see_through(check.scaled(Duration::from_secs(5)))?;
    Ok(DisturbedSample {
        done: disturber.done,
        recovered_seconds: disturber.recovered,
        requests: answers.requests,
        failed: answers.failed(),
        latency: Latency::of(&answers.latencies),
        failures: answers.failures,
        retried: answers.retried,
    })
}
