//! Web servers side by side: all measurements of a run, the document that `--report` writes.

use std::collections::BTreeMap;

use forkproof_report::Facts;
use serde::Serialize;

use super::disturbance::Disturbance;
use super::disturbed::DisturbedSample;
use super::measurement::{Latency, LoadSample, WebSample};
use crate::bench::machine::Machine;
use crate::bench::statistics::Summary;

/// All of it.
#[derive(Debug, Clone, Serialize)]
pub struct WebReport {
    /// [`forkproof_report::WEB_SCHEMA`].
    pub schema: &'static str,
    /// The version of this program.
    pub forkproof: &'static str,
    /// Whether it was built with optimization, and with it webd.
    pub optimized: bool,
    /// When it began (RFC 3339, UTC).
    pub started: String,
    /// How long it took, in s.
    pub duration_seconds: f64,
    /// The system.
    pub platform: Facts,
    /// The machine.
    pub machine: Machine,
    /// How processor time was told.
    pub accounting: String,
    /// How often each was measured.
    pub rounds: usize,
    /// What was measured, in the order of the first round.
    pub servers: Vec<ServerFacts>,
    /// Servers that are known and not there, and why.
    pub missing: BTreeMap<String, String>,
    /// Each server with each number of workers, and each load, in the order of the loads; none where
    /// servers were disturbed.
    pub cells: Vec<WebCell>,
    /// Each server under each disturbance, in the order of these.
    pub disturbed: Vec<DisturbedCell>,
}

/// A server, as it is shown.
#[derive(Debug, Clone, Serialize)]
pub struct ServerFacts {
    /// What it is called.
    pub name: String,
    /// What its processes do; of a manifest its own words.
    pub about: String,
    /// What it says of its version; empty where that is not known.
    pub version: String,
    /// Whether it was measured by a manifest, with as many workers as that says.
    pub by_manifest: bool,
}

/// What was asked for, and how.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub struct WebLoad {
    /// The length of the file, in bytes.
    pub bytes: usize,
    /// Whether connections were used again.
    pub keep_alive: bool,
    /// So many connections at most.
    pub at_once: usize,
    /// Requests of the closed load; 0 where there was none.
    pub requests: u64,
    /// The pace of the open load in requests a second, if there was one.
    pub per_second: Option<f64>,
    /// How long that was kept, in s.
    pub paced_seconds: Option<f64>,
}

/// One server with one number of workers, under one load.
#[derive(Debug, Clone, Serialize)]
pub struct WebCell {
    /// The server's name.
    pub server: String,
    /// How many workers it was told to have; none of one by a manifest.
    pub workers: Option<usize>,
    /// What was asked for.
    #[serde(flatten)]
    pub load: WebLoad,
    /// Of the closed load.
    pub closed: Option<LoadFigures>,
    /// Of the open load.
    pub open: Option<LoadFigures>,
    /// Memory of the whole tree in KiB (PSS).
    pub memory_kib: Option<Summary>,
    /// Memory of one worker in KiB (PSS).
    pub worker_memory_kib: Option<Summary>,
    /// How many processes it had at most.
    pub processes: usize,
    /// The rounds.
    pub samples: Vec<WebSample>,
}

/// One server with one number of workers, that something was done to under a load.
#[derive(Debug, Clone, Serialize)]
pub struct DisturbedCell {
    /// The server's name.
    pub server: String,
    /// How many workers it was told to have; none of one by a manifest.
    pub workers: Option<usize>,
    /// What was done.
    pub kind: Disturbance,
    /// How often it was to be done.
    pub times: usize,
    /// Whether connections were used again.
    pub keep_alive: bool,
    /// The length of the file, in bytes.
    pub bytes: usize,
    /// So many connections at most.
    pub at_once: usize,
    /// The pace, in requests a second.
    pub per_second: f64,
    /// How long that was kept, in s.
    pub seconds: f64,
    /// Why it could not be done; none if it was.
    pub missing: Option<String>,
    /// What came of it.
    pub sample: Option<DisturbedSample>,
}

