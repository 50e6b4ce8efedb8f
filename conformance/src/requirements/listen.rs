//! listen/ : sockets, addresses and ports.
//!
//! One file however long, as each area's: the code of an id is found by its area.

pub(super) mod managed;
pub(super) mod surroundings;

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, SocketAddrV6, TcpListener, TcpStream};
use std::time::{Duration, Instant};

use nix::sys::signal::Signal;

use super::situations::{
    as_user, blocked_client, both_are_served, idle_cost, lines, refuses_to_start, remembered,
    slow_clients_are_apart, unused_user,
};
use crate::harness::{Check, Client, Options, Server, free_port};
use crate::needs::Need;
use crate::platform;
use crate::requirement::{Controls, Requirement, by};
use crate::stop::{OrError, Outcome, Step, Stop, ensure, fail};
use crate::subject::Claim;
use forkproof_report::Level;

pub(super) const REQUIREMENTS: &[Requirement] = &[
    Requirement {
        id: "listen/clients-are-served",
        title: "Clients are served one after another and at the same time",
        level: Level::Must,
        clause: "POSIX.1-2024, accept: extracts the first connection on the queue; the server's own protocol",
        trap: "the accept loop ends with the first client or waits for it, and the second stays in the queue for ever; or a new child misses a signal that was sent before its first wait",
        fix: "keep accepting, whatever happens to connected clients; where a system overlooks what is pending at a fork (FreeBSD 13.2), open and close the mask before each wait",
        references: &[],
        needs: &[],
        claims: &[],
        controls: Controls::By(&[
            by("accept-loop-ends", "is let in|closed the connection|cannot"),
            by("stale-mask-after-fork=50", "is let in").but_not_on(
                "freebsd",
                "what it imitates is FreeBSD's own, and the reference server minds it there",
            ),
        ]),
        exclusive: false,
        check: clients_are_served,
    },
    Requirement {
        id: "listen/default-serves-both-families",
        title: "With no address configured, clients connect to 127.0.0.1 and to ::1",
        level: Level::Must,
        clause: "RFC 3493, 5.3; FreeBSD inet6(4), net.inet6.ip6.v6only=1; OpenBSD inet6(4): always IPv6 only",
        trap: "a single [::] socket serves IPv4 too on Linux and not on FreeBSD or OpenBSD: the paper's server was IPv6 only there",
        fix: "open one socket for each family and set IPV6_V6ONLY on the IPv6 one",
        references: &[],
        needs: &[Need::Ipv6],
        claims: &[Claim::DualStack],
        controls: Controls::By(&[
            by("no-v6only", "Address already in use").but_not_on(
                "freebsd",
                "with SO_REUSEADDR both wildcards can be bound there, and both families are served",
            ),
            by("no-ipv6", "can connect to [::1]"),
        ]),
        exclusive: false,
        check: default_serves_both_families,
    },
    Requirement {
        id: "listen/ipv6-wildcard-is-ipv6-only",
        title: "[::] alone refuses IPv4",
        level: Level::Must,
        clause: "RFC 3493, 5.3: IPV6_V6ONLY restricts a socket to IPv6",
        trap: "the system's default decides whether [::] means both families: the same configuration is open to IPv4 on one system and not on the other",
        fix: "set IPV6_V6ONLY explicitly on every IPv6 socket",
        references: &[],
        needs: &[Need::Ipv6],
        claims: &[Claim::Ipv6],
        controls: Controls::By(&[by("no-v6only", "IPV6_V6ONLY was left to the system's default")]),
        exclusive: false,
        check: ipv6_wildcard_is_ipv6_only,
    },
    Requirement {
        id: "listen/ipv6-wildcard-under-either-default",
        title: "[::] alone refuses IPv4 whether net.ipv6.bindv6only is 0 or 1",
        level: Level::Must,
        clause: "ipv6(7), /proc/sys/net/ipv6/bindv6only",
        trap: "relying on the sysctl's default, which distributions and administrators change",
        fix: "set IPV6_V6ONLY explicitly on every IPv6 socket",
        references: &[],
        needs: &[Need::Ipv6, Need::NetworkNamespace],
        claims: &[Claim::Ipv6],
        controls: Controls::By(&[by("no-v6only", "IPV6_V6ONLY was left to the system's default")]),
        exclusive: false,
        check: ipv6_wildcard_under_either_default,
    },
    Requirement {
        id: "listen/same-port-both-families",
        title: "0.0.0.0 and [::] can be configured together on one port",
        level: Level::Must,
        clause: "RFC 3493, 5.3; Linux ipv6(7): without IPV6_V6ONLY [::] takes the port for IPv4 too",
        trap: "EADDRINUSE on Linux for the second of the two, in either order; it works on FreeBSD",
        fix: "set IPV6_V6ONLY before bind",
        references: &[],
        needs: &[Need::Ipv6],
        claims: &[Claim::Ipv6],
        controls: Controls::By(&[by("no-v6only", "Address already in use")]),
        exclusive: false,
        check: same_port_both_families,
    },
    Requirement {
        id: "listen/same-port-under-either-default",
        title: "0.0.0.0 and [::] share a port whether net.ipv6.bindv6only is 0 or 1",
        level: Level::Must,
        clause: "ipv6(7), /proc/sys/net/ipv6/bindv6only",
        trap: "works on the developer's machine, where the sysctl is 1 or the order is lucky",
        fix: "set IPV6_V6ONLY before bind",
        references: &[],
        needs: &[Need::Ipv6, Need::NetworkNamespace],
        claims: &[Claim::Ipv6],
        controls: Controls::By(&[by("no-v6only", "Address already in use")]),
        exclusive: false,
        check: same_port_under_either_default,
    },
    Requirement {
        id: "listen/kernel-without-ipv6",
        title: "On a kernel without IPv6 the default serves IPv4, and an explicit [::] fails clearly",
        level: Level::Must,
        clause: "POSIX.1-2024, socket: [EAFNOSUPPORT]; kernel parameter ipv6.disable=1",
        trap: "EAFNOSUPPORT taken as fatal although nobody asked for IPv6, or ignored although someone did",
        fix: "treat it as a remark for the default addresses and as an error for a named one",
        references: &[],
        needs: &[Need::Ipv6Absence],
        claims: &[Claim::DualStack, Claim::StartupErrors],
        controls: Controls::By(&[by("no-ipv4", "cannot listen on 0.0.0.0")]),
        exclusive: false,
        check: kernel_without_ipv6,
    },
    Requirement {
        id: "listen/ipv6-disabled-on-interfaces",
        title: "With IPv6 disabled on all interfaces the default still serves IPv4, and an explicit [::1] fails clearly",
        level: Level::Should,
        clause: "Linux ip-sysctl, conf/all/disable_ipv6: sockets can be made, ::1 does not exist",
        trap: "EADDRNOTAVAIL for the IPv6 socket taken as fatal, although socket() worked",
        fix: "treat EADDRNOTAVAIL of the default IPv6 address as EAFNOSUPPORT",
        references: &[],
        needs: &[Need::NetworkNamespace],
        claims: &[Claim::DualStack, Claim::StartupErrors],
        controls: Controls::By(&[by("no-ipv4", "cannot listen on 0.0.0.0")]),
        exclusive: false,
        check: ipv6_disabled_on_interfaces,
    },
    Requirement {
        id: "listen/port-in-use",
        title: "A port in use is an error that names the address, also from the launcher of a daemon, and its owner is not disturbed",
        level: Level::Must,
        clause: "POSIX.1-2024, bind: [EADDRINUSE]",
        trap: "the error comes after the launcher has exited 0; or SO_REUSEPORT makes it no error at all",
        fix: "bind before the launcher returns, without SO_REUSEPORT",
        references: &[],
        needs: &[],
        claims: &[Claim::StartupErrors],
        controls: Controls::By(&[by("exits-zero", "exit non-zero")]),
        exclusive: false,
        check: port_in_use,
    },
    Requirement {
        id: "listen/privileged-port",
        title: "A port that needs privileges is a clear error for an ordinary user",
        level: Level::Must,
        clause: "POSIX.1-2024, bind: [EACCES]; ip(7), ip_unprivileged_port_start",
        trap: "\"Permission denied\" without the address, or a silent change to another port",
        fix: "name the address and what it takes",
        references: &[],
        needs: &[],
        claims: &[Claim::StartupErrors],
        controls: Controls::By(&[by("exits-zero", "exit non-zero")]),
        exclusive: false,
        check: privileged_port,
    },
    Requirement {
        id: "listen/bad-address",
        title: "An invalid address is refused with an error that names it",
        level: Level::Must,
        clause: "POSIX.1-2024, inet_pton; RFC 4007, 11 (scope ids)",
        trap: "atoi and inet_addr: nonsense becomes port 0 or 255.255.255.255",
        fix: "parse strictly and repeat what was written",
        references: &[],
        needs: &[],
        claims: &[Claim::StartupErrors],
        controls: Controls::By(&[by("exits-zero", "exit non-zero")]),
        exclusive: false,
        check: bad_address,
    },
    Requirement {
        id: "listen/unresolvable-host",
        title: "A host name that does not resolve is an error that names it",
        level: Level::Must,
        clause: "POSIX.1-2024, getaddrinfo: [EAI_NONAME], [EAI_AGAIN]; RFC 6761, 6.4: .invalid never resolves",
        trap: "getaddrinfo's error is not in errno: perror says Success",
        fix: "use gai_strerror and name the host",
        references: &[],
        needs: &[],
        claims: &[Claim::StartupErrors],
        controls: Controls::By(&[by("exits-zero", "exit non-zero")]),
        exclusive: false,
        check: unresolvable_host,
    },
    Requirement {
        id: "listen/rebind-over-time-wait",
        title: "A restart binds the port again at once, although connections of the old server are in TIME_WAIT",
        level: Level::Must,
        clause: "RFC 9293, 3.6.1 (TIME-WAIT); POSIX.1-2024, SO_REUSEADDR",
        trap: "without SO_REUSEADDR bind fails for a minute or more after a restart",
        fix: "set SO_REUSEADDR before bind",
        references: &[],
        needs: &[],
        claims: &[Claim::EndsAll],
        controls: Controls::By(&[by("no-reuseaddr", "Address already in use")]),
        exclusive: false,
        check: rebind_over_time_wait,
    },
    Requirement {
        id: "listen/rebind-while-clusters-live",
        title: "The daemon is killed, its clients chat on, and a new daemon binds the same port",
        level: Level::Must,
        clause: "POSIX.1-2024, fork: children have copies of all descriptors",
        trap: "a child still holds the listening socket: the port stays taken for as long as any old client stays",
        fix: "close the listening sockets in each child, right after fork",
        references: &[],
        needs: &[Need::ProcessTable],
        claims: &[Claim::IndependentClients, Claim::Again],
        controls: Controls::By(&[
            by("listener-leaks", "Address already in use"),
            by("no-reuseaddr", "Address already in use"),
        ]),
        exclusive: false,
        check: rebind_while_clusters_live,
    },
    Requirement {
        id: "listen/no-double-listen",
        title: "A second daemon on a port where one listens is refused",
        level: Level::Must,
        clause: "POSIX.1-2024, bind: [EADDRINUSE]; socket(7), SO_REUSEPORT; FreeBSD setsockopt(2), SO_REUSEPORT",
        trap: "SO_REUSEPORT, set where SO_REUSEADDR was meant: both daemons listen and each gets some of the clients",
        fix: "set SO_REUSEADDR alone, and treat EADDRINUSE as final",
        references: &[],
        needs: &[],
        claims: &[Claim::StartupErrors],
        controls: Controls::By(&[by("reuseport-steal", "on which another daemon listens")]),
        exclusive: false,
        check: no_double_listen,
    },
    Requirement {
        id: "listen/children-do-not-hold-the-listener",
        title: "No client's process has a listening socket or another client's socket open",
        level: Level::Must,
        clause: "POSIX.1-2024, fork; CWE-403: exposure of a descriptor to an unintended control sphere",
        trap: "descriptors that come through fork stay open: ports stay bound, and connections never end since a stranger's process holds them",
        fix: "close what is not the child's own, right after fork",
        references: &[],
        needs: &[Need::ProcessTable, Need::DescriptorTable],
        claims: &[Claim::ProcessPerClient],
        controls: Controls::By(&[by("listener-leaks", "has a listening socket open")]),
        exclusive: false,
        check: children_do_not_hold_the_listener,
    },
    Requirement {
        id: "listen/accepted-socket-state",
        title: "Clients are served the same, idle or not reading, whatever state an accepted socket inherits",
        level: Level::Must,
        clause: "accept(2): BSD systems pass O_NONBLOCK on from the listening socket, Linux does not; POSIX.1-2024, accept4",
        trap: "a listener made non-blocking gives non-blocking clients on BSD: EAGAIN from read ends an idle client or spins",
        fix: "set the state of each accepted socket explicitly, and expect EAGAIN",
        references: &[],
        needs: &[Need::ProcessTable, Need::ProcessorTime],
        claims: &[],
        controls: Controls::By(&[by("busy-wait", "uses no processor time")]),
        exclusive: false,
        check: accepted_socket_state,
    },
    Requirement {
        id: "listen/connect-burst",
        title: "128 simultaneous connections are all served, none of them after a SYN was sent again",
        level: Level::Must,
        clause: "POSIX.1-2024, listen: backlog; RFC 6298, 2: the first retransmission comes after 1 s",
        trap: "listen(fd, 5): a burst overflows the queue and every client beyond it waits a second or more",
        fix: "ask for a backlog of SOMAXCONN or more, and accept without delay",
        references: &[],
        needs: &[Need::QueueOverflows],
        claims: &[],
        controls: Controls::By(&[by("small-backlog", "full")]),
        exclusive: false,
        check: connect_burst,
    },
    Requirement {
        id: "listen/aborted-before-accept",
        title: "Connections that are reset before they are accepted harm nothing",
        level: Level::Must,
        clause: "POSIX.1-2024, accept: [ECONNABORTED]; Linux accepts them and the first read fails",
        trap: "ECONNABORTED taken as fatal on the systems that have it; or a blocking accept that waits for the next client and hears no signal meanwhile",
        fix: "listen on non-blocking sockets and go on after ECONNABORTED",
        references: &[],
        needs: &[Need::ProcessTable],
        claims: &[],
        controls: Controls::By(&[by("aborted-is-fatal", "bob is let in|bob cannot")]),
        exclusive: false,
        check: aborted_before_accept,
    },
    Requirement {
        id: "listen/peer-address-is-plain",
        title: "An IPv4 client is logged by its IPv4 address, never as ::ffff:",
        level: Level::Should,
        clause: "RFC 4291, 2.5.5.2 (IPv4-mapped addresses)",
        trap: "a dual-stack socket reports mapped addresses: logs, bans and access lists don't match them",
        fix: "serve IPv4 on an IPv4 socket, or unmap addresses before showing them",
        references: &[],
        needs: &[],
        claims: &[Claim::PeerNames],
        controls: Controls::By(&[by("mapped-peers", "::ffff:")]),
        exclusive: false,
        check: peer_address_is_plain,
    },
    Requirement {
        id: "listen/loopback-alias",
        title: "Listening on 127.0.0.2 serves that address and not 127.0.0.1",
        level: Level::Should,
        clause: "RFC 1122, 3.2.1.3: all of 127.0.0.0/8 is loopback; FreeBSD has 127.0.0.1 only unless configured",
        trap: "a configured address that is resolved, compared with a list, or replaced by the wildcard",
        fix: "bind exactly what was configured",
        references: &[],
        needs: &[Need::LoopbackNet],
        claims: &[],
        controls: Controls::By(&[by("no-loopback-aliases", "cannot listen on 127.0.0.2")]),
        exclusive: false,
        check: loopback_alias,
    },
    Requirement {
        id: "listen/link-local-with-scope",
        title: "A link-local address with its scope can be listened on",
        level: Level::Should,
        clause: "RFC 4007, 11: address%zone; RFC 3493, 3.3: sin6_scope_id",
        trap: "the scope is cut off or refused by the parser, and bind fails with EINVAL",
        fix: "parse with getaddrinfo, or carry the scope id over to sin6_scope_id",
        references: &[],
        needs: &[Need::Ipv6, Need::NetworkNamespace],
        claims: &[Claim::Ipv6],
        controls: Controls::By(&[by(
            "bind-drops-scope",
            "Invalid argument|assign requested address",
        )]),
        exclusive: false,
        check: link_local_with_scope,
    },
];

