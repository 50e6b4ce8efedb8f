//! Servers of other designs than the reference server's: each one that is right is conformant, and
//! each mistake that one of them makes is found by the requirement that names it.
//!
//! They are in C (targets/*.c) and take a compiler, `cc`. With `-x NAME` a server has a defect, one
//! that real servers have had.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::fs::{self, Permissions};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};
use std::sync::{Mutex, OnceLock, PoisonError};
use std::thread;

use rstest::rstest;
use serde_json::Value;
use tempfile::TempDir;

/// Whole runs, one at a time: each keeps every processor busy.
static TURN: Mutex<()> = Mutex::new(());

const TARGETS: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/targets");

/// Any server without the defect in question can do this, whatever else it does wrong.
const BASIC: &str = "listen/clients-are-served";

/// A mistake, and how it is found.
struct Defect {
    /// Its name, for -x.
    name: &'static str,
    /// The requirement that fails.
    id: &'static str,
    /// What it says: words of Expected and Actual, one after the other; `a|b` stands for either.
    words: &'static str,
    /// A requirement that passes all the same.
    beside: &'static str,
    /// A line of the manifest that is not true with the defect, so that the rehearsal would refuse it.
    untrue: Option<&'static str>,
}

const fn defect(name: &'static str, id: &'static str, words: &'static str) -> Defect {
    Defect { name, id, words, beside: BASIC, untrue: None }
}

impl Defect {
    /// Where the basic requirement fails, too.
    const fn beside(self, beside: &'static str) -> Self {
        Self { beside, ..self }
    }

    const fn without(self, line: &'static str) -> Self {
        Self { untrue: Some(line), ..self }
    }
}

const ECHO: &str = "forking-echo";
const HTTP: &str = "forking-http";
const WORKERS: &str = "prefork";
const STORE: &str = "keyvalue";
const THREADS: &str = "threaded";
const DAEMON: &str = "daemon";
const CHAT: &str = "broadcast";
const FEW: &str = "few-clients";

