//! Connecting.

use predicates::str::contains;
use rstest::rstest;

use super::home::{Home, run};
use super::server::{Server, dead_port, echo, reference};

#[test]
fn to_a_port_where_nobody_listens() {
    let home = Home::new();
    let port = dead_port();
    run(home.chat(port)).assert().code(3).stderr(format!(
        "chat: cannot connect to 127.0.0.1 port {port}: 127.0.0.1:{port}: Connection refused\n"
    ));
}

#[test]
fn to_a_name_that_is_none() {
    let home = Home::new();
    let mut chat = home.plain();
    chat.args(["--host", "no..host", "--key-file"]).arg(home.path("key"));
    run(chat).assert().code(3).stderr(contains("cannot connect to no..host port 7722: "));
}

#[test]
fn to_localhost_finds_the_address_that_is_served() {
    let home = Home::new();
    let server = reference(b"");
    let mut chat = home.plain();
    chat.args(["--host", "localhost", "--port", &server.port.to_string()])
        .arg("--key-file")
        .arg(home.path("key"));
    run(chat).write_stdin("hi\n").assert().success();
    server.join();
}

#[rstest]
fn over_ipv6(#[values("::1", "[::1]")] host: &str) {
    let home = Home::new();
    let server = match Server::start_on("::1", |stream| echo(stream, b"")) {
        Ok(server) => server,
        Err(error) => {
            eprintln!("not tested, this machine has no ::1: {error}");
            return;
        }
    };
    let mut chat = home.plain();
    chat.args(["--host", host, "--port", &server.port.to_string()])
        .arg("--key-file")
        .arg(home.path("key"));
    run(chat).write_stdin("hi\n").assert().success();
    assert_eq!(server.join(), b"tester: hi\n");
}
