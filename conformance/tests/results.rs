//! Results that are kept: those in `conformance/results`, the README's table of them, and the pages
//! that are made from such a directory.

use std::path::{Path, PathBuf};

use assert_cmd::Command;
use predicates::prelude::*;
use predicates::str::contains;
use rstest::rstest;
use serde_json::{Value, json};

fn forkproof() -> Command {
    Command::new(env!("CARGO_BIN_EXE_forkproof"))
}

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap()
}

fn kept() -> PathBuf {
    root().join("conformance/results")
}

/// The JSON files of `conformance/results`.
fn files() -> Vec<PathBuf> {
    let folders = std::fs::read_dir(kept()).unwrap().map(|entry| entry.unwrap().path());
    let folders = folders.filter(|path| path.is_dir());
    let files = folders.flat_map(|folder| std::fs::read_dir(folder).unwrap());
    let files = files.map(|entry| entry.unwrap().path());
    files.filter(|path| path.extension().is_some_and(|end| end == "json")).collect()
}

fn read(path: &Path) -> Value {
    serde_json::from_str(&std::fs::read_to_string(path).unwrap()).unwrap()
}

/// Pages of a directory of results, in a directory.
fn pages(format: &str, results: &Path) -> tempfile::TempDir {
    let dir = tempfile::tempdir().unwrap();
    forkproof()
        .args(["list", "--format", format, "--output"])
        .arg(dir.path())
        .arg("--results")
        .arg(results)
        .assert()
        .success();
    dir
}

fn page(dir: &tempfile::TempDir, name: &str) -> String {
    std::fs::read_to_string(dir.path().join(name)).unwrap_or_else(|e| panic!("{name}: {e}"))
}

/// What is kept can be read by this version, and is as the schemas say.
#[test]
fn what_is_kept_can_be_read() {
    let schemas = ["report", "probe"].map(|name| {
        let path = format!("conformance/schema/forkproof-{name}-1.schema.json");
        jsonschema::validator_for(&read(&root().join(path))).unwrap()
    });
    let mut reports = Vec::new();
    for path in files() {
        let document = read(&path);
        let schema = &schemas[usize::from(path.ends_with("facts.json"))];
        let errors: Vec<String> = schema.iter_errors(&document).map(|e| e.to_string()).collect();
        assert!(errors.is_empty(), "{}: {errors:?}", path.display());
        if document["schema"] == "forkproof-report/1" {
            reports.push(path);
        }
    }
    assert!(reports.len() >= 2);
    let matrix = forkproof().arg("report").args(&reports).output().unwrap();
    assert!(matches!(matrix.status.code(), Some(0 | 1)), "{matrix:?}");
}

/// Nothing is told of the machines that is no part of the platform.
#[test]
fn what_is_kept_tells_of_no_machine() {
    for path in files() {
        let document = read(&path);
        let shown = path.display();
        let release = document["platform"]["release"].as_str().unwrap();
        let tail = release.trim_start_matches(|c: char| c.is_ascii_digit() || c == '.');
        let published = ["", "-RELEASE", "-STABLE", "-CURRENT"].contains(&tail)
            || tail.starts_with('-') && tail[1..].starts_with(|c: char| c.is_ascii_digit())
            || tail.starts_with("-RELEASE-p");
        assert!(published, "{shown}: {release}");
        let mut told = vec![document["target"].to_string(), document["options"].to_string()];
        for row in document["requirements"].as_array().into_iter().flatten() {
            for field in ["evidence", "directory"] {
                assert!(row[field].is_null(), "{shown}: {field} of {}", row["id"]);
            }
            told.extend(["reason", "expected", "actual", "note"].map(|name| row[name].to_string()));
        }
        for row in document["facts"].as_array().into_iter().flatten() {
            told.push(row["measured"].to_string());
        }
        for words in told {
            for place in ["/home/", "/root/", "/tmp/", "/work/", "/var/tmp/", "\"/"] {
                assert!(
                    !words.contains(place) || words.starts_with("\"/proc/"),
                    "{shown}: {words}"
                );
            }
        }
    }
}

