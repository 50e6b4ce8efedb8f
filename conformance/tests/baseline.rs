//! Baselines as users meet them: `forkproof run --baseline` and `forkproof baseline`.
//!
//! One file: all of it stands on the same made-up run and its one failing requirement.

#[path = "common/catalogue.rs"]
mod catalogue;
#[path = "common/junit.rs"]
mod junit;

use catalogue::catalogue;
use std::path::{Path, PathBuf};

use assert_cmd::Command;
use assert_cmd::assert::Assert;
use predicates::prelude::*;
use predicates::str::contains;
use rstest::rstest;
use serde_json::{Value, json};

const SCHEMA: &str = include_str!("../schema/forkproof-report-1.schema.json");

/// This system, and one that it is not, by their names in baselines.
const HERE: &str = if cfg!(target_os = "freebsd") { "freebsd" } else { "linux" };
const ELSEWHERE: &str = if cfg!(target_os = "freebsd") { "linux" } else { "freebsd" };

/// A requirement that a server under [`BROKEN`] fails, and words of that failure. It is always the
/// same one: there is no race in an exit status.
const FAILING: &str = "listen/port-in-use";
const BROKEN: &str = "exits-zero";
const WORDS: &str = "'exit non-zero'";

fn one_line() -> impl Predicate<str> {
    predicate::function(|text: &str| text.lines().count() == 1)
}

/// A directory with a baseline, in which forkproof is run.
struct Place(tempfile::TempDir);

impl Place {
    fn new(baseline: impl AsRef<[u8]>) -> Self {
        let place = Self(tempfile::tempdir().unwrap());
        std::fs::write(place.path("base.toml"), baseline).unwrap();
        place
    }

    fn path(&self, name: &str) -> PathBuf {
        self.0.path().join(name)
    }

    fn forkproof(&self, arguments: &[&str]) -> Assert {
        Command::new(env!("CARGO_BIN_EXE_forkproof"))
            .current_dir(self.0.path())
            .args(arguments)
            .assert()
    }

    /// A run with the baseline and every report.
    fn run(&self, arguments: &[&str]) -> Assert {
        let mut all = vec!["run", "--baseline", "base.toml", "--report", "report.json"];
        all.extend(["--junit", "junit.xml", "--summary", "summary.md"]);
        all.extend(arguments);
        self.forkproof(&all)
    }

    fn read(&self, name: &str) -> String {
        std::fs::read_to_string(self.path(name)).unwrap()
    }

    /// The report, valid.
    fn report(&self) -> Value {
        let report = serde_json::from_str(&self.read("report.json")).unwrap();
        let errors: Vec<String> = schema()
            .iter_errors(&report)
            .map(|error| format!("{}: {error}", error.instance_path))
            .collect();
        assert!(errors.is_empty(), "{errors:#?}");
        report
    }

    /// The one suite of the JUnit XML.
    fn junit(&self) -> junit::Suite {
        junit::suites(&self.read("junit.xml")).remove(0)
    }

    /// Writes an executable shell script.
    fn script(&self, text: &str) -> PathBuf {
        use std::os::unix::fs::PermissionsExt;
        let path = self.path("server");
        std::fs::write(&path, format!("#!/bin/sh\n{text}\n")).unwrap();
        std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o755)).unwrap();
        path
    }
}

fn schema() -> jsonschema::Validator {
    jsonschema::validator_for(&serde_json::from_str(SCHEMA).unwrap()).unwrap()
}

/// An entry that expects a failure, from line 2 on.
fn expecting(id: &str, matches: &str, more: &str) -> String {
    format!(
        "# known\n[[exception]]\nid = \"{id}\"\nexpected = \"fail\"\nreason = \"known since 1.0\"\n\
         link = \"https://bugs.example.org/17\"\nmatches = {matches}\n{more}\n"
    )
}

/// An entry with one line changed or left out: `id` is in line 2, `expected` in 3, `reason` in 4,
/// `matches` in 5, and what more there is from 6 on.
fn with(key: &str, line: &str) -> String {
    let mut text = "[[exception]]\n".to_owned();
    let mut found = false;
    for (name, good) in [
        ("id", "id = 'auth/exact-key'"),
        ("expected", "expected = 'fail'"),
        ("reason", "reason = 'known'"),
        ("matches", "matches = 'cut off'"),
    ] {
        found |= name == key;
        text += if name == key { line } else { good };
        text.push('\n');
    }
    if !found {
        text += line;
        text.push('\n');
    }
    text
}

