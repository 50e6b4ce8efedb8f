//! Arguments, the environment and the configuration file.

use std::fs;

use predicates::prelude::*;
use predicates::str::{contains, is_empty, is_match};
use rstest::rstest;

use super::common::KEY;
use super::home::{Home, run};
use super::server::{dead_port, reference};

#[test]
fn help_tells_the_exit_statuses_and_the_environment() {
    let home = Home::new();
    let mut help = home.plain();
    help.arg("--help");
    run(help)
        .assert()
        .success()
        .stdout(is_match(r"(?m)^  2    wrong arguments").unwrap())
        .stdout(is_match(r"(?m)^  130  Ctrl-C").unwrap())
        .stdout(contains("CHAT_KEY_FILE"))
        .stderr(is_empty());
}

#[test]
fn version_is_told() {
    let home = Home::new();
    let mut version = home.plain();
    version.arg("--version");
    run(version).assert().success().stdout(format!("chat {}\n", env!("CARGO_PKG_VERSION")));
}

#[rstest]
#[case::port_zero(&["--port", "0"], "a port is a number from 1 to 65535")]
#[case::port_too_high(&["--port", "65536"], "a port is a number from 1 to 65535")]
#[case::empty_name(&["--username", ""], "a username is not empty")]
#[case::two_lines(&["--username", "a\nb"], "no line breaks")]
#[case::no_time(&["--timeout", "0"], "number of seconds above 0")]
#[case::listen_and_print(&["--listen", "--print"], "cannot be used with")]
#[case::misspelt(&["--usrname", "x"], "--username")]
fn wrong_arguments(#[case] arguments: &[&str], #[case] message: &str) {
    let home = Home::new();
    let mut chat = home.plain();
    chat.args(arguments);
    run(chat).assert().code(2).stderr(contains(message)).stdout(is_empty());
}

#[test]
fn a_wrong_value_of_the_environment_names_its_variable() {
    let home = Home::new();
    let mut chat = home.plain();
    chat.env("CHAT_PORT", "http");
    run(chat).assert().code(2).stderr(contains("environment variable CHAT_PORT"));

    let mut chat = home.plain();
    chat.env("CHAT_PORT", "7722").args(["--port", "http"]);
    run(chat).assert().code(2).stderr(contains("environment variable").not());
}

#[rstest]
#[case::unknown_key(
    "host = \"h\"\nprot = 1\n",
    ":2: unknown key `prot`: did you mean `port`? \
     (known: host, port, username, key-file, connect-timeout, timeout)"
)]
#[case::wrong_type("port = \"x\"\n", ":1: invalid type: string \"x\"")]
#[case::own_rule("\ntimeout = 0\n", ":2: a time is a number of seconds above 0")]
#[case::syntax("port\n", ":1: ")]
fn a_wrong_configuration_is_told_on_one_line(#[case] text: &str, #[case] message: &str) {
    let home = Home::new();
    home.configure(text);
    let file = home.path("chat/config.toml").display().to_string();
    run(home.chat(1))
        .assert()
        .code(2)
        .stdout(is_empty())
        .stderr(contains(format!("chat: {file}{message}")))
        .stderr(predicate::function(|text: &str| text.lines().count() == 1));
}

#[test]
fn a_configuration_asked_for_must_be_there() {
    let home = Home::new();
    let mut chat = home.chat(1);
    chat.arg("--config").arg(home.path("absent.toml"));
    run(chat)
        .assert()
        .code(2)
        .stderr(contains("absent.toml: cannot be read: No such file or directory"));
}

/// The name is taken from the strongest place that has one.
#[rstest]
#[case::argument(Some("flag"), Some("env"), Some("file"), "flag")]
#[case::environment(None, Some("env"), Some("file"), "env")]
#[case::file(None, None, Some("file"), "file")]
#[case::login(None, None, None, "tester")]
fn the_username(
    #[case] flag: Option<&str>,
    #[case] variable: Option<&str>,
    #[case] file: Option<&str>,
    #[case] expected: &str,
) {
    let home = Home::new();
    let server = reference(b"");
    let mut chat = home.chat(server.port);
    if let Some(name) = flag {
        chat.args(["--username", name]);
    }
    if let Some(name) = variable {
        chat.env("CHAT_USERNAME", name);
    }
    if let Some(name) = file {
        home.configure(&format!("username = \"{name}\""));
    }
    run(chat).write_stdin("hi\n").assert().success();
    assert_eq!(server.join(), format!("{expected}: hi\n").into_bytes());
}

/// Each place has the right values in turn; the weaker ones have values that cannot work.
#[rstest]
#[case::arguments(0)]
#[case::environment(1)]
#[case::file(2)]
fn host_port_and_key(#[case] right: usize) {
    let home = Home::new();
    let server = reference(b"");
    let key = home.path("key").display().to_string();
    let good = ["127.0.0.1".to_owned(), server.port.to_string(), key];
    let bad = ["no..host".to_owned(), dead_port().to_string(), "/absent".to_owned()];
    let place = |place: usize| if place == right { &good } else { &bad };

    let mut chat = home.plain();
    if right == 0 {
        let [host, port, key] = place(0);
        chat.args(["--host", host, "--port", port, "--key-file", key]);
    }
    if right <= 1 {
        let [host, port, key] = place(1);
        chat.env("CHAT_HOST", host).env("CHAT_PORT", port).env("CHAT_KEY_FILE", key);
    }
    let [host, port, key] = place(2);
    home.configure(&format!("host = \"{host}\"\nport = {port}\nkey-file = \"{key}\"\n"));
    run(chat).write_stdin("hi\n").assert().success();
    assert_eq!(server.join(), b"tester: hi\n");
}

#[test]
fn a_key_file_is_relative_to_its_configuration() {
    let home = Home::new();
    home.configure("key-file = \"secrets/key\"");
    fs::create_dir(home.path("chat/secrets")).unwrap();
    home.write("chat/secrets/key", &KEY);
    let server = reference(b"");
    let mut chat = home.plain();
    chat.args(["--host", "127.0.0.1", "--port", &server.port.to_string()]);
    run(chat).write_stdin("hi\n").assert().success();
    server.join();
}

#[test]
fn a_key_beside_the_configuration_needs_no_mention() {
    let home = Home::new();
    home.write("chat/key", &KEY);
    let server = reference(b"");
    let mut chat = home.plain();
    chat.args(["--host", "127.0.0.1", "--port", &server.port.to_string()]);
    run(chat).write_stdin("hi\n").assert().success();
    server.join();
}
