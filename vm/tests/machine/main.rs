//! `forkproof vm run` with an emulator that is a shell script: everything that can go wrong with a
//! machine, and how it is told. Each ends in the documented status, with one sentence, and leaves
//! no process and no half file.

use std::io::{BufRead, BufReader};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use rstest::rstest;

const PROGRAM: &str = env!("CARGO_BIN_EXE_forkproof-vm");
const IMAGE: &str = "mine";
/// Other work may share this machine.
const PATIENCE: Duration = Duration::from_secs(30);

/// What a fake emulator begins with: it finds the result's disk among its arguments, and its stamp.
const PRELUDE: &str = r#"#!/bin/sh
echo $$ > "$WORLD/pid"
printf '%s\n' "$@" > "$WORLD/arguments"
for argument; do
    case $argument in
        *file=*/out.tar) out=${argument##*file=} ;;
        *file=*/in.tar) job=${argument##*file=} ;;
    esac
done
stamp=$(sed -n '1s/.* //p;1q' "$out")
started() { echo "forkproof-guest: started $stamp"; }
report() {
    cat <<END
{"schema": "forkproof-report/1", "conclusion": "$1",
 "counts": {"pass": 1, "fail": ${2:-0}, "unsupported": 0, "not-run": 0, "error": 0},
 "platform": {"system": "Linux", "release": "6", "machine": "x86_64", "kernel_bits": 64,
 "userland_bits": ${3:-64}},
 "requirements": [{"id": "listen/one", "verdict": "pass"}$4]}
END
}
# The members of a whole result, in a directory of their own.
members() {
    mkdir "$WORLD/result" && cd "$WORLD/result"
    echo "$1" > exitcode
    report "$2" "$3" "$4" "$5" > report.json
    echo '<testsuites/>' > junit.xml
    echo '# summary' > summary.md
    echo 'forkproof: the last words' > output.log
    echo "$stamp" > complete
}
archive() { tar cf - exitcode report.json junit.xml summary.md output.log complete; }
onto() { dd of="$out" conv=notrunc 2> /dev/null; }
result() { members "$@"; archive | onto; }
"#;

/// A user with a cache, an image, and an emulator that behaves as a test wants.
struct World {
    dir: tempfile::TempDir,
}

impl World {
    fn new(behaviour: &str) -> Self {
        let world = Self { dir: tempfile::tempdir().expect("a directory") };
        let path = |name: &str| world.dir.path().join(name);
        for dir in ["bin", "cache", "config/forkproof/images"] {
            std::fs::create_dir_all(path(dir)).expect("made");
        }
        world.script("qemu-system-x86_64", &format!("{PRELUDE}{behaviour}\n"));
        world.script("qemu-img", "#!/bin/sh\nfor last; do :; done\n: > \"$last\"\n");
        world.describe(IMAGE, "'cloud-init'");
        world
    }

    /// `first_boot` in TOML.
    fn describe(&self, id: &str, first_boot: &str) {
        let description = format!(
            r#"id = "{id}"
title = "Mine"
architecture = "x86_64"
kernel_bits = 64
userland_bits = 64
first_boot = {first_boot}
memory = 64
cpus = 1
boot_limit = 60
run_limit = 60
[source.download]
locations = ["https://example.invalid/"]
files = ["disk.raw"]
format = "raw"
verify = {{ digest = "sha256:{:064}" }}
"#,
            0
        );
        // As if it had been fetched.
        let cached = self.dir.path().join("cache/forkproof/images").join(id);
        std::fs::create_dir_all(&cached).expect("made");
        std::fs::write(cached.join("disk.raw"), vec![0; 4096]).expect("written");
        let path = self.dir.path().join(format!("config/forkproof/images/{id}.toml"));
        std::fs::write(path, description).expect("written");
    }

    fn script(&self, name: &str, text: &str) {
        let path = self.dir.path().join("bin").join(name);
        std::fs::write(&path, text).expect("written");
        std::fs::set_permissions(&path, PermissionsExt::from_mode(0o755)).expect("set");
    }

    fn environment<'a>(&self, command: &'a mut Command) -> &'a mut Command {
        let path = std::env::var("PATH").expect("a PATH");
        command
            .env("PATH", format!("{}:{path}", self.dir.path().join("bin").display()))
            .env("XDG_CACHE_HOME", self.dir.path().join("cache"))
            .env("XDG_CONFIG_HOME", self.dir.path().join("config"))
            .env("WORLD", self.dir.path())
            .current_dir(self.dir.path())
    }

    fn command(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new(PROGRAM);
        command.args(["run", IMAGE, "--payload"]).arg(self.payload()).args(arguments);
        self.environment(&mut command);
        command
    }

    /// What passes for a static program of 64-bit x86 Linux, whatever this machine is.
    fn payload(&self) -> PathBuf {
        let mut header = vec![0; 8 * 1024 * 1024];
        header[..8].copy_from_slice(b"\x7fELF\x02\x01\x01\x00");
        header[16..20].copy_from_slice(&[2, 0, 62, 0]);
        let path = self.dir.path().join("payload");
        std::fs::write(&path, header).expect("written");
        path
    }

    fn run(&self, arguments: &[&str]) -> Ended {
        let output = self.command(arguments).output().expect("run");
        Ended {
            status: output.status.code(),
            out: String::from_utf8_lossy(&output.stdout).into_owned(),
            errors: String::from_utf8_lossy(&output.stderr)
                .lines()
                .filter(|line| line.starts_with("forkproof: "))
                .map(str::to_owned)
                .collect(),
        }
    }

    fn result(&self, name: &str) -> PathBuf {
        self.dir.path().join("forkproof-vm").join(IMAGE).join(name)
    }

    fn text(&self, name: &str) -> Option<String> {
        std::fs::read(self.result(name)).ok().map(|b| String::from_utf8_lossy(&b).into_owned())
    }

    fn emulator(&self) -> Option<Pid> {
        let text = std::fs::read_to_string(self.dir.path().join("pid")).ok()?;
        text.trim().parse().ok().map(Pid::from_raw)
    }

    /// Directories of machines that are there.
    fn machines(&self) -> usize {
        let runs = self.dir.path().join("cache/forkproof/images/.runs");
        std::fs::read_dir(runs).map_or(0, Iterator::count)
    }

    fn is_clean(&self) {
        assert_eq!(self.machines(), 0, "a machine's directory is left");
        if let Some(pid) = self.emulator() {
            assert!(kill(pid, None).is_err(), "the emulator is left");
        }
    }
}

