//! `forkproof report` as its users meet it.
//!
//! One file: all of it stands on the same two made-up reports.

#[path = "common/junit.rs"]
mod junit;

use std::path::{Path, PathBuf};

use assert_cmd::Command;
use predicates::prelude::*;
use predicates::str::contains;
use rstest::rstest;
use serde_json::{Value, json};
use tempfile::TempDir;

fn forkproof() -> Command {
    Command::new(env!("CARGO_BIN_EXE_forkproof"))
}

/// `(id, verdict)` of each requirement; what a verdict needs besides is filled in.
type Verdicts<'a> = &'a [(&'a str, &'a str)];

const DEBIAN: Verdicts<'_> = &[
    ("listen/port-zero", "pass"),
    ("listen/rebind-over-time-wait", "pass"),
    ("signals/handler-persists", "pass"),
    ("locking/readers-share", "fail"),
    ("auth/exact-key", "pass"),
];
const FREEBSD: Verdicts<'_> = &[
    ("listen/port-zero", "pass"),
    ("listen/rebind-over-time-wait", "unsupported"),
    ("signals/handler-persists", "fail"),
    ("locking/readers-share", "fail"),
];

fn debian() -> Value {
    json!({
        "system": "Linux", "release": "6.12.1", "machine": "x86_64",
        "distribution": "Debian GNU/Linux 13 (trixie)", "kernel_bits": 64, "userland_bits": 64,
        "libc": "glibc", "virtualization": null, "emulated": false, "processors": 2,
        "file_system": "ext4", "root": false
    })
}

fn freebsd() -> Value {
    json!({
        "system": "FreeBSD", "release": "14.2-RELEASE", "machine": "i386",
        "distribution": null, "kernel_bits": 32, "userland_bits": 32,
        "libc": "FreeBSD libc", "virtualization": null, "emulated": true, "processors": 1,
        "file_system": "ufs", "root": true
    })
}

fn report(platform: Value, verdicts: Verdicts<'_>) -> Value {
    let requirements: Vec<Value> = verdicts
        .iter()
        .map(|(id, verdict)| {
            let mut entry = json!({
                "id": id, "title": format!("What {id} says"), "level": "must",
                "clause": "POSIX.1-2024", "verdict": verdict, "runs": 1,
                "not_passed": u8::from(*verdict != "pass"), "duration_ms": 7,
            });
            match *verdict {
                "pass" => {}
                "fail" => {
                    entry["expected"] = "the second message arrives".into();
                    entry["actual"] = "nothing after 5 s".into();
                    entry["trap"] = "sa_flags was never initialised".into();
                    entry["fix"] = "initialise it".into();
                    entry["evidence"] = json!({
                        "timeline": ["1.000 ms  bob: hears nothing"], "processes": ["7 chatd"],
                        "locks": [], "output": ["chatd[7]: listening"],
                    });
                }
                _ => entry["reason"] = format!("why {id} is {verdict}").into(),
            }
            entry
        })
        .collect();
    let has = |word| verdicts.iter().any(|(_, verdict)| *verdict == word);
    let mut counts = serde_json::Map::new();
    for word in ["pass", "fail", "unsupported", "not-run", "error"] {
        counts.insert(word.into(), verdicts.iter().filter(|(_, v)| *v == word).count().into());
    }
    let conclusion = if has("fail") {
        "not-conformant"
    } else if has("error") || !has("pass") {
        "no-verdict"
    } else {
        "conformant"
    };
    json!({
        "schema": "forkproof-report/1", "forkproof": "0.1.0", "started": "2026-11-21T05:00:00Z",
        "duration_ms": 1234, "platform": platform,
        "target": { "name": "reference", "program": "/usr/bin/forkproof" },
        "options": { "jobs": 6, "repeat": 1, "slowness": 1.0 },
        "conclusion": conclusion, "interrupted": false, "counts": counts,
        "requirements": requirements,
    })
}

fn write(dir: &TempDir, name: &str, report: &Value) -> PathBuf {
    let path = dir.path().join(name);
    std::fs::create_dir_all(path.parent().unwrap()).unwrap();
    std::fs::write(&path, report.to_string()).unwrap();
    path
}

