//! Remote workers on hosts of their own: network namespaces, joined by cables that can be pulled.
#![cfg(target_os = "linux")]

use std::io::{BufReader, Write};
use std::net::SocketAddr;
use std::path::Path;
use std::process::Command;
use std::time::{Duration, Instant};

use nix::sched::{CloneFlags, unshare};

use crate::http::{connect, get, read_response};
use crate::load::Load;
use crate::operation::metric;
use crate::world::{Webd, World, is_root, until};

/// Serves at this port on every host.
const PORT: &str = "8080";

/// Runs a command of the system's, which must succeed.
fn run(line: &str) {
    let mut words = line.split(' ');
    let output = Command::new(words.next().unwrap()).args(words).output();
    let output = output.unwrap_or_else(|error| panic!("{line}: {error}"));
    assert!(output.status.success(), "{line}: {}", String::from_utf8_lossy(&output.stderr));
}

/// A host with a remote worker, and a cable to this one.
struct Host {
    webd: Webd,
    address: SocketAddr,
}

impl Host {
    /// The one of this number, whose index page is its name.
    fn start(world: &World, number: u8, name: &str) -> Self {
        let home = world.path(name);
        std::fs::create_dir_all(&home).unwrap();
        std::fs::write(home.join("index.html"), name).unwrap();
        std::fs::File::create(home.join("large")).unwrap().set_len(64 << 20).unwrap();
        let listen = format!("0.0.0.0:{PORT}");
        let program = env!("CARGO_BIN_EXE_webd");
        let arguments =
            ["--net", program, "worker", name, "--listen", &listen, "--ready-file", "ready"];
        let webd = world.launch(world.command(Path::new("unshare"), &arguments));
        let pid = webd.pid();
        run(&format!("ip link add to-{name} type veth peer name cable netns {pid}"));
        run(&format!("ip address add 10.0.{number}.1/24 dev to-{name}"));
        run(&format!("ip link set to-{name} up"));
        run(&format!("nsenter -t {pid} -n ip address add 10.0.{number}.2/24 dev cable"));
        let host = Self { webd, address: format!("10.0.{number}.2:{PORT}").parse().unwrap() };
        host.cable("up");
        host
    }

    /// Plugs the cable in at that host's end, `up`, or pulls it, `down`: nothing tells this host.
    fn cable(&self, state: &str) {
        run(&format!("nsenter -t {} -n ip link set cable {state}", self.webd.pid()));
    }

    fn health(&self, of: u8) -> String {
        format!("webd_remote_healthy{{remote=\"{}\"}} {of}", self.address)
    }
}

/// What is under way with it breaks within the time that a remote may be silent; what only waits for
/// its first byte is answered by the other; when it is there again, it gets its part.
#[test]
fn a_host_that_is_cut_off_in_mid_request_and_comes_back() {
    const CLIENTS: usize = 4;
    if !is_root() {
        return;
    }
    // This thread's network, and that of what it starts.
    unshare(CloneFlags::CLONE_NEWNET).unwrap();
    run("ip link set lo up");
    let world = World::new();
    let (a, b) = (Host::start(&world, 1, "a"), Host::start(&world, 2, "b"));
    let (at_a, at_b) = (a.address.to_string(), b.address.to_string());
    let arguments = [
        &["--listen", "127.0.0.1:0", "--ready-file", "ready", "--workers", "1"][..],
        &["--metrics", "127.0.0.1:0", "--balance", "round-robin", "--remote-timeout", "5"],
        &["--health-interval", "0.2", "--remote", &at_a, "--remote", &at_b],
    ];
    let webd =
        world.launch(world.command(Path::new(env!("CARGO_BIN_EXE_webd")), &arguments.concat()));
    let names = |count: usize| -> Vec<String> {
        (0..count).map(|_| get(webd.address(), "/").text().to_owned()).collect()
    };
    for host in [&a, &b] {
        metric(&webd, &host.health(1));
    }
    // One that was busy may be out for a moment.
    until("answers of both in turn", || {
        (names(10).iter().filter(|name| *name == "a").count() == 5).then_some(())
    });

    // One of each host, and neither is read.
    let under_way: Vec<_> = (0..2)
        .map(|_| {
            let mut stream = connect(webd.address()).unwrap();
            stream.write_all(b"GET /large HTTP/1.1\r\nHost: test\r\n\r\n").unwrap();
            let mut first = [0];
            assert_eq!(stream.peek(&mut first).unwrap(), 1);
            stream
        })
        .collect();
    let load = Load::begin(webd.address(), "/", CLIENTS);
    until("requests", || (load.done() > 200).then_some(()));
    b.cable("down");
    let begin = Instant::now();
    metric(&webd, &b.health(0));
    let noticed = begin.elapsed();
    let whole = under_way
        .into_iter()
        .filter(|stream| {
            read_response(&mut BufReader::new(stream), false)
                .is_ok_and(|response| response.body.len() == 64 << 20)
        })
        .count();
    let over = begin.elapsed();
    assert_eq!(whole, 1, "the other host's");
    assert!(names(4).iter().all(|name| name == "a"));
    b.cable("up");
    metric(&webd, &b.health(1));
    until("an answer of the host that is back", || {
        names(2).contains(&"b".to_owned()).then_some(())
    });
    let (done, lost) = load.end();
    eprintln!(
        "{done} requests while a host was cut off, {} lost; noticed after {noticed:.1?}, over after \
         {over:.1?}",
        lost.len()
    );
    // Those that had begun to be answered; whatever waits for a first byte is asked again.
    assert!(lost.len() <= CLIENTS, "{lost:?}");
    assert!(over < Duration::from_secs(20), "{over:.1?}");
    webd.says("not healthy: no requests go there", 1);
    webd.says("is healthy again", 1);
}
