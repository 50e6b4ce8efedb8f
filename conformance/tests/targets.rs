//! Servers that are not the reference server: in C and in Python, with fixed paths, without
//! processes, and some that are not as their manifest says.
//!
//! They take a C compiler (`cc`) and `python3`.

use std::collections::BTreeSet;
use std::fs::{self, Permissions};
use std::os::unix::fs::PermissionsExt;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};
use std::sync::{Mutex, PoisonError};
use std::time::Instant;

use rstest::rstest;
use serde_json::Value;
use tempfile::TempDir;

/// Whole runs, one at a time: each keeps every processor busy.
static TURN: Mutex<()> = Mutex::new(());

const TARGETS: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/targets");

fn forkproof() -> Command {
    Command::new(env!("CARGO_BIN_EXE_forkproof"))
}

/// The interpreter itself: what is called `python3` may be a script that looks for it each time.
fn python() -> String {
    let output = Command::new("python3")
        .args(["-c", "import sys; print(sys.executable)"])
        .output()
        .expect("these tests take python3");
    assert!(output.status.success(), "python3: {output:?}");
    String::from_utf8(output.stdout).unwrap().trim().to_owned()
}

/// Whether a library of this program's width can be put before it.
fn python_is_as_wide() -> bool {
    let output = Command::new(python()).args(["-c", "import sys; print(sys.maxsize)"]).output();
    let most = String::from_utf8(output.unwrap().stdout).unwrap();
    most.trim() == isize::MAX.to_string()
}

fn compiled(dir: &Path, source: &str) -> PathBuf {
    let program = dir.join(source.trim_end_matches(".c"));
    let bits = if cfg!(target_arch = "x86") { "-m32" } else { "-O1" };
    let status = Command::new("cc")
        .args([bits, "-Wall", "-Wextra", "-o"])
        .arg(&program)
        .arg(Path::new(TARGETS).join(source))
        .status()
        .expect("these tests take a C compiler, `cc`");
    assert!(status.success(), "{source}");
    program
}

/// A directory that other users can pass through.
fn open_dir() -> TempDir {
    let dir = TempDir::new().unwrap();
    fs::set_permissions(dir.path(), Permissions::from_mode(0o755)).unwrap();
    dir
}

/// A run with a report.
struct Run {
    output: Output,
    report: Value,
}

impl Run {
    fn of(command: &mut Command, dir: &Path) -> Self {
        let file = dir.join("report.json");
        let output = command.arg("--report").arg(&file).output().unwrap();
        let text = fs::read_to_string(&file)
            .unwrap_or_else(|error| panic!("no report: {error}: {}", words(&output)));
        Self { output, report: serde_json::from_str(&text).unwrap() }
    }

    /// The requirements with this verdict.
    fn with(&self, verdict: &str) -> BTreeSet<&str> {
        let entries = self.report["requirements"].as_array().unwrap();
        let having = entries.iter().filter(|entry| entry["verdict"] == verdict);
        having.map(|entry| entry["id"].as_str().unwrap()).collect()
    }

    fn entry(&self, id: &str) -> &Value {
        let entries = self.report["requirements"].as_array().unwrap();
        entries.iter().find(|entry| entry["id"] == id).unwrap()
    }

    #[track_caller]
    fn is_conformant(&self, at_least: usize) {
        let shown = words(&self.output);
        assert_eq!(self.output.status.code(), Some(0), "{shown}");
        assert!(self.with("pass").len() >= at_least, "{shown}");
        assert_eq!(self.with("error"), BTreeSet::new(), "{shown}");
    }
}

fn words(output: &Output) -> String {
    format!(
        "{}\n{}{}",
        output.status,
        String::from_utf8_lossy(&output.stdout),
        String::from_utf8_lossy(&output.stderr)
    )
}

