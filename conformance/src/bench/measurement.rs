//! What a sink costs under a steady load: one measurement.

use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use serde::{Deserialize, Serialize};

use super::cost;
use super::load::{Clients, Rate};
use super::meanwhile::{self, Meanwhile};
use super::sink::{Running, Sink};
use crate::platform;

/// One measurement.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Measurement {
    /// Of what.
    pub sink: Sink,
    /// How many clients send at a time.
    pub connections: usize,
    /// What each sends.
    pub rate: Rate,
    /// For how long.
    pub time: Duration,
    /// The group of processes in which the sink is counted, if there is one.
    pub group: Option<PathBuf>,
}

/// What one measurement gives.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Sample {
    /// Processor time of the whole tree of processes, in ms.
    pub processor_ms: f64,
    /// How long that took, in s.
    pub seconds: f64,
    /// Processor time for letting all clients in and reading a first message of each, in ms.
    pub joining_ms: f64,
    /// Writes of the clients that were due.
    pub messages: u64,
    /// Bytes that were due.
    pub due_bytes: u64,
    /// Bytes that the load came to. It is late itself on a machine that is too busy.
    pub made_bytes: u64,
    /// Bytes that the sink had read at the end; none where that is not told. Those that the system
    /// took of the clients are known everywhere.
    pub read_bytes: Option<u64>,
    /// Bytes that the system took.
    pub written_bytes: u64,
    /// How late the load was, in ms: the 99th percentile.
    pub load_late_ms: f64,
    /// How often a thread of the sink waited for something; none where that is not told.
    pub voluntary_switches: Option<u64>,
    /// How often others were given its processor.
    pub involuntary_switches: Option<u64>,
    /// Memory of the whole tree in KiB (proportional share, PSS); none where that is not told.
    pub memory_kib: Option<f64>,
    /// How many processes it has.
    pub processes: usize,
    /// What others than the sink and the load used of the machine, in percent of all its processors.
    pub others_percent: Option<f64>,
}

impl Sample {
    /// Bytes that arrived, as far as is told.
    pub(super) fn arrived(&self) -> u64 {
        self.read_bytes.unwrap_or(self.written_bytes)
    }

    /// The share of the load, in percent, that the sink did not take; none if it is what a moment may
    /// hold.
    pub fn missing_percent(&self) -> Option<f64> {
        notable(self.made_bytes, self.arrived())
    }

    /// The share of the load, in percent, that was not made.
    pub fn unmade_percent(&self) -> Option<f64> {
        notable(self.due_bytes, self.made_bytes)
    }
}

/// What of `all` there is not, in percent; none if that is little: the last message of each client may
/// be under way.
fn notable(all: u64, there: u64) -> Option<f64> {
    const LITTLE: f64 = 1.0;
    let missing = all.saturating_sub(there) as f64 / all.max(1) as f64 * 100.0;
    (missing > LITTLE).then_some(missing)
}

/// How long a sink may take to listen, and to read what is sent first.
const PATIENCE: Duration = Duration::from_secs(10);
/// How long it may take for the last messages of the load.
const GRACE: Duration = Duration::from_millis(20);
/// So many clients connect at a time: common queues of listening sockets hold 128.
const AT_ONCE: usize = 32;

/// Does one measurement, in this process, which is its own and whose orphans are its children. It is
/// also the load: what it uses itself counts nowhere.
///
/// # Errors
/// Why the sink could not be measured, in one line.
pub fn measure_sink(
    measurement: &Measurement,
    dir: &Path,
    slowness: f64,
) -> Result<Sample, String> {
    let Measurement { sink, connections, rate, time, group } = measurement;
    let group = group.as_deref();
    meanwhile::allow_descriptors(*connections)?;
    // Nobody else's connections are in the way there.
    let _ = platform::enter_private_network();
    let patience = PATIENCE.mul_f64(slowness);
    let running = Running::start(sink, *connections, group, dir, patience)?;
    let alone = cost::processor_time(group)?;
    let mut clients = Clients::new(*rate);
    while clients.len() < *connections {
        for _ in 0..AT_ONCE.min(connections - clients.len()) {
            clients.enter(running.at, patience).map_err(|why| running.failed(&why))?;
        }
        if !caught_up(running.at, group, patience)? {
            return Err(running.failed(&format!(
                "it has not read the first message of each of {} clients after {:.0} s",
                clients.len(),
                patience.as_secs_f64()
            )));
        }
    }
    // A greeting is no part of the load.
    clients.hear().map_err(|why| running.failed(&why))?;

    let tree_before = cost::tree()?;
    let meanwhile = Meanwhile::begin();
    let before = cost::processor_time(group)?;
    let begin = Instant::now();
    let sent = clients.send(begin, *time).map_err(|why| running.failed(&why))?;
    let grace = GRACE.mul_f64(slowness);
    let end = Instant::now();
    let mut left = platform::backlog(running.at).ok();
    while left.is_some_and(|left| left > 0) && end.elapsed() < grace {
        std::thread::sleep(Duration::from_millis(1));
        left = platform::backlog(running.at).ok();
    }
    let seconds = begin.elapsed().as_secs_f64();
    let after = cost::processor_time(group)?;
    let meanwhile = meanwhile.end();
    let tree_after = cost::tree()?;
    if clients.hear().map_err(|why| running.failed(&why))? {
        return Err(running.failed("it answers its clients, and a sink only reads"));
    }

    let processor = after.saturating_sub(before);
    let difference = |before: Option<u64>, after: Option<u64>| {
        before.zip(after).map(|(before, after)| after.saturating_sub(before))
    };
    Ok(Sample {
        processor_ms: processor.as_secs_f64() * 1e3,
        seconds,
        joining_ms: before.saturating_sub(alone).as_secs_f64() * 1e3,
        messages: sent.messages,
        due_bytes: sent.due,
        made_bytes: sent.made,
        read_bytes: left.map(|left| sent.written.saturating_sub(left)),
        written_bytes: sent.written,
        load_late_ms: sent.late.as_secs_f64() * 1e3,
        voluntary_switches: difference(tree_before.voluntary, tree_after.voluntary),
        involuntary_switches: difference(tree_before.involuntary, tree_after.involuntary),
        memory_kib: cost::memory().ok().map(|bytes| bytes as f64 / 1024.0),
        processes: super::sink::below()?.len(),
        others_percent: meanwhile.others_percent(processor),
    })
}

/// Waits until the sink has read all that was sent; whether it has.
fn caught_up(
    at: std::net::SocketAddr,
    group: Option<&Path>,
    patience: Duration,
) -> Result<bool, String> {
    /// Where unread bytes are not told: a sink that has done nothing for so long has nothing to do.
    const QUIET: Duration = Duration::from_millis(100);
    let begin = Instant::now();
    let mut last = (Duration::ZERO, Instant::now());
    while begin.elapsed() < patience {
        match platform::backlog(at) {
            Ok(0) => return Ok(true),
            Ok(_) => {}
            Err(_) => {
                let used = cost::processor_time(group)?;
                if used != last.0 {
                    last = (used, Instant::now());
                } else if last.1.elapsed() > QUIET {
                    return Ok(true);
                }
            }
        }
        // Nothing announces what another process has read.
        std::thread::sleep(Duration::from_millis(1));
    }
    Ok(false)
}