/// What the rounds of one load say together.
#[derive(Debug, Clone, Serialize)]
pub struct LoadFigures {
    /// Requests of all rounds.
    pub requests: u64,
    /// Those without a good answer.
    pub failed: u64,
    /// How often each thing went wrong.
    pub failures: BTreeMap<String, u64>,
    /// Requests made once more because the server had closed the kept connection: no failures.
    pub retried: u64,
    /// Good answers a second.
    pub per_second: Summary,
    /// Good answers for a second of the server's processor time; none where it used none.
    pub per_cpu_second: Option<Summary>,
    /// Latencies; none where a round had no good answer.
    pub latency: Option<LatencyFigures>,
    /// How busy the load was, in percent of one processor.
    pub load_percent: Summary,
    /// In how many rounds the load itself was the limit.
    pub loads_own: usize,
    /// How late the load was in the worst round, in ms; none of a closed load.
    pub late_ms: Option<f64>,
}

/// Each percentile's median of the rounds, in ms.
#[derive(Debug, Clone, Copy, Serialize)]
pub struct LatencyFigures {
    /// The median.
    pub p50_ms: Summary,
    /// The 90th percentile.
    pub p90_ms: Summary,
    /// The 99th percentile.
    pub p99_ms: Summary,
    /// 99.9 %.
    pub p999_ms: Summary,
    /// The longest.
    pub max_ms: Summary,
}

impl LoadFigures {
    /// Of these rounds; none unless all have it.
    fn new(samples: &[Option<&LoadSample>]) -> Option<Self> {
        let samples: Vec<&LoadSample> = samples.iter().copied().collect::<Option<_>>()?;
        let of = |figure: &dyn Fn(&LoadSample) -> f64| {
            Summary::of(&samples.iter().map(|one| figure(one)).collect::<Vec<f64>>())
        };
        let latency = |figure: fn(&Latency) -> f64| {
            Summary::of_all(samples.iter().map(|one| one.latency.as_ref().map(figure)))
        };
        let mut failures = BTreeMap::new();
        for (what, count) in samples.iter().flat_map(|one| &one.failures) {
            *failures.entry(what.clone()).or_default() += count;
        }
        Some(Self {
            requests: samples.iter().map(|one| one.requests).sum(),
            failed: samples.iter().map(|one| one.failed).sum(),
            failures,
            retried: samples.iter().map(|one| one.retried).sum(),
            per_second: of(&|one| one.served() as f64 / one.seconds)?,
            per_cpu_second: Summary::of_all(samples.iter().map(|one| {
                (one.processor_ms > 0.0).then(|| one.served() as f64 / one.processor_ms * 1e3)
            })),
            latency: latency(|one| one.p50_ms).and_then(|p50_ms| {
                Some(LatencyFigures {
                    p50_ms,
                    p90_ms: latency(|one| one.p90_ms)?,
                    p99_ms: latency(|one| one.p99_ms)?,
                    p999_ms: latency(|one| one.p999_ms)?,
                    max_ms: latency(|one| one.max_ms)?,
                })
            }),
            load_percent: of(&|one| one.load_percent)?,
            loads_own: samples.iter().filter(|one| one.is_loads_own()).count(),
            late_ms: samples.iter().filter_map(|one| one.late_ms).reduce(f64::max),
        })
    }
}

impl WebCell {
    /// Of these rounds.
    pub fn new(
        server: &str,
        workers: Option<usize>,
        load: WebLoad,
        samples: Vec<WebSample>,
    ) -> Self {
        let of = |load: fn(&WebSample) -> Option<&LoadSample>| {
            LoadFigures::new(&samples.iter().map(load).collect::<Vec<_>>())
        };
        Self {
            server: server.to_owned(),
            workers,
            load,
            closed: of(|one| one.closed.as_ref()),
            open: of(|one| one.open.as_ref()),
            memory_kib: Summary::of_all(samples.iter().map(|one| one.memory_kib)),
            worker_memory_kib: Summary::of_all(samples.iter().map(|one| one.worker_memory_kib)),
            processes: samples.iter().map(|one| one.processes).max().unwrap_or(0),
            samples,
        }
    }
}

impl WebReport {
    /// What others used of the machine, a figure of each load.
    pub fn others(samples: &[WebSample]) -> impl Iterator<Item = Option<f64>> + '_ {
        samples
            .iter()
            .flat_map(|one| one.closed.iter().chain(&one.open))
            .map(|load| load.others_percent)
    }
}