// Each of these runs a catalogue, which measures time too: not two at once.
#[test]
fn a_forking_server_in_c_does_what_it_claims() {
    let _turn = TURN.lock().unwrap_or_else(PoisonError::into_inner);
    let dir = open_dir();
    let program = compiled(dir.path(), "broadcast.c");
    let mut command = forkproof();
    command.args(["run", "--target"]).arg(format!("{TARGETS}/broadcast.toml"));
    let run = Run::of(command.arg("--program").arg(program), dir.path());
    // Its times have 32 bits there, as it is built, and the suite says so.
    if cfg!(target_arch = "x86") {
        let failed = BTreeSet::from(["width/file-dated-past-2038"]);
        assert_eq!(run.with("fail"), failed, "{}", words(&run.output));
    } else {
        run.is_conformant(70);
    }
    for id in ["signals/dispositions-as-documented", "locking/clients-exclude-each-other"] {
        assert!(run.with("pass").contains(id), "{id}");
    }
    let reason = run.entry("auth/exact-key")["reason"].as_str().unwrap();
    assert!(reason.contains("does not claim `key`"), "{reason}");
}

#[test]
fn the_defects_of_a_forking_server_in_python_are_found_and_no_others() {
    let _turn = TURN.lock().unwrap_or_else(PoisonError::into_inner);
    let dir = open_dir();
    let mut command = forkproof();
    command.args(["run", "--target"]).arg(format!("{TARGETS}/defects.toml"));
    command.arg("--baseline").arg(format!("{TARGETS}/defects.baseline.toml"));
    let run = Run::of(command.arg("--program").arg(python()), dir.path());
    // Known, so the run passes; anything else, or a defect that is gone, would fail it.
    run.is_conformant(60);
    let expected = ["listen/rebind-over-time-wait", "signals/children-reaped"];
    assert_eq!(run.with("xfail"), expected.into(), "{}", words(&run.output));
    assert!(run.with("pass").contains("auth/late-key-accepted"), "{}", words(&run.output));
    let actual = run.entry("listen/rebind-over-time-wait")["actual"].as_str().unwrap();
    assert!(actual.contains("Address already in use"), "{actual}");
}

#[test]
fn without_its_baseline_a_defect_fails_the_run() {
    let dir = open_dir();
    let mut command = forkproof();
    command.args(["run", "rebind-over-time-wait", "--target"]);
    command.arg(format!("{TARGETS}/defects.toml"));
    let run = Run::of(command.arg("--program").arg(python()), dir.path());
    assert_eq!(run.output.status.code(), Some(1), "{}", words(&run.output));
}

/// A server that a service manager starts, correct and with one defect each.
#[rstest]
#[case("", "", "")]
#[case("never-ready", "listen/readiness-means-listening", "has said nothing of the kind")]
#[case("path-only", "listen/readiness-means-listening", "has said nothing of the kind")]
#[case("ready-early", "listen/readiness-means-listening", "says so, and then")]
#[case("pid-unchecked", "listen/socket-activation", "does neither")]
#[case("ignores-sockets", "listen/socket-activation", "exited with status 1")]
#[case("shuts-down", "listen/socket-activation", "exited with status 1")]
#[case("children-hold", "listen/socket-activation", "has it open")]
fn a_managed_server(#[case] defect: &str, #[case] id: &str, #[case] actual: &str) {
    let dir = open_dir();
    let manifest = dir.path().join("managed.toml");
    let text = fs::read_to_string(format!("{TARGETS}/managed.toml")).unwrap();
    let text = text.replace("{manifest-dir}", TARGETS);
    fs::write(&manifest, text.replace("\"{port}\"]", &format!("\"{{port}}\", \"{defect}\"]")))
        .unwrap();
    let mut command = forkproof();
    command.args(["run", "socket-activation", "readiness-means-listening", "--target"]);
    command.arg(&manifest).arg("--program").arg(python());
    let run = Run::of(&mut command, dir.path());
    // Most of readiness is looked at with a library before the server.
    const INTERPOSED: &str = "listen/readiness-means-listening";
    let unasked = match python_is_as_wide() || defect == "ready-early" {
        true => BTreeSet::new(),
        false => BTreeSet::from([INTERPOSED]),
    };
    assert_eq!(run.with("unsupported"), unasked, "{}", words(&run.output));
    let failed: BTreeSet<&str> =
        [id].into_iter().filter(|id| !id.is_empty() && !unasked.contains(id)).collect();
    assert_eq!(run.with("fail"), failed, "{}", words(&run.output));
    let asked = 2 - unasked.len();
    assert_eq!(run.with("pass").len(), asked - failed.len(), "{}", words(&run.output));
    if !failed.is_empty() {
        let failure = run.entry(id)["actual"].as_str().unwrap_or_default();
        assert!(failure.contains(actual), "{failure}");
    }
}

