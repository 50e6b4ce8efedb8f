//! A server of the test's own, its directory and its processes.

use std::io::{Read, Write};
use std::net::TcpStream;
use std::path::{Path, PathBuf};
use std::process::{Child, Command as Process, Stdio};
use std::time::{Duration, Instant};

use assert_cmd::Command;
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use rstest::fixture;
use tempfile::TempDir;

use super::common::{KEY, PATIENCE, private};

pub(super) fn chatd() -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_chatd"));
    command.timeout(PATIENCE).env_remove("NOTIFY_SOCKET");
    command
}

/// A directory with a good key in it, and some bad ones.
#[fixture]
pub(super) fn dir() -> TempDir {
    let dir = tempfile::tempdir().unwrap();
    private(&in_dir(&dir, "key"), &KEY);
    private(&in_dir(&dir, "key127"), &KEY[1..]);
    private(&in_dir(&dir, "key129"), &[&KEY[..], b"k"].concat());
    private(&in_dir(&dir, "keynl"), &[&KEY[..], b"\n"].concat());
    std::fs::create_dir(dir.path().join("directory")).unwrap();
    nix::unistd::mkfifo(&dir.path().join("fifo"), nix::sys::stat::Mode::S_IRWXU).unwrap();
    std::os::unix::fs::symlink("elsewhere", dir.path().join("link")).unwrap();
    dir
}

/// A server in the foreground that is ended at the end of the test.
pub(super) struct Server(pub(super) Child);

impl Drop for Server {
    fn drop(&mut self) {
        if let Ok(None) = self.0.try_wait() {
            signal(self.0.id(), Signal::SIGTERM);
            let deadline = Instant::now() + PATIENCE;
            while let Ok(None) = self.0.try_wait() {
                if Instant::now() >= deadline {
                    let _ = self.0.kill();
                }
                std::thread::sleep(Duration::from_millis(2));
            }
        }
    }
}

pub(super) fn signal(pid: u32, signal: Signal) {
    kill(Pid::from_raw(pid as i32), signal).unwrap();
}

/// Started by root or anybody else.
pub(super) fn serve(dir: &Path, arguments: &[&str]) -> Server {
    serve_as_told(dir, &[&["--allow-root"], arguments].concat())
}

pub(super) fn serve_as_told(dir: &Path, arguments: &[&str]) -> Server {
    Server(
        Process::new(env!("CARGO_BIN_EXE_chatd"))
            .current_dir(dir)
            .args(["--ready-file", "ready"])
            .args(arguments)
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(std::fs::File::create(dir.join("messages")).unwrap())
            .spawn()
            .unwrap(),
    )
}

/// A server with the usual key and log on a port of its own, and its address.
pub(super) fn serve_on_loopback(dir: &Path, arguments: &[&str]) -> (Server, String) {
    let usual = ["--key-file", "key", "--log", "log", "--listen", "127.0.0.1:0"];
    let server = serve(dir, &[&usual, arguments].concat());
    let address = content_of(&dir.join("ready")).trim().to_owned();
    (server, address)
}

/// A client that has sent its key.
pub(super) fn enter(address: &str) -> TcpStream {
    let mut client = TcpStream::connect(address).unwrap();
    client.set_read_timeout(Some(PATIENCE)).unwrap();
    client.write_all(&KEY).unwrap();
    client
}

/// Says `line` and reads until it comes back. Returns whether it did before the connection closed.
pub(super) fn hears_itself(client: &mut TcpStream, line: &str) -> bool {
    if client.write_all(line.as_bytes()).is_err() {
        return false;
    }
    let mut heard = Vec::new();
    let mut byte = [0];
    while !heard.ends_with(line.as_bytes()) {
        match client.read(&mut byte) {
            Ok(1) => heard.push(byte[0]),
            _ => return false,
        }
    }
    true
}

/// A client that is in.
pub(super) fn join(address: &str) -> TcpStream {
    let mut client = enter(address);
    assert!(hears_itself(&mut client, "joins\n"), "the client is not let in");
    client
}

/// What the server has said so far.
pub(super) fn messages(dir: &Path) -> String {
    String::from_utf8_lossy(&std::fs::read(dir.join("messages")).unwrap()).into_owned()
}

/// Asks again until there is an answer.
pub(super) fn until<T>(what: &str, mut ask: impl FnMut() -> Option<T>) -> T {
    let deadline = Instant::now() + PATIENCE;
    loop {
        if let Some(answer) = ask() {
            return answer;
        }
        assert!(Instant::now() < deadline, "{what} did not come");
        std::thread::sleep(Duration::from_millis(2));
    }
}

/// Waits until `path` has content, and returns it.
pub(super) fn content_of(path: &Path) -> String {
    until(&path.display().to_string(), || {
        std::fs::read_to_string(path).ok().filter(|text| !text.is_empty())
    })
}

pub(super) fn in_dir(dir: &TempDir, name: &str) -> PathBuf {
    dir.path().join(name)
}

/// What ps(1) says of the processes: id, parent, state.
pub(super) fn processes() -> Vec<(u32, u32, String)> {
    let listed = Process::new("ps").args(["-A", "-o", "pid=,ppid=,state="]).output().unwrap();
    let listed = String::from_utf8(listed.stdout).unwrap();
    let process = |line: &str| {
        let mut fields = line.split_whitespace();
        let pid = fields.next()?.parse().ok()?;
        Some((pid, fields.next()?.parse().ok()?, fields.next()?.to_owned()))
    };
    listed.lines().filter_map(process).collect()
}

pub(super) fn child_of(parent: u32) -> u32 {
    until("a child", || processes().iter().find(|process| process.1 == parent).map(|child| child.0))
}
