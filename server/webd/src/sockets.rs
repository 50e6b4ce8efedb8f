//! Listening sockets: bound here, inherited from a master before us, or passed by a supervisor.
//!
//! Each socket is of one family: every IPv6 socket sets `IPV6_V6ONLY` (its default differs between
//! systems, RFC 3493 section 5.3). There is one socket for each address, which all workers share:
//! with `SO_REUSEPORT` each worker would have a queue of its own, and the connections in the queue
//! of a worker that ends would be lost.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, SocketAddrV6, ToSocketAddrs};
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd, RawFd};
use std::time::{Duration, Instant};

use nix::errno::Errno;
use nix::fcntl::{FcntlArg, FdFlag, OFlag, fcntl};
use nix::sys::socket::{
    AddressFamily, SockFlag, SockType, SockaddrIn, SockaddrIn6, SockaddrLike, SockaddrStorage,
    bind, getsockname, getsockopt, setsockopt, socket, sockopt,
};
use settings::{StartError, reason, scoped_address};

/// Length of the listening sockets' queues; the system's own ceiling applies
/// (`net.core.somaxconn`, `kern.ipc.soacceptqueue`).
const BACKLOG: i32 = 4096;

/// A socket that listens.
#[derive(Debug)]
pub(crate) struct Listener {
    /// The socket, closed on exec.
    pub(crate) socket: OwnedFd,
    /// Its real address, with the port that the system chose.
    pub(crate) address: SocketAddr,
}

/// The addresses that `text` names: `HOST`, `HOST:PORT`, `[IPV6]:PORT`, or `:PORT` for every
/// address of both families; an IPv6 address may carry a scope (`fe80::1%eth0`, RFC 4007, 11). `port`
/// serves where none is written.
pub(crate) fn resolve(text: &str, port: Option<u16>) -> Result<Vec<SocketAddr>, String> {
    const FORM: &str = "write HOST:PORT, [IPV6%SCOPE]:PORT or :PORT";
    let bad = |why: &str| Err(format!("address `{text}`: {why}; {FORM}"));
    if let Ok(address) = text.parse::<SocketAddr>() {
        return Ok(vec![address]);
    }
    let bare = text.strip_prefix('[').and_then(|rest| rest.strip_suffix(']')).unwrap_or(text);
    let (host, port) = match bare.split('%').next().unwrap_or(bare).parse::<IpAddr>() {
        Ok(_) => (bare, port),
        Err(_) => match text.rsplit_once(':') {
            None => (text, port),
            Some((host, digits)) => match digits.parse() {
                Ok(port) => (host, Some(port)),
                Err(_) => return bad(&format!("`{digits}` is not a port")),
            },
        },
    };
    let Some(port) = port else { return bad("it has no port") };
    if let Ok(ip) = host.parse::<IpAddr>() {
        return Ok(vec![SocketAddr::new(ip, port)]);
    }
    let bare = host.strip_prefix('[').and_then(|rest| rest.strip_suffix(']')).unwrap_or(host);
    match scoped_address(bare) {
        Some(Ok((ip, scope))) => return Ok(vec![SocketAddrV6::new(ip, port, 0, scope).into()]),
        Some(Err(why)) => return bad(&why),
        None => {}
    }
    if (host.is_empty() && !text.is_empty()) || host == "*" {
        return Ok(vec![
            (Ipv4Addr::UNSPECIFIED, port).into(),
            (Ipv6Addr::UNSPECIFIED, port).into(),
        ]);
    }
    let numeric = host.chars().all(|c| c.is_ascii_digit() || c == '.');
    let name = |c: char| c.is_ascii_alphanumeric() || matches!(c, '.' | '-' | '_');
    if numeric || !host.chars().all(name) {
        return bad(&format!("`{host}` is neither an address nor a host name"));
    }
    let found = (host, port).to_socket_addrs();
    let found = found.map_err(|error| format!("address `{text}`: {}", reason(&error)))?;
    let mut found: Vec<SocketAddr> = found.collect();
    found.sort();
    found.dedup();
    if found.is_empty() { bad("the name has no address") } else { Ok(found) }
}

/// Listens on `address`.
pub(crate) fn open(address: SocketAddr) -> nix::Result<Listener> {
    let family = if address.is_ipv4() { AddressFamily::Inet } else { AddressFamily::Inet6 };
    let socket = socket(family, SockType::Stream, SockFlag::empty(), None)?;
    fcntl(&socket, FcntlArg::F_SETFD(FdFlag::FD_CLOEXEC))?;
    // Connections of an earlier server in TIME_WAIT don't stand in the way.
    setsockopt(&socket, sockopt::ReuseAddr, &true)?;
    match address {
        SocketAddr::V4(v4) => bind(socket.as_raw_fd(), &SockaddrIn::from(v4))?,
        SocketAddr::V6(v6) => {
            // Where it is always on it cannot be set (OpenBSD ip6(4)): what it is counts.
            setsockopt(&socket, sockopt::Ipv6V6Only, &true).or_else(|errno| {
                match getsockopt(&socket, sockopt::Ipv6V6Only) {
                    Ok(true) => Ok(()),
                    _ => Err(errno),
                }
            })?;
            bind(socket.as_raw_fd(), &SockaddrIn6::from(v6))?;
        }
    }
    // nix's `listen` refuses a backlog above the SOMAXCONN that it was compiled with.
    // SAFETY: a descriptor that is open and an integer.
    Errno::result(unsafe { libc::listen(socket.as_raw_fd(), BACKLOG) })?;
    Listener::from_socket(socket)
}

