//! The sockets of processes, and what TCP tells of a connection.

use std::collections::{HashMap, HashSet};
use std::fs;
use std::net::{IpAddr, SocketAddr};

use nix::errno::Errno;

use super::diag;

/// The sockets that a process has open, by inode.
pub fn open_sockets(pid: i32) -> Result<HashSet<u64>, String> {
    Ok(sockets(pid)?.into_iter().map(|(_, inode)| inode).collect())
}

/// The descriptors of a process that are sockets.
pub fn socket_descriptors(pid: i32) -> Result<Vec<i32>, String> {
    Ok(sockets(pid)?.into_iter().map(|(descriptor, _)| descriptor).collect())
}

/// Descriptor and inode of each socket that a process has open.
fn sockets(pid: i32) -> Result<Vec<(i32, u64)>, String> {
    let entries = fs::read_dir(format!("/proc/{pid}/fd"))
        .map_err(|error| format!("/proc/{pid}/fd: {error}"))?;
    Ok(entries
        .filter_map(|entry| {
            let path = entry.ok()?.path();
            let descriptor = path.file_name()?.to_str()?.parse().ok()?;
            let target = fs::read_link(&path).ok()?;
            let inode = target.to_str()?.strip_prefix("socket:[")?.strip_suffix(']')?;
            Some((descriptor, inode.parse().ok()?))
        })
        .collect())
}

/// A TCP socket of this network (proc_pid_net(5), `tcp` and `tcp6`).
struct Socket {
    local: (IpAddr, u16),
    remote: (IpAddr, u16),
    listens: bool,
    inode: u64,
    /// Bytes that have come and that no process has read.
    unread: u64,
    /// Bytes that were sent and that the other end has not acknowledged.
    unacknowledged: u64,
}

/// Every TCP socket of this network; none if that cannot be told.
fn tcp_sockets() -> Option<Vec<Socket>> {
    /// TCP_LISTEN (include/net/tcp_states.h).
    const LISTENING: &str = "0A";
    let mut found = None;
    for table in ["/proc/self/net/tcp", "/proc/self/net/tcp6"] {
        let Ok(text) = fs::read_to_string(table) else { continue };
        let sockets = text.lines().skip(1).filter_map(|line| {
            let fields: Vec<&str> = line.split_ascii_whitespace().collect();
            let (unacknowledged, unread) = fields.get(4)?.split_once(':')?;
            Some(Socket {
                local: end(fields.get(1)?)?,
                remote: end(fields.get(2)?)?,
                listens: *fields.get(3)? == LISTENING,
                inode: fields.get(9)?.parse().ok()?,
                unread: u64::from_str_radix(unread, 16).ok()?,
                unacknowledged: u64::from_str_radix(unacknowledged, 16).ok()?,
            })
        });
        found.get_or_insert_with(Vec::new).extend(sockets);
    }
    found
}

/// An address and port as these tables show them: words of 32 bits in the machine's byte order.
fn end(field: &str) -> Option<(IpAddr, u16)> {
    let (address, port) = field.split_once(':')?;
    let port = u16::from_str_radix(port, 16).ok()?;
    let words: Option<Vec<[u8; 4]>> = (0..address.len() / 8)
        .map(|word| {
            let digits = address.get(8 * word..8 * word + 8)?;
            u32::from_str_radix(digits, 16).ok().map(u32::to_ne_bytes)
        })
        .collect();
    let bytes = words?.concat();
    let address = match <[u8; 4]>::try_from(bytes.as_slice()) {
        Ok(v4) => IpAddr::from(v4),
        Err(_) => IpAddr::from(<[u8; 16]>::try_from(bytes.as_slice()).ok()?).to_canonical(),
    };
    Some((address, port))
}

/// Whether a TCP socket listens on `port` in this network; none if that cannot be told.
pub fn is_listening(port: u16) -> Option<bool> {
    Some(tcp_sockets()?.iter().any(|socket| socket.listens && socket.local.1 == port))
}

/// Where the sockets listen that a process has open.
pub fn listeners(pid: i32) -> Result<Vec<SocketAddr>, String> {
    let sockets = tcp_sockets().ok_or("this system does not tell about sockets")?;
    let open = open_sockets(pid)?;
    let own = sockets.iter().filter(|socket| socket.listens && open.contains(&socket.inode));
    Ok(own.map(|socket| socket.local.into()).collect())
}

/// Whether a process has the connection open that a client at `client` has made to `at`.
pub fn serves(pid: i32, at: SocketAddr, client: SocketAddr) -> Result<bool, String> {
    let end = end_of(at, client)?;
    let open = open_sockets(pid)?;
    Ok(end.is_some_and(|end| open.contains(&end.inode)))
}

