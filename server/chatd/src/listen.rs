//! Listening sockets: one per address, each of one family.
//!
//! A single `[::]` socket that also serves IPv4 is a convenience of some systems only, and its
//! default differs between them (RFC 3493, section 5.3; Linux ipv6(7), `bindv6only`; FreeBSD
//! inet6(4), `net.inet6.ip6.v6only`; OpenBSD never). Every IPv6 socket here sets `IPV6_V6ONLY`,
//! and the default is two sockets on one port.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, SocketAddrV6, ToSocketAddrs};
use std::os::fd::{AsRawFd, OwnedFd};
use std::time::{Duration, Instant};

use nix::errno::Errno;
use nix::fcntl::{FcntlArg, FdFlag, OFlag, fcntl};
use nix::sys::socket::{
    AddressFamily, SockFlag, SockType, SockaddrIn, SockaddrIn6, SockaddrLike, SockaddrStorage,
    bind, getsockname, getsockopt, setsockopt, socket, sockopt,
};
use settings::{StartError, reason, scoped_address};

use crate::diagnostics;

/// What to listen on, as the user wrote it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum ListenAddress {
    /// Every address of both families, on this port.
    Any(u16),
    /// One address.
    Literal(SocketAddr),
    /// All addresses of a name.
    Name(String, u16),
}

impl ListenAddress {
    /// Reads `HOST`, `HOST:PORT`, `IPV6`, `[IPV6]:PORT` or `:PORT`; an IPv6 host may carry a scope
    /// (`fe80::1%eth0`, RFC 4007 section 11). `port` serves where none is written.
    pub(crate) fn parse(text: &str, port: u16) -> Result<Self, String> {
        let bad = |why: &str| {
            Err(format!(
                "listen address `{text}`: {why}; \
                 write HOST, HOST:PORT, [IPV6%SCOPE]:PORT or :PORT (port 0 to 65535)"
            ))
        };
        let (host, port) = if let Some(rest) = text.strip_prefix('[') {
            let Some((host, after)) = rest.split_once(']') else { return bad("`]` is missing") };
            match after.strip_prefix(':') {
                None if after.is_empty() => (host, port),
                None => return bad("after `]` only a port can follow"),
                Some(digits) => match digits.parse() {
                    Ok(port) => (host, port),
                    Err(_) => return bad(&format!("`{digits}` is no port")),
                },
            }
        } else if text.matches(':').count() > 1 {
            (text, port) // a bare IPv6 address
        } else if let Some((host, digits)) = text.split_once(':') {
            match digits.parse() {
                Ok(port) => (host, port),
                Err(_) => return bad(&format!("`{digits}` is no port")),
            }
        } else {
            (text, port)
        };
        let bracketed = text.starts_with('[');
        if (host.is_empty() || host == "*") && !bracketed && !text.is_empty() {
            return Ok(Self::Any(port));
        }
        if let Ok(ip) = host.parse::<Ipv4Addr>() {
            if bracketed {
                return bad("brackets are for IPv6");
            }
            return Ok(Self::Literal(SocketAddr::new(IpAddr::V4(ip), port)));
        }
        match scoped_address(host) {
            Some(Ok((ip, scope))) => {
                return Ok(Self::Literal(SocketAddrV6::new(ip, port, 0, scope).into()));
            }
            Some(Err(why)) => return bad(&why),
            None => {}
        }
        let looks_numeric = host.chars().all(|c| c.is_ascii_digit() || c == '.');
        let named = !bracketed
            && !looks_numeric
            && host.chars().all(|c| c.is_ascii_alphanumeric() || matches!(c, '.' | '-' | '_'));
        if named {
            Ok(Self::Name(host.to_owned(), port))
        } else {
            bad(&format!("`{host}` is neither an address nor a host name"))
        }
    }
}

/// A socket that listens.
#[derive(Debug)]
pub(crate) struct Listener {
    /// The socket, non-blocking: a connection may be gone again between `ppoll` and `accept`.
    pub(crate) socket: OwnedFd,
    /// Its real address, with the port that the system chose.
    pub(crate) address: SocketAddr,
}

