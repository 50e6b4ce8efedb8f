//! The report for programs: `forkproof-report/1`, described by
//! `conformance/schema/forkproof-report-1.schema.json`.

use std::path::Path;

use super::{Report, SCHEMA};
use crate::catalogue::Controls;
use crate::verdict::Stop;

/// The report as JSON.
pub fn render(report: &Report) -> serde_json::Result<String> {
    let mut text = serde_json::to_string_pretty(report)?;
    text.push('\n');
    Ok(text)
}

/// Reads a report; the error is one line that names the file.
pub fn read(path: &Path) -> Result<Report, String> {
    let wrong = |what: String| format!("{}: {what}", path.display());
    let text = std::fs::read_to_string(path).map_err(|error| wrong(error.to_string()))?;
    let json: serde_json::Value =
        serde_json::from_str(&text).map_err(|error| wrong(format!("is not JSON: {error}")))?;
    match json.get("schema").and_then(serde_json::Value::as_str) {
        Some(SCHEMA) => serde_json::from_value(json)
            .map_err(|error| wrong(format!("is not as its schema says: {error}"))),
        Some(other) => Err(wrong(format!("its schema is `{other}`: expected `{SCHEMA}`"))),
        None => Err(wrong(format!("has no schema: expected `{SCHEMA}`"))),
    }
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
