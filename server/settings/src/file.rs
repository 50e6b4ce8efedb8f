//! TOML files, read into typed structures.
//!
//! Any `serde` structure can be read; nested tables need nothing special. Put
//! `#[serde(deny_unknown_fields)]` on every structure of a format: a misspelt key is then
//! an error that names the line and the nearest key the format knows, never a setting that is
//! silently ignored. (`serde` cannot combine this with `#[serde(flatten)]`, and it reports errors
//! inside `untagged` enums without a cause: avoid both in formats that people write.)
//!
//! What a value must look like beyond its type belongs in the type too, by
//! `#[serde(try_from = "String")]` or the like: the message is then reported with its line.
//!
//! ```text
//! chat.toml:3: unknown key `prot`: did you mean `port`? (known: host, port, username)
//! chat.toml:2: invalid type: string "x", expected a nonzero u16 (in `port`)
//! chat.toml: cannot be read: Permission denied
//! ```

use std::fmt;
use std::io;
use std::path::Path;

use serde::de::DeserializeOwned;

use crate::nearest::unknown;
use crate::text::{one_line, reason};

/// Why settings could not be read. It displays as one line, `ORIGIN:LINE: MESSAGE`, or
/// `ORIGIN: MESSAGE` where no line is to blame.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SettingsError {
    origin: String,
    line: Option<usize>,
    message: String,
    read_error: Option<io::ErrorKind>,
}

impl SettingsError {
    /// The line to blame, counted from 1, if there is one.
    #[must_use]
    pub fn line(&self) -> Option<usize> {
        self.line
    }

    /// What is wrong, without the file and the line.
    #[must_use]
    pub fn message(&self) -> &str {
        &self.message
    }

    /// Whether there is no such file, which a caller may forgive for a file nobody asked for.
    #[must_use]
    pub fn is_missing_file(&self) -> bool {
        self.read_error == Some(io::ErrorKind::NotFound)
    }
}

impl fmt::Display for SettingsError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.line {
            Some(line) => write!(f, "{}:{line}: {}", self.origin, self.message),
            None => write!(f, "{}: {}", self.origin, self.message),
        }
    }
}

impl std::error::Error for SettingsError {}

/// Reads the TOML file at `path`.
///
/// # Errors
/// The file cannot be read, is not UTF-8 or not TOML, or does not fit `T`.
pub fn read<T: DeserializeOwned>(path: impl AsRef<Path>) -> Result<T, SettingsError> {
    let path = path.as_ref();
    parse(&read_text(path)?, &path.display().to_string())
}

/// Reads the text of the file at `path`, for [`parse`]: a caller that reports mistakes of its own
/// needs it for [`line_at`].
///
/// # Errors
/// The file cannot be read, or is not UTF-8.
pub fn read_text(path: impl AsRef<Path>) -> Result<String, SettingsError> {
    let path = path.as_ref();
    let origin = path.display().to_string();
    let bytes = std::fs::read(path).map_err(|error| SettingsError {
        origin: one_line(&origin),
        line: None,
        message: format!("cannot be read: {}", reason(&error)),
        read_error: Some(error.kind()),
    })?;
    String::from_utf8(bytes).map_err(|error| SettingsError {
        origin: one_line(&origin),
        line: Some(line_at(error.as_bytes(), error.utf8_error().valid_up_to())),
        message: "not UTF-8: a TOML file is UTF-8 text".to_owned(),
        read_error: None,
    })
}

/// Reads TOML from `text`. `origin` stands for the file's name in errors.
///
/// # Errors
/// The text is not TOML, or does not fit `T`.
pub fn parse<T: DeserializeOwned>(text: &str, origin: &str) -> Result<T, SettingsError> {
    toml::from_str(text).map_err(|error: toml::de::Error| SettingsError {
        origin: one_line(origin),
        line: error.span().map(|span| line_at(text.as_bytes(), span.start)),
        message: one_line(&explain(&error)),
        read_error: None,
    })
}

/// The number of the line that holds the byte at `offset`, from 1. An offset at the very end
/// belongs to the last line that has any text.
pub fn line_at(text: &[u8], offset: usize) -> usize {
    let end = text.len() - text.iter().rev().take_while(|&&byte| byte == b'\n').count();
    let before = &text[..offset.min(end)];
    1 + before.iter().filter(|&&byte| byte == b'\n').count()
}

