//! Every personality changes what a C program sees, and says so in its trace.

use std::ffi::OsString;
use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::OnceLock;

use forkproof::personality::{
    Interposition, Selected, all, find, read_trace, refuse_uninterposable,
};
use rstest::rstest;
use tempfile::TempDir;

/// Compiles a C program once, with the flags a distribution would use.
fn compile(source: &Path, into: &Path, flags: &[&str]) {
    let output = Command::new("cc")
        // Of the same width as the library that is put before it.
        .args(cfg!(target_arch = "x86").then_some("-m32"))
        .args(["-Wall", "-O2", "-o"])
        .arg(into)
        .args(flags)
        .arg(source)
        .output()
        .expect("these tests need a C compiler called cc on PATH");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
}

fn source() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/personality/probe.c")
}

fn probe() -> &'static Path {
    static PROBE: OnceLock<PathBuf> = OnceLock::new();
    PROBE.get_or_init(|| {
        // One for each build of the tests; replaced as a whole, as tests that
        // run in processes of their own may be compiling it too.
        let directory = Path::new(env!("CARGO_TARGET_TMPDIR"));
        let draft = directory.join(format!("personality-probe.{}", std::process::id()));
        compile(&source(), &draft, &["-D_FILE_OFFSET_BITS=64"]);
        let program = directory.join("personality-probe");
        fs::rename(&draft, &program).expect("the target directory is writable");
        program
    })
}

/// What the probe prints for a case, alone or interposed, and its exit status.
fn run(case: &str, interposed: Option<&Interposition>) -> String {
    let directory = TempDir::new().expect("a temporary directory");
    let mut command = Command::new(probe());
    command.arg(case).arg(directory.path().join("log"));
    if let Some(interposed) = interposed {
        command.envs(interposed.environment());
    }
    let output = command.output().expect("the probe runs");
    let mut said = String::from_utf8_lossy(&output.stdout).into_owned();
    if !output.status.success() {
        said += &format!("[{}]", output.status);
    }
    said + &String::from_utf8_lossy(&output.stderr)
}

/// An interposition and the directory that it lives in.
struct Placed {
    interposition: Interposition,
    _directory: TempDir,
}

impl std::ops::Deref for Placed {
    type Target = Interposition;

    fn deref(&self) -> &Interposition {
        &self.interposition
    }
}

fn interpose(selection: &str) -> Placed {
    let selected = Selected::parse_list(selection).expect("a selection");
    let directory = TempDir::new().expect("a temporary directory");
    let interposition =
        Interposition::new(directory.path(), &selected).expect("the library is embedded");
    Placed { interposition, _directory: directory }
}

