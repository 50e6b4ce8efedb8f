//! A run, as reports tell it: `forkproof-report/1`, described by
//! `conformance/schema/forkproof-report-1.schema.json`.

use std::collections::BTreeMap;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::conclusion::Conclusion;
use crate::evidence::Evidence;
use crate::exception::{Exception, Expected};
use crate::facts::Facts;
use crate::verdict::{Level, Verdict};

/// A run, as reports tell it.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Report {
    /// [`crate::SCHEMA`].
    pub schema: String,
    /// Version of the program that made it.
    pub forkproof: String,
    /// When the run began (RFC 3339, UTC).
    pub started: String,
    /// How long it took, in milliseconds.
    pub duration_ms: u64,
    /// Where.
    pub platform: Facts,
    /// What was checked.
    pub target: TargetInfo,
    /// How.
    pub options: RunOptions,
    /// What it came to.
    pub conclusion: Conclusion,
    /// Whether it was ended before its time.
    pub interrupted: bool,
    /// How many requirements have which verdict.
    pub counts: BTreeMap<String, usize>,
    /// Why nothing was checked, when the target is not as its manifest says.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub rehearsal: Option<Rehearsal>,
    /// Every requirement that was selected and reached.
    pub requirements: Vec<Entry>,
}

/// What came of trying a target's manifest, when that kept everything else from being run.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Rehearsal {
    /// Why.
    pub reason: String,
    /// What there is to show.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub evidence: Option<Evidence>,
}

/// The server under test.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct TargetInfo {
    /// Its name.
    pub name: String,
    /// What was executed.
    pub program: String,
    /// The file of its manifest, if that is not inside forkproof.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub manifest: Option<String>,
    /// What it claims.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub claims: Vec<String>,
}

/// How a run was made.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct RunOptions {
    /// The whole command line, the program's name aside.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub command: Vec<String>,
    /// The personalities that the server was under, as `run --as` takes them.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub personality: Option<String>,
    /// How many requirements were to be checked; 0 where that is not told.
    #[serde(default)]
    pub selected: usize,
    /// How many requirements there are to choose from; 0 where that is not told.
    #[serde(default)]
    pub catalogue: usize,
    /// Checks at a time.
    pub jobs: usize,
    /// Repetitions of each.
    pub repeat: usize,
    /// Factor of deadlines: the greatest that was used.
    pub slowness: f64,
}

/// One requirement in a report.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Entry {
    /// Its id.
    pub id: String,
    /// What must hold.
    pub title: String,
    /// How strongly.
    pub level: Level,
    /// What says so.
    pub clause: String,
    /// The verdict; over several runs the worst.
    pub verdict: Verdict,
    /// How often it was run.
    pub runs: usize,
    /// In how many of the runs the requirement was not seen to hold.
    pub not_passed: usize,
    /// Time of the longest run in milliseconds.
    pub duration_ms: u64,
    /// Why it was not run, is unsupported, or ended in an error; for `xfail` and `xpass`, what the
    /// baseline says.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
    /// What should have happened.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub expected: Option<String>,
    /// What happened.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub actual: Option<String>,
    /// The requirement that is about the step that failed, where that is another one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub covered_by: Option<String>,
    /// What usually causes this.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub trap: Option<String>,
    /// What to do about it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub fix: Option<String>,
    /// For a failure: which of the target's claims led to the question.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub claimed: Vec<String>,
    /// What was found out beside the verdict.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub note: Option<String>,
    /// What there is to show.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub evidence: Option<Evidence>,
    /// The private directory, if it was kept.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub directory: Option<String>,
    /// What the baseline expects of it here, if that names it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub baseline: Option<Exception>,
}

impl Entry {
    /// Whether the repeated runs disagree.
    pub fn is_flaky(&self) -> bool {
        self.not_passed > 0 && self.not_passed < self.runs
    }

    /// Whether the baseline kept it from being run.
    pub fn is_skipped(&self) -> bool {
        self.baseline.as_ref().is_some_and(|exception| exception.expected == Expected::Skip)
    }

    /// Its duration.
    pub fn duration(&self) -> Duration {
        Duration::from_millis(self.duration_ms)
    }

    /// What the baseline has to do with a failure: the entry that is stale, or which expected other
    /// words.
    pub fn baseline_text(&self) -> Option<String> {
        let exception = self.baseline.as_ref()?;
        match self.verdict {
            Verdict::Fail => Some(exception.other_words()),
            Verdict::Xpass => Some(exception.to_string()),
            _ => None,
        }
    }

    /// The area: the part of the id before the slash.
    pub fn area(&self) -> &str {
        area(&self.id)
    }

    /// The id without its area.
    pub fn name(&self) -> &str {
        self.id.split_once('/').map_or(&self.id, |(_, name)| name)
    }
}

/// The area of an id: the part before the slash.
pub fn area(id: &str) -> &str {
    id.split_once('/').map_or(id, |(area, _)| area)
}

impl Report {
    /// The ids with `verdict`, in the report's order.
    pub fn with_verdict(&self, verdict: Verdict) -> impl Iterator<Item = &str> {
        self.requirements
            .iter()
            .filter(move |entry| entry.verdict == verdict)
            .map(|entry| entry.id.as_str())
    }

    /// How many requirements have `verdict`.
    pub fn count(&self, verdict: Verdict) -> usize {
        self.counts.get(verdict.word()).copied().unwrap_or(0)
    }

    /// How many requirements were selected and are not in it, since the run ended before its time.
    pub fn not_reached(&self) -> usize {
        self.options.selected.saturating_sub(self.requirements.len())
    }

    /// What it came to in words: a part of the catalogue is not called conformant.
    pub fn conclusion_words(&self) -> String {
        let (checked, of) = (self.requirements.len(), self.options.catalogue);
        match self.conclusion {
            Conclusion::Conformant if checked < of => format!("passed ({checked} of {of} checked)"),
            conclusion => conclusion.words().to_owned(),
        }
    }

    /// The summary's one line.
    pub fn summary(&self) -> String {
        let count = |verdict| self.count(verdict);
        let flaky = self.requirements.iter().filter(|entry| entry.is_flaky()).count();
        let skipped = self.requirements.iter().filter(|entry| entry.is_skipped()).count();
        // Only runs with a baseline have these.
        let some = |count: usize, before: &str, after: &str| {
            if count > 0 { format!("{before}{count}{after}") } else { String::new() }
        };
        format!(
            "{} passed, {} failed{}, {} unsupported, {} not run{}, {} errors{}{}{}{}",
            count(Verdict::Pass),
            count(Verdict::Fail),
            some(count(Verdict::Blocked), ", ", " blocked"),
            count(Verdict::Unsupported),
            count(Verdict::NotRun),
            some(skipped, " (", " skipped by the baseline)"),
            count(Verdict::Error),
            some(count(Verdict::Xfail), ", ", " failed as expected"),
            some(count(Verdict::Xpass), ", ", " passed unexpectedly"),
            some(flaky, ", ", " flaky"),
            if self.interrupted { "; interrupted" } else { "" },
        ) + &some(self.not_reached(), "; ", " not reached")
    }
}