/// Opens every listener that `addresses` asks for (none: both wildcard addresses on `port`).
pub(crate) fn open(
    addresses: &[ListenAddress],
    port: u16,
    backlog: i32,
) -> Result<Vec<Listener>, StartError> {
    if addresses.is_empty() {
        return open_any(port, backlog);
    }
    let mut listeners = Vec::new();
    for address in addresses {
        match address {
            ListenAddress::Any(port) => listeners.extend(open_any(*port, backlog)?),
            ListenAddress::Literal(address) => {
                listeners.push(open_literal(*address, backlog)?);
            }
            ListenAddress::Name(name, port) => {
                let resolved = (name.as_str(), *port).to_socket_addrs().map_err(|error| {
                    StartError::failure(format!("cannot listen on {name}: {}", reason(&error)))
                })?;
                let mut resolved: Vec<SocketAddr> = resolved.collect();
                resolved.sort();
                resolved.dedup();
                if resolved.is_empty() {
                    return Err(StartError::failure(format!(
                        "cannot listen on {name}: the name has no address"
                    )));
                }
                for address in resolved {
                    listeners.push(open_literal(address, backlog)?);
                }
            }
        }
    }
    Ok(listeners)
}

/// Both wildcard addresses on one port. A kernel without IPv6 is served on IPv4, and the log says
/// so; any other failure is one.
fn open_any(port: u16, backlog: i32) -> Result<Vec<Listener>, StartError> {
    // With port 0 the system chooses for the first socket, and the second may find that number
    // taken by someone else: choose again, a bounded number of times.
    const TRIES: usize = 16;
    let mut attempt = 1;
    loop {
        let v4 = open_literal((Ipv4Addr::UNSPECIFIED, port).into(), backlog)?;
        let wanted = SocketAddr::from((Ipv6Addr::UNSPECIFIED, v4.address.port()));
        let open = if port == 0 { open_one } else { open_when_free };
        match open(wanted, backlog) {
            Ok(v6) => return Ok(vec![v4, v6]),
            Err(errno @ (Errno::EAFNOSUPPORT | Errno::EADDRNOTAVAIL)) => {
                diagnostics::warning(&format!(
                    "no IPv6 here ({}): listening on IPv4 only",
                    errno.desc()
                ));
                return Ok(vec![v4]);
            }
            Err(Errno::EADDRINUSE) if port == 0 && attempt < TRIES => attempt += 1,
            Err(errno) => return Err(refuse(wanted, errno)),
        }
    }
}

fn open_literal(address: SocketAddr, backlog: i32) -> Result<Listener, StartError> {
    open_when_free(address, backlog).map_err(|errno| refuse(address, errno))
}

/// Opens a listener, and waits a little for an address that is in use: a process that a daemon had
/// forked just before it was killed has its sockets until it first runs, and on a busy machine that
/// takes a while.
fn open_when_free(address: SocketAddr, backlog: i32) -> nix::Result<Listener> {
    const PATIENCE: Duration = Duration::from_secs(2);
    const REPEAT: Duration = Duration::from_millis(20);
    let begin = Instant::now();
    loop {
        match open_one(address, backlog) {
            Err(Errno::EADDRINUSE) if begin.elapsed() < PATIENCE => {
                std::thread::sleep(REPEAT);
            }
            other => return other,
        }
    }
}

fn open_one(address: SocketAddr, backlog: i32) -> nix::Result<Listener> {
    let family = if address.is_ipv4() { AddressFamily::Inet } else { AddressFamily::Inet6 };
    let socket = socket(family, SockType::Stream, SockFlag::empty(), None)?;
    fcntl(&socket, FcntlArg::F_SETFD(FdFlag::FD_CLOEXEC))?;
    fcntl(&socket, FcntlArg::F_SETFL(OFlag::O_NONBLOCK))?;
    // Connections of an earlier server in TIME_WAIT, or still served by its children, don't stand
    // in the way. Never SO_REUSEPORT: with it a second server would take half of the clients.
    setsockopt(&socket, sockopt::ReuseAddr, &true)?;
    match address {
        SocketAddr::V4(v4) => bind(socket.as_raw_fd(), &SockaddrIn::from(v4))?,
        SocketAddr::V6(v6) => {
            ipv6_only(&socket)?;
            bind(socket.as_raw_fd(), &SockaddrIn6::from(v6))?;
        }
    }
    // nix's `listen` refuses a backlog above the SOMAXCONN that it was compiled with; the kernel
    // applies its own ceiling.
    // SAFETY: a descriptor that is open and an integer.
    Errno::result(unsafe { libc::listen(socket.as_raw_fd(), backlog) })?;
    let address: SockaddrStorage = getsockname(socket.as_raw_fd())?;
    let address = to_std(&address).ok_or(Errno::EAFNOSUPPORT)?;
    Ok(Listener { socket, address })
}

