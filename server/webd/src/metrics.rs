//! Counters, and their text for Prometheus.
//!
//! Each worker counts for itself and reports to the master, which adds up, workers that have ended
//! included. A worker that is killed takes what it counted since its last report along.

use std::fmt::Write;
use std::time::Duration;

use serde::{Deserialize, Serialize};

/// Upper bounds of the latency histogram, in seconds.
const BOUNDS: [f64; 11] = [0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 1.0, 2.5, 10.0];

/// What a connection is doing.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Phase {
    /// It has sent nothing yet.
    Fresh,
    /// Between two requests.
    Idle,
    /// A request's header comes.
    Header,
    /// A request's body comes.
    Body,
    /// A response is made or sent.
    Response,
}

const PHASES: [&str; 5] = ["fresh", "idle", "header", "body", "response"];

/// The figures of a worker, or of all.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub(crate) struct Figures {
    pub(crate) counters: Counters,
    pub(crate) gauges: Gauges,
    /// Remote workers, as this worker sees them: address, healthy, requests under way.
    pub(crate) remotes: Vec<(String, bool, u64)>,
}

/// What only grows.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub(crate) struct Counters {
    /// Responses by class: 1xx to 5xx.
    responses: [u64; 5],
    pub(crate) bytes: u64,
    buckets: [u64; BOUNDS.len()],
    microseconds: u64,
    pub(crate) accepted: u64,
    pub(crate) refused: u64,
    pub(crate) limited: u64,
    /// Connections closed by a time-out, by [`Phase`].
    timeouts: [u64; PHASES.len()],
    pub(crate) cache_hits: u64,
    pub(crate) cache_misses: u64,
    pub(crate) log_lines_lost: u64,
    pub(crate) remote_requests: u64,
    pub(crate) remote_failures: u64,
    pub(crate) remote_retries: u64,
    /// Processor time, in microseconds.
    pub(crate) processor: u64,
}

/// What goes up and down.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub(crate) struct Gauges {
    connections: [u64; PHASES.len()],
    pub(crate) descriptors: u64,
    pub(crate) cache_bytes: u64,
    pub(crate) cache_files: u64,
}

impl Figures {
    /// A response has been sent, or was broken off.
    pub(crate) fn responded(&mut self, status: u16, bytes: u64, took: Duration) {
        let class = usize::from(status / 100).clamp(1, 5) - 1;
        self.counters.responses[class] += 1;
        self.counters.bytes += bytes;
        self.counters.microseconds += took.as_micros() as u64;
        let seconds = took.as_secs_f64();
        if let Some(bucket) = BOUNDS.iter().position(|&bound| seconds <= bound) {
            self.counters.buckets[bucket] += 1;
        }
    }

    /// A connection goes from one phase to another; `None` is before and after.
    pub(crate) fn moved(&mut self, from: Option<Phase>, to: Option<Phase>) {
        if let Some(from) = from {
            self.gauges.connections[from as usize] -= 1;
        }
        if let Some(to) = to {
            self.gauges.connections[to as usize] += 1;
        }
    }

    /// A connection took too long in `phase`.
    pub(crate) fn timed_out(&mut self, phase: Phase) {
        self.counters.timeouts[phase as usize] += 1;
    }
}

fn add<const N: usize>(sum: &mut [u64; N], other: &[u64; N]) {
    sum.iter_mut().zip(other).for_each(|(sum, other)| *sum += other);
}

impl Counters {
    /// Adds what another worker counted.
    pub(crate) fn add(&mut self, other: &Self) {
        add(&mut self.responses, &other.responses);
        add(&mut self.buckets, &other.buckets);
        add(&mut self.timeouts, &other.timeouts);
        for (sum, other) in [
            (&mut self.bytes, other.bytes),
            (&mut self.microseconds, other.microseconds),
            (&mut self.accepted, other.accepted),
            (&mut self.refused, other.refused),
            (&mut self.limited, other.limited),
            (&mut self.cache_hits, other.cache_hits),
            (&mut self.cache_misses, other.cache_misses),
            (&mut self.log_lines_lost, other.log_lines_lost),
            (&mut self.remote_requests, other.remote_requests),
            (&mut self.remote_failures, other.remote_failures),
            (&mut self.remote_retries, other.remote_retries),
            (&mut self.processor, other.processor),
        ] {
            *sum += other;
        }
    }
}

/// What the master counts itself.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
#[serde(default)]
pub(crate) struct MasterFigures {
    /// What workers counted that have ended.
    pub(crate) past: Counters,
    /// Workers replaced because they exited, were killed by a signal, or gave no sign of life.
    pub(crate) replaced_exit: u64,
    pub(crate) replaced_signal: u64,
    pub(crate) replaced_hung: u64,
    pub(crate) reloads: u64,
    pub(crate) reloads_failed: u64,
    pub(crate) upgrades: u64,
}

/// Workers by state.
#[derive(Default)]
pub(crate) struct WorkerCounts {
    pub(crate) starting: u64,
    pub(crate) ready: u64,
    pub(crate) draining: u64,
}

