//! The cache: what is there already, what is recorded, and a cache that cannot be used.

use std::os::unix::fs::PermissionsExt;
use std::path::Path;

use predicates::str::contains;
use sha2::{Digest, Sha256};

use crate::world::{IMAGE, PROGRAM, World, hex, qcow2, sums};

#[test]
fn offline() {
    let (world, _) = World::with_disk();
    world.fails(
        &["--offline"],
        &["`mine` is not in the cache", world.images().to_str().expect("text"), "vm fetch mine"],
    );
    assert_eq!(world.server.requests("SHA256SUMS").len(), 0);
    world.fetch(&[]).assert().success();
    world.fetch(&["--offline"]).assert().success().stdout(contains("disk.raw"));
    assert_eq!(world.server.requests("SHA256SUMS").len(), 1);
}

#[test]
fn update_asks_and_replaces_what_changed() {
    let (world, _) = World::with_disk();
    world.fetch(&[]).assert().success();
    world.fetch(&["--update"]).assert().success();
    assert_eq!(world.server.requests("SHA256SUMS").len(), 2);
    assert_eq!(world.server.requests("disk.img").len(), 1, "it has not changed");

    let changed = qcow2();
    world.server.publish("SHA256SUMS", sums("disk.img", &changed).into_bytes());
    world.server.publish("disk.img", changed.clone());
    world.describe(&[&world.server.url], "disk.img", "qcow2", ("SHA256SUMS", "sums"));
    world.fetch(&["--update"]).assert().success();
    assert!(std::fs::read(world.file("disk.qcow2")).expect("the disk") == changed);
    assert_eq!(world.left(), ["disk.qcow2"], "the one before has gone");
}

#[test]
fn locked_refuses_what_is_not_recorded() {
    let (world, disk) = World::with_disk();
    world.fetch(&["--locked"]).assert().code(2).stderr(contains("--locked: there is no file"));
    world.fetch(&[]).assert().success();
    let recorded = world.dir.path().join("images.lock.toml");
    std::fs::copy(world.images().join("lock.toml"), &recorded).expect("copied");
    let recorded = recorded.to_str().expect("text");
    world.fetch(&["--locked", "--lock-file", recorded]).assert().success();

    // Elsewhere, later: the publisher offers something else.
    std::fs::remove_dir_all(world.cache()).expect("removed");
    world.server.publish("SHA256SUMS", sums("disk.img", b"another").into_bytes());
    world.fails(
        &["--locked", "--lock-file", recorded],
        &["the publisher offers", &hex(&Sha256::digest(b"another")), "records", "--locked"],
    );
    assert_eq!(world.server.requests("disk.img").len(), 1, "it is not downloaded");

    // And a cache that already holds something else.
    world.server.publish("disk.img", [1; 512].to_vec());
    world.server.publish("SHA256SUMS", sums("disk.img", &[1; 512]).into_bytes());
    world.fetch(&[]).assert().success();
    for options in [vec![], vec!["--offline"]] {
        let options = [vec!["--locked", "--lock-file", recorded], options].concat();
        world.fails(&options, &["the cache holds", &hex(&Sha256::digest(&disk))]);
    }
}

/// Whatever the user's umask is; and the digest of what came is kept beside it.
#[test]
fn what_comes_here_is_closed_to_others() {
    let (world, disk) = World::with_disk();
    let mut command = std::process::Command::new("sh");
    command.args(["-c", "umask 0; exec \"$@\"", "sh", PROGRAM, "fetch", IMAGE]);
    assert!(command.envs(world.environment()).output().expect("run").status.success());
    for name in ["", "disk.raw", "digests.toml"] {
        let mode = world.file(name).metadata().expect("there").permissions().mode();
        assert_eq!(mode & 0o022, 0, "{name}: {mode:o}");
    }
    let digests = std::fs::read_to_string(world.file("digests.toml")).expect("read");
    let expected = format!("\"disk.raw\" = \"sha256:{}\"", hex(&Sha256::digest(&disk)));
    assert!(digests.contains(&expected), "{digests}");
}

#[test]
fn a_cache_that_cannot_be_used() {
    let (world, _) = World::with_disk();
    std::fs::write(world.cache(), "a file").expect("written");
    world.fails(&[], &["cannot", world.images().to_str().expect("text"), "Not a directory"]);
}

#[test]
fn a_cache_that_cannot_be_read() {
    let (world, _) = World::with_disk();
    world.fetch(&[]).assert().success();
    let images = world.images();
    std::fs::set_permissions(&images, PermissionsExt::from_mode(0o000)).expect("set");
    let mut command = std::process::Command::new(PROGRAM);
    command.envs(world.environment()).args(["fetch", IMAGE]);
    if nix::unistd::geteuid().is_root() {
        // Root reads everything, so it is run as an ordinary user, from where one can reach it.
        use std::os::unix::process::CommandExt;
        let program = world.dir.path().join("forkproof-vm");
        std::fs::copy(PROGRAM, &program).expect("copied");
        open_to_all(world.dir.path());
        open_to_all(&world.cache());
        open_to_all(&world.cache().join("forkproof"));
        command = std::process::Command::new(program);
        command.envs(world.environment()).args(["fetch", IMAGE]).uid(65534).gid(65534);
    }
    let output = command.output().expect("run");
    std::fs::set_permissions(&images, PermissionsExt::from_mode(0o700)).expect("set");
    let stderr = String::from_utf8(output.stderr).expect("text");
    assert_eq!(output.status.code(), Some(3), "{stderr}");
    let expected = format!("forkproof: cannot read {}: Permission denied", images.display());
    assert!(stderr.starts_with(&expected), "{stderr}");
}

fn open_to_all(dir: &Path) {
    std::fs::set_permissions(dir, PermissionsExt::from_mode(0o755)).expect("set");
}
