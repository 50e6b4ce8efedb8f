//! Workers that die, hang, or cannot start; a master that dies; who has which rights.

use std::io::{BufReader, Write};
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use nix::sys::signal::Signal;

use crate::http::{connect, get, read_response};
use crate::load::Load;
use crate::operation::metric;
use crate::world::{PATIENCE, World, children, is_root, signal, until};

/// Waits until there are as many workers as before, and none of them is `gone`.
fn replaced(webd: &crate::world::Webd, gone: i32, count: usize) {
    until("a replacement", || {
        let workers = webd.workers();
        (workers.len() == count && !workers.contains(&gone)).then_some(())
    });
}

#[test]
fn a_killed_worker_is_replaced_at_once() {
    let world = World::new();
    let webd = world.serve(&["--workers", "1"]);
    assert_eq!(get(webd.address(), "/").status, 200);
    let mut times = Vec::new();
    for _ in 0..5 {
        let worker = webd.workers()[0];
        // It counts as one that worked, not as one that cannot start.
        std::thread::sleep(Duration::from_millis(1100));
        let begin = Instant::now();
        signal(worker, Signal::SIGKILL);
        // A request waits in the queue until the new worker takes it.
        while get_quietly(webd.address()) != Some(200) {
            assert!(begin.elapsed() < Duration::from_secs(20));
        }
        times.push(begin.elapsed());
    }
    eprintln!("from SIGKILL to a response of the replacement: {times:?}");
    webd.says("was killed by SIGKILL: replaced at once", 5);
}

fn get_quietly(address: std::net::SocketAddr) -> Option<u16> {
    let request = b"GET / HTTP/1.1\r\nHost: test\r\nConnection: close\r\n\r\n";
    crate::http::raw(address, request).ok().map(|response| response.status)
}

/// It gives no sign of life, and the others do not wait for it.
#[test]
fn a_stopped_worker_is_replaced() {
    let world = World::new();
    let webd = world.serve(&["--health-timeout", "2", "--metrics", "127.0.0.1:0"]);
    let workers = webd.workers();
    let begin = Instant::now();
    signal(workers[0], Signal::SIGSTOP);
    while webd.workers().contains(&workers[0]) {
        assert_eq!(get(webd.address(), "/").status, 200);
        assert!(begin.elapsed() < PATIENCE, "it is still there");
    }
    eprintln!("from SIGSTOP to the end of the worker: {:?}", begin.elapsed());
    replaced(&webd, workers[0], 2);
    assert!(webd.workers().contains(&workers[1]), "the other one is left alone");
    webd.says("gave no sign of life", 1);
    metric(&webd, "webd_worker_restarts_total{reason=\"hung\"} 1");
}

/// A machine that stood still longer than a worker may be silent is no reason to kill one.
#[test]
fn a_machine_that_stands_still_costs_no_worker() {
    let world = World::new();
    let webd = world.serve(&["--health-timeout", "2"]);
    let workers = webd.workers();
    let all = |what: Signal| workers.iter().for_each(|&worker| signal(worker, what));
    webd.signal(Signal::SIGSTOP);
    all(Signal::SIGSTOP);
    // That time passes is what it is about.
    std::thread::sleep(Duration::from_secs(4));
    // The master first, which is the worst case.
    webd.signal(Signal::SIGCONT);
    std::thread::sleep(Duration::from_millis(100));
    all(Signal::SIGCONT);
    assert_eq!(get(webd.address(), "/").text(), "the index");
    std::thread::sleep(Duration::from_secs(3));
    assert_eq!(webd.workers(), workers, "{}", webd.messages());
}

/// A worker that gets no processor is no worker that hangs: nobody in its place would get one.
#[cfg(target_os = "linux")]
#[test]
fn a_starved_worker_is_left_alone() {
    use nix::sched::{CpuSet, sched_getaffinity, sched_setaffinity};
    use nix::unistd::Pid;
    let world = World::new();
    let webd = world.serve(&["--workers", "1", "--health-timeout", "1"]);
    let workers = webd.workers();
    let worker = Pid::from_raw(workers[0]);
    // All on one processor, where the worker comes last: its share is 3 of 8,195 (sched(7),
    // SCHED_IDLE), a few milliseconds in as many seconds.
    let all = sched_getaffinity(Pid::from_raw(0)).unwrap();
    let first = (0..CpuSet::count()).find(|&cpu| all.is_set(cpu).unwrap()).unwrap();
    let mut one = CpuSet::new();
    one.set(first).unwrap();
    sched_setaffinity(worker, &one).unwrap();
    let last = libc::sched_param { sched_priority: 0 };
    // SAFETY: the pointer is to the variable above.
    let lowered =
        unsafe { libc::sched_setscheduler(worker.as_raw(), libc::SCHED_IDLE, &raw const last) };
    assert_eq!(lowered, 0, "{}", std::io::Error::last_os_error());
    let begin = Instant::now();
    std::thread::scope(|scope| {
        for _ in 0..8 {
            scope.spawn(|| {
                sched_setaffinity(Pid::from_raw(0), &one).unwrap();
                while begin.elapsed() < Duration::from_secs(5) {
                    std::hint::spin_loop();
                }
            });
        }
    });
    assert_eq!(webd.workers(), workers, "{}", webd.messages());
    assert_eq!(get(webd.address(), "/").text(), "the index");
}