/// How long a start waits for an address that is in use: the workers of a master that was killed
/// have its sockets until they see that it has gone.
pub(crate) const AT_START: Duration = Duration::from_secs(2);

/// Opens a listener, and waits so long for an address that is in use.
fn open_within(address: SocketAddr, patience: Duration) -> nix::Result<Listener> {
    const REPEAT: Duration = Duration::from_millis(20);
    let begin = Instant::now();
    loop {
        match open(address) {
            Err(Errno::EADDRINUSE) if begin.elapsed() < patience => {
                std::thread::sleep(REPEAT);
            }
            other => return other,
        }
    }
}

/// Listens on every one of `addresses`. Where they are one port of both families, a system without
/// IPv6 is served on IPv4; the second value says so. One with a port that is in use is waited for.
pub(crate) fn open_all(
    addresses: &[SocketAddr],
    patience: Duration,
) -> Result<(Vec<Listener>, Option<String>), StartError> {
    // With port 0 the system chooses for the first socket, and the second may find that number
    // taken by someone else: choose again, a bounded number of times.
    const TRIES: usize = 16;
    let mut attempt = 1;
    'again: loop {
        let mut listeners: Vec<Listener> = Vec::new();
        let mut note = None;
        for &wanted in addresses {
            let mut address = wanted;
            let before = listeners.last().map(|listener| listener.address);
            let pairs = before.filter(|before| is_pair(*before, wanted, addresses));
            if let (Some(before), 0) = (pairs, wanted.port()) {
                address.set_port(before.port());
            }
            let patience = if wanted.port() == 0 { Duration::ZERO } else { patience };
            match open_within(address, patience) {
                Ok(listener) => listeners.push(listener),
                Err(errno @ (Errno::EAFNOSUPPORT | Errno::EADDRNOTAVAIL)) if pairs.is_some() => {
                    note = Some(format!("no IPv6 here ({}): serving IPv4 only", errno.desc()));
                }
                Err(Errno::EADDRINUSE) if wanted.port() == 0 && attempt < TRIES => {
                    attempt += 1;
                    continue 'again;
                }
                Err(errno) => return Err(refusal(address, errno)),
            }
        }
        return Ok((listeners, note));
    }
}

/// Whether `v6` is the other half of `v4`: both wildcards, or both loopback, on one wanted port.
fn is_pair(v4: SocketAddr, v6: SocketAddr, wanted: &[SocketAddr]) -> bool {
    let same_port =
        wanted.iter().any(|address| address.ip() == v4.ip() && address.port() == v6.port());
    let alike = (v4.ip().is_unspecified() && v6.ip().is_unspecified())
        || (v4.ip() == IpAddr::V4(Ipv4Addr::LOCALHOST) && v6.ip().is_loopback());
    v4.is_ipv4() && v6.is_ipv6() && same_port && alike
}

/// Why `address` cannot be listened on, and what would help.
pub(crate) fn refusal(address: SocketAddr, errno: Errno) -> StartError {
    let hint = match errno {
        Errno::EADDRINUSE => ": another program listens there; choose another port with --port",
        Errno::EACCES => ": ports below 1024 need root (start as root with --user)",
        Errno::EADDRNOTAVAIL => ": no interface of this machine has that address",
        Errno::EAFNOSUPPORT if address.is_ipv6() => ": this kernel has no IPv6",
        _ => "",
    };
    StartError::failure(format!("cannot listen on {address}: {}{hint}", errno.desc()))
}

impl Listener {
    fn from_socket(socket: OwnedFd) -> nix::Result<Self> {
        let address: SockaddrStorage = getsockname(socket.as_raw_fd())?;
        let address = to_std(&address).ok_or(Errno::EAFNOSUPPORT)?;
        // Connections have it from their listening socket: measured on Linux and FreeBSD by `forkproof
        // probe` (sockets/accept-no-delay), and said by no manual page. It saves a call for each.
        let _ = setsockopt(&socket, sockopt::TcpNoDelay, &true);
        Ok(Self { socket, address })
    }

