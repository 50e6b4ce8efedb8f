//! Requests that are not what they should be, and clients that take their time.

use std::io::{BufReader, Read, Write};
use std::time::{Duration, Instant};

use crate::http::{connect, get, raw, read_response};
use crate::world::World;

/// A request whose end could be seen elsewhere by whoever passed it on is refused, and nothing
/// after it on the connection is taken for a request.
#[test]
fn requests_that_could_be_read_in_two_ways() {
    let world = World::new();
    world.write("www/smuggled", "SMUGGLED");
    let webd = world.serve(&[]);
    let smuggled = "GET /smuggled HTTP/1.1\r\nHost: test\r\n\r\n";
    for headers in [
        "Host: test\r\nContent-Length: 5\r\nTransfer-Encoding: chunked\r\n",
        "Host: test\r\nTransfer-Encoding: chunked\r\nContent-Length: 5\r\n",
        "Host: test\r\nContent-Length: 5\r\nContent-Length: 6\r\n",
        "Host: test\r\nContent-Length: +5\r\n",
        "Host: test\r\nContent-Length: 5, 5x\r\n",
        "Host: test\r\nTransfer-Encoding: xchunked\r\n",
        "Host: test\r\nTransfer-Encoding: chunked, identity\r\n",
        "Host: test\r\nTransfer-Encoding : chunked\r\n",
        "Host: test\r\nContent-Length : 5\r\n",
        "Host: test\r\nX: a\r\n Transfer-Encoding: chunked\r\n",
        "Host: a\r\nHost: b\r\n",
        "",
        "Host: test\r\nX: \0\r\n",
    ] {
        let request = format!("POST / HTTP/1.1\r\n{headers}\r\n0\r\n\r\n{smuggled}");
        let mut stream = connect(webd.address()).unwrap();
        stream.write_all(request.as_bytes()).unwrap();
        let mut answer = Vec::new();
        let _ = stream.read_to_end(&mut answer);
        let answer = String::from_utf8_lossy(&answer);
        // With both kinds of length the chunks count, and the connection ends (RFC 9112, 6.1).
        let both =
            headers.contains("Length: 5\r\nTransfer") || headers.contains("chunked\r\nContent");
        let expected = if both { "HTTP/1.1 405 " } else { "HTTP/1.1 400 " };
        assert!(answer.is_empty() || answer.starts_with(expected), "{headers:?}: {answer}");
        assert!(!answer.contains("SMUGGLED"), "{headers:?}: {answer}");
    }
    let old = "GET / HTTP/1.0\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n";
    assert!(raw(webd.address(), old.as_bytes()).is_ok_and(|response| response.status == 400));
    let long = format!("GET / HTTP/1.1\r\nHost: test\r\nX: {}\r\n\r\n", "x".repeat(100_000));
    assert!(raw(webd.address(), long.as_bytes()).map_or(true, |response| response.status == 431));
    assert!(!webd.messages().contains("replaced"), "{}", webd.messages());
}

/// Drops of a header extend nothing; others are served meanwhile.
#[test]
fn slow_headers_are_not_waited_for() {
    let world = World::new();
    let webd = world.serve(&["--workers", "1", "--header-timeout", "0.5"]);
    let begin = Instant::now();
    let mut silent = connect(webd.address()).unwrap();
    let mut slow = connect(webd.address()).unwrap();
    slow.set_read_timeout(Some(Duration::from_millis(20))).unwrap();
    slow.write_all(b"GET / HTTP/1.1\r\n").unwrap();
    loop {
        // The wait between two drops is the wait for the end.
        match slow.read(&mut [0]) {
            Ok(0) => break,
            Ok(_) => panic!("an answer to half a request"),
            Err(error) if error.kind() == std::io::ErrorKind::ConnectionReset => break,
            Err(_) => {}
        }
        let _ = slow.write_all(b"X: y\r\n");
        assert_eq!(get(webd.address(), "/").status, 200);
        assert!(begin.elapsed() < Duration::from_secs(20), "still open");
    }
    assert!(begin.elapsed() >= Duration::from_millis(450), "{:?}", begin.elapsed());
    assert_eq!(silent.read(&mut [0]).unwrap(), 0, "nor is silence");
}

#[test]
fn idle_connections_are_closed_and_busy_ones_kept() {
    let world = World::new();
    let webd = world.serve(&["--idle-timeout", "1", "--header-timeout", "30"]);
    let mut stream = connect(webd.address()).unwrap();
    let mut reader = BufReader::new(stream.try_clone().unwrap());
    let mut begin = Instant::now();
    for _ in 0..3 {
        begin = Instant::now();
        stream.write_all(b"GET / HTTP/1.1\r\nHost: test\r\n\r\n").unwrap();
        assert_eq!(read_response(&mut reader, false).unwrap().status, 200);
    }
    assert_eq!(reader.read(&mut [0]).unwrap(), 0);
    assert!(begin.elapsed() >= Duration::from_millis(990), "{:?}", begin.elapsed());
}

/// A client that leaves its response unread is not served for ever.
#[test]
fn a_response_that_nobody_reads_is_given_up() {
    let world = World::new();
    std::fs::File::create(world.path("www/large")).unwrap().set_len(256 << 20).unwrap();
    let webd =
        world.serve(&["--workers", "1", "--write-timeout", "0.4", "--metrics", "127.0.0.1:0"]);
    let mut stream = connect(webd.address()).unwrap();
    stream.write_all(b"GET /large HTTP/1.1\r\nHost: test\r\n\r\n").unwrap();
    crate::operation::metric(&webd, "webd_timeouts_total{state=\"response\"} 1");
    let mut got = Vec::new();
    let _ = stream.read_to_end(&mut got);
    assert!(got.len() < 256 << 20);
}
