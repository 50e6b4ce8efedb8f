//! The program `chat`, against small servers played by the tests.

use std::fs;
use std::io::{Read, Write};
use std::net::{Shutdown, TcpListener, TcpStream};
use std::os::unix::fs::PermissionsExt;
use std::path::PathBuf;
use std::process::{self, Stdio};
use std::sync::mpsc;
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use assert_cmd::Command;
use predicates::prelude::*;
use predicates::str::{contains, is_empty, is_match};
use rstest::rstest;
use tempfile::TempDir;

/// Longer than anything here takes on a slow machine; what waits so long has failed.
const PATIENCE: Duration = Duration::from_secs(20);

/// The bytes of the key occur in no message by chance.
const KEY: [u8; 128] = [b'k'; 128];

/// A server for one connection.
struct Server<T> {
    port: u16,
    thread: JoinHandle<T>,
}

impl<T: Send + 'static> Server<T> {
    /// Accepts one client, reads its key and goes on as `script` says.
    fn start(script: impl FnOnce(TcpStream) -> T + Send + 'static) -> Self {
        Self::start_on("127.0.0.1", script).unwrap()
    }

    fn start_on(
        address: &str,
        script: impl FnOnce(TcpStream) -> T + Send + 'static,
    ) -> std::io::Result<Self> {
        Self::accept(address, |mut stream| {
            let mut key = [0; 128];
            stream.read_exact(&mut key).unwrap();
            assert_eq!(key, KEY);
            script(stream)
        })
    }

    fn accept(
        address: &str,
        script: impl FnOnce(TcpStream) -> T + Send + 'static,
    ) -> std::io::Result<Self> {
        let listener = TcpListener::bind((address, 0))?;
        let port = listener.local_addr()?.port();
        let thread = thread::spawn(move || {
            let (stream, _) = listener.accept().unwrap();
            stream.set_read_timeout(Some(PATIENCE)).unwrap();
            stream.set_write_timeout(Some(PATIENCE)).unwrap();
            script(stream)
        });
        Ok(Self { port, thread })
    }

    fn join(self) -> T {
        self.thread.join().unwrap()
    }
}

/// Behaves as the reference does: the log's end, then every byte, then a close in good order.
/// Returns what the client sent.
fn reference(log: &'static [u8]) -> Server<Vec<u8>> {
    Server::start(|stream| echo(stream, log))
}

fn echo(mut stream: TcpStream, log: &[u8]) -> Vec<u8> {
    stream.write_all(log).unwrap();
    let mut received = Vec::new();
    let mut buffer = [0; 4096];
    loop {
        match stream.read(&mut buffer).unwrap() {
            0 => return received,
            count => {
                received.extend_from_slice(&buffer[..count]);
                stream.write_all(&buffer[..count]).unwrap();
            }
        }
    }
}

/// A port of the loopback interface on which nobody listens.
fn dead_port() -> u16 {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    listener.local_addr().unwrap().port()
}

/// A user's files, and nothing of the environment of whoever runs the tests.
struct Home {
    directory: TempDir,
}

impl Home {
    fn new() -> Self {
        let directory = tempfile::tempdir().unwrap();
        let home = Self { directory };
        fs::create_dir(home.path("chat")).unwrap();
        home.write("key", &KEY);
        home
    }

    fn path(&self, name: &str) -> PathBuf {
        self.directory.path().join(name)
    }

    fn write(&self, name: &str, bytes: &[u8]) {
        fs::write(self.path(name), bytes).unwrap();
        fs::set_permissions(self.path(name), fs::Permissions::from_mode(0o600)).unwrap();
    }

    fn configure(&self, text: &str) {
        self.write("chat/config.toml", text.as_bytes());
    }

    /// Without a host, a port or a key.
    fn plain(&self) -> process::Command {
        let mut command = process::Command::new(env!("CARGO_BIN_EXE_chat"));
        command
            .env_clear()
            .env("HOME", self.directory.path())
            .env("XDG_CONFIG_HOME", self.directory.path())
            .env("USER", "tester")
            .env("TERM", "xterm");
        command
    }

    /// To `port` of 127.0.0.1, with the key.
    fn chat(&self, port: u16) -> process::Command {
        let mut command = self.plain();
        command
            .args(["--host", "127.0.0.1", "--port", &port.to_string()])
            .arg("--key-file")
            .arg(self.path("key"));
        command
    }
}

/// To be run to its end.
fn run(command: process::Command) -> Command {
    let mut command = Command::from_std(command);
    command.timeout(PATIENCE);
    command
}

mod arguments_and_settings {
    use super::*;

    #[test]
    fn help_tells_the_exit_statuses_and_the_environment() {
        let home = Home::new();
        let mut help = home.plain();
        help.arg("--help");
        run(help)
            .assert()
            .success()
            .stdout(is_match(r"(?m)^  2    wrong arguments").unwrap())
            .stdout(is_match(r"(?m)^  130  Ctrl-C").unwrap())
            .stdout(contains("CHAT_KEY_FILE"))
            .stderr(is_empty());
    }

