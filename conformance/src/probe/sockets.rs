//! sockets/ : families, wildcard addresses, port reuse, and what accept hands out.
//!
//! One file, as each area's: the code of an id is found by its area.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, TcpStream, ToSocketAddrs};
use std::os::fd::{AsFd, AsRawFd, FromRawFd, OwnedFd};

use nix::errno::Errno;
use nix::fcntl::{FcntlArg, FdFlag, OFlag, fcntl};
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sys::socket::{
    self as net, AddressFamily, Backlog, SockFlag, SockType, SockaddrStorage, sockopt,
};

use super::experiment::{Doing, either, word_or_errno};
use super::model::{Measure, Probe, Value, fixed, open};
use super::system;

const NOT_INHERITED: &str = "accept(): fresh descriptor and file status flags, none inherited";
const LINUX_FLAGS: &str = "accept(2), Notes: the new socket does not inherit file status flags";
const NOT_POSIX: &str = "not in POSIX";

pub(super) const PROBES: &[Probe] = &[
    Probe {
        id: "sockets/v6only-default",
        title: "IPV6_V6ONLY of a new IPv6 socket",
        posix: "XSH 2.10.20: the default of IPV6_V6ONLY is off; RFC 3493, 5.3",
        linux: fixed("off", "ipv6(7): the value of /proc/sys/net/ipv6/bindv6only, 0 by default"),
        freebsd: fixed("on", "inet6(4): net.inet6.ip6.v6only, on by default"),
        measure: |_| {
            if_ipv6(|| {
                let socket = tcp(V6)?;
                either(
                    net::getsockopt(&socket, sockopt::Ipv6V6Only).doing("IPV6_V6ONLY")?,
                    "on",
                    "off",
                )
            })
        },
    },
    Probe {
        id: "sockets/v4-after-v6-wildcard",
        title: "bind() of 0.0.0.0 to the port of a listening [::], no option set",
        posix: "XSH 2.10.20 leaves it open",
        linux: fixed(
            "EADDRINUSE",
            "ipv6(7), IPV6_V6ONLY: off, the socket takes IPv4 packets of the port",
        ),
        freebsd: fixed("both", "inet6(4): listen to two sockets; IPV6_V6ONLY is on by default"),
        measure: |_| if_ipv6(|| second_family(V6, V4, false)),
    },
    Probe {
        id: "sockets/v6-after-v4-wildcard",
        title: "bind() of [::] to the port of a listening 0.0.0.0, no option set",
        posix: "XSH 2.10.20 leaves it open",
        linux: fixed(
            "EADDRINUSE",
            "ipv6(7), IPV6_V6ONLY: off, the socket takes IPv4 packets of the port",
        ),
        freebsd: fixed("both", "inet6(4): listen to two sockets; IPV6_V6ONLY is on by default"),
        measure: |_| if_ipv6(|| second_family(V4, V6, false)),
    },
    Probe {
        id: "sockets/v4-after-v6only-wildcard",
        title: "bind() of 0.0.0.0 to the port of a listening [::] with IPV6_V6ONLY",
        posix: "RFC 3493, 5.3: the socket is restricted to IPv6",
        linux: fixed(
            "both",
            "ipv6(7), IPV6_V6ONLY: an IPv4 and an IPv6 application can share a port",
        ),
        freebsd: fixed("both", "inet6(4), Interaction between IPv4/v6 sockets"),
        measure: |_| if_ipv6(|| second_family(V6, V4, true)),
    },
    Probe {
        id: "sockets/v4-to-v6-wildcard",
        title: "connect() to 127.0.0.1 when [::] listens, no option set",
        posix: "XSH 2.10.20: IPv4 by mapped addresses unless IPV6_V6ONLY",
        linux: fixed(
            "served as ::ffff:127.0.0.1",
            "ipv6(7): IPv4 connections by v4-mapped-on-v6 addresses",
        ),
        freebsd: fixed(
            "ECONNREFUSED",
            "inet6(4): by default IPv4 traffic is not routed to AF_INET6 sockets",
        ),
        measure: |_| if_ipv6(v4_to_v6_wildcard),
    },
    Probe {
        id: "sockets/localhost",
        title: "The addresses of `localhost`, in the order of getaddrinfo()",
        posix: "getaddrinfo(): sorted as RFC 6724 says; what the name means is the host's own matter",
        linux: open("hosts(5), gai.conf(5)"),
        freebsd: open("hosts(5), ip6addrctl(8)"),
        measure: localhost,
    },
    Probe {
        id: "sockets/second-loopback-address",
        title: "bind() to 127.0.0.2",
        posix: NOT_POSIX,
        linux: open("ip(7), routing: lo has 127.0.0.0/8 by custom, all of it local"),
        freebsd: open(
            "ifconfig(8), lo(4): only the addresses that an interface was given; 127.0.0.1 by custom",
        ),
        measure: |_| {
            let socket = tcp(V4)?;
            let address = SocketAddr::from((Ipv4Addr::new(127, 0, 0, 2), 0));
            Ok(word_or_errno("bound", bind(&socket, address)))
        },
    },
    Probe {
        id: "sockets/accept-nonblock",
        title: "O_NONBLOCK of a socket from accept() of a non-blocking listener",
        posix: NOT_INHERITED,
        linux: fixed("not inherited", LINUX_FLAGS),
        freebsd: fixed("inherited", "accept(2): inherits the state of the O_NONBLOCK property"),
        measure: |_| {
            let listener = listener(V4_LOOPBACK)?;
            fcntl(&listener, FcntlArg::F_SETFL(OFlag::O_NONBLOCK)).doing("F_SETFL")?;
            let (_client, accepted) = pair(&listener)?;
            let flags =
                OFlag::from_bits_retain(fcntl(&accepted, FcntlArg::F_GETFL).doing("F_GETFL")?);
            inherited(flags.contains(OFlag::O_NONBLOCK))
        },
    },
    Probe {
        id: "sockets/accept-close-on-exec",
        title: "FD_CLOEXEC of a socket from accept() of a listener that has it",
        posix: "accept(): FD_CLOEXEC is clear in the new descriptor",
        linux: fixed(
            "not inherited",
            "accept(2), SOCK_CLOEXEC is accept4's; descriptor flags are new",
        ),
        freebsd: open("accept(2): set by SOCK_CLOEXEC of accept4; of accept it says nothing"),
        measure: |_| {
            let listener = listener(V4_LOOPBACK)?;
            fcntl(&listener, FcntlArg::F_SETFD(FdFlag::FD_CLOEXEC)).doing("F_SETFD")?;
            let (_client, accepted) = pair(&listener)?;
            let flags = fcntl(&accepted, FcntlArg::F_GETFD).doing("F_GETFD")?;
            inherited(FdFlag::from_bits_retain(flags).contains(FdFlag::FD_CLOEXEC))
        },
    },
    Probe {
        id: "sockets/accept-no-delay",
        title: "TCP_NODELAY of a socket from accept() of a listener that has it",
        posix: "XSH 2.10.16 leaves inheritance of protocol options open",
        linux: open("tcp(7) says it of `many` options and not of this one"),
        freebsd: open("tcp(4) and accept(2) do not say"),
        measure: |_| {
            let listener = listener(V4_LOOPBACK)?;
            net::setsockopt(&listener, sockopt::TcpNoDelay, &true).doing("TCP_NODELAY")?;
            let (_client, accepted) = pair(&listener)?;
            inherited(net::getsockopt(&accepted, sockopt::TcpNoDelay).doing("TCP_NODELAY")?)
        },
    },
    Probe {
        id: "sockets/accept-keep-alive",
        title: "SO_KEEPALIVE of a socket from accept() of a listener that has it",
        posix: "XSH 2.10.16 leaves inheritance of socket options open",
        linux: open("socket(7) and accept(2) do not say"),
        freebsd: open("accept(2) and getsockopt(2) do not say"),
        measure: |_| {
            let listener = listener(V4_LOOPBACK)?;
            net::setsockopt(&listener, sockopt::KeepAlive, &true).doing("SO_KEEPALIVE")?;
            let (_client, accepted) = pair(&listener)?;
            inherited(net::getsockopt(&accepted, sockopt::KeepAlive).doing("SO_KEEPALIVE")?)
        },
    },
    Probe {
        id: "sockets/accept-of-aborted",
        title: "accept() of a connection that its client reset while it was queued",
        posix: "accept(): ECONNABORTED, a connection has been aborted",
        linux: open("accept(2) lists ECONNABORTED; which it is stands nowhere"),
        freebsd: fixed(
            "ECONNABORTED",
            "accept(2), ECONNABORTED: closed while waiting on the listen queue",
        ),
        measure: |_| accept_of_aborted(),
    },
    Probe {
        id: "sockets/rebind-plain",
        title: "bind() to a port with closed connections in TIME_WAIT, no option set",
        posix: "bind(): EADDRINUSE, the address is in use",
        linux: fixed(
            "EADDRINUSE",
            "ip(7), Notes: unavailable for some time after closing, unless SO_REUSEADDR",
        ),
        freebsd: open("getsockopt(2), SO_REUSEADDR: without it no reuse of local addresses"),
        measure: |_| rebind(false, false),
    },
    Probe {
        id: "sockets/rebind-reuse-address",
        title: "bind() to a port in TIME_WAIT, SO_REUSEADDR set before and now",
        posix: "XSH 2.10.16, SO_REUSEADDR: allow reuse of local addresses",
        linux: fixed(
            "bound",
            "socket(7), SO_REUSEADDR: except when there is an active listening socket",
        ),
        freebsd: fixed("bound", "getsockopt(2), SO_REUSEADDR"),
        measure: |_| rebind(true, true),
    },
    Probe {
        id: "sockets/rebind-later-reuse-address",
        title: "bind() to a port in TIME_WAIT, SO_REUSEADDR set now and not before",
        posix: "XSH 2.10.16, SO_REUSEADDR: allow reuse of local addresses",
        linux: fixed(
            "EADDRINUSE",
            "socket(7), Bugs: only when both the previous and the new program set it",
        ),
        freebsd: fixed(
            "bound",
            "Linux socket(7), Bugs: on FreeBSD only the later program needs it",
        ),
        measure: |_| rebind(false, true),
    },
    Probe {
        id: "sockets/reuse-address-of-listener",
        title: "bind() to the address of a listening socket, both with SO_REUSEADDR",
        posix: "XSH 2.10.16, SO_REUSEADDR does not say",
        linux: fixed(
            "EADDRINUSE",
            "socket(7), SO_REUSEADDR: except when an active listening socket is bound to it",
        ),
        freebsd: fixed("EADDRINUSE", "getsockopt(2): complete duplicates need SO_REUSEPORT"),
        measure: |_| beside_listener(V4_LOOPBACK, V4_LOOPBACK),
    },
    Probe {
        id: "sockets/reuse-address-under-wildcard",
        title: "bind() of 127.0.0.1 to the port of a listening 0.0.0.0, both with SO_REUSEADDR",
        posix: "XSH 2.10.16, SO_REUSEADDR does not say",
        linux: fixed(
            "EADDRINUSE",
            "socket(7), SO_REUSEADDR: not for any local address under INADDR_ANY",
        ),
        freebsd: open(
            "getsockopt(2) says nothing of wildcards; 4.4BSD lets the more specific address bind",
        ),
        measure: |_| beside_listener(V4, V4_LOOPBACK),
    },
    Probe {
        id: "sockets/reuse-port",
        title: "Who gets 64 connections to two listeners that share a port by SO_REUSEPORT",
        posix: "SO_REUSEPORT is not in POSIX",
        linux: fixed("both", "socket(7), SO_REUSEPORT: accept load is distributed"),
        freebsd: open(
            "getsockopt(2): duplicate bindings; only SO_REUSEPORT_LB is said to distribute connections",
        ),
        measure: |_| reuse_port(),
    },
    Probe {
        id: "sockets/reuse-port-unannounced",
        title: "bind() with SO_REUSEPORT to the address of a listener without it",
        posix: "SO_REUSEPORT is not in POSIX",
        linux: fixed(
            "EADDRINUSE",
            "socket(7), SO_REUSEPORT: must be set on each, the first included",
        ),
        freebsd: fixed(
            "EADDRINUSE",
            "getsockopt(2), SO_REUSEPORT: if they all set it before binding",
        ),
        measure: |_| {
            let first = listener(V4_LOOPBACK)?;
            let second = tcp(V4)?;
            net::setsockopt(&second, sockopt::ReusePort, &true).doing("SO_REUSEPORT")?;
            Ok(word_or_errno("bound", bind(&second, local(&first)?)))
        },
    },
    Probe {
        id: "sockets/reuse-port-balanced",
        title: "Whether there is SO_REUSEPORT_LB",
        posix: "SO_REUSEPORT_LB is not in POSIX",
        linux: fixed("absent", "socket(7) has no such option: SO_REUSEPORT distributes itself"),
        freebsd: fixed("available", "getsockopt(2), SO_REUSEPORT_LB, since FreeBSD 12"),
        measure: |_| option_available(system::SO_REUSEPORT_LB),
    },
    Probe {
        id: "sockets/no-sigpipe-option",
        title: "Whether there is SO_NOSIGPIPE",
        posix: "SO_NOSIGPIPE is not in POSIX, which has MSG_NOSIGNAL",
        linux: fixed("absent", "socket(7) has no such option"),
        freebsd: fixed("available", "getsockopt(2), SO_NOSIGPIPE"),
        measure: |_| option_available(system::SO_NOSIGPIPE),
    },
    Probe {
        id: "sockets/backlog-ceiling",
        title: "The largest backlog that listen() grants",
        posix: "listen(): the implementation may limit it, SOMAXCONN at least",
        linux: open("listen(2): /proc/sys/net/core/somaxconn, 4096 since Linux 5.4 and 128 before"),
        freebsd: open(
            "listen(2): kern.ipc.soacceptqueue, 128 unless set, and the queue is half as long again",
        ),
        measure: |_| system::backlog_ceiling(),
    },
    Probe {
        id: "sockets/shutdown-of-listener",
        title: "shutdown() of a listening socket",
        posix: "shutdown(): ENOTCONN, the socket is not connected",
        linux: open("shutdown(2), ENOTCONN: not connected; of listening sockets it says nothing"),
        freebsd: open("shutdown(2), ENOTCONN: not connected"),
        measure: |_| {
            let listener = listener(V4_LOOPBACK)?;
            Ok(word_or_errno("succeeds", net::shutdown(listener.as_raw_fd(), net::Shutdown::Both)))
        },
    },
    Probe {
        id: "sockets/address-length-member",
        title: "A length member in socket addresses (sin_len)",
        posix: "netinet/in.h: not among the members, others are allowed",
        linux: fixed("absent", "sockaddr(3type), ip(7): sin_family comes first"),
        freebsd: fixed("present", "inet(4), inet6(4): sin_len comes first"),
        measure: |_| either(system::ADDRESSES_HAVE_LENGTH, "present", "absent"),
    },
];

