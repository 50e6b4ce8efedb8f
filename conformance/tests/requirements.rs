//! Every requirement as a test of its own against the reference server, so that
//! `cargo test handler-persists` and nextest find it. There is no copy of any check here: each test
//! runs `forkproof run ID`.
//!
//! What cannot be checked on this machine is *ignored* with the reason in its kind, never passed.

use std::collections::HashMap;
use std::fs::File;
use std::os::fd::AsRawFd;
use std::process::Command;

use forkproof::catalogue::{self, Requirement};
use libtest_mimic::{Arguments, Failed, Trial};

fn main() -> std::process::ExitCode {
    let arguments = Arguments::from_args();
    let missing = what_is_missing();
    let trials = catalogue::all().map(|requirement| trial(requirement, &missing)).collect();
    libtest_mimic::run(&arguments, trials).exit_code()
}

/// Which requirements cannot be checked here, and why. The program itself is asked: some needs are
/// tried by executing it.
fn what_is_missing() -> HashMap<String, String> {
    let output = Command::new(env!("CARGO_BIN_EXE_forkproof"))
        .args(["list", "--format", "json"])
        .output()
        .expect("forkproof can be executed");
    let list: Vec<serde_json::Value> =
        serde_json::from_slice(&output.stdout).expect("`forkproof list` prints JSON");
    let text = |entry: &serde_json::Value, key: &str| entry[key].as_str().map(str::to_owned);
    list.iter().filter_map(|entry| Some((text(entry, "id")?, text(entry, "missing")?))).collect()
}

fn trial(requirement: &'static Requirement, missing: &HashMap<String, String>) -> Trial {
    let trial = Trial::test(requirement.id, move || check(requirement));
    match missing.get(requirement.id) {
        None => trial,
        Some(reason) => trial.with_kind(reason).with_ignored_flag(true),
    }
}

fn check(requirement: &Requirement) -> Result<(), Failed> {
    let _turn = take_turn(requirement.exclusive)?;
    let output = Command::new(env!("CARGO_BIN_EXE_forkproof"))
        .args(["run", requirement.id])
        .output()
        .map_err(|error| format!("forkproof: {error}"))?;
    if output.status.success() {
        return Ok(());
    }
    // Status 3 is here too: a requirement that ended without a verdict has not passed.
    Err(format!(
        "{}\n{}{}",
        output.status,
        String::from_utf8_lossy(&output.stdout),
        String::from_utf8_lossy(&output.stderr)
    )
    .into())
}

/// Requirements that measure time may have nothing beside them, so they take this lock alone and
/// all others share it. A file's lock, since nextest runs each test in a process of its own.
fn take_turn(alone: bool) -> Result<File, Failed> {
    let path = concat!(env!("CARGO_TARGET_TMPDIR"), "/requirements.lock");
    let file = File::create(path).map_err(|error| format!("{path}: {error}"))?;
    let operation = if alone { libc::LOCK_EX } else { libc::LOCK_SH };
    // SAFETY: a descriptor that is open and an integer.
    if unsafe { libc::flock(file.as_raw_fd(), operation) } == 0 {
        Ok(file)
    } else {
        Err(format!("{path}: {}", std::io::Error::last_os_error()).into())
    }
}