/// The personality (the last one of the selection), the probe's case, what it
/// prints on this platform, what it prints under the personality.
const EFFECTS: &[(&str, &str, &str, &str)] = &[
    ("v6only-default", "v6only", "0", "1"),
    ("no-v6only", "set-v6only", "1", "0"),
    ("v6only-fixed", "fix-v6only", "ok", "EINVAL"),
    ("option-failure-ends", "bad-option", "exit 0", "exit 1"),
    ("bind-moves", "bind-twice", "EADDRINUSE", "ok"),
    ("addrconfig", "resolve", "found", "not found"),
    ("slow-listen", "listen-time", "at once", "waited"),
    ("listen-pid-believed", "listen-pid", "another's", "its own"),
    ("no-unix-sockets", "socket-unix", "ok", "EAFNOSUPPORT"),
    ("serves-in-turn", "slow-child", "at once", "waited"),
    ("darwin-sockets", "peer-gone", "somebody ok ok", "nobody EINVAL EPROTOTYPE"),
    ("darwin-sockets=accept", "peer-gone", "somebody ok ok", "nobody ok ok"),
    ("no-ipv6", "socket6", "ok", "EAFNOSUPPORT"),
    ("no-ipv4", "socket4", "ok", "EAFNOSUPPORT"),
    ("no-reuseaddr", "reuseaddr", "1", "0"),
    ("aborted-is-fatal", "reset-before-accept", "exit 0", "exit 1"),
    ("reuseport-steal", "bind-twice", "EADDRINUSE", "ok"),
    ("bsd-accept", "accept-inherits", "blocking", "non-blocking"),
    ("setfl-ignored", "set-nonblocking", "non-blocking non-blocking", "blocking blocking"),
    ("small-backlog", "backlog", "all", "few"),
    ("accept-fails-once", "accept", "ok", "ECONNABORTED"),
    ("mapped-peers", "peer-family", "IPv4", "IPv6"),
    ("bind-drops-scope", "bind-scope", "EADDRNOTAVAIL", "EINVAL"),
    ("no-loopback-aliases", "bind-alias", "ok", "EADDRNOTAVAIL"),
    ("listener-leaks", "child-closes-listener", "exit 0", "exit 1"),
    ("accepted-socket-leaks", "close-accepted", "closed", "open"),
    ("sysv-signals", "second-signal", "exit 0", "signal SIGUSR1"),
    ("uninitialised-sa-flags", "second-signal", "exit 0", "signal SIGUSR1"),
    ("no-sa-restart", "restart", "ok", "EINTR"),
    ("eintr-storm", "accept", "ok", "EINTR"),
    ("eintr-is-fatal=read", "restart", "ok", "EIO"),
    ("signal-default=SIGUSR1", "first-signal", "exit 0", "signal SIGUSR1"),
    ("accept-loop-ends", "interrupted-wait", "exit 0", "exit 1"),
    ("multicast-by-daemon", "daemon-stopped", "exit 0", "exit 1"),
    ("signal-ignored=SIGUSR1", "handled", "handled", "nothing"),
    ("sigpipe-default", "broken-pipe", "exit 32", "signal SIGPIPE"),
    ("inherits-ignored", "ignored-by-parent", "handled", "nothing"),
    ("inherits-blocked", "blocked-by-parent", "free", "blocked"),
    ("signals-not-blocked=SIGUSR1", "block", "blocked", "free"),
    ("racing-wait", "pending-wakes", "EINTR", "ok"),
    ("busy-wait", "wait-a-while", "waited", "at once"),
    ("never-reaps", "reap", "2", "0"),
    ("reaps-one", "reap", "2", "1"),
    ("kill-reaches-nobody=SIGTERM", "kill", "handled", "nothing"),
    ("group-leaks", "session", "exit 0", "exit 1"),
    ("single-fork", "fork-in-session", "exit 0", "exit 1"),
    ("slow-child", "fork-time", "at once", "waited"),
    ("slow-child,fork-loses-signals", "told-in-fork", "pending", "nothing"),
    ("stale-mask-after-fork", "told-before-wait", "EINTR EINTR", "ok EINTR"),
    ("told-once", "kill-twice", "2", "1"),
    ("clock-jump", "wall-clock", "goes on", "jumps"),
    ("wall-clock-timeouts", "which-clock", "a clock of its own", "the time of day"),
    ("shared-description", "open-before-fork", "EAGAIN", "ok"),
    ("posix-flock", "close-another", "EAGAIN", "ok"),
    ("flock-does-nothing", "exclude", "EAGAIN", "ok"),
    ("shared-as-exclusive", "share", "ok", "EAGAIN"),
    ("record-locks-unseen", "others-record-lock", "locked", "free"),
    ("lock-wait-ends-at-signal", "signalled-lock-wait", "ok", "EIO"),
    ("spinning-lock", "wait-for-lock", "exit 0", "exit 1"),
    ("lock-outlives-death", "holder-killed", "ok", "EAGAIN"),
    ("never-unlocks", "unlock", "ok", "EAGAIN"),
    ("lock-held-over-write", "unlock-then-send", "ok ok", "EAGAIN ok"),
    ("pread-as-read", "pread", "d", "a"),
    ("no-append", "append", "2", "1"),
    ("append-by-seek", "append-flag", "kept", "lost"),
    ("fork-fails", "fork-after-accept", "ok", "EAGAIN"),
    ("forks-run-out=1", "two-forks", "ok ok", "ok EAGAIN"),
    ("want-is-fatal", "no-descriptor", "EMFILE", "[exit status: 1]"),
    ("one-for-all", "two-children", "alive", "killed"),
    ("children-end-all", "killed-child", "goes on", "[exit status: 1]"),
    ("no-back-off", "wait-after-a-child", "waited", "passed"),
    ("accept-waits-for=first", "second-accepts", "ok", "EINTR"),
    ("accept-waits-for=turn", "second-accepts", "ok", "ok"),
    ("ends-when-told", "told", "a", ""),
    ("closed-descriptors-stay", "closed-input", "told", "untold"),
    ("writes-to-inherited", "inherited-pipe", "empty", "written"),
    ("keeps-standard-descriptors", "dup-over", "moved", "kept"),
    ("stderr-full", "message", "exit 0", "signal ?"),
    ("pid-file-believed=exists", "pid-file", "made", "EEXIST"),
    ("files-stay", "remove", "gone", "there"),
    ("leaves-modes-to-umask", "mask", "set", "left"),
    ("forks-twice", "children", "one", "more"),
    ("keys-checked-by-daemon", "slow-child", "at once", "waited"),
    ("any-key", "offered-key", "xx", "kk"),
    ("frozen-clock", "clock", "moves", "stands"),
    ("fd-exhausted", "accept", "ok", "EMFILE"),
    ("children-die-with-parent", "orphan", "lives", "died"),
    ("exits-zero", "exit-3", "exit 3", "exit 0"),
    ("setuid-does-nothing", "setuid", "honest", "lied"),
    ("timeouts-never-fire", "poll-timeout", "timeout", "data"),
    ("leaks-memory=65536", "memory", "small", "grown"),
    ("eof-never-comes", "end-of-stream", "1 ok", "0 EAGAIN"),
    ("short-read-is-end", "part-of-a-key", "10", "0"),
    ("greets-first", "greeting", "silent", "greeted"),
    ("echoes-input", "standard-error", "silent", "printed"),
    ("nul-last-byte", "last-byte", "99 99", "0 0"),
    ("short-writes=7", "write-100", "100 100", "7 7"),
    ("short-reads=7", "read-100", "100 100", "7 7"),
    ("truncated-reads=10", "receive-100", "100 EAGAIN", "10 EAGAIN"),
    ("write-loses-tail", "write-100", "100 100", "100 50"),
    ("sends-whole-buffer", "send-3", "3", "19"),
    ("drops-when-full", "full-buffer", "full", "never full"),
    ("no-handshake", "told-by-child", "c", "+"),
    ("ends-unseen", "how-it-ends", "120", "10"),
    ("half-close-ends", "half-close", "ok", "EPIPE"),
    ("single-read", "read-on", "10000 5904 1000", "4096 0 1000"),
    ("truncates-on-open", "reopen", "3", "0"),
    ("disk-full", "write-file", "ok", "ENOSPC"),
    ("no-locks", "lock-at-all", "ok ok", "ENOLCK ENOLCK"),
    ("no-locks=EINVAL", "lock-at-all", "ok ok", "EINVAL EINVAL"),
    ("truncate-does-nothing", "truncate", "0", "3"),
    ("open-without-mode", "create-mode", "600", "666"),
    ("modes-unreported", "stat-mode", "640", "600"),
    ("stale-paths", "rotate", "new new", "old old"),
    ("no-large-files", "past-2-gib", "ok", "EOVERFLOW"),
    ("no-large-files", "grow-past-2-gib", "3 ok", "1 EFBIG"),
    ("past-2038", "year", "before", "past 2038"),
    ("old-seccomp", "close-range", "ok", "EPERM"),
    ("old-seccomp,close-range-only", "fork-exit", "exit 0", "exit 1"),
    ("offset-wraps", "past-4-gib", "5 GiB 5 GiB", "1 GiB 1 GiB"),
    ("time32", "past-2038", "ok ok", "EOVERFLOW EOVERFLOW"),
    ("big-inodes", "inode", "below", "above 32 bits"),
    ("big-inodes,ino32", "inode", "below", "EOVERFLOW"),
    ("fd-setsize", "high-descriptor", "ok", "EINVAL"),
    ("visits-all-descriptors", "visited", "left alone", "visited"),
    ("maps-whole-files", "open-large", "ok", "ENOMEM"),
    ("five-digit-pids", "long-pid", "150001", "50001"),
    ("uid16", "long-uid", "70000", "4464"),
    ("unlimited-descriptors", "descriptor-limit", "limited limited", "unlimited unlimited"),
    ("bsd-accept=accept4", "accept-inherits", "blocking", "blocking"),
];