fn clients_are_served(check: &mut Check) -> Outcome {
    check.act();
    let server = check.server()?;
    drop(server.join("first")?);
    let mut crowd = server.crowd(check.up_to(3))?;
    for client in &mut crowd.clients {
        client.barrier()?;
    }
    crowd.clients.pop();
    for number in 0..3 {
        drop(server.join(&format!("later-{number}"))?);
    }
    Ok(())
}

fn default_serves_both_families(check: &mut Check) -> Outcome {
    let server = check.server_with(Options::new().default_addresses())?;
    let port = server.address().port();
    let mut alice = server.join_at("alice, IPv4", SocketAddr::from((Ipv4Addr::LOCALHOST, port)))?;
    let mut bob = server.join_at("bob, IPv6", SocketAddr::from((Ipv6Addr::LOCALHOST, port)))?;
    alice.barrier()?;
    both_are_served(check, &mut alice, &mut bob, "over IPv4")?;
    both_are_served(check, &mut bob, &mut alice, "over IPv6")
}

/// A server that listens on `listen`, serves at `own`, and accepts nothing on 127.0.0.1; none if it
/// accepts there.
///
/// The same port there may by chance be another program's. It is not three times.
fn leaves_ipv4_loopback_alone(
    check: &mut Check,
    listen: &str,
    own: IpAddr,
) -> Step<Option<Server>> {
    for _ in 0..3 {
        let server = check.server_with(Options::new().listen(listen))?;
        let port = server.address().port();
        server.join_at("alice", SocketAddr::from((own, port)))?;
        let there = SocketAddr::from((Ipv4Addr::LOCALHOST, port));
        if TcpStream::connect_timeout(&there, check.scaled(Duration::from_secs(5))).is_err() {
            return Ok(Some(server));
        }
        check.note(format!("{there} accepts a connection; another server will show whose it is"));
        server.end()?;
    }
    Ok(None)
}