/// Workers that cannot start are tried less and less often, and the server comes back.
#[test]
fn a_crash_loop_is_slowed_down() {
    let world = World::new();
    let mut webd = world.serve(&["--workers", "1"]);
    std::fs::rename(world.path("www"), world.path("away")).unwrap();
    signal(webd.workers()[0], Signal::SIGKILL);
    webd.says("the next starts in 0.8 s", 1);
    let tries = webd.messages().matches("ended with exit status 1").count();
    assert!(tries <= 6, "{tries} tries");
    assert!(webd.child.try_wait().unwrap().is_none());
    std::fs::rename(world.path("away"), world.path("www")).unwrap();
    assert_eq!(get(webd.address(), "/").text(), "the index");
}

/// What the master lacks for a new worker, it asks for again later.
#[cfg(target_os = "linux")]
#[test]
fn a_master_without_descriptors_goes_on() {
    let world = World::new();
    let webd = world.serve(&["--workers", "1"]);
    let limit = |limit: &str| {
        let pid = webd.pid().to_string();
        let set =
            Command::new("prlimit").args(["--pid", &pid, &format!("--nofile={limit}:")]).status();
        assert!(set.unwrap().success());
    };
    limit("4");
    signal(webd.workers()[0], Signal::SIGKILL);
    webd.says("cannot start a worker: Too many open files", 2);
    limit("1024");
    assert_eq!(get(webd.address(), "/").text(), "the index");
}

/// Its workers finish, and the port is free for the next one at once, even from a stopped worker.
#[cfg(target_os = "linux")]
#[test]
fn a_killed_master_leaves_nothing_behind() {
    let world = World::new();
    let mut webd = world.serve(&["--health-timeout", "60"]);
    let at = webd.address();
    let workers = webd.workers();
    signal(workers[0], Signal::SIGSTOP);
    webd.signal(Signal::SIGKILL);
    webd.ends();
    let listen = at.to_string();
    let second = until("a second server", || {
        let free = std::net::TcpListener::bind(at).is_ok();
        free.then(|| world.serve(&["--listen", &listen]))
    });
    assert_eq!(get(second.addresses[1], "/").text(), "the index");
    for worker in workers {
        until("the end of the old workers", || {
            nix::sys::signal::kill(nix::unistd::Pid::from_raw(worker), None).err()
        });
    }
}

/// Whoever waits in the queue of the sockets when they are closed is let in before.
#[cfg(target_os = "linux")]
#[test]
fn whoever_is_in_the_queue_when_the_master_dies_gets_an_answer() {
    const CLIENTS: usize = 60;
    let world = World::new();
    let mut webd = world.serve(&["--health-timeout", "60"]);
    let workers = webd.workers();
    workers.iter().for_each(|&worker| signal(worker, Signal::SIGSTOP));
    let clients: Vec<_> = (0..CLIENTS)
        .map(|_| {
            let mut stream = connect(webd.address()).unwrap();
            stream.write_all(b"GET / HTTP/1.1\r\nHost: test\r\n\r\n").unwrap();
            stream
        })
        .collect();
    webd.signal(Signal::SIGKILL);
    webd.ends();
    workers.iter().for_each(|&worker| signal(worker, Signal::SIGCONT));
    for stream in clients {
        let response = read_response(&mut BufReader::new(stream), false).unwrap();
        assert_eq!(response.text(), "the index");
    }
}

