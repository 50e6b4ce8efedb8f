//! A run as it goes on, for programs: JSON objects, one a line, described by
//! `conformance/schema/forkproof-events-1.schema.json`.

use forkproof_report::{EVENTS_SCHEMA, Facts, Report, Verdict};
use serde::Serialize;

use crate::run::{Event, Plan};

#[derive(Serialize)]
#[serde(tag = "event", rename_all = "kebab-case")]
enum Line<'a> {
    Run {
        schema: &'a str,
        forkproof: &'a str,
        target: &'a str,
        platform: &'a Facts,
        selected: usize,
        repeat: usize,
        jobs: usize,
        slowness: f64,
    },
    Started {
        id: &'a str,
        round: usize,
    },
    Finished {
        id: &'a str,
        round: usize,
        /// What is blocked may turn out as failed when the run is over.
        verdict: Verdict,
        duration_ms: u64,
        #[serde(skip_serializing_if = "Option::is_none")]
        reason: Option<&'a str>,
        #[serde(skip_serializing_if = "Option::is_none")]
        expected: Option<&'a str>,
        #[serde(skip_serializing_if = "Option::is_none")]
        actual: Option<&'a str>,
        #[serde(skip_serializing_if = "Option::is_none")]
        covered_by: Option<&'a str>,
        #[serde(skip_serializing_if = "Option::is_none")]
        note: Option<&'a str>,
    },
    Report {
        report: &'a Report,
    },
}

fn line(line: &Line<'_>) -> serde_json::Result<String> {
    let mut text = serde_json::to_string(line)?;
    text.push('\n');
    Ok(text)
}

/// The first line: what is going to be run.
pub fn first(plan: &Plan, facts: &Facts) -> serde_json::Result<String> {
    line(&Line::Run {
        schema: EVENTS_SCHEMA,
        forkproof: env!("CARGO_PKG_VERSION"),
        target: &plan.target.name,
        platform: facts,
        selected: plan.requirements.len(),
        repeat: plan.repeat,
        jobs: plan.jobs,
        slowness: plan.slowness,
    })
}

/// The line of one event.
pub fn of(event: &Event) -> serde_json::Result<String> {
    line(&match event {
        Event::Started(requirement, round) => {
            Line::Started { id: requirement.id, round: round + 1 }
        }
        Event::Finished(record) => {
            let finding = &record.finding;
            let failure = finding.failure.as_ref();
            Line::Finished {
                id: record.requirement.id,
                round: record.round + 1,
                verdict: finding.verdict,
                duration_ms: record.duration.as_millis() as u64,
                reason: finding.reason.as_deref(),
                expected: failure.map(|failure| failure.expected.as_str()),
                actual: failure.map(|failure| failure.actual.as_str()),
                covered_by: failure.and_then(|failure| failure.covered_by.as_deref()),
                note: finding.note.as_deref(),
            }
        }
    })
}

/// The last line: the report, whose verdicts are final.
pub fn last(report: &Report) -> serde_json::Result<String> {
    line(&Line::Report { report })
}
