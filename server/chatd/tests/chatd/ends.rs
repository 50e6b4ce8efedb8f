//! How the server's processes end, and what is said of it.

use std::io::{Read, Write};
use std::net::TcpStream;

use nix::sys::signal::Signal;
use rstest::rstest;
use tempfile::TempDir;

use super::common::{KEY, end_of};
use super::world::{child_of, content_of, dir, in_dir, processes, serve, signal, until};
#[cfg(target_os = "linux")]
use super::world::{enter, hears_itself, join, messages, serve_on_loopback};

/// A stopped process acts on SIGTERM only once it is continued. (tcpserverd of s6 sends both.)
#[rstest]
#[case::receiver(true, false)]
#[case::sender(false, true)]
#[case::both(true, true)]
fn stopped_processes_end_with_the_daemon(
    dir: TempDir,
    #[case] receiver_stops: bool,
    #[case] sender_stops: bool,
) {
    std::fs::write(in_dir(&dir, "log"), "one\n").unwrap();
    let mut server = serve(dir.path(), &["--key-file", "key", "--log", "log", "-l", "127.0.0.1:0"]);
    let address = content_of(&in_dir(&dir, "ready"));
    let mut client = TcpStream::connect(address.trim()).unwrap();
    client.write_all(&KEY).unwrap();
    client.read_exact(&mut [0; 4]).unwrap();
    let receiver = child_of(server.0.id());
    let sender = child_of(receiver);
    for (pid, stops) in [(receiver, receiver_stops), (sender, sender_stops)] {
        if stops {
            signal(pid, Signal::SIGSTOP);
            let stopped =
                |(id, _, state): &(u32, u32, String)| *id == pid && state.starts_with('T');
            until("the stop", || processes().iter().any(stopped).then_some(()));
        }
    }
    signal(server.0.id(), Signal::SIGTERM);
    assert!(end_of(&mut server.0).success());
    assert_eq!(client.read(&mut [0]).unwrap(), 0, "the connection closes in good order");
    let messages = std::fs::read_to_string(in_dir(&dir, "messages")).unwrap();
    assert!(messages.contains("left: the server ends"), "{messages}");
    assert!(!messages.contains("had to be killed"), "{messages}");
}

/// Nobody is left who would wait for it.
#[rstest]
fn a_stopped_sender_ends_with_its_client(dir: TempDir) {
    std::fs::write(in_dir(&dir, "log"), "one\n").unwrap();
    let server = serve(dir.path(), &["--key-file", "key", "--log", "log", "-l", "127.0.0.1:0"]);
    let address = content_of(&in_dir(&dir, "ready"));
    let mut client = TcpStream::connect(address.trim()).unwrap();
    client.write_all(&KEY).unwrap();
    until("the replay", || (client.peek(&mut [0; 4]).unwrap() == 4).then_some(()));
    let receiver = child_of(server.0.id());
    let sender = child_of(receiver);
    signal(sender, Signal::SIGSTOP);
    let stopped = |(id, _, state): &(u32, u32, String)| *id == sender && state.starts_with('T');
    until("the stop", || processes().iter().any(stopped).then_some(()));
    // What it has not read makes this a reset.
    drop(client);
    until("the end of both", || {
        let left = |(id, ..): &(u32, u32, String)| [receiver, sender].contains(id);
        (!processes().iter().any(left)).then_some(())
    });
}

/// Whoever reads the messages learns which process died, and of what.
#[rstest]
#[case::sender(true, Signal::SIGUSR2, "left: its sender was killed by SIGUSR2")]
#[case::sender_that_crashes(true, Signal::SIGSEGV, "left: its sender was killed by SIGSEGV")]
#[case::receiver(false, Signal::SIGKILL, "was killed by SIGKILL")]
fn a_death_is_told_with_its_cause(
    dir: TempDir,
    #[case] of_sender: bool,
    #[case] cause: Signal,
    #[case] words: &str,
) {
    std::fs::write(in_dir(&dir, "log"), "one\n").unwrap();
    let server = serve(dir.path(), &["--key-file", "key", "--log", "log", "-l", "127.0.0.1:0"]);
    let address = content_of(&in_dir(&dir, "ready"));
    let mut client = TcpStream::connect(address.trim()).unwrap();
    client.write_all(&KEY).unwrap();
    client.read_exact(&mut [0; 4]).unwrap();
    let receiver = child_of(server.0.id());
    let (victim, words) = if of_sender {
        (child_of(receiver), words.to_owned())
    } else {
        (receiver, format!("receiver {receiver} {words}"))
    };
    signal(victim, cause);
    until("the words", || {
        std::fs::read_to_string(in_dir(&dir, "messages")).unwrap().contains(&words).then_some(())
    });
}