#[test]
fn a_server_without_processes_is_checked_for_what_applies() {
    let _turn = TURN.lock().unwrap_or_else(PoisonError::into_inner);
    let dir = open_dir();
    let mut command = forkproof();
    command.args(["run", "--target"]).arg(format!("{TARGETS}/threads.toml"));
    let run = Run::of(command.arg("--program").arg(python()), dir.path());
    run.is_conformant(15);
    assert!(run.with("pass").contains("delivery/everyone-hears-everything-8"));
    let reason = run.entry("signals/children-reaped")["reason"].as_str().unwrap();
    assert!(reason.contains("does not claim `process-per-client`"), "{reason}");
}

/// What is in the directories that papayaChat has its fixed paths in.
fn real_paths() -> Vec<String> {
    let mut found = Vec::new();
    for dir in ["/etc", "/var/lib", "/usr/local/bin"] {
        for entry in fs::read_dir(dir).unwrap() {
            found.push(entry.unwrap().path().display().to_string());
        }
    }
    found.sort();
    found
}

#[cfg(target_os = "linux")]
#[test]
fn a_server_with_fixed_paths_and_port_is_checked_in_parallel_by_an_ordinary_user() {
    let _turn = TURN.lock().unwrap_or_else(PoisonError::into_inner);
    let dir = open_dir();
    let at = |name: &str| dir.path().join(name);
    fs::copy(format!("{TARGETS}/fixed.sh"), at("concurrent_server.bin")).unwrap();
    fs::copy("/bin/true", at("termHandlerAsyncSafe.bin")).unwrap();
    // Where any user can execute them.
    fs::copy(env!("CARGO_BIN_EXE_forkproof"), at("forkproof")).unwrap();
    fs::write(at("chatd"), "#!/bin/sh\nexec \"${0%/*}/forkproof\" chatd \"$@\"\n").unwrap();
    for name in ["concurrent_server.bin", "termHandlerAsyncSafe.bin", "forkproof", "chatd"] {
        fs::set_permissions(at(name), Permissions::from_mode(0o755)).unwrap();
    }
    let before = real_paths();
    let reports = open_dir();
    fs::set_permissions(reports.path(), Permissions::from_mode(0o777)).unwrap();
    let mut command = Command::new(at("forkproof"));
    command.args(["run", "--target", "papayachat", "--program"]).arg(at("concurrent_server.bin"));
    if nix::unistd::geteuid().is_root() {
        command.uid(65_534).gid(65_534);
    }
    let run = Run::of(&mut command, reports.path());
    if run.report["rehearsal"].is_object() {
        let reason = run.report["rehearsal"]["reason"].as_str().unwrap();
        assert!(reason.contains("namespace"), "{}", words(&run.output));
        eprintln!("not tested: {reason}");
        return;
    }
    run.is_conformant(60);
    assert_eq!(real_paths(), before, "the machine's own directories are as they were");
}

/// Every process whose arguments hold `mark` (POSIX.1-2024, ps).
fn processes_with(mark: &str) -> Vec<String> {
    let output = Command::new("ps").args(["-A", "-o", "pid=,args="]).output().unwrap();
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    text.lines().filter(|line| line.contains(mark)).map(str::to_owned).collect()
}

