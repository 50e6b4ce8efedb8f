//! Texts of a manifest with placeholders: `{port}`, `{log}`.

use std::collections::BTreeMap;
use std::ffi::{OsStr, OsString};
use std::os::unix::ffi::{OsStrExt, OsStringExt};

use serde::{Deserialize, Serialize};

/// What may stand between braces, and what it becomes.
pub const PLACEHOLDERS: &[(&str, &str)] = &[
    (
        "address",
        "in `options.address` and `launch.files`: the address and port to listen on, as HOST:PORT",
    ),
    ("config", "in `options.config`: a configuration file that holds a mistake"),
    ("dir", "the check's private directory, empty at first"),
    ("forkproof", "this very program"),
    ("host", "in `options.address` and `launch.files`: the address to listen on, without its port"),
    ("key", "the key's bytes"),
    ("key-file", "the file with the key"),
    ("lines", "in `options.replay`: a number of lines"),
    ("log", "the chat log"),
    ("manifest-dir", "the directory of the manifest"),
    ("number", "in `options.max-clients`: a number of clients"),
    ("pid-file", "a file for the daemon's process id"),
    ("port", "the port to listen on"),
    ("program", "the server's program"),
    ("program-dir", "the directory of the server's program"),
    ("ready-fd", "the number of an open descriptor, for the addresses listened on, a line each"),
    ("ready-file", "a file that the server makes when it listens"),
    ("shared", "a directory of the whole run, which `launch.prepare` with `once = true` fills"),
    (
        "user",
        "in `options.user`: the name of an ordinary user; elsewhere the user that the server is started as",
    ),
];

/// A text of a manifest. `{{` and `}}` stand for braces.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(try_from = "String", into = "String")]
pub struct Template(String);

/// A piece of a template.
enum Piece<'a> {
    Text(&'a str),
    Placeholder(&'a str),
}

/// The values of placeholders.
pub type Values<'a> = BTreeMap<&'a str, OsString>;

impl TryFrom<String> for Template {
    type Error = String;

    fn try_from(text: String) -> Result<Self, String> {
        if text.contains('\0') {
            return Err("a NUL byte, which no argument or path can hold".into());
        }
        for piece in pieces(&text) {
            if let Piece::Placeholder(name) = piece? {
                if !PLACEHOLDERS.iter().any(|(known, _)| *known == name) {
                    let known: Vec<&str> = PLACEHOLDERS.iter().map(|(name, _)| *name).collect();
                    return Err(settings::unknown("placeholder", name, &known));
                }
            }
        }
        Ok(Self(text))
    }
}

impl From<Template> for String {
    fn from(template: Template) -> Self {
        template.0
    }
}

impl From<&str> for Template {
    /// For texts that are known to be good.
    fn from(text: &str) -> Self {
        Self(text.to_owned())
    }
}

impl Template {
    /// The text as it was written.
    pub fn text(&self) -> &str {
        &self.0
    }

    /// Whether `{name}` stands in it.
    pub fn mentions(&self, name: &str) -> bool {
        pieces(&self.0).any(|piece| matches!(piece, Ok(Piece::Placeholder(found)) if found == name))
    }

    /// The placeholders in it.
    pub fn placeholders(&self) -> Vec<&str> {
        pieces(&self.0)
            .filter_map(|piece| match piece {
                Ok(Piece::Placeholder(name)) => Some(name),
                _ => None,
            })
            .collect()
    }

    /// The text with `values` in their places; the name of the first placeholder that has none.
    pub fn fill(&self, values: &Values<'_>) -> Result<OsString, String> {
        let mut filled = Vec::new();
        for piece in pieces(&self.0) {
            match piece? {
                Piece::Text(text) => filled.extend_from_slice(text.as_bytes()),
                Piece::Placeholder(name) => {
                    let value: &OsStr =
                        values.get(name).ok_or_else(|| format!("{{{name}}} has no value here"))?;
                    filled.extend_from_slice(value.as_bytes());
                }
            }
        }
        Ok(OsString::from_vec(filled))
    }
}

/// Cuts `text` up.
fn pieces(text: &str) -> impl Iterator<Item = Result<Piece<'_>, String>> {
    let mut rest = text;
    std::iter::from_fn(move || {
        if rest.is_empty() {
            return None;
        }
        let brace = rest.find(['{', '}']);
        let (piece, length) = match brace {
            None => (Ok(Piece::Text(rest)), rest.len()),
            Some(at) if at > 0 => (Ok(Piece::Text(&rest[..at])), at),
            Some(_) if rest.starts_with("{{") || rest.starts_with("}}") => {
                (Ok(Piece::Text(&rest[..1])), 2)
            }
            Some(_) if rest.starts_with('}') => {
                (Err("a `}` without its `{` (a brace itself is `}}`)".to_owned()), rest.len())
            }
            Some(_) => match rest.find('}') {
                Some(end) => (Ok(Piece::Placeholder(&rest[1..end])), end + 1),
                None => {
                    (Err("a `{` without its `}` (a brace itself is `{{`)".to_owned()), rest.len())
                }
            },
        };
        rest = &rest[length..];
        Some(piece)
    })
}

#[cfg(test)]
mod tests {
    use rstest::rstest;

    use super::*;

    fn values() -> Values<'static> {
        [("port", "7722"), ("dir", "/tmp/x y")].map(|(name, value)| (name, value.into())).into()
    }

    #[rstest]
    #[case("--port={port}", "--port=7722")]
    #[case("{dir}/{port}", "/tmp/x y/7722")]
    #[case("{{port}}", "{port}")]
    #[case("", "")]
    #[case("ü{port}ü", "ü7722ü")]
    fn placeholders_are_filled(#[case] text: &str, #[case] expected: &str) {
        let template = Template::try_from(text.to_owned()).unwrap();
        assert_eq!(template.fill(&values()).unwrap(), expected);
    }

    #[rstest]
    #[case("{prot}", "unknown placeholder `prot`: did you mean `port`?")]
    #[case("{port", "a `{` without its `}` (a brace itself is `{{`)")]
    #[case("port}", "a `}` without its `{` (a brace itself is `}}`)")]
    fn mistakes_are_named(#[case] text: &str, #[case] expected: &str) {
        let mistake = Template::try_from(text.to_owned()).unwrap_err();
        assert!(mistake.starts_with(expected), "{mistake}");
    }

    #[test]
    fn a_placeholder_without_a_value_is_named() {
        let template = Template::try_from("{lines}".to_owned()).unwrap();
        assert_eq!(template.fill(&values()).unwrap_err(), "{lines} has no value here");
    }
}
