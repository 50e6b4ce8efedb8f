//! `forkproof probe` and `forkproof diff` as their users meet them.

use std::path::{Path, PathBuf};
use std::sync::OnceLock;

use assert_cmd::Command;
use predicates::prelude::*;
use predicates::str::contains;
use rstest::rstest;
use serde_json::{Value, json};

const SCHEMA: &str = include_str!("../schema/forkproof-probe-1.schema.json");
const DIFF_SCHEMA: &str = include_str!("../schema/forkproof-diff-1.schema.json");

fn forkproof() -> Command {
    Command::new(env!("CARGO_BIN_EXE_forkproof"))
}

fn probe_json() -> String {
    let output = forkproof().args(["probe", "--json"]).assert().success().get_output().clone();
    String::from_utf8(output.stdout).unwrap()
}

/// All facts of this machine, measured once for all tests.
fn facts() -> &'static str {
    static FACTS: OnceLock<String> = OnceLock::new();
    FACTS.get_or_init(probe_json)
}

fn parsed() -> Value {
    serde_json::from_str(facts()).unwrap()
}

fn fact<'a>(report: &'a mut Value, id: &str) -> &'a mut Value {
    let facts = report["facts"].as_array_mut().unwrap();
    facts.iter_mut().find(|fact| fact["id"] == id).unwrap_or_else(|| panic!("no fact {id}"))
}

struct Dir(tempfile::TempDir);

impl Dir {
    fn new() -> Self {
        Self(tempfile::tempdir().unwrap())
    }

    fn file(&self, name: &str, content: impl AsRef<str>) -> PathBuf {
        let path = self.0.path().join(name);
        std::fs::write(&path, content.as_ref()).unwrap();
        path
    }

    fn json(&self, name: &str, content: &Value) -> PathBuf {
        self.file(name, content.to_string())
    }
}

fn diff(a: &Path, b: &Path) -> assert_cmd::assert::Assert {
    forkproof().arg("diff").args([a, b]).assert()
}

fn diff_json(a: &Path, b: &Path) -> Value {
    let output = forkproof().args(["diff", "--json"]).args([a, b]).output().unwrap();
    let difference = serde_json::from_slice(&output.stdout).unwrap();
    let errors: Vec<String> = diff_schema()
        .iter_errors(&difference)
        .map(|error| format!("{}: {error}", error.instance_path))
        .collect();
    assert!(errors.is_empty(), "{errors:#?}");
    difference
}

fn diff_schema() -> jsonschema::Validator {
    jsonschema::validator_for(&serde_json::from_str(DIFF_SCHEMA).unwrap()).unwrap()
}

#[test]
fn the_schema_of_differences_can_say_no() {
    let good = json!({
        "schema": "forkproof-diff/1",
        "compared": "forkproof-report/1",
        "platform": { "release": { "a": "14.2", "b": "14.3" } },
        "changed": [{ "id": "auth/exact-key", "a": "pass", "b": "xpass" }],
        "only_in_a": [{ "id": "auth/timeout", "value": "fail" }],
        "only_in_b": []
    });
    assert!(diff_schema().is_valid(&good));
    for (place, value) in [
        ("/schema", json!("forkproof-diff/2")),
        ("/compared", json!("facts")),
        ("/platform/release", json!("14.2")),
        ("/changed/0/b", json!("passed")),
        ("/changed/0/id", json!("exact-key")),
        ("/only_in_a/0", json!({ "id": "auth/timeout" })),
        ("/only_in_a/0/value", json!(7)),
        ("/only_in_b", json!(null)),
    ] {
        let mut bad = good.clone();
        *bad.pointer_mut(place).unwrap() = value;
        assert!(!diff_schema().is_valid(&bad), "{place}");
    }
}

#[test]
fn at_least_forty_facts_all_measured() {
    let report = parsed();
    let facts = report["facts"].as_array().unwrap();
    assert!(facts.len() >= 40, "{}", facts.len());
    for fact in facts {
        assert!(!fact["measured"].is_object(), "{fact}");
    }
}

#[test]
fn two_runs_in_a_row_are_the_same_to_the_byte() {
    assert_eq!(facts(), probe_json());
}