/// Debian and FreeBSD in files of these names.
fn two(dir: &TempDir) -> [PathBuf; 2] {
    [
        write(dir, "debian.json", &report(debian(), DEBIAN)),
        write(dir, "freebsd.json", &report(freebsd(), FREEBSD)),
    ]
}

/// The text of one output, and the exit status.
fn output(dir: &TempDir, option: &str, arguments: &[&Path], more: &[&str]) -> (String, i32) {
    let path = dir.path().join(format!("out{option}"));
    let run = forkproof()
        .arg("report")
        .args(arguments)
        .args(more)
        .arg(option)
        .arg(&path)
        .output()
        .unwrap();
    let errors = String::from_utf8(run.stderr).unwrap();
    assert_eq!(errors, "");
    // Quotes and slashes are escaped on a page; nothing depends on that.
    let text = std::fs::read_to_string(path).unwrap().replace("&#x2f;", "/");
    (text.replace("&#x27;", "'"), run.status.code().unwrap())
}

fn paths(files: &[PathBuf]) -> Vec<&Path> {
    files.iter().map(PathBuf::as_path).collect()
}

/// Where each of the words stands, which must be in this order.
fn in_order(text: &str, words: &[&str]) {
    let mut from = 0;
    for word in words {
        match text[from..].find(word) {
            Some(at) => from += at + word.len(),
            None => panic!("`{word}` is not after the words before it in\n{text}"),
        }
    }
}

#[test]
fn what_differs_comes_first_then_what_fails_everywhere() {
    let dir = tempfile::tempdir().unwrap();
    let files = two(&dir);
    let sections = [
        "What differs between platforms",
        "signals/handler-persists", // a failure before what is unsupported
        "listen/rebind-over-time-wait",
        "Failures on every platform",
        "locking/readers-share",
        "The same on every platform",
    ];
    let terminal = forkproof().arg("report").args(&files).assert().code(1);
    let text = String::from_utf8(terminal.get_output().stdout.clone()).unwrap();
    in_order(&text, &sections);
    in_order(&text, &["signals/handler-persists", "✓ pass", "✗ fail", "2: nothing after 5 s"]);
    assert!(!text.contains("auth/exact-key"), "the rest is only counted: {text}");

    let (markdown, _) = output(&dir, "--markdown", &paths(&files), &[]);
    in_order(&markdown, &sections);
    in_order(&markdown, &["| auth/exact-key | ✓ pass | · not selected |"]);

    let (page, status) = output(&dir, "--html", &paths(&files), &[]);
    assert_eq!(status, 1);
    in_order(&page, &sections);
    in_order(
        &page,
        &[
            "Debian GNU/Linux 13 (trixie)",
            "64-bit (x86_64)",
            "native",
            "FreeBSD 14.2-RELEASE",
            "32-bit kernel (i386)",
            "emulated",
        ],
    );
    // Evidence, trap and fix of the failure, where its cell's link leads.
    in_order(
        &page,
        &[
            "href=\"#signals/handler-persists/2\"",
            "id=\"signals/handler-persists/2\"",
            "the second message arrives",
            "nothing after 5 s",
            "bob: hears nothing",
            "7 chatd",
            "chatd[7]: listening",
        ],
    );
}

/// They are what is usual, and not what was found: in the words of the terminal.
#[test]
fn cause_and_fix_are_called_usual() {
    let dir = tempfile::tempdir().unwrap();
    let [debian, freebsd] = two(&dir);
    for option in ["--html", "--markdown"] {
        let (text, _) = output(&dir, option, &[&debian, &freebsd], &[]);
        in_order(&text, &["Usual cause", "never initialised", "Usual fix"]);
        assert!(!text.contains("Trap"), "{option}");
    }
}

