//! Every requirement as a test of its own against a reference server, so that
//! `cargo test handler-persists` and nextest find it. There is no copy of any check here: each test
//! runs `forkproof run ID`, or, for what chatd does not claim, `forkproof run --target webd ID`.
//!
//! What cannot be checked on this machine is *ignored* with the reason in its kind, never passed.

use std::fs::File;
use std::os::fd::AsRawFd;
use std::process::Command;

use libtest_mimic::{Arguments, Failed, Trial};

/// What chatd does not claim, and webd does.
const OF_WEBD: [&str; 9] = [
    "workers",
    "health-checks",
    "reload",
    "graceful-stop",
    "graceful-limit",
    "reopens-logs",
    "upgrade",
    "socket-activation",
    "notifies",
];

fn main() -> std::process::ExitCode {
    let mut arguments = Arguments::from_args();
    // Most of its time a check waits: as many at a time as `forkproof run` has.
    let processors = std::thread::available_parallelism().map_or(1, usize::from);
    arguments.test_threads.get_or_insert(3 * processors);
    let trials = catalogue().into_iter().map(trial).collect();
    libtest_mimic::run(&arguments, trials).exit_code()
}

/// One requirement, as `forkproof list` tells it.
#[derive(serde::Deserialize)]
struct Requirement {
    id: String,
    exclusive: bool,
    claims: Vec<String>,
    /// Why it cannot be checked here.
    missing: Option<String>,
}

fn catalogue() -> Vec<Requirement> {
    let output = Command::new(env!("CARGO_BIN_EXE_forkproof"))
        .args(["list", "--format", "json"])
        .output()
        .expect("forkproof can be executed");
    serde_json::from_slice(&output.stdout).expect("`forkproof list` prints JSON")
}

fn trial(requirement: Requirement) -> Trial {
    let missing = requirement.missing.clone();
    let trial = Trial::test(requirement.id.clone(), move || check(&requirement));
    match missing {
        None => trial,
        Some(reason) => trial.with_kind(reason).with_ignored_flag(true),
    }
}

fn check(requirement: &Requirement) -> Result<(), Failed> {
    let _turn = take_turn(requirement.exclusive)?;
    let of_webd = requirement.claims.iter().any(|claim| OF_WEBD.contains(&claim.as_str()));
    let output = Command::new(env!("CARGO_BIN_EXE_forkproof"))
        .args(["run", &requirement.id])
        .args(of_webd.then_some(["--target", "webd"]).into_iter().flatten())
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
