//! What packages and sites are made of: manual pages, completions, the catalogue as pages; and
//! what `doctor` says of this machine.

use std::collections::BTreeSet;
use std::path::Path;

use assert_cmd::Command;
use predicates::prelude::*;
use predicates::str::contains;
use rstest::rstest;

fn forkproof() -> Command {
    Command::new(env!("CARGO_BIN_EXE_forkproof"))
}

fn catalogue() -> Vec<serde_json::Value> {
    let output = forkproof().args(["list", "--format", "json"]).output().unwrap();
    serde_json::from_slice(&output.stdout).unwrap()
}

fn read(directory: &Path, name: &str) -> String {
    std::fs::read_to_string(directory.join(name)).unwrap_or_else(|error| panic!("{name}: {error}"))
}

#[test]
fn every_command_has_a_manual_page() {
    let dir = tempfile::tempdir().unwrap();
    let out = dir.path().join("new/man");
    forkproof().arg("man").arg(&out).assert().success();
    for name in ["forkproof.1", "forkproof.7", "forkproof-run.1", "chat.1", "chatd.8", "webd.8"] {
        assert!(out.join(name).exists(), "{name}");
    }
    let help = forkproof().arg("--help").output().unwrap();
    let help = String::from_utf8(help.stdout).unwrap();
    let commands = help.split("Commands:\n").nth(1).unwrap().split("\n\n").next().unwrap();
    let names = commands
        .lines()
        .filter(|line| line.starts_with("  ") && !line.starts_with("   "))
        .map(|line| line.split_whitespace().next().unwrap());
    for name in names.filter(|name| !["help", "chatd", "chat", "webd"].contains(name)) {
        assert!(out.join(format!("forkproof-{name}.1")).exists(), "{name}");
    }
    for entry in std::fs::read_dir(&out).unwrap() {
        let name = entry.unwrap().file_name().into_string().unwrap();
        assert!(!name.contains("__"), "{name} is nobody's to call");
        // What `mandoc -Tlint` warns of; the package's own test has `man --warnings` look at them.
        let page = read(&out, &name);
        if name != "forkproof.7" {
            let title = page.lines().find(|line| line.starts_with(".TH ")).unwrap();
            assert!(title.contains(" 20"), "{name} has no date: {title}");
        }
        assert!(!page.contains(".br\n\n.br"), "{name} breaks a line twice");
    }
    assert!(read(&out, "chatd.8").contains("max\\-clients"));
    assert!(read(&out, "forkproof-run.1").contains(".SH NOTES\nExit status: 0 conformant"));
}

/// FreeBSD's port packs what its list names, and no more.
#[cfg(feature = "vm")]
#[test]
fn every_manual_page_is_in_the_ports_list() {
    let dir = tempfile::tempdir().unwrap();
    forkproof().arg("man").arg(dir.path()).assert().success();
    let made: BTreeSet<String> = std::fs::read_dir(dir.path())
        .unwrap()
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .map(|name| format!("share/man/man{}/{name}.gz", &name[name.len() - 1..]))
        .collect();
    let packaging = concat!(env!("CARGO_MANIFEST_DIR"), "/packaging/freebsd");
    let listed: BTreeSet<String> = read(Path::new(packaging), "pkg-plist")
        .lines()
        .filter(|line| line.starts_with("share/man/"))
        .map(str::to_owned)
        .collect();
    assert_eq!(listed, made);
}

#[rstest]
#[case("bash", "forkproof", "_forkproof")]
#[case("zsh", "chatd", "#compdef chatd")]
#[case("fish", "webd", "complete -c webd")]
#[case("elvish", "chat", "edit:completion")]
#[case("powershell", "forkproof", "Register-ArgumentCompleter")]
fn completions(#[case] shell: &str, #[case] program: &str, #[case] words: &str) {
    forkproof()
        .args(["completions", shell, "--program", program])
        .assert()
        .success()
        .stdout(contains(words));
}

/// What can be named is in the script.
#[rstest]
#[case("bash")]
#[case("zsh")]
#[case("fish")]
fn completions_know_what_can_be_named(#[case] shell: &str) {
    let assert = forkproof().args(["completions", shell]).assert().success();
    let script = String::from_utf8_lossy(&assert.get_output().stdout).into_owned();
    for name in ["signals/handler-persists", "sysv-signals", "debian-12-tiny", "workers"] {
        assert!(script.contains(name), "{name} is not in the script for {shell}");
    }
}