#[derive(Debug)]
struct Ended {
    status: Option<i32>,
    out: String,
    errors: Vec<String>,
}

fn until(what: &str, mut condition: impl FnMut() -> bool) {
    let begin = Instant::now();
    while !condition() {
        assert!(begin.elapsed() < PATIENCE, "not within {PATIENCE:?}: {what}");
        std::thread::sleep(Duration::from_millis(10));
    }
}

#[test]
fn a_conformant_guest_is_brought_back() {
    let world = World::new("started; result 0 conformant");
    let ended = world.run(&[]);
    assert_eq!(ended.status, Some(0), "{ended:?}");
    assert!(ended.out.contains("mine: conformant: 1 passed, 0 failed"), "{ended:?}");
    assert!(ended.out.contains("boot to verdict"), "{ended:?}");
    assert!(ended.out.contains("64-bit kernel"), "{ended:?}");
    for (name, words) in [
        ("exitcode", "0\n"),
        ("report.json", "forkproof-report/1"),
        ("junit.xml", "<testsuites/>"),
        ("summary.md", "# summary"),
        ("output.log", "the last words"),
        ("console.log", "forkproof-guest: started "),
    ] {
        assert!(world.text(name).is_some_and(|text| text.contains(words)), "{name}");
    }
    world.is_clean();
}

