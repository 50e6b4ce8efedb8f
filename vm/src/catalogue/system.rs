//! Systems.

use serde::{Deserialize, Serialize};

/// The system of a guest, or the one that a program is made for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum System {
    /// Any distribution.
    Linux,
    /// FreeBSD.
    FreeBsd,
}

impl System {
    /// "FreeBSD".
    pub(crate) fn words(self) -> &'static str {
        match self {
            Self::Linux => "Linux",
            Self::FreeBsd => "FreeBSD",
        }
    }
}