fn twice(first: &str, second: &str) -> String {
    let entry = |more: &str| {
        format!("[[exception]]\nexpected = 'skip'\nreason = 'slow'\n{more}\nlink = 'http://x'\n")
    };
    format!("{}{}", entry(first), entry(second))
}

#[rstest]
// Names.
#[case::table(
    "\n[[exceptoin]]\nid = 'x'\n",
    2,
    "unknown key `exceptoin`: did you mean `exception`?"
)]
#[case::key(with("more", "reson = 'x'"), 6, "unknown key `reson`: did you mean `reason`?")]
#[case::singular(with("more", "platform = 'linux'"), 6, "did you mean `platforms`?")]
#[case::expectation(
    with("expected", "expected = 'fial'"),
    3,
    "unknown value `fial`: did you mean `fail`?"
)]
#[case::other_expectation(with("expected", "expected = 'Skipp'"), 3, "did you mean `skip`?")]
#[case::id(
    with("id", "id = 'auth/exact-kee'"),
    2,
    "no requirement matches `auth/exact-kee`: did you mean `auth/exact-key`"
)]
#[case::bare_name(
    with("id", "id = 'hander-persists'"),
    2,
    "did you mean `signals/handler-persists`?"
)]
#[case::area(
    with("id", "id = 'signal/*'"),
    2,
    "no requirement matches `signal/*`: did you mean `signals/*`"
)]
#[case::no_neighbour(with("id", "id = 'xyzzy'"), 2, "`forkproof list` shows them all")]
#[case::bad_glob(with("id", "id = '[auth'"), 2, "`[auth` is no glob")]
#[case::system(
    with("more", "platforms = 'linx'"),
    6,
    "no platform is called `linx`: did you mean `linux`?"
)]
#[case::second_platform(
    with("more", "platforms = [\n  'linux',\n  'FreeBSD',\n]"),
    8,
    "no platform is called `FreeBSD`: did you mean `freebsd`?"
)]
#[case::width(with("more", "platforms = ['linux-32bits']"), 6, "did you mean `linux-32bit`?")]
#[case::architecture(
    with("more", "platforms = ['linux-x86-64']"),
    6,
    "did you mean `linux-x86_64`"
)]
#[case::release(with("more", "platforms = ['freebds-14']"), 6, "did you mean `freebsd`")]
#[case::distribution(with("more", "platforms = ['ubunto-24.04']"), 6, "did you mean `ubuntu`?")]
#[case::bad_platform_glob(with("more", "platforms = ['{linux']"), 6, "`{linux` is no glob")]
#[case::strange_platform(
    with("more", "platforms = ['?!']"),
    6,
    "`forkproof baseline --help` tells the names"
)]
#[case::no_platform(with("more", "platforms = []"), 6, "an empty list")]
// What is missing, blank or of another kind.
#[case::no_id(with("id", ""), 1, "missing key `id`")]
#[case::no_reason(with("reason", ""), 1, "missing key `reason`")]
#[case::no_expectation(with("expected", ""), 1, "missing key `expected`")]
#[case::no_words(with("matches", ""), 1, "missing key `matches`")]
#[case::blank_reason(with("reason", "reason = '  '"), 4, "the reason is blank")]
#[case::unedited_reason(
    with("reason", "reason = 'TODO: why?'"),
    4,
    "the reason still begins with TODO: say why"
)]
#[case::escape_in_reason(with("reason", "reason = \"\\u001b[31m\""), 4, "control character")]
#[case::reason_of_another_kind(with("reason", "reason = 17"), 4, "expected a string")]
#[case::blank_words(with("matches", "matches = ' '"), 5, "blank words stand in every failure")]
#[case::blank_alternative(
    with("matches", "matches = ['a', 'b|']"),
    5,
    "blank words stand in every failure"
)]
#[case::words_of_another_kind(
    with("matches", "matches = 7"),
    5,
    "expected a string or a list of strings"
)]
#[case::second_words(
    with("matches", "matches = [\n  'a',\n  '',\n]"),
    7,
    "blank words stand in every failure"
)]
#[case::number_in_a_list(with("matches", "matches = ['a', 7]"), 5, "expected a string")]
#[case::empty_list_of_words(with("matches", "matches = []"), 5, "an empty list")]
#[case::words_of_what_is_skipped(
    with("expected", "expected = 'skip'"),
    1,
    "`matches` with expected = \"skip\""
)]
#[case::link(with("more", "link = 'issue 17'"), 6, "`issue 17` is no link: write https://")]
#[case::not_a_list("[exception]\nid = 'auth/exact-key'\n", 1, "expected a sequence")]
// What contradicts itself.
#[case::key_twice(with("more", "reason = 'again'"), 6, "duplicate key")]
#[case::entry_twice(
    twice("id = 'auth/exact-key'", "id = 'auth/exact-key'"),
    6,
    "`auth/exact-key` has an entry for the same platform at line 1"
)]
#[case::glob_too(twice("id = 'auth/exact-key'", "id = 'auth/ex*'"), 6, "at line 1 already")]
#[case::platform_of_all(
    twice("id = 'auth'", "id = 'exact-key'\nplatforms = 'freebsd'"),
    6,
    "at line 1 already"
)]
#[case::same_platform_elsewhere(
    twice("id = 'auth'\nplatforms = 'sunos'", "id = 'exact-key'\nplatforms = ['darwin', 'sunos']"),
    7,
    "at line 1 already"
)]
#[case::two_names_of_this_platform(
    twice("id = 'auth'\nplatforms = '*-*bit'", &format!("id = 'exact-key'\nplatforms = '{HERE}'")), 7, "at line 1 already"
)]
#[case::no_toml("[[exception]]\nid = \n", 2, "")]
fn mistakes_name_the_line_and_what_would_be_right(
    #[case] baseline: impl AsRef<[u8]>,
    #[case] line: usize,
    #[case] words: &str,
) {
    let place = Place::new(baseline);
    place
        .run(&["auth/exact-key"])
        .code(2)
        .stdout("")
        .stderr(predicate::str::starts_with(format!("forkproof: base.toml:{line}: ")))
        .stderr(contains(words).and(one_line()));
    assert!(!place.path("report.json").exists(), "nothing was run");
}