/// No network; the base behind an overlay; the seed and the two disks; the reboot is the end.
#[test]
fn a_machine_is_made_of_what_it_should_be() {
    let world = World::new(
        r#"started; tar xOf "$job" run.sh > "$WORLD/run.sh"; tar tf "$job" > "$WORLD/members"
        result 0 conformant"#,
    );
    let ended = world.run(&["--memory", "96", "--", "listen/*", "it's", "--level", "must"]);
    assert_eq!(ended.status, Some(0), "{ended:?}");
    let read = |name: &str| std::fs::read_to_string(world.dir.path().join(name)).expect("read");
    let arguments = read("arguments");
    for words in [
        "-nic\nnone\n",
        "-no-reboot\n",
        "-accel\ntcg,thread=multi\n",
        "-m\n96\n",
        "overlay.qcow2\n",
        "seed.iso\n",
    ] {
        assert!(arguments.contains(words), "{words}: {arguments}");
    }
    assert!(!arguments.contains("disk.raw"), "the base itself: {arguments}");
    assert_eq!(read("members"), "run.sh\nforkproof\n");
    assert!(read("run.sh").contains(r"'listen/*' 'it'\''s' '--level' 'must'"));
}

/// A server of the user's own lies beside `forkproof`, with its permissions.
#[test]
fn what_is_added_goes_along() {
    let world = World::new(
        r#"started; tar tvf "$job" > "$WORLD/members"; tar xOf "$job" server.toml > "$WORLD/read"
        result 0 conformant"#,
    );
    let path = |name: &str| world.dir.path().join(name);
    std::fs::write(path("server.toml"), "the manifest").expect("written");
    std::fs::create_dir(path("src")).expect("made");
    world.script("server", "#!/bin/sh\n");
    std::fs::rename(path("bin/server"), path("src/server")).expect("moved");
    let ended = world.run(&["--add", "server.toml", "--add", "src/server", "--add", "src"]);
    assert_eq!(ended.status, Some(0), "{ended:?}");
    let members = std::fs::read_to_string(path("members")).expect("read");
    let lines: Vec<Vec<&str>> =
        members.lines().map(|line| line.split_whitespace().collect()).collect();
    let listed: Vec<(&str, &str)> =
        lines.iter().map(|words| (words[0], words[words.len() - 1])).collect();
    assert_eq!(
        listed,
        [
            ("-rwxr-xr-x", "run.sh"),
            ("-rwxr-xr-x", "forkproof"),
            ("-rw-r--r--", "server.toml"),
            ("-rwxr-xr-x", "server"),
            ("drwxr-xr-x", "src/"),
            ("-rwxr-xr-x", "src/server"),
        ]
    );
    assert_eq!(std::fs::read_to_string(path("read")).expect("read"), "the manifest");
    world.is_clean();
}

#[test]
fn what_cannot_be_used_is_known_before_the_machine_is_made() {
    let world = World::new("started; result 0 conformant");
    let ended = world.run(&["--add", "server.toml"]);
    assert_eq!(ended.status, Some(2), "{ended:?}");
    assert!(ended.errors[0].contains("--add server.toml: No such file"), "{ended:?}");
    let ended = world.run(&["--append", "ipv6.disable=1"]);
    assert_eq!(ended.status, Some(2), "{ended:?}");
    assert!(ended.errors[0].contains("--append: image `mine` starts its kernel"), "{ended:?}");
    assert!(world.emulator().is_none());
}