const V4: IpAddr = IpAddr::V4(Ipv4Addr::UNSPECIFIED);
const V6: IpAddr = IpAddr::V6(Ipv6Addr::UNSPECIFIED);
pub(super) const V4_LOOPBACK: IpAddr = IpAddr::V4(Ipv4Addr::LOCALHOST);

/// A TCP socket of the address's family, with every option at its default.
fn tcp(address: IpAddr) -> Result<OwnedFd, String> {
    let family = if address.is_ipv4() { AddressFamily::Inet } else { AddressFamily::Inet6 };
    net::socket(family, SockType::Stream, SockFlag::empty(), None).doing("socket")
}

fn bind(socket: &OwnedFd, address: SocketAddr) -> Result<(), Errno> {
    net::bind(socket.as_raw_fd(), &SockaddrStorage::from(address))
}

fn listen(socket: &OwnedFd) -> Result<(), Errno> {
    net::listen(socket, Backlog::new(128)?)
}

/// A listener on a port of the system's choice, with every option at its default.
pub(super) fn listener(address: IpAddr) -> Result<OwnedFd, String> {
    let socket = tcp(address)?;
    bind(&socket, SocketAddr::new(address, 0)).doing("bind")?;
    listen(&socket).doing("listen")?;
    Ok(socket)
}

