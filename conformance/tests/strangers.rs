//! Servers that harm whoever checks them. They take `python3`; some take Linux, some root.

#![cfg(target_os = "linux")]

use std::fs::{self, Permissions};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::{MetadataExt, PermissionsExt, symlink};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::time::{Duration, Instant};

use nix::sys::signal::{Signal, kill};
use nix::unistd::{Pid, geteuid};
use rstest::rstest;
use serde_json::Value;
use tempfile::TempDir;

#[path = "common/junit.rs"]
mod junit;

const SERVER: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/targets/hostile.py");
/// Longer than anything here takes on a slow machine.
const PATIENCE: Duration = Duration::from_secs(120);

/// A hostile server's manifest, and the surroundings of its runs.
struct World {
    dir: TempDir,
    manifest: PathBuf,
}

impl World {
    fn new(mode: &str, argument: &str) -> Self {
        Self::with(mode, argument, "", "")
    }

    fn with(mode: &str, argument: &str, launch: &str, wire: &str) -> Self {
        let dir = TempDir::new().unwrap();
        fs::set_permissions(dir.path(), Permissions::from_mode(0o755)).unwrap();
        fs::create_dir(dir.path().join("tmp")).unwrap();
        fs::set_permissions(dir.path().join("tmp"), Permissions::from_mode(0o777)).unwrap();
        let script = dir.path().join("hostile.py");
        fs::copy(SERVER, &script).unwrap();
        fs::set_permissions(&script, Permissions::from_mode(0o644)).unwrap();
        let background = mode.starts_with("pid-");
        // Other users reach it.
        let python = ["/usr/bin/python3", "/usr/local/bin/python3"];
        let python = python.iter().find(|path| Path::new(path).exists()).unwrap_or(&"python3");
        let daemon = if background { "background = true\ndaemon = \"in-pid-file\"" } else { "" };
        let argument = toml::Value::from(argument).to_string();
        let manifest = dir.path().join("hostile.toml");
        fs::write(
            &manifest,
            format!(
                r#"name = "hostile"
                [launch]
                program = "{python}"
                arguments = ["{{manifest-dir}}/hostile.py", "{mode}", "{{port}}", "{{ready-file}}", "{{pid-file}}", {argument}]
                {daemon}
                {launch}
                [ready]
                by = "file"
                [processes]
                model = "threads"
                [wire]
                kind = "echo"
                {wire}"#
            ),
        )
        .unwrap();
        Self { dir, manifest }
    }

    fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    fn command(&self) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_forkproof"));
        command.env("TMPDIR", self.path("tmp")).args(["run", "--target"]).arg(&self.manifest);
        command
    }

    /// One requirement is enough: its rehearsal comes first.
    fn run(&self, arguments: &[&str]) -> Output {
        self.command().arg("listen/clients-are-served").args(arguments).output().unwrap()
    }

    /// No process that was started here, and no file.
    #[track_caller]
    fn is_clean(&self) {
        let left = processes_with(self.dir.path());
        assert!(left.is_empty(), "{left:?}");
        let left: Vec<_> = entries(&self.path("tmp"));
        assert!(left.is_empty(), "{left:?}");
    }
}

fn entries(dir: &Path) -> Vec<String> {
    let name = |entry: fs::DirEntry| entry.file_name().to_string_lossy().into_owned();
    let mut names: Vec<String> =
        fs::read_dir(dir).unwrap().map(|entry| name(entry.unwrap())).collect();
    names.sort();
    names
}

/// The processes whose command line tells of `path`.
fn processes_with(path: &Path) -> Vec<String> {
    let mut found = Vec::new();
    for entry in fs::read_dir("/proc").unwrap().flatten() {
        let line = fs::read(entry.path().join("cmdline")).unwrap_or_default();
        let words = path.as_os_str().as_bytes();
        if line.windows(words.len()).any(|window| window == words) {
            found.push(format!("{}: {}", entry.path().display(), String::from_utf8_lossy(&line)));
        }
    }
    found
}

fn words(output: &Output) -> String {
    format!(
        "{}\n{}{}",
        output.status,
        String::from_utf8_lossy(&output.stdout),
        String::from_utf8_lossy(&output.stderr)
    )
}