#[rstest]
#[case::passed_unexpectedly(
    r#"started; result 1 not-conformant; sed -i 's/"error": 0/"xpass": 1/; s/}]}/}, {"id": "listen\/two", "verdict": "xpass"}]}/' report.json; archive | onto"#,
    1,
    "the suite failed: listen/two (passed unexpectedly)"
)]
#[case::a_requirement_failed(
    r#"started; result 1 not-conformant 1 64 ', {"id": "listen/two", "verdict": "fail"}'"#,
    1,
    "the suite failed: listen/two"
)]
#[case::the_suite_itself_failed(
    r#"started; members 3 no-verdict; sed -i 's/"error": 0/"error": 1/; s/}]}/}, {"id": "listen\/two", "verdict": "error"}]}/' report.json; archive | onto"#,
    3,
    "no verdict: the suite itself had errors in listen/two"
)]
#[case::its_options_are_wrong("started; result 2 conformant", 2, "image `mine`: the last words")]
#[case::nothing_was_selected("started; result 4 conformant", 4, "image `mine`: the last words")]
#[case::panic_while_booting(
    "echo '[ 0.5] Kernel panic - not syncing: VFS: Unable to mount root fs'; exit 0",
    3,
    "did not boot: its kernel panicked (`Kernel panic - not syncing: VFS: Unable to mount root fs`); the console's end: [ 0.5] Kernel panic"
)]
#[case::panic_on_the_way(
    "started; echo 'panic: page fault'; exit 0",
    3,
    "wrote no result: its kernel panicked (`panic: page fault`); the console's end: forkproof-guest: started"
)]
#[case::ends_before_its_script(
    "echo 'no bootable device'; exit 0",
    3,
    "did not boot: the machine ended before the guest's script ran; the console's end: no bootable"
)]
#[case::no_result("started; exit 0", 3, "wrote no result: the stamp is still on the result's disk")]
#[case::lies(
    r#"started; echo 'conformant: 121 passed PASS'; echo "forkproof-guest: result written $stamp""#,
    3,
    "wrote no result: the stamp is still"
)]
#[case::another_runs_sign("echo 'forkproof-guest: started 0123'; exit 0", 3, "did not boot")]
#[case::half_a_result(
    "started; members 0 conformant; archive | dd bs=512 count=3 2> /dev/null | onto",
    3,
    "wrote no result: the result's archive ends before its time"
)]
#[case::noise("started; yes noise | dd count=4 2> /dev/null | onto", 3, "archive is damaged")]
#[case::another_runs_result(
    "started; members 0 conformant; echo 0123 > complete; archive | onto",
    3,
    "wrote no result: the result is another run's"
)]
#[case::no_exit_code(
    "started; members 0 conformant; tar cf - report.json complete | onto",
    3,
    "wrote no result: the result has no exit code"
)]
#[case::nonsense("started; result PASS conformant", 3, "the result's exit code is `PASS`")]
#[case::killed_suite("started; result 137 conformant", 3, "the result's exit code is `137`")]
#[case::two_witnesses_disagree(
    r#"started; result 0 not-conformant"#,
    3,
    "its report says `not-conformant`, but the exit code is 0"
)]
#[case::no_report(
    "started; members 0 conformant; tar cf - exitcode complete | onto",
    3,
    "wrote no result: its report is missing"
)]
#[case::report_of_another_machine(
    "started; result 0 conformant 0 32",
    3,
    "its report is of a 32-bit program on a 64-bit kernel"
)]
#[case::payload_does_not_run(
    r#"started; mkdir result; cd result; echo './forkproof: not found' > problem
    echo "$stamp" > complete; tar cf - problem complete | onto"#,
    3,
    "does not run there: ./forkproof: not found"
)]
#[case::dies_at_once(
    "echo 'qemu: no such machine' >&2; exit 1",
    3,
    "QEMU failed: it ended with status 1: qemu: no such machine"
)]
#[case::killed("started; kill -9 $$", 3, "QEMU failed: it was killed by SIGKILL")]
fn what_goes_wrong_is_told_in_a_sentence(
    #[case] behaviour: &str,
    #[case] status: i32,
    #[case] words: &str,
) {
    let world = World::new(behaviour);
    let ended = world.run(&[]);
    assert_eq!(ended.status, Some(status), "{ended:?}");
    assert_eq!(ended.errors.len(), 1, "{ended:?}");
    assert!(ended.errors[0].contains(words), "{ended:?}");
    assert_eq!(world.text("exitcode"), Some(format!("{status}\n")));
    assert!(!ended.out.contains("conformant: "), "{ended:?}");
    world.is_clean();
}