/// Tests `EFFECTS` in parts, so that they run beside each other and a failure
/// names its area.
#[rstest]
#[case::listen("v6only-default", "sysv-signals")]
#[case::signals("sysv-signals", "shared-description")]
#[case::locking("shared-description", "fork-fails")]
#[case::processes_and_auth("fork-fails", "nul-last-byte")]
#[case::delivery("nul-last-byte", "disk-full")]
#[case::storage("disk-full", "no-large-files")]
#[case::width("no-large-files", "bsd-accept=accept4")]
fn takes_effect(#[case] first: &str, #[case] end: &str) {
    let from = EFFECTS.iter().position(|effect| effect.0 == first).expect("the first of an area");
    let wrong: Vec<String> =
        EFFECTS[from..].iter().take_while(|effect| effect.0 != end).filter_map(check).collect();
    assert!(wrong.is_empty(), "\n{}", wrong.join("\n"));
}

fn check(&(selection, case, plain, altered): &(&str, &str, &str, &str)) -> Option<String> {
    if ["time32", "past-2038"].contains(&selection) && cfg!(target_arch = "x86") {
        // The C program's own time_t has 32 bits here: it cannot date a file past 2038 at all. The
        // controls of width/file-dated-past-2038 show the effect.
        return None;
    }
    let without = run(case, None);
    if ["long-pid", "long-uid"].contains(&case) && without.starts_with("probe: ") {
        // Needs root, or process namespaces for everybody.
        eprintln!("{selection} was not tried: {without}");
        return None;
    }
    if without != plain {
        return Some(format!("{case} without {selection}: expected `{plain}`, got `{without}`"));
    }
    let interposition = interpose(selection);
    let with = run(case, Some(&interposition));
    if with != altered {
        return Some(format!("{case} under {selection}: expected `{altered}`, got `{with}`"));
    }
    let trace = interposition.trace().expect("a trace");
    let void = trace.iter().find(|traced| traced.is_void() || traced.loaded_processes == 0)?;
    Some(format!("{case} under {selection}: the trace says {void:?}"))
}

