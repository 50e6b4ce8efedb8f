//! What a probe is, and what it measures.

use std::path::Path;

use serde::{Deserialize, Serialize};

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
pub(super) const fn fixed(value: &'static str, source: &'static str) -> Documented {
    Documented { value: Some(value), source }
}

/// The manual fixes no value.
pub(super) const fn open(source: &'static str) -> Documented {
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

#[cfg(test)]
mod tests {
    use super::*;

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
