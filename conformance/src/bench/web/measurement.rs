//! One measurement of a web server: a load after the other on a server of its own, and what each cost.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::time::Duration;

use hdrhistogram::Histogram;
use serde::{Deserialize, Serialize};

use super::load::{self, Answers};
use super::started::Started;
use crate::bench::cost;
use crate::bench::meanwhile::Meanwhile;
use crate::bench::sink::below;
use crate::harness::{Check, Server};
use crate::platform;
use crate::stop::{Step, Stop};

/// One measurement of a web server.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct WebMeasurement {
    /// How many workers it was told to have, if it was told.
    pub workers: Option<usize>,
    /// The length of the file that is asked for, in bytes.
    pub bytes: usize,
    /// Whether connections are used again.
    pub keep_alive: bool,
    /// So many connections at most.
    pub at_once: usize,
    /// The closed load, if there is to be one: so many requests.
    pub requests: u64,
    /// The open load, if there is to be one.
    pub pace: Option<Pace>,
    /// The group of processes in which the server is counted, if there is one.
    pub group: Option<PathBuf>,
}

/// A steady pace.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct Pace {
    /// Requests a second.
    pub per_second: f64,
    /// For how long, in s.
    pub seconds: f64,
}

/// What one measurement gives.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct WebSample {
    /// The closed load.
    pub closed: Option<LoadSample>,
    /// The open load.
    pub open: Option<LoadSample>,
    /// Memory of the whole tree in KiB when the loads are over (PSS); none where that is not told.
    pub memory_kib: Option<f64>,
    /// Memory of one worker: the mean of all processes but the first.
    pub worker_memory_kib: Option<f64>,
    /// How many processes it has.
    pub processes: usize,
}

/// What has come of one load.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct LoadSample {
    /// Requests that were to be made.
    pub requests: u64,
    /// Requests without a good answer.
    pub failed: u64,
    /// How often each thing went wrong.
    pub failures: BTreeMap<String, u64>,
    /// Requests made once more because the server had closed the kept connection: no failures.
    pub retried: u64,
    /// How long it took, in s.
    pub seconds: f64,
    /// Processor time of the server's whole tree of processes, in ms.
    pub processor_ms: f64,
    /// Latencies of the good answers; none if there were none.
    pub latency: Option<Latency>,
    /// How late a request's turn came after it was due, in ms: the 99th percentile. None of a closed
    /// load.
    pub late_ms: Option<f64>,
    /// How busy the load was, in percent of one processor: it has one thread.
    pub load_percent: f64,
    /// What others than the server and the load used of the machine, in percent of all its processors.
    pub others_percent: Option<f64>,
}

/// Latencies, in ms.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct Latency {
    /// The median.
    pub p50_ms: f64,
    /// The 90th percentile.
    pub p90_ms: f64,
    /// The 99th percentile.
    pub p99_ms: f64,
    /// 99.9 %.
    pub p999_ms: f64,
    /// The longest.
    pub max_ms: f64,
}

impl Latency {
    pub(super) fn of(latencies: &Histogram<u64>) -> Option<Self> {
        let at = |share: f64| latencies.value_at_quantile(share) as f64 / 1e3;
        (!latencies.is_empty()).then(|| Self {
            p50_ms: at(0.5),
            p90_ms: at(0.9),
            p99_ms: at(0.99),
            p999_ms: at(0.999),
            max_ms: latencies.max() as f64 / 1e3,
        })
    }
}

impl LoadSample {
    /// Requests with a good answer.
    pub fn served(&self) -> u64 {
        self.requests.saturating_sub(self.failed)
    }

    /// Whether the load could hardly have been made any faster, so that its figures are its own.
    pub fn is_loads_own(&self) -> bool {
        /// The rest is spent waiting for a processor, or within a wait.
        const BUSY: f64 = 90.0;
        self.load_percent >= BUSY
    }
}

/// Does one measurement, in this process, which is its own. It is also the load: what it uses itself
/// counts nowhere.
pub fn measure_web(check: &mut Check, measurement: &WebMeasurement) -> Step<WebSample> {
    let group = measurement.group.as_deref();
    let started =
        Started::start(check, measurement.workers, measurement.bytes, measurement.at_once, group)?;
    let order = started.order(measurement.keep_alive, measurement.at_once);
    started.warm(&order)?;

    let closed = match measurement.requests {
        0 => None,
        requests => {
            Some(sample(group, false, || load::closed(&order, requests).map_err(Stop::Error))?)
        }
    };
    let open = match measurement.pace {
        None => None,
        Some(pace) => {
            let interval = Duration::from_secs_f64(1.0 / pace.per_second);
            let time = Duration::from_secs_f64(pace.seconds);
            Some(sample(group, true, || load::open(&order, interval, time, None))?)
        }
    };
    let (memory_kib, worker_memory_kib, processes) = memory(&started.server)?;
    Ok(WebSample { closed, open, memory_kib, worker_memory_kib, processes })
}

/// Makes a load, and looks at what it costs.
fn sample(
    group: Option<&Path>,
    is_paced: bool,
    load: impl FnOnce() -> Step<Answers>,
) -> Step<LoadSample> {
    let meanwhile = Meanwhile::begin();
    let before = cost::processor_time(group).map_err(Stop::Error)?;
    let answers = load()?;
    let after = cost::processor_time(group).map_err(Stop::Error)?;
    let spent = meanwhile.end();
    let processor = after.saturating_sub(before);
    Ok(LoadSample {
        requests: answers.requests,
        failed: answers.failed(),
        latency: Latency::of(&answers.latencies),
        late_ms: is_paced.then(|| answers.late.value_at_quantile(0.99) as f64 / 1e3),
        failures: answers.failures,
        retried: answers.retried,
        seconds: spent.time.as_secs_f64(),
        processor_ms: processor.as_secs_f64() * 1e3,
        load_percent: spent.own_percent(),
        others_percent: spent.others_percent(processor),
    })
}

/// Memory in all and of a worker in KiB, and the number of processes.
fn memory(server: &Server) -> Step<(Option<f64>, Option<f64>, usize)> {
    let processes = below().map_err(Stop::Error)?;
    let master = server.daemon();
    let (mut all, mut workers, mut count) = (0.0, 0.0, 0);
    for process in &processes {
        let Ok(bytes) = platform::private_memory(process.pid) else {
            return Ok((None, None, processes.len()));
        };
        all += bytes as f64 / 1024.0;
        if process.pid != master {
            workers += bytes as f64 / 1024.0;
            count += 1;
        }
    }
    let of_one = if count > 0 { workers / f64::from(count) } else { all };
    Ok((Some(all), Some(of_one), processes.len()))
}
