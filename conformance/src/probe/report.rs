//! Facts as reports tell them: `forkproof-probe/1` for programs, described by
//! `conformance/schema/forkproof-probe-1.schema.json`.

use std::collections::HashSet;
use std::path::Path;

use forkproof_report::{Facts, PROBE_SCHEMA, schema_of};
use serde::{Deserialize, Serialize};
use settings::{printable, reason};

use super::model::{Documented, Measured, Probe};

/// The facts of one system.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ProbeReport {
    /// [`forkproof_report::PROBE_SCHEMA`].
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
    /// Reads the facts in the file `path`.
    ///
    /// # Errors
    /// One line that names the file and what is wrong with it.
    pub fn read(path: &Path) -> Result<Self, String> {
        let wrong = |what: String| format!("{}: {what}", path.display());
        let bytes = std::fs::read(path).map_err(|error| wrong(reason(&error)))?;
        Self::parse(&bytes).map_err(wrong)
    }

    /// Reads facts.
    ///
    /// # Errors
    /// What is wrong, as one line without control characters.
    pub fn parse(bytes: &[u8]) -> Result<Self, String> {
        match schema_of(bytes)?.as_str() {
            PROBE_SCHEMA => {}
            other => return Err(format!("its schema is `{other}`: expected `{PROBE_SCHEMA}`")),
        }
        let report: Self = serde_json::from_slice(bytes)
            .map_err(|error| printable(&format!("is not as its schema says: {error}")))?;
        let mut seen = HashSet::new();
        match report.facts.iter().find(|fact| !seen.insert(fact.id.as_str())) {
            Some(fact) => Err(format!("has `{}` twice", printable(&fact.id))),
            None => Ok(report),
        }
    }

    /// How many facts could not be measured.
    pub fn errors(&self) -> usize {
        self.facts.iter().filter(|fact| matches!(fact.measured, Measured::Error { .. })).count()
    }
}