    #[test]
    fn version_is_told() {
        let home = Home::new();
        let mut version = home.plain();
        version.arg("--version");
        run(version).assert().success().stdout(format!("chat {}\n", env!("CARGO_PKG_VERSION")));
    }

    #[rstest]
    #[case::port_zero(&["--port", "0"], "a port is a number from 1 to 65535")]
    #[case::port_too_high(&["--port", "65536"], "a port is a number from 1 to 65535")]
    #[case::empty_name(&["--username", ""], "a username is not empty")]
    #[case::two_lines(&["--username", "a\nb"], "no line breaks")]
    #[case::no_time(&["--timeout", "0"], "number of seconds above 0")]
    #[case::listen_and_raw(&["--listen", "--raw"], "cannot be used with")]
    #[case::misspelt(&["--usrname", "x"], "--username")]
    fn wrong_arguments(#[case] arguments: &[&str], #[case] message: &str) {
        let home = Home::new();
        let mut chat = home.plain();
        chat.args(arguments);
        run(chat).assert().code(2).stderr(contains(message)).stdout(is_empty());
    }

    #[test]
    fn a_wrong_value_of_the_environment_names_its_variable() {
        let home = Home::new();
        let mut chat = home.plain();
        chat.env("CHAT_PORT", "http");
        run(chat).assert().code(2).stderr(contains("environment variable CHAT_PORT"));

        let mut chat = home.plain();
        chat.env("CHAT_PORT", "7722").args(["--port", "http"]);
        run(chat).assert().code(2).stderr(contains("environment variable").not());
    }

    #[rstest]
    #[case::unknown_key(
        "host = \"h\"\nprot = 1\n",
        ":2: unknown key `prot`: did you mean `port`? \
         (known: host, port, username, key-file, connect-timeout, timeout)"
    )]
    #[case::wrong_type("port = \"x\"\n", ":1: invalid type: string \"x\"")]
    #[case::own_rule("\ntimeout = 0\n", ":2: a time is a number of seconds above 0")]
    #[case::syntax("port\n", ":1: ")]
    fn a_wrong_configuration_is_told_on_one_line(#[case] text: &str, #[case] message: &str) {
        let home = Home::new();
        home.configure(text);
        let file = home.path("chat/config.toml").display().to_string();
        run(home.chat(1))
            .assert()
            .code(2)
            .stdout(is_empty())
            .stderr(contains(format!("chat: {file}{message}")))
            .stderr(predicate::function(|text: &str| text.lines().count() == 1));
    }

    #[test]
    fn a_configuration_asked_for_must_be_there() {
        let home = Home::new();
        let mut chat = home.chat(1);
        chat.arg("--config").arg(home.path("absent.toml"));
        run(chat)
            .assert()
            .code(2)
            .stderr(contains("absent.toml: cannot be read: No such file or directory"));
    }

    /// The name is taken from the strongest place that has one.
    #[rstest]
    #[case::argument(Some("flag"), Some("env"), Some("file"), "flag")]
    #[case::environment(None, Some("env"), Some("file"), "env")]
    #[case::file(None, None, Some("file"), "file")]
    #[case::login(None, None, None, "tester")]
    fn the_username(
        #[case] flag: Option<&str>,
        #[case] variable: Option<&str>,
        #[case] file: Option<&str>,
        #[case] expected: &str,
    ) {
        let home = Home::new();
        let server = reference(b"");
        let mut chat = home.chat(server.port);
        if let Some(name) = flag {
            chat.args(["--username", name]);
        }
        if let Some(name) = variable {
            chat.env("CHAT_USERNAME", name);
        }
        if let Some(name) = file {
            home.configure(&format!("username = \"{name}\""));
        }
        run(chat).write_stdin("hi\n").assert().success();
        assert_eq!(server.join(), format!("{expected}: hi\n").into_bytes());
    }

    /// Each place has the right values in turn; the weaker ones have values that cannot work.
    #[rstest]
    #[case::arguments(0)]
    #[case::environment(1)]
    #[case::file(2)]
    fn host_port_and_key(#[case] right: usize) {
        let home = Home::new();
        let server = reference(b"");
        let key = home.path("key").display().to_string();
        let good = ["127.0.0.1".to_owned(), server.port.to_string(), key];
        let bad = ["no..host".to_owned(), dead_port().to_string(), "/absent".to_owned()];
        let place = |place: usize| if place == right { &good } else { &bad };

        let mut chat = home.plain();
        if right == 0 {
            let [host, port, key] = place(0);
            chat.args(["--host", host, "--port", port, "--key-file", key]);
        }
        if right <= 1 {
            let [host, port, key] = place(1);
            chat.env("CHAT_HOST", host).env("CHAT_PORT", port).env("CHAT_KEY_FILE", key);
        }
        let [host, port, key] = place(2);
        home.configure(&format!("host = \"{host}\"\nport = {port}\nkey-file = \"{key}\"\n"));
        run(chat).write_stdin("hi\n").assert().success();
        assert_eq!(server.join(), b"tester: hi\n");
    }

    #[test]
    fn a_key_file_is_relative_to_its_configuration() {
        let home = Home::new();
        home.configure("key-file = \"secrets/key\"");
        fs::create_dir(home.path("chat/secrets")).unwrap();
        home.write("chat/secrets/key", &KEY);
        let server = reference(b"");
        let mut chat = home.plain();
        chat.args(["--host", "127.0.0.1", "--port", &server.port.to_string()]);
        run(chat).write_stdin("hi\n").assert().success();
        server.join();
    }

    #[test]
    fn a_key_beside_the_configuration_needs_no_mention() {
        let home = Home::new();
        home.write("chat/key", &KEY);
        let server = reference(b"");
        let mut chat = home.plain();
        chat.args(["--host", "127.0.0.1", "--port", &server.port.to_string()]);
        run(chat).write_stdin("hi\n").assert().success();
        server.join();
    }
}

