//! Locks on the server's files, held and awaited.

use std::fs::File;
use std::os::fd::AsRawFd;
use std::os::unix::fs::MetadataExt;
use std::path::Path;

use nix::errno::Errno;

use crate::platform;
use crate::stop::{OrError, Step, Stop};

/// What a lock lets others do.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LockMode {
    /// Nobody else holds any lock.
    Exclusive,
    /// Others may hold shared ones.
    Shared,
}

impl std::fmt::Display for LockMode {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::Exclusive => "an exclusive",
            Self::Shared => "a shared",
        })
    }
}

/// A lock of the check's own on the server's log: the other program of the requirements. Released
/// when dropped.
#[derive(Debug)]
pub struct HeldLock {
    // Closing the only descriptor of the open file description releases the lock.
    _file: File,
}

/// Locks `path`, if that is possible at once.
pub fn try_lock(path: &Path, mode: LockMode) -> Step<Option<HeldLock>> {
    let file = File::open(path).or_error(path.display())?;
    let operation = match mode {
        LockMode::Exclusive => libc::LOCK_EX,
        LockMode::Shared => libc::LOCK_SH,
    };
    // SAFETY: a descriptor that is open and an integer.
    match Errno::result(unsafe { libc::flock(file.as_raw_fd(), operation | libc::LOCK_NB) }) {
        Ok(_) => Ok(Some(HeldLock { _file: file })),
        Err(Errno::EWOULDBLOCK | Errno::EINTR) => Ok(None),
        Err(errno) => Err(Stop::Error(format!("flock {}: {}", path.display(), errno.desc()))),
    }
}

/// The processes that wait for a lock on `path`.
pub fn lock_waiters(path: &Path) -> Step<Vec<i32>> {
    let inode = std::fs::metadata(path).or_error(path.display())?.ino();
    platform::lock_waiters(inode).map_err(Stop::NotRun)
}