#[rstest]
#[case("never-listens", "listens within")]
#[case("starts-slowly", "listens within")]
#[case("exits-at-once", "it exited with status 1, and says: no database")]
#[case("tells-a-wrong-word", "`eighty` where its port should be")]
#[case("tells-a-wrong-port", "can connect to 127.0.0.1:")]
#[case("hangs-on-stop", "of SIGTERM; actual: its daemon is still there")]
#[case("overlooks-a-stop", "its daemon is still there; after a second SIGTERM it ended")]
#[case("forks-an-escaper", "no process of the server is left after its end")]
#[case("floods-its-output", "floods its output: more than 16 MiB")]
#[case("ends-with-its-client", "connection")]
#[case("swallows-all", "hears what it says")]
fn a_target_that_is_not_as_its_manifest_says_is_an_error(#[case] how: &str, #[case] words: &str) {
    let dir = TempDir::new().unwrap();
    let script = dir.path().join("faults.py");
    fs::copy(format!("{TARGETS}/faults.py"), &script).unwrap();
    let temporary = dir.path().join("tmp");
    fs::create_dir(&temporary).unwrap();
    let manifest = dir.path().join("target.toml");
    let text = format!(
        "name = \"{how}\"\n[launch]\nprogram = \"{}\"\n\
         arguments = [\"{{manifest-dir}}/faults.py\", \"{how}\", \"{{port}}\"]\n\
         [ready]\nby = \"output\"\nline = \"listening on port {{port}}\"\nlimit = 3\n",
        python()
    );
    fs::write(&manifest, text).unwrap();
    let report = dir.path().join("report.json");
    let begin = Instant::now();
    let output = forkproof()
        .args(["run", "listen/*", "delivery/*", "--target"])
        .arg(&manifest)
        .arg("--report")
        .arg(&report)
        .env("TMPDIR", &temporary)
        .output()
        .unwrap();
    let shown = self::words(&output);
    assert_eq!(output.status.code(), Some(3), "{shown}");
    let errors: Vec<&str> = shown.lines().filter(|line| line.starts_with("error ")).collect();
    assert_eq!(errors.len(), 1, "{shown}");
    assert!(errors[0].contains(words) && errors[0].contains(how), "{shown}");
    let took = begin.elapsed().as_secs_f64();
    let left: Vec<_> = fs::read_dir(&temporary).unwrap().collect();
    assert!(left.is_empty(), "{left:?}");
    let mark = dir.path().display().to_string();
    assert_eq!(processes_with(&mark), [""; 0], "{shown}");
    let report: Value = serde_json::from_str(&fs::read_to_string(&report).unwrap()).unwrap();
    // Bounded: the limits are of seconds, which count for more on a machine that is very slow.
    let slowness = report["options"]["slowness"].as_f64().unwrap();
    assert!(took < f64::max(120.0, 8.0 * slowness), "{shown}");
    let entries = report["requirements"].as_array().unwrap();
    assert!(!entries.is_empty() && entries.iter().all(|entry| entry["verdict"] == "error"));
    assert_eq!(report["conclusion"], "no-verdict");
}

#[test]
fn the_end_of_a_server_is_asked_of_one_that_sleeps_where_the_moment_is_not_the_point() {
    let dir = open_dir();
    fs::copy(format!("{TARGETS}/faults.py"), dir.path().join("faults.py")).unwrap();
    let manifest = dir.path().join("target.toml");
    let text = "name = \"works\"\n[launch]\nprogram = \"python3\"\n\
                arguments = [\"{manifest-dir}/faults.py\", \"overlooks-a-stop-at-work\", \"{port}\"]\n";
    fs::write(&manifest, text).unwrap();
    let mut command = forkproof();
    command.args(["run", "processes/umask-of-created-files", "--target"]);
    let run = Run::of(command.arg(&manifest).arg("--program").arg(python()), dir.path());
    run.is_conformant(1);
}