mod key_file {
    use super::*;

    fn key_and(more: &[u8]) -> Vec<u8> {
        [&KEY, more].concat()
    }

    #[rstest]
    #[case::empty(vec![], "is empty; a key is exactly 128 bytes")]
    #[case::short(vec![b'k'; 127], "has 127 bytes; a key is exactly 128 bytes")]
    #[case::newline(key_and(b"\n"), "followed by a line break")]
    #[case::dos_newline(key_and(b"\r\n"), "followed by a line break")]
    #[case::long(key_and(b"k"), "has 129 bytes; a key is exactly 128 bytes")]
    #[case::other_file(vec![b'k'; 100_000], "no key file: 65536 bytes or more")]
    fn is_128_bytes(#[case] content: Vec<u8>, #[case] message: &str) {
        let home = Home::new();
        home.write("key", &content);
        let file = home.path("key").display().to_string();
        let fix = contains("printf %s").or(contains("65536"));
        run(home.chat(1))
            .assert()
            .code(2)
            .stderr(contains(format!("chat: {file}: ")).and(contains(message)).and(fix))
            .stderr(contains("kkkk").not())
            .stdout(is_empty());
    }

    #[test]
    fn must_be_there() {
        let home = Home::new();
        fs::remove_file(home.path("key")).unwrap();
        run(home.chat(1))
            .assert()
            .code(2)
            .stderr(contains("cannot be read: No such file or directory; name the right one"));
    }

    #[test]
    fn must_be_a_file() {
        let home = Home::new();
        fs::remove_file(home.path("key")).unwrap();
        fs::create_dir(home.path("key")).unwrap();
        run(home.chat(1)).assert().code(2).stderr(contains("cannot be read: Is a directory"));
    }

    #[rstest]
    #[case::private(0o600, false)]
    #[case::read_only(0o400, false)]
    #[case::group(0o640, true)]
    #[case::world(0o604, true)]
    fn others_should_not_read_it(#[case] mode: u32, #[case] warned: bool) {
        let home = Home::new();
        fs::set_permissions(home.path("key"), fs::Permissions::from_mode(mode)).unwrap();
        let server = reference(b"");
        let assert = run(home.chat(server.port)).write_stdin("hi\n").assert().success();
        match warned {
            true => {
                assert.stderr(contains(format!("other users can read the key (mode {mode:04o})")))
            }
            false => assert.stderr(is_empty()),
        };
    }
}

mod connecting {
    use super::*;

    #[test]
    fn to_a_port_where_nobody_listens() {
        let home = Home::new();
        let port = dead_port();
        run(home.chat(port)).assert().code(3).stderr(format!(
            "chat: cannot connect to 127.0.0.1 port {port}: 127.0.0.1:{port}: Connection refused\n"
        ));
    }

    #[test]
    fn to_a_name_that_is_none() {
        let home = Home::new();
        let mut chat = home.plain();
        chat.args(["--host", "no..host", "--key-file"]).arg(home.path("key"));
        run(chat).assert().code(3).stderr(contains("cannot connect to no..host port 7722: "));
    }

    #[test]
    fn to_localhost_finds_the_address_that_is_served() {
        let home = Home::new();
        let server = reference(b"");
        let mut chat = home.plain();
        chat.args(["--host", "localhost", "--port", &server.port.to_string()])
            .arg("--key-file")
            .arg(home.path("key"));
        run(chat).write_stdin("hi\n").assert().success();
        server.join();
    }