#[rstest]
#[case::not_utf8("no.toml", Some(&b"# \n\xff"[..]), "no.toml:2: not UTF-8")]
#[case::missing("no.toml", None, "no.toml: cannot be read: No such file")]
#[case::directory(".", None, ".: cannot be read: Is a directory")]
fn files_that_cannot_be_read(
    #[case] name: &str,
    #[case] content: Option<&[u8]>,
    #[case] words: &str,
) {
    let place = Place::new("");
    if let Some(content) = content {
        std::fs::write(place.path(name), content).unwrap();
    }
    place
        .forkproof(&["run", "auth/exact-key", "--baseline", name])
        .code(2)
        .stdout("")
        .stderr(contains(words).and(one_line()));
}

#[test]
fn a_known_failure_fails_no_run_and_is_told_everywhere() {
    let place = Place::new(expecting(FAILING, WORDS, ""));
    place.run(&["--as", BROKEN, FAILING]).success().stdout(
        contains(format!("passed (1 of {} checked): 0 passed, 0 failed", catalogue()))
            .and(contains("1 failed as expected"))
            .and(contains("base.toml:2: known since 1.0 (https://bugs.example.org/17)")),
    );
    let report = place.report();
    assert_eq!(report["conclusion"], "conformant");
    assert_eq!(report["counts"]["xfail"], 1);
    assert_eq!(report["counts"]["fail"], 0);
    let entry = &report["requirements"][0];
    assert_eq!(entry["verdict"], "xfail");
    assert!(entry["actual"].is_string() && entry["evidence"].is_object(), "{entry}");
    assert_eq!(
        entry["baseline"],
        json!({
            "file": "base.toml", "line": 2, "id": FAILING, "expected": "fail",
            "reason": "known since 1.0", "link": "https://bugs.example.org/17",
            "matches": ["exit non-zero"]
        })
    );
    let junit = place.junit();
    assert_eq!((junit.tests, junit.failures, junit.errors), (1, 0, 0));
    assert_eq!(junit.skipped, 1);
    let text = place.read("junit.xml");
    assert!(text.contains("type=\"xfail\"") && text.contains("known since 1.0"), "{text}");
    let summary = place.read("summary.md");
    assert!(
        summary.starts_with(&format!("## forkproof: passed (1 of {} checked)", catalogue())),
        "{summary}"
    );
    assert!(summary.contains("### Expected failures") && !summary.contains("### Failures"));
    assert!(summary.contains("known since 1.0 <https://bugs.example.org/17> (base.toml:2)"));
}

