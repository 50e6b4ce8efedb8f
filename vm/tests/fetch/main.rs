//! `forkproof vm fetch` against a publisher on loopback: what it brings, and every way in which it
//! may not.

mod server;

use std::io::{BufRead, BufReader, Write};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Stdio};
use std::time::{Duration, Instant};

use assert_cmd::Command;
use predicates::prelude::*;
use predicates::str::contains;
use rstest::rstest;
use sha2::{Digest, Sha256, Sha512};

use server::{Server, Step};

/// A publisher, a user with a cache and a description of what is published.
struct World {
    dir: tempfile::TempDir,
    server: Server,
}

const IMAGE: &str = "mine";
const PROGRAM: &str = env!("CARGO_BIN_EXE_forkproof-vm");

/// Long enough that pieces of it arrive apart.
const LENGTH: usize = 300 * 1024;
const CUT: usize = 100 * 1024;

impl World {
    /// Publishes `bytes` as `name`, with a right `SHA256SUMS`, and describes it.
    fn new(name: &str, format: &str, bytes: Vec<u8>) -> Self {
        let world =
            Self { dir: tempfile::tempdir().expect("a directory"), server: Server::start() };
        world.server.publish("SHA256SUMS", sums(name, &bytes).into_bytes());
        world.server.publish(name, bytes);
        world.describe(&[&world.server.url], name, format, ("SHA256SUMS", "sums"));
        world
    }

    /// A raw disk that is not compressed.
    fn with_disk() -> (Self, Vec<u8>) {
        let bytes = noise(LENGTH);
        (Self::new("disk.img", "raw", bytes.clone()), bytes)
    }

    fn describe(&self, locations: &[&str], file: &str, format: &str, checksums: (&str, &str)) {
        let text = format!(
            r#"id = "{IMAGE}"
title = "Mine"
note = "gone one day"
architecture = "x86_64"
kernel_bits = 64
userland_bits = 64
first_boot = "cloud-init"
memory = 512
cpus = 1
boot_limit = 60
run_limit = 60
[source.download]
locations = {locations:?}
files = ["{file}"]
format = "{format}"
verify = {{ checksums = {{ file = "{}", format = "{}" }} }}
"#,
            checksums.0, checksums.1
        );
        self.description(&text);
    }

    fn description(&self, text: &str) {
        let dir = self.dir.path().join("config/forkproof/images");
        std::fs::create_dir_all(&dir).expect("made");
        std::fs::write(dir.join(format!("{IMAGE}.toml")), text).expect("written");
    }

    fn cache(&self) -> PathBuf {
        self.dir.path().join("cache")
    }

    fn images(&self) -> PathBuf {
        self.cache().join("forkproof/images")
    }

    fn file(&self, name: &str) -> PathBuf {
        self.images().join(IMAGE).join(name)
    }

