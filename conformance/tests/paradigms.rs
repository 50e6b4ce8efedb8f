//! `forkproof bench paradigms`: what it measures is compared with what servers know of themselves.

use std::io::Write;
use std::net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::sync::{Mutex, MutexGuard, OnceLock, PoisonError};
use std::time::{Duration, Instant};

use rstest::rstest;
use serde_json::Value;

const SCHEMA: &str = include_str!("../schema/forkproof-paradigms-1.schema.json");

fn forkproof() -> Command {
    Command::new(env!("CARGO_BIN_EXE_forkproof"))
}

/// Two measurements at a time would take each other's processor.
fn alone() -> MutexGuard<'static, ()> {
    static ALONE: Mutex<()> = Mutex::new(());
    ALONE.lock().unwrap_or_else(PoisonError::into_inner)
}

/// The server that burns, built once.
fn burner() -> &'static Path {
    static BURNER: OnceLock<(tempfile::TempDir, PathBuf)> = OnceLock::new();
    &BURNER
        .get_or_init(|| {
            let dir = tempfile::tempdir().unwrap();
            let program = dir.path().join("burn");
            let source = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/paradigms/burn.c");
            let built = Command::new("cc")
                .args(["-O2", "-Wall", "-Wextra", "-Werror", "-pthread", "-o"])
                .args([program.as_path(), Path::new(source)])
                .output()
                .unwrap();
            assert!(built.status.success(), "{}", String::from_utf8_lossy(&built.stderr));
            (dir, program)
        })
        .1
}

/// The command that measures the burner alone, at one connection: 40 messages in a second.
fn burning(how: &str, microseconds: u32, record: &Path) -> Command {
    let mut command = forkproof();
    let burner = burner().display();
    let record = record.display();
    command
        .args(["bench", "paradigms", "--sinks", "none", "--rounds", "1", "--points", "1"])
        .args(["--rate", "1310720", "--report", "-", "--peer"])
        .arg(format!("burn={burner} {{port}} {how} {microseconds} {record}"));
    command
}

fn validated(output: &Output) -> Value {
    let errors = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(0), "{errors}");
    as_its_schema_says(&output.stdout)
}

fn as_its_schema_says(report: &[u8]) -> Value {
    let report = serde_json::from_slice(report).unwrap();
    let schema = jsonschema::validator_for(&serde_json::from_str(SCHEMA).unwrap()).unwrap();
    let wrong: Vec<String> =
        schema.iter_errors(&report).map(|e| format!("{}: {e}", e.instance_path)).collect();
    assert!(wrong.is_empty(), "{wrong:?}");
    report
}

#[test]
fn the_published_measurement_is_as_its_schema_says() {
    as_its_schema_says(include_bytes!("../docs/src/measured/paradigms.json"));
}

/// Whether this machine lets the measurement make a group.
fn has_groups() -> bool {
    static HAS: OnceLock<bool> = OnceLock::new();
    *HAS.get_or_init(|| {
        let dir = tempfile::tempdir().unwrap();
        let output = burning("here", 100, &dir.path().join("record"))
            .args(["--seconds", "1", "--accounting", "cgroup"])
            .output()
            .unwrap();
        if !output.status.success() {
            eprintln!("not run: {}", String::from_utf8_lossy(&output.stderr).trim());
        }
        output.status.success()
    })
}

/// What the server says it used, and what was measured, in ms.
fn said_and_measured(how: &str, accounting: &str) -> (f64, f64) {
    /// A machine that is busy with something else may let the server fall behind.
    const ATTEMPTS: usize = 5;
    for _ in 0..ATTEMPTS {
        let dir = tempfile::tempdir().unwrap();
        let record = dir.path().join("record");
        let output = burning(how, 8000, &record)
            .args(["--seconds", "4", "--accounting", accounting])
            .output()
            .unwrap();
        let report = validated(&output);
        let sample = &report["cells"][0]["samples"][0];
        let noted = std::fs::read_to_string(&record).unwrap();
        let noted: Vec<f64> = noted.lines().map(|line| line.parse().unwrap()).collect();
        // The first message comes before the window.
        let said = match how {
            "alone" => noted[1..].iter().sum::<f64>(),
            _ => noted.last().unwrap() - noted[0],
        };
        let messages = sample["messages"].as_u64().unwrap();
        let is_whole = report["cells"][0]["unmade_percent"].is_null();
        if is_whole && report["cells"][0]["behind"] == 0 && noted.len() as u64 == messages + 1 {
            return (said / 1e3, sample["processor_ms"].as_f64().unwrap());
        }
    }
    panic!("the machine is too busy: {ATTEMPTS} times the server fell behind a load of a third");
}