/// The address that a socket is bound to.
fn local(socket: &OwnedFd) -> Result<SocketAddr, String> {
    let address: SockaddrStorage = net::getsockname(socket.as_raw_fd()).doing("getsockname")?;
    plain(&address)
}

fn plain(address: &SockaddrStorage) -> Result<SocketAddr, String> {
    if let Some(address) = address.as_sockaddr_in() {
        return Ok(SocketAddr::V4((*address).into()));
    }
    let address = address.as_sockaddr_in6().ok_or("an address that is neither IPv4 nor IPv6")?;
    Ok(SocketAddr::V6((*address).into()))
}

fn accept(listener: &OwnedFd) -> Result<OwnedFd, Errno> {
    // The listener may be non-blocking, and the connection still on its way.
    poll(&mut [PollFd::new(listener.as_fd(), PollFlags::POLLIN)], PollTimeout::NONE)?;
    // SAFETY: a new descriptor that nobody else owns.
    net::accept(listener.as_raw_fd()).map(|raw| unsafe { OwnedFd::from_raw_fd(raw) })
}

/// A client of `listener`, and the socket that accept gave for it.
pub(super) fn pair(listener: &OwnedFd) -> Result<(TcpStream, OwnedFd), String> {
    let client = TcpStream::connect(local(listener)?).doing("connect")?;
    Ok((client, accept(listener).doing("accept")?))
}

