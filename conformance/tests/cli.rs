//! The program `forkproof` as its users meet it.

#[path = "common/catalogue.rs"]
mod catalogue;
#[path = "common/junit.rs"]
mod junit;

use catalogue::catalogue;
use std::io::Write;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::{Child, Command as Process, Stdio};
use std::time::{Duration, Instant};

use assert_cmd::Command;
use predicates::prelude::*;
use predicates::str::contains;
use rstest::rstest;

fn forkproof() -> Command {
    Command::new(env!("CARGO_BIN_EXE_forkproof"))
}

/// A server that starts like the reference server and then misbehaves as `script` says: a shell
/// script with the reference server's command line, which usually ends by executing that.
fn impostor(dir: &Path, script: &str) -> std::path::PathBuf {
    let path = dir.join("impostor");
    let close = "close_all() { for n in 3 4 5 6 7 8 9; do eval \"exec $n>&-\"; done; }";
    let text = format!(
        "#!/bin/sh\n{close}\nchatd() {{ exec '{}' chatd \"$@\"; }}\n{script}\n",
        env!("CARGO_BIN_EXE_forkproof")
    );
    std::fs::write(&path, text).unwrap();
    std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o755)).unwrap();
    path
}

#[rstest]
#[case(&["run", "no-such-thing"], 4, "no requirement matches `no-such-thing`")]
#[case(&["run", "hander-persists"], 4, "did you mean `signals/handler-persists`?")]
#[case(&["run", "xyz*"], 4, "no requirement matches `xyz*`")]
#[case(&["run", "[bad"], 2, "`[bad` is no glob")]
#[case(&["run", "auth", "--shard", "15/15"], 4, "--level and --shard leave no requirement")]
#[case(&["run", "--shard", "3/2"], 2, "write K/N")]
#[case(&["run", "--jobs", "0"], 2, "--jobs")]
#[case(&["run", "--repeat", "0"], 2, "--repeat")]
#[case(&["run", "--deadline-scale=-1"], 2, "--deadline-scale")]
#[case(&["run", "auth/exact-key", "--report", "/no/such/dir/r.json"], 2, "cannot write /no/such/dir/r.json: No such file or directory")]
#[case(&["run", "auth/exact-key", "--junit", "/"], 2, "cannot write /: it is a directory")]
#[case(&["run", "auth/exact-key", "--program", "/no/such/chatd"], 2, "program /no/such/chatd: No such file")]
#[case(&["run", "auth/exact-key", "--program", "/etc/passwd"], 2, "program /etc/passwd: Permission denied")]
#[case(&["explain", "hander-persists"], 4, "no requirement matches `hander-persists`: did you mean `signals/handler-persists`?")]
#[case(&["list", "nothing/*"], 4, "no requirement matches")]
#[case(&["run", "signal/*"], 4, "did you mean `signals/*`?")]
#[case(&["run", "SIGNALS"], 4, "did you mean `signals`?")]
#[case(&["list", "signal"], 4, "did you mean `signals`?")]
#[case(&["explain", "Signals"], 4, "no requirement matches `Signals`: did you mean `signals`?")]
#[case(&["explain", "signal/*"], 4, "did you mean `signals/*`?")]
#[case(&["run", "sysv-signals"], 4, "it is a personality: `forkproof run --as sysv-signals`")]
#[case(&["run", "auth/exact-key", "--as", "nosuch"], 2, "no personality is called `nosuch`: `forkproof as --list` shows them all")]
#[case(&["run", "auth/exact-key", "--as", "sysv-signal"], 2, "did you mean `sysv-signals`?")]
#[case(&["run", "auth/exact-key", "--report", "-", "--format", "tap"], 2, "--report and --format would both write to standard output")]
#[case(&["run", "auth/exact-key", "--junit", "-", "--summary", "-"], 2, "--junit and --summary would both write to standard output")]
#[case(&["run", "auth/exact-key", "--report", "one.xml", "--junit", "./one.xml"], 2, "cannot write two outputs to ./one.xml")]
#[case(&["run", "auth/exact-key", "--failure-output", "sometimes"], 2, "--failure-output")]
#[case(&["run", "auth/exact-key", "--color", "blue"], 2, "--color")]
#[case(&["bench", "chat", "--clients", "0"], 2, "each number must be from 2 to 500")]
#[case(&["frobnicate"], 2, "frobnicate")]
fn mistakes_get_one_clear_line(
    #[case] arguments: &[&str],
    #[case] status: i32,
    #[case] words: &str,
) {
    let one_line = predicate::function(|text: &str| {
        // clap adds its usage below its own errors.
        text.lines().count() == 1 || text.contains("For more information")
    });
    forkproof()
        .args(arguments)
        .assert()
        .code(status)
        .stdout("")
        .stderr(contains(words).and(one_line));
}