#[rstest]
#[case("auth/exact-key", "remove that entry")]
#[case("exact-key", "remove that entry")]
#[case("auth/exact*", "take it out of that entry's id, `auth/exact*`")]
fn a_pass_where_a_failure_was_expected_makes_the_run_fail(#[case] id: &str, #[case] remedy: &str) {
    let place = Place::new(expecting(id, "'cut off'", ""));
    let stale = format!("passes, although base.toml:2 expects it to fail: {remedy}");
    place.run(&["auth/exact-key"]).code(1).stdout(
        contains(&stale)
            .and(contains("not conformant: 0 passed, 0 failed"))
            .and(contains("1 passed unexpectedly")),
    );
    let report = place.report();
    assert_eq!(report["conclusion"], "not-conformant");
    assert_eq!(report["counts"]["xpass"], 1);
    assert_eq!(report["requirements"][0]["not_passed"], 0);
    assert_eq!(report["requirements"][0]["reason"], stale);
    assert_eq!(place.junit().failures, 1);
    let junit = place.read("junit.xml");
    assert!(junit.contains("type=\"xpass\"") && junit.contains("base.toml:2"), "{junit}");
    let summary = place.read("summary.md");
    assert!(summary.contains("### Failures") && summary.contains("Stale: passes"), "{summary}");
}

#[rstest]
#[case::other_words("'no such words'", false)]
#[case::one_of_two("['exit non-zero', 'no such words']", false)]
#[case::an_alternative("'no such words|exit non-zero'", true)]
#[case::both_of_two("['exit non-zero', 'exited with status 0|no such words']", true)]
fn words_decide_whether_it_is_the_known_failure(#[case] matches: &str, #[case] known: bool) {
    let place = Place::new(expecting(FAILING, matches, ""));
    let run = place.run(&["--as", BROKEN, FAILING]);
    if known {
        run.success();
        return;
    }
    run.code(1).stdout(contains("base.toml:2 expects another failure, with `"));
    let report = place.report();
    assert_eq!(report["requirements"][0]["verdict"], "fail");
    assert_eq!(report["requirements"][0]["baseline"]["line"], 2);
    assert_eq!(place.junit().failures, 1);
    assert!(place.read("junit.xml").contains("expects another failure"));
    assert!(place.read("summary.md").contains("Baseline: base.toml:2 expects another failure"));
}

#[test]
fn what_is_skipped_is_not_run_and_no_pass() {
    let baseline = "[[exception]]\nid = 'auth/wrong-key-refused'\nexpected = 'skip'\n\
                    reason = '''hangs\n  this machine'''\nlink = 'https://bugs.example.org/18'\n";
    let place = Place::new(baseline);
    let words =
        "skipped by the baseline base.toml:1: hangs this machine (https://bugs.example.org/18)";
    place
        .run(&["auth/wrong-key-refused", "auth/exact-key"])
        .success()
        .stdout(contains(
            "1 passed, 0 failed, 0 unsupported, 1 not run (1 skipped by the baseline)",
        ))
        .stdout(contains(words));
    let report = place.report();
    assert_eq!(report["counts"]["not-run"], 1);
    let entries = report["requirements"].as_array().unwrap();
    let skipped = entries.iter().find(|entry| entry["verdict"] == "not-run").unwrap();
    assert_eq!(skipped["reason"], words);
    assert_eq!(skipped["baseline"]["expected"], "skip");
    assert_eq!(place.junit().skipped, 1);

    // The server is not even started, and nothing else is no verdict.
    let marker = place.path("started");
    let server = place.script(&format!("touch '{}'; exit 7", marker.display()));
    let run = ["auth/wrong-key-refused", "--program", server.to_str().unwrap()];
    place.run(&run).code(3).stdout(contains("no verdict"));
    assert!(!marker.exists());
    // The script does what it is believed to do.
    place.run(&["auth/exact-key", "--program", server.to_str().unwrap()]).code(3);
    assert!(marker.exists());
}