/// The message in our words: `serde` says "unknown field `a`, expected one of `b`, `c`".
fn explain(error: &toml::de::Error) -> String {
    let message = error.message();
    for (prefix, noun) in [("unknown field ", "key"), ("unknown variant ", "value")] {
        if let Some(rest) = message.strip_prefix(prefix) {
            let mut names = rest.split('`').skip(1).step_by(2);
            if let Some(wrong) = names.next() {
                let names: Vec<&str> = names.collect();
                // An alias of an older format, with underscores: understood, not advertised.
                let is_old =
                    |name: &str| name.contains('_') && names.contains(&&*name.replace('_', "-"));
                let known: Vec<&str> = names.iter().copied().filter(|name| !is_old(name)).collect();
                return unknown(noun, wrong, &known);
            }
        }
    }
    let message = message.replacen("missing field ", "missing key ", 1);
    // The library tells the path of the value only in the form it displays without the text.
    let mut without_text = error.clone();
    without_text.set_input(None);
    match without_text.to_string().lines().last().and_then(|line| line.strip_prefix("in `")) {
        Some(path) if !message.starts_with("missing key") => format!("{message} (in `{path})"),
        _ => message,
    }
}

#[cfg(test)]
mod tests {
    use std::num::NonZeroU16;

    use rstest::rstest;
    use serde::Deserialize;

    use super::*;

    #[derive(Debug, Deserialize, PartialEq)]
    #[serde(deny_unknown_fields, rename_all = "kebab-case")]
    struct Manifest {
        port: Option<NonZeroU16>,
        key_file: Option<String>,
        role: Option<Role>,
        claims: Option<Claims>,
        #[serde(default)]
        step: Vec<Claims>,
    }

    #[derive(Debug, Deserialize, PartialEq)]
    #[serde(deny_unknown_fields)]
    struct Claims {
        daemonizes: bool,
        user: Option<Name>,
    }

    #[derive(Debug, Deserialize, PartialEq)]
    #[serde(rename_all = "lowercase")]
    enum Role {
        Daemon,
        Receiver,
    }

    #[derive(Debug, Deserialize, PartialEq)]
    #[serde(try_from = "String")]
    struct Name(String);

    impl TryFrom<String> for Name {
        type Error = &'static str;

        fn try_from(name: String) -> Result<Self, Self::Error> {
            if name.is_empty() {
                return Err("a name is never empty");
            }
            Ok(Self(name))
        }
    }

    #[derive(Debug, Deserialize)]
    #[serde(deny_unknown_fields)]
    struct Nothing {}

    #[derive(Debug, Deserialize)]
    #[serde(deny_unknown_fields, rename_all = "kebab-case")]
    struct Renamed {
        #[serde(alias = "key_file")]
        key_file: String,
    }

    #[test]
    fn nested_tables_are_read() {
        let text = "port = 7722\n[claims]\ndaemonizes = true\nuser = \"chat\"\n\
                    [[step]]\ndaemonizes = false\n";
        let expected = Manifest {
            port: NonZeroU16::new(7722),
            key_file: None,
            role: None,
            claims: Some(Claims { daemonizes: true, user: Some(Name("chat".to_owned())) }),
            step: vec![Claims { daemonizes: false, user: None }],
        };
        assert_eq!(parse::<Manifest>(text, "m.toml"), Ok(expected));
    }

