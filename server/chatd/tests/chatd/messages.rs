//! The server's own messages, when nobody takes them: the chat goes on, and it is told later.

use std::fs::File;
use std::io::Read;
use std::net::TcpStream;
use std::os::fd::AsFd;
#[cfg(target_os = "linux")]
use std::os::unix::net::UnixDatagram;
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::process::{Command as Process, Stdio};

use nix::fcntl::{FcntlArg, FdFlag, OFlag, fcntl};
use nix::sys::signal::Signal;
use rstest::rstest;
use tempfile::TempDir;

use super::common::end_of;
use super::world::{Server, content_of, dir, enter, hears_itself, join, signal, until};

fn serve_with_stderr(dir: &Path, stderr: Stdio) -> (Server, String) {
    let child = Process::new(env!("CARGO_BIN_EXE_chatd"))
        .current_dir(dir)
        .args(["--key-file", "key", "--log", "log", "--listen", "127.0.0.1:0"])
        .args(["--ready-file", "ready", "--allow-root"])
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(stderr)
        .spawn()
        .unwrap();
    let server = Server(child);
    let address = content_of(&dir.join("ready")).trim().to_owned();
    (server, address)
}

fn pipe() -> (File, File) {
    let (reader, writer) = nix::unistd::pipe().unwrap();
    // The other tests' servers inherit nothing.
    for end in [&reader, &writer] {
        fcntl(end, FcntlArg::F_SETFD(FdFlag::FD_CLOEXEC)).unwrap();
    }
    (reader.into(), writer.into())
}

/// Writes until there is no room for another byte.
fn fill(end: impl AsFd) {
    let flags = OFlag::from_bits_retain(fcntl(&end, FcntlArg::F_GETFL).unwrap());
    fcntl(&end, FcntlArg::F_SETFL(flags | OFlag::O_NONBLOCK)).unwrap();
    for size in [4096, 1] {
        while nix::unistd::write(&end, &vec![b'\n'; size]).is_ok() {}
    }
    fcntl(&end, FcntlArg::F_SETFL(flags)).unwrap();
}

/// More than fits into what is left of any buffer is said, and the chat goes on.
fn chat_goes_on(address: &str) -> TcpStream {
    let mut alice = join(address);
    for number in 0..20 {
        assert!(hears_itself(&mut enter(address), &format!("visitor {number}\n")));
    }
    assert!(hears_itself(&mut alice, "still here\n"));
    alice
}

fn ends(mut server: Server) {
    signal(server.0.id(), Signal::SIGTERM);
    assert!(end_of(&mut server.0).success());
}

/// Reads what there is.
fn heard(reader: &mut File) -> String {
    fcntl(&*reader, FcntlArg::F_SETFL(OFlag::O_NONBLOCK)).unwrap();
    let mut heard = Vec::new();
    assert!(reader.read_to_end(&mut heard).is_err(), "the server holds the other end");
    String::from_utf8_lossy(&heard).trim_start().to_owned()
}

#[rstest]
fn an_unread_pipe_stops_nothing(dir: TempDir) {
    let (reader, writer) = pipe();
    let (server, address) = serve_with_stderr(dir.path(), writer.try_clone().unwrap().into());
    fill(&writer);
    chat_goes_on(&address);
    ends(server);
    drop(reader);
}

#[rstest]
fn what_was_dropped_is_counted(dir: TempDir) {
    let (mut reader, writer) = pipe();
    let (_server, address) = serve_with_stderr(dir.path(), writer.try_clone().unwrap().into());
    fill(&writer);
    drop(writer);
    let _alice = chat_goes_on(&address);
    // Somebody reads again, and somebody joins. Whoever left before may be the first to have room.
    let mut text = heard(&mut reader);
    let _bob = join(&address);
    until("what was dropped, and who joined", || {
        text += &heard(&mut reader);
        let words = ["messages were dropped: they could not be written", "joined"];
        words.iter().all(|words| text.contains(words)).then_some(())
    });
}

#[rstest]
fn a_dead_reader_stops_nothing(dir: TempDir) {
    let (reader, writer) = pipe();
    let (server, address) = serve_with_stderr(dir.path(), writer.into());
    drop(reader);
    chat_goes_on(&address);
    ends(server);
}

