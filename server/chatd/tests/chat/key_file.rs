//! The key file.

use std::fs;
use std::io::Write;
use std::os::unix::fs::PermissionsExt;

use predicates::prelude::*;
use predicates::str::{contains, is_empty};
use rstest::rstest;

use super::common::KEY;
use super::home::{Home, run};
use super::server::{Server, reference};

fn key_and(more: &[u8]) -> Vec<u8> {
    [&KEY, more].concat()
}

#[rstest]
#[case::empty(vec![], "0 bytes, a key is exactly 128:")]
#[case::short(vec![b'k'; 127], "127 bytes, a key is exactly 128:")]
#[case::newline(key_and(b"\n"), "129 bytes, the key and a newline")]
#[case::dos_newline(key_and(b"\r\n"), "130 bytes, the key and a newline")]
#[case::long(key_and(b"k"), "129 bytes, a key is exactly 128:")]
#[case::other_file(vec![b'k'; 100_000], "65536 bytes or more: this is no key file")]
fn is_128_bytes(#[case] content: Vec<u8>, #[case] message: &str) {
    let home = Home::new();
    home.write("key", &content);
    let file = home.path("key").display().to_string();
    let fix = contains("printf %s").or(contains("65536"));
    run(home.chat(1))
        .assert()
        .code(2)
        .stderr(contains(format!("chat: key file {file}: ")).and(contains(message)).and(fix))
        .stderr(contains("kkkk").not())
        .stdout(is_empty());
}

#[test]
fn must_be_there() {
    let home = Home::new();
    fs::remove_file(home.path("key")).unwrap();
    run(home.chat(1))
        .assert()
        .code(2)
        .stderr(contains("cannot be read: No such file or directory; name the right one"));
}

#[test]
fn must_be_a_file() {
    let home = Home::new();
    fs::remove_file(home.path("key")).unwrap();
    fs::create_dir(home.path("key")).unwrap();
    run(home.chat(1)).assert().code(2).stderr(contains("cannot be read: Is a directory"));
}

#[rstest]
#[case::private(0o600, false)]
#[case::read_only(0o400, false)]
#[case::group(0o640, true)]
#[case::world(0o604, true)]
#[case::written_by_the_world(0o602, true)]
fn others_should_not_read_it(#[case] mode: u32, #[case] warned: bool) {
    let home = Home::new();
    fs::set_permissions(home.path("key"), fs::Permissions::from_mode(mode)).unwrap();
    let server = reference(b"");
    let assert = run(home.chat(server.port)).write_stdin("hi\n").assert().success();
    match warned {
        true => assert.stderr(contains(format!("mode {mode:04o} gives other users access"))),
        false => assert.stderr(is_empty()),
    };
    server.join();
}

/// As by a shell's `<(…)`.
#[test]
fn may_be_a_pipe() {
    let home = Home::new();
    let server = Server::start(|mut stream| stream.write_all(b"bob: hi\n").unwrap());
    let mut chat = home.plain();
    chat.args(["--host", "127.0.0.1", "--port", &server.port.to_string()]);
    chat.args(["--listen", "--key-file", "/dev/stdin"]);
    run(chat).write_stdin(KEY).assert().code(5).stdout("bob: hi\n");
    server.join();
}