fn is_within_2_percent(how: &str, accounting: &str) {
    let (said, measured) = said_and_measured(how, accounting);
    println!("{how}, {accounting}: {said:.1} ms by getrusage, {measured:.1} ms measured");
    assert!(said > 1000.0, "the server burns: {said}");
    assert!((measured / said - 1.0).abs() < 0.02, "{said} ms were used, {measured} ms measured");
}

#[rstest]
fn processes_are_measured_within_2_percent(
    #[values("here", "thread", "child", "grandchild")] how: &str,
) {
    let _alone = alone();
    is_within_2_percent(how, "processes");
}

#[rstest]
fn a_group_is_measured_within_2_percent(#[values("here", "thread", "child")] how: &str) {
    let _alone = alone();
    if has_groups() {
        is_within_2_percent(how, "cgroup");
    }
}

/// A group counts those as well that nobody waits for. What they tell lacks their beginning and their
/// end, a fraction of a millisecond each.
#[test]
fn a_group_counts_children_that_nobody_waits_for() {
    let _alone = alone();
    if has_groups() {
        let (said, measured) = said_and_measured("alone", "cgroup");
        println!("alone: {said:.1} ms by their own clocks, {measured:.1} ms measured");
        assert!(said <= measured && measured < said * 1.15, "{said} ms, {measured} ms measured");
    }
}

/// Elsewhere what is unread is not told.
#[cfg(target_os = "linux")]
#[test]
fn a_load_that_cannot_be_carried_is_told() {
    let _alone = alone();
    let dir = tempfile::tempdir().unwrap();
    let output =
        burning("slow", 0, &dir.path().join("record")).args(["--seconds", "2"]).output().unwrap();
    let report = validated(&output);
    let cell = &report["cells"][0];
    assert_eq!(cell["behind"], 1);
    // It reads 10 kB of 164 kB in a second.
    let missing = cell["missing_percent"].as_f64().unwrap();
    assert!((80.0..100.0).contains(&missing), "{missing}");
    let words = String::from_utf8(output.stderr).unwrap();
    assert!(
        words.contains("burn with 1 connection fell behind its load in 1 of 1 round"),
        "{words}"
    );
    assert!(words.contains("burn (!)"), "{words}");
}

#[rstest]
#[case::ends_at_once("sh -c 'echo no luck >&2; exit 7' {port}", "no luck")]
#[case::ends_quietly("true {port}", "it says nothing on standard error")]
#[case::never_listens("sh -c 'exec sleep 0.1' {port}", "never listened")]
fn a_peer_that_dies_is_told_in_one_line(#[case] command: &str, #[case] words: &str) {
    let output = forkproof()
        .args(["bench", "paradigms", "--sinks", "none", "--points", "1", "--peer"])
        .arg(format!("dead={command}"))
        .output()
        .unwrap();
    let errors = String::from_utf8(output.stderr).unwrap();
    assert_eq!(output.status.code(), Some(3), "{errors}");
    assert_eq!(errors.lines().count(), 1, "{errors}");
    assert!(errors.contains("the sink dead ended with exit status: "), "{errors}");
    assert!(errors.contains(words), "{errors}");
    assert!(output.stdout.is_empty());
}

#[rstest]
#[case::dies("close", "it does not read to the end; client 1 got")]
#[case::answers("answer", "it answers its clients, and a sink only reads")]
fn a_peer_that_is_no_sink_is_told_in_one_line(#[case] how: &str, #[case] words: &str) {
    let _alone = alone();
    let dir = tempfile::tempdir().unwrap();
    let output =
        burning(how, 0, &dir.path().join("record")).args(["--seconds", "1"]).output().unwrap();
    let errors = String::from_utf8(output.stderr).unwrap();
    assert_eq!(output.status.code(), Some(3), "{errors}");
    assert_eq!(errors.lines().count(), 1, "{errors}");
    assert!(errors.contains(&format!("the sink burn: {words}")), "{errors}");
}

