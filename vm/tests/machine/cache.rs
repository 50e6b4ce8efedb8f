//! A cache that is not what it was, or that others can change.

use std::fs::Permissions;
use std::os::unix::fs::{PermissionsExt, chown, symlink};
use std::path::Path;

use rstest::rstest;

use crate::world::World;

/// Refused before the machine is made, in one line.
#[track_caller]
fn refused(world: &World, words: &str) {
    let ended = world.run(&[]);
    assert!(world.emulator().is_none(), "it was booted: {ended:?}");
    assert_eq!(ended.status, Some(3), "{ended:?}");
    assert_eq!(ended.errors.len(), 1, "{ended:?}");
    assert!(ended.errors[0].contains(words), "{ended:?}");
}

#[rstest]
#[case::changed(vec![1; 4096])]
#[case::longer(vec![0; 8192])]
fn a_disk_that_is_not_what_came_here(#[case] bytes: Vec<u8>) {
    let world = World::new("started; result 0 conformant");
    let disk = world.cached().join("disk.raw");
    std::fs::write(&disk, bytes).expect("written");
    refused(
        &world,
        &format!("image `mine`: {} is damaged or unusable: its digest is sha2", disk.display()),
    );
}

#[test]
fn a_disk_without_a_digest_is_not_there() {
    let world = World::new("started; result 0 conformant");
    std::fs::remove_file(world.cached().join("digests.toml")).expect("removed");
    let ended = world.run(&["--offline"]);
    assert_eq!(ended.status, Some(3), "{ended:?}");
    assert!(ended.errors[0].contains("image `mine` is not in the cache"), "{ended:?}");
}

#[rstest]
#[case::the_cache("", 0o777)]
#[case::the_cache_of_a_group("", 0o770)]
#[case::the_image("mine", 0o702)]
#[case::the_disk("mine/disk.raw", 0o666)]
#[case::the_disk_of_a_group("mine/disk.raw", 0o660)]
#[case::the_digests("mine/digests.toml", 0o622)]
fn what_others_can_write(#[case] name: &str, #[case] mode: u32) {
    let world = World::new("started; result 0 conformant");
    let path = world.images().join(name);
    let path = path.components().as_path();
    std::fs::set_permissions(path, Permissions::from_mode(mode)).expect("set");
    let path = path.display();
    refused(
        &world,
        &format!(
            "forkproof: the cache cannot be trusted: {path}: others may write to it (mode {mode:04o}): \
             remove it, or, if you trust what is there, `chmod go-w {path}`"
        ),
    );
}

#[rstest]
#[case::the_cache("")]
#[case::the_image("mine")]
#[case::the_disk("mine/disk.raw")]
#[case::the_digests("mine/digests.toml")]
fn what_is_a_link(#[case] name: &str) {
    let world = World::new("started; result 0 conformant");
    let path = world.images().join(name);
    let path = path.components().as_path();
    let elsewhere = world.dir.path().join("elsewhere");
    std::fs::rename(path, &elsewhere).expect("moved");
    symlink(&elsewhere, path).expect("linked");
    refused(&world, &format!("{}: it is a symbolic link", path.display()));
}

#[rstest]
#[case::the_cache("")]
#[case::the_image("mine")]
#[case::the_disk("mine/disk.raw")]
fn what_belongs_to_another(#[case] name: &str) {
    if !nix::unistd::geteuid().is_root() {
        eprintln!("skipped: only root can give files away");
        return;
    }
    let world = World::new("started; result 0 conformant");
    let path = world.images().join(name);
    let path: &Path = path.components().as_path();
    chown(path, Some(65534), None).expect("given away");
    refused(&world, &format!("{}: it belongs to user 65534", path.display()));
}