#[rstest]
#[case(vec![HERE], true)]
#[case(vec![ELSEWHERE], false)]
#[case(vec![ELSEWHERE, HERE], true)]
#[case(vec!["*"], true)]
#[case(vec!["*-32bit"], cfg!(target_pointer_width = "32"))]
#[case(vec!["*-64bit"], cfg!(target_pointer_width = "64"))]
#[case(vec!["linux-x86"], cfg!(all(target_os = "linux", target_arch = "x86")))]
#[case(vec!["*-x86_64"], cfg!(target_arch = "x86_64"))]
#[case(vec!["linux-glibc"], cfg!(all(target_os = "linux", target_env = "gnu")))]
#[case(vec!["*-1[0-9][0-9]"], false)]
fn an_entry_holds_on_its_platforms_only(#[case] platforms: Vec<&str>, #[case] holds: bool) {
    let platforms = format!("platforms = {}", json!(platforms));
    let place = Place::new(expecting("auth/exact-key", "'cut off'", &platforms));
    let run = place.run(&["auth/exact-key"]);
    let verdict = if holds {
        run.code(1);
        "xpass"
    } else {
        run.success();
        "pass"
    };
    assert_eq!(place.report()["requirements"][0]["verdict"], verdict);
}

#[test]
fn a_failure_that_is_known_elsewhere_is_a_failure_here() {
    let elsewhere = format!("platforms = '{ELSEWHERE}*'");
    let place = Place::new(expecting(FAILING, WORDS, &elsewhere));
    place.run(&["--as", BROKEN, FAILING]).code(1).stdout(contains("0 passed, 1 failed"));
    assert_eq!(place.report()["requirements"][0].get("baseline"), None);
}

#[test]
fn one_requirement_may_have_entries_for_several_platforms() {
    let both = expecting(FAILING, WORDS, &format!("platforms = '{HERE}'"))
        + &expecting(FAILING, "'no such words'", &format!("platforms = '{ELSEWHERE}'"));
    let place = Place::new(both);
    place.run(&["--as", BROKEN, FAILING]).success();
}

#[test]
fn what_is_not_selected_is_not_missed() {
    let place = Place::new(expecting(FAILING, WORDS, ""));
    place.run(&["auth/exact-key"]).success().stdout(
        contains(format!("passed (1 of {} checked): 1 passed", catalogue()))
            .and(contains("as expected").not()),
    );
}

/// The condition is made here: a user namespace in which no network namespace can be had
/// (namespaces(7), `/proc/sys/user`).
#[cfg(target_os = "linux")]
#[test]
fn what_could_not_be_run_makes_no_entry_stale() {
    let id = "listen/ipv6-wildcard-under-either-default";
    let place = Place::new(expecting(id, "'cut off'", ""));
    Command::new("unshare")
        .current_dir(place.0.path())
        .args(["--user", "--map-root-user", "sh", "-c"])
        .arg("echo 0 >/proc/sys/user/max_net_namespaces && exec \"$0\" \"$@\"")
        .arg(env!("CARGO_BIN_EXE_forkproof"))
        .args(["run", id, "auth/exact-key", "--baseline", "base.toml", "--report", "report.json"])
        .assert()
        .success()
        .stdout(contains("1 passed, 0 failed, 0 unsupported, 1 not run, 0 errors  "));
    assert_eq!(place.report()["counts"]["not-run"], 1);
}

/// A server that lets only one client in, the first time that it is started: `once`, or always.
fn crowded(place: &Place, once: bool) -> String {
    let condition = if once {
        format!("mkdir '{}' 2>/dev/null", place.path("begun").display())
    } else {
        "true".to_owned()
    };
    let program = env!("CARGO_BIN_EXE_forkproof");
    let server = place.script(&format!(
        "if {condition}; then exec '{program}' chatd \"$@\" --port 0 --max-clients 1; fi\n\
         exec '{program}' chatd \"$@\""
    ));
    server.display().to_string()
}