fn ipv6_wildcard_is_ipv6_only(check: &mut Check) -> Outcome {
    let server = leaves_ipv4_loopback_alone(check, "[::]:0", Ipv6Addr::LOCALHOST.into())?;
    let Some(server) = server else {
        return fail(
            "a server that listens on [::] alone refuses IPv4",
            "127.0.0.1 is accepted on its port: IPV6_V6ONLY was left to the system's default",
        );
    };
    // The end of the check asks again, by the first address.
    ensure(server.address().is_ipv6(), "the server listens on IPv6", || {
        server.address().to_string()
    })
}

fn same_port_both_families(check: &mut Check) -> Outcome {
    for order in [["0.0.0.0", "[::]"], ["[::]", "0.0.0.0"]] {
        // Another program may take the port before the server does, so more than one is tried.
        let mut launched = None;
        for _ in 0..5 {
            let port = free_port()?;
            let mut options = Options::new();
            for host in order {
                options = options.listen(format!("{host}:{port}"));
            }
            let attempt = check.launch(options)?;
            let started = attempt.server.is_some();
            launched = Some((attempt, port));
            if started {
                break;
            }
        }
        let Some((launched, port)) = launched else { continue };
        let Some(server) = launched.server else {
            return fail(
                format!("{} and {} can be listened on together", order[0], order[1]),
                format!("{}: {}", launched.outcome(), launched.output.trim()),
            );
        };
        server.join_at("alice, IPv4", SocketAddr::from((Ipv4Addr::LOCALHOST, port)))?;
        server.join_at("bob, IPv6", SocketAddr::from((Ipv6Addr::LOCALHOST, port)))?;
        server.end()?;
    }
    Ok(())
}

