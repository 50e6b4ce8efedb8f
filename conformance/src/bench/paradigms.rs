//! What sinks cost under a steady load: all measurements of a run, the document that `--report` writes.

use forkproof_report::Facts;
use serde::Serialize;

use super::load::Rate;
use super::machine::Machine;
use super::measurement::Sample;
use super::statistics::Summary;

/// All of it.
#[derive(Debug, Clone, Serialize)]
pub struct Paradigms {
    /// [`forkproof_report::PARADIGMS_SCHEMA`].
    pub schema: &'static str,
    /// The version of this program.
    pub forkproof: &'static str,
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
    /// What each client sent.
    pub load: Rate,
    /// How long each measurement took, in s.
    pub seconds: f64,
    /// How often each was made.
    pub rounds: usize,
    /// What was measured.
    pub sinks: Vec<SinkFacts>,
    /// Each sink with each number of connections, in the order of these.
    pub cells: Vec<Cell>,
}

/// A sink, as it is shown.
#[derive(Debug, Clone, Serialize)]
pub struct SinkFacts {
    /// What it is called.
    pub name: String,
    /// What it does, in a few words; of a peer its command line.
    pub about: String,
    /// Whether it is another program.
    pub peer: bool,
}

/// One sink with one number of connections.
#[derive(Debug, Clone, Serialize)]
pub struct Cell {
    /// The sink's name.
    pub sink: String,
    /// How many connections.
    pub connections: usize,
    /// Processor time, in ms per second.
    pub processor_ms_per_second: Summary,
    /// Processor time, in ns for a byte that arrived; none if none did.
    pub ns_per_byte: Option<Summary>,
    /// Processor time, in µs for a write of a client that arrived.
    pub us_per_message: Option<Summary>,
    /// Processor time for letting a client in and reading a first message, in µs.
    pub joining_us: Summary,
    /// Voluntary switches per second; none where they are not told.
    pub voluntary_per_second: Option<Summary>,
    /// Other switches per second.
    pub involuntary_per_second: Option<Summary>,
    /// Memory in KiB (PSS).
    pub memory_kib: Option<Summary>,
    /// In how many rounds the sink did not take its load.
    pub behind: usize,
    /// How much of the load it did not take in the worst of them, in percent.
    pub missing_percent: Option<f64>,
    /// How much of the load was not made, in the worst round, in percent: the machine was too busy.
    pub unmade_percent: Option<f64>,
    /// The rounds.
    pub samples: Vec<Sample>,
}

impl Cell {
    /// Of these rounds; none of no rounds.
    pub fn new(sink: &str, connections: usize, samples: Vec<Sample>) -> Option<Self> {
        let of = |figure: &dyn Fn(&Sample) -> f64| {
            Summary::of(&samples.iter().map(figure).collect::<Vec<f64>>())
        };
        let of_told =
            |figure: &dyn Fn(&Sample) -> Option<f64>| Summary::of_all(samples.iter().map(figure));
        let missing: Vec<f64> = samples.iter().filter_map(Sample::missing_percent).collect();
        Some(Self {
            sink: sink.to_owned(),
            connections,
            processor_ms_per_second: of(&|one| one.processor_ms / one.seconds)?,
            ns_per_byte: of_told(&|one| {
                let bytes = one.arrived();
                (bytes > 0).then(|| one.processor_ms * 1e6 / bytes as f64)
            }),
            us_per_message: of_told(&|one| {
                let messages = one.arrived() as f64 / one.due_bytes as f64 * one.messages as f64;
                (messages > 0.0).then(|| one.processor_ms * 1e3 / messages)
            }),
            joining_us: of(&|one| one.joining_ms * 1e3 / connections as f64)?,
            voluntary_per_second: of_told(&|one| {
                one.voluntary_switches.map(|count| count as f64 / one.seconds)
            }),
            involuntary_per_second: of_told(&|one| {
                one.involuntary_switches.map(|count| count as f64 / one.seconds)
            }),
            memory_kib: of_told(&|one| one.memory_kib),
            behind: missing.len(),
            missing_percent: missing.into_iter().reduce(f64::max),
            unmade_percent: samples.iter().filter_map(Sample::unmade_percent).reduce(f64::max),
            samples,
        })
    }
}
