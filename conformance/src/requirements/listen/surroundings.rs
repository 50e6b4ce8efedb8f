//! listen/ : what a host has beside the server: options that cannot be set, ports that are taken, names
//! that mean loopback, clients that stand still.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, TcpListener, TcpStream};
use std::os::fd::{AsRawFd, OwnedFd};
use std::time::Duration;

use crate::harness::{Check, Options, Server, free_port};
use crate::needs::Need;
use crate::platform;
use crate::requirement::{Controls, Requirement, by};
use crate::requirements::situations::{
    blocked_client, names, refuses_to_start, slow_clients_are_apart,
};
use crate::stop::{OrError, Outcome, Step, Stop, ensure, fail};
use crate::subject::{Claim, Kind};
use forkproof_report::Level;

pub(in crate::requirements) const REQUIREMENTS: &[Requirement] = &[
    Requirement {
        id: "listen/v6only-cannot-be-set",
        title: "IPv6 is served where IPV6_V6ONLY cannot be set, since it is always on",
        level: Level::Should,
        clause: "OpenBSD ip6(4), IPV6_V6ONLY: IPv6 sockets are always IPv6 only, the option is read-only; setsockopt: [EINVAL]",
        trap: "EINVAL from setsockopt taken as fatal, although the socket is just what was wanted: no IPv6 at all on OpenBSD",
        fix: "when the option cannot be set, ask with getsockopt what it is, and go on if it is right",
        references: &[
            "openssl/openssl#6960",
            "zeromq/libzmq#2630",
            "weechat/weechat#1213",
            "haskell/network#226",
        ],
        needs: &[Need::Ipv6],
        claims: &[Claim::Ipv6],
        controls: Controls::By(&[by("option-failure-ends", "starts and listens")]),
        exclusive: false,
        check: v6only_cannot_be_set,
    },
    Requirement {
        id: "listen/one-family-taken",
        title: "When the port is in use in one family, the server refuses to start or says which family it does without",
        level: Level::Must,
        clause: "POSIX.1-2024, bind: [EADDRINUSE]; RFC 3493, 5.3: the families have ports of their own",
        trap: "the server carries on with one socket of the two: half of the clients reach another program, and the log does not say so",
        fix: "treat EADDRINUSE as final for the default addresses too, or at least name the address that is not served",
        references: &["redis/redis#3020"],
        needs: &[Need::Ipv6],
        claims: &[Claim::DualStack, Claim::StartupErrors],
        controls: Controls::By(&[
            by("bind-moves", "says that it does without"),
            by("exits-zero", "exit non-zero"),
        ]),
        exclusive: false,
        check: one_family_taken,
    },
    Requirement {
        id: "listen/loopback-only-host",
        title: "localhost is listened on where loopback is the only interface",
        level: Level::Should,
        clause: "RFC 3493, 6.1: AI_ADDRCONFIG, the loopback address is not considered as configured; RFC 6761, 6.3: localhost",
        trap: "getaddrinfo with AI_ADDRCONFIG finds no address for localhost in a container or a build machine without a network: the server does not start there",
        fix: "resolve addresses to listen on without AI_ADDRCONFIG; AI_PASSIVE is what a server needs",
        references: &["zeromq/libzmq#42", "tornadoweb/tornado#593", "NagiosEnterprises/nsca#53"],
        needs: &[Need::Ipv6, Need::NetworkNamespace],
        claims: &[],
        controls: Controls::By(&[by("addrconfig", "starts and listens")]),
        exclusive: false,
        check: loopback_only_host,
    },
    Requirement {
        id: "listen/blocking-client-stalls-nobody",
        title: "A client that is silent, sends half a request or does not read delays nobody else",
        level: Level::Must,
        clause: "POSIX.1-2024, read and send: a call on a blocking socket blocks until there is data, or room",
        trap: "one process reads from or writes to its clients in turn on blocking sockets: one stalled client stops the service for all",
        fix: "a process or a thread for each client, or non-blocking sockets and poll for both directions",
        references: &[],
        needs: &[],
        claims: &[],
        controls: Controls::By(&[by("serves-in-turn", "is let in|is served|is answered")]),
        exclusive: false,
        check: blocking_client_stalls_nobody,
    },
];

fn v6only_cannot_be_set(check: &mut Check) -> Outcome {
    let port = free_port()?;
    let told = Options::new().listen(format!("[::]:{port}")).under("v6only-fixed");
    let server = check.server_with(told)?;
    server.join_at("alice", SocketAddr::from((Ipv6Addr::LOCALHOST, port)))?.barrier()?;
    let can_be_told = check.target().manifest.options.any_address.is_some();
    if !check.has(Claim::DualStack) || !can_be_told {
        return Ok(());
    }
    server.end()?;
    let server = check.server_with(Options::new().default_addresses().under("v6only-fixed"))?;
    let port = server.address().port();
    server.join_at("bob, IPv6", SocketAddr::from((Ipv6Addr::LOCALHOST, port)))?;
    server.join_at("carol, IPv4", SocketAddr::from((Ipv4Addr::LOCALHOST, port))).map(drop)
}

