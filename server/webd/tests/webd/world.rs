//! A server of its own for each test, and what a test asks of the system.

use std::fs;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use tempfile::TempDir;

/// Longer than anything here takes on a slow machine; what waits so long has failed.
pub(crate) const PATIENCE: Duration = Duration::from_secs(30);

/// A directory with something to serve in it, in `www`, and room for a server's files.
pub(crate) struct World {
    dir: TempDir,
}

impl World {
    /// With an index file.
    pub(crate) fn new() -> Self {
        let dir = tempfile::tempdir().unwrap();
        let world = Self { dir };
        fs::create_dir(world.path("www")).unwrap();
        world.write("www/index.html", "the index");
        // Workers that are another user look into it.
        use std::os::unix::fs::PermissionsExt;
        fs::set_permissions(world.dir.path(), fs::Permissions::from_mode(0o755)).unwrap();
        world
    }

    /// The absolute path of `name`.
    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    /// Writes a file.
    pub(crate) fn write(&self, name: &str, content: impl AsRef<[u8]>) {
        fs::write(self.path(name), content).unwrap();
    }

    /// The program, in this directory, with nothing of the surroundings' supervisor.
    pub(crate) fn command(&self, program: &Path, arguments: &[&str]) -> Command {
        let mut command = Command::new(program);
        command.current_dir(self.dir.path()).args(arguments).stdin(Stdio::null());
        for name in ["NOTIFY_SOCKET", "WATCHDOG_USEC", "WATCHDOG_PID", "LISTEN_FDS", "LISTEN_PID"] {
            command.env_remove(name);
        }
        command
    }

    /// A server of `www` on a port of its own, with two workers if nothing else is said.
    pub(crate) fn serve(&self, arguments: &[&str]) -> Webd {
        let mut all = vec!["www", "--listen", "127.0.0.1:0", "--ready-file", "ready"];
        if !arguments.contains(&"--workers") {
            all.extend(["--workers", "2"]);
        }
        all.extend(arguments);
        self.launch(self.command(Path::new(env!("CARGO_BIN_EXE_webd")), &all))
    }

    /// Starts a server whose ready file is `ready`, and waits until it serves.
    pub(crate) fn launch(&self, command: Command) -> Webd {
        self.ready(self.start(command))
    }

    /// Starts a server whose ready file is `ready`.
    pub(crate) fn start(&self, mut command: Command) -> Webd {
        static SERVERS: AtomicUsize = AtomicUsize::new(0);
        let number = SERVERS.fetch_add(1, Ordering::Relaxed);
        let messages = self.path(&format!("messages-{number}"));
        let _ = fs::remove_file(self.path("ready"));
        let file = fs::File::create(&messages).unwrap();
        let child = command.stdout(Stdio::null()).stderr(file).spawn().unwrap();
        Webd { child, messages, addresses: Vec::new() }
    }

    /// The server, once it serves.
    pub(crate) fn ready(&self, mut webd: Webd) -> Webd {
        let ready = until("the ready file", || {
            let ended = webd.child.try_wait().unwrap();
            assert!(ended.is_none(), "ended: {ended:?}: {}", webd.messages());
            fs::read_to_string(self.path("ready")).ok().filter(|text| !text.is_empty())
        });
        webd.addresses = ready.lines().map(|line| line.parse().unwrap()).collect();
        webd
    }
}

/// A server that is ended at the end of the test.
pub(crate) struct Webd {
    pub(crate) child: Child,
    messages: PathBuf,
    pub(crate) addresses: Vec<SocketAddr>,
}

impl Webd {
    /// The first address.
    pub(crate) fn address(&self) -> SocketAddr {
        self.addresses[0]
    }

    pub(crate) fn pid(&self) -> i32 {
        self.child.id() as i32
    }

    /// Sends the master a signal.
    pub(crate) fn signal(&self, signal: Signal) {
        kill(Pid::from_raw(self.pid()), signal).unwrap();
    }

    /// What the server has said.
    pub(crate) fn messages(&self) -> String {
        fs::read_to_string(&self.messages).unwrap()
    }

    /// Waits until the server has said `words` so many times.
    pub(crate) fn says(&self, words: &str, times: usize) {
        let said = || self.messages().matches(words).count() >= times;
        let told = || format!("{words:?}, {times} times, in: {}", self.messages());
        until_told(told, || said().then_some(()));
    }

    /// The workers, in the order of their age.
    pub(crate) fn workers(&self) -> Vec<i32> {
        let mut workers: Vec<i32> =
            children(self.pid()).into_iter().filter(|child| child.1 != 'Z').map(|c| c.0).collect();
        workers.sort_unstable();
        workers
    }

    /// Waits for the server's end.
    pub(crate) fn ends(&mut self) -> ExitStatus {
        until("the server's end", || self.child.try_wait().unwrap())
    }
}

impl Drop for Webd {
    fn drop(&mut self) {
        if let Ok(None) = self.child.try_wait() {
            self.signal(Signal::SIGINT);
            let deadline = Instant::now() + Duration::from_secs(10);
            while matches!(self.child.try_wait(), Ok(None)) && Instant::now() < deadline {
                std::thread::sleep(Duration::from_millis(2));
            }
            // One that does not end, or that is not the server itself.
            let _ = self.child.kill();
            let _ = self.child.wait();
        }
        if std::thread::panicking() {
            eprintln!("the server said:\n{}", self.messages());
        }
    }
}

/// Sends any process a signal.
pub(crate) fn signal(pid: i32, signal: Signal) {
    kill(Pid::from_raw(pid), signal).unwrap();
}

/// Children of a process, and their states.
pub(crate) fn children(parent: i32) -> Vec<(i32, char)> {
    let listed = Command::new("ps").args(["-A", "-o", "pid=,ppid=,state="]).output().unwrap();
    let listed = String::from_utf8(listed.stdout).unwrap();
    let child = |line: &str| {
        let mut fields = line.split_whitespace();
        let pid = fields.next()?.parse().ok()?;
        let of: i32 = fields.next()?.parse().ok()?;
        let state = fields.next()?.chars().next()?;
        (of == parent).then_some((pid, state))
    };
    listed.lines().filter_map(child).collect()
}

/// Asks again until there is an answer.
pub(crate) fn until<T>(what: &str, ask: impl FnMut() -> Option<T>) -> T {
    until_told(|| what.to_owned(), ask)
}

fn until_told<T>(what: impl Fn() -> String, mut ask: impl FnMut() -> Option<T>) -> T {
    let deadline = Instant::now() + PATIENCE;
    loop {
        if let Some(answer) = ask() {
            return answer;
        }
        assert!(Instant::now() < deadline, "did not come: {}", what());
        std::thread::sleep(Duration::from_millis(2));
    }
}

/// Whether this test can be root.
pub(crate) fn is_root() -> bool {
    let root = nix::unistd::geteuid().is_root();
    if !root {
        eprintln!("not run: this takes root");
    }
    root
}
