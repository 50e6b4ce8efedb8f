//! Use at a terminal.

use std::fs::File;
use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::num::NonZeroU16;
use std::os::fd::OwnedFd;
use std::os::unix::process::{CommandExt, ExitStatusExt};
use std::process::{self, ExitStatus};
use std::sync::mpsc;
use std::thread;
use std::time::Instant;

use nix::pty::{Winsize, openpty};
use nix::sys::termios::{LocalFlags, tcgetattr};
use rstest::rstest;

use super::common::{PATIENCE, end_of};
use super::home::Home;
use super::server::Server;

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

    /// Takes in what comes to the screen, for a moment.
    fn look(&mut self) {
        if let Ok(bytes) = self.output.recv_timeout(std::time::Duration::from_millis(50)) {
            self.screen.process(&bytes);
            self.bytes.extend(bytes);
        }
    }

    /// Waits for the end; the terminal must be as it was.
    fn end(&mut self) -> ExitStatus {
        let status = end_of(&mut self.child);
        let mode = tcgetattr(&self.terminal).unwrap().local_flags;
        let cooked = LocalFlags::ICANON | LocalFlags::ECHO | LocalFlags::ISIG;
        assert!(mode.contains(cooked), "the terminal was left in {mode:?}");
        status
    }

    fn ends(&mut self, status: i32) {
        assert_eq!(self.end().code(), Some(status));
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
#[case::escaped_slash("//quit\r", "tester: /quit\n")]
#[case::slash_inside("and/or\r", "tester: and/or\n")]
#[case::pasted_word("a\x1b[200~ b\x1b[A\tc\x1b[201~d\r", "tester: a b[A cd\n")]
#[case::pasted_line_is_not_sent("\x1b[200~one\r\n\x1b[201~!\r", "tester: one!\n")]
#[case::pasted_lines(
    "\x1b[200~one\r\n/quit\r\n\r\nthree\x1b[201~y",
    "tester: one\ntester: /quit\ntester: three\n"
)]
#[case::pasted_lines_refused("\x1b[200~one\ntwo\x1b[201~nthree\r", "tester: three\n")]
#[case::looked_for("one\rtwo\r\x12on\r", "tester: one\ntester: two\ntester: one\n")]
#[case::looked_for_and_edited(
    "tea\rtwo\r\x12t\x12\x05!\r",
    "tester: tea\ntester: two\ntester: tea!\n"
)]
#[case::looked_for_and_left("one\r\x12on\x07x\r", "tester: one\ntester: x\n")]
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

/// Several lines may be meant for another window: nobody sends them without a yes.
#[test]
fn pasted_lines_ask_first() {
    let home = Home::new();
    let server = Puppet::start();
    let mut seat = Seat::take(home.chat(server.port));
    let mut stream = server.client();
    seat.shows(&["tester:"]);
    assert!(seat.bytes.ends_with(b"C") && seat.bytes.starts_with(b"\x1b[?2004h"));
    seat.press("my \x1b[200~secret\nsudo \x1b[2J rm\n\x1b[201");
    seat.press("~");
    seat.shows(&["send 2 lines? (y/n)"]);
    seat.press("n");
    seat.shows(&["tester:"]);
    seat.press("\x04");
    let mut received = String::new();
    stream.read_to_string(&mut received).unwrap();
    assert_eq!(received, "");
    stream.write_all(b"bob: bye\n").unwrap();
    drop(stream);
    seat.ends(0);
    seat.shows(&["bob: bye"]);
    assert!(seat.bytes.windows(8).any(|window| window == b"\x1b[?2004l"));
}

/// A server that goes and comes: nothing that is typed meanwhile is lost, and it can be left.
#[test]
fn a_lost_connection_is_made_again() {
    let home = Home::new();
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port();
    let client = || {
        let (mut stream, _) = listener.accept().unwrap();
        stream.set_read_timeout(Some(PATIENCE)).unwrap();
        stream.read_exact(&mut [0; 128]).unwrap();
        stream
    };
    let mut seat = Seat::take(home.chat(port));
    let mut stream = client();
    stream.write_all(b"bob: hi\n").unwrap();
    seat.shows(&["bob: hi", "tester:"]);
    drop(stream);
    let lost = format!("* 127.0.0.1 port {} closed the connect", port);
    let tries = ["* tries again in 1 s", "* tries again in 2 s"];
    let deadline = Instant::now() + PATIENCE;
    while !seat.lines().iter().any(|line| tries.contains(&&**line)) {
        assert!(Instant::now() < deadline, "{:?}", seat.lines());
        seat.look();
    }
    assert!(seat.lines()[1].starts_with(&lost[..39]), "{:?}", seat.lines());
    seat.press("meanwhile\r");
    let mut stream = client();
    receives(&mut stream, "tester: meanwhile\n");
    stream.write_all(b"tester: meanwhile\n").unwrap();
    let back = "* is connected again; the last lines fol";
    while !seat.lines().iter().any(|line| line.starts_with(back))
        || seat.lines().iter().filter(|line| *line == "tester: meanwhile").count() != 1
    {
        assert!(Instant::now() < deadline, "{:?}", seat.lines());
        seat.look();
    }
    drop(stream);
    while seat.lines().iter().filter(|line| line.starts_with("* tries again")).count() < 2 {
        assert!(Instant::now() < deadline, "{:?}", seat.lines());
        seat.look();
    }
    seat.press("\x03");
    seat.ends(130);
}

/// What begins with a slash is meant for the client, and is never sent by mistake.
#[test]
fn commands() {
    let home = Home::new();
    let server = Puppet::start();
    let mut seat = Seat::take(home.chat(server.port));
    let mut stream = server.client();
    seat.shows(&["tester:"]);
    seat.press("/qiut\r");
    let unknown = "* unknown command /qiut; /help tells the known ones, and //qiut sends it";
    seat.shows(&[unknown, "tester:"]);
    seat.press("\x0c/help\r");
    seat.shows(&[
        "* /help  tell this",
        "* /quit  leave, as Ctrl-D does",
        "* //TEXT send a line that begins with /",
        "tester:",
    ]);
    seat.press("  bye\r/quit\r");
    let mut received = String::new();
    stream.read_to_string(&mut received).unwrap();
    assert_eq!(received, "tester:   bye\n");
    stream.write_all(received.as_bytes()).unwrap();
    drop(stream);
    seat.ends(0);
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
    let mut command = home.chat(server.port);
    command.arg("--once");
    let mut seat = Seat::take(command);
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
    let home = Home::new();
    let server = Puppet::start();
    let mut seat = Seat::take(home.chat(server.port));
    let _stream = server.client();
    seat.shows(&["tester:"]);
    // SAFETY: a process of this test's own.
    unsafe { libc::kill(seat.child.id() as i32, signal) };
    assert_eq!(seat.end().signal(), Some(signal));
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
