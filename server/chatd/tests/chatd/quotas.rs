//! What one client may take, if that is limited.

use std::io::{Read, Write};
use std::time::{Duration, Instant};

use rstest::rstest;
use tempfile::TempDir;

use super::world::{dir, enter, hears_itself, join, messages, processes, serve_on_loopback, until};

/// A client that takes nothing of what it is sent is not held for ever.
#[rstest]
fn one_that_never_reads_is_let_go(dir: TempDir) {
    let (server, address) = serve_on_loopback(dir.path(), &["--write-timeout", "0.5"]);
    let _never_reads = enter(&address);
    let mut speaker = join(&address);
    // More than all buffers on the way hold.
    let line = "x".repeat(1 << 16) + "\n";
    for _ in 0..192 {
        speaker.write_all(line.as_bytes()).unwrap();
        speaker.read_exact(&mut vec![0; line.len()]).unwrap();
    }
    until("one client's processes", || {
        let receivers = processes().iter().filter(|process| process.1 == server.0.id()).count();
        (receivers == 1).then_some(())
    });
    let messages = messages(dir.path());
    assert!(messages.contains("left: it read nothing for 0.5 s"), "{messages}");
    assert!(hears_itself(&mut speaker, "still here\n"));
}

#[rstest]
fn one_that_says_nothing_is_let_go(dir: TempDir) {
    let (_server, address) = serve_on_loopback(dir.path(), &["--idle-timeout", "0.3"]);
    let begin = Instant::now();
    let mut alice = join(&address);
    let mut rest = Vec::new();
    alice.read_to_end(&mut rest).unwrap();
    assert!(begin.elapsed() >= Duration::from_millis(290), "{:?}", begin.elapsed());
    until("the reason", || {
        messages(dir.path()).contains("left: it said nothing for 0.3 s").then_some(())
    });
}

#[rstest]
#[case::at_once(&["x".repeat(65)])]
#[case::with_its_end(&["x".repeat(65) + "\n"])]
#[case::in_pieces(&["x".repeat(40), "x".repeat(40)])]
fn a_line_that_is_too_long_is_not_taken(dir: TempDir, #[case] pieces: &[String]) {
    let (_server, address) = serve_on_loopback(dir.path(), &["--max-line", "64", "--replay", "0"]);
    let mut alice = join(&address);
    assert!(hears_itself(&mut alice, &("x".repeat(63) + "\n")));
    assert!(hears_itself(&mut alice, &("x".repeat(63) + "\n").repeat(8)));
    let (last, first) = pieces.split_last().unwrap();
    for piece in first {
        assert!(hears_itself(&mut alice, piece));
    }
    assert!(!hears_itself(&mut alice, last));
    until("the reason", || {
        messages(dir.path()).contains("left: its line has more than 64 bytes").then_some(())
    });
}

/// It is slowed down; nothing is lost.
#[rstest]
fn one_that_says_too_much_is_slowed_down(dir: TempDir) {
    const RATE: usize = 256 * 1024;
    /// The server's largest: what it takes has no more to wait for.
    const LAST_READ: usize = 64 * 1024;
    const SAID: usize = 2 * RATE + LAST_READ;
    let rate = RATE.to_string();
    let (_server, address) = serve_on_loopback(dir.path(), &["--max-rate", &rate]);
    let mut alice = join(&address);
    let begin = Instant::now();
    let mut writer = alice.try_clone().unwrap();
    let line = "x".repeat(1023) + "\n";
    std::thread::scope(|scope| {
        scope.spawn(|| writer.write_all(line.repeat(SAID / 1024).as_bytes()).unwrap());
        alice.read_exact(&mut vec![0; SAID]).unwrap();
    });
    // A second's worth is free.
    assert!(begin.elapsed() >= Duration::from_secs(1), "{:?}", begin.elapsed());
}