#[rstest]
#[case::boot("exec sleep 600", &["--boot-limit", "1"], "did not boot: no sign of the guest's script")]
#[case::run("started; exec sleep 600", &["--limit", "1"], "wrote no result: not at its end")]
#[case::with_children("started; sleep 600 & sleep 600", &["--limit", "1"], "wrote no result")]
fn a_machine_that_hangs_is_ended(
    #[case] behaviour: &str,
    #[case] arguments: &[&str],
    #[case] words: &str,
) {
    let world = World::new(behaviour);
    let begin = Instant::now();
    let ended = world.run(arguments);
    assert!(begin.elapsed() < PATIENCE, "{:?}", begin.elapsed());
    assert_eq!(ended.status, Some(3), "{ended:?}");
    assert!(ended.errors[0].contains(words), "{ended:?}");
    world.is_clean();
}

/// An image without cloud-init is logged in to, and the seed's script is started there.
#[test]
fn a_serial_console_is_logged_in_to() {
    // A line's end is a carriage return, as a keyboard's is; it would take a terminal to make it a
    // newline.
    let world = World::new(
        r#"typed() {
            while byte=$(dd bs=1 count=1 2> /dev/null) && [ "$byte" != "$(printf '\r')" ]; do
                printf %s "${byte:- }"
            done
            echo
        }
        { printf 'FreeBSD/amd64 (Amnesiac) (ttyu0)\r\n\r\nlogin: ' >&2; typed
        printf 'Password:' >&2; typed
        printf 'Welcome!\r\nroot@:~ # ' >&2; typed; } 2>&1 > "$WORLD/typed"
        started; result 0 conformant"#,
    );
    world.describe(IMAGE, "{ serial-login = { login = 'root', password = 'secret' } }");
    let ended = world.run(&["--boot-limit", "20"]);
    let typed = std::fs::read_to_string(world.dir.path().join("typed")).unwrap_or_default();
    assert_eq!(ended.status, Some(0), "{ended:?} {typed}");
    let lines: Vec<&str> = typed.lines().collect();
    assert_eq!(lines[..2], ["root", "secret"]);
    assert!(lines[2].contains("/dev/iso9660/cidata"), "{lines:?}");
    assert!(lines[2].ends_with("; sh /mnt/user-data serial"), "{lines:?}");
    world.is_clean();
}

/// Where the console is silent, keys are pressed: QEMU hears of them over its machine protocol.
#[test]
fn a_silent_machine_is_logged_in_to_blind() {
    let world = World::new(
        r#"for argument; do case $argument in socket,id=keyboard,fd=*) fd=${argument##*=} ;; esac; done
        exec 8<&"$fd"
        while read -r line <&8; do
            echo "$line" >> "$WORLD/keys"
            case $line in *'"ret"'*) break ;; esac
        done
        started; result 0 conformant"#,
    );
    world.describe(IMAGE, "{ keyboard = { login = 'ab', after = 0, terminal = 0 } }");
    let ended = world.run(&["--boot-limit", "30"]);
    assert_eq!(ended.status, Some(0), "{ended:?}");
    let keys = std::fs::read_to_string(world.dir.path().join("keys")).expect("keys");
    let said: Vec<serde_json::Value> =
        keys.lines().map(|line| serde_json::from_str(line).expect("JSON")).collect();
    assert_eq!(said[0]["execute"], "qmp_capabilities");
    let pressed: Vec<Vec<&str>> = said[1..]
        .iter()
        .map(|command| {
            assert_eq!(command["execute"], "send-key");
            let keys = command["arguments"]["keys"].as_array().expect("keys");
            keys.iter().map(|key| key["data"].as_str().expect("a name")).collect()
        })
        .collect();
    assert_eq!(pressed, [vec!["ctrl", "c"], vec!["a"], vec!["b"], vec!["ret"]]);
    let arguments = std::fs::read_to_string(world.dir.path().join("arguments")).expect("read");
    assert!(arguments.contains("chardev=keyboard,mode=control\n"), "{arguments}");
    world.is_clean();
}

