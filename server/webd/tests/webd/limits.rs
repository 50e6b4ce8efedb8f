//! Connections in all and of one address, and a rate.

use std::io::{BufReader, Read, Write};

use crate::http::{connect, get, read_response};
use crate::operation::metric;
use crate::world::{World, until};

#[test]
fn more_connections_than_allowed_wait_for_their_turn() {
    let world = World::new();
    let webd =
        world.serve(&["--workers", "1", "--max-connections", "2", "--metrics", "127.0.0.1:0"]);
    let ask = |mut stream: &std::net::TcpStream| {
        stream.write_all(b"GET / HTTP/1.1\r\nHost: test\r\n\r\n").unwrap();
    };
    let first = connect(webd.address()).unwrap();
    let second = connect(webd.address()).unwrap();
    for stream in [&first, &second] {
        ask(stream);
        assert_eq!(read_response(&mut BufReader::new(stream), false).unwrap().status, 200);
    }
    let third = connect(webd.address()).unwrap();
    ask(&third);
    metric(&webd, "webd_accepted_total 2");
    drop(first);
    assert_eq!(read_response(&mut BufReader::new(&third), false).unwrap().status, 200);
    metric(&webd, "webd_accepted_total 3");
}

#[test]
fn one_address_has_its_share() {
    let world = World::new();
    let webd = world.serve(&["--workers", "1", "--max-connections-per-address", "3"]);
    let held: Vec<_> = (0..3)
        .map(|_| {
            let mut stream = connect(webd.address()).unwrap();
            stream.write_all(b"GET / HTTP/1.1\r\nHost: test\r\n\r\n").unwrap();
            let response = read_response(&mut BufReader::new(&stream), false).unwrap();
            assert_eq!(response.status, 200);
            stream
        })
        .collect();
    let mut refused = connect(webd.address()).unwrap();
    match refused.read(&mut [0]) {
        Ok(read) => assert_eq!(read, 0),
        Err(error) => assert_eq!(error.kind(), std::io::ErrorKind::ConnectionReset),
    }
    drop(held);
    until("a connection again", || {
        let mut stream = connect(webd.address()).ok()?;
        stream.write_all(b"GET / HTTP/1.1\r\nHost: test\r\n\r\n").ok()?;
        read_response(&mut BufReader::new(&stream), false).ok()
    });
}

#[test]
fn a_rate_is_kept() {
    let world = World::new();
    let webd = world.serve(&["--workers", "1", "--rate", "1", "--burst", "5"]);
    let responses: Vec<_> = (0..12).map(|_| get(webd.address(), "/")).collect();
    let served = responses.iter().filter(|response| response.status == 200).count();
    let limited: Vec<_> = responses.iter().filter(|response| response.status == 429).collect();
    assert_eq!(served + limited.len(), 12);
    assert!((5..=11).contains(&served), "{served} served");
    assert!(limited.iter().all(|response| response.header("retry-after") == "1"));
    until("another second", || (get(webd.address(), "/").status == 200).then_some(()));
}

/// Idle connections cost little and hold nobody up.
#[test]
fn many_idle_connections() {
    let world = World::new();
    // As many as a test may open, with some to spare; the server has its own allowance.
    let (soft, _) =
        nix::sys::resource::getrlimit(nix::sys::resource::Resource::RLIMIT_NOFILE).unwrap();
    let many = (soft.saturating_sub(200) as usize).min(2000);
    let webd = world.serve(&["--header-timeout", "60"]);
    let idle: Vec<_> = (0..many).map(|_| connect(webd.address()).unwrap()).collect();
    assert_eq!(get(webd.address(), "/").text(), "the index");
    drop(idle);
    assert_eq!(get(webd.address(), "/").text(), "the index");
}