/// Runs `body` in private networks where `bindv6only` is 0, then 1.
fn under_either_default(check: &mut Check, body: fn(&mut Check) -> Outcome) -> Outcome {
    platform::enter_private_network().map_err(Stop::NotRun)?;
    for only in [false, true] {
        platform::set_v6only_default(only).map_err(Stop::NotRun)?;
        let value = u8::from(only);
        check.note(format!("makes {value} the default of IPV6_V6ONLY"));
        body(check).map_err(|stop| match stop {
            Stop::Fail(mut failure) => {
                failure.actual =
                    format!("where IPV6_V6ONLY is {value} by default: {}", failure.actual);
                Stop::Fail(failure)
            }
            other => other,
        })?;
        // Not two daemons at a time on one log.
        check.finish()?;
    }
    Ok(())
}

fn ipv6_wildcard_under_either_default(check: &mut Check) -> Outcome {
    under_either_default(check, ipv6_wildcard_is_ipv6_only)
}

fn same_port_under_either_default(check: &mut Check) -> Outcome {
    under_either_default(check, same_port_both_families)
}

fn kernel_without_ipv6(check: &mut Check) -> Outcome {
    let server = check.server_with(Options::new().default_addresses().without_ipv6())?;
    server.join("alice")?;
    if !server.output().contains("IPv6") {
        check.remark("it does not say that it serves IPv4 only");
    }
    let explicit = check.launch(Options::new().listen("[::]:0").without_ipv6())?;
    refuses_to_start(check, &explicit, "[::]", "an explicit [::] on a kernel without IPv6")
}