#[test]
fn the_legend_is_closed_and_a_column_tells_its_result_in_its_head() {
    let dir = tempfile::tempdir().unwrap();
    let (page, _) = output(&dir, "--html", &paths(&two(&dir)), &[]);
    assert!(page.contains("<details class=\"legend\">"), "it is closed");
    let (before, matrix) = page.split_once("<thead>").unwrap();
    assert!(before.contains("What differs between platforms"));
    let head = matrix.split("</thead>").next().unwrap();
    in_order(
        head,
        &[
            "Debian GNU/Linux 13",
            "native",
            "conformant",
            "pass",
            "FreeBSD 14.2",
            "emulated",
            "not conformant",
            "2 fail",
        ],
    );
    // Rows that fail everywhere are parted by area, each with its number.
    in_order(&page, &["Failures on every platform", "locking <span class=\"count\">1</span>"]);
}

/// One for all columns, or each with the column that it is for.
#[rstest]
#[case(None, &["forkproof run signals/handler-persists --keep"])]
#[case(
    Some("sysv-signal"),
    &[
        "native: <code class=\"command\">forkproof run signals/handler-persists --keep",
        "as sysv-signal: <code class=\"command\">forkproof run signals/handler-persists --as sysv-signal --keep",
    ]
)]
fn a_panel_has_the_command_that_runs_it_again(
    #[case] personality: Option<&str>,
    #[case] commands: &[&str],
) {
    let dir = tempfile::tempdir().unwrap();
    let mut other = report(freebsd(), FREEBSD);
    if let Some(personality) = personality {
        other["options"]["personality"] = personality.into();
    }
    let files =
        [write(&dir, "debian.json", &report(debian(), DEBIAN)), write(&dir, "bsd.json", &other)];
    let (page, _) = output(&dir, "--html", &paths(&files), &[]);
    let panel = page.split("id=\"signals/handler-persists\"").nth(1).unwrap();
    let panel = panel.split("</article>").next().unwrap();
    in_order(panel, commands);
    assert_eq!(panel.matches("<dt>Again</dt>").count(), commands.len(), "{panel}");
}

/// A page calls a field as the terminal does.
#[rstest]
#[case("error", "Error")]
#[case("unsupported", "Reason")]
fn a_reason_is_called_as_at_the_terminal(#[case] verdict: &str, #[case] name: &str) {
    let dir = tempfile::tempdir().unwrap();
    let file = write(
        &dir,
        "r.json",
        &report(debian(), &[("auth/exact-key", "pass"), ("auth/early-close", verdict)]),
    );
    let (page, _) = output(&dir, "--html", &[&file], &[]);
    let said = format!("<dt>{name}</dt><dd>why auth/early-close is {verdict}");
    assert!(page.contains(&said), "{page}");
}

#[test]
fn every_link_within_the_page_leads_somewhere_and_nothing_leads_out() {
    let dir = tempfile::tempdir().unwrap();
    let (page, _) = output(&dir, "--html", &paths(&two(&dir)), &[]);
    let values = |name: &str| -> Vec<String> {
        page.split(&format!(" {name}=\""))
            .skip(1)
            .map(|rest| rest.split('"').next().unwrap().to_owned())
            .collect()
    };
    let ids = values("id");
    let links = values("href");
    assert!(links.len() > 10);
    for link in links {
        let id = link.strip_prefix('#').unwrap_or_else(|| panic!("{link} leads out"));
        assert_eq!(ids.iter().filter(|known| *known == id).count(), 1, "{link}");
    }
    assert!(values("src").is_empty());
    assert!(values("style").is_empty(), "the policy forbids inline styles");
    assert!(!page.contains("http://") && !page.contains("https://"));
}

#[test]
fn the_policy_allows_this_style_and_this_script_alone() {
    let dir = tempfile::tempdir().unwrap();
    let (page, _) = output(&dir, "--html", &paths(&two(&dir)), &[]);
    let between = |start: &str, end: &str| {
        let from = page.find(start).unwrap() + start.len();
        page[from..from + page[from..].find(end).unwrap()].to_owned()
    };
    let hash = |text: String| {
        use base64ct::Encoding;
        use sha2::Digest;
        base64ct::Base64::encode_string(&sha2::Sha256::digest(text.as_bytes()))
    };
    let style = hash(between("<style>", "</style>"));
    let script = hash(between("<script>", "</script>"));
    // The template escapes the quotes.
    let policy = between("Content-Security-Policy\" content=\"", "\">");
    assert_eq!(
        policy,
        format!(
            "default-src 'none'; style-src 'sha256-{style}'; script-src 'sha256-{script}'; \
             base-uri 'none'; form-action 'none'"
        )
    );
    assert_eq!(page.matches("<script").count(), 1);
}