/// The text for Prometheus (exposition format 0.0.4).
pub(crate) fn render<'a>(
    master: &MasterFigures,
    counts: &WorkerCounts,
    generation: u64,
    workers: impl Iterator<Item = &'a Figures>,
) -> String {
    let mut sum = Figures { counters: master.past.clone(), ..Figures::default() };
    for figures in workers {
        sum.counters.add(&figures.counters);
        add(&mut sum.gauges.connections, &figures.gauges.connections);
        sum.gauges.descriptors += figures.gauges.descriptors;
        sum.gauges.cache_bytes += figures.gauges.cache_bytes;
        sum.gauges.cache_files += figures.gauges.cache_files;
        for (address, healthy, active) in &figures.remotes {
            match sum.remotes.iter_mut().find(|remote| remote.0 == *address) {
                // Healthy if any worker finds it so.
                Some(known) => (known.1, known.2) = (known.1 || *healthy, known.2 + active),
                None => sum.remotes.push((address.clone(), *healthy, *active)),
            }
        }
    }
    let Figures { counters, gauges, remotes } = sum;
    let mut page = Page(String::new());
    page.family("webd_responses_total", "counter", "Responses, by class of status");
    for (index, count) in counters.responses.iter().enumerate() {
        page.labelled("webd_responses_total", "class", &format!("{}xx", index + 1), *count);
    }
    page.family("webd_response_seconds", "histogram", "From a request's header to its last byte");
    let (mut below, total) = (0, counters.responses.iter().sum::<u64>());
    for (bound, count) in BOUNDS.iter().zip(counters.buckets) {
        below += count;
        page.labelled("webd_response_seconds_bucket", "le", &bound.to_string(), below);
    }
    page.labelled("webd_response_seconds_bucket", "le", "+Inf", total);
    let seconds = counters.microseconds as f64 / 1e6;
    let _ = writeln!(page.0, "webd_response_seconds_sum {seconds}");
    let _ = writeln!(page.0, "webd_response_seconds_count {total}");
    page.family("webd_connections", "gauge", "Open connections, by what they are doing");
    for (phase, count) in PHASES.iter().zip(gauges.connections) {
        page.labelled("webd_connections", "state", phase, count);
    }
    page.family("webd_timeouts_total", "counter", "Connections closed by a time-out");
    for (phase, count) in PHASES.iter().zip(counters.timeouts) {
        page.labelled("webd_timeouts_total", "state", phase, count);
    }
    page.family("webd_workers", "gauge", "Worker processes, by state");
    page.labelled("webd_workers", "state", "starting", counts.starting);
    page.labelled("webd_workers", "state", "ready", counts.ready);
    page.labelled("webd_workers", "state", "draining", counts.draining);
    page.family("webd_worker_restarts_total", "counter", "Workers replaced, by why they ended");
    page.labelled("webd_worker_restarts_total", "reason", "exit", master.replaced_exit);
    page.labelled("webd_worker_restarts_total", "reason", "signal", master.replaced_signal);
    page.labelled("webd_worker_restarts_total", "reason", "hung", master.replaced_hung);
    page.family("webd_reloads_total", "counter", "Reloads, by result");
    page.labelled("webd_reloads_total", "result", "done", master.reloads);
    page.labelled("webd_reloads_total", "result", "failed", master.reloads_failed);
    for (name, kind, help, value) in [
        ("webd_sent_bytes_total", "counter", "Bytes of response bodies", counters.bytes),
        ("webd_accepted_total", "counter", "Connections accepted", counters.accepted),
        ("webd_refused_total", "counter", "Connections refused by address", counters.refused),
        ("webd_rate_limited_total", "counter", "Requests answered with 429", counters.limited),
        ("webd_cache_hits_total", "counter", "Files served from memory", counters.cache_hits),
        ("webd_cache_misses_total", "counter", "Files read", counters.cache_misses),
        ("webd_cache_bytes", "gauge", "Memory of the caches", gauges.cache_bytes),
        ("webd_cache_files", "gauge", "Files in the caches", gauges.cache_files),
        ("webd_open_descriptors", "gauge", "Open descriptors of all workers", gauges.descriptors),
        ("webd_log_lines_lost_total", "counter", "Log lines lost", counters.log_lines_lost),
        ("webd_remote_requests_total", "counter", "Requests passed on", counters.remote_requests),
        ("webd_remote_failures_total", "counter", "Failed tries", counters.remote_failures),
        ("webd_remote_retries_total", "counter", "Further tries", counters.remote_retries),
        ("webd_upgrades_total", "counter", "Upgrades in place", master.upgrades),
        ("webd_generation", "gauge", "Generation of the configuration", generation),
    ] {
        page.family(name, kind, help);
        let _ = writeln!(page.0, "{name} {value}");
    }
    page.family("webd_processor_seconds_total", "counter", "Processor time of the workers");
    let _ = writeln!(page.0, "webd_processor_seconds_total {}", counters.processor as f64 / 1e6);
    page.family("webd_remote_healthy", "gauge", "Whether any worker finds the remote healthy");
    for (address, healthy, _) in &remotes {
        page.labelled("webd_remote_healthy", "remote", address, u64::from(*healthy));
    }
    page.family("webd_remote_active", "gauge", "Requests under way at the remote");
    for (address, _, active) in &remotes {
        page.labelled("webd_remote_active", "remote", address, *active);
    }
    page.0
}

struct Page(String);

impl Page {
    fn family(&mut self, name: &str, kind: &str, help: &str) {
        let _ = writeln!(self.0, "# HELP {name} {help}\n# TYPE {name} {kind}");
    }

    fn labelled(&mut self, name: &str, label: &str, value: &str, count: u64) {
        let _ = writeln!(self.0, "{name}{{{label}=\"{value}\"}} {count}");
    }
}
