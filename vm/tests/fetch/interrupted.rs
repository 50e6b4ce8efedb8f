//! Downloads that break off, that are ended, and that meet another.

use std::io::{BufRead, BufReader};

use assert_cmd::Command;
use predicates::prelude::*;
use predicates::str::contains;
use rstest::rstest;
use sha2::{Digest, Sha256};

use crate::server::Step;
use crate::world::{CUT, LENGTH, PROGRAM, World, hex, noise, part_length, sums, until};

#[test]
fn a_cut_download_is_resumed_by_the_next_run() {
    let (world, disk) = World::with_disk();
    world.server.next("disk.img", Step::CutAfter(CUT));
    world.fails(
        &["--retries", "0"],
        &["unavailable", &format!("after {CUT} of {LENGTH} bytes"), "kept", "gone one day"],
    );
    assert_eq!(world.left(), ["download.part", "download.toml"]);

    world.fetch(&[]).assert().success().stderr(contains("100.00 KiB of it are here"));
    let requests = world.server.requests("disk.img");
    assert_eq!(requests.len(), 2);
    assert_eq!(requests[1].headers["range"], format!("bytes={CUT}-"));
    assert_eq!(requests[1].sent, LENGTH - CUT, "only what was missing is sent");
    assert!(std::fs::read(world.file("disk.raw")).expect("the disk") == disk);
    assert_eq!(world.left(), ["disk.raw"]);
}

#[test]
fn a_cut_download_is_taken_up_again_in_the_same_run() {
    let (world, disk) = World::with_disk();
    world.server.next("disk.img", Step::CutAfter(CUT));
    world.server.next("disk.img", Step::CutAfter(CUT));
    world.fetch(&["--retries", "1"]).assert().success().stderr(contains("trying again"));
    let sent: Vec<usize> = world.server.requests("disk.img").iter().map(|r| r.sent).collect();
    assert_eq!(sent, [CUT, CUT, LENGTH - 2 * CUT], "progress renews the tries");
    assert!(std::fs::read(world.file("disk.raw")).expect("the disk") == disk);
}

#[rstest]
#[case::ignored(Step::IgnoreRange)]
#[case::another_range(Step::WrongRange)]
#[case::refused(Step::Status("416 Range Not Satisfiable", None))]
fn a_server_without_the_range_sends_the_whole(#[case] step: Step) {
    let (world, disk) = World::with_disk();
    world.server.next("disk.img", Step::CutAfter(CUT));
    world.fails(&["--retries", "0"], &["kept"]);
    world.server.next("disk.img", step);
    world.fetch(&[]).assert().success();
    let last = world.server.requests("disk.img").pop().expect("a request");
    assert_eq!(last.sent, LENGTH);
    assert!(std::fs::read(world.file("disk.raw")).expect("the disk") == disk);
}

#[test]
fn a_file_that_changed_is_not_pieced_together() {
    let (world, _) = World::with_disk();
    world.server.next("disk.img", Step::CutAfter(CUT));
    world.fails(&["--retries", "0"], &["kept"]);

    let changed: Vec<u8> = noise(LENGTH).into_iter().rev().collect();
    world.server.publish("SHA256SUMS", sums("disk.img", &changed).into_bytes());
    world.server.publish("disk.img", changed.clone());
    world.fetch(&[]).assert().success();
    let last = world.server.requests("disk.img").pop().expect("a request");
    assert_eq!(last.headers.get("range"), None, "what is here is of another file");
    assert!(std::fs::read(world.file("disk.raw")).expect("the disk") == changed);
}

#[test]
fn a_spoilt_part_is_fetched_anew() {
    let (world, disk) = World::with_disk();
    world.server.next("disk.img", Step::CutAfter(CUT));
    world.fails(&["--retries", "0"], &["kept"]);
    std::fs::write(world.file("download.part"), vec![0; CUT]).expect("spoilt");
    world.fetch(&[]).assert().success().stderr(contains("wrong checksum: trying again"));
    let last = world.server.requests("disk.img").pop().expect("a request");
    assert_eq!((last.headers.get("range"), last.sent), (None, LENGTH));
    assert!(std::fs::read(world.file("disk.raw")).expect("the disk") == disk);
}

