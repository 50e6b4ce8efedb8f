//! A web server that is started for a measurement, and has all its workers.

use std::path::Path;
use std::time::Duration;

use super::load::{self, Order};
use super::site;
use crate::bench::meanwhile;
use crate::bench::sink::below;
use crate::harness::{Check, Options, Server};
use crate::platform;
use crate::stop::{Step, Stop};

/// The server, and the file that it is asked for.
pub(super) struct Started {
    pub(super) server: Server,
    path: String,
    file: Vec<u8>,
    workers: Option<usize>,
    patience: Duration,
}

impl Started {
    /// Starts it, in `group` if there is one.
    pub(super) fn start(
        check: &mut Check,
        workers: Option<usize>,
        bytes: usize,
        at_once: usize,
        group: Option<&Path>,
    ) -> Step<Self> {
        /// Nothing comes for so long only from a server that hangs.
        const PATIENCE: Duration = Duration::from_secs(20);
        meanwhile::allow_descriptors(at_once).map_err(Stop::Error)?;
        // Nobody else's connections are in the way there, and no port is short.
        let _ = platform::enter_private_network();
        let file = site::make(check, bytes)?;
        let mut options = Options::new();
        if let Some(group) = group {
            options = options.in_group(group);
        }
        let server = check.server_with(options)?;
        if let Some(workers) = workers {
            await_workers(check, workers)?;
        }
        let patience = check.scaled(PATIENCE);
        Ok(Self { server, path: site::path(bytes), file, workers, patience })
    }

    /// What it is asked for.
    pub(super) fn order(&self, keep_alive: bool, at_once: usize) -> Order<'_> {
        Order {
            at: self.server.address(),
            path: &self.path,
            file: &self.file,
            keep_alive,
            at_once,
            patience: self.patience,
        }
    }

    /// Makes requests before those that are measured: caches are filled, and what a worker does at its
    /// first request is done.
    pub(super) fn warm(&self, order: &Order<'_>) -> Step<()> {
        const EACH: u64 = 4;
        const AT_ONCE: usize = 64;
        let order = Order { at_once: order.at_once.min(AT_ONCE), ..*order };
        // Whatever goes wrong here does so again.
        load::closed(&order, self.workers.unwrap_or(1) as u64 * EACH).map(drop).map_err(Stop::Error)
    }
}

/// Waits until the server has all its workers.
fn await_workers(check: &Check, workers: usize) -> Step<()> {
    const LIMIT: Duration = Duration::from_secs(20);
    let count = || below().map(|below| below.len()).map_err(Stop::Error);
    if check.reaches(LIMIT, || Ok(count()? > workers))? {
        return Ok(());
    }
    let processes = count()?;
    Err(Stop::Error(format!(
        "the server {} was to have {workers} workers, and has {processes} processes in all",
        check.target().name
    )))
}
