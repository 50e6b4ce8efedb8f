//! How a server lives: what it is told while it runs, and what it does then.
//!
//! Each field is a promise, and makes a claim: a server that has no such signal leaves it out, and
//! is not asked.

use serde::{Deserialize, Serialize};

use super::template::Template;
use super::words::{Seconds, SignalName};

/// What a running server can be told.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct Lifecycle {
    /// The signal to read the configuration again, with no request lost.
    #[serde(default)]
    pub reload: Option<SignalName>,
    /// The configuration file that it reads then, one of `launch.files`.
    #[serde(default)]
    pub config: Option<Template>,
    /// What that file holds when it is broken; words that are no configuration when missing.
    #[serde(default)]
    pub broken: Option<Template>,
    /// The signal to take no more clients, finish what is under way, and end.
    #[serde(default)]
    pub graceful: Option<SignalName>,
    /// How long it waits for that at most, in seconds.
    #[serde(default)]
    pub graceful_limit: Option<Seconds>,
    /// The signal to open its log anew.
    #[serde(default)]
    pub reopen: Option<SignalName>,
    /// That log, to which a client's being served adds something.
    #[serde(default)]
    pub log: Option<Template>,
    /// The signal to execute its program anew, with the sockets kept.
    #[serde(default)]
    pub upgrade: Option<SignalName>,
    /// The signal that ends the old daemon, where an upgrade leaves two.
    #[serde(default)]
    pub finish: Option<SignalName>,
    /// After how many seconds without a sign of life a worker is replaced.
    #[serde(default)]
    pub health: Option<Seconds>,
}