/// The defects of each server.
const DEFECTS: &[(&str, &[Defect])] = &[
    (
        ECHO,
        &[
            defect("no-v6only", "listen/same-port-both-families", "Address already in use"),
            defect("no-v6only", "listen/default-serves-both-families", "Address already in use"),
            defect("no-v6only", "listen/ipv6-wildcard-is-ipv6-only", "IPV6_V6ONLY"),
            defect("default-ipv4-only", "listen/default-serves-both-families", "[::1]"),
            defect("ipv6-missing-fatal", "listen/kernel-without-ipv6", "[::]"),
            defect("port-in-use-exit-0", "listen/port-in-use", "exit non-zero"),
            defect("port-in-use-unnamed", "listen/port-in-use", "is named"),
            defect(
                "falls-back-to-another-port",
                "listen/privileged-port",
                "the server listens on 127.0.0.1",
            ),
            defect("ignores-bad-address", "listen/bad-address", "it starts and listens"),
            defect("gai-error-by-perror", "listen/unresolvable-host", "Success"),
            defect("no-reuseaddr", "listen/rebind-over-time-wait", "Address already in use"),
            defect(
                "listener-leaks-to-child",
                "listen/rebind-while-clusters-live",
                "Address already in use",
            ),
            defect(
                "listener-leaks-to-child",
                "listen/children-do-not-hold-the-listener",
                "listening socket open",
            ),
            defect(
                "siblings-inherit-clients",
                "listen/children-do-not-hold-the-listener",
                "another client's socket",
            ),
            defect("reuseport", "listen/no-double-listen", "on which another daemon listens"),
            defect("nonblocking-client-spins", "listen/accepted-socket-state", "processor time"),
            defect("backlog-1", "listen/connect-burst", "client-|the queue of connections"),
            defect("getpeername-fatal", "listen/aborted-before-accept", "bob"),
            defect("mapped-peer-names", "listen/peer-address-is-plain", "::ffff:"),
            defect("binds-wildcard", "listen/loopback-alias", "127.0.0.1"),
            defect("drops-scope", "listen/link-local-with-scope", "Invalid argument"),
            defect("one-wait-per-sigchld", "signals/children-reaped", "zombies"),
            defect("never-waits", "signals/children-reaped", "zombies"),
            defect("sysv-signal-handler", "signals/children-reaped", "zombies"),
            defect(
                "interrupted-accepts-are-counted",
                "signals/accept-survives-sigchld",
                "accept: Interrupted system call",
            )
            .beside("listen/loopback-alias"),
            defect("child-table-of-four", "signals/sigterm-ends-all", "still open"),
            defect("term-exit-status", "signals/sigterm-ends-all", "exits with status 0")
                .without("status = 0"),
            defect("no-sigint-handler", "signals/sigint-ends-all", "SIGINT"),
            defect("no-sighup-handler", "signals/sighup-survived", "killed by SIGHUP"),
            defect("inherits-ignored-signals", "signals/inherited-ignored", "SIGTERM"),
            defect("inherits-ignored-sigchld", "signals/inherited-ignored", "SIGTERM"),
            defect("inherits-blocked-mask", "signals/inherited-blocked", "leave no zombie"),
            defect("kill-0-group", "signals/group-is-private", "process group gets no signal"),
            defect("sigpipe-default", "signals/dispositions-as-documented", "PIPE"),
            defect(
                "reset-client-stays",
                "processes/cluster-ends-with-client",
                "it reset the connection",
            ),
            defect(
                "end-of-client-spins",
                "processes/cluster-ends-with-client",
                "it closed the connection",
            ),
            defect(
                "killed-child-ends-daemon",
                "processes/other-clients-unharmed-by-a-kill",
                "killed by signal 9",
            ),
            defect(
                "fork-failure-exit",
                "processes/fork-refused",
                "the daemon outlives a failed fork",
            ),
            defect("fork-failure-keeps-client", "processes/fork-refused", "client-"),
            defect("emfile-spin", "processes/descriptors-exhausted", "does not spin"),
            defect(
                "client-socket-leaks-in-parent",
                "processes/no-descriptor-leak",
                "descriptors open",
            ),
            defect("memory-per-client", "processes/no-memory-growth", "it has grown"),
            defect("busy-poll", "processes/idle-is-idle", "processor time"),
            defect("no-setsid", "processes/daemonizes", "session of its own"),
            defect("single-fork", "processes/daemon-leads-no-session", "session"),
            defect("daemon-keeps-directory", "processes/daemonizes", "directory is /"),
            defect("daemon-keeps-standard-descriptors", "processes/daemonizes", "/dev/null"),
            defect("launcher-exits-early", "processes/launcher-status-is-honest", "exits non-zero"),
            defect("keeps-root-groups", "processes/drops-privileges", "groups"),
            defect("seteuid-only", "processes/drops-privileges", "ids are"),
            defect(
                "max-clients-never-freed",
                "processes/clients-are-limited",
                "a place that became free",
            ),
            defect("select-fd-setsize", "width/descriptor-above-1024", "killed by SIGABRT"),
            defect("closes-all-descriptors", "width/rlim-infinity", "descriptors allowed"),
            defect("uid-as-short", "width/uid-above-65535", "root"),
            defect("missing-family-ignored", "listen/kernel-without-ipv6", "it starts and listens"),
            defect(
                "half-close-loses-what-was-read",
                "delivery/half-close-gets-its-echo",
                "it hears",
            ),
            defect(
                "children-die-with-parent",
                "processes/chat-survives-killed-daemon",
                "closed the connection|reset the connection",
            ),
            defect(
                "interrupted-read-ends-client",
                "signals/stop-and-continue",
                "was stopped serves its client on",
            ),
            defect(
                "client-socket-leaks-in-parent",
                "processes/receiver-death-ends-cluster",
                "still open",
            ),
            defect("no-v6only", "listen/same-port-under-either-default", "Address already in use"),
            defect("no-v6only", "listen/ipv6-wildcard-under-either-default", "IPV6_V6ONLY"),
            defect("v6only-failure-fatal", "listen/v6only-cannot-be-set", "IPV6_V6ONLY"),
            defect(
                "half-of-the-addresses-is-enough",
                "listen/one-family-taken",
                "says that it does without",
            ),
            defect("addrconfig", "listen/loopback-only-host", "localhost"),
            defect("term-lost-after-fork", "signals/fork-window", "ends within"),
            defect("stopped-child-blocks-end", "signals/stop-then-term", "SIGTERM"),
            defect(
                "idle-time-by-wall-clock",
                "signals/clock-jump-survived",
                "closed the connection",
            ),
            defect("close-range-or-nothing", "width/old-seccomp-filter", "close_range"),
            defect("time-in-an-int", "width/time-past-2038", "the clock is not set"),
            defect("short-write-lost", "processes/short-writes-to-clients", "hears"),
            defect(
                "standard-descriptors-unchecked",
                "processes/standard-descriptors-closed",
                "descriptor 2",
            ),
            defect(
                "daemon-keeps-standard-descriptors",
                "processes/inherited-descriptors-unused",
                "whoever reads",
            ),
            defect("waits-for-known-children-only", "processes/as-pid-1", "is reaped"),
            defect(
                "daemon-umask-0",
                "processes/umask-of-created-files",
                "can be written by everyone",
            ),
        ],
    ),
    (
        HTTP,
        &[
            defect("one-wait-per-sigchld", "signals/children-reaped", "zombies"),
            defect(
                "listener-leaks-to-child",
                "listen/children-do-not-hold-the-listener",
                "listening socket open",
            ),
        ],
    ),
    (
        WORKERS,
        &[
            defect("reuseport", "listen/no-double-listen", "on which another daemon listens"),
            defect("backlog-1", "listen/connect-burst", "client-|the queue of connections"),
            defect("no-v6only", "listen/same-port-both-families", "Address already in use"),
            defect("emfile-spin", "processes/descriptors-exhausted", "does not spin"),
            defect("client-socket-leaks", "processes/no-descriptor-leak", "descriptors open"),
            defect("memory-per-client", "processes/no-memory-growth", "it has grown"),
            defect("stopped-child-blocks-end", "signals/stop-then-term", "SIGTERM"),
            defect(
                "workers-keep-launchers-output",
                "processes/inherited-descriptors-unused",
                "whoever reads",
            ),
        ],
    ),
    (
        STORE,
        &[
            defect("econnreset-fatal", "listen/aborted-before-accept", "bob"),
            defect("term-exit-status", "signals/sigterm-ends-all", "exits with status 0")
                .without("status = 0"),
            defect("no-sighup-handler", "signals/sighup-survived", "killed by SIGHUP"),
            defect("sigpipe-default", "signals/client-reset", "killed by SIGPIPE"),
            defect("emfile-spin", "processes/descriptors-exhausted", "does not spin"),
            defect("emfile-exit", "processes/descriptors-exhausted", "the daemon outlives EMFILE"),
            defect("emfile-closes-listener", "processes/descriptors-exhausted", "carol"),
            defect("client-socket-leaks", "processes/no-descriptor-leak", "descriptors open"),
            defect("memory-per-client", "processes/no-memory-growth", "it has grown"),
            defect("busy-poll", "processes/idle-is-idle", "processor time"),
            defect("select-fd-setsize", "width/descriptor-above-1024", "SIGABRT"),
            defect("blocking-reads", "listen/blocking-client-stalls-nobody", "bob"),
            defect("sigterm-default", "processes/as-pid-1", "ends within").without("status = 0"),
        ],
    ),
    (
        THREADS,
        &[
            defect("sigpipe-default", "signals/client-reset", "killed by SIGPIPE"),
            defect("thread-forgets-close", "processes/no-descriptor-leak", "descriptors open"),
            defect("threads-never-joined", "processes/no-memory-growth", "it has grown"),
            defect("busy-poll", "processes/idle-is-idle", "processor time"),
            defect("thread-polls", "processes/idle-is-idle", "processor time"),
            defect("short-write-lost", "listen/accepted-socket-state", "bytes"),
            defect("short-write-lost", "processes/short-writes-to-clients", "hears"),
            defect("waits-for-known-children-only", "processes/as-pid-1", "is reaped"),
        ],
    ),
    (
        DAEMON,
        &[
            defect("pid-as-short", "width/pid-above-99999", "pid file"),
            defect("no-setsid", "processes/daemonizes", "session of its own"),
            defect("single-fork", "processes/daemon-leads-no-session", "session"),
            defect("launcher-exits-early", "listen/port-in-use", "exit non-zero"),
            defect("daemon-keeps-standard-descriptors", "processes/daemonizes", "/dev/null"),
            defect("stale-pid-file-fatal", "processes/stale-pid-file", "is gone"),
            defect(
                "pid-file-of-a-stranger-fatal",
                "processes/pid-file-of-a-stranger",
                "names a stranger",
            ),
            defect("pid-file-left", "processes/pid-file-removed", "still names"),
        ],
    ),
    (
        CHAT,
        &[
            defect("racing-wait", "signals/no-lost-wakeup", "without further traffic")
                .beside("storage/log-mode"),
            defect("reads-one-piece", "signals/burst-drains", "of the bytes come within"),
            defect(
                "interrupted-lock-ends-client",
                "signals/waiting-for-lock-survives-signal",
                "waits for the lock",
            ),
            defect(
                "short-write-lost",
                "signals/writing-survives-signal",
                "for a client that does not read",
            ),
            defect(
                "wakes-lost-while-sending",
                "delivery/slow-reader-catches-up",
                "of the bytes come within",
            ),
            defect(
                "half-lines-passed-on",
                "delivery/no-line-within-another",
                "on a line of its own",
            ),
            defect("log-sought-instead-of-append", "locking/appends-are-whole", "hears exactly"),
            defect("log-without-lock", "locking/writer-waits-for-exclusive", "exclusive lock"),
            defect("log-without-lock", "locking/writer-waits-for-shared", "shared lock"),
            defect(
                "log-read-without-lock",
                "locking/reader-waits-for-exclusive",
                "holds the log exclusively",
            ),
            defect(
                "log-lock-shared-by-fork",
                "locking/clients-exclude-each-other",
                "no other appends",
            ),
            defect(
                "lock-held-while-sending",
                "locking/slow-client-holds-no-lock",
                "for a client that does not read",
            ),
            defect("two-daemons-on-one-log", "locking/one-daemon-per-log", "from the first"),
            defect("log-opened-late", "storage/log-is-a-directory", "it starts and listens"),
            defect("log-opened-late", "storage/log-read-only", "it starts and listens"),
            defect("log-opened-late", "storage/log-is-a-fifo", "it starts and listens"),
            defect("log-for-all-users", "storage/log-mode", "0660"),
            defect(
                "log-size-as-int",
                "width/log-past-2-gib",
                "closed the connection|reset the connection",
            ),
            defect("log-position-as-unsigned", "width/log-past-4-gib", "after "),
            defect("lock-errors-ignored", "storage/locks-unavailable", "exit non-zero"),
        ],
    ),
];