#[test]
fn an_unwritable_report_is_found_before_the_run() {
    let dir = tempfile::tempdir().unwrap();
    let report = dir.path().join("no").join("report.json");
    // The first path is fine and must be left as it was.
    let junit = dir.path().join("junit.xml");
    std::fs::write(&junit, "old").unwrap();
    forkproof()
        .args(["run", "auth/exact-key", "--junit"])
        .arg(&junit)
        .arg("--summary")
        .arg(&report)
        .assert()
        .code(2)
        .stdout("");
    assert_eq!(std::fs::read_to_string(&junit).unwrap(), "old");
    assert_eq!(std::fs::read_dir(dir.path()).unwrap().count(), 1, "nothing half written is left");
}

/// What an output shows can be asked for as it stands there.
#[rstest]
#[case("xpass", "Remove the entry from the baseline")]
#[case("3", "No verdict")]
#[case("sysv-signals", "Breaks:  signals/handler-persists")]
fn explain_tells_words_and_personalities(#[case] word: &str, #[case] said: &str) {
    forkproof().args(["explain", word]).assert().success().stdout(contains(said));
}

#[test]
fn list_and_explain() {
    forkproof().args(["list"]).assert().success().stdout(contains("signals/handler-persists"));
    forkproof()
        .args(["list", "auth", "--level", "must"])
        .assert()
        .success()
        .stdout(contains("auth/exact-key").and(contains("auth/key-file-permissions").not()));
    let output = forkproof().args(["list", "--format", "json"]).output().unwrap();
    let list: Vec<serde_json::Value> = serde_json::from_slice(&output.stdout).unwrap();
    assert!(list.len() >= 100, "{}", list.len());
    assert!(list.iter().all(|entry| entry["trap"].as_str().is_some_and(|trap| !trap.is_empty())));
    // The name alone will do.
    forkproof()
        .args(["explain", "handler-persists"])
        .assert()
        .success()
        .stdout(contains("SA_RESETHAND").and(contains("POSIX.1-2024")).and(contains("signals.rs")));
    // An area is explained by what is in it.
    let listed = forkproof().args(["list", "signals"]).output().unwrap().stdout;
    for area in ["signals", "signals/*"] {
        let explained = forkproof().args(["explain", area]).output().unwrap();
        assert!(explained.status.success());
        assert_eq!(explained.stdout, listed);
    }
}

fn schema() -> jsonschema::Validator {
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/schema/forkproof-report-1.schema.json");
    let schema = serde_json::from_slice(&std::fs::read(path).unwrap()).unwrap();
    jsonschema::validator_for(&schema).unwrap()
}

fn validated(path: &Path) -> serde_json::Value {
    let report = serde_json::from_slice(&std::fs::read(path).unwrap()).unwrap();
    let errors: Vec<String> = schema()
        .iter_errors(&report)
        .map(|error| format!("{}: {error}", error.instance_path))
        .collect();
    assert!(errors.is_empty(), "{errors:#?}");
    report
}

