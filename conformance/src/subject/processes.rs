//! How a server's processes are arranged.

use serde::{Deserialize, Serialize};

/// A server's processes. What else there is beside those named here, helpers and monitors, is
/// measured by the rehearsal.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct Processes {
    /// Who serves a client.
    #[serde(default)]
    pub model: Model,
}

/// See [`Processes::model`].
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(rename_all = "kebab-case")]
pub enum Model {
    /// The process that accepts connections.
    #[default]
    One,
    /// A thread of it.
    Threads,
    /// A process for each client, and those that it may start itself.
    PerClient,
    /// A receiver for each client, a child of the daemon, and a sender, a child of that.
    Clusters,
    /// Processes that are there before the clients and serve one after the other.
    Workers,
}

impl Model {
    /// Whether each client has processes of its own.
    pub fn is_per_client(self) -> bool {
        matches!(self, Self::PerClient | Self::Clusters)
    }
}

/// What only a running server tells of itself; the rehearsal measures it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Measured {
    /// How many processes there are when no client is.
    pub idle: usize,
    /// How many more there are for each client.
    pub per_client: usize,
}

impl Model {
    /// What is to be expected before anything was measured.
    pub(super) fn expected(self) -> Measured {
        let per_client = match self {
            Self::Clusters => 2,
            Self::PerClient => 1,
            _ => 0,
        };
        Measured { idle: 1, per_client }
    }
}
