//! Probes: what this operating system does, measured; no server is involved and none is judged.
//!
//! A [`Probe`] says what POSIX leaves open or fixes, what Linux and FreeBSD are documented to do,
//! and measures what happens here. Each runs under a warden of its own, as a check does: a process
//! that may change its signals, fork and die, in a private session and directory, with a deadline.
//!
//! A measured value holds nothing that differs from run to run: no process id, port or time.

mod connections;
mod experiment;
mod files;
mod interfaces;
mod locks;
mod processes;
mod restart;
mod signals;
mod sockets;
mod widths;

#[cfg(target_os = "freebsd")]
#[path = "system_freebsd.rs"]
mod system;
#[cfg(target_os = "linux")]
#[path = "system_linux.rs"]
mod system;
#[cfg(not(any(target_os = "linux", target_os = "freebsd")))]
#[path = "system_other.rs"]
mod system;

pub mod command;
pub mod report;

use std::path::Path;

use serde::{Deserialize, Serialize};

pub(crate) use signals::state_after_exec;

/// Something about an operating system that a forking server can meet.
#[derive(Debug)]
pub struct Probe {
    /// Stable words, `area/name`; the code is in the file of the area.
    pub id: &'static str,
    /// What is measured, so that the value reads as the answer.
    pub title: &'static str,
    /// What POSIX.1-2024, or the RFC that stands in for it, says.
    pub posix: &'static str,
    /// What Linux is documented to do.
    pub linux: Documented,
    /// What FreeBSD is documented to do.
    pub freebsd: Documented,
    /// Measures it in this process, which is its own; the path is a private directory.
    pub measure: fn(&Path) -> Measure,
}

impl Probe {
    /// The area: the part of the id before the slash.
    pub fn area(&self) -> &'static str {
        self.id.split('/').next().unwrap_or(self.id)
    }

    /// What the system of that name (uname(3)) is documented to do, if it is one of the two.
    pub fn documented(&self, system: &str) -> Option<&Documented> {
        match system {
            "Linux" => Some(&self.linux),
            "FreeBSD" => Some(&self.freebsd),
            _ => None,
        }
    }
}

/// What a system's own manual says.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Documented {
    /// The value it comes to, as [`Value`] prints it; none where the documents fix none, or leave
    /// it to the configuration.
    pub value: Option<&'static str>,
    /// Where that stands, and what else it says.
    pub source: &'static str,
}

/// The manual fixes the value.
const fn fixed(value: &'static str, source: &'static str) -> Documented {
    Documented { value: Some(value), source }
}

/// The manual fixes no value.
const fn open(source: &'static str) -> Documented {
    Documented { value: None, source }
}

/// What a measurement comes to, or why there is none.
pub type Measure = Result<Value, String>;

/// A measured value.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(untagged)]
pub enum Value {
    /// A number.
    Number(i64),
    /// Words.
    Text(String),
    /// Several words, in order.
    List(Vec<String>),
}

impl std::fmt::Display for Value {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Number(number) => write!(f, "{number}"),
            Self::Text(text) => f.write_str(text),
            Self::List(words) => f.write_str(&words.join(", ")),
        }
    }
}

impl From<&str> for Value {
    fn from(text: &str) -> Self {
        Self::Text(text.to_owned())
    }
}

impl From<String> for Value {
    fn from(text: String) -> Self {
        Self::Text(text)
    }
}

impl From<i64> for Value {
    fn from(number: i64) -> Self {
        Self::Number(number)
    }
}

/// A value, or the reason why the measurement failed; in JSON the value itself, or an object with
/// the member `error`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(untagged)]
pub enum Measured {
    /// It was measured.
    Value(Value),
    /// The harness or its surroundings failed.
    Error {
        /// Why.
        error: String,
    },
}

impl std::fmt::Display for Measured {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Value(value) => value.fmt(f),
            Self::Error { error } => write!(f, "not measured: {error}"),
        }
    }
}

const AREAS: &[&[Probe]] = &[
    signals::PROBES,
    restart::PROBES,
    locks::PROBES,
    sockets::PROBES,
    connections::PROBES,
    processes::PROBES,
    files::PROBES,
    widths::PROBES,
    interfaces::PROBES,
];

/// Every probe, area by area.
pub fn all() -> impl Iterator<Item = &'static Probe> {
    AREAS.iter().flat_map(|area| area.iter())
}

/// The probe of that id.
pub fn find(id: &str) -> Option<&'static Probe> {
    all().find(|probe| probe.id == id)
}

/// Measures one probe in this process, which the probe may spoil.
pub(crate) fn measure(id: &str, dir: &Path) -> Measure {
    use nix::sys::signal::{SigHandler, Signal, signal};
    let probe = find(id).ok_or_else(|| format!("no probe {id}"))?;
    // Who started this program may have had them ignored.
    for inherited in [Signal::SIGUSR1, Signal::SIGCHLD, Signal::SIGPIPE, Signal::SIGALRM] {
        // SAFETY: no handler is installed.
        unsafe { signal(inherited, SigHandler::SigDfl) }
            .map_err(|errno| format!("{inherited}: {errno:?}"))?;
    }
    (probe.measure)(dir)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_are_unique_paths_of_stable_words() {
        let mut seen = std::collections::HashSet::new();
        for Probe { id, .. } in all() {
            assert!(seen.insert(id), "{id} stands twice");
            let parts: Vec<&str> = id.split('/').collect();
            assert_eq!(parts.len(), 2, "{id}");
            for part in parts {
                let good = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '-';
                assert!(!part.is_empty() && part.chars().all(good), "{id}");
            }
        }
        assert!(seen.len() >= 40, "only {} probes", seen.len());
    }

    #[test]
    fn the_area_of_a_probe_is_its_table() {
        for area in AREAS {
            let name = area[0].area();
            assert!(area.iter().all(|probe| probe.area() == name), "{name}");
        }
    }

    #[test]
    fn every_document_is_named() {
        for probe in all() {
            for text in [probe.title, probe.posix, probe.linux.source, probe.freebsd.source] {
                assert!(text.len() > 5, "{}: `{text}`", probe.id);
                assert!(!text.ends_with('.'), "{}: `{text}`", probe.id);
            }
        }
    }

    #[test]
    fn a_value_in_json_is_the_value_itself() {
        let text = |measured: Measured| serde_json::to_string(&measured).unwrap();
        assert_eq!(text(Measured::Value(Value::from(64))), "64");
        assert_eq!(text(Measured::Value(Value::from("lost"))), r#""lost""#);
        assert_eq!(text(Measured::Error { error: "x".into() }), r#"{"error":"x"}"#);
        let list: Measured = serde_json::from_str(r#"["::1","127.0.0.1"]"#).unwrap();
        assert_eq!(list.to_string(), "::1, 127.0.0.1");
    }
}
