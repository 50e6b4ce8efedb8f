//! How processor time is counted.

use clap::ValueEnum;

use crate::bench::{self, Group};
use crate::commands::outcome::CommandError;

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(super) enum Accounting {
    /// By a cgroup where one can be made, else by the processes
    Auto,
    /// By a cgroup v2 of Linux
    Cgroup,
    /// By the clocks of all processes
    Processes,
}

impl Accounting {
    /// The group that servers are counted in, or how they are counted without one.
    pub(super) fn group(self) -> Result<Group, CommandError> {
        let accounting = match self {
            Self::Auto => bench::Accounting::Either,
            Self::Cgroup => bench::Accounting::Group,
            Self::Processes => bench::Accounting::Processes,
        };
        Group::new(accounting)
            .map_err(|why| CommandError::no_verdict(format!("--accounting cgroup: {why}")))
    }
}
