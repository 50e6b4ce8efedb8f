//! Command line and configuration files, and what is said of mistakes in them.

use std::path::Path;
use std::process::{Output, Stdio};

use rstest::rstest;

use crate::http::get;
use crate::world::{World, children, until};

fn run(world: &World, arguments: &[&str]) -> Output {
    let mut command = world.command(Path::new(env!("CARGO_BIN_EXE_webd")), arguments);
    command.stdout(Stdio::piped()).stderr(Stdio::piped()).output().unwrap()
}

fn refused(world: &World, arguments: &[&str], status: i32, words: &str) {
    let output = run(world, arguments);
    let said = String::from_utf8(output.stderr).unwrap();
    assert_eq!(output.status.code(), Some(status), "{said}");
    assert!(said.contains(words), "{said}");
}

#[rstest]
#[case(&[], "no directory to serve: name one (`webd .` serves this one)")]
#[case(&["nowhere"], "nowhere: No such file or directory")]
#[case(&["www/index.html"], "index.html: not a directory")]
#[case(&["www", "--workers", "0"], "workers: a number from 1 to 1024")]
#[case(&["www", "--workers", "10000"], "workers: a number from 1 to 1024")]
#[case(&["www", "--listen", "1.2.3:80"], "`1.2.3` is neither an address nor a host name")]
#[case(&["www", "--listen", "127.0.0.1:http"], "`http` is not a port")]
#[case(&["www", "--metrics", "127.0.0.1"], "it has no port")]
#[case(&["www", "--remote", "192.0.2.1"], "it has no port")]
#[case(&["www", "--idle-timeout", "0"], "idle timeout 0: must be above 0")]
#[case(&["www", "--idle-timeout", "NaN"], "idle timeout NaN")]
#[case(&["www", "--max-connections", "0"], "max connections 0: must be at least 1")]
#[case(&["www", "--rate", "0"], "rate 0: must be at least 1")]
#[case(&["www", "--index", "../x"], "index `../x`: must be the name of a file")]
#[case(&["www", "--user", "no-such-user"], "user `no-such-user`: no such user")]
#[case(&["--config", "no.toml"], "no.toml: cannot be read: No such file or directory")]
fn wrong_usage(#[case] arguments: &[&str], #[case] words: &str) {
    refused(&World::new(), arguments, 2, words);
}

#[rstest]
#[case("w.toml", "prot = 1\n", "w.toml:1: unknown key `prot`: did you mean `port`?")]
#[case("w.toml", "port = 1\nworkers = 0\n", "w.toml:2: ")]
#[case("w.toml", "workers = []\n", "w.toml:1: the list of workers is empty")]
#[case("w.toml", "balance = \"round-robbin\"\n", "did you mean `round-robin`?")]
#[case(
    "w.json",
    "{\n \"masterPrt\": 1\n}",
    "w.json:2: unknown key `masterPrt`: did you mean `masterPort`?"
)]
#[case("w.json", "{\n \"masterPort\": 70000\n}", "w.json:2: ")]
#[case("w.json", "{\"workers\": [{\"host\": \"a\"}]}", "w.json:1: missing key `port`")]
#[case("w.json", "{", "w.json:1: EOF")]
fn mistakes_in_a_file_name_the_line(#[case] name: &str, #[case] text: &str, #[case] words: &str) {
    let world = World::new();
    world.write(name, text);
    refused(&world, &["--config", name, "www"], 2, words);
}

#[test]
fn what_the_machine_refuses() {
    let world = World::new();
    let owner = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let taken = owner.local_addr().unwrap().to_string();
    let busy = format!("cannot listen on {taken}: Address already in use: another program listens");
    refused(&world, &["www", "--listen", &taken], 1, &busy);
    refused(&world, &["www", "-l", "127.0.0.1:0", "--metrics", &taken], 1, &busy);
    refused(&world, &["www", "-l", "203.0.113.1:0"], 1, "cannot listen on 203.0.113.1:0: ");
    refused(&world, &["www", "-l", "127.0.0.1:0", "--pid-file", "no/pid"], 1, "no/pid: cannot be");
    refused(&world, &["www", "-l", "127.0.0.1:0", "--access-log", "no/log"], 1, "no/log: No such");
    std::os::unix::fs::symlink("elsewhere", world.path("link")).unwrap();
    refused(&world, &["www", "-l", "127.0.0.1:0", "--access-log", "link"], 1, "access log ");
}

/// As that of a killed master, whose workers have its sockets for a moment.
#[test]
fn a_port_that_becomes_free_is_waited_for() {
    let world = World::new();
    let owner = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let address = owner.local_addr().unwrap();
    let listen = address.to_string();
    let arguments = ["www", "--listen", &listen, "--ready-file", "ready"];
    let webd = world.start(world.command(Path::new(env!("CARGO_BIN_EXE_webd")), &arguments));
    let own = std::process::id() as i32;
    until("it waits", || children(own).contains(&(webd.pid(), 'S')).then_some(()));
    drop(owner);
    assert_eq!(world.ready(webd).address(), address);
}

#[test]
fn a_check_starts_nothing() {
    let world = World::new();
    assert!(run(&world, &["www", "--check"]).status.success());
    world.write("w.toml", "directory = 'www'\n");
    assert!(run(&world, &["-tc", "w.toml"]).status.success());
}

/// The file of the program that this one follows, as it is.
#[test]
fn the_json_of_a_master_and_its_workers() {
    let world = World::new();
    let port = || std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
    let (master, first, second) = (port(), port(), port());
    let text = format!(
        r#"{{"workers": [{{"host": "127.0.0.1", "port": {first}}}, {{"host": "localhost", "port": {second}}}],
            "baseDirectory": "./www", "masterPort": {master}}}"#
    );
    world.write("config.json", text);
    let program = Path::new(env!("CARGO_BIN_EXE_webd"));
    let arguments = ["-c", "config.json", "--ready-file", "ready"];
    let webd = world.launch(world.command(program, &arguments));
    for port in [master, first] {
        assert_eq!(get(([127, 0, 0, 1], port).into(), "/").text(), "the index");
    }
    assert_eq!(webd.workers().len(), 2);
    assert!(webd.addresses.iter().any(|address| address.port() == second));
}

/// Without a word about it, only this machine is served, on both families.
#[test]
fn by_default_it_serves_loopback() {
    let world = World::new();
    let program = Path::new(env!("CARGO_BIN_EXE_webd"));
    let webd = world.launch(world.command(program, &["www", "-p", "0", "--ready-file", "ready"]));
    assert_eq!(webd.addresses[0].ip().to_string(), "127.0.0.1");
    if let Some(v6) = webd.addresses.get(1) {
        assert_eq!(v6.to_string(), format!("[::1]:{}", webd.address().port()));
        assert_eq!(get(*v6, "/").text(), "the index");
    }
    webd.says(&format!("on http://{}/", webd.address()), 1);
}
