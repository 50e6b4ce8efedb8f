//! The server under test: how it is launched, found and ended.
//!
//! For now there is one target, the reference server, which is part of this program and executed
//! as `forkproof chatd …`, or a `chatd` of the same command line at another place.

use std::ffi::OsString;
use std::path::PathBuf;

use serde::{Deserialize, Serialize};

/// How many bytes a client's key has.
pub const KEY_LENGTH: usize = 128;
/// Lines of its log that the server sends first.
pub const REPLAY: usize = 7;

/// A server that can be checked.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Target {
    /// Its name in reports.
    pub name: String,
    /// What to execute.
    pub program: PathBuf,
    /// The arguments that come before all others.
    pub arguments: Vec<OsString>,
    /// Whether its documentation says that the log may be a symbolic link, which it then follows;
    /// otherwise it refuses links.
    pub follows_log_link: bool,
}

impl Target {
    /// The reference server inside this very program.
    pub fn reference() -> std::io::Result<Self> {
        Ok(Self {
            name: "reference".into(),
            program: std::env::current_exe()?,
            arguments: vec!["chatd".into()],
            follows_log_link: false,
        })
    }

    /// A program with the reference server's command line.
    pub fn program(path: PathBuf) -> Self {
        Self {
            name: path.display().to_string(),
            program: path,
            arguments: Vec::new(),
            follows_log_link: false,
        }
    }
}