/// The program of a server.
fn source(server: &str) -> &str {
    match server {
        ECHO | HTTP | DAEMON | FEW => "forking",
        other => other,
    }
}

/// A directory that other users can pass through.
fn open_dir() -> TempDir {
    let dir = TempDir::new().unwrap();
    fs::set_permissions(dir.path(), Permissions::from_mode(0o755)).unwrap();
    dir
}

/// The program of a server, compiled once.
fn program(server: &str) -> PathBuf {
    static DIR: OnceLock<TempDir> = OnceLock::new();
    let dir = DIR.get_or_init(|| {
        let dir = open_dir();
        for name in ["forking", "prefork", "keyvalue", "threaded", "broadcast"] {
            compile(name, &dir.path().join(name));
        }
        dir
    });
    dir.path().join(source(server))
}

fn compile(name: &str, program: &Path) {
    let bits: &[&str] = if cfg!(target_arch = "x86") { &["-m32"] } else { &[] };
    let output = Command::new("cc")
        .args(bits)
        .args(["-O1", "-Wall", "-Wextra", "-Werror", "-pthread", "-o"])
        .arg(program)
        .arg(format!("{TARGETS}/{name}.c"))
        .output()
        .expect("these tests take a C compiler, `cc`");
    assert!(output.status.success(), "{name}.c: {}", String::from_utf8_lossy(&output.stderr));
}

