//! The program `chatd` as an administrator meets it: options, configuration, readiness, mistakes.
//! What it does for its clients is the catalogue's business, in `conformance/`.

use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::os::unix::fs::PermissionsExt;
use std::os::unix::net::UnixDatagram;
use std::path::{Path, PathBuf};
use std::process::{Child, Command as Process, Stdio};
use std::time::{Duration, Instant};

use assert_cmd::Command;
use predicates::prelude::*;
use predicates::str::contains;
use rstest::{fixture, rstest};
use tempfile::TempDir;

const PATIENCE: Duration = Duration::from_secs(20);

fn chatd() -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_chatd"));
    command.timeout(PATIENCE).env_remove("NOTIFY_SOCKET");
    command
}

/// A directory with a good key in it, and some bad ones.
#[fixture]
fn dir() -> TempDir {
    let dir = tempfile::tempdir().unwrap();
    let write = |name: &str, content: &[u8]| {
        let path = dir.path().join(name);
        std::fs::write(&path, content).unwrap();
        std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o600)).unwrap();
    };
    write("key", &[b'k'; 128]);
    write("key127", &[b'k'; 127]);
    write("key129", &[b'k'; 129]);
    write("keynl", &[&[b'k'; 128][..], b"\n"].concat());
    std::fs::create_dir(dir.path().join("directory")).unwrap();
    nix::unistd::mkfifo(&dir.path().join("fifo"), nix::sys::stat::Mode::S_IRWXU).unwrap();
    std::os::unix::fs::symlink("elsewhere", dir.path().join("link")).unwrap();
    dir
}

/// A server in the foreground that is ended at the end of the test.
struct Server(Child);

impl Drop for Server {
    fn drop(&mut self) {
        let pid = nix::unistd::Pid::from_raw(self.0.id() as i32);
        let _ = nix::sys::signal::kill(pid, nix::sys::signal::Signal::SIGTERM);
        let _ = self.0.wait();
    }
}

