//! Remote workers, each a process or a stub on a port of its own.

use std::io::{BufReader, Read, Write};
use std::net::{SocketAddr, TcpListener};
use std::path::Path;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use nix::sys::signal::Signal;

use crate::http::{ask, connect, get, read_response};
use crate::load::Load;
use crate::operation::metric;
use crate::world::{Webd, World};

/// A remote worker: `webd worker`, whose index page is its name.
fn remote(world: &World, name: &str, listen: &str) -> Webd {
    let home = world.path(name);
    std::fs::create_dir_all(&home).unwrap();
    std::fs::write(home.join("index.html"), name).unwrap();
    let arguments = ["worker", name, "--listen", listen, "--ready-file", "ready"];
    world.launch(world.command(Path::new(env!("CARGO_BIN_EXE_webd")), &arguments))
}

/// A server in front of `remotes`.
fn front(world: &World, remotes: &[SocketAddr], more: &[&str]) -> Webd {
    let remotes: Vec<String> = remotes.iter().map(SocketAddr::to_string).collect();
    let mut arguments = vec!["--listen", "127.0.0.1:0", "--ready-file", "ready", "--workers", "1"];
    arguments.extend(["--metrics", "127.0.0.1:0"]);
    if !more.contains(&"--health-interval") {
        arguments.extend(["--health-interval", "0.2"]);
    }
    for remote in &remotes {
        arguments.extend(["--remote", remote]);
    }
    arguments.extend(more);
    world.launch(world.command(Path::new(env!("CARGO_BIN_EXE_webd")), &arguments))
}

/// A remote worker that records each connection's request, and answers with what `answer` makes of
/// it. Health checks are answered, and not recorded.
fn stub(answer: fn(&str) -> &'static str) -> (SocketAddr, Arc<Mutex<Vec<String>>>) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    let seen = Arc::new(Mutex::new(Vec::new()));
    let record = seen.clone();
    std::thread::spawn(move || {
        for stream in listener.incoming() {
            let Ok(mut stream) = stream else { return };
            let record = record.clone();
            std::thread::spawn(move || {
                let mut request = Vec::new();
                let mut byte = [0];
                while !request.ends_with(b"\r\n\r\n") && stream.read(&mut byte).is_ok_and(|n| n > 0)
                {
                    request.push(byte[0]);
                }
                let request = String::from_utf8(request).unwrap();
                if request.contains("webd health check") {
                    let _ =
                        stream.write_all(b"HTTP/1.1 204 No Content\r\nConnection: close\r\n\r\n");
                    return;
                }
                record.lock().unwrap().push(request.clone());
                let answer = answer(&request);
                let _ = stream.write_all(answer.as_bytes());
                if answer.contains("Content-Length: 1000") {
                    // Cut off in mid-response: silent until the other side gives up.
                    let _ = stream.read(&mut byte);
                }
            });
        }
    });
    (address, seen)
}

#[test]
fn in_turn_and_around_a_dead_one_and_back() {
    let world = World::new();
    let a = remote(&world, "a", "127.0.0.1:0");
    let mut b = remote(&world, "b", "127.0.0.1:0");
    let webd = front(&world, &[a.address(), b.address()], &["--balance", "round-robin"]);
    let texts = |count: usize| -> Vec<String> {
        (0..count).map(|_| get(webd.address(), "/").text().to_owned()).collect()
    };
    let first = texts(10);
    assert_eq!(first.iter().filter(|text| *text == "a").count(), 5, "{first:?}");

    let load = Load::begin(webd.address(), "/", 4);
    let at = b.address();
    b.signal(Signal::SIGKILL);
    b.ends();
    metric(&webd, &format!("webd_remote_healthy{{remote=\"{at}\"}} 0"));
    assert!(texts(4).iter().all(|text| text == "a"));
    let _b = remote(&world, "b", &at.to_string());
    metric(&webd, &format!("webd_remote_healthy{{remote=\"{at}\"}} 1"));
    assert!(texts(10).iter().any(|text| text == "b"));
    let (done, lost) = load.end();
    eprintln!("{done} requests through a remote's death, {} lost", lost.len());
    assert!(lost.is_empty(), "{lost:?}");
    webd.says("not healthy: no requests go there", 1);
}