/// Measures, unless this kernel has no IPv6.
fn if_ipv6(measure: impl FnOnce() -> Measure) -> Measure {
    match net::socket(AddressFamily::Inet6, SockType::Stream, SockFlag::empty(), None) {
        Err(Errno::EAFNOSUPPORT) => Ok("no IPv6".into()),
        _ => measure(),
    }
}

fn inherited(is: bool) -> Measure {
    either(is, "inherited", "not inherited")
}

/// Binds the wildcard addresses of two families to one port.
fn second_family(first: IpAddr, second: IpAddr, v6only: bool) -> Measure {
    // The port that is free for the first family may belong to a stranger in the second: another
    // port tells.
    let mut answer = Value::from("both");
    for _ in 0..5 {
        let socket = tcp(first)?;
        if v6only && first.is_ipv6() {
            net::setsockopt(&socket, sockopt::Ipv6V6Only, &true).doing("IPV6_V6ONLY")?;
        }
        bind(&socket, SocketAddr::new(first, 0)).doing("bind")?;
        listen(&socket).doing("listen")?;
        let port = local(&socket)?.port();
        let beside = tcp(second)?;
        answer = word_or_errno("both", bind(&beside, SocketAddr::new(second, port)));
        if answer == Value::from("both") {
            break;
        }
    }
    Ok(answer)
}