fn serve(dir: &Path, arguments: &[&str]) -> Server {
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

/// Waits until `path` has content, and returns it.
fn content_of(path: &Path) -> String {
    let deadline = Instant::now() + PATIENCE;
    loop {
        match std::fs::read_to_string(path) {
            Ok(text) if !text.is_empty() => return text,
            _ => assert!(Instant::now() < deadline, "{} never came", path.display()),
        }
        std::thread::sleep(Duration::from_millis(2));
    }
}

fn in_dir(dir: &TempDir, name: &str) -> PathBuf {
    dir.path().join(name)
}

#[rstest]
#[case(&["--key-file", "key"], "no --log FILE: give it, or `log = \"…\"` in the configuration file")]
#[case(&["--log", "log"], "no --key-file FILE: give it, or `key_file")]
#[case(&["--log", "log", "--key-file", "nokey"], "nokey: cannot be read: No such file or directory")]
#[case(&["--log", "log", "--key-file", "key127"], "key127: 127 bytes, must be exactly 128")]
#[case(&["--log", "log", "--key-file", "key129"], "key129: 129 bytes, must be exactly 128")]
#[case(&["--log", "log", "--key-file", "keynl"], "keynl: 129 bytes, the last one a newline")]
#[case(&["--log", "log", "--key-file", "directory"], "directory: not a regular file")]
#[case(&["--log", "log", "--key-file", "fifo"], "fifo: not a regular file")]
#[case(&["--log", "log", "--key-file", "key", "--listen", "nonsense:x"], "`nonsense:x`: `x` is no port")]
#[case(&["--log", "log", "--key-file", "key", "--listen", "[::1"], "`[::1`: `]` is missing")]
#[case(&["--log", "log", "--key-file", "key", "--auth-timeout", "0"], "auth timeout 0: must be above 0")]
#[case(&["--log", "log", "--key-file", "key", "--auth-timeout", "NaN"], "auth timeout NaN")]
#[case(&["--log", "log", "--key-file", "key", "--max-clients", "0"], "max clients 0")]
#[case(&["--log", "log", "--key-file", "key", "--backlog", "0"], "backlog 0")]
#[case(&["--log", "log", "--key-file", "key", "--ready-fd", "1"], "ready descriptor 1: must be 3 or above")]
#[case(&["--log", "log", "--key-file", "key", "--ready-fd", "99"], "ready descriptor 99: bad file")]
#[case(&["--log", "log", "--key-file", "key", "--user", "no-such-user"], "user `no-such-user`: no such user")]
#[case(&["--config", "no.toml"], "no.toml: cannot be read: No such file or directory")]
fn wrong_usage(dir: TempDir, #[case] arguments: &[&str], #[case] words: &str) {
    for mode in ["--foreground", "--daemon"] {
        chatd()
            .current_dir(dir.path())
            .args(arguments)
            .arg(mode)
            .assert()
            .code(2)
            .stdout("")
            .stderr(contains(words).and(contains("chatd: ")).and(predicate::function(one_line)));
    }
    assert!(!in_dir(&dir, "log").exists(), "nothing is created for a server that doesn't start");
}

fn one_line(text: &str) -> bool {
    text.lines().count() == 1
}

#[rstest]
#[case(&["--log", "directory"], "directory: ")]
#[case(&["--log", "fifo"], "fifo: it is not a regular file")]
#[case(&["--log", "link"], "link: it is a symbolic link")]
#[case(&["--log", "no/log"], "no/log: No such file or directory")]
#[case(&["--log", "log", "--pid-file", "no/pid"], "no/pid: cannot be written")]
#[case(&["--log", "log", "--ready-file", "no/ready"], "no/ready: cannot be written")]
#[case(&["--log", "log", "--listen", "203.0.113.1:0"], "cannot listen on 203.0.113.1:0: ")]
fn what_the_machine_refuses(dir: TempDir, #[case] arguments: &[&str], #[case] words: &str) {
    for mode in ["--foreground", "--daemon"] {
        chatd()
            .current_dir(dir.path())
            .args(["--key-file", "key", "--log-to", "stderr", mode])
            .args(if arguments.contains(&"--listen") {
                &[][..]
            } else {
                &["--listen", "127.0.0.1:0"]
            })
            .args(arguments)
            .assert()
            .code(1)
            .stderr(contains(words));
    }
}

#[rstest]
fn a_port_in_use_is_named_and_left_alone(dir: TempDir) {
    let owner = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = owner.local_addr().unwrap().to_string();
    for mode in ["--foreground", "--daemon"] {
        chatd()
            .current_dir(dir.path())
            .args(["--key-file", "key", "--log", "log", "--log-to", "stderr", mode, "--listen"])
            .arg(&address)
            .assert()
            .code(1)
            .stderr(contains(format!("cannot listen on {address}: Address already in use")));
    }
    TcpStream::connect(&address).unwrap();
    owner.accept().unwrap();
}

#[rstest]
#[case("prot = 7722\n", "chatd.toml:1: unknown key `prot`: did you mean `port`?")]
#[case("replay = 7\nlog = 3\n", "chatd.toml:2: ")]
#[case("replay = -1\n", "chatd.toml:1: ")]
#[case("log_to = \"sylsog\"\n", "chatd.toml:1: ")]
#[case("listen = [\"127.0.0.1:0\"\n", "chatd.toml:")]
fn mistakes_in_the_configuration_name_the_line(
    dir: TempDir,
    #[case] text: &str,
    #[case] words: &str,
) {
    std::fs::write(in_dir(&dir, "chatd.toml"), text).unwrap();
    chatd()
        .current_dir(dir.path())
        .args(["--config", "chatd.toml"])
        .assert()
        .code(2)
        .stderr(contains(words).and(predicate::function(one_line)));
}

/// Flags win over the file, whose paths are relative to itself.
#[rstest]
fn the_configuration_file_and_flags(dir: TempDir) {
    std::fs::create_dir(in_dir(&dir, "etc")).unwrap();
    std::fs::write(
        in_dir(&dir, "etc/chatd.toml"),
        "listen = [\"127.0.0.1:0\"]\nlog = \"../from-file\"\nkey_file = \"../key\"\nreplay = 1\ndaemon = true\n",
    )
    .unwrap();
    std::fs::write(in_dir(&dir, "from-flag"), "one\ntwo\nthree\n").unwrap();
    let arguments = ["-c", "etc/chatd.toml", "--foreground", "--log", "from-flag", "--replay", "2"];
    let _server = serve(dir.path(), &arguments);
    let address = content_of(&in_dir(&dir, "ready"));
    let mut client = TcpStream::connect(address.trim()).unwrap();
    client.write_all(&[b'k'; 128]).unwrap();
    let mut heard = [0; 10];
    client.read_exact(&mut heard).unwrap();
    assert_eq!(&heard, b"two\nthree\n");
    assert!(!in_dir(&dir, "from-file").exists());
}

#[rstest]
fn the_real_addresses_are_told(dir: TempDir) {
    let arguments = ["--key-file", "key", "--log", "log", "-l", "127.0.0.1:0", "-l", "127.0.0.1:0"];
    let server = serve(dir.path(), &arguments);
    let ready = content_of(&in_dir(&dir, "ready"));
    let addresses: Vec<std::net::SocketAddr> =
        ready.lines().map(|line| line.parse().unwrap()).collect();
    assert_eq!(addresses.len(), 2);
    for address in addresses {
        assert_ne!(address.port(), 0);
        TcpStream::connect(address).unwrap();
    }
    drop(server);
    assert!(!in_dir(&dir, "ready").exists(), "a server that has ended is not ready");
}

#[rstest]
fn readiness_as_systemd_wants_it(dir: TempDir) {
    let socket = UnixDatagram::bind(in_dir(&dir, "notify")).unwrap();
    socket.set_read_timeout(Some(PATIENCE)).unwrap();
    let child = Process::new(env!("CARGO_BIN_EXE_chatd"))
        .current_dir(dir.path())
        .args(["--key-file", "key", "--log", "log", "--listen", "127.0.0.1:0"])
        .env("NOTIFY_SOCKET", in_dir(&dir, "notify"))
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    let server = Server(child);
    let mut buffer = [0; 256];
    let length = socket.recv(&mut buffer).unwrap();
    let message = std::str::from_utf8(&buffer[..length]).unwrap();
    assert_eq!(message, format!("READY=1\nMAINPID={}\n", server.0.id()));
}

/// The launcher returns when the daemon listens: the very next connection succeeds.
#[rstest]
fn a_daemon_is_ready_when_its_launcher_returns(dir: TempDir) {
    for _ in 0..10 {
        chatd()
            .current_dir(dir.path())
            .args(["--daemon", "--key-file", "key", "--log", "log", "--listen", "127.0.0.1:0"])
            .args(["--pid-file", "pid", "--ready-file", "ready"])
            .assert()
            .success()
            .stdout("");
        let pid: i32 =
            std::fs::read_to_string(in_dir(&dir, "pid")).unwrap().trim().parse().unwrap();
        let address = std::fs::read_to_string(in_dir(&dir, "ready")).unwrap();
        TcpStream::connect(address.trim()).unwrap();
        nix::sys::signal::kill(nix::unistd::Pid::from_raw(pid), nix::sys::signal::Signal::SIGTERM)
            .unwrap();
        let deadline = Instant::now() + PATIENCE;
        while in_dir(&dir, "pid").exists() {
            assert!(Instant::now() < deadline, "the pid file goes with the daemon");
            std::thread::sleep(Duration::from_millis(2));
        }
    }
}

#[rstest]
fn generated_keys_are_private_and_never_overwritten(dir: TempDir) {
    chatd().current_dir(dir.path()).args(["--generate-key", "new"]).assert().success();
    let metadata = std::fs::metadata(in_dir(&dir, "new")).unwrap();
    assert_eq!((metadata.len(), metadata.permissions().mode() & 0o777), (128, 0o600));
    chatd()
        .current_dir(dir.path())
        .args(["--generate-key", "key"])
        .assert()
        .code(1)
        .stderr(contains("key: cannot be created: File exists"));
    assert_eq!(std::fs::read(in_dir(&dir, "key")).unwrap(), [b'k'; 128]);
}

/// The server and the client, both real: a message through pipes, and a listener.
#[rstest]
fn chat_talks_to_chatd(dir: TempDir) {
    let _server = serve(dir.path(), &["--key-file", "key", "--log", "log", "-l", "127.0.0.1:0"]);
    let address = content_of(&in_dir(&dir, "ready"));
    let port = address.trim().rsplit(':').next().unwrap();
    let chat = |user: &str, key: &str| {
        let mut command = Command::new(env!("CARGO_BIN_EXE_chat"));
        command
            .timeout(PATIENCE)
            .env("XDG_CONFIG_HOME", dir.path())
            .current_dir(dir.path())
            .args(["--host", "127.0.0.1", "--key-file", key, "--port", port, "--username", user]);
        command
    };
    chat("alice", "key").write_stdin("hi\nthere\n").assert().success();
    assert_eq!(std::fs::read_to_string(in_dir(&dir, "log")).unwrap(), "alice: hi\nalice: there\n");
    chat("bob", "key")
        .arg("--print")
        .write_stdin("")
        .assert()
        .success()
        .stdout("alice: hi\nalice: there\n");
    std::fs::write(in_dir(&dir, "wrong"), [b'x'; 128]).unwrap();
    chat("mallory", "wrong").write_stdin("let me in\n").assert().code(4);
}
