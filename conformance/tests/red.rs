//! What a red run tells: the cause, what was not reached, and how to see it again.

use std::path::Path;
use std::process::{Command, Output};

use rstest::rstest;
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
    assert!(shown.contains("To run these again: forkproof run "), "{shown}");
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
    // Of another server, what failed there says nothing here.
    let theirs = dir.path().join("theirs.json").display().to_string();
    let report = std::fs::read_to_string(&json).unwrap();
    std::fs::write(&theirs, report.replacen("\"name\": \"reference\"", "\"name\": \"web\"", 1))
        .unwrap();
    let other = forkproof(&["run", "--rerun-failed", &theirs]);
    let said = String::from_utf8_lossy(&other.stderr);
    assert_eq!(other.status.code(), Some(2), "{said}");
    assert!(said.contains("that report is of web, and this would check reference"), "{said}");
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

/// A failure is shown in full when it is known, at the end, or not at all; its line always.
#[test]
fn failures_are_shown_when_they_are_asked_for() {
    let shown = |when: &str| {
        let arguments =
            ["run", "auth/late-key-accepted", "--program", "/bin/false", "--failure-output", when];
        text(&forkproof(&arguments))
    };
    for (when, times) in [("immediate", 1), ("final", 1), ("none", 0)] {
        let shown = shown(when);
        assert_eq!(shown.matches("Covered by:").count(), times, "{when}: {shown}");
        assert!(shown.contains("blocked     auth/late-key-accepted"), "{when}: {shown}");
        assert!(shown.contains("no verdict: 0 passed"), "{when}: {shown}");
    }
    // Before the next check's line, or after all of them.
    let two = |when: &str| {
        let checks = ["auth/late-key-accepted", "auth/wrong-key-refused"];
        let mut arguments = vec!["run", "--jobs", "1", "--program", "/bin/false"];
        arguments.extend(["--failure-output", when]);
        arguments.extend(checks);
        let shown = text(&forkproof(&arguments));
        let last_line = shown.rfind("\nblocked     auth/").unwrap();
        (shown.find("Covered by:").unwrap(), last_line)
    };
    let (full, line) = two("immediate");
    assert!(full < line);
    let (full, line) = two("final");
    assert!(full > line);
}

/// Colours where they are asked for, although this is no terminal.
#[test]
fn colours_are_ones_own_choice() {
    for (when, coloured) in [("always", true), ("never", false), ("auto", false)] {
        let shown = text(&forkproof(&["run", "auth/exact-key", "--color", when]));
        assert_eq!(shown.contains("\u{1b}["), coloured, "{when}: {shown}");
    }
}

/// Each event is a line that the schema describes; the last one is the report.
#[test]
fn events_are_told_as_they_happen() {
    let schema = |name: &str| {
        let path = format!("{}/schema/{name}", env!("CARGO_MANIFEST_DIR"));
        jsonschema::validator_for(&report(Path::new(&path))).unwrap()
    };
    let arguments = ["run", "auth/exact-key", "auth/late-key-accepted", "--repeat", "2"];
    let output = forkproof(&[&arguments[..], &["--format", "jsonl"]].concat());
    let lines: Vec<Value> =
        text(&output).lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    let events = schema("forkproof-events-1.schema.json");
    for line in &lines {
        assert!(events.is_valid(line), "{line}");
    }
    let of = |event: &str| lines.iter().filter(|line| line["event"] == event).count();
    assert_eq!((of("run"), of("started"), of("finished"), of("report")), (1, 4, 4, 1));
    assert_eq!(lines[0]["schema"], "forkproof-events/1");
    let last = &lines[lines.len() - 1]["report"];
    assert!(schema("forkproof-report-1.schema.json").is_valid(last), "{last}");
    assert_eq!(last["conclusion"], "conformant");
    // People read on standard error.
    let words = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(words.contains("passed (2 of "), "{words}");
    // What is not in the schema is found.
    assert!(!events.is_valid(&serde_json::json!({"event": "started", "id": "auth/exact-key"})));
}