    #[rstest]
    fn over_ipv6(#[values("::1", "[::1]")] host: &str) {
        let home = Home::new();
        let server = match Server::start_on("::1", |stream| echo(stream, b"")) {
            Ok(server) => server,
            Err(error) => {
                eprintln!("not tested, this machine has no ::1: {error}");
                return;
            }
        };
        let mut chat = home.plain();
        chat.args(["--host", host, "--port", &server.port.to_string()])
            .arg("--key-file")
            .arg(home.path("key"));
        run(chat).write_stdin("hi\n").assert().success();
        assert_eq!(server.join(), b"tester: hi\n");
    }
}

mod ends {
    use super::*;

    /// A close in silence at once is a refusal, whether the key had been read (FIN) or not (RST).
    #[rstest]
    fn refused(#[values(true, false)] reads_key: bool, #[values(true, false)] listens: bool) {
        let home = Home::new();
        let server = Server::accept("127.0.0.1", move |mut stream| {
            // Waiting for the first byte makes sure that there is something left unread.
            let mut key = [0; 128];
            stream.read_exact(&mut key[..1]).unwrap();
            if reads_key {
                stream.read_exact(&mut key[1..]).unwrap();
            }
        })
        .unwrap();
        let mut chat = home.chat(server.port);
        if listens {
            chat.arg("--listen");
        }
        let key = home.path("key").display().to_string();
        run(chat)
            .write_stdin("hi\n")
            .assert()
            .code(4)
            .stdout(is_empty())
            .stderr(contains(format!("it refused the key in {key}, or ended at that moment")))
            .stderr(contains("kkkk").not());
        server.join();
    }

    /// Servers refuse within a second or so: whoever is closed later had been accepted.
    #[test]
    fn lost_after_a_long_silence() {
        let home = Home::new();
        let server = Server::start(|_stream| thread::sleep(Duration::from_millis(3200)));
        let mut chat = home.chat(server.port);
        chat.arg("--listen");
        run(chat)
            .assert()
            .code(5)
            .stderr(contains("closed the connection, 3 s after it had taken the key"));
    }

    #[test]
    fn lost_while_listening() {
        let server = Server::start(|mut stream| stream.write_all(b"bob: hi\nbob: and").unwrap());
        let port = server.port;
        let home = Home::new();
        let mut chat = home.chat(port);
        chat.arg("--listen");
        run(chat)
            .assert()
            .code(5)
            .stdout("bob: hi\nbob: and")
            .stderr(format!("chat: 127.0.0.1 port {port} closed the connection\n"));
    }

    /// Told at once, not when the next line is written.
    #[test]
    fn lost_while_the_input_is_open() {
        let server = Server::start(|mut stream| stream.write_all(b"bob: hi\n").unwrap());
        let home = Home::new();
        let mut child =
            home.chat(server.port).stdin(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
        let input = child.stdin.take();
        assert_eq!(wait(&mut child), Some(5));
        drop(input);
    }

    #[rstest]
    #[case::nothing(b"bob: x\n", 2)]
    #[case::one_of_two(b"bob: x\ntester: one\n", 1)]
    #[case::torn(b"tester: one\ntester: bob: x\ntwo\n", 1)]
    fn unconfirmed(#[case] answer: &'static [u8], #[case] missing: usize) {
        let server = Server::start(move |mut stream| {
            let mut received = Vec::new();
            stream.read_to_end(&mut received).unwrap();
            stream.write_all(answer).unwrap();
        });
        let home = Home::new();
        run(home.chat(server.port))
            .write_stdin("one\ntwo\n")
            .assert()
            .code(5)
            .stderr(contains(format!("{missing} line")).and(contains("did not come back")));
        server.join();
    }

    /// The server neither answers nor closes.
    #[test]
    fn unanswered() {
        let (done, until_done) = mpsc::channel::<()>();
        let server = Server::start(move |stream| {
            let _ = until_done.recv_timeout(PATIENCE);
            drop(stream);
        });
        let home = Home::new();
        let mut chat = home.chat(server.port);
        chat.args(["--timeout", "0.3"]);
        run(chat)
            .write_stdin("hi\n")
            .assert()
            .code(5)
            .stderr(contains("made no progress for 0.3 s; 1 line sent last did not come back"));
        drop(done);
        server.join();
    }

    /// The server answers and does not close: it has taken the line all the same.
    #[test]
    fn answered_and_kept_open() {
        let (done, until_done) = mpsc::channel::<()>();
        let server = Server::start(move |mut stream| {
            let mut line = [0; 11];
            stream.read_exact(&mut line).unwrap();
            stream.write_all(&line).unwrap();
            let _ = until_done.recv_timeout(PATIENCE);
        });
        let home = Home::new();
        let mut chat = home.chat(server.port);
        chat.args(["--timeout", "0.3"]);
        run(chat).write_stdin("hi\n").assert().success();
        drop(done);
        server.join();
    }
}

mod pipes {
    use super::*;