#[test]
fn every_personality_has_an_effect_that_is_tested() {
    for personality in all() {
        let tested = EFFECTS.iter().any(|effect| {
            let last = effect.0.rsplit(',').next().unwrap_or_default();
            last.split('=').next() == Some(personality.name) && effect.2 != effect.3
        });
        assert!(tested, "{} has no line in EFFECTS", personality.name);
    }
}

#[test]
fn the_table_says_what_where_and_which_calls() {
    for personality in all() {
        assert!(personality.imitates.ends_with('.'), "{}", personality.name);
        assert!(
            !personality.source.is_empty() && !personality.calls.is_empty(),
            "{}",
            personality.name
        );
        let named = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '-';
        assert!(personality.name.chars().all(named), "{}", personality.name);
    }
}

#[test]
fn a_control_that_changes_nothing_is_void() {
    let interposition = interpose("bsd-accept=accept4,posix-flock");
    assert_eq!(run("accept-inherits", Some(&interposition)), "blocking");
    for traced in interposition.trace().expect("a trace") {
        assert_eq!((traced.loaded_processes, traced.altered_calls), (1, 0), "{}", traced.name);
        assert!(traced.is_void());
    }
}

#[test]
fn the_trace_counts_in_all_processes() {
    let interposition = interpose("flock-does-nothing");
    // Two executions, three locks: one in the parent, two in its two children.
    run("close-another", Some(&interposition));
    run("exclude", Some(&interposition));
    let trace = interposition.trace().expect("a trace");
    assert_eq!((trace[0].loaded_processes, trace[0].altered_calls), (2, 4));
}

