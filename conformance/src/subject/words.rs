//! What a value in a manifest must look like beyond its type: what is wrong is told with its line.

use std::time::Duration;

use nix::sys::signal::Signal;
use serde::{Deserialize, Serialize};

/// A word that can stand in a report and in a file's name.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(try_from = "String", into = "String")]
pub struct Name(String);

/// A signal, by name.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct SignalName(pub Signal);

/// A time, in seconds on an ordinary machine: more than 0, at most an hour.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(try_from = "f64", into = "f64")]
pub struct Seconds(pub(super) f64);

/// A key's length in bytes, at most 4096.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(try_from = "u64", into = "u64")]
pub struct KeyLength(pub(super) u64);

/// A file's mode, as octal digits.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(try_from = "String", into = "String")]
pub struct Mode(#[cfg_attr(test, schemars(with = "String"))] pub u32);

impl Default for SignalName {
    fn default() -> Self {
        Self(Signal::SIGTERM)
    }
}

impl Default for Mode {
    fn default() -> Self {
        Self(0o600)
    }
}

impl TryFrom<String> for Name {
    type Error = String;

    fn try_from(name: String) -> Result<Self, String> {
        let good = |c: char| c.is_ascii_alphanumeric() || "-_.".contains(c);
        if name.is_empty() || name.len() > 64 || !name.chars().all(good) {
            return Err(format!(
                "`{}` is no name: 1 to 64 letters, digits, dashes, dots and underscores",
                name.escape_default()
            ));
        }
        Ok(Self(name))
    }
}

impl From<Name> for String {
    fn from(name: Name) -> Self {
        name.0
    }
}

impl Name {
    /// The name.
    pub fn text(&self) -> &str {
        &self.0
    }
}

impl TryFrom<String> for SignalName {
    type Error = String;

    fn try_from(name: String) -> Result<Self, String> {
        let known: Vec<&str> = Signal::iterator().map(Signal::as_str).collect();
        name.parse().map(Self).map_err(|_| settings::unknown("signal", &name, &known))
    }
}

impl From<SignalName> for String {
    fn from(name: SignalName) -> Self {
        name.0.as_str().to_owned()
    }
}

#[cfg(test)]
impl schemars::JsonSchema for SignalName {
    fn schema_name() -> std::borrow::Cow<'static, str> {
        "SignalName".into()
    }

    fn json_schema(_generator: &mut schemars::SchemaGenerator) -> schemars::Schema {
        schemars::json_schema!({
            "description": "A signal, by name.", "type": "string", "pattern": "^SIG[A-Z0-9]+$"
        })
    }
}

impl TryFrom<f64> for Seconds {
    type Error = &'static str;

    fn try_from(seconds: f64) -> Result<Self, Self::Error> {
        if seconds > 0.0 && seconds <= 3600.0 {
            Ok(Self(seconds))
        } else {
            Err("a number of seconds must be more than 0 and at most 3600")
        }
    }
}

impl From<Seconds> for f64 {
    fn from(seconds: Seconds) -> Self {
        seconds.0
    }
}

impl Seconds {
    /// As a duration.
    pub fn duration(self) -> Duration {
        Duration::from_secs_f64(self.0)
    }
}

impl TryFrom<u64> for KeyLength {
    type Error = &'static str;

    fn try_from(length: u64) -> Result<Self, Self::Error> {
        // Checks split a key in two and change bytes within it.
        if length == 0 || (8..=4096).contains(&length) {
            Ok(Self(length))
        } else {
            Err("a key has 8 to 4096 bytes, or 0 for no key")
        }
    }
}

impl From<KeyLength> for u64 {
    fn from(length: KeyLength) -> Self {
        length.0
    }
}

impl TryFrom<String> for Mode {
    type Error = String;

    fn try_from(digits: String) -> Result<Self, String> {
        match u32::from_str_radix(&digits, 8) {
            Ok(mode) if mode <= 0o777 => Ok(Self(mode)),
            _ => Err(format!("`{digits}` is no mode: octal digits from \"000\" to \"777\"")),
        }
    }
}

impl From<Mode> for String {
    fn from(mode: Mode) -> Self {
        format!("{:04o}", mode.0)
    }
}