#[test]
fn the_facts_fit_their_schema() {
    let schema: Value = serde_json::from_str(SCHEMA).unwrap();
    let validator = jsonschema::validator_for(&schema).unwrap();
    let report = parsed();
    let errors: Vec<String> = validator.iter_errors(&report).map(|e| e.to_string()).collect();
    assert!(errors.is_empty(), "{errors:#?}");

    // The schema can say no.
    let mut wrong = report;
    fact(&mut wrong, "widths/long")["measured"] = json!(64.5);
    assert!(!validator.is_valid(&wrong));
}

/// What this very test program can tell for itself, by other means than the probe's.
#[test]
fn the_widths_are_those_of_the_program() {
    let mut report = parsed();
    for (id, bits) in [
        ("widths/pointer", usize::BITS),
        ("widths/off-t", size_of::<libc::off_t>() as u32 * 8),
        ("widths/long", size_of::<libc::c_long>() as u32 * 8),
    ] {
        assert_eq!(fact(&mut report, id)["measured"], json!(bits), "{id}");
    }
    assert_eq!(report["platform"]["userland_bits"], json!(usize::BITS));
}

#[test]
fn what_the_starter_ignores_spoils_nothing() {
    use std::os::unix::process::CommandExt;
    let mut command = std::process::Command::new(env!("CARGO_BIN_EXE_forkproof"));
    command.args(["probe", "--json", "signals", "restart/read", "connections/sigpipe"]);
    // As nohup or a shell's trap leave them; few shells let SIGCHLD be ignored.
    // SAFETY: signal(2) is async-signal-safe.
    unsafe {
        command.pre_exec(|| {
            for signal in [libc::SIGCHLD, libc::SIGUSR1, libc::SIGPIPE, libc::SIGALRM] {
                libc::signal(signal, libc::SIG_IGN);
            }
            Ok(())
        });
    }
    let output = Command::from_std(command).assert().success().get_output().clone();
    let inherited: Value = serde_json::from_slice(&output.stdout).unwrap();
    let mut plain = parsed();
    for found in inherited["facts"].as_array().unwrap() {
        let id = found["id"].as_str().unwrap();
        assert_eq!(&found["measured"], &fact(&mut plain, id)["measured"], "{id}");
    }
}

#[rstest]
#[case(&["widths/off-t"], &["widths/off-t"])]
#[case(&["off-t"], &["widths/off-t"])]
#[case(&["widths/*-t", "widths/off-t"], &["widths/off-t", "widths/time-t", "widths/ino-t", "widths/pid-t", "widths/uid-t", "widths/mode-t"])]
fn globs_select(#[case] globs: &[&str], #[case] ids: &[&str]) {
    let output = forkproof().args(["probe", "--json"]).args(globs).output().unwrap();
    let report: Value = serde_json::from_slice(&output.stdout).unwrap();
    let found: Vec<&str> =
        report["facts"].as_array().unwrap().iter().map(|f| f["id"].as_str().unwrap()).collect();
    assert_eq!(found, ids);
}

#[rstest]
#[case("of-t", 4, "no probe matches `of-t`: did you mean `widths/off-t`")]
#[case("xyzzy", 4, "`forkproof probe` shows them all")]
#[case("[", 2, "is no glob")]
fn a_selection_without_a_match_is_an_error(
    #[case] glob: &str,
    #[case] status: i32,
    #[case] words: &str,
) {
    forkproof().args(["probe", glob]).assert().code(status).stdout("").stderr(contains(words));
}

#[test]
fn the_table_says_what_this_machine_does() {
    forkproof()
        .args(["probe", "widths/pointer"])
        .assert()
        .success()
        .stdout(contains("widths/pointer").and(contains(usize::BITS.to_string())))
        .stdout(contains("1 fact, 0 not as documented"));
}

/// A deadline of nothing is one that every probe misses.
#[test]
fn a_probe_that_is_not_over_in_time_is_an_error_of_its_own() {
    let output = forkproof()
        .args(["probe", "--json", "--deadline", "0", "restart/read", "widths/pointer"])
        .assert()
        .code(3)
        .get_output()
        .clone();
    let report: Value = serde_json::from_slice(&output.stdout).unwrap();
    let facts = report["facts"].as_array().unwrap();
    assert_eq!(facts.len(), 2);
    for fact in facts {
        let error = fact["measured"]["error"].as_str().unwrap();
        assert!(error.contains("it was not over after 0 s"), "{error}");
        assert_eq!(fact["as_documented"], Value::Null);
    }
    let schema: Value = serde_json::from_str(SCHEMA).unwrap();
    assert!(jsonschema::validator_for(&schema).unwrap().is_valid(&report));
}