#[test]
fn what_reports_say_cannot_become_markup() {
    const EVIL: &str = "</pre><script>alert(1)</script>\"'&|`*\u{1b}[31m\u{202e}";
    let dir = tempfile::tempdir().unwrap();
    let mut evil = report(freebsd(), FREEBSD);
    evil["platform"]["distribution"] = EVIL.into();
    evil["platform"]["machine"] = EVIL.into();
    evil["target"]["name"] = EVIL.into();
    evil["forkproof"] = EVIL.into();
    for entry in evil["requirements"].as_array_mut().unwrap() {
        entry["title"] = EVIL.into();
        entry["clause"] = EVIL.into();
        entry["note"] = EVIL.into();
        if entry["verdict"] == "fail" {
            for name in ["expected", "actual", "trap", "fix"] {
                entry[name] = EVIL.into();
            }
            for name in ["timeline", "processes", "locks", "output"] {
                entry["evidence"][name] = json!([EVIL]);
            }
        } else if entry["verdict"] != "pass" {
            entry["reason"] = EVIL.into();
        }
    }
    let file = write(&dir, "evil.json", &evil);
    let debian = write(&dir, "debian.json", &report(debian(), DEBIAN));
    let files = [file.as_path(), debian.as_path()];
    let title = ["--title", EVIL];

    let (page, _) = output(&dir, "--html", &files, &title);
    assert_eq!(page.matches("<script").count(), 1, "only the page's own");
    assert!(page.matches("&lt;script&gt;alert(1)").count() > 20, "shown as it was written");
    assert!(!page.contains(['\u{1b}', '\u{202e}']));

    let (markdown, _) = output(&dir, "--markdown", &files, &title);
    assert!(!markdown.replace("\\<", "").contains("<script"), "{markdown}");
    assert!(!markdown.contains(['\u{1b}', '\u{202e}']));
    for line in markdown.lines().filter(|line| line.starts_with("| 1 |")) {
        let bars = line.replace("\\|", "").matches('|').count();
        assert_eq!(bars, 5, "{line}");
    }

    let (xml, _) = output(&dir, "--junit", &files, &title);
    junit::suites(&xml);

    let terminal = forkproof().arg("report").args(files).output().unwrap();
    let text = String::from_utf8(terminal.stdout).unwrap();
    assert!(!text.contains(['\u{1b}', '\u{202e}']), "{text:?}");
}

#[test]
fn the_same_reports_give_the_same_bytes() {
    let dir = tempfile::tempdir().unwrap();
    let files = two(&dir);
    for option in ["--html", "--markdown", "--junit"] {
        let first = output(&dir, option, &paths(&files), &[]);
        assert_eq!(first, output(&dir, option, &paths(&files), &[]), "{option}");
    }
}

#[test]
fn junit_has_a_suite_for_each_column() {
    let dir = tempfile::tempdir().unwrap();
    let (xml, _) = output(&dir, "--junit", &paths(&two(&dir)), &[]);
    let suites = junit::suites(&xml);
    let suites: Vec<(&str, usize, usize, usize)> = suites
        .iter()
        .map(|suite| (suite.name.as_str(), suite.tests, suite.failures, suite.skipped))
        .collect();
    assert_eq!(
        suites,
        [
            ("Debian GNU/Linux 13 (trixie), 64-bit (x86_64), native", 5, 1, 0),
            // One is unsupported, one was not selected.
            ("FreeBSD 14.2-RELEASE, 32-bit kernel (i386), emulated", 5, 2, 2),
        ]
    );
}

