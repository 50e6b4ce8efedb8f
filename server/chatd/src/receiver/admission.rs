//! How the daemon learns who has shown the key: over a pipe that all receivers write to.
//!
//! A receiver writes its process id and closes its end. Nobody waits for anybody: a daemon that is
//! stopped or gone keeps no client out.

use std::fs::File;
use std::io::{ErrorKind, Read, Write};
use std::os::fd::{AsFd, BorrowedFd};

use nix::fcntl::{FcntlArg, FdFlag, OFlag, fcntl};
use nix::unistd::{Pid, getpid, pipe};

/// The receivers' end.
pub(crate) struct Admission(File);

/// The daemon's end.
pub(crate) struct Admissions(File);

/// Both ends.
pub(crate) fn channel() -> nix::Result<(Admission, Admissions)> {
    let (admissions, admission) = pipe()?;
    for end in [&admissions, &admission] {
        fcntl(end, FcntlArg::F_SETFD(FdFlag::FD_CLOEXEC))?;
        fcntl(end, FcntlArg::F_SETFL(OFlag::O_NONBLOCK))?;
    }
    Ok((Admission(admission.into()), Admissions(admissions.into())))
}

impl Admission {
    /// Tells that the client of this process has shown the key.
    pub(crate) fn tell(self) {
        // So few bytes are written whole or not at all (POSIX.1-2024, write, PIPE_BUF). There is no
        // room only when the daemon has been stopped for thousands of clients.
        let _ = (&self.0).write(&getpid().as_raw().to_ne_bytes());
    }
}

impl Admissions {
    /// The next process that has told so, if there is one.
    pub(crate) fn next(&self) -> Option<Pid> {
        let mut bytes = [0; 4];
        loop {
            match (&self.0).read(&mut bytes) {
                Ok(4) => return Some(Pid::from_raw(i32::from_ne_bytes(bytes))),
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                _ => return None,
            }
        }
    }
}

impl AsFd for Admissions {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.0.as_fd()
    }
}
