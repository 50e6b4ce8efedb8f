//! What a warden tells the runner.

use forkproof_report::{Evidence, Failure, Verdict};
use serde::{Deserialize, Serialize};

use crate::bench::{DisturbedSample, Figures, Sample, WebSample};
use crate::probe::Value;
use crate::stop::Stop;
use crate::subject::{Ends, Measured};
use crate::survey::Survey;

/// What a task has come to.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Finding {
    /// The answer.
    pub verdict: Verdict,
    /// Why it isn't a pass, in one line; for failures see `failure`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
    /// What was expected and what happened.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub failure: Option<Failure>,
    /// What the check found out beside its verdict.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub note: Option<String>,
    /// What there is to show for it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub evidence: Option<Evidence>,
    /// How many of the server's calls the personality altered, if there was one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub altered_calls: Option<u64>,
    /// What was measured, if that was the work.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub product: Option<Product>,
}

impl Finding {
    /// A pass.
    pub fn pass() -> Self {
        Self {
            verdict: Verdict::Pass,
            reason: None,
            failure: None,
            note: None,
            evidence: None,
            altered_calls: None,
            product: None,
        }
    }

    /// A failure of the harness.
    pub fn error(reason: impl Into<String>) -> Self {
        Self { verdict: Verdict::Error, reason: Some(reason.into()), ..Self::pass() }
    }

    /// What a stop comes to, with its evidence where that helps.
    pub fn from_stop(stop: Stop, evidence: impl FnOnce() -> Evidence) -> Self {
        let (verdict, reason, failure) = match stop {
            Stop::Fail(failure) => (Verdict::Fail, None, Some(failure)),
            Stop::Blocked(failure) => (Verdict::Blocked, None, Some(failure)),
            Stop::Unsupported(reason) => (Verdict::Unsupported, Some(reason), None),
            Stop::NotRun(reason) => (Verdict::NotRun, Some(reason), None),
            Stop::Error(reason) => (Verdict::Error, Some(reason), None),
        };
        let evidence =
            matches!(verdict, Verdict::Fail | Verdict::Error | Verdict::Blocked).then(evidence);
        Self { verdict, reason, failure, evidence, ..Self::pass() }
    }
}

/// What a task measures.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub enum Product {
    /// A server's speed and cost.
    Figures(Figures),
    /// What a sink costs.
    Sample(Sample),
    /// What a web server costs, and how fast it is.
    Web(WebSample),
    /// What disturbing one costs its clients.
    Disturbed(DisturbedSample),
    /// A fact of the operating system.
    Fact(Value),
    /// What was found out about an unknown server.
    Survey(Box<Survey>),
    /// What a rehearsal has found out.
    Manners(Manners),
}

/// What only a running server tells of itself.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct Manners {
    /// Its processes.
    pub measured: Measured,
    /// What ends at its stop signal, with clients in.
    pub ends: Ends,
}