#[rstest]
#[case(&["--points", "0"], "--points: each number must be from 1 to 1024")]
#[case(&["--points", "1,1025"], "--points: each number must be from 1 to 1024")]
#[case(&["--points", "few"], "--points")]
#[case(&["--rounds", "0"], "--rounds")]
#[case(&["--seconds", "0"], "--seconds")]
#[case(&["--rate", "0"], "--rate")]
#[case(&["--message", "0"], "--message")]
#[case(&["--rate", "1000", "--seconds", "5"], "writes 4096 bytes each 33 s: --seconds must be at least that")]
#[case(&["--sinks", "frok"], "unknown paradigm `frok`: did you mean `fork`?")]
#[case(&["--sinks", "none"], "there is nothing to measure")]
#[case(&["--peer", "./sink"], "--peer `./sink`: write NAME=COMMAND")]
#[case(&["--peer", "=./sink {port}"], "it has no name")]
#[case(&["--peer", "c="], "there is no command")]
#[case(&["--peer", "c=sleep 5"], "must say where it listens: {address} or {port}")]
#[case(&["--peer", "c=sleep {prot}"], "unknown placeholder `prot`: did you mean `port`?")]
#[case(&["--peer", "c=sleep {key} {port}"], "{key} has no value here")]
#[case(&["--peer", "c=sleep '{port}"], "missing closing quote")]
#[case(&["--peer", "c=no-such-program {port}"], "there is no program no-such-program")]
#[case(&["--peer", "fork=sleep {port}"], "something else is called fork")]
#[case(&["--report", "-", "--html", "-"], "cannot write two outputs to -")]
#[case(&["--html", "/no/such/dir/p.html"], "cannot write /no/such/dir/p.html")]
fn mistakes_get_one_clear_line(#[case] arguments: &[&str], #[case] words: &str) {
    let output = forkproof().args(["bench", "paradigms"]).args(arguments).output().unwrap();
    let errors = String::from_utf8(output.stderr).unwrap();
    assert_eq!(output.status.code(), Some(2), "{errors}");
    assert!(output.stdout.is_empty());
    assert!(errors.contains(words), "{errors}");
    // clap adds its usage below its own errors.
    assert!(errors.lines().count() == 1 || errors.contains("For more information"), "{errors}");
}

/// Each design under a load, and every form of the report.
#[test]
fn every_design_is_measured_and_shown() {
    let _alone = alone();
    let dir = tempfile::tempdir().unwrap();
    let file = |name: &str| dir.path().join(name);
    let record = file("record");
    let output = forkproof()
        .args(["bench", "paradigms", "--rounds", "2", "--seconds", "1", "--points", "1"])
        .args(["--report", "-", "--html"])
        .arg(file("page.html"))
        .arg("--markdown")
        .arg(file("tables.md"))
        .arg("--peer")
        .arg(format!("<i>|x={} {{port}} here 100 {}", burner().display(), record.display()))
        .output()
        .unwrap();
    let report = validated(&output);
    let names: Vec<&str> =
        report["sinks"].as_array().unwrap().iter().map(|s| s["name"].as_str().unwrap()).collect();
    let inside = ["null", "fork", "prefork", "thread", "poll", "tokio-one", "tokio-many"];
    assert_eq!(names, [inside.as_slice(), &["<i>|x"]].concat());
    for cell in report["cells"].as_array().unwrap() {
        let samples = cell["samples"].as_array().unwrap();
        assert_eq!(samples.len(), 2);
        for sample in samples {
            // The first and the last process of it, or one process alone.
            let processes = match cell["sink"].as_str().unwrap() {
                "fork" | "prefork" => 2,
                _ => 1,
            };
            assert_eq!(sample["processes"], processes, "{cell}");
            assert!(sample["processor_ms"].as_f64().unwrap() > 0.0, "{cell}");
            if cfg!(target_os = "linux") {
                assert!(sample["memory_kib"].as_f64().unwrap() > 0.0, "{cell}");
            }
        }
    }
    let page = std::fs::read_to_string(file("page.html")).unwrap();
    assert!(page.contains("<polyline") && page.contains("Content-Security-Policy"));
    assert!(page.contains("&lt;i&gt;|x") && !page.contains("<i>"), "a name is no markup");
    assert!(!page.contains("http://") && !page.contains("https://"), "the page is self-contained");
    let markdown = std::fs::read_to_string(file("tables.md")).unwrap();
    assert!(markdown.contains("\n## 1 connection\n") && markdown.contains("| \\<i\\>\\|x |"));
    let text = String::from_utf8(output.stderr).unwrap();
    assert!(text.contains("2 rounds say little about variation"), "{text}");
}

