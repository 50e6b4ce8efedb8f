//! Running a task: a warden of its own, which is this program executed anew.

use std::io::Read;
use std::process::Command;
use std::time::Duration;

use forkproof_host::interrupt;

use super::finding::Finding;
use super::task::Task;
use super::warden::{self, Supervised};
use super::wards::{Fate, Ward};
use super::worker;
use crate::platform;

/// How long a warden may take to clean up when its task's time is over, on an ordinary machine.
const GRACE: Duration = Duration::from_secs(30);
/// The hidden command that is the warden.
const WARDEN: &str = "__check";

/// The warden's program. Whether its finding was told.
pub fn warden(task: &str) -> bool {
    warden::guard(task, &Supervised { work: worker::work, conclude: worker::conclude })
}

/// Runs one task under a warden; none when the run was interrupted meanwhile.
pub fn run_task(task: &Task) -> Option<Finding> {
    match run_warden(task) {
        Ok(Some(Ok(text))) => Some(serde_json::from_slice(&text).unwrap_or_else(|error| {
            Finding::error(format!("the warden gave no finding: {error}"))
        })),
        Ok(Some(Err(lost))) => {
            platform::unmount_below(&task.dir);
            if !task.keep {
                let _ = std::fs::remove_dir_all(&task.dir);
            }
            Some(Finding::error(lost))
        }
        Ok(None) => None,
        Err(error) => Some(Finding::error(format!("the warden cannot be run: {error}"))),
    }
}

/// Runs a warden to its end; none when the run was interrupted.
fn run_warden(task: &Task) -> std::io::Result<Option<Result<Vec<u8>, String>>> {
    let mut command = Command::new(std::env::current_exe()?);
    command.arg(WARDEN).arg(serde_json::to_string(task)?);
    let mut ward = Ward::start(&mut command, task.limit + GRACE.mul_f64(task.slowness.max(1.0)))?;
    let mut text = Vec::new();
    let fate = loop {
        if interrupt::requested() {
            ward.end();
            return Ok(None);
        }
        // Asked first: what it said before its end is there to be read after that.
        let fate = ward.fate();
        let over = fate != Fate::Runs;
        while ward.has_spoken()? {
            let mut buffer = [0; 16 * 1024];
            match ward.output.read(&mut buffer)? {
                0 => break,
                count => text.extend_from_slice(&buffer[..count]),
            }
        }
        if over {
            break fate;
        }
    };
    Ok(Some(match fate {
        Fate::Lost(how) => Err(how),
        _ => Ok(text),
    }))
}
