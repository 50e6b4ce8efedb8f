//! The directory of one machine: its disks.

use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::time::Duration;

use crate::cache::Cache;
use crate::error::{Error, Result};
use crate::guest::{self, Stamp, Work};
use crate::machine::Disks;
use crate::platform::{self, Lock};

/// A directory for one machine's files, below the cache, where there is room. It is removed with
/// this value; should this program be killed, by a later one, which finds its lock free.
pub(super) struct RunDirectory {
    dir: tempfile::TempDir,
    _lock: Lock,
}

const RUNS: &str = ".runs";
const RUN_LOCK: &str = "lock";

impl RunDirectory {
    pub(super) fn make(cache: &Cache) -> Result<Self> {
        let runs = cache.root().join(RUNS);
        platform::make_private(&runs)?;
        let dir = tempfile::Builder::new()
            .prefix("run-")
            .tempdir_in(&runs)
            .map_err(|error| Error::io("make a directory in", &runs, error))?;
        let path = dir.path().join(RUN_LOCK);
        let lock = platform::lock(&path, || ())?;
        Ok(Self { dir, _lock: lock })
    }

    pub(super) fn path(&self) -> &Path {
        self.dir.path()
    }
}

/// Removes what programs that were killed have left.
pub(super) fn sweep(cache: &Cache) -> Result<()> {
    let runs = cache.root().join(RUNS);
    for entry in platform::list(&runs)? {
        // One without a lock is being made, or was not made to its end: an hour tells.
        let free = match File::open(entry.join(RUN_LOCK)) {
            Ok(file) => matches!(platform::try_lock(file, &entry), Ok(Ok(_))),
            Err(_) => entry
                .metadata()
                .and_then(|metadata| metadata.modified())
                .is_ok_and(|at| at.elapsed().is_ok_and(|age| age > Duration::from_secs(3600))),
        };
        if free {
            let _ = fs::remove_dir_all(&entry);
        }
    }
    Ok(())
}

/// Writes the disks of a machine to its directory.
pub(super) fn prepare(
    dir: &Path,
    work: &Work,
    stamp: &Stamp,
    payload: Option<&Path>,
    added: &[PathBuf],
) -> Result<()> {
    guest::write_job(&dir.join(Disks::JOB), &guest::run_script(work, stamp), payload, added)?;
    guest::write_out(&dir.join(Disks::OUT), stamp)?;
    guest::write_seed(&dir.join(Disks::SEED), stamp.text(), &guest::user_data())
}