/// What a remote may have carried out is not sent again, unless that does no harm.
#[test]
fn only_idempotent_requests_are_tried_again() {
    let world = World::new();
    // Each takes requests and closes without an answer.
    let (a, seen_a) = stub(|_| "");
    let (b, seen_b) = stub(|_| "");
    let webd = front(&world, &[a, b], &[]);
    let tries = || {
        let taken = |seen: &Mutex<Vec<String>>| std::mem::take(&mut *seen.lock().unwrap()).len();
        (taken(&seen_a), taken(&seen_b))
    };
    assert_eq!(get(webd.address(), "/").status, 502);
    assert_eq!(tries(), (1, 1));
    for headers in ["Content-Length: 0\r\n", ""] {
        assert_eq!(ask(webd.address(), "POST", "/", headers).status, 502);
        let (a, b) = tries();
        assert_eq!(a + b, 1, "a POST is tried once");
    }
    drop(webd);
    // With nobody there, nothing has been sent, so it is tried again, whatever it is.
    let nobody = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let (good, _) = stub(|_| "HTTP/1.1 201 Created\r\nContent-Length: 2\r\n\r\nok");
    let webd = front(&world, &[nobody, good], &["--health-interval", "60"]);
    for _ in 0..4 {
        assert_eq!(ask(webd.address(), "POST", "/", "Content-Length: 0\r\n").status, 201);
    }
}

/// It ends within the time that a remote may be silent.
#[test]
fn a_remote_that_is_cut_off() {
    let world = World::new();
    let (half, _) = stub(|_| "HTTP/1.1 200 OK\r\nContent-Length: 1000\r\n\r\nhalf");
    let webd = front(&world, &[half], &["--remote-timeout", "0.5"]);
    let begin = Instant::now();
    let mut stream = connect(webd.address()).unwrap();
    stream.write_all(b"GET / HTTP/1.1\r\nHost: test\r\n\r\n").unwrap();
    assert!(read_response(&mut BufReader::new(stream), false).is_err(), "it is not whole");
    assert!(begin.elapsed() < Duration::from_secs(10), "{:?}", begin.elapsed());
    assert_eq!(get_status_of_none(&world), 503);
}

/// With every remote dead there is an answer all the same.
fn get_status_of_none(world: &World) -> u16 {
    let nobody = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let webd = front(world, &[nobody], &[]);
    metric(&webd, &format!("webd_remote_healthy{{remote=\"{nobody}\"}} 0"));
    get(webd.address(), "/").status
}

#[test]
fn headers_of_one_connection_stay_there() {
    let world = World::new();
    let (remote, seen) = stub(|_| {
        "HTTP/1.1 200 OK\r\nConnection: X-Private, close\r\nX-Private: 1\r\nX-Public: 2\r\n\
         Content-Length: 2\r\n\r\nok"
    });
    let webd = front(&world, &[remote], &["--max-body-kib", "1"]);
    let headers = "Connection: X-Secret, X-Forwarded-For\r\nX-Secret: 1\r\nTE: trailers\r\n\
                   Upgrade: websocket\r\nX-Forwarded-For: 192.0.2.9\r\nX-Other: 3\r\n";
    let response = ask(webd.address(), "GET", "/path?query", headers);
    assert_eq!((response.text(), response.header("x-public")), ("ok", "2"));
    assert_eq!(response.header("x-private"), "");
    let request = seen.lock().unwrap()[0].to_lowercase();
    assert!(request.starts_with("get /path?query http/1.1\r\n"), "{request}");
    assert!(request.contains("\r\nx-forwarded-for: 192.0.2.9, 127.0.0.1\r\n"), "{request}");
    assert!(request.contains("\r\nx-other: 3\r\n") && request.contains("\r\nhost: test\r\n"));
    for absent in ["x-secret", "te:", "upgrade", "connection:"] {
        assert!(!request.contains(&format!("\r\n{absent}")), "{absent}: {request}");
    }
    let large = format!("Content-Length: 2000\r\n\r\n{}", "x".repeat(2000));
    assert_eq!(ask(webd.address(), "POST", "/", &large).status, 413);
}
