//! What a client that is let in can rely on.

use std::io::{Read, Write};
use std::net::{Shutdown, TcpStream};
use std::process::Command as Process;
use std::time::{Duration, Instant};

use nix::sys::signal::Signal;
use rstest::rstest;
use tempfile::TempDir;

use super::common::{KEY, PATIENCE};
use super::world::{child_of, dir, enter, hears_itself, in_dir, join, serve_on_loopback, signal};

/// The key, a line and the end, at once: the line comes back, whatever is replayed.
#[rstest]
fn a_first_line_comes_back(dir: TempDir, #[values("0", "1")] replay: &str) {
    let (_server, address) = serve_on_loopback(dir.path(), &["--replay", replay]);
    std::thread::scope(|scope| {
        for speaker in 0..4 {
            let address = address.clone();
            scope.spawn(move || {
                for number in 0..25 {
                    let line = format!("{speaker}: {number}\n");
                    let mut client = TcpStream::connect(&address).unwrap();
                    client.set_read_timeout(Some(PATIENCE)).unwrap();
                    client.write_all(&[&KEY, line.as_bytes()].concat()).unwrap();
                    client.shutdown(Shutdown::Write).unwrap();
                    let mut heard = String::new();
                    client.read_to_string(&mut heard).unwrap();
                    assert!(heard.contains(&line), "{line:?} is not in {heard:?}");
                }
            });
        }
    });
}

/// Reads exactly `expected`.
fn hears(client: &mut TcpStream, expected: &str) {
    let mut heard = vec![0; expected.len()];
    client.read_exact(&mut heard).unwrap();
    assert_eq!(String::from_utf8_lossy(&heard), expected);
}

/// A client that is in, and sends each piece at once.
fn quiet(address: &str) -> TcpStream {
    let client = join(address);
    client.set_nodelay(true).unwrap();
    client
}

#[rstest]
fn no_line_begins_within_anothers(dir: TempDir) {
    let (_server, address) = serve_on_loopback(dir.path(), &["--replay", "0"]);
    let mut alice = quiet(&address);
    let mut bob = quiet(&address);
    hears(&mut alice, "joins\n");
    alice.write_all(b"alice: pay ").unwrap();
    hears(&mut bob, "alice: pay ");
    // Bob's line gets a beginning of its own, and so does the rest of Alice's.
    bob.write_all(b"bob: hi\n").unwrap();
    hears(&mut bob, "\nbob: hi\n");
    alice.write_all(b"alice: 10\n").unwrap();
    hears(&mut bob, "alice: 10\n");
    hears(&mut alice, "alice: pay \nbob: hi\nalice: 10\n");
}

/// Nobody else has spoken: the line goes on, byte for byte as it was sent.
#[rstest]
fn a_line_in_pieces_is_one_line(dir: TempDir) {
    let (_server, address) = serve_on_loopback(dir.path(), &["--replay", "0"]);
    let mut alice = quiet(&address);
    for piece in ["alice: pay ", "10", "\n"] {
        alice.write_all(piece.as_bytes()).unwrap();
        hears(&mut alice, piece);
    }
}

/// What is cut off a burst waits for its rest longer than half a line that a client says and stops at,
/// though nobody else speaks: a busy machine may take its time between two parts of a burst.
#[test]
fn a_line_cut_off_a_burst_is_one_line() {
    // Longer than half a line alone is held back, and shorter than the rest of a burst.
    const MEANWHILE: Duration = Duration::from_millis(400);
    const LONGEST: Duration = Duration::from_millis(900);
    // A machine that stands still between proves nothing.
    let seen = (0..10).any(|_| {
        let dir = dir();
        let (server, address) = serve_on_loopback(dir.path(), &["--replay", "0"]);
        let log = || std::fs::read_to_string(in_dir(&dir, "log")).unwrap();
        let mut alice = quiet(&address);
        let begin = Instant::now();
        alice.write_all(b"alice: 1\nalice: ").unwrap();
        hears(&mut alice, "alice: 1\n");
        std::thread::sleep(MEANWHILE);
        let before = log();
        // Nor is it left behind by the server's end.
        signal(server.0.id(), Signal::SIGTERM);
        assert_eq!(alice.read(&mut [0]).unwrap_or(0), 0);
        let in_time = begin.elapsed() < LONGEST;
        if in_time {
            assert!(before.ends_with("alice: 1\n"), "{before:?}");
            assert!(log().ends_with("alice: 1\n"), "{:?}", log());
        }
        in_time
    });
    assert!(seen, "this machine stands still each time");
}

