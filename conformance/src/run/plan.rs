//! What a run is to do.

use std::path::PathBuf;
use std::time::Duration;

use super::baseline::Exceptions;
use super::deadlines::SLOW;
use crate::requirement::Requirement;
use crate::subject::Target;

/// What is to be run, and how.
#[derive(Debug)]
pub struct Plan {
    /// The requirements, in the catalogue's order.
    pub requirements: Vec<&'static Requirement>,
    /// How often each.
    pub repeat: usize,
    /// How many checks at a time.
    pub jobs: usize,
    /// The server under test.
    pub target: Target,
    /// How much longer than usual deadlines are at first, `scale` included.
    pub slowness: f64,
    /// How much longer they are than the machine's slowness asks for.
    pub scale: f64,
    /// Where the checks' private directories are made.
    pub dir: PathBuf,
    /// Whether they stay.
    pub keep: bool,
    /// The personalities to put the server under, as `forkproof as` takes them.
    pub personality: Option<String>,
    /// After how many failures no further check is begun.
    pub max_fail: Option<usize>,
    /// The command line that asks for it, the program's name aside.
    pub command: Vec<String>,
    /// What a baseline expects on this platform.
    pub exceptions: Exceptions,
}

impl Plan {
    /// What takes as long is called slow.
    pub fn slow(&self) -> Duration {
        SLOW.mul_f64(self.slowness)
    }
}
