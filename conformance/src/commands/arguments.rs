//! What several commands take, and make of it.

use std::path::Path;

use forkproof_report::Level;

use super::outcome::CommandError;
use crate::requirement::Requirement;
use crate::run::{self, Shard};
use crate::subject::{Target, executable};

#[derive(clap::Args, Debug)]
pub(super) struct Selection {
    /// Requirements: ids or globs (`signals/*`, `handler-persists`, `auth`); all when none is named
    #[arg(value_name = "GLOB")]
    globs: Vec<String>,

    /// Only requirements of this level or a stronger one (must, should, may)
    #[arg(long, value_name = "LEVEL")]
    level: Option<Level>,

    /// Only part K of N
    #[arg(long, value_name = "K/N")]
    shard: Option<Shard>,
}

impl Selection {
    /// Takes this level where none is named.
    pub(super) fn level_or(&mut self, level: Option<Level>) {
        self.level = self.level.or(level);
    }

    /// The requirements that it selects; never none.
    pub(super) fn requirements(&self) -> Result<Vec<&'static Requirement>, CommandError> {
        let selected = run::shard(run::select(&self.globs, self.level)?, self.shard);
        if selected.is_empty() {
            return Err(CommandError::nothing_selected(
                "nothing is selected: --level and --shard leave no requirement",
            ));
        }
        Ok(selected)
    }
}

pub(super) fn parse_scale(text: &str) -> Result<f64, String> {
    match text.parse::<f64>() {
        Ok(scale) if (0.1..=1000.0).contains(&scale) => Ok(scale),
        _ => Err("must be a number from 0.1 to 1000".into()),
    }
}

/// The server to look at: the one inside, or `program`.
pub(super) fn program_target(program: Option<&Path>) -> Result<Target, CommandError> {
    match program {
        Some(path) => executable(path).map(Target::program).map_err(CommandError::usage),
        None => Target::reference()
            .map_err(|error| CommandError::no_verdict(format!("this program's own path: {error}"))),
    }
}

/// From here on an interruption ends what is under way.
pub(super) fn catch_interrupts() -> Result<(), CommandError> {
    forkproof_host::interrupt::catch()
        .map_err(|errno| CommandError::no_verdict(format!("signals: {}", errno.desc())))
}