/// A manifest for `server` with a defect of this name.
fn manifest_with(dir: &Path, server: &str, name: &str, untrue: Option<&str>) -> PathBuf {
    let mut text = fs::read_to_string(format!("{TARGETS}/{server}.toml")).unwrap();
    if let Some(line) = untrue {
        let line = format!("{line}\n");
        assert!(text.contains(&line), "{server}.toml: {line}");
        text = text.replacen(&line, "", 1);
    }
    let words = format!("\"-x\", \"{name}\"");
    text = match text.contains("\narguments = [") {
        true => text.replacen("\narguments = [", &format!("\narguments = [{words}, "), 1),
        false => text.replacen("[launch]\n", &format!("[launch]\narguments = [{words}]\n"), 1),
    };
    let file = dir.join("target.toml");
    fs::write(&file, text).unwrap();
    file
}

/// A run's output, and its report if there is one.
fn run(dir: &Path, manifest: &Path, server: &str, ids: &[&str]) -> (Output, Value) {
    let report = dir.join("report.json");
    let output = Command::new(env!("CARGO_BIN_EXE_forkproof"))
        .arg("run")
        .args(ids)
        .arg("--target")
        .arg(manifest)
        .arg("--program")
        .arg(program(server))
        .arg("--report")
        .arg(&report)
        .output()
        .unwrap();
    let report = fs::read_to_string(&report).unwrap_or_else(|_| "null".into());
    (output, serde_json::from_str(&report).unwrap())
}

