//! The server's processes, seen from outside.

use nix::errno::Errno;
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

use super::world::World;
use crate::platform::{self, Process};
use crate::stop::{Step, Stop};

/// The processes that serve one client.
#[derive(Debug, Clone, Default)]
pub struct Cluster {
    /// The process that reads the client's socket: a child of the daemon.
    pub receiver: i32,
    /// The process that writes to it: with clusters a child of the receiver, else the same.
    pub sender: i32,
    /// All that came with the client, those two among them.
    pub(super) others: Vec<i32>,
}

impl Cluster {
    /// Every one of them.
    pub fn pids(&self) -> &[i32] {
        &self.others
    }
}

impl std::fmt::Display for Cluster {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match (self.receiver == self.sender, self.others.as_slice()) {
            (false, _) => write!(f, "receiver {} and sender {}", self.receiver, self.sender),
            (true, [pid]) => write!(f, "process {pid}"),
            (true, [first, rest @ ..]) => {
                write!(f, "processes {first}")?;
                rest.iter().try_for_each(|pid| write!(f, ", {pid}"))
            }
            (true, []) => f.write_str("no process"),
        }
    }
}

/// The processes that descend from this one: every server's, since their orphans come here.
pub fn descends() -> Step<Vec<Process>> {
    let table = platform::process_table().map_err(Stop::NotRun)?;
    Ok(platform::descendants(&table, std::process::id() as i32))
}

/// Sends a signal to a process of the server.
pub(super) fn signal(world: &World, pid: i32, signal: Signal) -> Step<()> {
    // 0, 1 and what is negative stand for others than one process (kill(2)).
    if pid <= 1 {
        return Err(Stop::Error(format!("{pid} is no process to send {} to", signal.as_str())));
    }
    world.note("check", format!("sends {} to {pid}", signal.as_str()));
    world.sent.borrow_mut().push(signal);
    match kill(Pid::from_raw(pid), signal) {
        Ok(()) | Err(Errno::ESRCH) => Ok(()),
        Err(errno) => Err(Stop::Error(format!("{} to {pid}: {}", signal.as_str(), errno.desc()))),
    }
}