#[test]
fn a_wrong_checksum_leaves_nothing() {
    let (world, _) = World::with_disk();
    world.server.publish("SHA256SUMS", sums("disk.img", b"another").into_bytes());
    let (expected, actual) = (Sha256::digest(b"another"), Sha256::digest(noise(LENGTH)));
    world.fails(&[], &["checksum mismatch", "disk.img", &hex(&expected), &hex(&actual), "removed"]);
    assert_eq!(world.left(), <[&str; 0]>::default());
    assert!(!world.images().join("lock.toml").exists(), "nothing is recorded");
}

#[rstest]
#[case::before_the_head("SHA256SUMS", 0)]
#[case::in_the_body("disk.img", CUT)]
fn a_server_that_stalls(#[case] path: &str, #[case] after: usize) {
    let (world, _) = World::with_disk();
    world.server.next(path, Step::StallAfter(after));
    world.fails(&["--retries", "0", "--idle-timeout", "1"], &["nothing came for 1 s"]);
}

#[test]
fn two_at_once_download_once() {
    let (world, disk) = World::with_disk();
    let release = world.server.hold("disk.img", CUT);
    let mut first = world.spawn();
    until("the first downloads", || part_length(&world) == CUT);
    let mut second = world.spawn();
    let mut lines = BufReader::new(second.stderr.take().expect("piped")).lines();
    let line = lines.next().expect("a line").expect("text");
    assert!(line.contains("another process is at it"), "{line}");
    release.send(()).expect("the server waits");
    assert!(first.wait().expect("waited").success());
    assert!(second.wait().expect("waited").success());
    assert_eq!(world.server.requests("disk.img").len(), 1);
    assert!(std::fs::read(world.file("disk.raw")).expect("the disk") == disk);
    assert_eq!(world.left(), ["disk.raw"]);
}

#[test]
fn a_killed_download_leaves_no_lock_and_is_resumed() {
    let (world, disk) = World::with_disk();
    world.server.next("disk.img", Step::StallAfter(CUT));
    let mut child = world.spawn();
    until("it downloads", || part_length(&world) == CUT);
    child.kill().expect("SIGKILL");
    child.wait().expect("waited");
    assert_eq!(world.left(), ["download.part", "download.toml"]);
    world
        .fetch(&[])
        .assert()
        .success()
        .stderr(contains("100.00 KiB of it are here").and(contains("another process").not()));
    assert_eq!(world.server.requests("disk.img")[1].sent, LENGTH - CUT);
    assert!(std::fs::read(world.file("disk.raw")).expect("the disk") == disk);
}

#[rstest]
fn ctrl_c_ends_it_at_once_with_3(
    #[values(libc::SIGINT, libc::SIGTERM)] signal: libc::c_int,
    #[values("SHA256SUMS", "disk.img")] path: &str,
) {
    let (world, _) = World::with_disk();
    world.server.next(path, Step::StallAfter(0));
    let child = world.spawn();
    until("it waits for the server", || !world.server.requests(path).is_empty());
    let pid = nix::unistd::Pid::from_raw(i32::try_from(child.id()).expect("a process id"));
    let signal = nix::sys::signal::Signal::try_from(signal).expect("a signal");
    nix::sys::signal::kill(pid, signal).expect("sent");
    let output = child.wait_with_output().expect("waited");
    assert_eq!(output.status.code(), Some(3));
    let stderr = String::from_utf8(output.stderr).expect("text");
    assert_eq!(stderr.lines().last(), Some("forkproof: interrupted"), "{stderr}");
    world.fetch(&[]).assert().success();
}

#[test]
fn ctrl_c_ends_the_wait_for_another_process() {
    let (world, _) = World::with_disk();
    let release = world.server.hold("disk.img", CUT);
    let mut first = world.spawn();
    until("the first downloads", || part_length(&world) == CUT);
    let mut second = world.spawn();
    let mut lines = BufReader::new(second.stderr.take().expect("piped")).lines();
    lines.next().expect("a line").expect("it waits");
    let pid = nix::unistd::Pid::from_raw(i32::try_from(second.id()).expect("a process id"));
    nix::sys::signal::kill(pid, nix::sys::signal::Signal::SIGTERM).expect("sent");
    assert_eq!(second.wait().expect("waited").code(), Some(3));
    let last = lines.next().expect("a line").expect("text");
    assert_eq!(last, "forkproof: interrupted");
    release.send(()).expect("the server waits");
    assert!(first.wait().expect("waited").success());
}