#[test]
fn a_foreign_file_is_no_trace() {
    let error = read_trace(&source()).expect_err("C source is no trace");
    assert!(error.contains("is not a trace"), "{error}");
}

#[test]
fn the_same_seed_leaves_the_same_flags() {
    let outcome = |seed: u32| {
        run("second-signal", Some(&interpose(&format!("uninitialised-sa-flags={seed}"))))
    };
    let outcomes: Vec<_> = (2..12).map(outcome).collect();
    assert_eq!(outcomes, (2..12).map(outcome).collect::<Vec<_>>());
    assert!(
        outcomes.iter().any(|o| o == "exit 0") && outcomes.iter().any(|o| o == "signal SIGUSR1"),
        "{outcomes:?}"
    );
}

#[rstest]
#[case("sysv-signal", "did you mean `sysv-signals`?")]
#[case("v6only_default", "did you mean `v6only-default`?")]
#[case("zzz", "no personality is called `zzz`")]
#[case("sysv-signals=3", "takes no value")]
#[case("signal-default=SIGFOO", "one of SIGHUP")]
#[case("short-writes=many", "a number")]
fn a_wrong_selection_is_explained(#[case] text: &str, #[case] words: &str) {
    let error = Selected::parse(text).expect_err("a wrong selection");
    assert!(error.contains(words), "{error}");
}

#[test]
fn the_library_refuses_a_wrong_selection_too() {
    let interposition = interpose("sysv-signals");
    let mut command = Command::new(probe());
    command.envs(interposition.environment());
    let output = command.env("FORKPROOF_PERSONALITY", "sysv").output().expect("it runs");
    assert_eq!(output.status.code(), Some(2));
    assert!(
        String::from_utf8_lossy(&output.stderr).contains("no personality has this name: sysv\n")
    );
}

#[test]
fn a_program_exits_zero_when_main_returns() {
    assert!(run("return-3", None).contains("exit status: 3"));
    assert_eq!(run("return-3", Some(&interpose("exits-zero"))), "");
}

#[test]
fn dynamic_programs_and_scripts_are_accepted() {
    let directory = TempDir::new().expect("a temporary directory");
    let script = directory.path().join("script");
    fs::write(&script, format!("#! {} -x\n", probe().display())).expect("written");
    assert_eq!(refuse_uninterposable(probe()), Ok(()));
    assert_eq!(refuse_uninterposable(&script), Ok(()));
}

#[rstest]
#[case::set_user_id(0o4755, "is set-user-ID")]
#[case::set_group_id(0o2755, "is set-group-ID")]
fn programs_with_more_rights_are_refused(#[case] mode: u32, #[case] words: &str) {
    let directory = TempDir::new().expect("a temporary directory");
    let program = directory.path().join("program");
    fs::copy(probe(), &program).expect("copied");
    fs::set_permissions(&program, fs::Permissions::from_mode(mode)).expect("allowed");
    let error = refuse_uninterposable(&program).expect_err("refused");
    assert!(error.contains(words), "{error}");
}

#[test]
fn a_static_program_is_refused() {
    let directory = TempDir::new().expect("a temporary directory");
    let (source, program) = (directory.path().join("empty.c"), directory.path().join("static"));
    fs::write(&source, "int main(void) { return 0; }\n").expect("written");
    compile(&source, &program, &["-static"]);
    let error = refuse_uninterposable(&program).expect_err("refused");
    assert!(error.contains("is statically linked"), "{error}");
}