/// A process that has nothing to do with any check.
struct Bystander(Child);

impl Bystander {
    fn new() -> Self {
        Self(Command::new("sleep").arg("600").stdin(Stdio::null()).spawn().unwrap())
    }

    #[track_caller]
    fn ends_unharmed(mut self) {
        assert_eq!(self.0.try_wait().unwrap(), None);
        self.0.kill().unwrap();
        self.0.wait().unwrap();
    }
}

#[rstest]
#[case::everybody("-1")]
#[case::the_kernel("3")]
#[case::a_bystander("BYSTANDER")]
#[case::steering("\u{1b}]0;owned\u{7}")]
fn a_pid_file_names_no_stranger(#[case] text: &str) {
    let bystander = Bystander::new();
    let text = text.replace("BYSTANDER", &bystander.0.id().to_string());
    let world = World::new("pid-text", &text);
    let output = world.run(&["--deadline-scale", "0.2"]);
    let shown = words(&output);
    assert_eq!(output.status.code(), Some(3), "{shown}");
    let content = text.escape_debug().to_string();
    assert!(shown.contains(&format!("holds `{content}`, which is no process")), "{shown}");
    assert!(!shown.contains('\u{1b}') && shown.contains(".pid holds"), "{shown}");
    bystander.ends_unharmed();
    world.is_clean();
}

/// Whatever a pid file is, it takes neither memory nor time.
#[rstest]
#[case::endless("pid-link", "/dev/zero")]
#[case::nobody_writes("pid-fifo", "")]
fn a_pid_file_is_a_small_file(#[case] mode: &str, #[case] argument: &str) {
    let world = World::new(mode, argument);
    let begin = Instant::now();
    let output = world.run(&["--deadline-scale", "0.2"]);
    let shown = words(&output);
    assert_eq!(output.status.code(), Some(3), "{shown}");
    assert!(begin.elapsed() < PATIENCE, "{:?}", begin.elapsed());
    assert!(shown.contains("which is no process of this check"), "{shown}");
    world.is_clean();
}

/// The warden is what ends everything; without it, the runner does.
#[rstest]
#[case::killed("kill-warden", "was killed by SIGKILL")]
#[case::stopped("stop-warden", "was stopped and did not go on")]
#[case::with_its_worker("kill-both", "was killed by SIGKILL")]
fn a_server_that_ends_its_warden_is_ended(#[case] mode: &str, #[case] how: &str) {
    let world = World::new(mode, "");
    let begin = Instant::now();
    let output = world.run(&[]);
    let shown = words(&output);
    assert!(begin.elapsed() < PATIENCE, "{:?}", begin.elapsed());
    assert_eq!(output.status.code(), Some(3), "{shown}");
    assert!(shown.contains(&format!("the warden of this check {how}, by the server")), "{shown}");
    assert!(shown.contains("everything below it has been ended"), "{shown}");
    world.is_clean();
}

/// `sleep 1000 & exec forkproof …`: the child is not its own.
#[rstest]
#[case::in_its_session("")]
#[case::in_another("setsid")]
fn what_it_did_not_start_is_left_alone(#[case] prefix: &str) {
    let world = World::new("kill-warden", "");
    let script = format!("{prefix} sleep 1000 <&- >&- 2>&- & echo $! > \"$PID_FILE\"; exec \"$@\"");
    let mut command = Command::new("sh");
    command.args(["-c", &script, "sh", env!("CARGO_BIN_EXE_forkproof"), "run", "--target"]);
    command.arg(&world.manifest).arg("listen/clients-are-served");
    command.env("TMPDIR", world.path("tmp")).env("PID_FILE", world.path("pid"));
    let shown = words(&command.output().unwrap());
    let pid: i32 = fs::read_to_string(world.path("pid")).unwrap().trim().parse().unwrap();
    let line = fs::read(format!("/proc/{pid}/cmdline")).unwrap_or_default();
    let _ = kill(Pid::from_raw(pid), Signal::SIGKILL);
    assert!(shown.contains("everything below it has been ended"), "{shown}");
    assert!(line.starts_with(b"sleep"), "it was ended: {shown}");
    world.is_clean();
}

