//! Options, configuration, readiness, mistakes.

use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::os::unix::fs::PermissionsExt;
use std::os::unix::net::UnixDatagram;
use std::process::{Command as Process, Stdio};

use assert_cmd::Command;
use nix::sys::signal::Signal;
use predicates::prelude::*;
use predicates::str::contains;
use rstest::rstest;
use tempfile::TempDir;

use super::common::{KEY, PATIENCE, private};
use super::world::{
    Server, chatd, content_of, dir, in_dir, messages, processes, serve, serve_as_told,
    serve_on_loopback, signal, until,
};

#[rstest]
#[case(&["--key-file", "key"], "no --log FILE: give it, or `log = \"…\"` in the configuration file")]
#[case(&["--log", "log"], "no --key-file FILE: give it, or `key-file")]
#[case(&["--log", "log", "--key-file", "nokey"], "nokey: cannot be read: No such file or directory")]
#[case(&["--log", "log", "--key-file", "key127"], "key127: 127 bytes, a key is exactly 128")]
#[case(&["--log", "log", "--key-file", "key129"], "key129: 129 bytes, a key is exactly 128")]
#[case(&["--log", "log", "--key-file", "keynl"], "keynl: 129 bytes, the key and a newline")]
#[case(&["--log", "log", "--key-file", "directory"], "directory: cannot be read: Is a directory")]
#[case(&["--log", "log", "--key-file", "fifo"], "fifo: 0 bytes")]
#[case(&["--log", "log", "--key-file", "key", "--listen", "nonsense:x"], "`nonsense:x`: `x` is no port")]
#[case(&["--log", "log", "--key-file", "key", "--listen", "[::1"], "`[::1`: `]` is missing")]
#[case(&["--log", "log", "--key-file", "key", "--auth-timeout", "0"], "auth timeout 0: must be above 0")]
#[case(&["--log", "log", "--key-file", "key", "--auth-timeout", "NaN"], "auth timeout NaN")]
#[case(&["--log", "log", "--key-file", "key", "--max-clients", "0"], "max clients 0")]
#[case(&["--log", "log", "--key-file", "key", "--max-pending", "0"], "max pending 0")]
#[case(&["--log", "log", "--key-file", "key", "--max-pending-per-address", "0"], "max pending per")]
#[case(&["--log", "log", "--key-file", "key", "--idle-timeout", "NaN"], "idle timeout NaN")]
#[case(&["--log", "log", "--key-file", "key", "--write-timeout=-1"], "write timeout -1: must be 0")]
#[case(&["--log", "log", "--key-file", "key", "--backlog", "0"], "backlog 0")]
#[case(&["--log", "log", "--key-file", "key", "--ready-fd", "1"], "ready descriptor 1: must be 3 or above")]
#[case(&["--log", "log", "--key-file", "key", "--ready-fd", "99"], "ready descriptor 99: bad file")]
#[case(&["--log", "log", "--key-file", "key", "--user", "no-such-user"], "user `no-such-user`: no such user")]
#[case(&["--config", "no.toml"], "no.toml: cannot be read: No such file or directory")]
fn wrong_usage(dir: TempDir, #[case] arguments: &[&str], #[case] words: &str) {
    for mode in ["--foreground", "--daemon"] {
        chatd()
            .arg("--allow-root")
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
            .arg("--allow-root")
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
            .arg("--allow-root")
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

/// As that of a killed daemon, whose youngest child has its socket for a moment.
#[rstest]
fn a_port_that_becomes_free_is_waited_for(dir: TempDir) {
    let owner = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = owner.local_addr().unwrap().to_string();
    let arguments = ["--key-file", "key", "--log", "log", "--listen", &address];
    let server = serve(dir.path(), &arguments);
    let pid = server.0.id();
    let is_asleep = |p: &(u32, u32, String)| p.0 == pid && p.2.starts_with('S');
    until("it waits", || processes().iter().any(is_asleep).then_some(()));
    drop(owner);
    assert_eq!(content_of(&in_dir(&dir, "ready")).trim(), address);
}

#[rstest]
#[case("prot = 7722\n", "chatd.toml:1: unknown key `prot`: did you mean `port`?")]
#[case("replay = 7\nlog = 3\n", "chatd.toml:2: ")]
#[case("replay = -1\n", "chatd.toml:1: ")]
#[case("log-to = \"sylsog\"\n", "chatd.toml:1: ")]
#[case(
    "keyfile = \"key\"\n",
    "did you mean `key-file`? (known: listen, port, log, key-file, replay, \
    auth-timeout, max-clients, max-pending, max-pending-per-address, max-rate, max-line, \
    idle-timeout, write-timeout, backlog, daemon, pid-file, ready-file, ready-fd, user, allow-root, log-to)"
)]
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

