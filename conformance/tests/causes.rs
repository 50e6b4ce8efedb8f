//! Whatever ends or stops a process of the server: the failure says which one, what it was for, and why.
#![cfg(target_os = "linux")]

use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::OnceLock;

use rstest::rstest;
use serde_json::Value;
use tempfile::TempDir;

/// The library that ends a process, compiled once.
fn library() -> &'static Path {
    static LIBRARY: OnceLock<(TempDir, PathBuf)> = OnceLock::new();
    let (_, path) = LIBRARY.get_or_init(|| {
        let dir = TempDir::new().unwrap();
        let path = dir.path().join("ends.so");
        let output = Command::new("cc")
            .args(cfg!(target_arch = "x86").then_some("-m32"))
            .args(["-Wall", "-O2", "-shared", "-fPIC", "-o"])
            .arg(&path)
            .arg(concat!(env!("CARGO_MANIFEST_DIR"), "/tests/causes/ends.c"))
            .output()
            .expect("these tests need a C compiler called cc on PATH");
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        (dir, path)
    });
    path
}

/// The report of a run against the reference server, in which `role` ends as `how` says.
fn run(dir: &Path, role: &str, how: &str) -> Value {
    let program = dir.join("server");
    let script = format!(
        "#!/bin/sh\nROLE='{role}' HOW='{how}' LD_PRELOAD='{}' exec '{}' chatd \"$@\"\n",
        library().display(),
        env!("CARGO_BIN_EXE_forkproof")
    );
    std::fs::write(&program, script).unwrap();
    std::fs::set_permissions(&program, std::fs::Permissions::from_mode(0o755)).unwrap();
    let output = Command::new(env!("CARGO_BIN_EXE_forkproof"))
        .args(["run", "signals/handler-persists", "--report", "-", "--deadline-scale", "0.4"])
        .arg("--program")
        .arg(&program)
        .output()
        .unwrap();
    let shown = String::from_utf8_lossy(&output.stderr).into_owned();
    assert_ne!(output.status.code(), Some(0), "{shown}");
    serde_json::from_slice(&output.stdout).unwrap_or_else(|error| panic!("{error}: {shown}"))
}

#[rstest]
fn the_evidence_names_process_part_and_cause(
    #[values("daemon", "receiver", "sender")] role: &str,
    #[values("SIGUSR1", "SIGSEGV", "exit 3", "SIGSTOP")] how: &str,
) {
    let dir = TempDir::new().unwrap();
    let report = run(dir.path(), role, how);
    let entry = &report["requirements"][0];
    let lines: Vec<&str> = entry["evidence"]["processes"]
        .as_array()
        .unwrap_or_else(|| panic!("no evidence: {entry:#}"))
        .iter()
        .map(|line| line.as_str().unwrap())
        .collect();
    let cause = match how {
        // Of a process of its own the server tells it, in its words.
        "exit 3" => "ed with status 3",
        "SIGSTOP" => "stopped",
        _ => &format!("was killed by {how}"),
    };
    let is_it = |line: &&&str| {
        let mut words = line.split(' ');
        let (part, pid) = (words.next(), words.next());
        part == Some(role)
            && pid.is_some_and(|pid| pid.parse::<i32>().is_ok())
            && line.contains(cause)
    };
    assert!(lines.iter().any(|line| is_it(&line)), "{lines:#?}");
    // What happened says so too, without the evidence.
    let actual = entry["actual"].as_str().unwrap();
    assert!(actual.contains(cause), "{actual}");
    let named = if how == "SIGSTOP" || role != "sender" { role } else { "its sender" };
    assert!(actual.contains(named), "{actual}");
}