    #[rstest]
    #[case::line(&[], "hi\n", "tester: hi\n")]
    #[case::no_final_newline(&[], "hi", "tester: hi\n")]
    #[case::several(&[], "a\nb\n", "tester: a\ntester: b\n")]
    #[case::empty_lines_say_nothing(&[], "\na\n\n\r\nb\n\n", "tester: a\ntester: b\n")]
    #[case::spaces_are_kept(&[], "  a  \n", "tester:   a  \n")]
    #[case::raw(&["--raw"], "\na\n\nend", "\na\n\nend")]
    #[case::controls(&[], "\x1b[1m\0\n", "tester: \x1b[1m\0\n")]
    fn sent(#[case] arguments: &[&str], #[case] input: &'static str, #[case] expected: &str) {
        let home = Home::new();
        let server = reference(b"bob: earlier\n");
        let mut chat = home.chat(server.port);
        chat.args(arguments);
        run(chat).write_stdin(input).assert().success().stdout(is_empty()).stderr(is_empty());
        assert_eq!(server.join(), expected.as_bytes());
    }

    #[test]
    fn printed_if_wanted() {
        let home = Home::new();
        let server = reference(b"bob: \x1b[1mearlier\xff\n");
        let mut chat = home.chat(server.port);
        chat.arg("--print");
        run(chat)
            .write_stdin("hi\n")
            .assert()
            .success()
            .stdout(&b"bob: \x1b[1mearlier\xff\ntester: hi\n"[..]);
    }

    #[test]
    fn nothing_to_say_reads_the_last_lines() {
        let home = Home::new();
        let server = reference(b"bob: earlier\n");
        let mut chat = home.chat(server.port);
        chat.arg("--print");
        run(chat).write_stdin("").assert().success().stdout("bob: earlier\n");
    }

    /// More than all buffers on the way hold: only who reads while writing gets through.
    #[test]
    fn a_long_conversation() {
        let home = Home::new();
        let server = reference(b"");
        let text = "x".repeat(8000);
        let input: String = (0..3000).map(|n| format!("{n} {text}\n")).collect();
        let expected: String = (0..3000).map(|n| format!("tester: {n} {text}\n")).collect();
        run(home.chat(server.port)).write_stdin(input).assert().success();
        assert!(server.join() == expected.as_bytes());
    }

    #[test]
    fn others_may_speak_between() {
        let home = Home::new();
        let server = Server::start(|mut stream| {
            let mut received = Vec::new();
            stream.read_to_end(&mut received).unwrap();
            let lines = b"bob: a\ntester: one\nbob: b\ntester: two\nbob: c\n";
            stream.write_all(lines).unwrap();
        });
        run(home.chat(server.port)).write_stdin("one\ntwo\n").assert().success();
    }

    /// Every byte is passed on as it comes, and nothing is sent.
    #[test]
    fn listening() {
        let (go_on, until_told) = mpsc::channel::<()>();
        let server = Server::start(move |mut stream| {
            stream.write_all(b"bob: \x1b[2J").unwrap();
            until_told.recv_timeout(PATIENCE).unwrap();
            stream.write_all(b"\xff\0\n").unwrap();
            stream.shutdown(Shutdown::Write).unwrap();
            let mut received = Vec::new();
            stream.read_to_end(&mut received).unwrap();
            received
        });
        let home = Home::new();
        let mut child = home
            .chat(server.port)
            .arg("--listen")
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        let mut output = child.stdout.take().unwrap();
        let mut first = [0; 9];
        output.read_exact(&mut first).unwrap();
        assert_eq!(&first, b"bob: \x1b[2J");
        go_on.send(()).unwrap();
        let mut rest = Vec::new();
        output.read_to_end(&mut rest).unwrap();
        assert_eq!(rest, b"\xff\0\n");
        assert_eq!(wait(&mut child), Some(5));
        assert_eq!(server.join(), b"");
    }

    /// As in `chat --listen | head -1`, even if nobody says anything any more.
    #[test]
    fn a_reader_that_goes_ends_the_listening_quietly() {
        let (done, until_done) = mpsc::channel::<()>();
        let server = Server::start(move |mut stream| {
            stream.write_all(b"bob: hi\n").unwrap();
            let _ = until_done.recv_timeout(PATIENCE);
        });
        let home = Home::new();
        let mut child = home
            .chat(server.port)
            .arg("--listen")
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        let mut line = [0; 8];
        let mut output = child.stdout.take().unwrap();
        output.read_exact(&mut line).unwrap();
        drop(output);
        assert_eq!(wait(&mut child), Some(0));
        let mut complaints = String::new();
        let mut stderr = child.stderr.take().unwrap();
        stderr.read_to_string(&mut complaints).unwrap();
        assert_eq!(complaints, "");
        drop(done);
        server.join();
    }