#[test]
fn reports_of_a_run_that_passes() {
    let dir = tempfile::tempdir().unwrap();
    let path = |name: &str| dir.path().join(name);
    forkproof()
        .args(["run", "auth/exact-key", "auth/wrong-key-refused", "--repeat", "2", "--report"])
        .arg(path("report.json"))
        .arg("--junit")
        .arg(path("junit.xml"))
        .arg("--summary")
        .arg(path("summary.md"))
        .assert()
        .success()
        .stdout(contains(format!("passed (2 of {} checked): 2 passed, 0 failed", catalogue())));
    let report = validated(&path("report.json"));
    assert_eq!(report["conclusion"], "conformant");
    assert_eq!(report["requirements"][0]["runs"], 2);
    let junit = std::fs::read_to_string(path("junit.xml")).unwrap();
    let suites = junit::suites(&junit);
    let sum = |of: fn(&junit::Suite) -> usize| suites.iter().map(of).sum::<usize>();
    assert_eq!((sum(|s| s.tests), sum(|s| s.failures), sum(|s| s.errors)), (2, 0, 0));
    let summary = std::fs::read_to_string(path("summary.md")).unwrap();
    assert!(
        summary.starts_with(&format!("## forkproof: passed (2 of {} checked)", catalogue())),
        "{summary}"
    );
}

#[test]
fn reports_of_a_failure_name_the_trap_and_show_evidence() {
    let dir = tempfile::tempdir().unwrap();
    let path = |name: &str| dir.path().join(name);
    // Lets one client in at a time, whatever was asked for.
    let program = impostor(dir.path(), "chatd \"$@\" --port 0 --max-clients 1");
    forkproof()
        .args(["run", "processes/one-cluster-per-client", "--program"])
        .arg(&program)
        .arg("--report")
        .arg(path("report.json"))
        .arg("--junit")
        .arg(path("junit.xml"))
        .arg("--summary")
        .arg(path("summary.md"))
        .assert()
        .code(1)
        .stdout(
            contains("fail processes/one-cluster-per-client")
                .and(contains("Expected:"))
                .and(contains("Actual:"))
                .and(contains("Usual cause:"))
                .and(contains("Timeline:"))
                .and(contains("clients are the maximum")),
        );
    let report = validated(&path("report.json"));
    assert_eq!(report["conclusion"], "not-conformant");
    let failed = report["requirements"]
        .as_array()
        .unwrap()
        .iter()
        .find(|entry| entry["verdict"] == "fail")
        .unwrap();
    assert!(!failed["evidence"]["processes"].as_array().unwrap().is_empty());
    let summary = std::fs::read_to_string(path("summary.md")).unwrap();
    assert!(summary.contains("\n  - Usual cause: ") && !summary.contains("Trap"), "{summary}");
    let junit = std::fs::read_to_string(path("junit.xml")).unwrap();
    assert_eq!(junit::suites(&junit)[0].failures, 1);
    assert!(std::fs::read_to_string(path("summary.md")).unwrap().contains("### Failures"));
}

/// What did not run is counted apart and has its reason in every report. The condition is made
/// here: a user namespace in which no network namespace can be had (namespaces(7),
/// `/proc/sys/user`).
#[cfg(target_os = "linux")]
#[test]
fn what_did_not_run_is_told_everywhere() {
    let dir = tempfile::tempdir().unwrap();
    let path = |name: &str| dir.path().join(name);
    Command::new("unshare")
        .args(["--user", "--map-root-user", "sh", "-c"])
        .arg("echo 0 >/proc/sys/user/max_net_namespaces && exec \"$0\" \"$@\"")
        .arg(env!("CARGO_BIN_EXE_forkproof"))
        .args(["run", "listen/ipv6-wildcard-under-either-default", "auth/exact-key", "--report"])
        .arg(path("report.json"))
        .arg("--junit")
        .arg(path("junit.xml"))
        .arg("--summary")
        .arg(path("summary.md"))
        .assert()
        .success()
        .stdout(contains("1 passed, 0 failed, 0 unsupported, 1 not run"));
    let report = validated(&path("report.json"));
    assert_eq!(report["counts"]["not-run"], 1);
    let entries = report["requirements"].as_array().unwrap();
    let entry = entries.iter().find(|entry| entry["verdict"] == "not-run").unwrap();
    let reason = entry["reason"].as_str().unwrap();
    assert!(reason.starts_with("needs a private network"), "{reason}");
    let junit = std::fs::read_to_string(path("junit.xml")).unwrap();
    assert_eq!(junit::suites(&junit).iter().map(|suite| suite.skipped).sum::<usize>(), 1);
    assert!(junit.contains("needs a private network"), "{junit}");
    let summary = std::fs::read_to_string(path("summary.md")).unwrap();
    assert!(summary.contains("### Not checked"), "{summary}");

    // Nothing but requirements that cannot be run: that is no verdict, not a pass.
    Command::new("unshare")
        .args(["--user", "--map-root-user", "sh", "-c"])
        .arg("echo 0 >/proc/sys/user/max_net_namespaces && exec \"$0\" \"$@\"")
        .arg(env!("CARGO_BIN_EXE_forkproof"))
        .args(["run", "listen/ipv6-wildcard-under-either-default"])
        .assert()
        .code(3)
        .stdout(contains("no verdict"));

    // A target that cannot be run at all is no error either.
    Command::new("unshare")
        .args(["--user", "--map-root-user", "sh", "-c"])
        .arg("echo 0 >/proc/sys/user/max_mnt_namespaces && exec \"$0\" \"$@\"")
        .arg(env!("CARGO_BIN_EXE_forkproof"))
        .args(["run", "auth", "--target", "papayachat", "--program", "/bin/true"])
        .assert()
        .code(3)
        .stdout(contains("\nnot-run the target papayachat has fixed paths"));
}