fn ipv6_disabled_on_interfaces(check: &mut Check) -> Outcome {
    if !platform::kernel_has_ipv6() {
        return Err(Stop::Unsupported("this kernel has no IPv6 that could be disabled".into()));
    }
    platform::enter_private_network().map_err(Stop::NotRun)?;
    platform::disable_ipv6().map_err(Stop::NotRun)?;
    check.server_with(Options::new().default_addresses())?.join("alice")?;
    let explicit = check.launch(Options::new().listen("[::1]:0"))?;
    refuses_to_start(check, &explicit, "[::1]", "an explicit [::1] that does not exist")
}

fn port_in_use(check: &mut Check) -> Outcome {
    let owner = TcpListener::bind("127.0.0.1:0").or_error("bind")?;
    let address = owner.local_addr().or_error("local address")?;
    for options in check.launch_modes() {
        let launched = check.launch(options.listen(address))?;
        refuses_to_start(check, &launched, &address.to_string(), "a port in use")?;
    }
    let _client = TcpStream::connect(address).or_error("connect")?;
    owner.set_nonblocking(true).or_error("O_NONBLOCK")?;
    check.until(
        Duration::from_secs(5),
        "the port's owner still gets its clients",
        || Ok(owner.accept().is_ok()),
        || "the port's owner gets no clients".into(),
    )
}

