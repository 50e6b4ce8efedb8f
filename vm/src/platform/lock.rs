//! Advisory locks (flock(2)), which the kernel frees when their process ends.
//!
//! The files stay: removing one would let two processes lock two files of one name.

use std::fs::{File, OpenOptions};
use std::path::Path;
use std::time::Duration;

use nix::errno::Errno;
use nix::fcntl::{Flock, FlockArg};

use super::interrupt;
use crate::error::{Error, Result};

/// A lock, until it is dropped or the process ends.
pub(crate) type Lock = Flock<File>;

/// The lock of an open file; the file again while another process has it.
pub(crate) fn try_lock(file: File, path: &Path) -> Result<std::result::Result<Lock, File>> {
    match Flock::lock(file, FlockArg::LockExclusiveNonblock) {
        Ok(lock) => Ok(Ok(lock)),
        Err((file, Errno::EWOULDBLOCK)) => Ok(Err(file)),
        Err((_, errno)) => Err(Error::io("lock", path, errno.into())),
    }
}

/// The lock of the file `path`, which is made if it is not there. While another process has it,
/// `waiting` is called once.
pub(crate) fn lock(path: &Path, waiting: impl FnOnce()) -> Result<Lock> {
    let file = OpenOptions::new()
        .create(true)
        .truncate(false)
        .write(true)
        .open(path)
        .map_err(|error| Error::io("open", path, error))?;
    let mut file = match try_lock(file, path)? {
        Ok(lock) => return Ok(lock),
        Err(file) => file,
    };
    waiting();
    loop {
        // Polled, because a wait in the kernel would lose a signal that comes just before it: Ctrl-C
        // must end this too.
        std::thread::sleep(Duration::from_millis(100));
        interrupt::check()?;
        match try_lock(file, path)? {
            Ok(lock) => return Ok(lock),
            Err(again) => file = again,
        }
    }
}
