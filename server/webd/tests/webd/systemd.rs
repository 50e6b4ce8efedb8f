//! What a supervisor passes and is told.

use std::os::fd::AsRawFd;
use std::os::unix::net::UnixDatagram;
use std::os::unix::process::CommandExt;
use std::process::Command;

use nix::sys::signal::Signal;

use crate::http::get;
use crate::world::{PATIENCE, World};

#[test]
fn sockets_that_a_supervisor_passes() {
    let world = World::new();
    let web = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let metrics = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let (web_at, metrics_at) = (web.local_addr().unwrap(), metrics.local_addr().unwrap());
    // A supervisor's sockets do not block.
    web.set_nonblocking(true).unwrap();
    let script = format!(
        "LISTEN_PID=$$ LISTEN_FDS=2 LISTEN_FDNAMES=web:metrics exec {} www --ready-file ready",
        env!("CARGO_BIN_EXE_webd")
    );
    let mut command = Command::new("sh");
    command.args(["-c", &script]).current_dir(world.path(""));
    let passed = [web.as_raw_fd(), metrics.as_raw_fd()];
    // SAFETY: between fork and exec nothing but system calls on descriptors.
    unsafe {
        command.pre_exec(move || {
            // First out of the way of the numbers that they get.
            let kept = passed.map(|one| libc::fcntl(one, libc::F_DUPFD, 10));
            for (number, descriptor) in (3..).zip(kept) {
                nix::errno::Errno::result(libc::dup2(descriptor, number))?;
            }
            Ok(())
        });
    }
    let webd = world.launch(command);
    assert_eq!(webd.addresses, [web_at]);
    assert_eq!(get(web_at, "/").text(), "the index");
    assert!(get(metrics_at, "/metrics").text().contains("webd_workers"));
    assert_eq!(get(metrics_at, "/").status, 404);
    webd.signal(Signal::SIGHUP);
    webd.says("new workers serve", 1);
    assert_eq!(get(web_at, "/").text(), "the index");
}

#[test]
fn readiness_reloads_life_and_the_end_are_told() {
    let world = World::new();
    let socket = UnixDatagram::bind(world.path("notify")).unwrap();
    socket.set_read_timeout(Some(PATIENCE)).unwrap();
    let arguments = ["www", "--listen", "127.0.0.1:0", "--ready-file", "ready"];
    let mut command = world.command(env!("CARGO_BIN_EXE_webd").as_ref(), &arguments);
    command.env("NOTIFY_SOCKET", world.path("notify")).env("WATCHDOG_USEC", "200000");
    let mut webd = world.launch(command);
    let hears = |words: &str| {
        let mut buffer = [0; 512];
        loop {
            let length = socket.recv(&mut buffer).unwrap_or_else(|e| panic!("{words}: {e}"));
            let message = std::str::from_utf8(&buffer[..length]).unwrap();
            if message.contains(words) {
                return message.to_owned();
            }
            assert!(message.contains("WATCHDOG=1"), "{message} before {words}");
        }
    };
    assert!(hears("READY=1\n").contains(&format!("MAINPID={}\n", webd.pid())));
    for _ in 0..3 {
        hears("WATCHDOG=1\n");
    }
    webd.signal(Signal::SIGHUP);
    assert!(hears("RELOADING=1\n").contains("MONOTONIC_USEC="));
    hears("READY=1\n");
    webd.signal(Signal::SIGUSR2);
    hears("RELOADING=1\n");
    hears("READY=1\n");
    hears("WATCHDOG=1\n");
    webd.signal(Signal::SIGTERM);
    hears("STOPPING=1\n");
    assert!(webd.ends().success());
}
