//! How a conversation ends, and what the client says of it.

use std::io::{Read, Write};
use std::process::Stdio;
use std::sync::mpsc;
use std::thread;
use std::time::Duration;

use predicates::prelude::*;
use predicates::str::{contains, is_empty};
use rstest::rstest;

use super::common::{PATIENCE, end_of};
use super::home::{Home, run};
use super::server::Server;

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
    run(chat).assert().code(5).stderr(
        predicate::str::is_match(
            "closed the connection, ([3-9]|[1-9][0-9]) s after it had taken the key",
        )
        .unwrap(),
    );
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
        .stdout("bob: hi\nbob: and\n")
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
    assert_eq!(end_of(&mut child).code(), Some(5));
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

/// What the connection never took is not stored anywhere, and nobody needs to wonder.
#[test]
fn never_sent() {
    let (done, until_done) = mpsc::channel::<()>();
    let server = Server::start(move |stream| {
        let _ = until_done.recv_timeout(PATIENCE);
        drop(stream);
    });
    let home = Home::new();
    let mut chat = home.chat(server.port);
    chat.args(["--timeout", "0.3"]);
    // More than all buffers on the way hold.
    let line = "x".repeat(1 << 20) + "\n";
    run(chat)
        .write_stdin(line.repeat(32))
        .assert()
        .code(5)
        .stderr(contains("stored or not, unknown").and(contains("never sent")));
    drop(done);
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
    run(chat).write_stdin("hi\n").assert().code(5).stderr(contains(
        "made no progress for 0.3 s; 1 line did not come back: stored or not, unknown",
    ));
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