#[test]
fn nothing_differs_from_itself() {
    let dir = Dir::new();
    let file = dir.file("a.json", facts());
    diff(&file, &file).success().stdout("").stderr("");
    let difference = diff_json(&file, &file);
    assert_eq!(difference["schema"], "forkproof-diff/1");
    for list in ["changed", "only_in_a", "only_in_b"] {
        assert_eq!(difference[list], json!([]), "{list}");
    }
    assert_eq!(difference["platform"], json!({}));
}

/// Two systems that differ in their widths: nothing else may show.
#[test]
fn widths_that_differ_show_and_nothing_else() {
    let dir = Dir::new();
    let (mut wide, mut narrow) = (parsed(), parsed());
    let widths = ["widths/pointer", "widths/long", "widths/off-t", "widths/time-t", "widths/ino-t"];
    for (report, bits) in [(&mut wide, 64), (&mut narrow, 32)] {
        for id in widths {
            fact(report, id)["measured"] = json!(bits);
        }
        report["platform"]["userland_bits"] = json!(bits);
    }
    // What the manuals say of the other width is no change of the system.
    fact(&mut narrow, "widths/long")["linux"] = json!({ "value": "32", "source": "another" });
    let (a, b) = (dir.json("wide.json", &wide), dir.json("narrow.json", &narrow));

    let difference = diff_json(&a, &b);
    let changed: Vec<&str> = difference["changed"]
        .as_array()
        .unwrap()
        .iter()
        .map(|c| c["id"].as_str().unwrap())
        .collect();
    assert_eq!(changed, widths);
    assert_eq!(difference["changed"][0], json!({ "id": "widths/pointer", "a": 64, "b": 32 }));
    assert_eq!(difference["platform"], json!({ "userland_bits": { "a": 64, "b": 32 } }));

    let lines = diff(&a, &b).code(1).get_output().stdout.clone();
    let lines = String::from_utf8(lines).unwrap();
    assert_eq!(lines.lines().filter(|line| line.contains("64 → 32")).count(), 6, "{lines}");
    // The names of the files, the platform, an empty line, the facts.
    assert_eq!(lines.lines().count(), 1 + 1 + 1 + widths.len(), "{lines}");
}

#[test]
fn a_platform_alone_is_shown_and_does_not_count() {
    let dir = Dir::new();
    let mut other = parsed();
    other["platform"]["release"] = json!("99.9");
    let (a, b) = (dir.file("a.json", facts()), dir.json("b.json", &other));
    diff(&a, &b).success().stdout(contains("release").and(contains("→ 99.9")));
}

#[test]
fn facts_of_one_side_only_are_named() {
    let dir = Dir::new();
    let mut fewer = parsed();
    fewer["facts"].as_array_mut().unwrap().retain(|fact| fact["id"] != "widths/long");
    let (all, fewer) = (dir.file("all.json", facts()), dir.json("fewer.json", &fewer));
    diff(&all, &fewer).code(1).stdout(contains("widths/long").and(contains("not in the second")));
    diff(&fewer, &all).code(1).stdout(contains("widths/long").and(contains("not in the first")));
    assert_eq!(diff_json(&fewer, &all)["only_in_b"][0]["id"], "widths/long");
}

/// A report with one requirement, of this verdict.
fn run_report(platform: &Value, id: &str, verdict: &str) -> Value {
    json!({
        "schema": "forkproof-report/1",
        "forkproof": "0.1.0",
        "started": "2026-11-21T05:00:00Z",
        "duration_ms": 1,
        "platform": platform,
        "target": { "name": "reference", "program": "forkproof" },
        "options": { "jobs": 1, "repeat": 1, "slowness": 1.0 },
        "conclusion": if ["fail", "xpass"].contains(&verdict) { "not-conformant" } else { "conformant" },
        "interrupted": false,
        "counts": { verdict: 1 },
        "requirements": [{
            "id": id, "title": "t", "level": "must", "clause": "c", "verdict": verdict,
            "runs": 1, "not_passed": 0, "duration_ms": 7
        }]
    })
}