#[test]
fn what_outlives_a_server_is_told_and_removed() {
    let name = format!("/forkproof-test-{}", std::process::id());
    let world = World::new("share", &name);
    let objects = || {
        let table = |name| fs::read_to_string(format!("/proc/sysvipc/{name}")).unwrap();
        // Other tests make some, too: those of their own user.
        let own = |text: String, column: usize| {
            let is_own =
                |line: &&str| line.split_whitespace().nth(column) == Some(&geteuid().to_string());
            text.lines().skip(1).filter(is_own).count()
        };
        [own(table("shm"), 7), own(table("sem"), 4), own(table("msg"), 7)]
    };
    let before = objects();
    // A check that lasts for several looks.
    let output = world.command().arg("processes/idle-is-idle").output().unwrap();
    let shown = words(&output);
    assert_eq!(output.status.code(), Some(0), "{shown}");
    assert!(shown.contains("the server left this, and it was removed"), "{shown}");
    for kind in ["shared memory segment", "semaphore set", "message queue", "POSIX shared memory"] {
        assert!(shown.contains(kind), "{kind}: {shown}");
    }
    assert_eq!(objects(), before);
    assert!(!Path::new("/dev/shm").join(&name[1..]).exists());
    world.is_clean();
}

/// No byte of a server's steers whoever reads about it, and every document is one.
#[test]
fn what_a_server_says_is_harmless_everywhere() {
    let world = World::new("escape", "");
    let file = |name: &str| world.path(name).display().to_string();
    let (json, xml, markdown) = (file("r.json"), file("r.xml"), file("r.md"));
    let output = world.run(&["--report", &json, "--junit", &xml, "--summary", &markdown]);
    let shown = words(&output);
    assert_eq!(output.status.code(), Some(3), "{shown}");
    assert!(shown.contains("owned"), "{shown}");
    let page = file("r.html");
    let matrix = Command::new(env!("CARGO_BIN_EXE_forkproof"))
        .args(["report", &json, "--html", &page])
        .output()
        .unwrap();
    let table =
        Command::new(env!("CARGO_BIN_EXE_forkproof")).args(["report", &json]).output().unwrap();
    let draft = Command::new(env!("CARGO_BIN_EXE_forkproof"))
        .args(["baseline", "--from", &json])
        .output()
        .unwrap();
    let read = |path: &str| fs::read_to_string(path).unwrap();
    for (name, text) in [
        ("the terminal", shown),
        ("the matrix", words(&matrix)),
        ("the table", words(&table)),
        ("the baseline", words(&draft)),
        ("Markdown", read(&markdown)),
        ("JUnit", read(&xml)),
        ("the page", read(&page)),
    ] {
        let steers = |c: &char| {
            (c.is_control() && *c != '\n')
                || matches!(c, '\u{61c}' | '\u{200e}' | '\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2066}'..='\u{2069}' | '\u{ffff}')
        };
        let found: Vec<String> =
            text.chars().filter(steers).map(|c| c.escape_unicode().to_string()).collect();
        assert!(found.is_empty(), "{name}: {found:?}");
    }
    junit::suites(&read(&xml));
    assert!(!read(&page).contains("<evil>"));
    serde_json::from_str::<Value>(&read(&json)).unwrap();
    world.is_clean();
}

/// A server that is started as another user owns its directory, and what it lays there leads nowhere.
#[rstest]
#[case::all_else("replace", 10)]
// The log is asked for its lock, with the server's rights.
#[case::the_log("replace-log", 0)]
fn root_follows_no_link_of_a_server_s(#[case] mode: &str, #[case] passes: usize) {
    if !geteuid().is_root() {
        eprintln!("skipped: only root starts servers as another user");
        return;
    }
    let elsewhere = TempDir::new().unwrap();
    let secret = elsewhere.path().join("secret");
    fs::write(&secret, "nobody is to read this\n").unwrap();
    fs::set_permissions(&secret, Permissions::from_mode(0o600)).unwrap();
    fs::set_permissions(elsewhere.path(), Permissions::from_mode(0o755)).unwrap();
    let launch = "user = \"nobody\"\nfiles = [{ path = \"{dir}/conf/file\", content = \"x\" }]";
    let world = World::with(mode, &secret.display().to_string(), launch, "");
    let json = world.path("r.json").display().to_string();
    let output = world
        .command()
        .args(["listen/*", "processes/*", "signals/*", "--report", &json])
        .output()
        .unwrap();
    let shown = words(&output);
    assert_eq!(fs::read_to_string(&secret).unwrap(), "nobody is to read this\n", "{shown}");
    let metadata = secret.metadata().unwrap();
    assert_eq!((metadata.uid(), metadata.mode() & 0o7777), (0, 0o600), "{shown}");
    assert_eq!(entries(elsewhere.path()), ["secret"]);
    let report = fs::read_to_string(&json).unwrap();
    assert!(!report.contains("nobody is to read"), "{report}");
    assert!(!shown.contains("nobody is to read"), "{shown}");
    let passed = shown.lines().filter(|line| line.starts_with("pass")).count();
    assert!(passed >= passes, "{shown}");
    world.is_clean();
}