/// The result counts, whatever QEMU does after it was written.
#[test]
fn a_result_outlives_its_machine() {
    let world = World::new("started; result 0 conformant; exec sleep 600");
    let ended = world.run(&["--limit", "2"]);
    assert_eq!(ended.status, Some(0), "{ended:?}");
    world.is_clean();
}

#[test]
fn a_flood_on_the_console_is_bounded_and_its_end_is_kept() {
    let world = World::new(
        "started; yes 'all work and no play' | head -c 41943040; echo the end; result 0 conformant",
    );
    let ended = world.run(&[]);
    assert_eq!(ended.status, Some(0), "{ended:?}");
    let console = world.text("console.log").expect("a console");
    assert!(console.len() < 17 * 1024 * 1024, "{}", console.len());
    assert!(console.contains("more bytes are left out"));
    assert!(console.ends_with("the end\n"));
}

/// Starts it, and waits until the emulator runs.
fn running(world: &World) -> Child {
    let child =
        world.command(&[]).stdout(Stdio::null()).stderr(Stdio::piped()).spawn().expect("started");
    until("the emulator runs", || world.emulator().is_some_and(|pid| kill(pid, None).is_ok()));
    child
}

#[rstest]
#[case(Signal::SIGINT)]
#[case(Signal::SIGTERM)]
fn an_interruption_ends_everything_at_once(#[case] signal: Signal) {
    let world = World::new("started; exec sleep 600");
    let mut child = running(&world);
    let begin = Instant::now();
    kill(Pid::from_raw(child.id() as i32), signal).expect("signalled");
    let status = child.wait().expect("waited for");
    assert!(begin.elapsed() < Duration::from_secs(2), "{:?}", begin.elapsed());
    assert_eq!(status.code(), Some(3));
    let errors = BufReader::new(child.stderr.take().expect("piped"));
    let last = errors.lines().map_while(Result::ok).last();
    assert_eq!(last.as_deref(), Some("forkproof: interrupted"));
    assert_eq!(world.text("exitcode"), None);
    world.is_clean();
}

#[test]
fn even_kill_9_leaves_no_machine_and_a_later_run_cleans_up() {
    let world = World::new("started; exec sleep 600");
    let mut child = running(&world);
    let emulator = world.emulator().expect("its id");
    child.kill().expect("killed");
    child.wait().expect("waited for");
    until("the emulator is gone", || kill(emulator, None).is_err());
    assert_eq!(world.machines(), 1);
    world.script("qemu-system-x86_64", &format!("{PRELUDE}started; result 0 conformant\n"));
    assert_eq!(world.run(&[]).status, Some(0));
    world.is_clean();
}

/// Two runs at once share the cache, and neither sweeps away the other's machine.
#[test]
fn two_runs_at_once_leave_each_other_alone() {
    let world = World::new(
        r#"started; touch "$WORLD/began.$stamp"
        while [ "$(ls "$WORLD" | grep -c began)" -lt 2 ]; do sleep 0.05; done
        WORLD=$WORLD/$stamp; mkdir "$WORLD"; result 0 conformant"#,
    );
    let begin = |out: &str| {
        world
            .command(&["--out", out])
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .expect("started")
    };
    let mut both = [begin("one"), begin("two")];
    for child in &mut both {
        assert_eq!(child.wait().expect("waited for").code(), Some(0));
    }
    assert_eq!(world.machines(), 0);
}

/// The status is the worst guest's, and the others' results are there.
#[test]
fn several_guests_in_one_run() {
    let world = World::new(
        r#"WORLD=$WORLD/$stamp; mkdir "$WORLD"; started
        case $2 in mine) result 0 conformant ;; *) exit 0 ;; esac"#,
    );
    world.describe("other", "'cloud-init'");
    let ended = world.run(&["other", "--jobs", "2"]);
    assert_eq!(ended.status, Some(3), "{ended:?}");
    assert!(ended.out.contains("mine: conformant"), "{ended:?}");
    assert!(ended.errors[0].contains("image `other` wrote no result"), "{ended:?}");
    assert_eq!(world.text("exitcode").as_deref(), Some("0\n"));
}

