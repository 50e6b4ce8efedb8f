//! `forkproof init`: a manifest for a server of which only the command line is known, and what
//! becomes of command lines that are none. It takes `python3` and a C compiler, `cc`.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use rstest::rstest;
use tempfile::TempDir;

const TARGETS: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/targets");

fn forkproof(place: &Path) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_forkproof"));
    command.current_dir(place);
    command
}

fn words(output: &Output) -> String {
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    format!("{}\n{}{}", output.status, text(&output.stdout), text(&output.stderr))
}

fn compiled(place: &Path, source: &str) -> PathBuf {
    let program = place.join(source.trim_end_matches(".c"));
    let bits = if cfg!(target_arch = "x86") { "-m32" } else { "-O1" };
    let mut command = Command::new("cc");
    command.args([bits, "-pthread", "-o"]).arg(&program).arg(Path::new(TARGETS).join(source));
    assert!(command.status().expect("these tests take a C compiler").success(), "{source}");
    program
}

/// Writes a manifest for `command`, and has a requirement checked with it.
fn attached(place: &Path, command: &[&str]) -> String {
    let output =
        forkproof(place).args(["init", "--name", "drafted", "--"]).args(command).output().unwrap();
    assert_eq!(output.status.code(), Some(0), "{}", words(&output));
    let manifest = fs::read_to_string(place.join("drafted.toml")).unwrap();
    let run = ["run", "listen/clients-are-served", "--target", "drafted.toml"];
    let output = forkproof(place).args(run).output().unwrap();
    assert_eq!(output.status.code(), Some(0), "{manifest}\n{}", words(&output));
    manifest
}

#[test]
fn a_web_server_in_python_needs_no_edit() {
    let place = TempDir::new().unwrap();
    let manifest = attached(place.path(), &["python3", "-m", "http.server", "{port}"]);
    for line in
        ["kind = \"http\"", "model = \"one\"", "arguments = [\"-m\", \"http.server\", \"{port}\"]"]
    {
        assert!(manifest.contains(line), "`{line}` is not in: {manifest}");
    }
}

#[test]
fn a_server_that_is_told_host_and_port_apart_needs_no_edit() {
    let place = TempDir::new().unwrap();
    let command = ["python3", "-m", "http.server", "--bind", "{host}", "-d", ".", "{port}"];
    let manifest = attached(place.path(), &command);
    for line in [
        "arguments = [\"-m\", \"http.server\", \"-d\", \".\"]",
        "address = [\"--bind\", \"{host}\", \"{port}\"]",
    ] {
        assert!(manifest.contains(line), "`{line}` is not in: {manifest}");
    }
}

#[test]
fn a_forking_echo_that_is_told_its_address_needs_no_edit() {
    let place = TempDir::new().unwrap();
    let program = compiled(place.path(), "forking.c");
    let manifest = attached(place.path(), &[program.to_str().unwrap(), "-l", "{address}"]);
    for line in [
        "kind = \"echo\"",
        "model = \"per-client\"",
        "address = [\"-l\", \"{address}\"]",
        "ends = \"all\"",
    ] {
        assert!(manifest.contains(line), "`{line}` is not in: {manifest}");
    }
}

#[test]
fn a_port_that_nobody_named_is_found() {
    let place = TempDir::new().unwrap();
    let program = compiled(place.path(), "keyvalue.c");
    let manifest = attached(place.path(), &[program.to_str().unwrap(), "-l", "127.0.0.1:26931"]);
    assert!(manifest.contains("127.0.0.1:{port}"), "{manifest}");
    assert!(manifest.contains("kind = \"exchange\""), "{manifest}");
}

#[rstest]
#[case::no_command(&[], 2, "which command?")]
#[case::no_program(&["--", "no-such-program"], 3, "no-such-program: No such file or directory")]
#[case::ends(&["--", "sh", "-c", "echo no database; exit 7"], 3, "exit status: 7 and never listened; it says: no database")]
#[case::long_words(&["--", "sh", "-c", "seq 9; exit 1"], 3, "it says: … / 7 / 8 / 9\n")]
#[case::no_port(&["--", "./my-server", "{host}"], 2, "`{host}` goes with `{port}`")]
#[case::there_already(&["--output", "here.toml", "--", "true"], 2, "here.toml already exists")]
fn what_cannot_be_attached_is_told_in_a_line(
    #[case] arguments: &[&str],
    #[case] status: i32,
    #[case] message: &str,
) {
    let place = TempDir::new().unwrap();
    fs::write(place.path().join("here.toml"), "mine\n").unwrap();
    let output = forkproof(place.path())
        .arg("init")
        .args(arguments)
        .stdin(std::process::Stdio::null())
        .output()
        .unwrap();
    let shown = words(&output);
    assert_eq!(output.status.code(), Some(status), "{shown}");
    assert!(shown.contains(message), "{shown}");
    assert_eq!(fs::read_to_string(place.path().join("here.toml")).unwrap(), "mine\n");
    let files: Vec<_> = fs::read_dir(place.path()).unwrap().collect();
    assert_eq!(files.len(), 1, "nothing is half written: {files:?}");
}