#[test]
fn the_catalogue_as_html() {
    let dir = tempfile::tempdir().unwrap();
    forkproof().args(["list", "--format", "html", "--output"]).arg(dir.path()).assert().success();
    let index = read(dir.path(), "index.html");
    let personalities = parse(&read(dir.path(), "personalities.html"));
    let mut pages = BTreeSet::new();
    for entry in catalogue() {
        let (area, name) = entry["id"].as_str().unwrap().split_once('/').unwrap();
        let page = format!("{area}.html");
        assert!(index.contains(&format!("\"{page}#{name}\"")), "{name} is not in the index");
        let text = parse(&read(dir.path(), &page));
        assert!(text.ids.contains(name), "{page} has no anchor {name}");
        for field in ["title", "trap", "fix", "clause"] {
            let words = entry[field].as_str().unwrap();
            assert!(text.words.contains(words), "{page}: {words}");
        }
        for control in entry["controls"].as_array().unwrap() {
            for one in control.as_str().unwrap().split(',') {
                let anchor = one.split('=').next().unwrap();
                assert!(personalities.ids.contains(anchor), "{anchor}");
            }
        }
        pages.insert(page);
    }
    // Nothing else is there, and every page leads to all others.
    for page in &pages {
        let html = read(dir.path(), page);
        for other in &pages {
            assert!(html.contains(&format!("href=\"{other}\"")), "{page} does not lead to {other}");
        }
    }
    assert_eq!(std::fs::read_dir(dir.path()).unwrap().count(), pages.len() + 2);
}

struct Parsed {
    ids: BTreeSet<String>,
    words: String,
}

/// The page is well formed as XML too, but for its first line and three empty elements.
fn parse(html: &str) -> Parsed {
    let mut text = html.replace("<!DOCTYPE html>", "");
    while let Some(at) = text.find("<meta ") {
        let end = at + text[at..].find('>').unwrap() + 1;
        text.replace_range(at..end, "");
    }
    let document = roxmltree::Document::parse(&text).unwrap_or_else(|error| panic!("{error}"));
    let ids: Vec<String> =
        document.descendants().filter_map(|node| Some(node.attribute("id")?.to_owned())).collect();
    let unique: BTreeSet<String> = ids.iter().cloned().collect();
    assert_eq!(unique.len(), ids.len(), "an anchor twice");
    let words = document.descendants().filter(|node| node.is_text());
    Parsed { ids: unique, words: words.filter_map(|node| node.text()).collect() }
}

#[test]
fn the_catalogue_as_markdown() {
    let dir = tempfile::tempdir().unwrap();
    forkproof()
        .args(["list", "signals", "--format", "markdown", "--output"])
        .arg(dir.path())
        .assert()
        .success();
    let page = read(dir.path(), "signals.md");
    assert!(page.contains("<a id=\"handler-persists\"></a>\n## signals/handler-persists\n"));
    assert!(page.contains("(personalities.md#sysv-signals)"));
    assert!(!dir.path().join("auth.md").exists(), "only what was selected");
    let index = read(dir.path(), "index.md");
    assert!(index.contains("| [signals/handler-persists](signals.md#handler-persists) | must |"));
}

#[rstest]
#[case(&["list", "--format", "html"], "name a directory with --output")]
#[case(&["list", "--output", "x"], "--output goes with")]
#[case(&["list", "--format", "html", "--output", "/dev/null/x"], "cannot make /dev/null/x: Not a directory")]
#[case(&["man", "/dev/null/x"], "cannot make /dev/null/x: Not a directory")]
#[case(&["completions", "tcsh"], "tcsh")]
fn mistakes(#[case] arguments: &[&str], #[case] words: &str) {
    forkproof().args(arguments).assert().code(2).stdout("").stderr(contains(words));
}

#[test]
fn doctor_counts_what_is_missing_and_says_what_mends_it() {
    let output = forkproof().arg("doctor").output().unwrap();
    let text = String::from_utf8(output.stdout).unwrap();
    let total = catalogue().len();
    let possible = catalogue().iter().filter(|entry| entry["missing"].is_null()).count();
    let line = format!("Checks: {possible} of {total} requirements can be checked here");
    assert!(text.contains(&line), "{line}\n{text}");
    let status = if possible == total { 0 } else { 1 };
    assert_eq!(output.status.code(), Some(status), "{text}");
    // Without any program there is no QEMU, and the package is named.
    let nowhere = tempfile::tempdir().unwrap();
    if cfg!(feature = "vm") && !Path::new("/usr/sbin/qemu-img").exists() {
        forkproof()
            .arg("doctor")
            .env("PATH", nowhere.path())
            .assert()
            .stdout(contains("missing  qemu-img").and(contains("to get it: ")));
    }
}