fn words(output: &Output) -> String {
    format!(
        "{}\n{}{}",
        output.status,
        String::from_utf8_lossy(&output.stdout),
        String::from_utf8_lossy(&output.stderr)
    )
}

#[rstest]
#[case(ECHO, 50)]
#[case(HTTP, 40)]
#[case(WORKERS, 35)]
#[case(STORE, 35)]
#[case(THREADS, 38)]
#[case(DAEMON, 45)]
fn a_correct_server_is_conformant(#[case] server: &str, #[case] at_least: usize) {
    let _turn = TURN.lock().unwrap_or_else(PoisonError::into_inner);
    let dir = open_dir();
    let manifest = PathBuf::from(format!("{TARGETS}/{server}.toml"));
    let (output, report) = run(dir.path(), &manifest, server, &[]);
    let shown = words(&output);
    assert_eq!(output.status.code(), Some(0), "{shown}");
    let entries = report["requirements"].as_array().unwrap();
    let passed = entries.iter().filter(|entry| entry["verdict"] == "pass").count();
    assert!(passed >= at_least, "{passed} passed: {shown}");
}

/// Clients that can be asked only once are served as long as another one beside them is. Those others
/// do not pile up at a server that has a limit.
#[test]
fn a_server_of_few_connections_is_asked_by_few_at_a_time() {
    let _turn = TURN.lock().unwrap_or_else(PoisonError::into_inner);
    let dir = open_dir();
    let manifest = PathBuf::from(format!("{TARGETS}/{FEW}.toml"));
    let (output, report) = run(dir.path(), &manifest, FEW, &["signals/group-is-private", BASIC]);
    let shown = words(&output);
    assert_eq!(output.status.code(), Some(0), "{shown}");
    let entries = report["requirements"].as_array().unwrap();
    assert!(entries.iter().all(|entry| entry["verdict"] == "pass"), "{shown}");
}

/// What a server starts for all its clients when the first one comes is not that client's.
#[test]
fn a_helper_that_comes_with_a_client_may_stay() {
    let _turn = TURN.lock().unwrap_or_else(PoisonError::into_inner);
    let dir = open_dir();
    let manifest = manifest_with(dir.path(), ECHO, "helper-on-demand", None);
    let ids = ["processes/cluster-ends-with-client", "processes/receiver-death-ends-cluster"];
    let (output, report) = run(dir.path(), &manifest, ECHO, &ids);
    let shown = words(&output);
    assert_eq!(output.status.code(), Some(0), "{shown}");
    let entries = report["requirements"].as_array().unwrap();
    assert!(entries.iter().all(|entry| entry["verdict"] == "pass"), "{shown}");
}

/// What became of one requirement that is to fail, or of the one beside it.
struct Finding {
    verdict: String,
    /// Expected and Actual, or the reason for another verdict than a failure.
    said: String,
}