    /// Whoever reads `--print` may go; the lines are delivered all the same.
    #[test]
    fn a_reader_that_goes_does_not_stop_the_delivery() {
        let server = reference(b"bob: hi\n");
        let home = Home::new();
        let mut child = home
            .chat(server.port)
            .arg("--print")
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let mut line = [0; 8];
        let mut output = child.stdout.take().unwrap();
        output.read_exact(&mut line).unwrap();
        drop(output);
        child.stdin.take().unwrap().write_all(b"one\ntwo\n").unwrap();
        assert_eq!(wait(&mut child), Some(0));
        assert_eq!(server.join(), b"tester: one\ntester: two\n");
    }

    #[cfg(target_os = "linux")]
    #[test]
    fn a_full_disk_is_told() {
        let server = Server::start(|mut stream| {
            stream.write_all(b"bob: hi\n").unwrap();
            let _ = stream.read(&mut [0]);
        });
        let home = Home::new();
        let mut child = home
            .chat(server.port)
            .arg("--listen")
            .stdout(fs::OpenOptions::new().write(true).open("/dev/full").unwrap())
            .spawn()
            .unwrap();
        assert_eq!(wait(&mut child), Some(1));
    }
}

/// The exit status; `None` if a signal ended it. Fails when it does not end.
fn wait(child: &mut process::Child) -> Option<i32> {
    end_of(child).code()
}

fn end_of(child: &mut process::Child) -> process::ExitStatus {
    let deadline = Instant::now() + PATIENCE;
    loop {
        if let Some(status) = child.try_wait().unwrap() {
            return status;
        }
        if Instant::now() > deadline {
            child.kill().unwrap();
            child.wait().unwrap();
            panic!("the client did not end");
        }
        // std can wait without end or not at all.
        thread::sleep(Duration::from_millis(5));
    }
}

mod terminals {
    use std::fs::File;
    use std::num::NonZeroU16;
    use std::os::fd::OwnedFd;
    use std::os::unix::process::CommandExt;

    use nix::pty::{Winsize, openpty};
    use nix::sys::termios::{LocalFlags, tcgetattr};

    use super::*;

    const ROWS: u16 = 10;
    const COLUMNS: u16 = 40;

    /// A client at a terminal, and somebody who looks at its screen.
    struct Seat {
        child: process::Child,
        keyboard: File,
        output: mpsc::Receiver<Vec<u8>>,
        screen: vt100::Parser,
        /// Every byte that was written to the terminal.
        bytes: Vec<u8>,
        terminal: OwnedFd,
    }

    impl Seat {
        fn take(mut command: process::Command) -> Self {
            let size = Winsize { ws_row: ROWS, ws_col: COLUMNS, ws_xpixel: 0, ws_ypixel: 0 };
            let pair = openpty(Some(&size), None).unwrap();
            // As a shell starts it at a terminal, even if these tests were started by nohup or in a
            // script's background, where the keyboard's signals are ignored (POSIX.1-2024, 2.12).
            // SAFETY: signal(2) is async-signal-safe.
            unsafe {
                command.pre_exec(|| {
                    for signal in [libc::SIGHUP, libc::SIGINT, libc::SIGQUIT, libc::SIGTERM] {
                        libc::signal(signal, libc::SIG_DFL);
                    }
                    Ok(())
                });
            }
            let child = command
                .stdin(pair.slave.try_clone().unwrap())
                .stdout(pair.slave.try_clone().unwrap())
                .stderr(pair.slave.try_clone().unwrap())
                .spawn()
                .unwrap();
            let keyboard = File::from(pair.master);
            let mut master = keyboard.try_clone().unwrap();
            let (send, output) = mpsc::channel();
            thread::spawn(move || {
                let mut buffer = [0; 4096];
                while let Ok(count @ 1..) = master.read(&mut buffer) {
                    if send.send(buffer[..count].to_vec()).is_err() {
                        break;
                    }
                }
            });
            let size = |size| NonZeroU16::new(size).unwrap();
            Self {
                child,
                keyboard,
                output,
                screen: vt100::Parser::new(size(ROWS), size(COLUMNS), 0),
                bytes: Vec::new(),
                terminal: pair.slave,
            }
        }

        fn press(&mut self, keys: &str) {
            self.keyboard.write_all(keys.as_bytes()).unwrap();
        }

        /// The lines on the screen down to the last one with text; wrapped rows are joined.
        fn lines(&self) -> Vec<String> {
            let contents = self.screen.screen().contents();
            contents.lines().map(|row| row.trim_end().to_owned()).collect()
        }

