//! Facts as reports tell them: `forkproof-probe/1` for programs, described by
//! `conformance/schema/forkproof-probe-1.schema.json`, and a table for people.

use std::fmt::Write;

use anstyle::{AnsiColor, Style};
use serde::{Deserialize, Serialize};

use super::{Documented, Measured, Probe};
use crate::facts::Facts;

/// The name and version of the format.
pub const SCHEMA: &str = "forkproof-probe/1";

const BOLD: Style = Style::new().bold();
const DIM: Style = Style::new().dimmed();

/// The facts of one system.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ProbeReport {
    /// [`SCHEMA`].
    pub schema: String,
    /// Version of the program that made it.
    pub forkproof: String,
    /// Where.
    pub platform: Facts,
    /// What was selected, in the order of the tables.
    pub facts: Vec<Fact>,
}

/// One fact.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Fact {
    /// The probe's id.
    pub id: String,
    /// What is measured.
    pub title: String,
    /// What POSIX says.
    pub posix: String,
    /// What Linux is documented to do.
    pub linux: Says,
    /// What FreeBSD is documented to do.
    pub freebsd: Says,
    /// What happened here.
    pub measured: Measured,
    /// Whether that is what this system is documented to do; none when the documents fix nothing,
    /// or nothing was measured.
    pub as_documented: Option<bool>,
}

/// What a manual says; see [`Documented`].
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Says {
    /// The value that it fixes.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub value: Option<String>,
    /// Where it stands.
    pub source: String,
}

impl From<&Documented> for Says {
    fn from(documented: &Documented) -> Self {
        Self {
            value: documented.value.map(ToOwned::to_owned),
            source: documented.source.to_owned(),
        }
    }
}

impl Fact {
    /// Sets a measurement beside the documents.
    pub fn new(probe: &Probe, measured: Measured, system: &str) -> Self {
        let as_documented = match &measured {
            Measured::Value(value) => probe
                .documented(system)
                .and_then(|documented| documented.value)
                .map(|documented| documented == value.to_string()),
            Measured::Error { .. } => None,
        };
        Self {
            id: probe.id.to_owned(),
            title: probe.title.to_owned(),
            posix: probe.posix.to_owned(),
            linux: (&probe.linux).into(),
            freebsd: (&probe.freebsd).into(),
            measured,
            as_documented,
        }
    }
}

impl ProbeReport {
    /// How many facts could not be measured.
    pub fn errors(&self) -> usize {
        self.facts.iter().filter(|fact| matches!(fact.measured, Measured::Error { .. })).count()
    }

    /// As JSON.
    pub fn json(&self) -> serde_json::Result<String> {
        let mut text = serde_json::to_string_pretty(self)?;
        text.push('\n');
        Ok(text)
    }

    /// As a table: one line for each fact, with a mark where it is not what this system's own
    /// manual says.
    pub fn table(&self) -> String {
        let mut text = String::new();
        let width = self.facts.iter().map(|fact| fact.id.len()).max().unwrap_or(0);
        let mut differing = 0;
        // Writing to a String cannot fail.
        let _ = writeln!(text, "{}\n", self.platform.line());
        for fact in &self.facts {
            let colour = match (&fact.measured, fact.as_documented) {
                (Measured::Error { .. }, _) => AnsiColor::Magenta.on_default().bold(),
                (_, Some(false)) => AnsiColor::Yellow.on_default().bold(),
                _ => BOLD,
            };
            let mark = if fact.as_documented == Some(false) { '!' } else { ' ' };
            let _ = writeln!(
                text,
                "{colour}{mark}{colour:#} {:<width$}  {colour}{:<26}{colour:#}  {DIM}{}{DIM:#}",
                fact.id,
                fact.measured.to_string(),
                fact.title
            );
            if fact.as_documented == Some(false) {
                differing += 1;
                let says =
                    if self.platform.system == "FreeBSD" { &fact.freebsd } else { &fact.linux };
                let _ = writeln!(
                    text,
                    "  {:<width$}  documented: {} ({})",
                    "",
                    says.value.as_deref().unwrap_or("nothing"),
                    says.source
                );
            }
        }
        let _ = writeln!(
            text,
            "\n{} fact{}, {differing} not as documented for {} (!), {} not measured",
            self.facts.len(),
            if self.facts.len() == 1 { "" } else { "s" },
            self.platform.system,
            self.errors()
        );
        text
    }
}