    /// Takes over `descriptor`, which another program has opened, bound and passed to this one.
    pub(crate) fn inherit(descriptor: RawFd) -> nix::Result<Self> {
        let socket = inherit(descriptor)?;
        if getsockopt(&socket, sockopt::SockType)? != SockType::Stream
            || !getsockopt(&socket, sockopt::AcceptConn)?
        {
            return Err(Errno::EINVAL);
        }
        Self::from_socket(socket)
    }

    /// Makes `accept` not wait. It belongs to the socket, whoever has it.
    pub(crate) fn set_nonblocking(&self) -> nix::Result<()> {
        let flags = OFlag::from_bits_retain(fcntl(&self.socket, FcntlArg::F_GETFL)?);
        fcntl(&self.socket, FcntlArg::F_SETFL(flags | OFlag::O_NONBLOCK)).map(drop)
    }
}

/// Takes over a descriptor that was passed through an exec; it goes no further by itself.
pub(crate) fn inherit(descriptor: RawFd) -> nix::Result<OwnedFd> {
    // SAFETY: F_GETFD only looks.
    Errno::result(unsafe { libc::fcntl(descriptor, libc::F_GETFD) })?;
    // SAFETY: it is open, and it was passed to this process for this.
    let descriptor = unsafe { OwnedFd::from_raw_fd(descriptor) };
    fcntl(&descriptor, FcntlArg::F_SETFD(FdFlag::FD_CLOEXEC))?;
    Ok(descriptor)
}

/// Lets a descriptor through the next exec. Safe between fork and exec.
pub(crate) fn pass(descriptor: RawFd) -> nix::Result<()> {
    // SAFETY: a descriptor's number and an integer.
    Errno::result(unsafe { libc::fcntl(descriptor, libc::F_SETFD, 0) }).map(drop)
}

/// The sockets that a supervisor passed (sd_listen_fds(3)): descriptors from 3 on, `LISTEN_FDS` of
/// them, if `LISTEN_PID` is this process. Those named `metrics` come second.
pub(crate) fn activated() -> Result<(Vec<Listener>, Vec<Listener>), StartError> {
    const FIRST: RawFd = 3;
    let number = |name| std::env::var(name).ok()?.parse::<u32>().ok();
    let count = match (number("LISTEN_PID"), number("LISTEN_FDS")) {
        (Some(pid), Some(count)) if pid == std::process::id() => count,
        _ => return Ok((Vec::new(), Vec::new())),
    };
    let names = std::env::var("LISTEN_FDNAMES").unwrap_or_default();
    let mut names = names.split(':');
    let (mut web, mut metrics) = (Vec::new(), Vec::new());
    for descriptor in (FIRST..).take(count as usize) {
        let listener = Listener::inherit(descriptor).map_err(|errno| {
            StartError::usage(format!(
                "LISTEN_FDS: descriptor {descriptor} is not a listening TCP socket: {}",
                errno.desc()
            ))
        })?;
        if names.next() == Some("metrics") { &mut metrics } else { &mut web }.push(listener);
    }
    Ok((web, metrics))
}

/// The address as the standard library has it; none of another family than IP.
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

#[cfg(test)]
mod tests {
    use super::*;
    use rstest::rstest;

    #[rstest]
    #[case("127.0.0.1", &["127.0.0.1:80"])]
    #[case("127.0.0.1:0", &["127.0.0.1:0"])]
    #[case("::1", &["[::1]:80"])]
    #[case("[::1]", &["[::1]:80"])]
    #[case("[::]:65535", &["[::]:65535"])]
    #[case("[fe80::7%3]:9", &["[fe80::7%3]:9"])]
    #[case("[fe80::7%3]", &["[fe80::7%3]:80"])]
    #[case("fe80::7%3", &["[fe80::7%3]:80"])]
    #[case(":9", &["0.0.0.0:9", "[::]:9"])]
    #[case("*", &["0.0.0.0:80", "[::]:80"])]
    fn addresses(#[case] text: &str, #[case] expected: &[&str]) {
        let expected: Vec<SocketAddr> = expected.iter().map(|text| text.parse().unwrap()).collect();
        assert_eq!(resolve(text, Some(80)), Ok(expected));
    }

    #[rstest]
    #[case("", "neither an address nor a host name")]
    #[case("127.0.0.1:70000", "`70000` is not a port")]
    #[case("127.0.0.1:", "`` is not a port")]
    #[case("[::1]9", "`1]9` is not a port")]
    #[case("[fe80::7%no-such]:9", "no network interface `no-such`")]
    #[case("1.2.3", "`1.2.3` is neither")]
    #[case("300.0.0.1:9", "`300.0.0.1` is neither")]
    #[case("with space", "`with space` is neither")]
    fn nonsense(#[case] text: &str, #[case] words: &str) {
        let message = resolve(text, Some(80)).unwrap_err();
        assert!(message.contains(words), "{message}");
        assert!(message.contains(&format!("`{text}`")), "{message}");
        assert!(resolve("127.0.0.1", None).unwrap_err().contains("it has no port"));
    }
}