/// The header of a real program, changed: where the class and the machine are
/// is the same in both classes (elf(5)).
#[rstest]
#[case::another_machine(18, 0x28, "ARM")]
#[case::no_program(0, b'?', "is neither an ELF program nor a script")]
fn a_program_for_another_machine_is_refused(
    #[case] at: usize,
    #[case] byte: u8,
    #[case] words: &str,
) {
    let directory = TempDir::new().expect("a temporary directory");
    let program = directory.path().join("program");
    let mut bytes = fs::read(probe()).expect("readable");
    bytes[at] = byte;
    fs::write(&program, bytes).expect("written");
    let error = refuse_uninterposable(&program).expect_err("refused");
    assert!(error.contains(words), "{error}");
}

#[test]
fn a_missing_command_is_named() {
    let selected = [Selected::parse("no-append").expect("a selection")];
    let error = forkproof::personality::run_as(&selected, &[]).expect_err("nothing to run");
    assert!(error.contains("no command"), "{error}");
    let error =
        forkproof::personality::run_as(&selected, &[OsString::from("no-such-program-here")])
            .expect_err("no such");
    assert!(error.contains("no-such-program-here: no such program on PATH"), "{error}");
    assert!(find("no-append").is_ok());
}

/// The program with which the book shows what FreeBSD 13.2 overlooks, on this system, on one that is
/// altered to overlook it, and with its remedy there.
#[cfg_attr(target_os = "freebsd", ignore = "it may lose wake-ups of its own")]
#[rstest]
#[case::right(None, None, "0 of 4")]
#[case::overlooked(Some("stale-mask-after-fork"), None, "4 of 4")]
#[case::remedied(Some("stale-mask-after-fork"), Some("refresh"), "0 of 4")]
fn the_reproduction_in_the_book_tells_them_apart(
    #[case] altered: Option<&str>,
    #[case] remedy: Option<&str>,
    #[case] said: &str,
) {
    let directory = TempDir::new().expect("a temporary directory");
    let program = directory.path().join("lost-wakeup");
    let source = Path::new(env!("CARGO_MANIFEST_DIR")).join("docs/lost-wakeup.c");
    compile(&source, &program, &["-pthread", "-Werror", "-DROUNDS=4"]);
    let placed = altered.map(interpose);
    let mut command = Command::new(program);
    command.args(remedy);
    if let Some(placed) = &placed {
        command.envs(placed.environment());
    }
    let output = command.output().expect("it runs");
    let printed = String::from_utf8_lossy(&output.stdout);
    assert_eq!(printed, format!("{said} waits slept with a signal pending\n"));
}

/// run_as does not return, so this test executes itself and becomes the probe.
#[test]
fn run_as_becomes_the_program() {
    const BECOME: &str = "FORKPROOF_TEST_BECOME";
    if let Some(log) = std::env::var_os(BECOME) {
        let selected = [Selected::parse("v6only-default").expect("a selection")];
        let command = [probe().into(), "v6only".into(), log];
        let error = forkproof::personality::run_as(&selected, &command).expect_err("it returned");
        panic!("{error}");
    }
    let directory = TempDir::new().expect("a temporary directory");
    let output = Command::new(std::env::current_exe().expect("this test"))
        .args(["--exact", "run_as_becomes_the_program", "--nocapture"])
        .env(BECOME, "unused")
        .env("TMPDIR", directory.path())
        .output()
        .expect("it runs");
    let said = String::from_utf8_lossy(&output.stdout);
    assert!(output.status.success() && said.trim_end().ends_with("1"), "{said}{output:?}");
    assert!(!said.contains("test result"), "the test ran on instead of becoming the probe: {said}");
    let kept = directory
        .path()
        .read_dir()
        .expect("a directory")
        .next()
        .expect("one entry")
        .expect("readable");
    assert_eq!(kept.metadata().expect("facts").permissions().mode() & 0o777, 0o700);
}
