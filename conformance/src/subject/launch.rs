//! How a server is started, and what it finds then.

use std::collections::BTreeMap;
use std::path::PathBuf;

use serde::{Deserialize, Deserializer, Serialize};

use super::template::Template;
use super::words::Mode;

/// How a server is started.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct Launch {
    /// The program: a path, relative ones from the manifest's directory, or a name to be looked up
    /// in PATH. `--program FILE` takes its place, and is needed where this is missing.
    #[serde(default)]
    pub program: Option<Template>,
    /// Its arguments.
    #[serde(default)]
    pub arguments: Vec<Template>,
    /// Variables for it, besides those of this process.
    #[serde(default)]
    pub environment: BTreeMap<String, Template>,
    /// Its working directory; `{dir}` when missing.
    #[serde(default)]
    pub directory: Option<Template>,
    /// The user that it is started as, where forkproof runs as root; otherwise it is the user who
    /// runs forkproof.
    #[serde(default)]
    pub user: Option<String>,
    /// Its port, if it cannot be told one. Each check then has a network of its own (Linux), or
    /// nothing runs beside it.
    #[serde(default)]
    pub port: Option<std::num::NonZeroU16>,
    /// Whether it goes into the background by itself, so that what was started ends.
    #[serde(default)]
    pub background: bool,
    /// How its daemon is found when it is in the background.
    #[serde(default)]
    pub daemon: DaemonIs,
    /// The file with the key; `{dir}/key` when missing.
    #[serde(default)]
    pub key_file: Option<Template>,
    /// The file in which a daemon writes its process id; `{dir}/pid` when missing.
    #[serde(default)]
    pub pid_file: Option<Template>,
    /// Files that it wants to find.
    #[serde(default)]
    pub files: Vec<LaunchFile>,
    /// Fixed paths, each replaced by a directory of the check's own (Linux: private mounts).
    #[serde(default)]
    pub bind: Vec<Bind>,
    /// Commands that are run before it is started, as the same user.
    #[serde(default)]
    pub prepare: Vec<Prepare>,
    /// Whether only root can start it.
    #[serde(default)]
    pub needs_root: bool,
    /// Whether nothing else may be checked beside it.
    #[serde(default)]
    pub exclusive: bool,
}

/// A command that is run before a server is started.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct Prepare {
    /// The program, looked up in PATH, and its arguments.
    #[serde(deserialize_with = "with_a_program")]
    pub command: Vec<Template>,
    /// Whether it is run once a run, before all checks, instead of before each start. What it makes
    /// in `{shared}` every check finds.
    #[serde(default)]
    pub once: bool,
}

/// How the process that accepts connections is found among those of a server in the background.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(rename_all = "kebab-case")]
pub enum DaemonIs {
    /// It is the one whose parent has ended: the check is its reaper.
    #[default]
    Orphan,
    /// Its process id is in `launch.pid-file`.
    InPidFile,
    /// It is the leader of a session of its own.
    SessionLeader,
}

/// A file to be written before the start.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct LaunchFile {
    /// Where: below `{dir}`, or below a path of `launch.bind`.
    pub path: Template,
    /// What it holds. A line with `{address}` or `{host}` is written once for each address that the
    /// server is to listen on.
    pub content: Template,
    /// Its mode, in octal digits; 0600 when missing.
    #[serde(default)]
    pub mode: Mode,
}

/// A path that the server knows, and the directory that it finds there.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct Bind {
    /// The directory that the server knows, an absolute path.
    pub path: PathBuf,
    /// What it finds there: `{dir}/…`, which is made, or a directory that exists.
    pub from: Template,
    /// Whether it can write there.
    #[serde(default)]
    pub read_only: bool,
}

/// A command line that names a program at least.
fn with_a_program<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Vec<Template>, D::Error> {
    let words = Vec::deserialize(deserializer)?;
    match words.is_empty() {
        true => Err(serde::de::Error::custom("`command` names no program")),
        false => Ok(words),
    }
}