#[rstest]
#[case::conformant(&[("auth/exact-key", "pass")], &[("auth/exact-key", "unsupported"), ("auth/early-close", "pass")], 0)]
#[case::failure(&[("auth/exact-key", "pass")], &[("auth/exact-key", "fail")], 1)]
#[case::no_verdict(&[("auth/exact-key", "pass")], &[("auth/exact-key", "error")], 3)]
#[case::failure_outweighs(&[("auth/exact-key", "error")], &[("auth/exact-key", "fail")], 1)]
fn the_status_is_that_of_the_worst_column(
    #[case] first: Verdicts<'_>,
    #[case] second: Verdicts<'_>,
    #[case] status: i32,
    #[values("", "--html", "--markdown", "--junit")] option: &str,
) {
    let dir = tempfile::tempdir().unwrap();
    let a = write(&dir, "a.json", &report(debian(), first));
    let b = write(&dir, "b.json", &report(freebsd(), second));
    if option.is_empty() {
        forkproof().arg("report").arg(a).arg(b).assert().code(status);
    } else {
        assert_eq!(output(&dir, option, &[&a, &b], &[]).1, status);
    }
}

#[rstest]
#[case::empty("", "is empty: expected a report (`forkproof-report/1`)")]
#[case::blank(" \n", "is empty")]
#[case::no_json("<testsuites/>", "is not JSON: expected value at line 1 column 1")]
#[case::cut("{\"schema\": \"forkproof-report/1\",", "is not JSON: EOF")]
#[case::no_schema("[]", "has no schema: expected `forkproof-report/1`")]
#[case::other_schema(
    "{\"schema\": \"forkproof-report/9\"}",
    "its schema is `forkproof-report/9`: expected `forkproof-report/1`"
)]
#[case::probe(
    "{\"schema\": \"forkproof-probe/1\"}",
    "holds facts of an operating system (`forkproof-probe/1`, from `forkproof probe`), not a report"
)]
#[case::lacking(
    "{\"schema\": \"forkproof-report/1\"}",
    "is not as its schema says: missing field `forkproof`"
)]
fn a_file_that_is_no_report_is_named(#[case] content: &str, #[case] words: &str) {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("bad.json");
    std::fs::write(&path, content).unwrap();
    refused(&dir, &[path.to_str().unwrap()], "bad.json: ", words);
}

#[rstest]
#[case::unknown_verdict(|r: &mut Value| r["requirements"][2]["verdict"] = "perhaps".into(), "unknown variant `perhaps`")]
#[case::type_of_a_member(|r: &mut Value| r["duration_ms"] = "long".into(), "invalid type: string \"long\"")]
#[case::id(|r: &mut Value| r["requirements"][0]["id"] = "<b>/x".into(), "`<b>/x` is no requirement's id")]
#[case::twice(|r: &mut Value| r["requirements"][0]["id"] = "auth/exact-key".into(), "has `auth/exact-key` twice")]
#[case::counts(|r: &mut Value| r["counts"]["fail"] = 2.into(), "counts 2 requirements as fail, and has 1")]
#[case::conclusion(|r: &mut Value| r["conclusion"] = "conformant".into(), "says that it is conformant, and `locking/readers-share` failed")]
fn a_report_that_no_run_writes_is_refused(#[case] alter: fn(&mut Value), #[case] words: &str) {
    let dir = tempfile::tempdir().unwrap();
    let mut altered = report(debian(), DEBIAN);
    alter(&mut altered);
    let path = write(&dir, "bad.json", &altered);
    refused(&dir, &[path.to_str().unwrap()], "bad.json: ", words);
}

