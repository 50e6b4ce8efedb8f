//! What an administrator sees and does: start, end, logs, metrics.

use std::io::{Read, Write};
use std::time::{Duration, Instant};

use nix::sys::signal::Signal;

use crate::http::{ask, connect, get};
use crate::world::{Webd, World, until};

/// The metrics' page.
pub(crate) fn metrics(webd: &Webd) -> String {
    let messages = webd.messages();
    let address = messages.split("metrics on http://").nth(1).unwrap().split('/').next().unwrap();
    get(address.parse().unwrap(), "/metrics").text().to_owned()
}

/// Waits until the metrics' page has `line`.
pub(crate) fn metric(webd: &Webd, line: &str) {
    until(line, || metrics(webd).lines().any(|one| one == line).then_some(()));
}

/// A response under way is finished, and nothing new begins.
#[test]
fn sigterm_drains() {
    let world = World::new();
    std::fs::File::create(world.path("www/large")).unwrap().set_len(32 << 20).unwrap();
    let mut webd = world.serve(&["--pid-file", "pid"]);
    let at = webd.address();
    let pid = std::fs::read_to_string(world.path("pid")).unwrap();
    assert_eq!(pid, format!("{}\n", webd.pid()));
    let mut stream = connect(at).unwrap();
    stream.write_all(b"GET /large HTTP/1.1\r\nHost: test\r\n\r\n").unwrap();
    stream.read_exact(&mut [0; 100]).unwrap();
    webd.signal(Signal::SIGTERM);
    until("a closed port", || connect(at).is_err().then_some(()));
    assert!(webd.child.try_wait().unwrap().is_none(), "a response is under way");
    let mut rest = Vec::new();
    stream.read_to_end(&mut rest).unwrap();
    assert!(rest.len() > 32 << 20);
    assert!(webd.ends().success());
    assert!(!world.path("pid").exists() && !world.path("ready").exists());
}

/// The worker ends it. Its master does so a second later, which on a machine that stands still may come
/// first, but not each time.
#[test]
fn a_drain_has_an_end() {
    const TRIES: usize = 3;
    let told = (0..TRIES).any(|_| {
        let world = World::new();
        std::fs::File::create(world.path("www/large")).unwrap().set_len(256 << 20).unwrap();
        let mut webd = world.serve(&["--drain-timeout", "0.3"]);
        let mut stream = connect(webd.address()).unwrap();
        stream.write_all(b"GET /large HTTP/1.1\r\nHost: test\r\n\r\n").unwrap();
        stream.read_exact(&mut [0; 100]).unwrap();
        webd.signal(Signal::SIGTERM);
        assert!(webd.ends().success());
        webd.messages().contains("the drain timeout is over")
    });
    assert!(told, "in none of {TRIES} tries");
}

#[test]
fn sigint_and_sigquit_end_at_once() {
    for signal in [Signal::SIGINT, Signal::SIGQUIT] {
        let world = World::new();
        std::fs::File::create(world.path("www/large")).unwrap().set_len(256 << 20).unwrap();
        let mut webd = world.serve(&["--pid-file", "pid"]);
        let workers = webd.workers();
        let mut stream = connect(webd.address()).unwrap();
        stream.write_all(b"GET /large HTTP/1.1\r\nHost: test\r\n\r\n").unwrap();
        stream.read_exact(&mut [0; 100]).unwrap();
        let begin = Instant::now();
        webd.signal(signal);
        assert!(webd.ends().success());
        assert!(begin.elapsed() < Duration::from_secs(5), "{:?}", begin.elapsed());
        assert!(!world.path("pid").exists());
        for worker in workers {
            let gone = nix::sys::signal::kill(nix::unistd::Pid::from_raw(worker), None);
            assert!(gone.is_err(), "worker {worker} lives");
        }
    }
}