/// `.ci/results readme` writes it.
#[test]
fn the_readme_has_the_table_of_what_is_kept() {
    let dir = pages("markdown", &kept());
    let platforms = page(&dir, "platforms.md");
    let section = platforms.split("## In short\n\n").nth(1).unwrap();
    let table: Vec<&str> = section.lines().take_while(|line| line.starts_with('|')).collect();
    assert!(table.len() >= 2 + 2, "{table:?}");
    let readme = std::fs::read_to_string(root().join("README.md")).unwrap();
    let expected = format!("\n{}\n\n", table.join("\n"));
    assert!(readme.contains(&expected), "README.md needs this table:\n{expected}");
}

/// A directory of made-up results.
struct Results(tempfile::TempDir);

impl Results {
    fn new() -> Self {
        Self(tempfile::tempdir().unwrap())
    }

    fn write(&self, path: &str, text: impl ToString) -> &Self {
        let path = self.0.path().join(path);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(path, text.to_string()).unwrap();
        self
    }

    fn platform(&self, id: &str) -> &Self {
        let about = format!("name = \"<{id}>\"\ncommit = \"abc\"\nhow = \"by hand\"\n");
        self.write(&format!("{id}/platform.toml"), about)
    }
}

fn platform(root: bool) -> Value {
    json!({
        "system": "Linux", "release": "6.1", "machine": "x86_64", "distribution": "Made Up 1",
        "kernel_bits": 64, "userland_bits": 32, "libc": "musl", "virtualization": null,
        "emulated": null, "processors": 1, "file_system": "ext4", "root": root,
    })
}

/// A report with these verdicts.
fn report(root: bool, verdicts: &[(&str, &str)]) -> Value {
    let mut counts = serde_json::Map::new();
    for (_, verdict) in verdicts {
        let before = counts.get(*verdict).and_then(Value::as_u64).unwrap_or(0);
        counts.insert((*verdict).to_owned(), json!(before + 1));
    }
    let failed = counts.contains_key("fail");
    let rows = verdicts.iter().map(|(id, verdict)| {
        json!({
            "id": id, "title": "t", "level": "must", "clause": "c", "verdict": verdict,
            "runs": 1, "not_passed": u8::from(*verdict != "pass"), "duration_ms": 1,
        })
    });
    json!({
        "schema": "forkproof-report/1", "forkproof": "0.1.0",
        "started": "2026-11-21T05:00:00Z", "duration_ms": 1,
        "platform": platform(root),
        "target": { "name": "reference", "program": "forkproof" },
        "options": { "jobs": 1, "repeat": 1, "slowness": 1.0 },
        "conclusion": if failed { "not-conformant" } else { "conformant" },
        "interrupted": false, "counts": counts,
        "requirements": rows.collect::<Vec<_>>(),
    })
}

fn facts(values: &[(&str, Value)]) -> Value {
    let rows = values.iter().map(|(id, measured)| {
        json!({
            "id": id, "title": format!("title of {id}"), "posix": "p",
            "linux": { "value": "kept", "source": "flock(2)" }, "freebsd": { "source": "f" },
            "measured": measured,
            "as_documented": measured.as_str().map(|word| word == "kept"),
        })
    });
    json!({
        "schema": "forkproof-probe/1", "forkproof": "0.1.0", "platform": platform(false),
        "facts": rows.collect::<Vec<_>>(),
    })
}

const PASSED: &str = "signals/handler-persists";
const FAILED: &str = "signals/children-reaped";

/// Three platforms: all passes on the first; on the second a user's run fails one, and on the third
/// there are only facts.
fn three() -> Results {
    let results = Results::new();
    results
        .platform("aa")
        .write("aa/report.json", report(true, &[(PASSED, "pass"), (FAILED, "pass")]))
        .write(
            "aa/facts.json",
            facts(&[("locks/a", json!("kept")), ("locks/b", json!(3)), ("x/c", json!(1))]),
        )
        .platform("bb")
        .write("bb/report.json", report(true, &[(FAILED, "pass"), ("no/longer", "fail")]))
        .write("bb/report-user.json", report(false, &[(FAILED, "fail")]))
        .write("bb/facts.json", facts(&[("locks/a", json!("lost")), ("locks/b", json!(3))]))
        .platform("cc")
        .write(
            "cc/facts.json",
            facts(&["locks/a", "locks/b"].map(|id| (id, json!({ "error": "no time" })))),
        )
        .write("README.md", "not a platform");
    results
}

