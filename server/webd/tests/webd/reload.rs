//! Reloads and upgrades in place: nothing is lost.

use std::io::{Read, Write};
use std::net::TcpStream;
use std::path::Path;
use std::process::Command;
use std::time::Duration;

use nix::sys::signal::Signal;

use crate::http::get;
use crate::load::Load;
use crate::operation::metric;
use crate::world::{Webd, World, until};

fn configured(world: &World, settings: &str) -> Webd {
    world.write("webd.toml", settings);
    let program = Path::new(env!("CARGO_BIN_EXE_webd"));
    world.launch(world.command(program, &["-c", "webd.toml", "--ready-file", "ready"]))
}

const SETTINGS: &str = "directory = \"www\"\nlisten = \"127.0.0.1:0\"\nworkers = 2\n";

#[test]
fn ten_reloads_under_load_lose_nothing() {
    let world = World::new();
    let webd = configured(&world, SETTINGS);
    let load = Load::begin(webd.address(), "/", 8);
    for number in 1..=10 {
        let before = load.done();
        until("requests", || (load.done() > before + 50).then_some(()));
        webd.signal(Signal::SIGHUP);
        webd.says("reload: 2 new workers serve", number);
    }
    until("only new workers", || (webd.workers().len() == 2).then_some(()));
    let (done, lost) = load.end();
    eprintln!("{done} requests, {} lost", lost.len());
    assert!(lost.is_empty(), "{} of {done}: {lost:?}", lost.len());
}

/// Whoever has connected before a reload is answered, also when its request takes a while to come.
#[test]
fn a_request_that_comes_late_after_a_reload_is_answered() {
    let world = World::new();
    let webd = configured(&world, SETTINGS);
    let mut clients: Vec<TcpStream> =
        (0..8).map(|_| TcpStream::connect(webd.address()).unwrap()).collect();
    // They are in the order in which they came: this one is answered when all are accepted.
    assert_eq!(get(webd.address(), "/").status, 200);
    webd.signal(Signal::SIGHUP);
    webd.says("reload: 2 new workers serve", 1);
    // The time itself is what it is about.
    std::thread::sleep(Duration::from_secs(2));
    for client in &mut clients {
        client.write_all(b"GET / HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n").unwrap();
        let mut answer = String::new();
        client.read_to_string(&mut answer).unwrap();
        assert!(answer.starts_with("HTTP/1.1 200 "), "{answer}");
    }
}

#[test]
fn a_reload_changes_what_is_served_where_and_by_how_many() {
    let world = World::new();
    std::fs::create_dir(world.path("other")).unwrap();
    world.write("other/index.html", "the other");
    let webd = configured(&world, SETTINGS);
    let port = {
        let free = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        free.local_addr().unwrap().port()
    };
    let address = format!("127.0.0.1:{port}");
    let settings = format!("directory = \"other\"\nlisten = [\"{address}\"]\nworkers = 3\n");
    world.write("webd.toml", settings);
    webd.signal(Signal::SIGHUP);
    webd.says("reload: 3 new workers serve", 1);
    assert_eq!(get(address.parse().unwrap(), "/").text(), "the other");
    until("3 workers", || (webd.workers().len() == 3).then_some(()));
    assert!(std::net::TcpStream::connect(webd.address()).is_err(), "the old address is free");
}

#[test]
fn a_broken_file_keeps_the_old_configuration() {
    let world = World::new();
    let webd = configured(&world, SETTINGS);
    let workers = webd.workers();
    for (number, (settings, words)) in [
        (
            "directory = \"www\"\nworkrs = 3\n",
            "webd.toml:2: unknown key `workrs`: did you mean `workers`?",
        ),
        ("directory = \"gone\"\n", "gone: No such file or directory"),
        ("directory = \"www\"\nlisten = \"192.0.2.1:1\"\n", "cannot listen on 192.0.2.1:1"),
        (
            "directory = \"www\"\nlisten = \"127.0.0.1:0\"\nuser = \"no-such-user\"\n",
            "no such user",
        ),
    ]
    .into_iter()
    .enumerate()
    {
        world.write("webd.toml", settings);
        webd.signal(Signal::SIGHUP);
        webd.says("reload failed", number + 1);
        assert!(webd.messages().contains(words), "{}", webd.messages());
        assert_eq!(get(webd.address(), "/").text(), "the index");
        assert_eq!(webd.workers(), workers);
    }
    world.write("webd.toml", SETTINGS);
    // What failed leaves nothing behind that an upgrade or a reload could stumble over.
    for (signal, words) in [(Signal::SIGUSR2, "upgrade"), (Signal::SIGHUP, "reload")] {
        let before = webd.workers();
        webd.signal(signal);
        webd.says(&format!("{words}: 2 new workers serve"), 1);
        until("only new workers", || (webd.workers().len() == 2).then_some(()));
        assert!(webd.workers().iter().all(|worker| !before.contains(worker)));
    }
    assert_eq!(webd.messages().matches("new workers serve").count(), 2, "{}", webd.messages());
}