fn privileged_port(check: &mut Check) -> Outcome {
    let root = nix::unistd::geteuid().is_root();
    for port in [1, 7, 9, 13] {
        let mut options = Options::new().listen(format!("127.0.0.1:{port}"));
        if root {
            options = as_user(check, options, unused_user()?)?;
        }
        let launched = check.launch(options)?;
        if let Some(server) = &launched.server {
            ensure(
                server.address().port() == port,
                format!("the server listens on port {port}, which it was told, or on none"),
                || format!("the server listens on {}", server.address()),
            )?;
            return Err(Stop::NotRun(format!("this system lets every user bind port {port}")));
        }
        if launched.output.contains("in use") {
            continue;
        }
        let named = format!("127.0.0.1:{port}");
        return refuses_to_start(check, &launched, &named, "a privileged port");
    }
    Err(Stop::NotRun("all of the ports that were tried are in use".into()))
}

fn bad_address(check: &mut Check) -> Outcome {
    for address in ["256.1.1.1:0", "127.0.0.1:70000", "[::1", "[::1]x", "with space:1"] {
        let launched = check.launch(Options::new().listen(address))?;
        refuses_to_start(check, &launched, address, &format!("the address `{address}`"))?;
    }
    Ok(())
}

fn unresolvable_host(check: &mut Check) -> Outcome {
    // In a network of its own the resolver has nobody to ask, and answers at once; elsewhere it
    // takes as long as it takes.
    if let Err(reason) = platform::enter_private_network() {
        check.note(reason);
    }
    let launched = check.launch(Options::new().listen("no-such-host.invalid:0"))?;
    refuses_to_start(check, &launched, "no-such-host.invalid", "a host name that does not resolve")
}

fn rebind_over_time_wait(check: &mut Check) -> Outcome {
    let first = check.server()?;
    let address = first.address();
    let mut crowd = first.crowd(check.up_to(3))?;
    // The server closes first, so that TIME_WAIT is on its side.
    first.end()?;
    for client in &mut crowd.clients {
        client.hears_end()?;
    }
    drop(crowd);
    let second = check.server_with(Options::new().listen(address))?;
    second.join("alice").map(drop)
}

fn rebind_while_clusters_live(check: &mut Check) -> Outcome {
    let old = check.server()?;
    let mut alice = old.join("alice")?;
    let mut bob = old.join("bob")?;
    alice.barrier()?;
    old.kill_daemon()?;
    both_are_served(check, &mut alice, &mut bob, "without a daemon")?;
    let new = check.server_with(Options::new().listen(old.address()))?;
    new.join("carol")?.barrier()?;
    both_are_served(check, &mut alice, &mut bob, "beside a new daemon")
}

fn no_double_listen(check: &mut Check) -> Outcome {
    let first = check.server()?;
    for options in check.launch_modes() {
        let launched = check.launch(options.listen(first.address()).elsewhere())?;
        refuses_to_start(
            check,
            &launched,
            &first.address().to_string(),
            "a port on which another daemon listens",
        )?;
    }
    for number in 0..10 {
        first.join(&format!("client-{number}"))?;
    }
    Ok(())
}