/// Who asks while there is no server is refused.
#[cfg(target_os = "linux")]
#[test]
fn a_master_that_is_killed_and_started_again_is_soon_there() {
    const RESTARTS: usize = 5;
    let world = World::new();
    let start = |listen: &str| {
        let arguments = ["www", "--listen", listen, "--ready-file", "ready", "--workers", "2"];
        world.launch(world.command(Path::new(env!("CARGO_BIN_EXE_webd")), &arguments))
    };
    let mut webd = start("127.0.0.1:0");
    let at = webd.address();
    let load = Load::begin(at, "/", 4);
    let mut gaps = Vec::new();
    for _ in 0..RESTARTS {
        let before = load.done();
        until("requests", || (load.done() > before + 100).then_some(()));
        let begin = Instant::now();
        webd.signal(Signal::SIGKILL);
        webd.ends();
        // Its workers have closed their sockets.
        until("the port", || std::net::TcpStream::connect(at).err());
        webd = start(&at.to_string());
        let again = load.done();
        until("an answer", || (load.done() > again).then_some(()));
        gaps.push(begin.elapsed());
    }
    let (done, lost) = load.end();
    let refused = lost.iter().filter(|why| why.contains("refused")).count();
    eprintln!("{done} requests, {refused} refused, {} lost; {gaps:.0?}", lost.len() - refused);
    // At most whoever connects between the last look at the queue and the end of the socket.
    assert!(lost.len() - refused <= RESTARTS, "{lost:?}");
}

#[cfg(target_os = "linux")]
#[test]
fn workers_have_the_rights_of_their_user_and_no_more() {
    if !is_root() {
        return;
    }
    use std::os::unix::fs::PermissionsExt;
    let world = World::new();
    world.write("www/private", "private");
    let private = std::fs::Permissions::from_mode(0o600);
    std::fs::set_permissions(world.path("www/private"), private).unwrap();
    let webd = world.serve(&["--user", "nobody", "--access-log", "log"]);
    let nobody = nix::unistd::User::from_name("nobody").unwrap().unwrap();
    let (user, group) = (nobody.uid.to_string(), nobody.gid.to_string());
    for worker in webd.workers() {
        let status = std::fs::read_to_string(format!("/proc/{worker}/status")).unwrap();
        let field = |name: &str| -> Vec<&str> {
            let line = status.lines().find(|line| line.starts_with(name)).unwrap();
            line.split_whitespace().skip(1).collect()
        };
        assert_eq!(field("Uid:"), [&user; 4], "{status}");
        assert_eq!(field("Gid:"), [&group; 4], "{status}");
        assert_eq!(field("Groups:"), [&group], "{status}");
        assert_eq!(field("NoNewPrivs:"), ["1"], "{status}");
    }
    assert_eq!(get(webd.address(), "/").text(), "the index");
    assert_eq!(get(webd.address(), "/private").status, 403);
    // The log is the master's, and the workers write to it.
    until("the log", || {
        std::fs::read_to_string(world.path("log")).ok().filter(|log| log.lines().count() == 2)
    });
    // The new log is opened by the master, too.
    std::fs::remove_file(world.path("log")).unwrap();
    webd.signal(Signal::SIGUSR1);
    until("the new log", || {
        get(webd.address(), "/");
        std::fs::read_to_string(world.path("log")).ok().filter(|log| !log.is_empty())
    });
}

/// Processes whose parents have died are its children, and are reaped.
#[cfg(target_os = "linux")]
#[test]
fn as_process_1_it_reaps_what_is_not_its_own() {
    if !is_root() {
        return;
    }
    let world = World::new();
    let mut command = Command::new("unshare");
    let script = format!(
        "for i in 1 2 3; do (sleep 0.$i & echo $! >&2) ; done; \
         exec {} www --listen 127.0.0.1:0 --ready-file ready --workers 2",
        env!("CARGO_BIN_EXE_webd")
    );
    command.args(["--pid", "--fork", "--kill-child", "sh", "-c", &script]);
    command.current_dir(world.path("")).stdin(Stdio::null());
    let webd = world.launch(command);
    let master = until("process 1", || children(webd.pid()).first().map(|child| child.0));
    until("only workers", || {
        let children = children(master);
        (children.len() == 2 && children.iter().all(|child| child.1 != 'Z')).then_some(())
    });
    assert_eq!(get(webd.address(), "/").text(), "the index");
    signal(master, Signal::SIGTERM);
    let mut webd = webd;
    assert!(webd.ends().success());
}

/// A worker that somebody else ends drains, and is replaced meanwhile.
#[test]
fn sigterm_to_a_worker_drains_it() {
    let world = World::new();
    let webd = world.serve(&["--workers", "1"]);
    let worker = webd.workers()[0];
    let idle = connect(webd.address()).unwrap();
    signal(worker, Signal::SIGTERM);
    replaced(&webd, worker, 1);
    assert_eq!(get(webd.address(), "/").text(), "the index");
    assert!(!webd.messages().contains("killed"), "{}", webd.messages());
    drop(idle);
}
