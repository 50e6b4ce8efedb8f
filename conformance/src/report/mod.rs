//! Reports: what a run came to, for machines ([`json`], [`junit`]) and for people ([`terminal`],
//! [`markdown`]). A report only reads; nothing here reaches back into execution.

pub mod json;
pub mod junit;
pub mod markdown;
pub mod terminal;

use std::collections::BTreeMap;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::baseline::{Exception, Expected};
use crate::catalogue::Level;
use crate::execution::{Conclusion, Execution, Plan};
use crate::facts::Facts;
use crate::harness::Evidence;
use crate::verdict::Verdict;

/// The name and version of the report's format.
pub const SCHEMA: &str = "forkproof-report/1";

/// A run, as reports tell it.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Report {
    /// [`SCHEMA`].
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
    /// Checks at a time.
    pub jobs: usize,
    /// Repetitions of each.
    pub repeat: usize,
    /// Factor of all deadlines.
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
}

/// What the baseline has to do with a failure: the entry that is stale, or which expected other
/// words.
fn baseline_text(entry: &Entry) -> Option<String> {
    let exception = entry.baseline.as_ref()?;
    match entry.verdict {
        Verdict::Fail => Some(exception.other_words()),
        Verdict::Xpass => Some(exception.to_string()),
        _ => None,
    }
}

impl Report {
    /// Tells a run.
    pub fn new(plan: &Plan, execution: &Execution, facts: Facts, started: String) -> Self {
        let mut requirements = Vec::new();
        for &requirement in &plan.requirements {
            let records: Vec<_> = execution
                .records
                .iter()
                .filter(|record| std::ptr::eq(record.requirement, requirement))
                .collect();
            // The worst speaks for all.
            let gravity = |verdict| match verdict {
                Verdict::Fail => 6,
                Verdict::Xpass => 5,
                Verdict::Error => 4,
                Verdict::NotRun => 3,
                Verdict::Unsupported => 2,
                Verdict::Xfail => 1,
                Verdict::Pass => 0,
            };
            let Some(worst) = records.iter().max_by_key(|r| gravity(r.finding.verdict)) else {
                continue; // interrupted before it was reached
            };
            let finding = &worst.finding;
            let troubled =
                matches!(finding.verdict, Verdict::Fail | Verdict::Error | Verdict::Xfail);
            let held = records.iter().filter(|r| r.finding.verdict.holds()).count();
            let reason = match (finding.verdict, &worst.exception) {
                (Verdict::Xpass, Some(exception)) => {
                    Some(exception.stale(requirement.id, held, records.len()))
                }
                _ => finding.reason.clone(),
            };
            requirements.push(Entry {
                id: requirement.id.to_owned(),
                title: requirement.title.to_owned(),
                level: requirement.level,
                clause: requirement.clause.to_owned(),
                verdict: finding.verdict,
                runs: records.len(),
                not_passed: records.len() - held,
                duration_ms: records
                    .iter()
                    .map(|r| r.duration.as_millis() as u64)
                    .max()
                    .unwrap_or(0),
                reason,
                expected: finding.failure.as_ref().map(|failure| failure.expected.clone()),
                actual: finding.failure.as_ref().map(|failure| failure.actual.clone()),
                trap: troubled.then(|| requirement.trap.to_owned()),
                fix: troubled.then(|| requirement.fix.to_owned()),
                claimed: match finding.verdict {
                    Verdict::Fail | Verdict::Xfail if plan.target.rehearse => {
                        requirement.claims.iter().map(|claim| claim.word().to_owned()).collect()
                    }
                    _ => Vec::new(),
                },
                note: finding.note.clone(),
                evidence: finding.evidence.clone(),
                directory: worst.dir.as_ref().map(|dir| dir.display().to_string()),
                baseline: worst.exception.clone(),
            });
        }
        let mut counts: BTreeMap<String, usize> =
            Verdict::ALL.iter().map(|verdict| (verdict.word().to_owned(), 0)).collect();
        for entry in &requirements {
            *counts.entry(entry.verdict.word().to_owned()).or_default() += 1;
        }
        Self {
            schema: SCHEMA.to_owned(),
            forkproof: env!("CARGO_PKG_VERSION").to_owned(),
            started,
            duration_ms: execution.duration.as_millis() as u64,
            platform: facts,
            target: TargetInfo {
                name: plan.target.name.clone(),
                program: plan.target.program.display().to_string(),
                manifest: plan.target.file.as_ref().map(|file| file.display().to_string()),
                claims: plan.target.claims().iter().map(|claim| claim.word().to_owned()).collect(),
            },
            rehearsal: execution.rehearsal.as_ref().map(|finding| Rehearsal {
                reason: finding.reason.clone().unwrap_or_default(),
                evidence: finding.evidence.clone(),
            }),
            options: RunOptions {
                jobs: plan.jobs,
                repeat: plan.repeat,
                slowness: (plan.slowness * 100.0).round() / 100.0,
            },
            conclusion: execution.conclusion(),
            interrupted: execution.interrupted,
            counts,
            requirements,
        }
    }

    /// How many requirements have `verdict`.
    pub fn count(&self, verdict: Verdict) -> usize {
        self.counts.get(verdict.word()).copied().unwrap_or(0)
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
            "{} passed, {} failed, {} unsupported, {} not run{}, {} errors{}{}{}{}",
            count(Verdict::Pass),
            count(Verdict::Fail),
            count(Verdict::Unsupported),
            count(Verdict::NotRun),
            some(skipped, " (", " skipped by the baseline)"),
            count(Verdict::Error),
            some(count(Verdict::Xfail), ", ", " failed as expected"),
            some(count(Verdict::Xpass), ", ", " passed unexpectedly"),
            some(flaky, ", ", " flaky"),
            if self.interrupted { "; interrupted" } else { "" },
        )
    }
}