fn v4_to_v6_wildcard() -> Measure {
    let listener = listener(V6)?;
    let port = local(&listener)?.port();
    match TcpStream::connect((Ipv4Addr::LOCALHOST, port)) {
        Err(error) => {
            Ok(format!("{:?}", Errno::from_raw(error.raw_os_error().unwrap_or(0))).into())
        }
        Ok(_client) => {
            let accepted = accept(&listener).doing("accept")?;
            let peer: SockaddrStorage =
                net::getpeername(accepted.as_raw_fd()).doing("getpeername")?;
            Ok(format!("served as {}", plain(&peer)?.ip()).into())
        }
    }
}

fn localhost(_: &std::path::Path) -> Measure {
    let mut addresses: Vec<String> = Vec::new();
    for address in ("localhost", 0).to_socket_addrs().doing("localhost")? {
        let text = address.ip().to_string();
        if !addresses.contains(&text) {
            addresses.push(text);
        }
    }
    Ok(Value::List(addresses))
}

fn accept_of_aborted() -> Measure {
    let listener = listener(V4_LOOPBACK)?;
    let first = TcpStream::connect(local(&listener)?).doing("connect")?;
    reset(first)?;
    // The loopback interface keeps the order: when this one is there, the reset is too.
    let _second = TcpStream::connect(local(&listener)?).doing("connect")?;
    Ok(word_or_errno("a socket", accept(&listener)))
}

/// Closes with a reset.
pub(super) fn reset(socket: impl AsFd) -> Result<(), String> {
    let at_once = libc::linger { l_onoff: 1, l_linger: 0 };
    net::setsockopt(&socket, sockopt::Linger, &at_once).doing("SO_LINGER")
}

