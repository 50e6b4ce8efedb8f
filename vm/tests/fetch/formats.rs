//! From what is published to a disk.

use std::io::Write;
use std::os::unix::fs::PermissionsExt;
use std::process::{Command, Stdio};

use predicates::prelude::*;
use predicates::str::contains;
use rstest::rstest;

use crate::world::{IMAGE, LENGTH, World, noise, qcow2};

/// What the program itself would read them with, asked to write them.
fn through(program: &str, arguments: &[&str], input: &[u8]) -> Vec<u8> {
    let mut child = Command::new(program)
        .args(arguments)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap_or_else(|error| panic!("{program}: {error}"));
    let mut to = child.stdin.take().expect("piped");
    let input = input.to_vec();
    let writer = std::thread::spawn(move || to.write_all(&input));
    let output = child.wait_with_output().expect("waited for");
    assert!(output.status.success(), "{program}: {output:?}");
    writer.join().expect("joined").expect("written");
    output.stdout
}

fn xz(bytes: &[u8]) -> Vec<u8> {
    through("xz", &["--stdout", "-0"], bytes)
}

fn tar(members: &[(&str, &[u8])]) -> Vec<u8> {
    let mut builder = tar::Builder::new(Vec::new());
    for (name, bytes) in members {
        let mut header = tar::Header::new_gnu();
        // `set_path` refuses what is tested here.
        header.as_old_mut().name[..name.len()].copy_from_slice(name.as_bytes());
        header.set_size(bytes.len() as u64);
        header.set_mode(0o644);
        header.set_cksum();
        builder.append(&header, *bytes).expect("appended");
    }
    builder.into_inner().expect("finished")
}

/// By way of a tar, whose members may have any name.
fn seven_z(members: &[(&str, &[u8])]) -> Vec<u8> {
    through("bsdtar", &["-P", "--format", "7zip", "-cf", "-", "@-"], &tar(members))
}

#[rstest]
#[case::raw("disk.img", "raw", noise(LENGTH), noise(LENGTH), "disk.raw")]
#[case::qcow2("disk.img", "qcow2", qcow2(), qcow2(), "disk.qcow2")]
#[case::raw_xz("d.raw.xz", "raw.xz", xz(&noise(LENGTH)), noise(LENGTH), "disk.raw")]
#[case::qcow2_xz("d.qcow2.xz", "qcow2.xz", xz(&qcow2()), qcow2(), "disk.qcow2")]
#[case::two_xz_streams(
    "d.raw.xz", "raw.xz",
    [xz(&noise(LENGTH)[..512]), xz(&noise(LENGTH)[512..])].concat(), noise(LENGTH), "disk.raw"
)]
#[case::tar_with_raw(
    "d.tar.xz", "tar.xz",
    xz(&tar(&[("README", b"read me"), ("./disk.raw", &noise(LENGTH))])), noise(LENGTH), "disk.raw"
)]
#[case::tar_with_qcow2(
    "d.tar.xz", "tar.xz",
    xz(&tar(&[("images/disk.qcow2", &qcow2()), ("images/README", b"read me")])), qcow2(),
    "disk.qcow2"
)]
#[case::seven_z(
    "d.7z", "7z",
    seven_z(&[("k/README", b"read me"), ("k/disk.qcow2", &qcow2())]), qcow2(), "disk.qcow2"
)]
fn each_format_becomes_a_disk(
    #[case] name: &str,
    #[case] format: &str,
    #[case] published: Vec<u8>,
    #[case] disk: Vec<u8>,
    #[case] disk_name: &str,
) {
    let bytes = published.len();
    let world = World::new(name, format, published);
    let path = world.file(disk_name);
    world.fetch(&[]).assert().success().stdout(contains(path.to_str().expect("text")));
    assert!(std::fs::read(&path).expect("the disk") == disk, "the disk is another");
    assert_eq!(world.left(), [disk_name]);
    for dir in [world.images(), world.images().join(IMAGE)] {
        let mode = dir.metadata().expect("there").permissions().mode();
        assert_eq!(mode & 0o777, 0o700, "{}", dir.display());
    }
    let records = std::fs::read_to_string(world.images().join("lock.toml")).expect("records");
    for words in [
        format!("[images.{IMAGE}]"),
        format!("url = \"{}{name}\"", world.server.url),
        "digest = \"sha256:".to_owned(),
        format!("bytes = {bytes}"),
    ] {
        assert!(records.contains(&words), "`{words}` is not in:\n{records}");
    }

    world.fetch(&[]).assert().success();
    assert_eq!(world.server.requests("SHA256SUMS").len(), 1, "it is here: nobody is asked");
    world.command(&["images"]).assert().success().stdout(
        predicate::str::is_match(format!(r"(?m)^{IMAGE} +Mine +64/64 bits +download +\d.*B$"))
            .expect("a pattern"),
    );
    let listed = world.command(&["images", "--json"]).assert().success().get_output().clone();
    let listed: serde_json::Value = serde_json::from_slice(&listed.stdout).expect("JSON");
    let mine = listed.as_array().expect("a list").iter().find(|image| image["id"] == IMAGE);
    assert_eq!(mine.expect("listed")["cached"], true);
}