#[rstest]
#[case::always(false, 0, 3)]
#[case::once(true, 1, 1)]
fn repetitions_are_judged_one_by_one(
    #[case] once: bool,
    #[case] status: i32,
    #[case] not_passed: usize,
) {
    let id = "processes/one-cluster-per-client";
    let place = Place::new(expecting(id, "'is let in and hears'", ""));
    let server = crowded(&place, once);
    let run = place.run(&[id, "--program", &server, "--repeat", "3"]).code(status);
    let report = place.report();
    let entry = &report["requirements"][0];
    assert_eq!(entry["runs"], 3);
    assert_eq!(entry["not_passed"], not_passed);
    if once {
        assert_eq!(entry["verdict"], "xpass");
        let stale = "passes in 2 of 3 runs, although base.toml:2 expects it to fail";
        assert!(entry["reason"].as_str().unwrap().starts_with(stale), "{entry}");
        run.stdout(contains(stale).and(contains("1 flaky")).and(contains("33 %")));
    } else {
        assert_eq!(entry["verdict"], "xfail");
        run.stdout(contains("1 failed as expected").and(contains("flaky").not()));
    }
}

#[test]
fn from_a_failure_to_a_baseline_in_use() {
    let place = Place::new("");
    let run = ["run", "--as", BROKEN, FAILING, "auth/exact-key", "--report"];
    place.forkproof(&[&run[..], &["first.json"]].concat()).code(1);
    let draft = ["baseline", "--from", "first.json", "--output", "draft.toml"];
    place.forkproof(&draft).success().stdout("").stderr("");
    let text = place.read("draft.toml");
    assert_eq!(text.matches("[[exception]]").count(), 1, "{text}");
    assert!(text.contains(&format!("id = \"{FAILING}\"")), "{text}");
    let line = 1 + text.lines().position(|line| line.starts_with("reason = \"TODO")).unwrap();

    // Nobody has thought about it yet.
    let again = [&run[..], &["second.json", "--baseline", "draft.toml"]].concat();
    place.forkproof(&again).code(2).stdout("").stderr(contains(format!(
        "forkproof: draft.toml:{line}: the reason still begins with TODO"
    )));

    let edited: Vec<&str> = text
        .lines()
        .map(|line| if line.starts_with("reason") { "reason = \"known\"" } else { line })
        .collect();
    std::fs::write(place.path("draft.toml"), edited.join("\n")).unwrap();
    place.forkproof(&again).success().stdout(contains("1 passed, 0 failed"));
    place
        .forkproof(&["diff", "first.json", "second.json"])
        .code(1)
        .stdout(contains(FAILING).and(contains("fail → xfail")).and(contains("exact-key").not()));

    // What is known already is in no draft.
    place
        .forkproof(&["baseline", "--from", "second.json"])
        .success()
        .stdout(contains("[[exception]]").not());
    // Mended: the entry is stale.
    place.forkproof(&["run", FAILING, "--baseline", "draft.toml"]).code(1);
}

#[test]
fn a_report_without_failures_gives_an_empty_baseline_that_works() {
    let place = Place::new("");
    place.forkproof(&["run", "auth/exact-key", "--report", "report.json"]).success();
    place.report();
    place.forkproof(&["baseline", "--from", "report.json", "--output", "new.toml"]).success();
    let text = place.read("new.toml");
    assert!(text.lines().all(|line| line.starts_with('#')), "{text}");
    assert!(text.contains("Nothing failed") && text.contains(HERE), "{text}");
    place.forkproof(&["run", "auth/exact-key", "--baseline", "new.toml"]).success();
}

/// A report as it was before there were baselines.
fn old_report() -> Value {
    let entry = |id: &str, level: &str| {
        json!({
            "id": id, "title": "t", "level": level, "clause": "c", "verdict": "fail",
            "runs": 1, "not_passed": 1, "duration_ms": 7, "trap": "t", "fix": "f",
            "expected": "bob hears \"what | he said\" (1 of 1)",
            "actual": "nothing\nafter 5.0 s; \u{1b}[31m"
        })
    };
    json!({
        "schema": "forkproof-report/1", "forkproof": "0.1.0",
        "started": "2026-11-21T05:00:00Z", "duration_ms": 1,
        "platform": {
            "system": "FreeBSD", "release": "14.3-RELEASE", "machine": "amd64",
            "distribution": null, "kernel_bits": 64, "userland_bits": 32, "libc": "FreeBSD libc",
            "virtualization": null, "emulated": null, "processors": 1, "file_system": "ufs",
            "root": false
        },
        "target": { "name": "reference", "program": "forkproof" },
        "options": { "jobs": 1, "repeat": 1, "slowness": 1.0 },
        "conclusion": "not-conformant", "interrupted": false,
        "counts": { "pass": 0, "fail": 2, "unsupported": 0, "not-run": 0, "error": 0 },
        "requirements": [entry("auth/exact-key", "must"), entry("auth/late-key-accepted", "may")]
    })
}

