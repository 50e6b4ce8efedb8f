//! The warden: the process around one task.
//!
//! ```text
//! runner ── warden ── worker (a check) ── server under test ── its processes
//!             │          └ reaper of the server's orphans
//!             └ reaper of everything, should the worker die
//! ```
//!
//! The warden is in a session of its own and reaps every orphan below it, so nothing that a server
//! forks can get away. It ends its worker at the deadline, and at once when the *lifeline* ends: its
//! standard input, a pipe that only the runner holds open. So even `kill -9` of the runner leaves
//! no process behind. What is supervised it does not know.

use std::fs::File;
use std::io::{Read, Write};
use std::os::fd::AsFd;
use std::time::{Duration, Instant};

use forkproof_report::Evidence;
use nix::errno::Errno;
use nix::poll::{PollFd, PollFlags, poll};
use nix::sys::signal::{Signal, kill};
use nix::sys::wait::{WaitPidFlag, waitpid};
use nix::unistd::{Pid, setsid};

use super::finding::Finding;
use super::leftovers::Leftovers;
use super::task::Task;
use crate::harness::{OUTPUT_SUFFIX, SHARED};
use crate::offspring::{Offspring, understand};
use crate::platform::{self, Process, State};

/// How much output of servers is too much, in bytes.
const MOST_OUTPUT: u64 = 16 << 20;
/// How often that is looked at, in milliseconds.
const TICK: u16 = 100;

/// What is supervised.
pub(super) struct Supervised {
    /// Does the task, in a process of its own.
    pub(super) work: fn(&Task) -> Finding,
    /// Has the last word, when every process has ended; the words are about those that were left.
    pub(super) conclude: fn(&Task, Finding, &[String]) -> Finding,
}

/// Does a [`Task`], which is given in JSON; the finding goes to standard output. Whether it was told.
pub(super) fn guard(task: &str, supervised: &Supervised) -> bool {
    let finding = match serde_json::from_str::<Task>(task) {
        Ok(task) => supervise(&task, supervised),
        Err(error) => Some(Finding::error(format!("task: {error}"))),
    };
    // Without one there is nobody to be told.
    let Some(finding) = finding else { return false };
    let text = serde_json::to_vec(&finding).map_err(std::io::Error::from);
    text.and_then(|text| std::io::stdout().write_all(&text)).is_ok()
}

/// Runs the task below this process. None when the runner is gone.
fn supervise(task: &Task, supervised: &Supervised) -> Option<Finding> {
    let mut leftovers = Leftovers::new();
    let finding = match start(task, supervised.work) {
        Ok(worker) => watch(worker, task, &mut leftovers),
        Err(reason) => Some(Finding::error(reason)),
    };
    leftovers.look();
    let left = end_descendants();
    let removed = leftovers.remove();
    let finding = match flood(&task.dir) {
        Some(reason) if finding.is_some() => Some(Finding::error(reason)),
        _ => finding,
    };
    let finding = finding.map(|finding| {
        let finding = (supervised.conclude)(task, finding, &left);
        let note =
            [finding.note.clone(), removed].into_iter().flatten().reduce(|a, b| a + "; " + &b);
        Finding { note, ..finding }
    });
    platform::unmount_below(&task.dir);
    if !task.keep {
        let _ = std::fs::remove_dir_all(&task.dir);
        if finding.is_none() {
            // The last warden takes the run's own directory along; the others find it not empty.
            if let Some(run) = task.dir.parent() {
                let _ = std::fs::remove_dir_all(run.join(SHARED));
                let _ = std::fs::remove_dir(run);
            }
        }
    }
    finding
}

/// Forks the worker.
fn start(task: &Task, work: fn(&Task) -> Finding) -> Result<Offspring, String> {
    make_private_dir(&task.dir).map_err(|error| format!("{}: {error}", task.dir.display()))?;
    setsid().map_err(|errno| format!("setsid: {}", errno.desc()))?;
    platform::become_reaper()?;
    Offspring::fork(|| work(task))
}

/// Makes a directory that no other user may list or change. Root's servers may be another user's, and
/// have theirs in it.
fn make_private_dir(path: &std::path::Path) -> std::io::Result<()> {
    use std::os::unix::fs::DirBuilderExt;
    let mode = if nix::unistd::geteuid().is_root() { 0o711 } else { 0o700 };
    std::fs::DirBuilder::new().mode(mode).create(path)
}

