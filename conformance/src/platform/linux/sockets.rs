//! The sockets of processes, and what TCP tells of a connection.

use std::collections::HashSet;
use std::fs;

use nix::errno::Errno;

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

/// Whether a TCP socket listens on `port` in this network (proc_pid_net(5), `tcp` and `tcp6`); none
/// if that cannot be told.
pub fn is_listening(port: u16) -> Option<bool> {
    /// TCP_LISTEN (include/net/tcp_states.h).
    const LISTENING: &str = "0A";
    let local = format!(":{port:04X}");
    let mut known = false;
    for table in ["/proc/self/net/tcp", "/proc/self/net/tcp6"] {
        let Ok(text) = fs::read_to_string(table) else { continue };
        known = true;
        let listens = text.lines().skip(1).any(|line| {
            let mut fields = line.split_ascii_whitespace();
            fields.nth(1).is_some_and(|address| address.ends_with(&local))
                && fields.nth(1) == Some(LISTENING)
        });
        if listens {
            return Some(true);
        }
    }
    known.then_some(false)
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