#[test]
fn a_failure_of_a_foreign_server_shows_all_that_is_needed() {
    let dir = open_dir();
    let program = compiled(dir.path(), "broadcast.c");
    let output = forkproof()
        .args(["run", "locking/writer-waits-for-exclusive", "--as", "flock-does-nothing"])
        .arg("--target")
        .arg(format!("{TARGETS}/broadcast.toml"))
        .arg("--program")
        .arg(program)
        .output()
        .unwrap();
    let shown = words(&output);
    assert_eq!(output.status.code(), Some(1), "{shown}");
    for part in [
        "nothing is appended while another program holds an exclusive lock on the log",
        "Claimed:      `log-lock`, that the server locks the chat log",
        "alice: sends \"said while the log was locked",
        "check: takes an exclusive lock on the log",
        "broadcast sleeping: ignored HUP,",
        "Locks on the chat log:",
        "The server's output:",
        "listening on 127.0.0.1:",
        "Again:        forkproof run locking/writer-waits-for-exclusive --target ",
    ] {
        assert!(shown.contains(part), "`{part}` is not in: {shown}");
    }
}

/// A manifest for the server in C, with `launch` and `rest` of its own.
fn broadcast_manifest(dir: &Path, launch: &str, rest: &str) -> PathBuf {
    let file = dir.join("target.toml");
    let text = format!(
        "name = \"broadcast\"\nclaims = [\"half-close\"]\n\
         [launch]\n{launch}\n{rest}\n[processes]\nmodel = \"per-client\"\n[log]\nsymbolic-links = \"followed\"\n"
    );
    fs::write(&file, text).unwrap();
    file
}

const PLAIN: &str = r#"arguments = ["-l", "127.0.0.1:{port}", "{log}"]"#;

