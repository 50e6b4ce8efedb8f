//! What a red run tells: the cause, what was not reached, and how to see it again.

use std::path::Path;
use std::process::{Command, Output};

use serde_json::Value;
use tempfile::TempDir;

#[path = "common/junit.rs"]
mod junit;

fn forkproof(arguments: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_forkproof")).args(arguments).output().unwrap()
}

fn text(output: &Output) -> String {
    String::from_utf8_lossy(&output.stdout).into_owned()
}

fn report(path: &Path) -> Value {
    serde_json::from_slice(&std::fs::read(path).unwrap()).unwrap()
}

/// A process of the server that has gone was once a reason not to judge, and the run was green.
#[test]
fn a_dead_process_is_never_a_reason_not_to_judge() {
    // When its processes die is a matter of luck: never, before they are looked at, or in the set-up.
    for _ in 0..5 {
        let output = forkproof(&[
            "run",
            "listen/bad-address",
            "listen/children-do-not-hold-the-listener",
            "--as",
            "sysv-signals",
        ]);
        let shown = text(&output);
        assert!(!shown.contains("not-run"), "{shown}");
        match output.status.code() {
            Some(0) => assert!(shown.contains("2 passed"), "{shown}"),
            _ => assert!(shown.contains("killed by SIGUSR1"), "{shown}"),
        }
    }
}

/// Every kind of report says that there was a personality, and how to see the same again.
#[test]
fn a_personality_is_in_every_report() {
    let dir = TempDir::new().unwrap();
    let path = |name: &str| dir.path().join(name).display().to_string();
    let (json, xml, markdown, page) = (path("r.json"), path("r.xml"), path("r.md"), path("r.html"));
    let output = forkproof(&[
        "run",
        "signals/handler-persists",
        "--as",
        "sysv-signals",
        "--report",
        &json,
        "--junit",
        &xml,
        "--summary",
        &markdown,
    ]);
    let shown = text(&output);
    let again = "forkproof run signals/handler-persists --as sysv-signals --keep";
    assert!(shown.contains(again), "{shown}");
    let json_report = report(Path::new(&json));
    assert_eq!(json_report["options"]["personality"], "sysv-signals");
    assert_eq!(json_report["options"]["command"][2], "--as");
    let read = |path: &str| std::fs::read_to_string(path).unwrap();
    junit::suites(&read(&xml));
    assert!(read(&xml).contains("<property name=\"personality\" value=\"sysv-signals\"/>"));
    assert!(read(&markdown).contains("Under the personality: sysv-signals"));
    forkproof(&["report", &json, "--html", &page]);
    let page = read(&page);
    assert!(page.contains("as sysv-signals"), "the column's head");
    assert!(page.contains("forkproof run signals&#x2f;handler-persists --as sysv-signals"));
}

/// One cause fails many requirements: it is told once, with the advice that fits it, and what was
/// not reached is blocked and has no advice.
#[test]
fn a_cascade_is_told_once() {
    let dir = TempDir::new().unwrap();
    let json = dir.path().join("r.json").display().to_string();
    let output =
        forkproof(&["run", "--as", "sysv-signals", "signals", "delivery", "--report", &json]);
    let shown = text(&output);
    let report = report(Path::new(&json));
    let entries = report["requirements"].as_array().unwrap();
    // A line each, and what there is to say of all of them.
    let most = entries.len() + 80;
    assert!(shown.lines().count() <= most, "{} lines: {shown}", shown.lines().count());
    let head: Vec<&str> = shown.lines().take(30).collect();
    let head = head.join("\n");
    assert!(head.contains("SIGUSR1") && head.contains("handler"), "{head}");
    assert!(shown.contains("To look at again: forkproof run "), "{shown}");
    let blocked: Vec<&Value> =
        entries.iter().filter(|entry| entry["verdict"] == "blocked").collect();
    assert!(!blocked.is_empty(), "{shown}");
    for entry in blocked {
        assert!(entry.get("trap").is_none() && entry.get("fix").is_none(), "{entry}");
        assert!(entry["covered_by"].is_string(), "{entry}");
    }
}

/// Blocked alone is no pass: nobody has seen the requirement hold.
#[test]
fn what_was_not_reached_is_no_pass() {
    let output = forkproof(&["run", "auth/late-key-accepted", "--program", "/bin/false"]);
    let shown = text(&output);
    assert_eq!(output.status.code(), Some(3), "{shown}");
    assert!(shown.contains("blocked auth/late-key-accepted"), "{shown}");
    assert!(shown.contains("Covered by:   listen/clients-are-served"), "{shown}");
    assert!(!shown.contains("Usual cause"), "{shown}");
}

/// Ways to work on a red run: stop early, run what failed again, be quiet about the rest.
#[test]
fn a_red_run_is_worked_on() {
    let dir = TempDir::new().unwrap();
    let json = dir.path().join("r.json").display().to_string();
    let two = ["signals/handler-persists", "auth/wrong-key-refused", "signals/children-reaped"];
    let mut arguments = vec!["run", "--as", "sysv-signals", "--jobs", "1", "--report", &json];
    arguments.extend(two);
    let all = forkproof(&arguments);
    assert_eq!(all.status.code(), Some(1), "{}", text(&all));
    arguments.push("--fail-fast");
    let first = forkproof(&arguments);
    let shown = text(&first);
    assert_eq!(first.status.code(), Some(1), "{shown}");
    assert!(shown.contains(" not reached"), "{shown}");
    assert_eq!(shown.lines().filter(|line| line.starts_with("fail  ")).count(), 1, "{shown}");
    // The same without the personality is well, and only what failed is run.
    let again = forkproof(&["run", "--rerun-failed", &json, "--quiet"]);
    let shown = text(&again);
    assert_eq!(again.status.code(), Some(0), "{shown}");
    assert!(shown.contains("passed (1 of "), "{shown}");
    assert!(!shown.contains("\npass "), "{shown}");
    let verbose = text(&forkproof(&["run", "auth/exact-key", "-v"]));
    assert!(verbose.contains("Slowest:"), "{verbose}");
    let nothing = dir.path().join("green.json").display().to_string();
    forkproof(&["run", "auth/exact-key", "--report", &nothing]);
    let none = forkproof(&["run", "--rerun-failed", &nothing]);
    assert_eq!(none.status.code(), Some(4));
}

/// What the harness itself lacks is an error that says what to raise, and no failure of the server.
#[test]
fn a_low_limit_of_ones_own_is_no_failure_of_the_server() {
    let output = Command::new("sh")
        .args(["-c", "ulimit -n 64; exec \"$0\" run auth/exact-key"])
        .arg(env!("CARGO_BIN_EXE_forkproof"))
        .output()
        .unwrap();
    let shown = text(&output);
    assert_eq!(output.status.code(), Some(3), "{shown}");
    assert!(shown.contains("raise the limit, with `ulimit -n 1024`"), "{shown}");
    assert!(shown.contains("0 failed"), "{shown}");
}
