//! Running a task: a warden of its own, which is this program executed anew.

use std::io::Read;
use std::os::fd::AsFd;
use std::process::{Command, Stdio};

use forkproof_host::interrupt;
use nix::errno::Errno;
use nix::poll::{PollFd, PollFlags, poll};
use nix::sys::signal::{SigHandler, Signal};

use super::finding::Finding;
use super::task::Task;
use super::warden::{self, Supervised};
use super::worker;

/// How often it is looked whether the run was interrupted, in milliseconds.
const TICK: u8 = 50;
/// The hidden command that is the warden.
const WARDEN: &str = "__check";

/// The warden's program. Whether its finding was told.
pub fn warden(task: &str) -> bool {
    warden::guard(task, &Supervised { work: worker::work, conclude: worker::conclude })
}

/// Runs one task under a warden; none when the run was interrupted meanwhile.
pub fn run_task(task: &Task) -> Option<Finding> {
    match run_warden(task) {
        Ok(Some(text)) => Some(serde_json::from_slice(&text).unwrap_or_else(|error| {
            Finding::error(format!("the warden gave no finding: {error}"))
        })),
        Ok(None) => None,
        Err(error) => Some(Finding::error(format!("the warden cannot be run: {error}"))),
    }
}

/// Runs a warden to its end; none when the run was interrupted.
fn run_warden(task: &Task) -> std::io::Result<Option<Vec<u8>>> {
    // Whoever started this program may ignore it, and then no child can be waited for.
    // SAFETY: no handler is installed.
    unsafe { nix::sys::signal::signal(Signal::SIGCHLD, SigHandler::SigDfl) }?;
    let mut warden = Command::new(std::env::current_exe()?)
        .arg(WARDEN)
        .arg(serde_json::to_string(task)?)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()?;
    let (Some(lifeline), Some(mut output)) = (warden.stdin.take(), warden.stdout.take()) else {
        return Err(std::io::Error::other("no pipe to the warden"));
    };
    let mut text = Vec::new();
    let complete = loop {
        if interrupt::requested() {
            break false;
        }
        let mut ready = [PollFd::new(output.as_fd(), PollFlags::POLLIN)];
        match poll(&mut ready, TICK) {
            Ok(0) | Err(Errno::EINTR) => continue,
            Ok(_) => {}
            Err(errno) => return Err(errno.into()),
        }
        let mut buffer = [0; 16 * 1024];
        match output.read(&mut buffer)? {
            0 => break true,
            count => text.extend_from_slice(&buffer[..count]),
        }
    };
    // Without its lifeline the warden ends everything and then itself.
    drop(lifeline);
    warden.wait()?;
    Ok(complete.then_some(text))
}