fn finding(report: &Value, id: &str) -> Finding {
    let entries = report["requirements"].as_array().map_or(&[][..], Vec::as_slice);
    let entry = entries.iter().find(|entry| entry["id"] == id).unwrap_or(&Value::Null);
    let parts = ["expected", "actual", "reason"].map(|key| entry[key].as_str().unwrap_or(""));
    let said: Vec<&str> = parts.into_iter().filter(|part| !part.is_empty()).collect();
    Finding {
        verdict: entry["verdict"].as_str().unwrap_or("missing").into(),
        said: said.join(" / "),
    }
}

/// Runs a server with a defect once for all requirements that find it; says what is not as it should
/// be, and counts those found.
fn misses(server: &str, name: &str, defects: &[&Defect]) -> (usize, Vec<String>) {
    let dir = open_dir();
    let untrue = defects.iter().find_map(|defect| defect.untrue);
    let manifest = manifest_with(dir.path(), server, name, untrue);
    let mut ids: Vec<&str> = defects.iter().flat_map(|defect| [defect.id, defect.beside]).collect();
    ids.sort_unstable();
    ids.dedup();
    let (output, report) = run(dir.path(), &manifest, server, &ids);
    if report.is_null() {
        let said = words(&output);
        return (0, vec![format!("{server} {name}: no report: {said}")]);
    }
    let (mut found, mut missed) = (0, Vec::new());
    for Defect { id, words, beside, .. } in defects {
        let Finding { verdict, said } = finding(&report, id);
        match verdict.as_str() {
            "fail" if words.split('|').any(|words| said.contains(words)) => found += 1,
            "fail" => {
                missed.push(format!("{server} {name}: {id} fails without `{words}`: {said}"));
            }
            "not-run" => eprintln!("{server} {name}: {id} cannot be run here: {said}"),
            verdict => missed.push(format!("{server} {name}: {id} is {verdict}: {said}")),
        }
        let Finding { verdict, said } = finding(&report, beside);
        if verdict != "pass" {
            missed.push(format!("{server} {name}: {beside} beside it is {verdict}: {said}"));
        }
    }
    (found, missed)
}

#[test]
fn each_defect_is_found_by_the_requirement_that_names_it() {
    let _turn = TURN.lock().unwrap_or_else(PoisonError::into_inner);
    let mut by_server: BTreeMap<(&str, &str), Vec<&Defect>> = BTreeMap::new();
    for (server, defects) in DEFECTS {
        for defect in *defects {
            by_server.entry((server, defect.name)).or_default().push(defect);
        }
    }
    let wanted: usize = by_server.values().map(Vec::len).sum();
    let (count, runs) = (by_server.len(), Mutex::new(by_server.into_iter()));
    let results = Mutex::new(Vec::new());
    // Most of their time they wait.
    let side_by_side = 2 * thread::available_parallelism().map_or(1, usize::from);
    thread::scope(|scope| {
        for _ in 0..side_by_side {
            scope.spawn(|| {
                loop {
                    let next = runs.lock().unwrap().next();
                    let Some(((server, name), defects)) = next else { break };
                    let result = misses(server, name, &defects);
                    results.lock().unwrap().push(result);
                }
            });
        }
    });
    let results = results.into_inner().unwrap();
    let found: usize = results.iter().map(|(found, _)| found).sum();
    let missed: Vec<&String> = results.iter().flat_map(|(_, missed)| missed).collect();
    let mut summary = format!("{found} of {wanted} findings, {count} defects");
    for miss in &missed {
        write!(summary, "\n  {miss}").unwrap();
    }
    eprintln!("{summary}");
    assert!(missed.is_empty(), "{summary}");
    assert!(found >= 30, "{summary}");
}

#[test]
fn a_defect_has_a_name_that_its_server_knows() {
    let headers = ["server.h", "http.h", "loop.h"];
    for (server, defects) in DEFECTS {
        let file = format!("{}.c", source(server));
        let sources: String = headers
            .into_iter()
            .chain([file.as_str()])
            .map(|file| fs::read_to_string(format!("{TARGETS}/{file}")).unwrap())
            .collect();
        for Defect { name, .. } in *defects {
            assert!(sources.contains(&format!("defect(\"{name}\")")), "{server}: {name}");
        }
    }
}