/// Together with a good report, these arguments are refused in one line, and nothing is written.
fn refused(dir: &TempDir, arguments: &[&str], file: &str, words: &str) {
    let good = write(dir, "good.json", &report(debian(), DEBIAN));
    let page = dir.path().join("page.html");
    std::fs::write(&page, "old").unwrap();
    forkproof()
        .arg("report")
        .arg(good)
        .args(arguments)
        .arg("--html")
        .arg(&page)
        .assert()
        .code(2)
        .stdout("")
        .stderr(
            predicate::str::starts_with("forkproof: ")
                .and(contains(file))
                .and(contains(words))
                .and(predicate::function(|text: &str| text.lines().count() == 1)),
        );
    assert_eq!(std::fs::read_to_string(page).unwrap(), "old");
    assert!(
        std::fs::read_dir(dir.path()).unwrap().all(|entry| !entry
            .unwrap()
            .file_name()
            .to_string_lossy()
            .starts_with(".forkproof")),
        "nothing half written is left"
    );
}

#[rstest]
#[case::twice("debian.json debian.json", "debian.json: the same file twice")]
#[case::twice_by_another_way(
    "debian.json ./debian.json",
    "debian.json and ./debian.json: the same file twice"
)]
#[case::twice_labelled("A=debian.json B=debian.json", "debian.json: the same file twice")]
#[case::missing("nowhere.json", "nowhere.json: No such file")]
#[case::directory(".", ".: Is a directory")]
#[case::label("A=debian.json A=freebsd.json", "two columns are called `A`")]
#[case::empty_label("=debian.json", "=debian.json: the label is empty: write LABEL=FILE")]
#[case::no_file("A=", "A=: the file is missing: write LABEL=FILE")]
#[case::over_a_report(
    "debian.json --markdown debian.json",
    "cannot write debian.json: it is read, too"
)]
#[case::two_outputs("debian.json --html x --markdown ./x", "cannot write two outputs to ./x")]
#[case::no_directory(
    "debian.json --html ok.html --junit no/x.xml",
    "cannot write no/x.xml: No such file"
)]
#[case::device("debian.json --junit /dev/null", "cannot write /dev/null: it is not a regular file")]
fn a_wrong_command_is_one_line(#[case] arguments: &str, #[case] words: &str) {
    let dir = tempfile::tempdir().unwrap();
    let [debian, _] = two(&dir);
    let before = std::fs::read_to_string(&debian).unwrap();
    forkproof()
        .current_dir(dir.path())
        .arg("report")
        .args(arguments.split(' '))
        .assert()
        .code(2)
        .stdout("")
        .stderr(contains(words).and(predicate::function(|text: &str| text.lines().count() == 1)));
    assert_eq!(std::fs::read_to_string(&debian).unwrap(), before);
    assert_eq!(std::fs::read_dir(dir.path()).unwrap().count(), 2, "nothing was written");
}

#[test]
fn labels_tell_columns_apart() {
    let dir = tempfile::tempdir().unwrap();
    let mut other = report(debian(), DEBIAN);
    other["target"]["name"] = "papayachat".into();
    let mut musl = report(debian(), DEBIAN);
    musl["platform"]["libc"] = "musl".into();
    let mut narrow = report(debian(), DEBIAN);
    narrow["platform"]["userland_bits"] = 32.into();
    let mut unknown = report(debian(), DEBIAN);
    unknown["platform"]["emulated"] = Value::Null;
    let files = [
        write(&dir, "a/report.json", &report(debian(), DEBIAN)),
        write(&dir, "b/report.json", &report(debian(), DEBIAN)),
        write(&dir, "musl.json", &musl),
        write(&dir, "other.json", &other),
        write(&dir, "narrow.json", &narrow),
        write(&dir, "unknown.json", &unknown),
    ];
    let named =
        format!("Named here={}", write(&dir, "n.json", &report(debian(), DEBIAN)).display());
    let (xml, _) = output(&dir, "--junit", &paths(&files), &[&named]);
    let suites = junit::suites(&xml);
    let labels: Vec<&str> = suites.iter().map(|suite| suite.name.as_str()).collect();
    const D: &str = "Debian GNU/Linux 13 (trixie)";
    assert_eq!(
        labels,
        [
            format!("{D}, 64-bit (x86_64), native, reference, glibc, a/report.json"),
            format!("{D}, 64-bit (x86_64), native, reference, glibc, b/report.json"),
            format!("{D}, 64-bit (x86_64), native, reference, musl"),
            format!("{D}, 64-bit (x86_64), native, papayachat"),
            format!("{D}, 32-bit userland on a 64-bit kernel (x86_64), native, reference"),
            format!("{D}, 64-bit (x86_64), reference"),
            "Named here".to_owned(),
        ]
    );
}