        /// Waits until the screen is exactly as expected.
        fn shows(&mut self, expected: &[&str]) {
            let deadline = Instant::now() + PATIENCE;
            while self.lines() != expected {
                let left = deadline.saturating_duration_since(Instant::now());
                match self.output.recv_timeout(left) {
                    Ok(bytes) => {
                        self.screen.process(&bytes);
                        self.bytes.extend(bytes);
                    }
                    Err(_) => panic!("expected {expected:#?}, the screen is {:#?}", self.lines()),
                }
            }
        }

        /// Waits for the end; the terminal must be as it was.
        fn ends(&mut self, status: i32) {
            assert_eq!(wait(&mut self.child), Some(status));
            let mode = tcgetattr(&self.terminal).unwrap().local_flags;
            let cooked = LocalFlags::ICANON | LocalFlags::ECHO | LocalFlags::ISIG;
            assert!(mode.contains(cooked), "the terminal was left in {mode:?}");
        }
    }

    impl Drop for Seat {
        fn drop(&mut self) {
            let _ = self.child.kill();
            let _ = self.child.wait();
        }
    }

    /// A server that sends what the test says, and tells what it received.
    struct Puppet {
        port: u16,
        stream: mpsc::Receiver<TcpStream>,
    }

    impl Puppet {
        fn start() -> Self {
            let (send, stream) = mpsc::channel();
            let server = Server::start(move |stream| send.send(stream).unwrap());
            Self { port: server.port, stream }
        }

        fn client(&self) -> TcpStream {
            self.stream.recv_timeout(PATIENCE).unwrap()
        }
    }

    fn receives(stream: &mut TcpStream, expected: &str) {
        let mut received = vec![0; expected.len()];
        stream.read_exact(&mut received).unwrap();
        assert_eq!(String::from_utf8(received).unwrap(), expected);
    }

    #[test]
    fn a_conversation() {
        let home = Home::new();
        let server = Puppet::start();
        let mut seat = Seat::take(home.chat(server.port));
        let mut stream = server.client();
        seat.shows(&["tester:"]);

        seat.press("hello\r");
        receives(&mut stream, "tester: hello\n");
        stream.write_all(b"tester: hello\n").unwrap();
        seat.shows(&["tester: hello", "tester:"]);

        // What arrives does not disturb what is being typed; half a line is not shown.
        seat.press("how are");
        seat.shows(&["tester: hello", "tester: how are"]);
        stream.write_all(b"bob: hi\ncat: h").unwrap();
        seat.shows(&["tester: hello", "bob: hi", "tester: how are"]);
        stream.write_all(b"o\n").unwrap();
        seat.shows(&["tester: hello", "bob: hi", "cat: ho", "tester: how are"]);
        seat.press(" you?\r");
        receives(&mut stream, "tester: how are you?\n");
        stream.write_all(b"tester: how are you?\n").unwrap();
        seat.shows(&["tester: hello", "bob: hi", "cat: ho", "tester: how are you?", "tester:"]);

        seat.press("\x04");
        assert_eq!(stream.read(&mut [0]).unwrap(), 0);
        drop(stream);
        seat.shows(&["tester: hello", "bob: hi", "cat: ho", "tester: how are you?"]);
        seat.ends(0);
    }

    /// Keys that arrive together, as from a paste or a slow line, are all obeyed.
    #[rstest]
    #[case::two_lines("one\rtwo\r", "tester: one\ntester: two\n")]
    #[case::empty_lines("\r\r  \ra\r", "tester: a\n")]
    #[case::edited("bc\x01a\x05d\r", "tester: abcd\n")]
    #[case::rubbed_out("abx\x7fc\r", "tester: abc\n")]
    #[case::arrows("ac\x1b[Db\x1b[Cd\r", "tester: abcd\n")]
    #[case::word_taken_back("one two\x17three\r", "tester: one three\n")]
    #[case::history("one\r\x1b[A!\r", "tester: one\ntester: one!\n")]
    #[case::any_script("žluť 你好 🥭x\x7f\r", "tester: žluť 你好 🥭\n")]
    fn lines_are_edited(#[case] keys: &str, #[case] expected: &str) {
        let home = Home::new();
        let server = Puppet::start();
        let mut seat = Seat::take(home.chat(server.port));
        let mut stream = server.client();
        seat.shows(&["tester:"]);
        seat.press(keys);
        receives(&mut stream, expected);
    }

    #[test]
    fn a_long_line_stays_in_its_row() {
        let home = Home::new();
        let server = Puppet::start();
        let mut seat = Seat::take(home.chat(server.port));
        let mut stream = server.client();
        seat.shows(&["tester:"]);
        seat.press("0123456789012345678901234567890123456789end");
        // 40 columns, 8 for the name, the last one free: 31 characters.
        seat.shows(&["tester: 2345678901234567890123456789end"]);
        stream.write_all(b"bob: hi\n").unwrap();
        seat.shows(&["bob: hi", "tester: 2345678901234567890123456789end"]);
        seat.press("\x01");
        seat.shows(&["bob: hi", "tester: 0123456789012345678901234567890"]);
        seat.press("\r");
        receives(&mut stream, "tester: 0123456789012345678901234567890123456789end\n");
    }

