//! The server's processes, seen from outside, and locks on its files.

use std::fs::File;
use std::os::fd::AsRawFd;
use std::os::unix::fs::MetadataExt;
use std::path::Path;

use nix::errno::Errno;
use nix::sys::signal::{Signal, kill};
use nix::sys::wait::{WaitPidFlag, WaitStatus, waitpid};
use nix::unistd::Pid;

use super::World;
use crate::platform::{self, Process};
use crate::verdict::{OrError, Step, Stop};

/// The processes that serve one client.
#[derive(Debug, Clone)]
pub struct Cluster {
    /// The process that reads the client's socket: a child of the daemon.
    pub receiver: i32,
    /// The process that writes to it: a child of the receiver.
    pub sender: i32,
}

impl Cluster {
    /// Both processes.
    pub fn pids(&self) -> [i32; 2] {
        [self.receiver, self.sender]
    }
}

/// The processes that descend from this one: every server's, since their orphans come here.
pub fn descends() -> Step<Vec<Process>> {
    let table = platform::process_table().map_err(Stop::NotRun)?;
    Ok(platform::descendants(&table, std::process::id() as i32))
}

/// Reaps the orphans that have ended, and remembers how. Processes of [`std::process::Child`] are
/// never waited for in a check, so this is the only place that does.
pub(super) fn reap(world: &World) {
    while let Ok(status) = waitpid(None, Some(WaitPidFlag::WNOHANG)) {
        let Some(pid) = status.pid() else { break };
        world.note("system", format!("process {pid} {}", status_words(&status)));
        world.ended.borrow_mut().push((pid.as_raw(), status));
    }
}

/// How a process ended, in words.
pub(super) fn status_words(status: &WaitStatus) -> String {
    match status {
        WaitStatus::Exited(_, code) => format!("exited with status {code}"),
        WaitStatus::Signaled(_, signal, _) => format!("was killed by {}", signal.as_str()),
        other => format!("{other:?}"),
    }
}

/// Sends a signal to a process of the server.
pub(super) fn signal(world: &World, pid: i32, signal: Signal) -> Step<()> {
    world.note("check", format!("sends {} to {pid}", signal.as_str()));
    match kill(Pid::from_raw(pid), signal) {
        Ok(()) | Err(Errno::ESRCH) => Ok(()),
        Err(errno) => Err(Stop::Error(format!("{} to {pid}: {}", signal.as_str(), errno.desc()))),
    }
}

/// What a lock lets others do.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LockMode {
    /// Nobody else holds any lock.
    Exclusive,
    /// Others may hold shared ones.
    Shared,
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

/// Locks `path`, waiting for it.
pub fn lock(check: &super::Check, path: &Path, mode: LockMode) -> Step<HeldLock> {
    let patience = check.world.patience();
    let held = check.world.wait(patience, || try_lock(path, mode))?;
    let held = held.ok_or_else(|| {
        Stop::Fail(crate::verdict::Failure {
            expected: format!(
                "another program gets a {mode:?} flock on the chat log while nobody speaks"
            ),
            actual: "the server keeps the log locked".into(),
        })
    })?;
    check.note(format!("locks the log ({mode:?})"));
    Ok(held)
}

/// The processes that wait for a lock on `path`.
pub fn lock_waiters(path: &Path) -> Step<Vec<i32>> {
    let inode = std::fs::metadata(path).or_error(path.display())?.ino();
    let table = platform::lock_table().map_err(Stop::NotRun)?;
    Ok(table
        .into_iter()
        .filter(|lock| lock.waiting && lock.inode == inode)
        .map(|lock| lock.pid)
        .collect())
}