fn children_do_not_hold_the_listener(check: &mut Check) -> Outcome {
    // With several listening sockets where there can be several.
    let options = match check.target().has(Claim::DualStack) {
        true => Options::new().default_addresses(),
        false => Options::new(),
    };
    let server = check.server_with(options)?;
    let mut served = Vec::new();
    for number in 0..check.up_to(3) {
        served.push(server.join_with_cluster(&format!("client-{number}"))?);
    }
    let of = |client: &Client| -> Step<(SocketAddr, SocketAddr)> {
        let stream = client.stream();
        let at = stream.peer_addr().or_error("peer address")?;
        Ok((at, stream.local_addr().or_error("local address")?))
    };
    for (client, cluster) in &served {
        for &pid in cluster.pids() {
            for address in server.addresses() {
                // It may have been forked a moment ago.
                check.until(
                    Duration::from_secs(1),
                    "no client's process has one of the daemon's sockets open",
                    || Ok(!server.ask(pid, |pid| platform::listens(pid, address.port()))?),
                    || format!("process {pid} of {} has a listening socket open", client.name),
                )?;
            }
            for (other, _) in served.iter().filter(|(other, _)| other.name != client.name) {
                let (at, from) = of(other)?;
                check.until(
                    Duration::from_secs(1),
                    "no client's process has another client's socket open",
                    || Ok(!server.ask(pid, |pid| platform::serves(pid, at, from))?),
                    || format!("process {pid} of {} has that of {}", client.name, other.name),
                )?;
            }
        }
    }
    Ok(())
}

fn accepted_socket_state(check: &mut Check) -> Outcome {
    let server = check.server()?;
    let mut alice = server.join("alice")?;
    idle_cost(check, &server, "for a client that says nothing")?;
    alice.barrier()?;
    if !slow_clients_are_apart(check) {
        return Ok(());
    }
    let (mut bob, _, said) = blocked_client(check, &server, &mut alice, "bob")?;
    idle_cost(check, &server, "for a client that does not read")?;
    bob.hears_bytes(&said)
}

fn connect_burst(check: &mut Check) -> Outcome {
    /// As many as the least SOMAXCONN of today's systems lets wait: that of musl, of FreeBSD, and of
    /// Linux before 5.4.
    const MOST: usize = 128;
    // Something to send to each that is let in, so that nobody needs to speak.
    let replays = check.has(Claim::ChatLog) && check.has(Claim::Replay);
    let history = match replays {
        true => remembered(check, &lines("history", 3, 40))?,
        false => Vec::new(),
    };
    // In a network of its own nobody else's queue is counted.
    let alone = platform::enter_private_network();
    let count = check.up_to(platform::longest_queue().map_or(MOST, |longest| longest.min(MOST)));
    let overflows = || match &alone {
        Ok(()) => platform::listen_overflows().ok(),
        Err(_) => None,
    };
    let overflows_before = overflows();
    let server = check.server()?;
    // Before the daemon can accept a single one, all are there: as from many machines at once.
    let acceptors = server.freeze_acceptors()?;
    let begin = Instant::now();
    let mut clients: Vec<Client> = Vec::new();
    let key = server.key().to_vec();
    for number in 0..count {
        let mut client =
            server.connect(&format!("client-{number}")).or_else(|stop| match stop {
                Stop::Fail(failure) => fail(
                    format!("the queue of connections holds {count}"),
                    format!("it is full with {number} in it: {}", failure.actual),
                ),
                other => Err(other),
            })?;
        // At once, since no server waits for it for ever, and many processes begin soon.
        if !key.is_empty() {
            client.send(&key)?;
        }
        clients.push(client);
    }
    for &pid in &acceptors {
        server.signal(pid, Signal::SIGCONT)?;
    }
    check.note(format!("{count} connections after {:.3?}", begin.elapsed()));
    if replays {
        for client in &mut clients {
            client.hears_bytes(&history)?;
        }
    } else {
        // All ask before one is waited for: a server does not wait for ever until it is asked.
        let mut asked = Vec::new();
        for client in &mut clients {
            asked.push(client.start_barrier()?);
        }
        for (client, asked) in clients.iter_mut().zip(asked) {
            ensure(client.is_let_in(&asked)?, "every client of a burst is served", || {
                format!("{} is not", client.name)
            })?;
        }
    }
    if let (Some(before), Some(after)) = (overflows_before, overflows()) {
        return ensure(after == before, "the queue of connections never was full", || {
            format!("it was full {} times, and {count} connections came", after - before)
        });
    }
    for client in &clients {
        let again = platform::retransmissions(client.stream()).map_err(Stop::NotRun)?;
        ensure(again == 0, "no connection of a burst has to be asked for twice", || {
            format!(
                "{} sent {again} segments again: the queue of connections was full",
                client.name
            )
        })?;
    }
    Ok(())
}