#[rstest]
// Found by its port.
#[case::port(PLAIN, "")]
#[case::output(PLAIN, "[ready]\nby = 'output'\nline = 'listening on 127.0.0.1:{port}'")]
// In the background, started by a shell that is gone by then.
#[case::orphan(
    r#"program = 'sh'
       background = true
       arguments = ["-c", 'SERVER -l 127.0.0.1:{port} {log} > {dir}/said 2>&1 &']"#,
    ""
)]
#[case::pid_file(
    r#"program = 'sh'
       background = true
       daemon = "in-pid-file"
       arguments = ["-c", 'SERVER -l 127.0.0.1:{port} {log} > {dir}/said 2>&1 & echo $! > {pid-file}']"#,
    ""
)]
#[case::session_leader(
    r#"program = 'sh'
       background = true
       daemon = "session-leader"
       arguments = ["-c", 'setsid SERVER -l 127.0.0.1:{port} {log} > {dir}/said 2>&1 &']"#,
    ""
)]
#[case::file(
    r#"program = 'sh'
       arguments = ["-c", 'mkfifo {dir}/fifo; (read line; echo up > {ready-file}) < {dir}/fifo & exec SERVER -l 127.0.0.1:{port} {log} > {dir}/fifo']
       directory = "{dir}"
       [[launch.files]]
       path = "{dir}/unused"
       content = """#,
    "[ready]\nby = 'file'"
)]
// Its clients' processes live on when it is told to end.
#[case::keeps(
    r#"arguments = ["-k", "-l", "127.0.0.1:{port}", "{log}"]"#,
    "[stop]\nends = 'daemon'\nstatus = 0"
)]
fn servers_are_found_in_each_way(#[case] launch: &str, #[case] rest: &str) {
    let dir = open_dir();
    let program = compiled(dir.path(), "broadcast.c").display().to_string();
    let launch = launch.replace("SERVER", &program).replace("exec 3>&1;", "mkfifo {dir}/fifo;");
    let manifest = broadcast_manifest(dir.path(), &launch, rest);
    let mut command = forkproof();
    command.args(["run", "handler-persists", "cluster-ends-with-client", "group-is-private"]);
    command.arg("--target").arg(manifest);
    if !launch.contains("program =") {
        command.arg("--program").arg(program);
    }
    let run = Run::of(&mut command, dir.path());
    run.is_conformant(3);
}

#[test]
fn a_claim_that_is_not_true_is_a_failure_that_names_it() {
    let dir = open_dir();
    let program = compiled(dir.path(), "broadcast.c");
    let manifest = broadcast_manifest(dir.path(), PLAIN, "");
    let output = forkproof()
        .args(["run", "half-close-gets-its-echo", "--target"])
        .arg(manifest)
        .arg("--program")
        .arg(program)
        .output()
        .unwrap();
    let shown = words(&output);
    assert_eq!(output.status.code(), Some(1), "{shown}");
    assert!(shown.contains("Claimed:      `half-close`, that the server still sends"), "{shown}");
}

/// A manifest that is right; the mistakes below are made in it.
const RIGHT: &str = "name = \"server\"\n\
                     claims = [\"sigint\"]\n\
                     [launch]\n\
                     program = \"sh\"\n\
                     arguments = [\"-c\", \"exit\", \"{port}\"]\n\
                     [wire]\n\
                     key = 128\n\
                     [log]\n\
                     path = \"{dir}/chat.log\"\n";

#[rstest]
#[case::unknown_key(
    "[wire]",
    "[wire]\nreply = 7",
    "7: unknown key `reply`: did you mean `replay`?"
)]
#[case::unknown_table("[log]", "[logg]", "8: unknown key `logg`: did you mean `log`?")]
#[case::unknown_claim("sigint", "sigitn", "2: unknown claim `sigitn`: did you mean `sigint`?")]
#[case::claimed_twice("[\"sigint\"]", "[\"sigint\", \"sigint\"]", "2: `sigint` is claimed twice")]
#[case::claim_without_fact(
    "\"sigint\"",
    "\"replay\"",
    "2: `replay` is claimed, but it takes wire.replay = LINES"
)]
#[case::claim_without_another(
    "\"sigint\"",
    "\"generations\"",
    "2: `generations` makes no sense without `independent-clients`"
)]
#[case::claim_without_option(
    "\"sigint\"",
    "\"ipv6\"",
    "2: `ipv6` is claimed, but there is no options.address"
)]
#[case::unknown_placeholder(
    "{port}",
    "{prot}",
    "5: unknown placeholder `prot`: did you mean `port`?"
)]
#[case::misplaced_placeholder("{port}", "{port} {lines}", "5: {lines} has no value here")]
#[case::open_brace("{port}", "{port", "5: a `{` without its `}`")]
#[case::no_port("\"{port}\"", "\"7722\"", "3: nobody knows the port")]
#[case::no_name("name = \"server\"\n", "", "1: missing key `name`")]
#[case::bad_name("\"server\"", "\"a server\"", "1: `a server` is no name")]
#[case::no_launch("[launch]", "[lunch]", "3: unknown key `lunch`: did you mean `launch`?")]
#[case::wrong_type("key = 128", "key = \"128\"", "7: invalid type: string \"128\", expected u64")]
#[case::key_length("key = 128", "key = 3", "7: a key has 8 to 4096 bytes")]
#[case::negative("key = 128", "key = -1", "7: invalid value: integer `-1`, expected u64")]
#[case::ending("key = 128", "ending-in = \"crlf\"", "7: unknown value `crlf`")]
#[case::ready(
    "[log]",
    "[ready]\nby = \"prot\"\n[log]",
    "9: unknown value `prot`: did you mean `port`?"
)]
#[case::ready_line(
    "[log]",
    "[ready]\nline = \"x\"\n[log]",
    "8: ready.line belongs to by = \"output\""
)]
#[case::limit("[log]", "[ready]\nlimit = 0\n[log]", "9: a number of seconds must be more than 0")]
#[case::signal(
    "[log]",
    "[stop]\nsignal = \"SIGTREM\"\n[log]",
    "9: unknown signal `SIGTREM`: did you mean `SIGTERM`?"
)]
#[case::outside(
    "{dir}/chat.log",
    "/var/log/chat.log",
    "9: `/var/log/chat.log` is outside of the check's directory"
)]
#[case::climbing("{dir}/chat.log", "{dir}/../chat.log", "9: `{dir}/../chat.log` is outside")]
#[case::mode(
    "[wire]",
    "[[launch.files]]\npath = \"{dir}/x\"\ncontent = \"\"\nmode = \"0999\"\n[wire]",
    "9: `0999` is no mode"
)]
#[case::bind(
    "[wire]",
    "[[launch.bind]]\npath = \"etc\"\nfrom = \"{dir}/etc\"\n[wire]",
    "7: launch.bind: `etc` must be an absolute path"
)]
#[case::option(
    "[wire]",
    "[options]\nreplay = [\"--replay\"]\n[wire]",
    "7: these arguments should hold {lines}"
)]
#[case::timeout(
    "key = 128",
    "auth-timeout = 1",
    "7: there is a time for the key, but wire.key says there is none"
)]
#[case::not_toml("[wire]", "[wire", "6: ")]
fn a_mistake_in_a_manifest_is_named_with_its_line(
    #[case] right: &str,
    #[case] wrong: &str,
    #[case] message: &str,
) {
    assert!(RIGHT.contains(right));
    is_refused(&RIGHT.replacen(right, wrong, 1), &format!("server.toml:{message}"));
}

/// Another manifest that is right, of a server that is no chat.
const ATTACHED: &str = "name = \"server\"\n\
                        [launch]\n\
                        program = \"sh\"\n\
                        arguments = [\"-D\", \"{port}\"]\n\
                        [processes]\n\
                        model = \"per-client\"\n\
                        [wire]\n\
                        kind = \"exchange\"\n\
                        request = 'PING {token}'\n\
                        response = '{token}'\n";

#[rstest]
#[case::kind(
    "\"exchange\"",
    "\"exchagne\"",
    "8: unknown value `exchagne`: did you mean `exchange`?"
)]
#[case::kind_of_type("\"exchange\"", "7", "8: ")]
#[case::model(
    "\"per-client\"",
    "\"per-clients\"",
    "6: unknown value `per-clients`: did you mean `per-client`?"
)]
#[case::no_response("response = '{token}'\n", "", "8: kind = \"exchange\" takes wire.request")]
#[case::no_greeting(
    "kind = \"exchange\"\nrequest = 'PING {token}'\nresponse = '{token}'",
    "kind = \"greeting\"",
    "8: kind = \"greeting\" takes wire.greeting"
)]
#[case::belongs_elsewhere(
    "\"exchange\"",
    "\"http\"",
    "9: wire.request belongs to kind = \"exchange\""
)]
#[case::replay_without_chat(
    "response =",
    "replay = 3\nresponse =",
    "10: wire.replay belongs to kind = \"chat\""
)]
#[case::escape("PING", "PING\\q", "9: an unknown escape")]
#[case::empty("'{token}'", "''", "10: an empty text")]
#[case::token_in_greeting(
    "response =",
    "greeting = '{token}'\nresponse =",
    "10: {token} has no value in wire.greeting"
)]
#[case::until_word(
    "response =",
    "until = \"lien\"\nresponse =",
    "10: unknown value `lien`: did you mean `line`?"
)]
#[case::until_length("response =", "until = 0\nresponse =", "10: an answer has 1 to")]
#[case::until_type(
    "response =",
    "until = true\nresponse =",
    "10: invalid type: boolean `true`, expected \"match\""
)]
#[case::until_bytes("response =", "until = {{ bytes = '' }}\nresponse =", "10: ")]
#[case::again(
    "response =",
    "again = \"sane\"\nresponse =",
    "10: unknown value `sane`: did you mean `same`?"
)]
#[case::clients("response =", "clients = 0\nresponse =", "10: ")]
#[case::again_of_an_echo(
    "kind = \"exchange\"\nrequest = 'PING {token}'\nresponse = '{token}'",
    "kind = \"echo\"\nagain = \"none\"",
    "9: wire.again belongs to"
)]
#[case::status(
    "kind = \"exchange\"\nrequest = 'PING {token}'\nresponse = '{token}'",
    "kind = \"http\"\nstatus = 99",
    "9: wire.status is a final HTTP status"
)]
#[case::log_of_no_chat("[wire]", "[log]\n[wire]", "7: [log] is the log of a chat")]
#[case::prepare_nothing(
    "[processes]",
    "[[launch.prepare]]\ncommand = []\n[processes]",
    "6: `command` names no program"
)]
#[case::prepare_placeholder(
    "[processes]",
    "[[launch.prepare]]\nonce = true\ncommand = [\"ls\", \"{dir}\"]\n[processes]",
    "7: {dir} has no value here"
)]
#[case::needs_root(
    "program",
    "needs-root = \"yes\"\nprogram",
    "3: invalid type: string \"yes\", expected a boolean"
)]
#[case::exclusive(
    "program",
    "exclusive = 1\nprogram",
    "3: invalid type: integer `1`, expected a boolean"
)]
#[case::instead(
    "[processes]",
    "[options]\ndaemon = {{ instead-of = [\"-F\"], arguments = [\"-d\"] }}\n[processes]",
    "6: instead-of: launch.arguments has no such arguments"
)]
#[case::instead_key(
    "[processes]",
    "[options]\ndaemon = {{ insteadof = [\"-D\"] }}\n[processes]",
    "6: unknown key `insteadof`: did you mean `instead-of`?"
)]
#[case::words_of_type(
    "[processes]",
    "[options]\ndaemon = \"-d\"\n[processes]",
    "6: invalid type: string \"-d\", expected a list of arguments"
)]
#[case::address_nowhere(
    "[processes]",
    "[options]\naddress = []\n[processes]",
    "these arguments should hold {address}"
)]
#[case::addresses("[processes]", "[options]\naddresses = 0\n[processes]", "6: ")]
#[case::address_in_arguments("\"{port}\"", "\"{address}\"", "4: {address} has no value here")]
#[case::model_claimed(
    "[launch]",
    "claims = [\"clusters\"]\n[launch]",
    "2: `clusters` is claimed, but it takes processes.model = \"clusters\""
)]
fn a_mistake_in_what_any_server_has_is_named_with_its_line(
    #[case] right: &str,
    #[case] wrong: &str,
    #[case] message: &str,
) {
    assert!(ATTACHED.contains(right));
    let wrong = wrong.replace("{{", "{").replace("}}", "}");
    let message = match message.starts_with(|c: char| c.is_ascii_digit()) {
        true => format!("server.toml:{message}"),
        false => message.to_owned(),
    };
    is_refused(&ATTACHED.replacen(right, &wrong, 1), &message);
}

/// A manifest of that text is refused in one line, which begins with its file and holds `message`.
fn is_refused(text: &str, message: &str) {
    let dir = TempDir::new().unwrap();
    let file = dir.path().join("server.toml");
    fs::write(&file, text).unwrap();
    let output = forkproof().args(["run", "--target"]).arg(&file).output().unwrap();
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    assert_eq!(output.status.code(), Some(2), "{said}");
    assert_eq!(said.lines().count(), 1, "{said}");
    assert!(said.contains(&format!("{}:", file.display())), "{said}");
    assert!(said.contains(message), "{said}");
}

#[rstest]
#[case::unknown(&["--target", "papayacaht"], "unknown target `papayacaht`: did you mean `papayachat`?")]
#[case::no_file(&["--target", "no/such.toml"], "no/such.toml: cannot be read: No such file")]
#[case::a_directory(&["--target", "/tmp"], "/tmp: cannot be read: Is a directory")]
#[case::no_program(&["--target", "papayachat"], "names no program of its own: give it with --program FILE")]
#[case::program_is_missing(&["--target", "papayachat", "--program", "/no/such"], "program /no/such: No such file")]
#[case::program_is_no_program(&["--target", "papayachat", "--program", "/etc/passwd"], "program /etc/passwd: Permission denied")]
fn a_target_that_cannot_be_had_is_named(#[case] arguments: &[&str], #[case] message: &str) {
    let output = forkproof().arg("run").args(arguments).output().unwrap();
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    assert_eq!(output.status.code(), Some(2), "{said}");
    assert_eq!(said.lines().count(), 1, "{said}");
    assert!(said.contains(message), "{said}");
}
