//! What a publisher may answer, and what is asked of it.

use predicates::prelude::*;
use predicates::str::contains;
use rstest::rstest;
use sha2::{Digest, Sha256, Sha512};

use crate::server::Step;
use crate::world::{LENGTH, World, hex, noise, sums};

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
#[case::too_large("x".repeat(5 << 20), "disk.img", &["larger than it may be"])]
fn checksums_that_do_not_help(#[case] text: String, #[case] pattern: &str, #[case] words: &[&str]) {
    let (world, _) = World::with_disk();
    world.server.publish("SHA256SUMS", text.into_bytes());
    world.describe(&[&world.server.url], pattern, "raw", ("SHA256SUMS", "sums"));
    world.fails(&[], words);
    assert_eq!(world.server.requests("disk.img").len(), 0, "nothing is downloaded unverifiable");
}

#[rstest]
#[case::absent("404 Not Found", None, &["HTTP status 404"])]
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

#[test]
fn nobody_listens() {
    let (world, _) = World::with_disk();
    let port = std::net::TcpListener::bind("127.0.0.1:0").expect("a port").local_addr();
    let url = format!("http://{}/", port.expect("an address"));
    world.describe(&[&url], "disk.img", "raw", ("SHA256SUMS", "sums"));
    world.fails(&["--retries", "0"], &["unavailable", &url, "connect to 127.0.0.1"]);
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

/// The publisher of [`World::with_disk`], said to speak HTTPS.
fn world_of_https() -> World {
    let (world, _) = World::with_disk();
    let url = world.server.url.replace("http://", "https://");
    world.describe(&[&url], "disk.img", "raw", ("SHA256SUMS", "sums"));
    world
}

#[test]
fn https_is_left_for_http_neither_by_itself() {
    let world = world_of_https();
    world.fails(&["--retries", "0"], &["unavailable", "https://", "SHA256SUMS"]);
    assert_eq!(world.server.requests("SHA256SUMS").len(), 0);
}

/// What curl is told, and what it says.
#[test]
fn nor_by_a_redirect() {
    let world = world_of_https();
    let target = format!("{}SHA256SUMS", world.server.url);
    world.script("curl", &format!("printf '\\n302 {target}'; exit 47"));
    let refused = format!("{target}: refused");
    world.fails(&["--retries", "0"], &[&refused, "HTTPS is not left"]);
    assert_eq!(world.server.requests("SHA256SUMS").len(), 0);
}

#[test]
fn authorities_of_the_users_own_and_one_that_is_unknown() {
    let world = world_of_https();
    world.script(
        "curl",
        r#"printf '%s\n' "$@" > "$HOME/arguments"; printf '\n000 '
        echo 'curl: (60) SSL certificate problem: self-signed certificate' >&2; exit 60"#,
    );
    let expected = contains("unavailable").and(contains(": SSL certificate problem: self-signed"));
    world
        .fetch(&["--retries", "0"])
        .env("SSL_CERT_FILE", "/my/authority.pem")
        .assert()
        .code(3)
        .stderr(expected);
    let arguments = std::fs::read_to_string(world.dir.path().join("arguments")).expect("read");
    assert!(arguments.starts_with("--disable\n"), "{arguments}");
    for words in ["\n--proto\n=https\n", "\n--cacert\n/my/authority.pem\n", "\n--\nhttps://"] {
        assert!(arguments.contains(words), "{arguments}");
    }
}

#[test]
fn an_authority_that_is_none() {
    let world = world_of_https();
    let authority = world.dir.path().join("authority.pem");
    std::fs::write(&authority, "nothing").expect("written");
    let authority = authority.to_str().expect("text");
    let expected = contains(format!("forkproof: {authority}: "));
    world.fetch(&["--ca-file", authority]).assert().code(2).stderr(expected);
}

/// Neither curl's own settings nor a proxy come between this host and itself.
#[test]
fn curl_is_used_without_its_settings() {
    let (world, _) = World::with_disk();
    std::fs::write(world.dir.path().join(".curlrc"), "url = http://192.0.2.1/\nmax-filesize = 1\n")
        .expect("written");
    world.fetch(&[]).env("http_proxy", "http://192.0.2.1:1/").assert().success();
}

#[rstest]
#[case::curl("curl", "raw")]
#[case::xz("xz", "raw.xz")]
#[case::bsdtar("bsdtar", "7z")]
fn a_missing_tool_is_named_with_its_package(#[case] tool: &str, #[case] format: &str) {
    let world = World::new("published", format, noise(LENGTH));
    for name in ["curl", "xz", "bsdtar"].into_iter().filter(|name| *name != tool) {
        world.script(name, &format!("PATH=/usr/local/bin:/usr/bin:/bin exec {name} \"$@\""));
    }
    let path = world.dir.path().join("bin");
    std::fs::create_dir_all(&path).expect("made");
    let expected = contains(format!("forkproof: `{tool}` is not installed: "));
    world.fetch(&[]).env("PATH", path).assert().code(3).stderr(expected);
}
