//! What the runner tells a warden to have done.

use std::path::PathBuf;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::bench::{DisturbedMeasurement, Measurement, Measures, WebMeasurement};
use crate::subject::Target;
use crate::survey::Command;

/// Something to be done under a warden.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Task {
    /// What to do.
    pub work: Work,
    /// The private directory, to be made.
    pub dir: PathBuf,
    /// Whether to leave it there.
    pub keep: bool,
    /// See [`crate::harness::Orders::slowness`].
    pub slowness: f64,
    /// Limit of the whole task.
    pub limit: Duration,
}

/// What can be done.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub enum Work {
    /// Check the requirement of that id.
    Requirement(String, Subject),
    /// Try whether the target is as its manifest says.
    Rehearsal(Subject),
    /// Measure a server.
    Benchmark(Measures, Subject),
    /// Measure a sink.
    Sink(Measurement),
    /// Measure a web server, which is ended as it stands when that is done.
    Web(WebMeasurement, Subject),
    /// The same, and something is done to it meanwhile.
    Disturbed(DisturbedMeasurement, Subject),
    /// Measure the probe of that id.
    Probe(String),
    /// Find out about a server of which only its command line is known.
    Survey(Command),
}

/// The server that something is done with.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Subject {
    /// It.
    pub target: Target,
    /// The personalities to put it under, as `forkproof as` takes them.
    pub personality: Option<String>,
}

impl Work {
    /// The server, if it takes one and has to end as it should.
    pub(super) fn subject(&self) -> Option<&Subject> {
        match self {
            Self::Requirement(_, subject)
            | Self::Rehearsal(subject)
            | Self::Benchmark(_, subject) => Some(subject),
            Self::Web(..)
            | Self::Disturbed(..)
            | Self::Sink(_)
            | Self::Probe(_)
            | Self::Survey(_) => None,
        }
    }
}