/// A run in the background, in a process group of its own.
fn start(arguments: &[&str], tmp: &Path) -> Child {
    use std::os::unix::process::CommandExt;
    Process::new(env!("CARGO_BIN_EXE_forkproof"))
        .args(arguments)
        .env("TMPDIR", tmp)
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .process_group(0)
        .spawn()
        .unwrap()
}

/// The processes whose command line names `tmp`, which only those of one run do.
fn processes_of(tmp: &Path) -> Vec<String> {
    let needle = tmp.display().to_string();
    std::fs::read_dir("/proc")
        .unwrap()
        .filter_map(|entry| {
            let path = entry.ok()?.path();
            path.file_name()?.to_str()?.parse::<u32>().ok()?;
            let line = std::fs::read(path.join("cmdline")).ok()?;
            let line = String::from_utf8_lossy(&line).replace('\0', " ");
            line.contains(&needle).then(|| format!("{}: {line}", path.display()))
        })
        .collect()
}

fn wait_until(what: &str, limit: Duration, mut condition: impl FnMut() -> bool) {
    let deadline = Instant::now() + limit;
    while !condition() {
        assert!(Instant::now() < deadline, "{what}");
        std::thread::sleep(Duration::from_millis(5));
    }
}

const PATIENCE: Duration = Duration::from_secs(30);

/// Something that takes long enough to be caught in the middle, with servers running.
const LONG: &[&str] = &["run", "auth", "signals", "--repeat", "20", "--jobs", "4"];

fn is_busy(tmp: &Path) -> bool {
    processes_of(tmp).iter().filter(|line| line.contains("chatd")).count() >= 3
}

/// For tests that keep every processor of the machine busy with servers: one measures time.
#[cfg(target_os = "linux")]
static PROCESSORS: std::sync::Mutex<()> = std::sync::Mutex::new(());

#[cfg(target_os = "linux")]
#[test]
fn kill_9_leaves_no_process_and_no_file_elsewhere() {
    let _turn = PROCESSORS.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
    let tmp = tempfile::tempdir().unwrap();
    let mut run = start(LONG, tmp.path());
    wait_until("servers run", PATIENCE, || is_busy(tmp.path()));
    run.kill().unwrap(); // SIGKILL, to the runner alone
    run.wait().unwrap();
    wait_until("no process is left", PATIENCE, || processes_of(tmp.path()).is_empty());
    // The wardens have even taken the run's directory along.
    wait_until("no file is left", PATIENCE, || std::fs::read_dir(tmp.path()).unwrap().count() == 0);
}