/// Old results never pass for new ones.
#[test]
fn what_an_earlier_run_left_is_gone() {
    let world = World::new("started; result 0 conformant");
    assert_eq!(world.run(&[]).status, Some(0));
    world.script("qemu-system-x86_64", &format!("{PRELUDE}started\n"));
    assert_eq!(world.run(&[]).status, Some(3));
    assert_eq!(world.text("report.json"), None);
    assert_eq!(world.text("exitcode").as_deref(), Some("3\n"));
}

/// Full before the machine starts, and filled by the machine.
#[rstest]
#[case(256, "started; result 0 conformant", "forkproof: no space left to write ")]
#[case(
    0,
    r#"started; cat /dev/zero > "${out%/*}/filler" 2> /dev/null; exit 0"#,
    "(image `mine` wrote no result)"
)]
fn a_full_host_disk_is_told_as_such(
    #[case] kib: u64,
    #[case] behaviour: &str,
    #[case] words: &str,
) {
    let namespaces = Command::new("unshare").args(["-rm", "true"]).status();
    if !namespaces.is_ok_and(|status| status.success()) {
        eprintln!("skipped: needs user and mount namespaces (unshare -rm)");
        return;
    }
    let world = World::new(behaviour);
    let payload = world.payload();
    // Too little for the payload, or the payload's size and some.
    let needed = payload.metadata().expect("its size").len() / 1024 + 4096;
    let size = if kib > 0 { kib } else { needed };
    let output = world
        .environment(Command::new("unshare").args([
            "-rm",
            "sh",
            "-c",
            "runs=$XDG_CACHE_HOME/forkproof/images/.runs; mkdir -p \"$runs\"
            mount -t tmpfs -o size=\"$SIZE\" none \"$runs\" || exit 99; exec \"$@\"",
            "sh",
            PROGRAM,
            "run",
            IMAGE,
            "--payload",
        ]))
        .arg(payload)
        .env("SIZE", format!("{size}k"))
        .output()
        .expect("run");
    let errors = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(3), "{errors}");
    assert!(errors.contains("forkproof: no space left to write "), "{errors}");
    assert!(errors.contains(words), "{errors}");
    world.is_clean();
}

#[test]
fn a_missing_emulator_is_named_with_its_package() {
    let world = World::new("");
    std::fs::remove_file(world.dir.path().join("bin/qemu-system-x86_64")).expect("removed");
    let mut command = world.command(&[]);
    // A PATH without the real one.
    let output = command.env("PATH", world.dir.path().join("bin")).output().expect("run");
    let errors = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(3), "{errors}");
    assert!(errors.contains("`qemu-system-x86_64` is not installed: "), "{errors}");
}

#[rstest]
#[case(&["run", "mine", "mine"], "named twice")]
#[case(&["run", "min"], "did you mean `mine`?")]
#[case(&["run", "mine", "--payload", "/etc/passwd"], "it is no ELF program")]
#[case(&["build", "mine"], "is not built here")]
fn wrong_usage(#[case] arguments: &[&str], #[case] words: &str) {
    let world = World::new("started; result 0 conformant");
    let own = world.payload();
    let payloads = world.dir.path().join("payloads");
    std::fs::create_dir(&payloads).expect("made");
    std::fs::copy(own, payloads.join("forkproof")).expect("copied");
    let mut command = Command::new(PROGRAM);
    let output = world
        .environment(command.args(arguments).env("FORKPROOF_PAYLOADS", &payloads))
        .output()
        .expect("run");
    let errors = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(2), "{errors}");
    assert!(errors.contains(words), "{errors}");
}

/// A system's emulator is not needed when another is named.
#[test]
fn an_emulator_of_ones_own() {
    let world = World::new("exit 9");
    world.script("my-qemu", &format!("{PRELUDE}started; result 0 conformant\n"));
    let own: &Path = &world.dir.path().join("bin/my-qemu");
    assert_eq!(world.run(&["--qemu", &own.to_string_lossy()]).status, Some(0));
}