    #[rstest]
    #[case::talking(&[])]
    #[case::listening(&["--listen"])]
    fn control_sequences_are_shown_and_not_obeyed(#[case] arguments: &[&str]) {
        let home = Home::new();
        let server = Puppet::start();
        let mut chat = home.chat(server.port);
        chat.args(arguments);
        let mut seat = Seat::take(chat);
        let mut stream = server.client();
        stream.write_all(b"evil: \x1b]0;pwned\x07\x1b[2J\xc2\x9b5n\x08\x08a\rb\tc\n").unwrap();
        let line = "evil: ^[]0;pwned^G^[[2J<U+009B>5n^H^Ha^Mb       c";
        match arguments {
            [] => seat.shows(&[line, "tester:"]),
            _ => seat.shows(&[line]),
        }
        let text = String::from_utf8_lossy(&seat.bytes).into_owned();
        for sequence in ["\x1b]", "\x1b[2J", "\u{9b}", "\x07", "\x08"] {
            assert!(!text.contains(sequence), "{sequence:?} in {text:?}");
        }
    }

    /// At once, with what was typed left to be copied.
    #[test]
    fn a_lost_server_is_told_at_once() {
        let home = Home::new();
        let server = Puppet::start();
        let mut seat = Seat::take(home.chat(server.port));
        let mut stream = server.client();
        stream.write_all(b"bob: hi\nbob: by").unwrap();
        seat.shows(&["bob: hi", "tester:"]);
        seat.press("unsent");
        seat.shows(&["bob: hi", "tester: unsent"]);
        drop(stream);
        let message = format!("chat: 127.0.0.1 port {} closed the connection", server.port);
        seat.shows(&["bob: hi", "bob: by", "tester: unsent", &message]);
        seat.ends(5);
    }

    #[test]
    fn a_refused_key_is_told() {
        let home = Home::new();
        let server = Puppet::start();
        let mut seat = Seat::take(home.chat(server.port));
        drop(server.client());
        seat.ends(4);
    }

    /// Killed by its user or with its session, it does not leave a terminal that echoes nothing.
    #[rstest]
    #[case::sigterm(libc::SIGTERM)]
    #[case::sighup(libc::SIGHUP)]
    #[case::sigint(libc::SIGINT)]
    fn a_signal_leaves_the_terminal_as_it_was(#[case] signal: i32) {
        use std::os::unix::process::ExitStatusExt;
        let home = Home::new();
        let server = Puppet::start();
        let mut seat = Seat::take(home.chat(server.port));
        let _stream = server.client();
        seat.shows(&["tester:"]);
        // SAFETY: a process of this test's own.
        unsafe { libc::kill(seat.child.id() as i32, signal) };
        assert_eq!(end_of(&mut seat.child).signal(), Some(signal));
        let mode = tcgetattr(&seat.terminal).unwrap().local_flags;
        let cooked = LocalFlags::ICANON | LocalFlags::ECHO | LocalFlags::ISIG;
        assert!(mode.contains(cooked), "the terminal was left in {mode:?}");
    }

    #[test]
    fn ctrl_c_leaves_at_once() {
        let home = Home::new();
        let server = Puppet::start();
        let mut seat = Seat::take(home.chat(server.port));
        let _stream = server.client();
        seat.shows(&["tester:"]);
        seat.press("half a li");
        seat.shows(&["tester: half a li"]);
        seat.press("\x03");
        seat.ends(130);
    }

    /// A line entered just before leaving is not lost with the connection.
    #[test]
    fn leaving_waits_for_the_last_line() {
        let home = Home::new();
        let server = Puppet::start();
        let mut seat = Seat::take(home.chat(server.port));
        let mut stream = server.client();
        seat.shows(&["tester:"]);
        seat.press("bye\r\x04");
        let mut received = String::new();
        stream.read_to_string(&mut received).unwrap();
        assert_eq!(received, "tester: bye\n");
        stream.write_all(received.as_bytes()).unwrap();
        drop(stream);
        seat.shows(&["tester: bye"]);
        seat.ends(0);
    }

    #[test]
    fn a_dumb_terminal_gets_no_control_sequences() {
        let home = Home::new();
        let server = Puppet::start();
        let mut chat = home.chat(server.port);
        chat.env("TERM", "dumb");
        let mut seat = Seat::take(chat);
        let mut stream = server.client();
        stream.write_all(b"bob: hi\n").unwrap();
        seat.shows(&["bob: hi"]);
        seat.press("hello\n");
        receives(&mut stream, "tester: hello\n");
        assert!(!seat.bytes.contains(&0x1b));
        drop(stream);
        seat.ends(5);
    }
}