fn aborted_before_accept(check: &mut Check) -> Outcome {
    let server = check.server()?;
    let mut alice = server.join("alice")?;
    let acceptors = server.freeze_acceptors()?;
    // No more than the shortest of queues holds, and, with those who stay, than there are places.
    for number in 0..check.up_to(7).max(3) - 2 {
        let mut gone = server.connect(&format!("gone-{number}"))?;
        if number % 2 == 0 {
            gone.queue(b"and some bytes");
        }
        gone.reset()?;
    }
    for &pid in &acceptors {
        server.signal(pid, Signal::SIGCONT)?;
    }
    server.join("bob")?;
    alice.barrier()
}

fn peer_address_is_plain(check: &mut Check) -> Outcome {
    // On an IPv6 socket that serves IPv4 too, if there is one, is where it goes wrong.
    let options = match check.target().has(Claim::DualStack) {
        true => Options::new().default_addresses(),
        false => Options::new(),
    };
    let server = check.server_with(options)?;
    let address = SocketAddr::from((Ipv4Addr::LOCALHOST, server.address().port()));
    let client = server.join_at("alice, IPv4", address)?;
    let own = client.stream().local_addr().or_error("local address")?;
    check.until(
        Duration::from_secs(2),
        &format!("a message of the server's names the client, {own}, by address and port"),
        || Ok(server.output().lines().any(|line| names_peer(line, own))),
        || format!("the server's messages are: {}", server.output().trim().replace('\n', " / ")),
    )?;
    let output = server.output();
    ensure(!output.to_lowercase().contains("::ffff:"), "no IPv4-mapped address is shown", || {
        format!("the messages are: {}", output.trim().replace('\n', " / "))
    })
}

/// Whether a message names a client by its address and, as a number of its own, its port, however it
/// joins them.
fn names_peer(message: &str, peer: SocketAddr) -> bool {
    let port = peer.port().to_string();
    let mut numbers = message.split(|c: char| !c.is_ascii_digit());
    message.contains(&peer.ip().to_string()) && numbers.any(|number| number == port)
}

fn loopback_alias(check: &mut Check) -> Outcome {
    let alias = Ipv4Addr::new(127, 0, 0, 2);
    // Where the machine has it not, a private network can.
    if TcpListener::bind((alias, 0)).is_err() {
        platform::enter_private_network()
            .and_then(|()| platform::add_loopback_alias(alias))
            .map_err(Stop::NotRun)?;
    }
    match leaves_ipv4_loopback_alone(check, "127.0.0.2:0", alias.into())? {
        Some(_) => Ok(()),
        None => fail("127.0.0.1 is refused when 127.0.0.2 was configured", "it is accepted"),
    }
}

fn link_local_with_scope(check: &mut Check) -> Outcome {
    platform::enter_private_network().map_err(Stop::NotRun)?;
    let address: Ipv6Addr = "fe80::f0:7c".parse().or_error("address")?;
    let (name, index) = platform::add_loopback_address(address).map_err(Stop::NotRun)?;
    // The system makes a new address usable in its own time (RFC 4862, 5.4: tentative).
    let at = SocketAddr::V6(SocketAddrV6::new(address, 0, 0, index));
    check.until(
        Duration::from_secs(5),
        "a new address of the loopback interface can be bound",
        || Ok(std::net::UdpSocket::bind(at).is_ok()),
        || "the new address cannot be bound".into(),
    )?;
    for scope in [name.to_owned(), index.to_string()] {
        let server = check.server_with(Options::new().listen(format!("[{address}%{scope}]:0")))?;
        let at = SocketAddr::V6(SocketAddrV6::new(address, server.address().port(), 0, index));
        ensure(
            server.address().ip() == IpAddr::V6(address),
            "the server tells the address",
            || server.address().to_string(),
        )?;
        server.join_at("alice", at)?;
        server.end()?;
    }
    Ok(())
}