#[test]
fn other_versions_and_unselected_requirements_are_said() {
    let dir = tempfile::tempdir().unwrap();
    let [debian, freebsd] = two(&dir);
    let mut old: Value = serde_json::from_str(&std::fs::read_to_string(&freebsd).unwrap()).unwrap();
    old["forkproof"] = "0.0.9".into();
    std::fs::write(&freebsd, old.to_string()).unwrap();
    forkproof().arg("report").arg(&debian).arg(&freebsd).assert().stdout(
        contains("different versions of forkproof (0.1.0, 0.0.9)").and(contains(
            "not selected, or not reached: 1 on FreeBSD 14.2-RELEASE, 32-bit kernel",
        )),
    );
    let (page, _) = output(&dir, "--html", &[&debian, &freebsd], &[]);
    in_order(
        &page,
        &[
            "different versions of forkproof (0.1.0, 0.0.9)",
            "id=\"row/auth/exact-key\"",
            "not selected",
        ],
    );
}

#[test]
fn a_label_that_another_column_has_by_itself_is_refused() {
    let dir = tempfile::tempdir().unwrap();
    let [debian, freebsd] = two(&dir);
    let labelled =
        format!("Debian GNU/Linux 13 (trixie), 64-bit (x86_64), native={}", freebsd.display());
    forkproof()
        .arg("report")
        .arg(debian)
        .arg(labelled)
        .assert()
        .code(2)
        .stderr(contains("two columns are called `Debian GNU/Linux 13 (trixie), 64-bit"));
}

#[test]
fn an_interrupted_run_and_a_flaky_requirement_are_shown_as_such() {
    let dir = tempfile::tempdir().unwrap();
    let mut cut = report(debian(), &[("auth/exact-key", "pass"), ("auth/early-close", "error")]);
    cut["interrupted"] = true.into();
    cut["requirements"][1]["runs"] = 5.into();
    cut["requirements"][1]["not_passed"] = 2.into();
    let file = write(&dir, "cut.json", &cut);
    let (page, status) = output(&dir, "--html", &[&file], &[]);
    assert_eq!(status, 3);
    in_order(&page, &["no verdict, because the run was interrupted", "no verdict: interrupted"]);
    in_order(
        &page,
        &["flaky: 2 of 5", "why auth/early-close is error", "2 of 5 runs did not pass"],
    );
    forkproof().arg("report").arg(&file).assert().code(3).stdout(contains("interrupted"));
}

#[test]
fn a_requirement_of_another_catalogue_has_its_place() {
    let dir = tempfile::tempdir().unwrap();
    let future = &[
        ("quantum/entangled", "pass"),
        ("auth/teleported-key", "pass"),
        ("auth/exact-key", "pass"),
        ("listen/port-zero", "pass"),
    ];
    let file = write(&dir, "r.json", &report(debian(), future));
    let (markdown, status) = output(&dir, "--markdown", &[&file], &[]);
    assert_eq!(status, 0);
    in_order(
        &markdown,
        &["listen/port-zero", "auth/exact-key", "auth/teleported-key", "quantum/entangled"],
    );
    assert!(!markdown.contains("differ"), "there is one column: {markdown}");
}

#[test]
fn a_real_run_has_a_page() {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("auth.json");
    forkproof().args(["run", "auth", "--report"]).arg(&file).assert().code(0);
    let freebsd =
        write(&dir, "freebsd.json", &report(freebsd(), &[("auth/exact-key", "unsupported")]));
    // Nothing holds in the second one, but nobody says so either.
    let (page, status) = output(&dir, "--html", &[&file, &freebsd], &["--title", "Nightly"]);
    assert_eq!(status, 3);
    in_order(&page, &["<title>Nightly</title>", "What differs", "auth/exact-key", "unsupported"]);
    in_order(&page, &["<strong>auth</strong>", "pass"]);
}