/// The end at `at` of the connection that a client at `client` has made.
fn end_of(at: SocketAddr, client: SocketAddr) -> Result<Option<diag::End>, String> {
    if let Some(end) = diag::end(at, client) {
        return Ok(Some(end));
    }
    let sockets = tcp_sockets().ok_or("this system does not tell about sockets")?;
    let is = |end: (IpAddr, u16), address: SocketAddr| {
        end == (address.ip().to_canonical(), address.port())
    };
    let end = sockets.iter().find(|socket| is(socket.local, at) && is(socket.remote, client));
    Ok(end.map(|socket| diag::End { inode: socket.inode, unread: socket.unread }))
}

/// The other ends of the connections to `at` that a process has open.
pub fn peers(pid: i32, at: SocketAddr) -> Result<HashSet<SocketAddr>, String> {
    let sockets = tcp_sockets().ok_or("this system does not tell about sockets")?;
    let open = open_sockets(pid)?;
    let own = sockets.iter().filter(|socket| {
        !socket.listens
            && socket.local == (at.ip().to_canonical(), at.port())
            && open.contains(&socket.inode)
    });
    Ok(own.map(|socket| socket.remote.into()).collect())
}

/// How many bytes from a client at `client` no process has read at the other end, `at`; none when
/// there is no such connection.
pub fn unread(at: SocketAddr, client: SocketAddr) -> Result<Option<u64>, String> {
    Ok(end_of(at, client)?.map(|end| end.unread))
}

/// How many bytes that clients of this network have sent to `at` no process has read there, those that
/// found no room included.
pub fn backlog(at: SocketAddr) -> Result<u64, String> {
    let sockets = tcp_sockets().ok_or("this system does not tell about sockets")?;
    let server = (at.ip().to_canonical(), at.port());
    let unread: HashMap<_, u64> = sockets
        .iter()
        .filter(|socket| !socket.listens && socket.local == server)
        .map(|socket| (socket.remote, socket.unread))
        .collect();
    // What is not acknowledged has been read in most cases, since acknowledgements are delayed. It has
    // not when something before it is unread.
    let waiting = sockets
        .iter()
        .filter(|socket| socket.remote == server && unread.get(&socket.local) > Some(&0))
        .map(|socket| socket.unacknowledged);
    Ok(unread.values().sum::<u64>() + waiting.sum::<u64>())
}

/// How often a connection found the queue of a listening socket full, in this network
/// (proc_pid_net(5), `netstat`: `TcpExt`, `ListenOverflows`).
pub fn listen_overflows() -> Result<u64, String> {
    let table = "/proc/self/net/netstat";
    let text = fs::read_to_string(table).map_err(|error| format!("{table}: {error}"))?;
    let mut lines = text.lines().filter(|line| line.starts_with("TcpExt:"));
    let (names, values) = (lines.next().unwrap_or(""), lines.next().unwrap_or(""));
    names
        .split_ascii_whitespace()
        .zip(values.split_ascii_whitespace())
        .find(|(name, _)| *name == "ListenOverflows")
        .and_then(|(_, value)| value.parse().ok())
        .ok_or_else(|| format!("{table}: no ListenOverflows"))
}

/// How many connections may wait to be accepted at most, in this network (listen(2)).
pub fn longest_queue() -> Option<usize> {
    fs::read_to_string("/proc/sys/net/core/somaxconn").ok()?.trim().parse().ok()
}

/// How many segments a socket has sent again, connecting included (tcp(7), `TCP_INFO`).
pub fn retransmissions(socket: &impl std::os::fd::AsFd) -> Result<u32, String> {
    let mut info = std::mem::MaybeUninit::<libc::tcp_info>::zeroed();
    let mut length = size_of::<libc::tcp_info>() as libc::socklen_t;
    // SAFETY: the kernel writes at most `length` bytes into `info`, which is that large.
    let result = unsafe {
        libc::getsockopt(
            std::os::fd::AsRawFd::as_raw_fd(&socket.as_fd()),
            libc::IPPROTO_TCP,
            libc::TCP_INFO,
            info.as_mut_ptr().cast(),
            &raw mut length,
        )
    };
    Errno::result(result).map_err(|errno| format!("TCP_INFO: {}", errno.desc()))?;
    // SAFETY: a structure of integers that was zeroed; what the kernel didn't write stays zero.
    Ok(unsafe { info.assume_init() }.tcpi_total_retrans)
}

/// A datagram socket with a name in the abstract namespace (unix(7)), which begins with `@` in
/// variables.
pub fn abstract_datagram(name: &str) -> Result<std::os::unix::net::UnixDatagram, String> {
    use std::os::linux::net::SocketAddrExt;
    std::os::unix::net::SocketAddr::from_abstract_name(name)
        .and_then(|address| std::os::unix::net::UnixDatagram::bind_addr(&address))
        .map_err(|error| format!("@{name}: {error}"))
}