/// What a design writes is what its clients sent.
#[rstest]
fn a_design_copies_every_byte(
    #[values("null", "fork", "prefork", "thread", "poll", "tokio-one", "tokio-many")] design: &str,
) {
    const CLIENTS: usize = 3;
    const EACH: usize = 300_000;
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("output");
    let port = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap().local_addr().unwrap().port();
    let at = SocketAddr::from((Ipv4Addr::LOCALHOST, port));
    let file = std::fs::File::options().append(true).create(true).open(&path).unwrap();
    let sink = forkproof()
        .args(["__sink", design, &at.to_string(), &CLIENTS.to_string()])
        .stdout(file)
        .stdin(Stdio::null())
        .process_group(0)
        .spawn()
        .map(Ended)
        .unwrap();
    let connect = || awaited(|| TcpStream::connect(at).ok());
    let mut clients: Vec<TcpStream> = (0..CLIENTS).map(|_| connect()).collect();
    // One after the other, since a design that mixes them up still gets to everything when all write.
    for (number, client) in clients.iter_mut().enumerate() {
        client.write_all(&vec![b'a' + number as u8; EACH]).unwrap();
        client.shutdown(std::net::Shutdown::Write).unwrap();
        // Its end comes when everything has been read.
        client.set_read_timeout(Some(Duration::from_secs(30))).unwrap();
        assert_eq!(std::io::Read::read(client, &mut [0; 8]).unwrap(), 0);
    }
    drop(sink);
    let written = std::fs::read(&path).unwrap();
    let expected = if design == "null" { 0 } else { EACH };
    for number in 0..CLIENTS {
        let byte = b'a' + number as u8;
        assert_eq!(written.iter().filter(|&&b| b == byte).count(), expected, "client {number}");
    }
    assert_eq!(written.len(), expected * CLIENTS);
}

/// Ctrl-C ends everything that was started, and the group goes with it.
#[test]
fn an_interruption_leaves_nothing_behind() {
    let _alone = alone();
    let dir = tempfile::tempdir().unwrap();
    let record = dir.path().join("record");
    let ids = dir.path().join("ids");
    let burn = format!("{} $1 child 100 {}", burner().display(), record.display());
    let measuring = forkproof()
        .args(["bench", "paradigms", "--sinks", "none", "--points", "1", "--seconds", "300"])
        .arg("--peer")
        .arg(format!(
            "burn=sh -c 'echo $$ > {0}.new; mv {0}.new {0}; exec {burn}' sh {{port}}",
            ids.display()
        ))
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let server: i32 = awaited(|| std::fs::read_to_string(&ids).ok()).trim().parse().unwrap();
    // The load has begun.
    awaited(|| std::fs::read_to_string(&record).ok().filter(|text| text.lines().count() > 3));
    let own = measuring.id() as i32;
    let signal = |pid: i32, signal| nix::sys::signal::kill(nix::unistd::Pid::from_raw(pid), signal);
    signal(own, Some(nix::sys::signal::Signal::SIGINT)).unwrap();
    let output = measuring.wait_with_output().unwrap();
    let errors = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(3), "{errors}");
    assert_eq!(errors, "forkproof: interrupted\n");
    assert_eq!(signal(server, None), Err(nix::errno::Errno::ESRCH), "the sink still runs");
    let groups = Command::new("find")
        .args(["/sys/fs/cgroup", "-maxdepth", "6", "-name"])
        .arg(format!("forkproof-bench.{own}"))
        .output()
        .unwrap();
    assert!(groups.stdout.is_empty(), "{}", String::from_utf8_lossy(&groups.stdout));
}

/// What `look` finds within a minute.
fn awaited<T>(look: impl Fn() -> Option<T>) -> T {
    let begin = Instant::now();
    loop {
        if let Some(found) = look() {
            return found;
        }
        assert!(begin.elapsed() < Duration::from_secs(60), "nothing came");
        std::thread::sleep(Duration::from_millis(5));
    }
}

/// The leader of a process group, which ends with this, also when a test fails.
struct Ended(Child);

impl Drop for Ended {
    fn drop(&mut self) {
        let group = nix::unistd::Pid::from_raw(self.0.id() as i32);
        let _ = nix::sys::signal::killpg(group, nix::sys::signal::Signal::SIGKILL);
        let _ = self.0.wait();
    }
}
