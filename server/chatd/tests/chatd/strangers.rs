//! Connections without the key: what they may take, and what is said of them.

use std::cell::{Cell, RefCell};
use std::io::{Read, Write};
use std::net::TcpStream;

use nix::sys::signal::Signal;
use rstest::rstest;
use tempfile::TempDir;

use super::common::{PATIENCE, end_of};
use super::world::{
    dir, enter, hears_itself, join, messages, processes, serve_on_loopback, signal, until,
};

fn stranger(address: &str) -> TcpStream {
    let stranger = TcpStream::connect(address).unwrap();
    stranger.set_read_timeout(Some(PATIENCE)).unwrap();
    stranger
}

/// From another address of this machine than 127.0.0.1.
#[cfg(target_os = "linux")]
fn stranger_from(source: &str, address: &str) -> TcpStream {
    use nix::sys::socket::{AddressFamily, SockFlag, SockType, SockaddrIn, bind, connect, socket};
    use std::os::fd::AsRawFd;
    let socket =
        socket(AddressFamily::Inet, SockType::Stream, SockFlag::SOCK_CLOEXEC, None).unwrap();
    let source: std::net::SocketAddrV4 = format!("{source}:0").parse().unwrap();
    bind(socket.as_raw_fd(), &SockaddrIn::from(source)).unwrap();
    let address: std::net::SocketAddrV4 = address.parse().unwrap();
    connect(socket.as_raw_fd(), &SockaddrIn::from(address)).unwrap();
    let stranger = TcpStream::from(socket);
    stranger.set_read_timeout(Some(PATIENCE)).unwrap();
    stranger
}

fn children_of(parent: u32) -> usize {
    processes().iter().filter(|process| process.1 == parent && !process.2.starts_with('Z')).count()
}

#[rstest]
fn strangers_take_no_place_of_those_who_have_the_key(dir: TempDir) {
    let arguments = ["--max-clients", "4", "--auth-timeout", "60"];
    let (_server, address) = serve_on_loopback(dir.path(), &arguments);
    let _strangers: Vec<TcpStream> = (0..64).map(|_| stranger(&address)).collect();
    let clients: Vec<TcpStream> = (0..4).map(|_| join(&address)).collect();
    assert!(!hears_itself(&mut enter(&address), "the fifth of four\n"));
    drop(clients);
    until("a free place", || hears_itself(&mut enter(&address), "again\n").then_some(()));
}

/// The oldest goes when its place is needed: whoever has the key sends it at once.
#[rstest]
#[case::of_all("--max-pending")]
#[case::of_one_address("--max-pending-per-address")]
fn places_without_a_key_are_limited(dir: TempDir, #[case] limit: &str) {
    let arguments = [limit, "8", "--auth-timeout", "60"];
    let (server, address) = serve_on_loopback(dir.path(), &arguments);
    let mut strangers: Vec<TcpStream> = (0..20).map(|_| stranger(&address)).collect();
    let mut alice = join(&address);
    // Alice needed a place too.
    for oldest in &mut strangers[..13] {
        assert_eq!(oldest.read(&mut [0]).unwrap(), 0);
    }
    until("eight processes", || (children_of(server.0.id()) == 8).then_some(()));
    for newest in &mut strangers[13..] {
        newest.set_nonblocking(true).unwrap();
        assert_eq!(newest.read(&mut [0]).unwrap_err().kind(), std::io::ErrorKind::WouldBlock);
    }
    assert!(hears_itself(&mut alice, "unharmed\n"));
}

/// An address that takes all places loses them to other addresses.
#[cfg(target_os = "linux")]
#[rstest]
fn a_flood_from_one_address_harms_no_other(dir: TempDir) {
    let arguments = ["--max-pending", "8", "--auth-timeout", "60"];
    let (_server, address) = serve_on_loopback(dir.path(), &arguments);
    let mut slow = stranger(&address);
    slow.write_all(&super::common::KEY[1..]).unwrap();
    let _flood: Vec<TcpStream> = (0..50).map(|_| stranger_from("127.0.0.2", &address)).collect();
    slow.write_all(&super::common::KEY[..1]).unwrap();
    assert!(hears_itself(&mut slow, "the oldest of all, and alone\n"));
}

/// Whatever strangers do, it costs a few lines, and each of them is counted.
#[rstest]
fn refusals_are_told_at_a_limited_rate(dir: TempDir) {
    let (mut server, address) = serve_on_loopback(dir.path(), &[]);
    for _ in 0..300 {
        let mut stranger = stranger(&address);
        stranger.write_all(&[b'x'; 128]).unwrap();
        assert_eq!(stranger.read(&mut [0]).unwrap_or(0), 0);
    }
    signal(server.0.id(), Signal::SIGTERM);
    assert!(end_of(&mut server.0).success());
    let messages = messages(dir.path());
    assert!(messages.lines().count() < 30, "{} lines", messages.lines().count());
    let told = messages.lines().filter(|line| line.ends_with(": refused: wrong key")).count();
    let untold: usize = messages
        .lines()
        .filter_map(|line| line.split_once("]: ")?.1.split_once(" more connections were refused"))
        .map(|(count, _)| count.parse::<usize>().unwrap())
        .sum();
    assert_eq!(told + untold, 300, "{messages}");
}

/// Whatever comes before the key, it opens nothing and harms nobody.
#[rstest]
fn fuzz_before_the_key(dir: TempDir) {
    const TOKENS: &[&[u8]] = &[b"k", &[b'k'; 127], b"\n", b"\0", &[0xff; 64]];
    let corpus = concat!(env!("CARGO_MANIFEST_DIR"), "/fuzz/before-the-key");
    let (server, address) = serve_on_loopback(dir.path(), &["--replay", "0"]);
    // She also hears those who guess the key, and a client that never reads is let go.
    let alice = RefCell::new(join(&address));
    let unharmed = || assert!(hears_itself(&mut alice.borrow_mut(), "unharmed\n"));
    let asked = Cell::new(0_u64);
    let log = || std::fs::metadata(dir.path().join("log")).unwrap().len();
    forkproof_fuzz::fuzz(std::path::Path::new(corpus), TOKENS, |bytes| {
        let before = log();
        let mut stranger = stranger(&address);
        // It may be closed in the middle of this.
        let _ = stranger.write_all(bytes);
        let _ = stranger.shutdown(std::net::Shutdown::Write);
        let _ = std::io::copy(&mut stranger, &mut std::io::sink());
        if !bytes.starts_with(&super::common::KEY) {
            assert_eq!(log(), before, "the log has grown");
        }
        asked.set(asked.get() + 1);
        if asked.get() % 512 == 0 {
            unharmed();
        }
    });
    unharmed();
    drop(alice);
    until("no process", || (children_of(server.0.id()) == 0).then_some(()));
}