/// Idle workers take turns.
#[test]
fn all_workers_get_work() {
    let world = World::new();
    let webd = world.serve(&["--workers", "4", "--access-log", "log"]);
    let held: Vec<_> = (0..40)
        .map(|_| {
            let mut stream = connect(webd.address()).unwrap();
            stream.write_all(b"GET / HTTP/1.1\r\nHost: test\r\n\r\n").unwrap();
            stream.read_exact(&mut [0; 10]).unwrap();
            stream
        })
        .collect();
    if cfg!(target_os = "linux") {
        for worker in webd.workers() {
            let count =
                until("descriptors", || std::fs::read_dir(format!("/proc/{worker}/fd")).ok())
                    .filter_map(|entry| std::fs::read_link(entry.ok()?.path()).ok())
                    .filter(|link| link.to_string_lossy().starts_with("socket:"))
                    .count();
            // Its listener, channel and signals are a few.
            assert!(count >= 8, "worker {worker} has {count} sockets");
        }
    }
    drop(held);
}

#[test]
fn the_access_log_and_its_rotation() {
    let world = World::new();
    let webd = world.serve(&["--access-log", "log"]);
    let read = |name: &str| std::fs::read_to_string(world.path(name)).unwrap_or_default();
    let with = "Referer: http://a/\"x\r\nUser-Agent: t\u{e9}st\r\n";
    ask(webd.address(), "GET", "/no?q", with);
    let line = until("a line", || Some(read("log")).filter(|log| log.ends_with('\n')));
    assert!(line.starts_with("127.0.0.1 - - ["), "{line}");
    let end = "\"GET /no?q HTTP/1.1\" 404 14 \"http://a/\\\"x\" \"t\\xc3\\xa9st\"\n";
    assert!(line.ends_with(end), "{line}");

    std::fs::rename(world.path("log"), world.path("log.1")).unwrap();
    webd.signal(Signal::SIGUSR1);
    until("a new log", || world.path("log").exists().then_some(()));
    until("a line there", || {
        get(webd.address(), "/");
        (read("log").lines().count() >= 5).then_some(())
    });
    let (old, new) = (read("log.1"), read("log"));
    for _ in 0..10 {
        get(webd.address(), "/");
    }
    until("more lines", || (read("log").len() > new.len()).then_some(()));
    assert_eq!(read("log.1"), old, "nothing more goes to the old one");
}

#[test]
fn the_access_log_as_json() {
    let world = World::new();
    let webd = world.serve(&["--access-log", "log", "--access-log-format", "json"]);
    get(webd.address(), "/");
    let line = until("a line", || {
        std::fs::read_to_string(world.path("log")).ok().filter(|log| log.ends_with('\n'))
    });
    let object: serde_json::Value = serde_json::from_str(&line).unwrap();
    assert_eq!((&object["status"], &object["bytes"]), (&200.into(), &9.into()), "{line}");
    assert_eq!((&object["target"], &object["address"]), (&"/".into(), &"127.0.0.1".into()));
}

/// A full disk under the log costs lines, not requests.
#[cfg(target_os = "linux")]
#[test]
fn a_log_that_cannot_be_written() {
    let world = World::new();
    let webd = world.serve(&["--access-log", "/dev/full", "--metrics", "127.0.0.1:0"]);
    for _ in 0..5 {
        assert_eq!(get(webd.address(), "/").status, 200);
    }
    webd.says("access log: No space left on device: lines are lost", 1);
    metric(&webd, "webd_log_lines_lost_total 5");
}

#[test]
fn metrics_for_prometheus() {
    let world = World::new();
    let webd = world.serve(&["--metrics", "127.0.0.1:0"]);
    let mut kept = connect(webd.address()).unwrap();
    kept.write_all(b"GET / HTTP/1.1\r\nHost: test\r\n\r\n").unwrap();
    get(webd.address(), "/no");
    for line in [
        "webd_responses_total{class=\"2xx\"} 1",
        "webd_responses_total{class=\"4xx\"} 1",
        "webd_response_seconds_count 2",
        "webd_connections{state=\"idle\"} 1",
        "webd_workers{state=\"ready\"} 2",
        "webd_accepted_total 2",
        "webd_cache_misses_total 1",
    ] {
        metric(&webd, line);
    }
    // What a worker counted outlasts it.
    for worker in webd.workers() {
        crate::world::signal(worker, Signal::SIGKILL);
    }
    metric(&webd, "webd_worker_restarts_total{reason=\"signal\"} 2");
    metric(&webd, "webd_responses_total{class=\"2xx\"} 1");
    metric(&webd, "webd_workers{state=\"ready\"} 2");
}