/// Waits for the finding, the deadline, or the end of the runner (then: none).
fn watch(worker: Offspring, task: &Task, leftovers: &mut Leftovers) -> Option<Finding> {
    let deadline = Instant::now() + task.limit;
    let mut result = File::from(worker.words);
    let lifeline = std::io::stdin();
    let mut text = Vec::new();
    loop {
        let left = deadline.saturating_duration_since(Instant::now());
        if left.is_zero() {
            let mut evidence = Evidence::default();
            let mut reason = format!("it was not over after {:.0} s", task.limit.as_secs_f64());
            if let Ok(table) = platform::process_table() {
                let below = platform::descendants(&table, std::process::id() as i32);
                evidence.processes.extend(below.iter().map(Process::to_string));
                let is_worker = |process: &&Process| process.pid == worker.pid.as_raw();
                if below.iter().find(is_worker).is_some_and(|own| own.state == State::Stopped) {
                    reason += ": the process of the check itself was stopped, by the server under test \
                               or by somebody else who has the right to";
                }
            }
            return Some(Finding { evidence: Some(evidence), ..Finding::error(reason) });
        }
        let mut ready = [
            PollFd::new(result.as_fd(), PollFlags::POLLIN),
            PollFd::new(lifeline.as_fd(), PollFlags::POLLIN),
        ];
        if let Some(reason) = flood(&task.dir) {
            return Some(Finding::error(reason));
        }
        leftovers.look();
        let milliseconds = u16::try_from(left.as_millis() + 1).unwrap_or(u16::MAX);
        match poll(&mut ready, milliseconds.min(TICK)) {
            Ok(_) | Err(Errno::EINTR) => {}
            Err(errno) => return Some(Finding::error(format!("poll: {}", errno.desc()))),
        }
        let spoke = |fd: &PollFd| fd.revents().is_some_and(|events| !events.is_empty());
        let (has_result, runner_is_gone) = (spoke(&ready[0]), spoke(&ready[1]));
        if runner_is_gone {
            return None;
        }
        if !has_result {
            continue;
        }
        let mut buffer = [0; 16 * 1024];
        match result.read(&mut buffer) {
            Ok(0) => {
                return Some(understand(worker.pid, &text).unwrap_or_else(|why| {
                    Finding::error(format!("it died without a finding: {why}"))
                }));
            }
            Ok(count) => text.extend_from_slice(&buffer[..count]),
            Err(error) if error.kind() == std::io::ErrorKind::Interrupted => {}
            Err(error) => return Some(Finding::error(format!("result: {error}"))),
        }
    }
}

/// What is wrong with the amount of output that the servers have written, if anything: it goes to
/// files, and a server that floods them would fill the disk.
fn flood(dir: &std::path::Path) -> Option<String> {
    for entry in std::fs::read_dir(dir).ok()?.flatten() {
        let name = entry.file_name();
        let is_output = name.to_str().is_some_and(|name| name.ends_with(OUTPUT_SUFFIX));
        let length = || entry.metadata().map_or(0, |metadata| metadata.len());
        if is_output && length() > MOST_OUTPUT {
            // What is there is no use to anybody, and the server may still be writing.
            let _ = File::options().write(true).open(entry.path()).and_then(|f| f.set_len(0));
            return Some(format!(
                "the server floods its output: more than {} MiB on standard output and standard error",
                MOST_OUTPUT >> 20
            ));
        }
    }
    None
}

/// Kills and reaps everything below this process. Returns what there was, in words.
///
/// Each round kills the children there are; their children become ours by then, until `wait` says
/// that there are none.
fn end_descendants() -> Vec<String> {
    let mut met: Vec<Process> = Vec::new();
    loop {
        match waitpid(None, Some(WaitPidFlag::WNOHANG)) {
            Err(Errno::ECHILD) => return met.iter().map(Process::to_string).collect(),
            Ok(status) if status.pid().is_some() => continue,
            _ => {}
        }
        let table = platform::process_table().unwrap_or_default();
        for process in platform::descendants(&table, std::process::id() as i32) {
            let _ = kill(Pid::from_raw(process.pid), Signal::SIGKILL);
            if met.iter().all(|known| known.pid != process.pid) {
                met.push(process);
            }
        }
        // Killed processes take a moment to end.
        std::thread::sleep(Duration::from_millis(1));
    }
}