/// nix cannot decode the status of a child that a real-time signal killed; the place must become
/// free all the same.
#[cfg(target_os = "linux")]
#[rstest]
fn a_receiver_killed_by_a_real_time_signal_is_reaped(dir: TempDir) {
    let (mut server, address) = serve_on_loopback(dir.path(), &["--max-clients", "1"]);
    let mut alice = join(&address);
    let receiver = child_of(server.0.id());
    // SAFETY: a process of this test's and a signal's number.
    assert_eq!(unsafe { libc::kill(receiver as i32, libc::SIGRTMIN() + 3) }, 0);
    assert_eq!(alice.read(&mut [0]).unwrap_or(0), 0);
    until("the place", || hears_itself(&mut enter(&address), "is in\n").then_some(()));
    let words = format!("receiver {receiver} was killed by signal {}", libc::SIGRTMIN() + 3);
    assert!(messages(dir.path()).contains(&words), "{}", messages(dir.path()));
    signal(server.0.id(), Signal::SIGTERM);
    assert!(end_of(&mut server.0).success());
    assert!(!messages(dir.path()).contains("had to be killed"), "{}", messages(dir.path()));
}

/// A receiver that has lost its sender to such a signal leaves, and says why.
#[cfg(target_os = "linux")]
#[rstest]
fn a_sender_killed_by_a_real_time_signal_is_told(dir: TempDir) {
    let (server, address) = serve_on_loopback(dir.path(), &[]);
    let mut alice = join(&address);
    let sender = child_of(child_of(server.0.id()));
    // SAFETY: a process of this test's and a signal's number.
    assert_eq!(unsafe { libc::kill(sender as i32, libc::SIGRTMIN() + 3) }, 0);
    assert_eq!(alice.read(&mut [0]).unwrap_or(0), 0);
    let words = format!("left: its sender was killed by signal {}", libc::SIGRTMIN() + 3);
    until("the words", || messages(dir.path()).contains(&words).then_some(()));
}

/// A killed daemon's clusters serve on until its successor ends; another daemon's are not touched.
#[cfg(target_os = "linux")]
#[rstest]
fn orphaned_clusters_end_with_the_successor(dir: TempDir) {
    let (mut first, address) = serve_on_loopback(dir.path(), &["--replay", "0"]);
    let mut orphan = join(&address);
    signal(first.0.id(), Signal::SIGKILL);
    end_of(&mut first.0);
    std::fs::remove_file(in_dir(&dir, "ready")).unwrap();
    let (_beside, open) = serve_on_loopback(dir.path(), &["--replay", "0"]);
    let mut besides = join(&open);
    std::fs::remove_file(in_dir(&dir, "ready")).unwrap();
    let (mut successor, address) = serve_on_loopback(dir.path(), &["--replay", "0"]);
    let mut own = join(&address);
    assert!(hears_itself(&mut orphan, "served by nobody's process\n"));
    signal(successor.0.id(), Signal::SIGTERM);
    assert!(end_of(&mut successor.0).success());
    for client in [&mut orphan, &mut own] {
        let mut rest = Vec::new();
        // A reset is an end, too.
        let _ = client.read_to_end(&mut rest);
    }
    assert!(messages(dir.path()).contains("ended the clusters of a daemon that was killed"));
    assert!(hears_itself(&mut besides, "unharmed\n"));
    assert!(hears_itself(&mut join(&open), "and open to others\n"));
}