fn flipped(mut bytes: Vec<u8>) -> Vec<u8> {
    let middle = bytes.len() / 2;
    bytes[middle] ^= 0x55;
    bytes
}

/// The disk comes out right, and the compressed file's own last check fails.
fn wrong_end(mut bytes: Vec<u8>) -> Vec<u8> {
    let last = bytes.len() - 1;
    bytes[last] ^= 0x55;
    bytes
}

fn halved(mut bytes: Vec<u8>) -> Vec<u8> {
    bytes.truncate(bytes.len() / 2);
    bytes
}

#[rstest]
#[case::xz_flipped("raw.xz", flipped(xz(&noise(LENGTH))), &["damaged"])]
#[case::xz_halved("raw.xz", halved(xz(&noise(LENGTH))), &["damaged"])]
#[case::xz_with_a_wrong_end("raw.xz", wrong_end(xz(&noise(LENGTH))), &["damaged"])]
#[case::tar_with_a_wrong_end(
    "tar.xz", wrong_end(xz(&tar(&[("d.raw", &noise(LENGTH))]))), &["damaged"]
)]
#[case::not_xz("raw.xz", noise(LENGTH), &["damaged"])]
#[case::tar_flipped("tar.xz", flipped(xz(&tar(&[("d.raw", &noise(LENGTH))]))), &["damaged"])]
#[case::seven_z_flipped("7z", flipped(seven_z(&[("d.raw", &noise(LENGTH))])), &["damaged"])]
#[case::seven_z_halved("7z", halved(seven_z(&[("d.raw", &noise(LENGTH))])), &["damaged"])]
#[case::two_disks(
    "tar.xz", xz(&tar(&[("a.raw", &[1; 512]), ("b.qcow2", &qcow2())])),
    &["two disks", "a.raw", "b.qcow2"]
)]
#[case::two_disks_in_7z(
    "7z", seven_z(&[("a.raw", &[1; 512]), ("b.raw", &[1; 512])]), &["two disks", "a.raw", "b.raw"]
)]
#[case::no_disk("tar.xz", xz(&tar(&[("README", b"x"), ("d.vmdk", b"x")])), &["no disk", "README, d.vmdk"])]
#[case::empty_tar("tar.xz", xz(&tar(&[])), &["no disk", "nothing"])]
#[case::leads_out("tar.xz", xz(&tar(&[("../evil.raw", &[1; 512])])), &["`../evil.raw`, outside"])]
#[case::absolute("tar.xz", xz(&tar(&[("/evil.raw", &[1; 512])])), &["`/evil.raw`, outside"])]
#[case::leads_out_beside_a_disk(
    "tar.xz", xz(&tar(&[("d.raw", &[1; 512]), ("../evil", b"x")])), &["`../evil`, outside"]
)]
#[case::leads_out_of_7z("7z", seven_z(&[("../evil.raw", &[1; 512])]), &["`../evil.raw`, outside"])]
#[case::no_qcow2("qcow2", noise(LENGTH), &["does not begin as a qcow2"])]
#[case::no_qcow2_in_xz("qcow2.xz", xz(&noise(LENGTH)), &["does not begin as a qcow2"])]
#[case::qcow2_as_raw("raw", qcow2(), &["not a raw one"])]
#[case::no_sectors("raw", noise(1000), &["whole sectors"])]
fn what_cannot_be_used_leaves_nothing(
    #[case] format: &str,
    #[case] bytes: Vec<u8>,
    #[case] words: &[&str],
) {
    let world = World::new("published", format, bytes);
    let url = format!("{}published is damaged or unusable", world.server.url);
    world.fails(&[], &[words, &[&url]].concat());
    assert_eq!(world.left(), <[&str; 0]>::default());
    assert!(!world.dir.path().join("evil.raw").exists() && !world.images().join("evil").exists());
}

/// What tar(1) condenses, a disk with holes, is written out whole.
#[test]
fn a_sparse_member_is_the_whole_disk() {
    let dir = tempfile::tempdir().expect("a directory");
    let mut disk = noise(4096);
    disk.resize(LENGTH * 2, 0);
    disk.extend(noise(4096));
    let path = dir.path().join("disk.raw");
    let file = std::fs::File::create(&path).expect("made");
    std::os::unix::fs::FileExt::write_all_at(&file, &disk[..4096], 0).expect("written");
    let end = disk.len() - 4096;
    std::os::unix::fs::FileExt::write_all_at(&file, &disk[end..], end as u64).expect("written");
    let arguments = ["--sparse", "--format=pax", "-cf", "-", "-C"];
    let archive = Command::new("tar").args(arguments).arg(dir.path()).arg("disk.raw").output();
    let archive = archive.expect("tar");
    if !archive.status.success() {
        eprintln!("skipped: it takes GNU's tar");
        return;
    }
    assert!(archive.stdout.windows(11).any(|bytes| bytes == b"GNU.sparse."), "it is condensed");
    let world = World::new("d.tar.xz", "tar.xz", xz(&archive.stdout));
    world.fetch(&[]).assert().success();
    assert!(std::fs::read(world.file("disk.raw")).expect("the disk") == disk);
}
