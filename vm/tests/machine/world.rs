//! A user with a cache, an image, and an emulator that is a shell script.

use std::os::unix::fs::PermissionsExt;
use std::path::PathBuf;
use std::process::{Child, Command, Output, Stdio};
use std::time::{Duration, Instant};

use nix::sys::signal::kill;
use nix::unistd::Pid;
use sha2::{Digest, Sha256};

pub(crate) const PROGRAM: &str = env!("CARGO_BIN_EXE_forkproof-vm");
pub(crate) const IMAGE: &str = "mine";
/// Other work may share this machine.
pub(crate) const PATIENCE: Duration = Duration::from_secs(30);

/// What a fake emulator begins with: it finds the result's disk among its arguments, and its stamp.
pub(crate) const PRELUDE: &str = r#"#!/bin/sh
# Without a machine: whether it can have its sandbox.
case " $* " in *" -machine none "*) [ ! -e "$WORLD/no-sandbox" ] || { echo 'no -sandbox' >&2; exit 1; }; exit ;; esac
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
entry() {
    echo "{\"id\": \"$1\", \"verdict\": \"$2\", \"title\": \"t\", \"level\": \"must\", \"clause\": \"c\","
    echo '"runs": 1, "not_passed": 0, "duration_ms": 1}'
}
report() {
    cat <<END
{"schema": "forkproof-report/1", "forkproof": "0", "started": "2026-01-01T00:00:00Z",
 "duration_ms": 1, "target": {"name": "t", "program": "t"},
 "options": {"jobs": 1, "repeat": 1, "slowness": 1.0}, "interrupted": false, "conclusion": "$1",
 "counts": {"pass": 1, "fail": ${2:-0}, "unsupported": 0, "not-run": 0, "error": 0},
 "platform": {"system": "Linux", "release": "6", "machine": "x86_64", "kernel_bits": 64,
 "userland_bits": ${3:-64}, "libc": "glibc", "processors": 1, "file_system": "tmpfs", "root": true},
 "requirements": [$(entry listen/one pass)$4]}
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
pub(crate) struct World {
    pub(crate) dir: tempfile::TempDir,
}

impl World {
    pub(crate) fn new(behaviour: &str) -> Self {
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
    pub(crate) fn describe(&self, id: &str, first_boot: &str) {
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
        let cached = self.images().join(id);
        std::fs::create_dir_all(&cached).expect("made");
        let disk = vec![0; 4096];
        let digest: String = Sha256::digest(&disk).iter().map(|b| format!("{b:02x}")).collect();
        std::fs::write(cached.join("disk.raw"), disk).expect("written");
        let sealed = format!("[files]\n\"disk.raw\" = \"sha256:{digest}\"\n");
        std::fs::write(cached.join("digests.toml"), sealed).expect("written");
        let path = self.dir.path().join(format!("config/forkproof/images/{id}.toml"));
        std::fs::write(path, description).expect("written");
    }

    pub(crate) fn script(&self, name: &str, text: &str) {
        let path = self.dir.path().join("bin").join(name);
        std::fs::write(&path, text).expect("written");
        std::fs::set_permissions(&path, PermissionsExt::from_mode(0o755)).expect("set");
    }

    pub(crate) fn environment<'a>(&self, command: &'a mut Command) -> &'a mut Command {
        let path = std::env::var("PATH").expect("a PATH");
        command
            .env("PATH", format!("{}:{path}", self.dir.path().join("bin").display()))
            .env("XDG_CACHE_HOME", self.dir.path().join("cache"))
            .env("XDG_CONFIG_HOME", self.dir.path().join("config"))
            .env("WORLD", self.dir.path())
            .current_dir(self.dir.path())
    }

    pub(crate) fn command(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new(PROGRAM);
        command.args(["run", IMAGE, "--payload"]).arg(self.payload()).args(arguments);
        self.environment(&mut command);
        command
    }

    /// What passes for a static program of 64-bit x86 Linux, whatever this machine is. Written once:
    /// a run may be reading it.
    pub(crate) fn payload(&self) -> PathBuf {
        let path = self.dir.path().join("payload");
        if path.exists() {
            return path;
        }
        let mut header = vec![0; 8 * 1024 * 1024];
        header[..8].copy_from_slice(b"\x7fELF\x02\x01\x01\x00");
        header[16..20].copy_from_slice(&[2, 0, 62, 0]);
        std::fs::write(&path, header).expect("written");
        path
    }

    pub(crate) fn run(&self, arguments: &[&str]) -> Ended {
        Ended::of(&self.command(arguments).output().expect("run"))
    }

    /// As [`World::run`]; also the most memory that it had at any time, MiB. None where the system
    /// does not tell.
    pub(crate) fn run_measured(&self, arguments: &[&str]) -> (Ended, Option<u64>) {
        let mut command = self.command(arguments);
        let child = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().expect("started");
        let status = format!("/proc/{}/status", child.id());
        let measuring = std::thread::spawn(move || {
            let mut most = None;
            loop {
                // A process that has ended, and is not waited for, has no memory.
                let text = std::fs::read_to_string(&status).unwrap_or_default();
                let Some(line) = text.lines().find_map(|line| line.strip_prefix("VmHWM:")) else {
                    return most;
                };
                let kib = line.trim().trim_end_matches(" kB").parse::<u64>().expect("a number");
                most = most.max(Some(kib / 1024));
                std::thread::sleep(Duration::from_millis(5));
            }
        });
        let output = child.wait_with_output().expect("waited for");
        (Ended::of(&output), measuring.join().expect("measured"))
    }

    /// The cache.
    pub(crate) fn images(&self) -> PathBuf {
        self.dir.path().join("cache/forkproof/images")
    }

    /// The image's directory there.
    pub(crate) fn cached(&self) -> PathBuf {
        self.images().join(IMAGE)
    }

    pub(crate) fn result(&self, name: &str) -> PathBuf {
        self.dir.path().join("forkproof-vm").join(IMAGE).join(name)
    }
    pub(crate) fn text(&self, name: &str) -> Option<String> {
        std::fs::read(self.result(name)).ok().map(|b| String::from_utf8_lossy(&b).into_owned())
    }

    pub(crate) fn emulator(&self) -> Option<Pid> {
        let text = std::fs::read_to_string(self.dir.path().join("pid")).ok()?;
        text.trim().parse().ok().map(Pid::from_raw)
    }

    /// Directories of machines that are there.
    pub(crate) fn machines(&self) -> usize {
        std::fs::read_dir(self.images().join(".runs")).map_or(0, Iterator::count)
    }

    pub(crate) fn is_clean(&self) {
        assert_eq!(self.machines(), 0, "a machine's directory is left");
        if let Some(pid) = self.emulator() {
            assert!(kill(pid, None).is_err(), "the emulator is left");
        }
    }
}

#[derive(Debug)]
pub(crate) struct Ended {
    pub(crate) status: Option<i32>,
    pub(crate) out: String,
    pub(crate) errors: Vec<String>,
}

impl Ended {
    fn of(output: &Output) -> Self {
        Self {
            status: output.status.code(),
            out: String::from_utf8_lossy(&output.stdout).into_owned(),
            errors: String::from_utf8_lossy(&output.stderr)
                .lines()
                .filter(|line| line.starts_with("forkproof: "))
                .map(str::to_owned)
                .collect(),
        }
    }
}

pub(crate) fn until(what: &str, mut condition: impl FnMut() -> bool) {
    let begin = Instant::now();
    while !condition() {
        assert!(begin.elapsed() < PATIENCE, "not within {PATIENCE:?}: {what}");
        std::thread::sleep(Duration::from_millis(10));
    }
}

/// Starts it, and waits until the emulator runs.
pub(crate) fn running(world: &World) -> Child {
    let child =
        world.command(&[]).stdout(Stdio::null()).stderr(Stdio::piped()).spawn().expect("started");
    until("the emulator runs", || world.emulator().is_some_and(|pid| kill(pid, None).is_ok()));
    child
}