#[cfg(target_os = "linux")]
#[test]
fn ctrl_c_ends_soon_with_a_partial_summary() {
    let _turn = PROCESSORS.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
    let tmp = tempfile::tempdir().unwrap();
    let report = tmp.path().join("report.json");
    let mut arguments = LONG.to_vec();
    let path = report.display().to_string();
    arguments.extend(["--report", &path]);
    let run = start(&arguments, tmp.path());
    wait_until("servers run", PATIENCE, || is_busy(tmp.path()));
    let begin = Instant::now();
    // As a terminal does it: to the foreground process group.
    let group = nix::unistd::Pid::from_raw(run.id() as i32);
    nix::sys::signal::killpg(group, nix::sys::signal::Signal::SIGINT).unwrap();
    let output = run.wait_with_output().unwrap();
    let took = begin.elapsed();
    assert_eq!(output.status.code(), Some(3));
    let text = String::from_utf8_lossy(&output.stdout);
    assert!(text.contains("no verdict:") && text.contains("; interrupted"), "{text}");
    assert!(took < Duration::from_secs(5), "it took {took:?}");
    assert_eq!(processes_of(tmp.path()), Vec::<String>::new());
    assert_eq!(validated(&report)["interrupted"], true);
}

/// What a harness must survive of a server: each ends with a verdict, in bounded time, and leaves
/// nothing.
#[rstest]
#[case::exits_at_once("exit 7", 1, "it exited with status 7")]
#[case::announces_and_dies(
    "eval \"echo 127.0.0.1:9 >&$(echo \"$*\" | sed 's/.*--ready-fd \\([0-9]*\\).*/\\1/')\"; exit 0",
    1,
    "cannot"
)]
#[case::escapes(
    "(close_all; exec setsid sleep 600) >/dev/null 2>&1 & chatd \"$@\"",
    1,
    "no process of the server is left"
)]
#[case::hears_nobody("trap '' TERM; chatd \"$@\" & close_all; wait; exec sleep 600", 1, "SIGTERM")]
#[case::holds_its_descriptor("chatd \"$@\" & wait", 1, "says that it listens, or ends")]
fn bad_servers_end_with_a_verdict(#[case] script: &str, #[case] status: i32, #[case] words: &str) {
    let dir = tempfile::tempdir().unwrap();
    let program = impostor(dir.path(), script);
    forkproof()
        .env("TMPDIR", dir.path())
        .args(["run", "listen/default-serves-both-families", "--program"])
        .arg(&program)
        .timeout(Duration::from_secs(120))
        .assert()
        .code(status)
        .stdout(contains(words));
    assert_eq!(processes_of(dir.path()), Vec::<String>::new());
    assert_eq!(std::fs::read_dir(dir.path()).unwrap().count(), 1, "only the impostor is left");
}

#[test]
fn keep_says_where_the_files_are() {
    let dir = tempfile::tempdir().unwrap();
    let output = forkproof()
        .env("TMPDIR", dir.path())
        .args(["run", "auth/exact-key", "--keep"])
        .output()
        .unwrap();
    let text = String::from_utf8_lossy(&output.stdout);
    let kept = text.lines().find_map(|line| line.strip_prefix("Directories kept in ")).unwrap();
    assert!(Path::new(kept).join("auth.exact-key/dir/chat.log").is_file(), "{text}");
}

#[test]
fn the_reference_server_and_its_client_are_inside() {
    let dir = tempfile::tempdir().unwrap();
    let key = dir.path().join("key");
    forkproof().args(["chatd", "--generate-key"]).arg(&key).assert().success();
    assert_eq!(std::fs::read(&key).unwrap().len(), 128);
    forkproof().args(["chatd", "--help"]).assert().success().stdout(contains("chatd"));
    forkproof().args(["chat", "--help"]).assert().success().stdout(contains("username"));
    forkproof()
        .args(["chatd", "--prot", "1"])
        .assert()
        .code(2)
        .stderr(contains("--prot").and(contains("--port")));
}

#[test]
fn output_to_a_reader_that_leaves_is_no_error() {
    let mut list = Process::new(env!("CARGO_BIN_EXE_forkproof"))
        .arg("list")
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    drop(list.stdout.take());
    let output = list.wait_with_output().unwrap();
    assert_eq!(String::from_utf8_lossy(&output.stderr), "");
    std::io::stdout().flush().unwrap();
}