#[test]
fn a_requirement_says_where_it_was_seen() {
    let results = three();
    let dir = pages("markdown", results.0.path());
    let signals = page(&dir, "signals.md");
    let seen = |id: &str| -> Vec<String> {
        let own = signals.split(&format!("## {id}\n")).nth(1).unwrap();
        let own = own.split("\n## ").next().unwrap();
        own.lines()
            .filter_map(|line| line.strip_prefix("- **Seen:** "))
            .map(str::to_owned)
            .collect()
    };
    let (aa, bb) = (r"[\<aa\>](platforms.md#aa)", r"[\<bb\>](platforms.md#bb)");
    assert_eq!(
        seen(FAILED),
        [format!("✗ fail on {bb} (reference, ordinary user)"), format!("✓ pass on {aa}")]
    );
    assert_eq!(seen(PASSED), [format!("✓ pass on {aa}"), format!("· not selected on {bb}")]);
    let html = pages("html", results.0.path());
    let signals = page(&html, "signals.html");
    assert!(signals.contains("<a href=\"platforms.html#bb\">&lt;bb&gt;</a> (reference, ordinary"));
    // The address of a requirement is what it is without results.
    assert!(signals.contains("<article id=\"children-reaped\">"));
    assert!(page(&html, "index.html").contains("<a href=\"facts.html\">facts</a>"));
}

#[test]
fn platforms_stand_on_one_page() {
    let dir = pages("markdown", three().0.path());
    let platforms = page(&dir, "platforms.md");
    for line in [
        r"| \<aa\> | Linux 6.1 | 32-bit userland on a 64-bit kernel | 2026-11-21 | 2 | 2 | 0 | 0 |",
        r"| \<bb\> | Linux 6.1 | 32-bit userland on a 64-bit kernel | 2026-11-21 | 2 | 0 | 2 | 0 |",
        r"| [\<bb\>](#bb) | reference, ordinary user | x86\_64 | musl | 2026-11-21 | 0 | 1 | 0 | 0 | 0 | 0 |",
        // One that the catalogue has no more leads nowhere.
        "- ✗ fail: no/longer",
        "- ✗ fail: [signals/children-reaped](signals.md#children-reaped)",
    ] {
        assert!(platforms.lines().any(|own| own == line), "{line}\n{platforms}");
    }
    assert!(!platforms.contains(r"| \<cc\> |"), "nothing was run there");
    // The main report comes first, whatever the files' names.
    let order: Vec<_> = ["reference, root |", "reference, ordinary user |"]
        .map(|run| platforms.rfind(run))
        .into_iter()
        .collect();
    assert!(order.is_sorted(), "{order:?}");
    let html = page(&pages("html", three().0.path()), "platforms.html");
    for id in ["aa", "bb", "cc"] {
        assert!(html.contains(&format!("<article class=\"platform\" id=\"{id}\">")), "{id}");
    }
}

#[test]
fn facts_stand_side_by_side() {
    let dir = pages("markdown", three().0.path());
    let page = page(&dir, "facts.md");
    let (differing, same) = page.split_once("## The same everywhere (2)").unwrap();
    assert!(differing.contains("## What differs (1)"), "{page}");
    let row = "title of locks/a | kept | lost (! documented: kept) | not measured: no time |";
    assert!(differing.contains(row), "{page}");
    assert!(same.contains("title of x/c | 1 | not asked | not asked |"), "{page}");
    assert!(same.contains("title of locks/b | 3 | 3 | not measured: no time |"), "{page}");
}