#[test]
fn two_reports_differ_in_their_verdicts() {
    let dir = Dir::new();
    let platform = &parsed()["platform"];
    let pass = dir.json("pass.json", &run_report(platform, "auth/exact-key", "pass"));
    let mut slower = run_report(platform, "auth/exact-key", "pass");
    slower["requirements"][0]["duration_ms"] = json!(8000);
    let slower = dir.json("slower.json", &slower);
    let fail = dir.json("fail.json", &run_report(platform, "auth/exact-key", "fail"));
    let other = dir.json("other.json", &run_report(platform, "auth/timeout", "pass"));
    diff(&pass, &slower).success().stdout("");
    diff(&pass, &fail).code(1).stdout(contains("auth/exact-key").and(contains("pass → fail")));
    let difference = diff_json(&pass, &other);
    assert_eq!(difference["only_in_a"][0]["id"], "auth/exact-key");
    assert_eq!(difference["only_in_b"][0]["id"], "auth/timeout");
}

/// What a baseline makes of a verdict shows too, each way.
#[rstest]
#[case("fail", "xfail")]
#[case("xfail", "xpass")]
#[case("xfail", "fail")]
#[case("xpass", "pass")]
#[case("xfail", "pass")]
fn verdicts_with_a_baseline_are_compared_by_their_words(#[case] a: &str, #[case] b: &str) {
    let dir = Dir::new();
    let platform = &parsed()["platform"];
    let report = |name: &str, verdict| {
        let mut report = run_report(platform, "auth/exact-key", verdict);
        if verdict.starts_with('x') {
            report["requirements"][0]["reason"] = json!("base.toml:1: known");
            report["requirements"][0]["baseline"] = json!({
                "file": "base.toml", "line": 1, "id": "auth/*", "expected": "fail",
                "reason": "known", "matches": ["words"]
            });
        }
        dir.json(name, &report)
    };
    let (first, second) = (report("a.json", a), report("b.json", b));
    diff(&first, &second)
        .code(1)
        .stdout(contains("auth/exact-key").and(contains(format!("{a} → {b}"))));
    let changed = json!([{ "id": "auth/exact-key", "a": a, "b": b }]);
    assert_eq!(diff_json(&first, &second)["changed"], changed);
}

#[rstest]
#[case::missing(None, "No such file")]
#[case::not_json(Some("facts"), "is not JSON")]
#[case::no_schema(Some("{}"), "has no schema: expected `forkproof-report/1`")]
#[case::other_schema(
    Some(r#"{"schema":"forkproof-probe/2"}"#),
    "its schema is `forkproof-probe/2`"
)]
#[case::not_as_it_says(Some(r#"{"schema":"forkproof-probe/1"}"#), "is not as its schema says")]
fn what_cannot_be_compared_is_named_in_one_line(
    #[case] content: Option<&str>,
    #[case] words: &str,
    #[values(true, false)] first: bool,
) {
    let dir = Dir::new();
    let good = dir.file("good.json", facts());
    let bad = match content {
        Some(content) => dir.file("bad.json", content),
        None => dir.0.path().join("bad.json"),
    };
    let assert = if first { diff(&bad, &good) } else { diff(&good, &bad) };
    assert
        .code(2)
        .stdout("")
        .stderr(contains("bad.json").and(contains(words)))
        .stderr(predicate::function(|text: &str| text.lines().count() == 1));
}

#[test]
fn facts_and_a_report_are_not_compared() {
    let dir = Dir::new();
    let facts = dir.file("facts.json", facts());
    let report = run_report(&parsed()["platform"], "auth/exact-key", "pass");
    let report = dir.json("report.json", &report);
    diff(&facts, &report)
        .code(2)
        .stdout("")
        .stderr(contains("facts.json is forkproof-probe/1"))
        .stderr(contains("report.json is forkproof-report/1"));
}

#[test]
fn an_id_that_stands_twice_is_refused() {
    let dir = Dir::new();
    let mut doubled = parsed();
    let again = doubled["facts"][0].clone();
    doubled["facts"].as_array_mut().unwrap().push(again);
    let (a, b) = (dir.file("a.json", facts()), dir.json("doubled.json", &doubled));
    diff(&a, &b).code(2).stderr(contains("doubled.json").and(contains("twice")));
}
