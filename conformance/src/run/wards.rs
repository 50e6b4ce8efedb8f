//! The wardens that this process has started, and what is left below one that somebody else has ended:
//! a server that runs as the same user may kill or stop its own.

use std::collections::BTreeSet;
use std::os::fd::AsFd;
use std::process::{ChildStdin, ChildStdout, Command, Stdio};
use std::sync::{Mutex, OnceLock, PoisonError};
use std::time::{Duration, Instant};

use nix::errno::Errno;
use nix::poll::{PollFd, PollFlags, poll};
use nix::sys::signal::{SigHandler, Signal, kill};
use nix::sys::wait::{WaitPidFlag, WaitStatus, waitpid};
use nix::unistd::Pid;

use crate::platform::{self, Process, State};

/// How often it is looked what has become of a warden, in milliseconds.
const TICK: u8 = 50;
/// For how many of those it may stand still. Whoever stops this program with Ctrl-Z stops a warden that
/// has just been started, too, and lets both go on.
const STILL: u32 = 20;
/// How long the end of what is left may take.
const END: Duration = Duration::from_secs(10);

/// Those that run. Locked while one is started, so that none is taken for an orphan.
static RUNNING: Mutex<BTreeSet<i32>> = Mutex::new(BTreeSet::new());

/// The children that this process had before: it became this program by exec, in a shell that had started
/// others.
static INHERITED: OnceLock<BTreeSet<i32>> = OnceLock::new();

/// A warden that runs.
pub(super) struct Ward {
    pid: Pid,
    /// Without it the warden ends everything and then itself.
    lifeline: Option<ChildStdin>,
    pub(super) output: ChildStdout,
    /// After that it does not do what it is for.
    deadline: Instant,
    /// For how many looks it has stood still.
    still: Option<u32>,
}

/// What has become of a warden.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Fate {
    Runs,
    /// By itself: nothing is left below it.
    Ended,
    /// Somebody has ended or stopped it, as this says. Nothing is left below it then, either.
    Lost(String),
}

impl Ward {
    /// Starts `command`, a warden that is to end within `limit`.
    pub(super) fn start(command: &mut Command, limit: Duration) -> std::io::Result<Self> {
        INHERITED.get_or_init(|| {
            let children = children();
            // What a lost warden leaves comes here then. Where that cannot be had, it gets away.
            let _ = platform::become_reaper();
            children.iter().map(|process| process.pid).collect()
        });
        // Whoever started this program may ignore it, and then no child can be waited for.
        // SAFETY: no handler is installed.
        unsafe { nix::sys::signal::signal(Signal::SIGCHLD, SigHandler::SigDfl) }?;
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::null());
        let mut child = {
            let mut running = running();
            let child = command.spawn()?;
            running.insert(child.id() as i32);
            child
        };
        let pid = Pid::from_raw(child.id() as i32);
        let (Some(lifeline), Some(output)) = (child.stdin.take(), child.stdout.take()) else {
            return Err(std::io::Error::other("no pipe to the warden"));
        };
        let deadline = Instant::now() + limit;
        Ok(Self { pid, lifeline: Some(lifeline), output, deadline, still: None })
    }

    /// Waits for a while whether there is something to read.
    pub(super) fn has_spoken(&self) -> std::io::Result<bool> {
        let mut ready = [PollFd::new(self.output.as_fd(), PollFlags::POLLIN)];
        match poll(&mut ready, TICK) {
            Ok(0) | Err(Errno::EINTR) => Ok(false),
            Ok(_) => Ok(true),
            Err(errno) => Err(errno.into()),
        }
    }

    /// Tells it to end everything and itself, and waits for that.
    pub(super) fn end(mut self) -> Fate {
        drop(self.lifeline.take());
        loop {
            match self.fate() {
                Fate::Runs => std::thread::sleep(Duration::from_millis(1)),
                fate => return fate,
            }
        }
    }

    /// What has become of it. To be asked no more when it does not run.
    pub(super) fn fate(&mut self) -> Fate {
        let flags = WaitPidFlag::WNOHANG | WaitPidFlag::WUNTRACED | WaitPidFlag::WCONTINUED;
        match waitpid(self.pid, Some(flags)) {
            Ok(WaitStatus::Exited(..)) => {
                running().remove(&self.pid.as_raw());
                return Fate::Ended;
            }
            Ok(WaitStatus::Signaled(_, signal, _)) => {
                return self.lost(&format!("was killed by {}", signal.as_str()));
            }
            Ok(WaitStatus::Stopped(..)) => self.still = Some(0),
            Ok(WaitStatus::Continued(_)) => self.still = None,
            // It was reaped already, so it is not to be signalled any more.
            Err(Errno::ECHILD) => return self.lost("is gone"),
            _ => {}
        }
        if let Some(looks) = &mut self.still {
            *looks += 1;
            if *looks > STILL {
                return self.put_down("was stopped and did not go on");
            }
        }
        if Instant::now() >= self.deadline {
            return self.put_down("did not end in its time");
        }
        Fate::Runs
    }

    /// Ends one that does not do what it is for.
    fn put_down(&mut self, how: &str) -> Fate {
        // It is a child of this process that has not been reaped, so it is that one.
        let _ = kill(self.pid, Signal::SIGKILL);
        let _ = waitpid(self.pid, None);
        self.lost(how)
    }

    fn lost(&mut self, how: &str) -> Fate {
        let mut running = running();
        running.remove(&self.pid.as_raw());
        let left = end_orphans(&running);
        let left = match left.as_slice() {
            [] => "everything below it has been ended".to_owned(),
            left => format!("these could not be ended: {}", left.join(", ")),
        };
        Fate::Lost(format!(
            "the warden of this check {how}, by the server under test or by somebody else who has the \
             right to; {left}; a server that is started as another user (launch.user) cannot do that"
        ))
    }
}

fn running() -> std::sync::MutexGuard<'static, BTreeSet<i32>> {
    RUNNING.lock().unwrap_or_else(PoisonError::into_inner)
}

fn children() -> Vec<Process> {
    let own = std::process::id() as i32;
    let mut table = platform::process_table().unwrap_or_default();
    table.retain(|process| process.parent == own);
    table
}

/// Ends and reaps every child of this process that a check has left, with all that descends from it.
/// A check has a session of its own, so who is in this process's session is somebody else.
/// Returns what is still there after a while.
fn end_orphans(wardens: &BTreeSet<i32>) -> Vec<String> {
    let inherited = |pid: i32| INHERITED.get().is_some_and(|pids| pids.contains(&pid));
    let session = nix::unistd::getsid(None).map_or(-1, Pid::as_raw);
    let deadline = Instant::now() + END;
    loop {
        let table = platform::process_table().unwrap_or_default();
        let mut orphans = children();
        orphans.retain(|process| {
            process.session != session && !inherited(process.pid) && !wardens.contains(&process.pid)
        });
        if orphans.is_empty() {
            return Vec::new();
        }
        if Instant::now() >= deadline {
            return orphans.iter().map(ToString::to_string).collect();
        }
        for orphan in &orphans {
            let below = platform::descendants(&table, orphan.pid);
            for process in below.iter().chain([orphan]).filter(|one| one.state != State::Zombie) {
                let _ = kill(Pid::from_raw(process.pid), Signal::SIGKILL);
            }
            let _ = waitpid(Pid::from_raw(orphan.pid), Some(WaitPidFlag::WNOHANG));
        }
        // Killed processes take a moment to end.
        std::thread::sleep(Duration::from_millis(1));
    }
}
