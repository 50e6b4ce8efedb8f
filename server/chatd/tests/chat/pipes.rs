//! Use in pipes.

use std::fs;
use std::io::{Read, Write};
use std::net::Shutdown;
use std::process::Stdio;
use std::sync::mpsc;

use predicates::str::is_empty;
use rstest::rstest;

use super::common::{PATIENCE, end_of};
use super::home::{Home, run};
use super::server::{Server, reference};

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

/// What a pipe leads to is a terminal in the end, more often than not.
#[rstest]
#[case::harmless(&["--print"], "bob: ^[[1mearlier\u{fffd}\ntester: hi\n".as_bytes())]
#[case::as_it_is(&["--print", "--raw"], b"bob: \x1b[1mearlier\xff\nhi\n")]
fn printed_if_wanted(#[case] arguments: &[&str], #[case] printed: &[u8]) {
    let home = Home::new();
    let server = reference(b"bob: \x1b[1mearlier\xff\n");
    let mut chat = home.chat(server.port);
    chat.args(arguments);
    run(chat).write_stdin("hi\n").assert().success().stdout(printed.to_vec());
}

#[test]
fn escape_sequences_do_not_pass_a_pipe() {
    let home = Home::new();
    let server = Server::start(|mut stream| {
        stream.write_all("eve: \x1b]0;title\x07\u{9b}2J\u{202e}x\0\r\n".as_bytes()).unwrap();
    });
    let mut chat = home.chat(server.port);
    chat.arg("--listen");
    run(chat).assert().code(5).stdout("eve: ^[]0;title^G<U+009B>2J<U+202E>x^@\n");
    server.join();
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
fn listening_to_bytes() {
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
        .args(["--listen", "--raw"])
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
    assert_eq!(end_of(&mut child).code(), Some(5));
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
    assert_eq!(end_of(&mut child).code(), Some(0));
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
    assert_eq!(end_of(&mut child).code(), Some(0));
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
    assert_eq!(end_of(&mut child).code(), Some(1));
}