/// A server whose program is a file of its own.
fn installed(world: &World) -> Webd {
    let program = world.path("webd");
    copy_webd(&program);
    world.launch(world.command(
        &program,
        &[
            "www",
            "--listen",
            "127.0.0.1:0",
            "--workers",
            "2",
            "--ready-file",
            "ready",
            "--metrics",
            "127.0.0.1:0",
        ],
    ))
}

/// By another process: one that another test's thread forks meanwhile would have this one's descriptor
/// open for writing for a moment, and a file that is being written is not executed (ETXTBSY).
fn copy_webd(to: &Path) {
    let copied = Command::new("cp").arg(env!("CARGO_BIN_EXE_webd")).arg(to).status().unwrap();
    assert!(copied.success());
}

/// Puts another file in the program's place, as a package manager does.
fn install(world: &World, put: impl FnOnce(&Path)) {
    put(&world.path("webd.new"));
    use std::os::unix::fs::PermissionsExt;
    let executable = std::fs::Permissions::from_mode(0o755);
    std::fs::set_permissions(world.path("webd.new"), executable).unwrap();
    std::fs::rename(world.path("webd.new"), world.path("webd")).unwrap();
}

#[test]
fn three_upgrades_under_load_lose_nothing() {
    let world = World::new();
    let mut webd = installed(&world);
    let load = Load::begin(webd.address(), "/", 8);
    for number in 1..=3 {
        let old = webd.workers();
        let before = load.done();
        until("requests", || (load.done() > before + 50).then_some(()));
        install(&world, copy_webd);
        webd.signal(Signal::SIGUSR2);
        webd.says("upgrade: 2 new workers serve", number);
        until("only new workers", || {
            let workers = webd.workers();
            (workers.len() == 2 && !workers.iter().any(|w| old.contains(w))).then_some(())
        });
        if cfg!(target_os = "linux") {
            for pid in webd.workers().into_iter().chain([webd.pid()]) {
                let program = std::fs::read_link(format!("/proc/{pid}/exe")).unwrap();
                assert_eq!(program, world.path("webd"), "process {pid} runs what is installed");
            }
        }
    }
    let (done, lost) = load.end();
    eprintln!("{done} requests, {} lost", lost.len());
    assert!(lost.is_empty(), "{} of {done}: {lost:?}", lost.len());
    assert!(webd.child.try_wait().unwrap().is_none(), "the process is the same");
    metric(&webd, "webd_upgrades_total 3");
    webd.signal(Signal::SIGTERM);
    assert!(webd.ends().success());
}

/// Neither is executed, and a worker that dies meanwhile is replaced by what the master runs.
#[test]
fn a_program_that_is_broken_is_not_upgraded_to() {
    let world = World::new();
    let mut webd = installed(&world);
    for (number, program) in ["#!/bin/sh\nexit 1\n", "\0no program\0"].into_iter().enumerate() {
        install(&world, |new| std::fs::write(new, program).unwrap());
        webd.signal(Signal::SIGUSR2);
        webd.says("upgrade failed", number + 1);
        assert_eq!(get(webd.address(), "/").text(), "the index");
    }
    if cfg!(target_os = "linux") {
        crate::world::signal(webd.workers()[0], Signal::SIGKILL);
        webd.says("replaced at once", 1);
        until("2 workers", || (webd.workers().len() == 2).then_some(()));
    }
    assert_eq!(get(webd.address(), "/").text(), "the index");
    webd.signal(Signal::SIGTERM);
    assert!(webd.ends().success());
}

/// Whoever is killed takes its own requests along, and no others: with as many workers as clients
/// have connections, each kill loses at most what that worker had.
#[test]
fn killed_workers_lose_their_own_requests_only() {
    const KILLS: usize = 20;
    const CLIENTS: usize = 8;
    let world = World::new();
    let webd = world.serve(&["--workers", "4"]);
    let load = Load::begin(webd.address(), "/", CLIENTS);
    for number in 0..KILLS {
        let before = load.done();
        until("requests", || (load.done() > before + 100).then_some(()));
        let workers = webd.workers();
        crate::world::signal(workers[number % workers.len()], Signal::SIGKILL);
        until("4 workers", || (webd.workers().len() == 4).then_some(()));
    }
    let (done, lost) = load.end();
    eprintln!("{done} requests, {} lost with {KILLS} kills", lost.len());
    assert!(lost.len() <= KILLS * CLIENTS / 2, "{} of {done}: {lost:?}", lost.len());
}
