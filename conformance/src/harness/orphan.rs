//! A process that a server did not start and is the parent of all the same: process 1 of a
//! container is given every orphan in it.

use std::os::fd::OwnedFd;
use std::time::Duration;

use nix::errno::Errno;
use nix::fcntl::OFlag;
use nix::sys::wait::waitpid;
use nix::unistd::{ForkResult, fork, pipe2, read, write};

use super::server::Server;
use crate::stop::{OrError, Step, Stop, fail};

/// A child of the server that is not its own.
#[derive(Debug)]
pub struct Orphan {
    /// Its process id.
    pub pid: i32,
    /// It lives until this is closed.
    leash: OwnedFd,
}

impl Server {
    /// Gives an orphan to a server that is process 1: see
    /// [`Options::as_process_1`](super::options::Options::as_process_1).
    pub fn given_an_orphan(&self) -> Step<Orphan> {
        let (leash_end, leash) = pipe2(OFlag::O_CLOEXEC).or_error("pipe")?;
        let (word, teller) = pipe2(OFlag::O_CLOEXEC).or_error("pipe")?;
        // What this process forks now is in the server's namespace, beside it.
        // SAFETY: this process has one thread.
        let forked = match unsafe { fork() } {
            // Without its process 1 a namespace takes no other.
            Err(Errno::ENOMEM) => return self.has_gone(),
            forked => forked.or_error("fork")?,
        };
        let between = match forked {
            ForkResult::Child => {
                // SAFETY: as above.
                if let Ok(ForkResult::Child) = unsafe { fork() } {
                    drop(leash);
                    // Its number out here: /proc is still that of this process.
                    let own = std::fs::read_link("/proc/self").unwrap_or_default();
                    let _ = write(&teller, own.as_os_str().as_encoded_bytes());
                    drop(teller);
                    let _ = read(&leash_end, &mut [0]);
                }
                // SAFETY: ends the process without running what its parent registered.
                unsafe { libc::_exit(0) }
            }
            ForkResult::Parent { child } => child,
        };
        drop((leash_end, teller));
        waitpid(between, None).or_error("waitpid")?;
        let mut text = [0; 16];
        let length = read(&word, &mut text).or_error("an orphan's process id")?;
        let Ok(pid) = String::from_utf8_lossy(&text[..length]).parse() else {
            return self.has_gone();
        };
        let daemon = self.daemon();
        let given = self.world.wait(self.world.scaled(Duration::from_secs(5)), || {
            Ok(self.process(pid)?.filter(|process| process.parent == daemon))
        })?;
        self.world.note("check", format!("process 1 is given the orphan {pid}"));
        match given {
            Some(_) => Ok(Orphan { pid, leash }),
            None if self.process(daemon)?.is_none() => self.has_gone(),
            None => Err(Stop::NotRun("needs orphans to become children of process 1".into())),
        }
    }
}

impl Server {
    /// That process 1 should have been there.
    fn has_gone<T>(&self) -> Step<T> {
        self.world.reap();
        let how = self.world.ending_of(self.daemon());
        fail(
            "process 1 outlives the orphans that it is given",
            match how {
                Some(ending) => format!("it {ending}"),
                None => "it has gone".into(),
            },
        )
    }
}

impl Orphan {
    /// Lets it end; returns its process id.
    pub fn end(self) -> i32 {
        drop(self.leash);
        self.pid
    }
}
