//! `forkproof.toml`: where it is found, what it changes, and what is wrong with it.

use std::path::Path;

use assert_cmd::Command;
use predicates::prelude::*;
use predicates::str::contains;
use rstest::rstest;

/// A project with these settings, and a directory below it.
fn project(settings: &str) -> tempfile::TempDir {
    let dir = tempfile::tempdir().unwrap();
    std::fs::create_dir(dir.path().join("src")).unwrap();
    std::fs::write(dir.path().join("forkproof.toml"), settings).unwrap();
    dir
}

fn run_in(directory: &Path, arguments: &[&str]) -> assert_cmd::assert::Assert {
    Command::new(env!("CARGO_BIN_EXE_forkproof"))
        .current_dir(directory)
        .args(["run", "auth/exact-key"])
        .args(arguments)
        .assert()
}

const SETTINGS: &str = "\
target = \"reference\"
report = \"report.json\"

[profile.ci]
junit = \"junit.xml\"
deadline-scale = 2
";

#[test]
fn settings_are_found_above_and_paths_are_the_files() {
    let dir = project(SETTINGS);
    let found = format!("settings from {}", dir.path().join("forkproof.toml").display());
    run_in(&dir.path().join("src"), &[]).success().stderr(contains(&found));
    assert!(dir.path().join("report.json").exists());
    assert!(!dir.path().join("junit.xml").exists(), "that is the profile's");
    run_in(&dir.path().join("src"), &["--profile", "ci"]).success();
    assert!(dir.path().join("junit.xml").exists());
}

#[test]
fn a_report_says_which_settings_it_was_made_with() {
    let dir = project(SETTINGS);
    run_in(&dir.path().join("src"), &[]).success();
    let report = std::fs::read(dir.path().join("report.json")).unwrap();
    let report: serde_json::Value = serde_json::from_slice(&report).unwrap();
    let named = format!("--config={}", dir.path().join("forkproof.toml").display());
    assert!(
        report["options"]["command"].as_array().unwrap().iter().any(|word| word == &named),
        "{report:#}"
    );
}

#[test]
fn the_command_line_wins() {
    let dir = project(SETTINGS);
    let elsewhere = dir.path().join("src/other.json");
    run_in(dir.path(), &["--report", elsewhere.to_str().unwrap()]).success();
    assert!(elsewhere.exists() && !dir.path().join("report.json").exists());
    run_in(dir.path(), &["--no-config"]).success().stderr("");
    assert!(!dir.path().join("report.json").exists());
    // Of another server neither the program nor the failures are true.
    let dir = project("program = \"no-such-program\"\nbaseline = \"no-such-file\"\n");
    run_in(dir.path(), &[]).code(2).stderr(contains("no-such-program"));
    run_in(dir.path(), &["--target", "reference"]).success();
}

#[rstest]
#[case::misspelt("jbos = 4", &[], "forkproof.toml:1: unknown key `jbos`: did you mean `jobs`?")]
#[case::zero("\njobs = 0", &[], "forkproof.toml:2: invalid value")]
#[case::scale("[profile.ci]\ndeadline-scale = 0", &[], "forkproof.toml:2: must be a number from 0.1 to 1000")]
#[case::level("level = \"much\"", &[], "forkproof.toml:1: unknown value `much` (known: must, should, may)")]
#[case::nested("[profile.ci]\n\n[profile.ci.profile.x]", &[], "forkproof.toml:3: the profile `ci`")]
#[case::profile("[profile.ci]", &["--profile", "cj"], "forkproof.toml: unknown profile `cj` (known: ci)")]
#[case::target("target = \"none.toml\"", &[], "none.toml: cannot be read")]
#[case::config("", &["--config", "none.toml"], "none.toml: cannot be read")]
#[case::both("", &["--no-config", "--profile", "ci"], "cannot be used with")]
fn mistakes_name_the_file_and_the_line(
    #[case] settings: &str,
    #[case] arguments: &[&str],
    #[case] words: &str,
) {
    let dir = project(settings);
    run_in(dir.path(), arguments).code(2).stdout("").stderr(contains(words));
}

#[test]
fn a_profile_without_a_file_is_a_mistake() {
    let dir = tempfile::tempdir().unwrap();
    run_in(dir.path(), &["--profile", "ci"]).code(2).stderr(contains("no forkproof.toml here or"));
}

/// Whoever can write into a directory above, as in /tmp, must not choose what is started.
#[test]
fn another_users_settings_are_refused() {
    let dir = project(SETTINGS);
    let file = dir.path().join("forkproof.toml");
    if std::os::unix::fs::chown(&file, Some(12345), None).is_err() {
        return; // Only root can give a file away.
    }
    let refused = contains("belongs to user 12345, not to you").and(contains("--config"));
    run_in(&dir.path().join("src"), &[]).code(2).stdout("").stderr(refused);
    run_in(dir.path(), &["--config", "forkproof.toml"]).success();
}

#[test]
fn what_runs_it_again_leaves_the_projects_report_alone() {
    let dir = project(SETTINGS);
    run_in(&dir.path().join("src"), &["--as", "truncated-reads=64"])
        .code(1)
        .stdout(contains("--as 'truncated-reads=64' --no-config --keep"));
}

#[test]
fn a_link_leads_to_the_settings_own_directory_and_a_file_for_all_is_refused() {
    let dir = project(SETTINGS);
    let other = tempfile::tempdir().unwrap();
    std::os::unix::fs::symlink(
        dir.path().join("forkproof.toml"),
        other.path().join("forkproof.toml"),
    )
    .unwrap();
    run_in(other.path(), &[]).success();
    assert!(dir.path().join("report.json").exists());
    assert!(!other.path().join("report.json").exists());
    let file = dir.path().join("forkproof.toml");
    std::fs::set_permissions(&file, std::os::unix::fs::PermissionsExt::from_mode(0o666)).unwrap();
    run_in(dir.path(), &[]).code(2).stderr(contains("can be written by everyone"));
}