fn one_family_taken(check: &mut Check) -> Outcome {
    let loopback: [IpAddr; 2] = [Ipv4Addr::LOCALHOST.into(), Ipv6Addr::LOCALHOST.into()];
    for (taken, other) in [("[::]", loopback[0]), ("0.0.0.0", loopback[1])] {
        let port = free_port()?;
        let owner = take_one_family(port, other.is_ipv4())?;
        check.note(format!("another program listens on {taken}:{port}"));
        let launched = check.launch(Options::new().default_addresses_on(port))?;
        let Some(server) = &launched.server else {
            let what = format!("a default address that is in use ({taken}:{port})");
            // Its default may be loopback.
            let own = if other.is_ipv4() { "[::1]" } else { "127.0.0.1" };
            let said = |host: &&str| names(check, &launched.output, &format!("{host}:{port}"));
            let named = [taken, own].into_iter().find(said).unwrap_or(taken);
            refuses_to_start(check, &launched, &format!("{named}:{port}"), &what)?;
            continue;
        };
        let tells = tells_of_a_lack(&server.output(), port);
        ensure(
            tells || serves_at(server, loopback[usize::from(other.is_ipv4())], port)?,
            format!(
                "a server that starts although {taken}:{port} is in use says that it does without"
            ),
            || format!("its messages are: {}", server.output().trim().replace('\n', " / ")),
        )?;
        server.join_at("alice", SocketAddr::from((other, port)))?;
        server.end()?;
        drop(owner);
    }
    Ok(())
}

/// Whether the server itself serves there: BSD lets a loopback address be bound beside another's
/// wildcard (`SO_REUSEADDR`), and then nothing is lacking.
fn serves_at(server: &Server, ip: IpAddr, port: u16) -> Step<bool> {
    match server.join_at("bob", SocketAddr::from((ip, port))) {
        Ok(_) => Ok(true),
        Err(Stop::Fail(_)) => Ok(false),
        Err(other) => Err(other),
    }
}

/// A socket that listens on the wildcard address of one family, and leaves the other alone.
fn take_one_family(port: u16, ipv6: bool) -> Step<OwnedFd> {
    use nix::sys::socket::{
        AddressFamily, Backlog, SockFlag, SockType, SockaddrStorage, bind, listen, setsockopt,
        socket, sockopt::Ipv6V6Only,
    };
    if !ipv6 {
        return Ok(TcpListener::bind((Ipv4Addr::UNSPECIFIED, port)).or_error("bind")?.into());
    }
    let owner = socket(AddressFamily::Inet6, SockType::Stream, SockFlag::SOCK_CLOEXEC, None)
        .or_error("socket")?;
    setsockopt(&owner, Ipv6V6Only, &true).or_error("IPV6_V6ONLY")?;
    let at = SockaddrStorage::from(SocketAddr::from((Ipv6Addr::UNSPECIFIED, port)));
    bind(owner.as_raw_fd(), &at).or_error("bind")?;
    listen(&owner, Backlog::MAXCONN).or_error("listen")?;
    Ok(owner)
}

/// Whether a line of a server's messages says that something is not listened on.
fn tells_of_a_lack(messages: &str, port: u16) -> bool {
    const FAILS: [&str; 8] =
        ["cannot", "can't", "could not", "couldn't", "fail", "unable", "error", " not "];
    const FAMILY: [&str; 4] = ["ipv4", "ipv6", "::", "0.0.0.0"];
    let has = |line: &str, words: &[&str]| words.iter().any(|word| line.contains(word));
    let port = port.to_string();
    messages.to_lowercase().lines().any(|line| {
        has(line, &["in use", "eaddrinuse"])
            || has(line, &FAILS) && (has(line, &FAMILY) || line.contains(&port))
            || has(line, &["only"]) && has(line, &FAMILY)
    })
}

fn loopback_only_host(check: &mut Check) -> Outcome {
    // Another program may take the port before the server does, so more than one is tried.
    const TRIES: usize = 3;
    let mut tries = 1;
    let (port, named) = loop {
        let port = free_port()?;
        let named = format!("localhost:{port}");
        let here = check.launch(Options::new().listen(&named))?;
        match here.server {
            Some(server) => {
                server.end()?;
                break (port, named);
            }
            None if tries < TRIES => tries += 1,
            None => {
                return Err(Stop::Unsupported(format!(
                    "it does not listen on {named} elsewhere either: {}",
                    here.outcome()
                )));
            }
        }
    };
    platform::enter_private_network().map_err(Stop::NotRun)?;
    check.note("enters a network that has nothing but loopback");
    let server = check.server_with(Options::new().listen(&named))?;
    server.join_at("alice", reachable(&server, port)?)?.barrier()
}

/// Which of the two that localhost may mean accepts connections.
fn reachable(server: &Server, port: u16) -> Step<SocketAddr> {
    const A_MOMENT: Duration = Duration::from_secs(5);
    let both: [IpAddr; 2] = [Ipv4Addr::LOCALHOST.into(), Ipv6Addr::LOCALHOST.into()];
    for host in both {
        let at = SocketAddr::from((host, port));
        if TcpStream::connect_timeout(&at, A_MOMENT).is_ok() {
            return Ok(at);
        }
    }
    fail(
        format!("localhost:{port} accepts connections on 127.0.0.1 or ::1"),
        format!("neither does; the server says: {}", server.output().trim()),
    )
}

fn blocking_client_stalls_nobody(check: &mut Check) -> Outcome {
    let apart = slow_clients_are_apart(check);
    check.needs_clients(if apart { 5 } else { 4 })?;
    let server = check.server()?;
    let mut alice = server.join("alice")?;
    check.act();
    // The first of them, since its process is told by being new.
    let blocked = match apart {
        true => Some(blocked_client(check, &server, &mut alice, "not reading")?),
        false => None,
    };
    let silent = server.connect("silent")?;
    let half = match check.target().manifest.wire.kind {
        Kind::Greeting => server.connect("another silent one")?,
        _ => server.begin("half a request")?.0,
    };
    let mut bob = server.join("bob")?;
    bob.barrier()?;
    alice.barrier()?;
    drop((silent, half, blocked));
    Ok(())
}