/// Keeps IPv4 out of an IPv6 socket. On OpenBSD nothing else is possible, and the option cannot be set
/// (ip6(4)): what counts is what it is.
fn ipv6_only(socket: &OwnedFd) -> nix::Result<()> {
    match setsockopt(socket, sockopt::Ipv6V6Only, &true) {
        Err(_) if getsockopt(socket, sockopt::Ipv6V6Only) == Ok(true) => Ok(()),
        done => done,
    }
}

/// The standard library's form of an IPv4 or IPv6 address.
pub(crate) fn to_std(storage: &SockaddrStorage) -> Option<SocketAddr> {
    match storage.family()? {
        AddressFamily::Inet => {
            storage.as_sockaddr_in().map(|v4| SocketAddr::from((v4.ip(), v4.port())))
        }
        AddressFamily::Inet6 => storage.as_sockaddr_in6().map(|v6| {
            SocketAddr::V6(SocketAddrV6::new(v6.ip(), v6.port(), v6.flowinfo(), v6.scope_id()))
        }),
        _ => None,
    }
}

fn refuse(address: SocketAddr, errno: Errno) -> StartError {
    let hint = match errno {
        Errno::EADDRINUSE => "another program listens there",
        Errno::EACCES => "ports below 1024 need root (start as root with --user)",
        Errno::EADDRNOTAVAIL => "no interface of this machine has that address",
        Errno::EAFNOSUPPORT if address.is_ipv6() => "this kernel has no IPv6",
        _ => "",
    };
    let hint = if hint.is_empty() { String::new() } else { format!(": {hint}") };
    StartError::failure(format!("cannot listen on {address}: {}{hint}", errno.desc()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use rstest::rstest;

    #[rstest]
    #[case("127.0.0.1", "127.0.0.1:7722")]
    #[case("127.0.0.1:0", "127.0.0.1:0")]
    #[case("::1", "[::1]:7722")]
    #[case("[::1]", "[::1]:7722")]
    #[case("[::]:65535", "[::]:65535")]
    #[case("[fe80::1%1]:9", "[fe80::1%1]:9")]
    fn literals(#[case] text: &str, #[case] address: &str) {
        assert_eq!(
            ListenAddress::parse(text, 7722),
            Ok(ListenAddress::Literal(address.parse().unwrap()))
        );
    }

    #[rstest]
    #[case(":9", ListenAddress::Any(9))]
    #[case("*", ListenAddress::Any(7722))]
    #[case("*:9", ListenAddress::Any(9))]
    #[case("localhost", ListenAddress::Name("localhost".into(), 7722))]
    #[case("chat.example:9", ListenAddress::Name("chat.example".into(), 9))]
    fn others(#[case] text: &str, #[case] address: ListenAddress) {
        assert_eq!(ListenAddress::parse(text, 7722), Ok(address));
    }

    #[rstest]
    #[case("", "neither an address nor a host name")]
    #[case("127.0.0.1:70000", "`70000` is no port")]
    #[case("127.0.0.1:", "`` is no port")]
    #[case("[::1", "`]` is missing")]
    #[case("[::1]9", "only a port can follow")]
    #[case("[127.0.0.1]:9", "brackets are for IPv6")]
    #[case("[fe80::1%nosuch0]:9", "no network interface `nosuch0`")]
    #[case("1.2.3", "`1.2.3` is neither")]
    #[case("300.0.0.1:9", "`300.0.0.1` is neither")]
    #[case("with space", "`with space` is neither")]
    fn nonsense(#[case] text: &str, #[case] words: &str) {
        let message = ListenAddress::parse(text, 7722).unwrap_err();
        assert!(message.contains(words), "{message}");
        assert!(message.contains(&format!("`{text}`")), "{message}");
        assert!(!message.contains('\n'), "{message}");
    }
}