/// As under systemd, where standard error is a socket.
#[rstest]
fn an_unread_socket_stops_nothing(dir: TempDir) {
    let (reader, writer) = UnixStream::pair().unwrap();
    let stderr = std::os::fd::OwnedFd::from(writer.try_clone().unwrap());
    let (server, address) = serve_with_stderr(dir.path(), stderr.into());
    fill(&writer);
    chat_goes_on(&address);
    ends(server);
    drop(reader);
}

/// A terminal that was halted by Ctrl-S.
#[cfg(target_os = "linux")]
#[rstest]
fn a_halted_terminal_stops_nothing(dir: TempDir) {
    let pty = nix::pty::openpty(None, None).unwrap();
    let (server, address) = serve_with_stderr(dir.path(), pty.slave.try_clone().unwrap().into());
    nix::sys::termios::tcflow(&pty.slave, nix::sys::termios::FlowArg::TCOOFF).unwrap();
    fill(&pty.slave);
    chat_goes_on(&address);
    ends(server);
}

#[cfg(target_os = "linux")]
#[rstest]
fn a_full_disk_stops_nothing(dir: TempDir) {
    let full = std::fs::OpenOptions::new().write(true).open("/dev/full").unwrap();
    let (server, address) = serve_with_stderr(dir.path(), full.into());
    chat_goes_on(&address);
    ends(server);
}

/// Runs the program that follows with a /dev of its own, in which /dev/log is `$2`.
#[cfg(target_os = "linux")]
const WITH_DEV_LOG: &str = r#"
    mount -t tmpfs none "$1"
    for name in null zero urandom; do
        : > "$1/$name"
        mount --bind "/dev/$name" "$1/$name"
    done
    : > "$1/log"
    mount --bind "$2" "$1/log"
    mount --rbind "$1" /dev
    shift 2
    exec "$@"
"#;

#[cfg(target_os = "linux")]
#[rstest]
fn an_unread_syslog_stops_nothing(dir: TempDir) {
    std::fs::create_dir(dir.path().join("dev")).unwrap();
    let socket = dir.path().join("socket");
    let reader = UnixDatagram::bind(&socket).unwrap();
    reader.set_read_timeout(Some(super::common::PATIENCE)).unwrap();
    let with_dev_log = |program: &str| {
        let mut command = Process::new("unshare");
        command.args(["--map-root-user", "--mount", "sh", "-ec", WITH_DEV_LOG, "sh"]);
        command.args([&dir.path().join("dev"), &socket]).arg(program).current_dir(dir.path());
        command
    };
    if !with_dev_log("true").stderr(Stdio::null()).status().is_ok_and(|status| status.success()) {
        eprintln!("not tested, no mounts of one's own here");
        return;
    }
    let server = Server(
        with_dev_log(env!("CARGO_BIN_EXE_chatd"))
            .args(["--key-file", "key", "--log", "log", "--listen", "127.0.0.1:0"])
            .args(["--ready-file", "ready", "--log-to", "syslog", "--allow-root"])
            .stderr(Stdio::null())
            .spawn()
            .unwrap(),
    );
    let address = content_of(&dir.path().join("ready")).trim().to_owned();
    // As `syslog(3)` would have it: facility daemon, severity info, a date, the program's name.
    let hear = |reader: &UnixDatagram| {
        let mut buffer = [0; 1024];
        let count = reader.recv(&mut buffer).unwrap();
        String::from_utf8_lossy(&buffer[..count]).into_owned()
    };
    let first =
        until("the address", || Some(hear(&reader)).filter(|text| text.contains("listening on")));
    assert!(first.starts_with("<30>"), "{first}");
    assert_eq!(first.find(" chatd["), Some(19), "{first}");
    // Its queue is full.
    let other = UnixDatagram::unbound().unwrap();
    other.set_nonblocking(true).unwrap();
    while other.send_to(b"<30>other", &socket).is_ok() {}
    let _alice = chat_goes_on(&address);
    // Somebody reads again, and somebody joins. Whoever left before may be the first to have room.
    reader.set_nonblocking(true).unwrap();
    let mut text = String::new();
    let mut buffer = [0; 1024];
    let mut hear_all = || {
        while let Ok(count) = reader.recv(&mut buffer) {
            text += &String::from_utf8_lossy(&buffer[..count]);
        }
        text.contains("messages were dropped: they could not be written")
    };
    hear_all();
    let _bob = join(&address);
    until("what was dropped", || hear_all().then_some(()));
    ends(server);
}