    #[rstest]
    #[case::misspelt(
        "prot = 1",
        "m.toml:1: unknown key `prot`: did you mean `port`? \
         (known: port, key-file, role, claims, step)"
    )]
    #[case::underscore_for_dash(
        "# the key\n\nkey_file = \"k\"",
        "m.toml:3: unknown key `key_file`: did you mean `key-file`? \
         (known: port, key-file, role, claims, step)"
    )]
    #[case::like_nothing(
        "zzz = 1",
        "m.toml:1: unknown key `zzz` (known: port, key-file, role, claims, step)"
    )]
    #[case::in_a_table(
        "port = 1\n[claims]\ndaemonizes = true\nuzer = \"x\"",
        "m.toml:4: unknown key `uzer`: did you mean `user`? (known: daemonizes, user)"
    )]
    #[case::in_a_list_of_tables(
        "[[step]]\ndaemonizes = true\n[[step]]\ndemonizes = true",
        "m.toml:4: unknown key `demonizes`: did you mean `daemonizes`? (known: daemonizes, user)"
    )]
    #[case::variant(
        "\nrole = \"deamon\"",
        "m.toml:2: unknown value `deamon`: did you mean `daemon`? (known: daemon, receiver)"
    )]
    #[case::wrong_type(
        "port = \"x\"",
        "m.toml:1: invalid type: string \"x\", expected a nonzero u16 (in `port`)"
    )]
    #[case::out_of_range(
        "\nport = 77220",
        "m.toml:2: invalid value: integer `77220`, expected a nonzero u16 (in `port`)"
    )]
    #[case::line_break_in_a_value(
        "port = \"\"\"a\nb\"\"\"",
        "m.toml:1: invalid type: string \"a\\nb\", expected a nonzero u16 (in `port`)"
    )]
    #[case::missing("port = 1\n\n[claims]\nuser = \"x\"", "m.toml:3: missing key `daemonizes`")]
    #[case::own_rule(
        "[claims]\ndaemonizes = true\nuser = \"\"",
        "m.toml:3: a name is never empty (in `claims.user`)"
    )]
    fn misfits_are_told_on_one_line(#[case] text: &str, #[case] expected: &str) {
        let error = parse::<Manifest>(text, "m.toml").unwrap_err();
        assert_eq!(error.to_string(), expected);
    }

    /// The words are the TOML library's; the place and the shape are ours.
    #[rstest]
    #[case::no_value("port =\n", "m.toml:1: ")]
    #[case::unclosed("\nrole = \"daemon\n\n", "m.toml:2: ")]
    #[case::duplicate("port = 1\nport = 2\n", "m.toml:2: duplicate key")]
    #[case::unclosed_at_the_end("port = 1\nstep = [\n\n", "m.toml:2: ")]
    #[case::no_toml("port: 1", "m.toml:1: ")]
    fn syntax_errors_are_told_on_one_line(#[case] text: &str, #[case] start: &str) {
        let error = parse::<Manifest>(text, "m.toml").unwrap_err().to_string();
        assert!(error.starts_with(start), "{error}");
        assert!(error.len() > "m.toml:1: ".len(), "{error}");
        assert!(!error.contains('\n'), "{error}");
    }

    #[test]
    fn a_table_without_keys_says_so() {
        let error = parse::<Nothing>("a = 1", "n").unwrap_err();
        assert_eq!(error.to_string(), "n:1: unknown key `a`: none is known here");
    }

    #[test]
    fn an_old_spelling_is_read_and_not_advertised() {
        assert_eq!(parse::<Renamed>("key_file = 'k'", "n").unwrap().key_file, "k");
        let error = parse::<Renamed>("keyfile = 'k'", "n").unwrap_err().to_string();
        assert_eq!(error, "n:1: unknown key `keyfile`: did you mean `key-file`? (known: key-file)");
    }

    #[test]
    fn a_missing_file_is_told_from_an_unreadable_one() {
        let directory = tempfile::tempdir().unwrap();
        let missing = directory.path().join("absent.toml");
        let error = read::<Manifest>(&missing).unwrap_err();
        assert!(error.is_missing_file());
        assert_eq!(
            error.to_string(),
            format!("{}: cannot be read: No such file or directory", missing.display())
        );

        let error = read::<Manifest>(directory.path()).unwrap_err();
        assert!(!error.is_missing_file());
        assert_eq!(error.message(), "cannot be read: Is a directory");
        assert_eq!(error.line(), None);
    }

    #[test]
    fn bytes_that_are_no_text_are_placed() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("latin1.toml");
        std::fs::write(&path, b"port = 1\nkey-file = \"caf\xe9\"\n").unwrap();
        let error = read::<Manifest>(&path).unwrap_err();
        assert_eq!(error.line(), Some(2));
        assert_eq!(error.message(), "not UTF-8: a TOML file is UTF-8 text");
    }
}