/// Binds to a port where the server closed a connection first.
fn rebind(reuse_before: bool, reuse_now: bool) -> Measure {
    let first = tcp(V4)?;
    if reuse_before {
        net::setsockopt(&first, sockopt::ReuseAddr, &true).doing("SO_REUSEADDR")?;
    }
    bind(&first, SocketAddr::new(V4_LOOPBACK, 0)).doing("bind")?;
    listen(&first).doing("listen")?;
    let address = local(&first)?;
    let (mut client, accepted) = pair(&first)?;
    drop(accepted);
    let end = std::io::Read::read(&mut client, &mut [0]).doing("read")?;
    if end != 0 {
        return Err("the client read data".into());
    }
    drop((client, first));
    let second = tcp(V4)?;
    if reuse_now {
        net::setsockopt(&second, sockopt::ReuseAddr, &true).doing("SO_REUSEADDR")?;
    }
    Ok(word_or_errno("bound", bind(&second, address)))
}

/// Binds to the port of a listener, with SO_REUSEADDR on both.
fn beside_listener(first: IpAddr, second: IpAddr) -> Measure {
    let listening = tcp(first)?;
    net::setsockopt(&listening, sockopt::ReuseAddr, &true).doing("SO_REUSEADDR")?;
    bind(&listening, SocketAddr::new(first, 0)).doing("bind")?;
    listen(&listening).doing("listen")?;
    let beside = tcp(second)?;
    net::setsockopt(&beside, sockopt::ReuseAddr, &true).doing("SO_REUSEADDR")?;
    let address = SocketAddr::new(second, local(&listening)?.port());
    Ok(word_or_errno("bound", bind(&beside, address)))
}

fn reuse_port() -> Measure {
    const CONNECTIONS: usize = 64;
    let listening = |address: SocketAddr| -> Result<OwnedFd, String> {
        let socket = tcp(V4)?;
        net::setsockopt(&socket, sockopt::ReusePort, &true).doing("SO_REUSEPORT")?;
        fcntl(&socket, FcntlArg::F_SETFL(OFlag::O_NONBLOCK)).doing("F_SETFL")?;
        bind(&socket, address).doing("bind")?;
        listen(&socket).doing("listen")?;
        Ok(socket)
    };
    let first = listening(SocketAddr::new(V4_LOOPBACK, 0))?;
    let address = local(&first)?;
    let second = listening(address)?;
    let mut clients = Vec::new();
    let mut served = [0; 2];
    while served[0] + served[1] < CONNECTIONS {
        clients.push(TcpStream::connect(address).doing("connect")?);
        let mut ready = [&first, &second].map(|s| PollFd::new(s.as_fd(), PollFlags::POLLIN));
        poll(&mut ready, PollTimeout::NONE).doing("poll")?;
        for (listener, served) in [&first, &second].into_iter().zip(&mut served) {
            match net::accept(listener.as_raw_fd()) {
                // SAFETY: a new descriptor that nobody else owns.
                Ok(raw) => drop(unsafe { OwnedFd::from_raw_fd(raw) }),
                Err(Errno::EAGAIN) => continue,
                Err(errno) => return Err(format!("accept: {errno:?}")),
            }
            *served += 1;
        }
    }
    Ok(match served {
        [0, _] => "only the second",
        [_, 0] => "only the first",
        _ => "both",
    }
    .into())
}

fn option_available(option: Option<libc::c_int>) -> Measure {
    let Some(option) = option else { return Ok("absent".into()) };
    let socket = tcp(V4)?;
    let on: libc::c_int = 1;
    // SAFETY: the kernel reads an int of that size.
    let result = unsafe {
        libc::setsockopt(
            socket.as_raw_fd(),
            libc::SOL_SOCKET,
            option,
            (&raw const on).cast(),
            size_of::<libc::c_int>() as libc::socklen_t,
        )
    };
    match Errno::result(result) {
        Ok(_) => Ok("available".into()),
        Err(Errno::ENOPROTOOPT) => Ok("absent".into()),
        Err(errno) => Err(format!("setsockopt: {errno:?}")),
    }
}
