//! `forkproof diff A.json B.json`: what changed between two systems or two releases, and nothing
//! else. Both files are facts (`forkproof-probe/1`), or both are reports (`forkproof-report/1`).

use std::collections::BTreeMap;
use std::fmt::Write;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use anstyle::{AnsiColor, Style};
use serde::Serialize;
use serde_json::Value;

use crate::cli::{complain_no_verdict, complain_usage, print};
use crate::facts::Facts;
use crate::probe::report::{ProbeReport, SCHEMA as PROBE};
use crate::report::{Report, SCHEMA as REPORT};

/// The name and version of the format that `--json` gives.
pub const SCHEMA: &str = "forkproof-diff/1";

/// What `--help` says last.
pub const AFTER_HELP: &str = "\
Exit status: 0 no fact or verdict differs · 1 some do · 2 usage, also files that cannot be compared.
A difference of the platforms alone is shown and does not count.";

/// The command's arguments.
#[derive(clap::Args, Debug)]
pub struct Arguments {
    /// What `forkproof probe --json` gave, or `forkproof run --report`
    a: PathBuf,
    /// The same from the other system
    b: PathBuf,

    /// Show the differences as JSON
    #[arg(long)]
    json: bool,
}

/// What can be compared: a platform, and words by id.
struct Side {
    kind: &'static str,
    platform: Facts,
    /// In the file's order.
    entries: Vec<(String, Value)>,
}

/// Everything that differs.
#[derive(Debug, Serialize)]
struct Difference {
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

/// The command.
pub fn main(arguments: &Arguments) -> ExitCode {
    let (a, b) = match (read(&arguments.a), read(&arguments.b)) {
        (Ok(a), Ok(b)) => (a, b),
        (Err(message), _) | (_, Err(message)) => return complain_usage(message),
    };
    if a.kind != b.kind {
        return complain_usage(format!(
            "{} is {} and {} is {}: compare two of a kind",
            arguments.a.display(),
            a.kind,
            arguments.b.display(),
            b.kind
        ));
    }
    let difference = match compare(a, b) {
        Ok(difference) => difference,
        Err(error) => return complain_no_verdict(error),
    };
    let text = if arguments.json {
        match serde_json::to_string_pretty(&difference) {
            Ok(text) => text + "\n",
            Err(error) => return complain_no_verdict(error),
        }
    } else {
        difference.text(&arguments.a, &arguments.b)
    };
    let printed = print(&text);
    if difference.is_empty() { printed } else { ExitCode::from(1) }
}

/// Reads a file of either kind; the error names it.
fn read(path: &Path) -> Result<Side, String> {
    let wrong = |what: String| format!("{}: {what}", path.display());
    let text = std::fs::read_to_string(path).map_err(|error| wrong(error.to_string()))?;
    let json: Value =
        serde_json::from_str(&text).map_err(|error| wrong(format!("is not JSON: {error}")))?;
    let expected = format!("expected `{PROBE}` or `{REPORT}`");
    let side = match json.get("schema").and_then(Value::as_str) {
        Some(PROBE) => serde_json::from_value(json).and_then(|report: ProbeReport| {
            let entries = report
                .facts
                .into_iter()
                .map(|fact| Ok((fact.id, serde_json::to_value(fact.measured)?)))
                .collect::<serde_json::Result<_>>()?;
            Ok(Side { kind: PROBE, platform: report.platform, entries })
        }),
        Some(REPORT) => serde_json::from_value(json).map(|report: Report| Side {
            kind: REPORT,
            platform: report.platform,
            entries: report
                .requirements
                .into_iter()
                .map(|entry| (entry.id, Value::from(entry.verdict.word())))
                .collect(),
        }),
        Some(other) => return Err(wrong(format!("its schema is `{other}`: {expected}"))),
        None => return Err(wrong(format!("has no schema: {expected}"))),
    };
    let side = side.map_err(|error| wrong(format!("is not as its schema says: {error}")))?;
    let mut seen = std::collections::HashSet::new();
    match side.entries.iter().find(|(id, _)| !seen.insert(id)) {
        Some((id, _)) => Err(wrong(format!("has `{id}` twice"))),
        None => Ok(side),
    }
}

fn compare(a: Side, b: Side) -> serde_json::Result<Difference> {
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
    Ok(Difference { schema: SCHEMA, compared: a.kind, platform, changed, only_in_a, only_in_b })
}

/// A value as a person reads it.
fn plain(value: &Value) -> String {
    match value {
        Value::Null => "unknown".into(),
        Value::String(text) => text.clone(),
        Value::Array(list) => list.iter().map(plain).collect::<Vec<_>>().join(", "),
        Value::Object(members) => match members.get("error").and_then(Value::as_str) {
            Some(error) => format!("not measured: {error}"),
            None => value.to_string(),
        },
        other => other.to_string(),
    }
}

impl Difference {
    fn is_empty(&self) -> bool {
        self.changed.is_empty() && self.only_in_a.is_empty() && self.only_in_b.is_empty()
    }

    fn text(&self, a: &Path, b: &Path) -> String {
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