#[test]
fn old_reports_stay_valid_and_give_baselines() {
    let place = Place::new("");
    std::fs::write(place.path("report.json"), old_report().to_string()).unwrap();
    place.report();
    let output = place.forkproof(&["baseline", "--from", "report.json"]).success();
    let text = String::from_utf8(output.get_output().stdout.clone()).unwrap();
    assert!(text.contains("platforms = [\"freebsd-x86\"]"), "{text}");
    assert!(text.contains("freebsd-14.3"), "{text}");
    // Informative requirements fail no run.
    assert_eq!(text.matches("[[exception]]").count(), 1, "{text}");
    assert!(!text.contains('\u{1b}'), "{text}");
    let edited = text.replace("TODO: ", "").replace("freebsd-x86", HERE);
    std::fs::write(place.path("base.toml"), edited).unwrap();
    place.run(&["auth/exact-key"]).code(1).stdout(contains("passes, although base.toml:"));
}

#[test]
fn the_schema_wants_to_know_what_the_baseline_said() {
    let mut report = old_report();
    report["requirements"][0]["verdict"] = json!("xfail");
    assert!(!schema().is_valid(&report), "no reason, no baseline");
    report["requirements"][0]["reason"] = json!("base.toml:1: known");
    assert!(!schema().is_valid(&report), "no baseline");
    report["requirements"][0]["baseline"] = json!({
        "file": "base.toml", "line": 1, "id": "auth/*", "expected": "fail", "reason": "known"
    });
    assert!(schema().is_valid(&report));
    report["requirements"][0]["baseline"]["line"] = json!(0);
    assert!(!schema().is_valid(&report), "lines are counted from 1");
}

#[test]
fn a_baseline_is_not_overwritten_by_accident() {
    let place = Place::new("# mine\n");
    std::fs::write(place.path("report.json"), old_report().to_string()).unwrap();
    let write = ["baseline", "--from", "report.json", "--output", "base.toml"];
    place
        .forkproof(&write)
        .code(2)
        .stdout("")
        .stderr(contains("base.toml already exists").and(contains("--force")).and(one_line()));
    assert_eq!(place.read("base.toml"), "# mine\n");
    place.forkproof(&[&write[..], &["--force"]].concat()).success();
    assert!(place.read("base.toml").contains("auth/exact-key"));
    place
        .forkproof(&["baseline", "--from", "report.json", "--output", "no/such/base.toml"])
        .code(2)
        .stderr(contains("cannot write no/such/base.toml").and(one_line()));
}

fn changed(place: &str, value: Value) -> Option<String> {
    let mut report = old_report();
    *report.pointer_mut(place).unwrap() = value;
    Some(report.to_string())
}

#[rstest]
#[case::missing(None, "No such file")]
#[case::not_json(Some("report".to_owned()), "is not JSON")]
#[case::no_schema(Some("{}".to_owned()), "has no schema: expected `forkproof-report/1`")]
#[case::facts(changed("/schema", json!("forkproof-probe/1")), "holds facts of an operating system (`forkproof-probe/1`")]
#[case::not_as_it_says(changed("/counts", json!([])), "is not as its schema says")]
#[case::unknown_verdict(changed("/requirements/0/verdict", json!("failed")), "is not as its schema says")]
#[case::unknown_id(changed("/requirements/0/id", json!("auth/exact-kee")), "no requirement `auth/exact-kee`: did you mean `auth/exact-key`")]
#[case::no_words(changed("/requirements/0/actual", json!(null)), "`auth/exact-key` failed without `expected` and `actual`")]
fn reports_that_give_no_baseline(#[case] report: Option<String>, #[case] words: &str) {
    let place = Place::new("");
    if let Some(report) = report {
        std::fs::write(place.path("bad.json"), report).unwrap();
    }
    place
        .forkproof(&["baseline", "--from", "bad.json", "--output", "new.toml"])
        .code(2)
        .stdout("")
        .stderr(contains("forkproof: bad.json: ").and(contains(words)).and(one_line()));
    assert!(!Path::exists(&place.path("new.toml")));
}