/// A full disk is a small one, in a mount namespace that ends with the command.
#[cfg(target_os = "linux")]
#[rstest]
#[case::downloading("raw", noise(2 << 20), "removed", &[])]
#[case::unpacking("raw.xz", xz_of_ones(), "kept in", &["download.part", "download.toml"])]
fn a_full_disk(
    #[case] format: &str,
    #[case] bytes: Vec<u8>,
    #[case] words: &str,
    #[case] left: &[&str],
) {
    let namespaces = std::process::Command::new("unshare").args(["-rm", "true"]).status();
    if !namespaces.is_ok_and(|status| status.success()) {
        eprintln!("SKIPPED: a_full_disk: no private mount namespace can be had here");
        return;
    }
    let world = World::new("published", format, bytes);
    std::fs::create_dir(world.cache()).expect("made");
    let script = r#"
        mount -t tmpfs -o size=1m none "$XDG_CACHE_HOME" || exit 99
        "$0" fetch mine
        status=$?
        ls "$XDG_CACHE_HOME/forkproof/images/mine"
        exit $status"#;
    let mut command = Command::new("unshare");
    command.args(["-rm", "sh", "-c", script, PROGRAM]).envs(world.environment());
    let output =
        command.assert().code(3).stderr(contains("no space left to write")).get_output().clone();
    let stderr = String::from_utf8(output.stderr).expect("text");
    assert!(stderr.contains(words), "{stderr}");
    let names: Vec<String> = String::from_utf8(output.stdout)
        .expect("text")
        .lines()
        .filter(|name| *name != "lock")
        .map(str::to_owned)
        .collect();
    assert_eq!(names, left);
}

/// Whether the pieces fit, the digest tells; what the server calls the version does not matter.
#[test]
fn the_same_file_under_another_etag_is_resumed() {
    let (world, disk) = World::with_disk();
    world.server.next("disk.img", Step::CutAfter(CUT));
    world.fails(&["--retries", "0"], &["kept"]);
    world.server.publish("disk.img", disk.clone());
    world.fetch(&[]).assert().success();
    let last = world.server.requests("disk.img").pop().expect("a request");
    assert_eq!((last.headers.contains_key("range"), last.sent), (true, LENGTH - CUT));
    assert!(std::fs::read(world.file("disk.raw")).expect("the disk") == disk);
}

/// Another version behind the same checksums: half of each would be neither.
#[test]
fn pieces_of_two_versions_are_not_taken() {
    let (world, disk) = World::with_disk();
    let other: Vec<u8> = disk.iter().rev().copied().collect();
    world.server.publish("disk.img", other);
    world.server.next("disk.img", Step::CutAfter(CUT));
    world.fails(&["--retries", "0"], &["kept"]);
    world.server.publish("disk.img", disk.clone());
    world.fetch(&[]).assert().success().stderr(contains("wrong checksum: trying again"));
    assert!(std::fs::read(world.file("disk.raw")).expect("the disk") == disk);
}

/// Killed between the last byte and the check: nothing is sent again.
#[test]
fn a_whole_part_is_only_verified() {
    let (world, disk) = World::with_disk();
    world.server.next("disk.img", Step::CutAfter(CUT));
    world.fails(&["--retries", "0"], &["kept"]);
    std::fs::write(world.file("download.part"), &disk).expect("written");
    world.fetch(&[]).assert().success();
    assert_eq!(world.server.requests("disk.img")[1].sent, 0);
    assert!(std::fs::read(world.file("disk.raw")).expect("the disk") == disk);
}

/// 3 MiB of ones.
fn xz_of_ones() -> Vec<u8> {
    let script = "head -c 3145728 /dev/zero | tr '\\0' '\\1' | xz -0 --stdout";
    let output = std::process::Command::new("sh").args(["-c", script]).output().expect("run");
    assert!(output.status.success(), "{output:?}");
    output.stdout
}