#[test]
fn without_results_the_pages_are_the_catalogue() {
    let dir = tempfile::tempdir().unwrap();
    forkproof().args(["list", "--format", "html", "--output"]).arg(dir.path()).assert().success();
    assert!(!dir.path().join("platforms.html").exists());
    let signals = page(&dir, "signals.html");
    assert!(!signals.contains("<dt>Seen</dt>") && !signals.contains("platforms.html"));
}

const ABOUT: &str = "name = \"A\"\ncommit = \"abc\"\nhow = \"by hand\"\n";

/// Files, and what is wrong with them.
#[rstest]
#[case::nothing(&[], "holds no results")]
#[case::no_name(&[("aa/report.json", "{}".into())], "platform.toml: cannot be read")]
#[case::no_report(&[("aa/platform.toml", ABOUT.into())], "neither a report nor facts")]
#[case::misnamed(
    &[("aa/platform.toml", ABOUT.into()), ("aa/reprot.json", "{}".into())],
    "reprot.json: expected platform.toml, facts.json, report.json or report-NAME.json"
)]
#[case::facts_as_report(
    &[("aa/platform.toml", ABOUT.into()), ("aa/report.json", facts(&[]).to_string())],
    "holds facts"
)]
#[case::report_as_facts(
    &[("aa/platform.toml", ABOUT.into()), ("aa/facts.json", report(true, &[]).to_string())],
    "facts.json: its schema is `forkproof-report/1`"
)]
#[case::a_fact_twice(
    &[
        ("aa/platform.toml", ABOUT.into()),
        ("aa/facts.json", facts(&[("a/b", json!(1)), ("a/b", json!(2))]).to_string()),
    ],
    "has `a/b` twice"
)]
#[case::folder(&[("A\u{1b}[1m/platform.toml", ABOUT.into())], "lower-case letters")]
#[case::same_name(
    &[
        ("aa/platform.toml", ABOUT.into()),
        ("aa/facts.json", facts(&[]).to_string()),
        ("bb/platform.toml", ABOUT.into()),
        ("bb/facts.json", facts(&[]).to_string()),
    ],
    "`aa` and `bb` are both called `A`"
)]
fn wrong_results_are_one_line(#[case] files: &[(&str, String)], #[case] words: &str) {
    let results = Results::new();
    for (path, text) in files {
        results.write(path, text);
    }
    let one_line = predicate::function(|text: &str| text.lines().count() == 1);
    let out = tempfile::tempdir().unwrap();
    forkproof()
        .args(["list", "--format", "html", "--output"])
        .arg(out.path().join("new"))
        .arg("--results")
        .arg(results.0.path())
        .assert()
        .code(2)
        .stdout("")
        .stderr(contains(words).and(one_line).and(contains("\u{1b}").not()));
    assert!(!out.path().join("new").exists());
}

/// `forkproof diff` of more than two, in the terminal and as files.
#[test]
fn facts_of_three_systems() {
    let results = three();
    let at = |name: &str| results.0.path().join(name).display().to_string();
    let files =
        [format!("first={}", at("aa/facts.json")), at("bb/facts.json"), at("cc/facts.json")];
    let output = forkproof().arg("diff").args(&files).assert().code(1).get_output().stdout.clone();
    let text = String::from_utf8(output).unwrap();
    assert!(text.contains("\n    kept  first\n    lost  Made Up 1, "), "{text}");
    assert!(text.ends_with("1 of 3 facts differ between 3 systems\n"), "{text}");
    let page = at("side.html");
    forkproof().arg("diff").args(&files).args(["--html", &page]).assert().code(1).stdout("");
    let html = std::fs::read_to_string(&page).unwrap();
    let row = "<tr class=\"row\" id=\"locks&#x2f;a\">";
    assert!(html.contains(row), "{html}");
    for (more, words) in [
        (vec!["--json".to_owned()], "--json compares two files"),
        (vec!["--html".to_owned(), at("bb/facts.json")], "it is read, too"),
        (vec![at("aa/report.json")], "its schema is `forkproof-report/1`"),
    ] {
        forkproof()
            .arg("diff")
            .args(&files)
            .args(&more)
            .assert()
            .code(2)
            .stdout("")
            .stderr(contains(words));
    }
}