    fn environment(&self) -> [(&'static str, PathBuf); 3] {
        [
            ("HOME", self.dir.path().to_owned()),
            ("XDG_CACHE_HOME", self.cache()),
            ("XDG_CONFIG_HOME", self.dir.path().join("config")),
        ]
    }

    fn command(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new(PROGRAM);
        // What this machine believes is no part of the test.
        command.env_remove("SSL_CERT_FILE");
        command.envs(self.environment()).args(arguments).timeout(Duration::from_secs(120));
        command
    }

    fn fetch(&self, options: &[&str]) -> Command {
        let mut command = self.command(&["fetch", IMAGE]);
        command.args(options);
        command
    }

    /// In the background, with its standard error to read.
    fn spawn(&self) -> Child {
        std::process::Command::new(PROGRAM)
            .envs(self.environment())
            .args(["fetch", IMAGE])
            .stdout(Stdio::null())
            .stderr(Stdio::piped())
            .spawn()
            .expect("started")
    }

    /// What is in the image's directory, but for its lock.
    fn left(&self) -> Vec<String> {
        let Ok(entries) = std::fs::read_dir(self.images().join(IMAGE)) else { return Vec::new() };
        let mut names: Vec<String> = entries
            .map(|entry| entry.expect("an entry").file_name().to_string_lossy().into_owned())
            .filter(|name| name != "lock")
            .collect();
        names.sort();
        names
    }

    /// The one error line of a fetch that ends with 3.
    #[track_caller]
    fn fails(&self, options: &[&str], words: &[&str]) {
        let output = self.fetch(options).assert().code(3).get_output().stderr.clone();
        let stderr = String::from_utf8(output).expect("text");
        let errors: Vec<&str> =
            stderr.lines().filter(|line| line.starts_with("forkproof: ")).collect();
        assert_eq!(errors.len(), 1, "one line of error:\n{stderr}");
        for word in words {
            assert!(errors[0].contains(word), "`{word}` is not in: {}", errors[0]);
        }
    }
}

/// Bytes that neither compress nor repeat.
fn noise(length: usize) -> Vec<u8> {
    let mut state = 0x9e37_79b9_7f4a_7c15_u64;
    let next = || {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        state.to_le_bytes()[0]
    };
    std::iter::repeat_with(next).take(length).collect()
}

/// A qcow2 disk, as far as its header goes.
fn qcow2() -> Vec<u8> {
    let mut bytes = vec![0; 72];
    bytes[..8].copy_from_slice(b"QFI\xfb\0\0\0\x02");
    bytes.extend(noise(LENGTH - 72));
    bytes
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

fn sums(name: &str, bytes: &[u8]) -> String {
    format!("{}  other.img\n{} *{name}\n", "0".repeat(64), hex(&Sha256::digest(bytes)))
}

fn xz(bytes: &[u8]) -> Vec<u8> {
    let options = lzma_rust2::XzOptions::with_preset(0);
    let mut writer = lzma_rust2::XzWriter::new(Vec::new(), options).expect("a writer");
    writer.write_all(bytes).expect("compressed");
    writer.finish().expect("finished")
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

fn seven_z(members: &[(&str, &[u8])]) -> Vec<u8> {
    let mut archive =
        sevenz_rust2::ArchiveWriter::new(std::io::Cursor::new(Vec::new())).expect("a writer");
    for (name, bytes) in members {
        let entry = sevenz_rust2::ArchiveEntry::new_file(name);
        archive.push_archive_entry(entry, Some(*bytes)).expect("appended");
    }
    archive.finish().expect("finished").into_inner()
}

/// Waits for a condition of another process.
#[track_caller]
fn until(what: &str, mut condition: impl FnMut() -> bool) {
    let deadline = Instant::now() + Duration::from_secs(60);
    while !condition() {
        assert!(Instant::now() < deadline, "not within 60 s: {what}");
        std::thread::sleep(Duration::from_millis(10));
    }
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

#[rstest]
#[case::sha512_sums(format!("{}  disk.img\n", hex(&Sha512::digest(noise(LENGTH)))), "sums")]
#[case::bsd_sha256(format!("SHA256 (disk.img) = {}\n", hex(&Sha256::digest(noise(LENGTH)))), "bsd-tag")]
#[case::bsd_sha512(format!("SHA512 (disk.img) = {}\n", hex(&Sha512::digest(noise(LENGTH)))), "bsd-tag")]
fn each_kind_of_checksums_is_read(#[case] text: String, #[case] format: &str) {
    let (world, disk) = World::with_disk();
    world.server.publish("SUMS", text.into_bytes());
    world.describe(&[&world.server.url], "dis*.img", "raw", ("SUMS", format));
    world.fetch(&[]).assert().success();
    assert!(std::fs::read(world.file("disk.raw")).expect("the disk") == disk);
}

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
    assert!(requests[1].headers.contains_key("if-range"), "{:?}", requests[1]);
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
fn if_range_gets_the_whole_of_another_version() {
    let (world, disk) = World::with_disk();
    world.server.next("disk.img", Step::CutAfter(CUT));
    world.fails(&["--retries", "0"], &["kept"]);
    // The same digest and another ETag: the server cannot know that it is the same.
    world.server.publish("disk.img", disk.clone());
    world.fetch(&[]).assert().success();
    let last = world.server.requests("disk.img").pop().expect("a request");
    assert_eq!((last.headers.contains_key("range"), last.sent), (true, LENGTH));
    assert!(std::fs::read(world.file("disk.raw")).expect("the disk") == disk);
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
#[case::renamed(
    sums("disk-2.img", b"x"), "disk.img",
    &["SHA256SUMS names no file `disk.img`; it names other.img, disk-2.img"]
)]
#[case::several(
    sums("disk-1.img", b"x") + &sums("disk-2.img", b"x"), "disk-*.img",
    &["more than one file `disk-*.img`: disk-1.img, disk-2.img"]
)]
#[case::a_page(
    "<html>\n<title>Log in to this network".to_owned(), "disk.img",
    &["no file of checksums", "<html> <title>Log in"]
)]
#[case::empty(String::new(), "disk.img", &["no file of checksums"])]
fn checksums_that_do_not_help(#[case] text: String, #[case] pattern: &str, #[case] words: &[&str]) {
    let (world, _) = World::with_disk();
    world.server.publish("SHA256SUMS", text.into_bytes());
    world.describe(&[&world.server.url], pattern, "raw", ("SHA256SUMS", "sums"));
    world.fails(&[], words);
    assert_eq!(world.server.requests("disk.img").len(), 0, "nothing is downloaded unverifiable");
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

fn pax_sparse() -> Vec<u8> {
    let mut builder = tar::Builder::new(Vec::new());
    builder.append_pax_extensions([("GNU.sparse.major", b"1".as_slice())]).expect("appended");
    let mut header = tar::Header::new_ustar();
    header.set_size(512);
    builder.append_data(&mut header, "disk.raw", [1_u8; 512].as_slice()).expect("appended");
    builder.into_inner().expect("finished")
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
#[case::pax_sparse("tar.xz", xz(&pax_sparse()), &["pax's sparse format"])]
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

#[rstest]
#[case::absent("404 Not Found", None, &["HTTP status 404 Not Found"])]
#[case::broken("500 Internal Server Error", None, &["HTTP status 500"])]
#[case::no_location("302 Found", None, &["302", "Location"])]
#[case::another_scheme("302 Found", Some("Location: ftp://127.0.0.1/x\r\n"), &["only https"])]
fn errors_of_http(
    #[case] status: &'static str,
    #[case] header: Option<&str>,
    #[case] words: &[&str],
    #[values("SHA256SUMS", "disk.img")] path: &str,
) {
    let (world, _) = World::with_disk();
    world.server.next(path, Step::Status(status, header.map(str::to_owned)));
    let output = world.fetch(&["--retries", "0"]).assert().failure().get_output().clone();
    let stderr = String::from_utf8(output.stderr).expect("text");
    assert_eq!(output.status.code(), Some(3), "{stderr}");
    for word in words {
        assert!(stderr.contains(word), "{stderr}");
    }
    assert_eq!(world.left(), <[&str; 0]>::default());
}

#[test]
fn plain_http_elsewhere_is_refused_by_redirect_too() {
    let (world, _) = World::with_disk();
    // 192.0.2.0/24 is for documentation (RFC 5737): asking it would take until the limit.
    let location = "Location: http://192.0.2.1/SHA256SUMS\r\n".to_owned();
    world.server.next("SHA256SUMS", Step::Status("302 Found", Some(location)));
    world.fails(&[], &["http://192.0.2.1/SHA256SUMS: refused", "redirects there", "plain HTTP"]);
}

#[test]
fn a_redirect_is_followed() {
    let (world, disk) = World::with_disk();
    world.server.publish("mirror/disk.img", disk.clone());
    let location = "Location: mirror/disk.img\r\n".to_owned();
    world.server.next("disk.img", Step::Status("307 Temporary Redirect", Some(location)));
    world.fetch(&[]).assert().success();
    assert!(std::fs::read(world.file("disk.raw")).expect("the disk") == disk);
}

#[test]
fn redirects_that_never_end() {
    let (world, _) = World::with_disk();
    for _ in 0..20 {
        let location = "Location: /SHA256SUMS\r\n".to_owned();
        world.server.next("SHA256SUMS", Step::Status("302 Found", Some(location)));
    }
    world.fails(&["--retries", "0"], &["more than 8 redirects"]);
}

/// As [`World::with_disk`], from a server with TLS; and the file of its certificate.
fn world_with_tls() -> (World, PathBuf) {
    let (mut world, disk) = World::with_disk();
    let (server, certificate) = Server::start_tls();
    server.publish("SHA256SUMS", sums("disk.img", &disk).into_bytes());
    server.publish("disk.img", disk);
    world.server = server;
    world.describe(&[&world.server.url], "disk.img", "raw", ("SHA256SUMS", "sums"));
    let file = world.dir.path().join("authority.pem");
    std::fs::write(&file, certificate).expect("written");
    (world, file)
}

#[test]
fn tls_with_an_authority_of_the_users_own() {
    let (world, authority) = world_with_tls();
    world.fetch(&[]).env("SSL_CERT_FILE", authority).assert().success();
    assert!(std::fs::read(world.file("disk.raw")).expect("the disk") == noise(LENGTH));
}

#[test]
fn tls_with_an_unknown_authority() {
    let (world, _) = world_with_tls();
    world
        .fails(&["--retries", "0"], &["unavailable", "SHA256SUMS", "certificate", "UnknownIssuer"]);
    assert_eq!(world.server.requests("SHA256SUMS").len(), 0);
}

#[test]
fn an_authority_that_is_none() {
    let (world, authority) = world_with_tls();
    std::fs::write(&authority, "nothing").expect("written");
    let authority = authority.to_str().expect("text");
    let expected = contains(authority).and(contains("there is no certificate in it"));
    world.fetch(&["--ca-file", authority]).assert().code(2).stderr(expected);
}

#[test]
fn https_is_not_left_for_http() {
    let (world, authority) = world_with_tls();
    let plain = Server::start();
    plain.publish("disk.img", noise(LENGTH));
    let location = format!("Location: {}disk.img\r\n", plain.url);
    world.server.next("disk.img", Step::Status("302 Found", Some(location)));
    let options = ["--ca-file", authority.to_str().expect("text")];
    world.fails(&options, &["disk.img: refused", "HTTPS is not left"]);
    assert_eq!(plain.requests("disk.img").len(), 0);
}

#[test]
fn nobody_listens() {
    let (world, _) = World::with_disk();
    let port = std::net::TcpListener::bind("127.0.0.1:0").expect("a port").local_addr();
    let url = format!("http://{}/", port.expect("an address"));
    world.describe(&[&url], "disk.img", "raw", ("SHA256SUMS", "sums"));
    world.fails(&["--retries", "0"], &["unavailable", &url, "refused"]);
}

#[test]
fn the_next_location_is_tried() {
    let (world, disk) = World::with_disk();
    let gone = format!("{}gone/", world.server.url);
    world.describe(&[&gone, &world.server.url], "disk.img", "raw", ("SHA256SUMS", "sums"));
    world.fetch(&[]).assert().success();
    assert!(std::fs::read(world.file("disk.raw")).expect("the disk") == disk);
}

#[test]
fn all_locations_are_told_when_none_has_it() {
    let (world, _) = World::with_disk();
    let (a, b) = (format!("{}a/", world.server.url), format!("{}b/", world.server.url));
    world.describe(&[&a, &b], "disk.img", "raw", ("SHA256SUMS", "sums"));
    world.fails(&[], &["/a/SHA256SUMS: HTTP status 404", "/b/SHA256SUMS: HTTP status 404"]);
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

fn part_length(world: &World) -> usize {
    let metadata = world.file("download.part").metadata();
    metadata.map_or(0, |metadata| usize::try_from(metadata.len()).expect("small"))
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

#[rstest]
#[case::nearest("debian-12-tny", "no image `debian-12-tny`: did you mean `debian-12-tiny`")]
#[case::nothing_near("zzz", "no image `zzz`: `forkproof vm images` shows them all")]
#[case::built("debian-12-tiny", "built here: `forkproof vm build debian-12-tiny`")]
fn images_that_cannot_be_fetched(#[case] id: &str, #[case] words: &str) {
    let (world, _) = World::with_disk();
    world.command(&["fetch", id]).assert().code(2).stderr(contains(words));
}

#[test]
fn a_wrong_name_is_told_before_anything_is_downloaded() {
    let (world, _) = World::with_disk();
    world.command(&["fetch", IMAGE, "zzz"]).assert().code(2);
    assert_eq!(world.server.requests("SHA256SUMS").len(), 0);
}

#[test]
fn the_others_are_fetched_although_one_fails() {
    let (world, _) = World::with_disk();
    let gone = world.dir.path().join("config/forkproof/images").join("gone.toml");
    let text = std::fs::read_to_string(gone.with_file_name("mine.toml")).expect("read");
    let text = text.replace("\"mine\"", "\"gone\"").replace("SHA256SUMS", "no");
    std::fs::write(gone, text).expect("written");
    world
        .command(&["fetch", "gone", IMAGE])
        .assert()
        .code(3)
        .stderr(contains("image `gone` is unavailable"))
        .stdout(contains("disk.raw"));
}

#[rstest]
#[case::unknown_field("memroy = 512\n", ":1: unknown field `memroy`")]
#[case::no_toml("memory = = 1\n", ":1: ")]
#[case::another_id("", "name the file `other.toml`")]
fn a_description_that_is_wrong(#[case] before: &str, #[case] words: &str) {
    let (world, _) = World::with_disk();
    let path = world.dir.path().join("config/forkproof/images/mine.toml");
    let mut text = std::fs::read_to_string(&path).expect("read");
    if before.is_empty() {
        text = text.replace("id = \"mine\"", "id = \"other\"");
    }
    world.description(&format!("{before}{text}"));
    for command in [["images", "--json"], ["fetch", IMAGE]] {
        let expected = contains(words).and(contains(path.to_str().expect("text")));
        world.command(&command).assert().code(2).stderr(expected);
    }
}

/// A full disk is a small one, in a mount namespace that ends with the command.
#[cfg(target_os = "linux")]
#[rstest]
#[case::downloading("raw", noise(2 << 20), "removed", &[])]
#[case::unpacking("raw.xz", xz(&vec![1; 3 << 20]), "kept in", &["download.part", "download.toml"])]
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