/// `kill -9` at any moment: the wardens end what there is, and the next run tidies the rest.
#[test]
fn a_killed_runner_leaves_nothing_that_the_next_does_not_tidy() {
    let world = World::new("plain", "");
    let json = world.path("out").join("r.json");
    fs::create_dir(world.path("out")).unwrap();
    for round in 0..12 {
        let mut runner = world
            .command()
            .args(["listen/*", "--report"])
            .arg(&json)
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        // Each at another moment; none is waited for.
        std::thread::sleep(Duration::from_millis(40 * round));
        kill(Pid::from_raw(runner.id() as i32), Signal::SIGKILL).unwrap();
        runner.wait().unwrap();
        let begin = Instant::now();
        while !processes_with(world.dir.path()).is_empty() {
            assert!(begin.elapsed() < PATIENCE, "{:?}", processes_with(world.dir.path()));
            std::thread::sleep(Duration::from_millis(10));
        }
        assert_eq!(entries(&world.path("out")), Vec::<String>::new(), "round {round}");
    }
    let output = world.run(&[]);
    assert_eq!(output.status.code(), Some(0), "{}", words(&output));
    world.is_clean();
}

/// Nobody else's directory is tidied, nor what a user wanted kept.
#[test]
fn what_is_no_rest_stays() {
    let world = World::new("plain", "");
    let tmp = world.path("tmp");
    fs::create_dir(tmp.join("forkproof-mine")).unwrap();
    fs::create_dir(world.path("elsewhere")).unwrap();
    fs::write(world.path("elsewhere/file"), "mine").unwrap();
    symlink(world.path("elsewhere"), tmp.join("forkproof-run.linked")).unwrap();
    let kept = world.run(&["--keep"]);
    assert_eq!(kept.status.code(), Some(0), "{}", words(&kept));
    assert_eq!(world.run(&[]).status.code(), Some(0));
    let left = entries(&tmp);
    assert_eq!(left.len(), 3, "{left:?}");
    assert!(world.path("elsewhere/file").exists());
}

#[rstest]
#[case("0")]
#[case("1")]
fn a_limit_of_file_sizes_is_told(#[case] blocks: &str) {
    let world = World::new("plain", "");
    let output = Command::new("sh")
        .args(["-c", r#"ulimit -f "$0"; exec "$@""#, blocks])
        .arg(env!("CARGO_BIN_EXE_forkproof"))
        .args(["run", "listen/clients-are-served", "--target"])
        .arg(&world.manifest)
        .env("TMPDIR", world.path("tmp"))
        .output()
        .unwrap();
    let shown = words(&output);
    assert_eq!(output.status.code(), Some(3), "{shown}");
    assert!(shown.contains("ulimit -f"), "{shown}");
    world.is_clean();
}

/// A name is bytes.
#[test]
fn a_temporary_directory_that_is_no_utf_8() {
    let world = World::new("plain", "");
    let tmp = world.dir.path().join(std::ffi::OsStr::from_bytes(b"t\xff\xfe"));
    fs::create_dir(&tmp).unwrap();
    let output =
        world.command().env("TMPDIR", &tmp).args(["listen/clients-are-served"]).output().unwrap();
    let shown = words(&output);
    assert_eq!(output.status.code(), Some(2), "{shown}");
    assert!(shown.contains("TMPDIR"), "{shown}");
    assert_eq!(fs::read_dir(&tmp).unwrap().count(), 0);
}