/// Flags win over the file, whose paths are relative to itself. Files of earlier versions, with
/// underscores, are understood.
#[rstest]
fn the_configuration_file_and_flags(dir: TempDir, #[values("key-file", "key_file")] key: &str) {
    std::fs::create_dir(in_dir(&dir, "etc")).unwrap();
    std::fs::write(
        in_dir(&dir, "etc/chatd.toml"),
        format!(
            "listen = [\"127.0.0.1:0\"]\nlog = \"../from-file\"\n{key} = \"../key\"\nreplay = 1\ndaemon = true\n"
        ),
    )
    .unwrap();
    std::fs::write(in_dir(&dir, "from-flag"), "one\ntwo\nthree\n").unwrap();
    let arguments = ["-c", "etc/chatd.toml", "--foreground", "--log", "from-flag", "--replay", "2"];
    let _server = serve(dir.path(), &arguments);
    let address = content_of(&in_dir(&dir, "ready"));
    let mut client = TcpStream::connect(address.trim()).unwrap();
    client.write_all(&KEY).unwrap();
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
        .args(["--allow-root", "--key-file", "key", "--log", "log", "-l", "127.0.0.1:0"])
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
            .arg("--allow-root")
            .current_dir(dir.path())
            .args(["--daemon", "--key-file", "key", "--log", "log", "--listen", "127.0.0.1:0"])
            .args(["--pid-file", "pid", "--ready-file", "ready"])
            .assert()
            .success()
            .stdout("");
        let pid = std::fs::read_to_string(in_dir(&dir, "pid")).unwrap().trim().parse().unwrap();
        let address = std::fs::read_to_string(in_dir(&dir, "ready")).unwrap();
        TcpStream::connect(address.trim()).unwrap();
        signal(pid, Signal::SIGTERM);
        until("the end of the pid file", || (!in_dir(&dir, "pid").exists()).then_some(()));
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
    assert_eq!(std::fs::read(in_dir(&dir, "key")).unwrap(), KEY);
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
    private(&in_dir(&dir, "wrong"), &[b'x'; 128]);
    chat("mallory", "wrong").write_stdin("let me in\n").assert().code(4);
}

/// Whoever lets strangers see the key should know it.
#[rstest]
#[case::loopback(&["--listen", "127.0.0.1:0"], false)]
#[case::loopback_v6(&["--listen", "[::1]:0"], false)]
#[case::any_address(&["--listen", "127.0.0.1:0", "--listen", "0.0.0.0:0"], true)]
#[case::default(&["--port", "0"], true)]
fn plaintext_beyond_this_machine_is_told(
    dir: TempDir,
    #[case] arguments: &[&str],
    #[case] told: bool,
) {
    let arguments = [&["--key-file", "key", "--log", "log"], arguments].concat();
    let _server = serve(dir.path(), &arguments);
    content_of(&in_dir(&dir, "ready"));
    let messages = messages(dir.path());
    assert_eq!(messages.contains("nothing is encrypted"), told, "{messages}");
    assert_eq!(messages.contains("put TLS or a VPN in front"), told, "{messages}");
}

/// Whoever may read the log may lock it, and so halt the chat: flock(2) asks for no more.
#[rstest]
#[case::new(None, false)]
#[case::group(Some(0o640), false)]
#[case::all_users(Some(0o644), true)]
#[case::all_users_write_only(Some(0o622), true)]
fn a_log_that_everybody_may_lock_is_told(
    dir: TempDir,
    #[case] mode: Option<u32>,
    #[case] told: bool,
) {
    if let Some(mode) = mode {
        std::fs::write(in_dir(&dir, "log"), "one\n").unwrap();
        std::fs::set_permissions(in_dir(&dir, "log"), std::fs::Permissions::from_mode(mode))
            .unwrap();
    }
    let _server = serve_on_loopback(dir.path(), &[]);
    let messages = messages(dir.path());
    assert_eq!(messages.contains("lets every user of this machine lock"), told, "{messages}");
}

/// Who forgets the user should not find out from the first intruder.
#[rstest]
#[case::refused(&[], None)]
#[case::allowed(&["--allow-root"], Some("running as root: name a user with --user"))]
#[case::allowed_by_the_file(&["--config", "chatd.toml"], Some("running as root: name a user"))]
#[case::named(&["--user", "root"], Some("running as root: name another user with --user"))]
fn root_is_refused_unless_it_is_asked_for(
    dir: TempDir,
    #[case] arguments: &[&str],
    #[case] warned: Option<&str>,
) {
    if !nix::unistd::geteuid().is_root() {
        eprintln!("not tested, it takes root");
        return;
    }
    std::fs::write(in_dir(&dir, "chatd.toml"), "allow-root = true\n").unwrap();
    let usual = ["--key-file", "key", "--log", "log", "--listen", "127.0.0.1:0"];
    let arguments = [&usual, arguments].concat();
    if let Some(words) = warned {
        let _server = serve_as_told(dir.path(), &arguments);
        content_of(&in_dir(&dir, "ready"));
        assert!(messages(dir.path()).contains(words), "{}", messages(dir.path()));
        return;
    }
    for mode in ["--foreground", "--daemon"] {
        chatd()
            .current_dir(dir.path())
            .args(&arguments)
            .arg(mode)
            .timeout(std::time::Duration::from_secs(3))
            .assert()
            .code(2)
            .stderr(contains("will not run as root: name a user with --user, or say --allow-root"));
        assert!(!in_dir(&dir, "log").exists());
    }
}