/// What FreeBSD's send buffers of 32 KiB make of a long line of a client under load: it comes in parts
/// that lie further apart than half a line alone is held back, and others speak between them.
#[test]
fn a_line_in_distant_parts_is_one_line_among_others() {
    const PART: usize = 32 * 1024;
    const APART: Duration = Duration::from_millis(300);
    // Shorter than the rest of a burst is waited for.
    const LONGEST: Duration = Duration::from_millis(700);
    let line = format!("alice: {}\n", "x".repeat(4 * PART - 100));
    // A machine that stands still between proves nothing.
    let seen = (0..10).any(|_| {
        let dir = dir();
        let (_server, address) = serve_on_loopback(dir.path(), &["--replay", "0"]);
        let (mut alice, mut bob) = (quiet(&address), quiet(&address));
        let burst = ["alice: 1\n", &line].concat();
        let mut in_time = true;
        for part in burst.as_bytes().chunks(PART) {
            let begin = Instant::now();
            alice.write_all(part).unwrap();
            while begin.elapsed() < APART {
                bob.write_all(b"bob: hi\n").unwrap();
                std::thread::sleep(Duration::from_millis(20));
            }
            in_time &= begin.elapsed() < LONGEST;
        }
        assert!(hears_itself(&mut alice, "alice: 2\n"));
        let log = std::fs::read_to_string(in_dir(&dir, "log")).unwrap();
        if in_time {
            assert!(log.contains(&format!("\n{line}")), "torn, or not on a line of its own");
            assert!(log.contains("bob: hi\n"), "nobody else has spoken");
        }
        in_time
    });
    assert!(seen, "this machine stands still each time");
}

/// It is not held back for ever.
#[rstest]
fn a_line_cut_off_a_burst_is_heard_in_the_end(dir: TempDir) {
    let (_server, address) = serve_on_loopback(dir.path(), &["--replay", "0"]);
    let mut alice = quiet(&address);
    alice.write_all(b"alice: 1\nalice: 2").unwrap();
    hears(&mut alice, "alice: 1\nalice: 2");
}

/// Half a line whose client has gone is never gone on with.
#[rstest]
#[case::closed(false)]
#[case::killed(true)]
fn a_line_left_unfinished_is_ended(dir: TempDir, #[case] killed: bool) {
    let (server, address) = serve_on_loopback(dir.path(), &["--replay", "0"]);
    let mut alice = quiet(&address);
    alice.write_all(b"admin: ").unwrap();
    hears(&mut alice, "admin: ");
    if killed {
        signal(child_of(server.0.id()), Signal::SIGKILL);
    } else {
        alice.shutdown(Shutdown::Write).unwrap();
    }
    assert_eq!(alice.read(&mut [0]).unwrap_or(0), 0);
    let mut bob = enter(&address);
    assert!(hears_itself(&mut bob, "bob: pay 10\n"));
    let log = std::fs::read_to_string(in_dir(&dir, "log")).unwrap();
    assert!(log.ends_with("admin: \nbob: pay 10\n"), "{log:?}");
}

/// A second daemon's clients do not go on with what a first one's have begun.
#[rstest]
fn no_line_begins_within_another_daemons(dir: TempDir) {
    let (_first, address) = serve_on_loopback(dir.path(), &["--replay", "0"]);
    let mut alice = quiet(&address);
    alice.write_all(b"admin: ").unwrap();
    hears(&mut alice, "admin: ");
    std::fs::remove_file(in_dir(&dir, "ready")).unwrap();
    let (_second, address) = serve_on_loopback(dir.path(), &["--replay", "0"]);
    let mut bob = enter(&address);
    assert!(hears_itself(&mut bob, "bob: pay 10\n"));
    hears(&mut alice, "\nbob: pay 10\n");
}

/// Not even with what a killed server has left.
#[rstest]
fn no_line_begins_within_a_log_that_was_left_unfinished(dir: TempDir) {
    std::fs::write(in_dir(&dir, "log"), "admin: ").unwrap();
    let (_server, address) = serve_on_loopback(dir.path(), &["--replay", "0"]);
    assert!(hears_itself(&mut enter(&address), "bob: pay 10\n"));
    let log = std::fs::read_to_string(in_dir(&dir, "log")).unwrap();
    assert_eq!(log, "admin: \nbob: pay 10\n");
}

/// Where the processors are busy what was said is heard before more is taken.
#[rstest]
fn receivers_give_way_to_senders(dir: TempDir) {
    let nice = |process: u32| -> i32 {
        let process = process.to_string();
        let told = Process::new("ps").args(["-o", "nice=", "-p", &process]).output().unwrap();
        String::from_utf8(told.stdout).unwrap().trim().parse().unwrap()
    };
    let (server, address) = serve_on_loopback(dir.path(), &[]);
    let _alice = join(&address);
    let receiver = child_of(server.0.id());
    let daemons = nice(server.0.id());
    assert_eq!(nice(receiver), (daemons + 10).min(19));
    assert_eq!(nice(child_of(receiver)), daemons);
    #[cfg(target_os = "linux")]
    {
        // SAFETY: an integer only. Not the function of that name: musl's always refuses.
        let policy = |process: u32| unsafe { libc::syscall(libc::SYS_sched_getscheduler, process) };
        let usual = libc::c_long::from(libc::SCHED_OTHER);
        let daemons = policy(server.0.id());
        let lower = if daemons == usual { libc::SCHED_BATCH.into() } else { daemons };
        assert_eq!(policy(receiver), lower);
        assert_eq!(policy(child_of(receiver)), daemons);
    }
}
