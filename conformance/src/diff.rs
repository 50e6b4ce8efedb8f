//! What changed between two systems or two releases, and nothing else. Both sides are facts
//! (`forkproof-probe/1`), or both are reports (`forkproof-report/1`).

use std::collections::BTreeMap;
use std::fmt::Write;
use std::path::Path;

use anstyle::{AnsiColor, Style};
use forkproof_report::{Entry, Facts, PROBE_SCHEMA, Report, SCHEMA, schema_of};
use serde::Serialize;
use serde_json::Value;
use settings::{printable, reason};

use crate::probe::ProbeReport;

/// The name and version of the format that `--json` gives.
const DIFF_SCHEMA: &str = "forkproof-diff/1";

/// What can be compared: a platform, and words by id.
pub struct Side {
    pub kind: &'static str,
    platform: Facts,
    /// In the file's order.
    entries: Vec<(String, Value)>,
}

/// Everything that differs.
#[derive(Debug, Serialize)]
pub struct Difference {
    schema: &'static str,
    /// The schema of both files.
    compared: &'static str,
    /// Platform facts by name.
    platform: BTreeMap<String, Pair>,
    /// In the order of the first file.
    changed: Vec<Change>,
    /// Ids that only the first file has.
    only_in_a: Vec<Only>,
    /// Ids that only the second file has.
    only_in_b: Vec<Only>,
}

#[derive(Debug, Serialize)]
struct Pair {
    a: Value,
    b: Value,
}

#[derive(Debug, Serialize)]
struct Change {
    id: String,
    #[serde(flatten)]
    values: Pair,
}

#[derive(Debug, Serialize)]
struct Only {
    id: String,
    value: Value,
}

/// Reads a file of either kind; the error names it.
pub fn read(path: &Path) -> Result<Side, String> {
    let wrong = |what: String| format!("{}: {what}", path.display());
    let bytes = std::fs::read(path).map_err(|error| wrong(reason(&error)))?;
    match schema_of(&bytes).map_err(wrong)?.as_str() {
        PROBE_SCHEMA => {
            ProbeReport::parse(&bytes).and_then(|report| Side::facts(&report)).map_err(wrong)
        }
        SCHEMA => {
            let report = Report::parse(&bytes).map_err(wrong)?;
            let word = |entry: Entry| (entry.id, Value::from(entry.verdict.word()));
            let entries = report.requirements.into_iter().map(word).collect();
            Ok(Side { kind: SCHEMA, platform: report.platform, entries })
        }
        other => {
            Err(wrong(format!("its schema is `{other}`: expected `{PROBE_SCHEMA}` or `{SCHEMA}`")))
        }
    }
}

impl Side {
    fn facts(report: &ProbeReport) -> Result<Self, String> {
        let value = |measured| serde_json::to_value(measured).map_err(|error| error.to_string());
        let entries = report
            .facts
            .iter()
            .map(|fact| Ok((fact.id.clone(), value(&fact.measured)?)))
            .collect::<Result<_, String>>()?;
        Ok(Self { kind: PROBE_SCHEMA, platform: report.platform.clone(), entries })
    }
}

/// What differs between the sides, which are of one kind.
pub fn compare(a: Side, b: Side) -> serde_json::Result<Difference> {
    let mut others: BTreeMap<String, Value> = b.entries.iter().cloned().collect();
    let (mut changed, mut only_in_a) = (Vec::new(), Vec::new());
    for (id, value) in a.entries {
        match others.remove(&id) {
            None => only_in_a.push(Only { id, value }),
            Some(other) if other != value => {
                changed.push(Change { id, values: Pair { a: value, b: other } });
            }
            Some(_) => {}
        }
    }
    let only_in_b = b
        .entries
        .into_iter()
        .filter(|(id, _)| others.contains_key(id))
        .map(|(id, value)| Only { id, value })
        .collect();
    let mut platform = BTreeMap::new();
    let (a_facts, b_facts) = (serde_json::to_value(a.platform)?, serde_json::to_value(b.platform)?);
    if let (Value::Object(a_facts), Value::Object(mut b_facts)) = (a_facts, b_facts) {
        for (name, a) in a_facts {
            let b = b_facts.remove(&name).unwrap_or_default();
            if a != b {
                platform.insert(name, Pair { a, b });
            }
        }
    }
    Ok(Difference {
        schema: DIFF_SCHEMA,
        compared: a.kind,
        platform,
        changed,
        only_in_a,
        only_in_b,
    })
}

/// A value as a person reads it.
fn plain(value: &Value) -> String {
    match value {
        Value::Null => "unknown".into(),
        Value::String(text) => printable(text),
        Value::Array(list) => list.iter().map(plain).collect::<Vec<_>>().join(", "),
        Value::Object(members) => match members.get("error").and_then(Value::as_str) {
            Some(error) => format!("not measured: {error}"),
            None => value.to_string(),
        },
        other => other.to_string(),
    }
}

impl Difference {
    /// Whether no fact or verdict differs; that the platforms do is no matter.
    pub fn is_empty(&self) -> bool {
        self.changed.is_empty() && self.only_in_a.is_empty() && self.only_in_b.is_empty()
    }

    /// For a person; `a` and `b` are what the sides are called.
    pub fn text(&self, a: &Path, b: &Path) -> String {
        const BOLD: Style = Style::new().bold();
        const A: Style = AnsiColor::Red.on_default();
        const B: Style = AnsiColor::Green.on_default();
        let mut text = String::new();
        let width = self
            .platform
            .keys()
            .chain(self.changed.iter().map(|change| &change.id))
            .chain(self.only_in_a.iter().chain(&self.only_in_b).map(|only| &only.id))
            .map(String::len)
            .max()
            .unwrap_or(0);
        let line = |text: &mut String, id: &str, a: &str, b: &str| {
            // Writing to a String cannot fail.
            let _ = writeln!(text, "{BOLD}{id:<width$}{BOLD:#}  {A}{a}{A:#} → {B}{b}{B:#}");
        };
        if !self.platform.is_empty() || !self.is_empty() {
            line(&mut text, "", &a.display().to_string(), &b.display().to_string());
        }
        for (name, pair) in &self.platform {
            line(&mut text, name, &plain(&pair.a), &plain(&pair.b));
        }
        if !self.platform.is_empty() && !self.is_empty() {
            text.push('\n');
        }
        for change in &self.changed {
            line(&mut text, &change.id, &plain(&change.values.a), &plain(&change.values.b));
        }
        for only in &self.only_in_a {
            line(&mut text, &only.id, &plain(&only.value), "not in the second");
        }
        for only in &self.only_in_b {
            line(&mut text, &only.id, "not in the first", &plain(&only.value));
        }
        text
    }
}