/// A reader of TAP comes to the conclusion that the run comes to.
#[test]
fn tap_says_what_the_run_says() {
    let failing = ["run", "signals/handler-persists", "auth/exact-key", "--as", "sysv-signals"];
    let output = forkproof(&[&failing[..], &["--format", "tap"]].concat());
    let tap = text(&output);
    let lines: Vec<&str> = tap.lines().collect();
    assert_eq!(lines[..2], ["TAP version 14", "1..2"], "{tap}");
    let points: Vec<&&str> = lines
        .iter()
        .filter(|line| line.starts_with("ok ") || line.starts_with("not ok "))
        .collect();
    assert_eq!(points.len(), 2, "{tap}");
    assert!(lines.contains(&"not ok 1 - signals/handler-persists"), "{tap}");
    let (opened, closed) = (tap.matches("\n  ---\n").count(), tap.matches("\n  ...\n").count());
    assert!(opened > 0 && opened == closed, "{tap}");
    assert!(tap.contains("  verdict: \"fail\""), "{tap}");

    let nothing =
        forkproof(&["run", "auth/exact-key", "--program", "/bin/false", "--format", "tap"]);
    assert!(text(&nothing).contains("not ok 1 - auth/exact-key\n"), "{}", text(&nothing));
    let skipped = forkproof(&["run", "listen/socket-activation", "--format", "tap"]);
    let tap = text(&skipped);
    assert!(tap.contains("ok 1 - listen/socket-activation # SKIP unsupported: "), "{tap}");
    // One that skips everything has judged nothing.
    assert!(tap.contains("\nBail out! "), "{tap}");
    assert_eq!(skipped.status.code(), Some(3));
}

/// `-` is standard output wherever a report or a rendering is written; the words go elsewhere.
#[test]
fn a_dash_is_standard_output() {
    let run = |option: &str| forkproof(&["run", "auth/exact-key", option, "-"]);
    let dir = TempDir::new().unwrap();
    let json = run("--report");
    let parsed: Value = serde_json::from_slice(&json.stdout).unwrap();
    assert_eq!(parsed["schema"], "forkproof-report/1");
    assert!(String::from_utf8_lossy(&json.stderr).contains("passed (1 of "));
    junit::suites(&text(&run("--junit")));
    assert!(text(&run("--summary")).starts_with("## forkproof: passed"));
    let file = dir.path().join("r.json");
    std::fs::write(&file, &json.stdout).unwrap();
    let file = file.display().to_string();
    assert!(text(&forkproof(&["report", &file, "--html", "-"])).starts_with("<!DOCTYPE html>"));
    assert!(!Path::new("-").exists());
}

/// One defect fails much of the catalogue; a reader who knows nothing finds its cause at once.
#[rstest]
#[case("sysv-signals", &[], &["SIGUSR1", "handler"])]
#[case("fd-exhausted", &["processes"], &["clients wait: accept: Too many open files"])]
#[case("short-reads", &["delivery"], &["cut short"])]
// The reference server restarts its own calls.
#[case("no-sa-restart", &["signals"], &["pass"])]
fn a_cascade_is_short_and_begins_with_its_cause(
    #[case] personality: &str,
    #[case] areas: &[&str],
    #[case] words: &[&str],
) {
    let quick = ["--deadline-scale", "0.3"];
    let output = forkproof(&[&["run", "--as", personality], areas, &quick].concat());
    let shown = text(&output);
    let lines: Vec<&str> = shown.lines().collect();
    assert!(lines.len() <= 200, "{} lines: {shown}", lines.len());
    let head = lines[..lines.len().min(30)].join("\n");
    for word in words {
        assert!(head.contains(word), "`{word}` is not in: {head}");
    }
}

/// Root of a container that may become no other user.
#[test]
#[cfg(target_os = "linux")]
fn root_without_its_rights_is_not_the_servers_fault() {
    if !nix::unistd::geteuid().is_root() {
        return;
    }
    let without = |arguments: &[&str]| {
        let mut command = Command::new("setpriv");
        command.args(["--inh-caps=-all", "--bounding-set=-all"]).args(arguments).output().unwrap()
    };
    if !without(&["true"]).status.success() {
        eprintln!("not tested: this root may not give up its rights");
        return;
    }
    let output = without(&[env!("CARGO_BIN_EXE_forkproof"), "run", "processes/drops-privileges"]);
    let shown = text(&output);
    assert_eq!(output.status.code(), Some(3), "{shown}");
    assert!(shown.contains("needs root's right to become another user"), "{shown}");
}
