//! The report for programs: `forkproof-report/1`, described by
//! `conformance/schema/forkproof-report-1.schema.json`.

use super::Report;
use crate::catalogue::Controls;
use crate::verdict::Stop;

/// The report as JSON.
pub fn render(report: &Report) -> serde_json::Result<String> {
    let mut text = serde_json::to_string_pretty(report)?;
    text.push('\n');
    Ok(text)
}

/// The catalogue as JSON: a list of objects with the fields of a requirement.
pub fn catalogue(
    requirements: &[&'static crate::catalogue::Requirement],
) -> serde_json::Result<String> {
    let list: Vec<serde_json::Value> = requirements
        .iter()
        .map(|requirement| {
            serde_json::json!({
                "id": requirement.id,
                "title": requirement.title,
                "level": requirement.level,
                "clause": requirement.clause,
                "trap": requirement.trap,
                "fix": requirement.fix,
                "needs": requirement.needs,
                "exclusive": requirement.exclusive,
                // Why it cannot be checked here; null when it can.
                "missing": crate::needs::Need::first_missing(requirement.needs).map(|stop| match stop {
                    Stop::Unsupported(reason) | Stop::NotRun(reason) | Stop::Error(reason) => reason,
                    Stop::Fail(failure) => failure.actual,
                }),
                "controls": match requirement.controls {
                    Controls::By(controls) => controls.iter().map(|c| c.personality).collect(),
                    Controls::None(_) => Vec::new(),
                },
            })
        })
        .collect();
    let mut text = serde_json::to_string_pretty(&list)?;
    text.push('\n');
    Ok(text)
}
