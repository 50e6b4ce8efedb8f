//! The open descriptors of processes, sockets among them (`KERN_PROC_FILEDESC`).

use std::collections::HashSet;
use std::ffi::c_int;
use std::mem::offset_of;
use std::net::{IpAddr, SocketAddr};
use std::process::Command;

use super::records::{ask, ask_about, process_records, read, records, text};
use crate::platform::model::Lock;

/// An open descriptor.
struct Descriptor {
    number: c_int,
    kind: c_int,
    path: String,
    /// For sockets: the address of the protocol's control block, which `netstat -A` shows too. 0
    /// when there is none any more.
    control_block: u64,
    /// For files: their inode number.
    inode: Option<u64>,
    /// Whether the open file has a lock of flock(2), or waits for one (`KF_FLAG_HASLOCK`).
    locks: bool,
    /// For sockets of the Internet: their own and the other end, if there is one.
    ends: Option<(SocketAddr, Option<SocketAddr>)>,
}

/// The open descriptors of a process (`KERN_PROC_FILEDESC`).
fn descriptors(pid: i32) -> Result<Vec<Descriptor>, String> {
    /// Of `kf_un.kf_sock.kf_sock_pcb` in struct kinfo_file: the union follows `kf_offset`, and in
    /// it four integers of 32 bits and two socket addresses come first. The layout is the same on
    /// all architectures and never changes (sys/user.h, at KINFO_FILE_SIZE).
    const ENDS: usize =
        offset_of!(libc::kinfo_file, kf_offset) + size_of::<i64>() + 4 * size_of::<u32>();
    const CONTROL_BLOCK: usize = ENDS + 2 * size_of::<libc::sockaddr_storage>();
    /// Of `kf_un.kf_file.kf_file_fileid`: four integers of 32 bits and 32 of 64 come first in that part
    /// of the union, the first four before the ends.
    const INODE: usize = ENDS + 32 * size_of::<u64>();
    let bytes = ask_about(pid, libc::KERN_PROC_FILEDESC, "filedesc")?;
    let descriptors = records(&bytes).into_iter().map(|record| {
        let file: libc::kinfo_file = read(record);
        let number = |at: usize| record.get(at..)?.first_chunk().map(|it| u64::from_ne_bytes(*it));
        let control_block = number(CONTROL_BLOCK).unwrap_or(0);
        let inode = if file.kf_type == libc::KF_TYPE_VNODE { number(INODE) } else { None };
        Descriptor {
            number: file.kf_fd,
            kind: file.kf_type,
            path: text(&file.kf_path),
            control_block,
            inode,
            locks: file.kf_flags & libc::KF_FLAG_HASLOCK != 0,
            ends: end(record.get(ENDS..)).map(|own| {
                let other = end(record.get(ENDS + size_of::<libc::sockaddr_storage>()..));
                (own, other.filter(|other| other.port() != 0))
            }),
        }
    });
    // Negative ones are the directories, the program and the terminal (sys/user.h, KF_FD_TYPE_CWD).
    Ok(descriptors.filter(|descriptor| descriptor.number >= 0).collect())
}

/// The address in a struct sockaddr_in or sockaddr_in6 (inet(4), inet6(4)): length, family, port and
/// address, these two in network byte order.
fn end(bytes: Option<&[u8]>) -> Option<SocketAddr> {
    let bytes = bytes?;
    let port = u16::from_be_bytes(*bytes.get(2..)?.first_chunk()?);
    let ip = match i32::from(*bytes.get(1)?) {
        libc::AF_INET => IpAddr::from(*bytes.get(4..)?.first_chunk::<4>()?),
        libc::AF_INET6 => IpAddr::from(*bytes.get(8..)?.first_chunk::<16>()?).to_canonical(),
        _ => return None,
    };
    Some((ip, port).into())
}

/// Where the sockets listen that a process has open: those that have a port and no other end.
pub fn listeners(pid: i32) -> Result<Vec<SocketAddr>, String> {
    let open = descriptors(pid)?;
    let ends = open.iter().filter_map(|descriptor| descriptor.ends);
    let listening = ends.filter(|(own, other)| own.port() != 0 && other.is_none());
    Ok(listening.map(|(own, _)| own).collect())
}

/// Whether a process has the connection open that a client at `client` has made to `at`.
pub fn serves(pid: i32, at: SocketAddr, client: SocketAddr) -> Result<bool, String> {
    let is = |end: SocketAddr, address: SocketAddr| {
        (end.ip(), end.port()) == (address.ip().to_canonical(), address.port())
    };
    let open = descriptors(pid)?;
    Ok(open
        .iter()
        .filter_map(|descriptor| descriptor.ends)
        .any(|(own, other)| is(own, at) && other.is_some_and(|other| is(other, client))))
}

/// The other ends of the connections to `at` that a process has open.
pub fn peers(pid: i32, at: SocketAddr) -> Result<HashSet<SocketAddr>, String> {
    let open = descriptors(pid)?;
    let own = open.iter().filter_map(|descriptor| descriptor.ends);
    let at = (at.ip().to_canonical(), at.port());
    Ok(own.filter(|(own, _)| (own.ip(), own.port()) == at).filter_map(|(_, other)| other).collect())
}

/// What a process's standard descriptors are: a path, or what else it is.
pub fn standard_descriptors(pid: i32) -> Result<[Option<String>; 3], String> {
    let open = descriptors(pid)?;
    let name = |number: c_int| {
        let descriptor = open.iter().find(|descriptor| descriptor.number == number)?;
        Some(match descriptor.kind {
            libc::KF_TYPE_SOCKET => format!("socket:[{:#x}]", descriptor.control_block),
            libc::KF_TYPE_PIPE => "pipe".into(),
            kind if descriptor.path.is_empty() => format!("descriptor of type {kind}"),
            _ => descriptor.path.clone(),
        })
    };
    Ok([name(0), name(1), name(2)])
}

/// How many descriptors a process has open.
pub fn descriptor_count(pid: i32) -> Result<usize, String> {
    Ok(descriptors(pid)?.len())
}

/// The lowest number that no descriptor of a process has: the one that its next descriptor would get.
pub fn next_descriptor(pid: i32) -> Result<u64, String> {
    let used: Vec<c_int> = descriptors(pid)?.iter().map(|one| one.number).collect();
    Ok((0..).find(|number| !used.contains(number)).unwrap_or(0) as u64)
}

/// The descriptors of a process that are sockets.
pub fn socket_descriptors(pid: i32) -> Result<Vec<i32>, String> {
    let open = descriptors(pid)?;
    let sockets = open.iter().filter(|descriptor| descriptor.kind == libc::KF_TYPE_SOCKET);
    Ok(sockets.map(|descriptor| descriptor.number).collect())
}

/// Each process, and whether it waits for a lock: it sleeps at "lockf" then (kinfo_proc's `ki_wmesg`,
/// as ps(1) shows it).
fn waiting_for_locks() -> Result<Vec<(i32, bool)>, String> {
    let bytes = ask(libc::KERN_PROC_PROC, &[])
        .map_err(|errno| format!("needs kern.proc.proc: {}", errno.desc()))?;
    let all = process_records(&bytes)?;
    Ok(all.iter().map(|record| (record.ki_pid, text(&record.ki_wmesg) == "lockf")).collect())
}

/// Who holds and who waits for which lock of flock(2). All processes that share an open file have its
/// lock; whether it is exclusive is not told. (kern.lockf, from FreeBSD 14 on, lists the locks
/// themselves, and those of flock(2) without a process.)
pub fn lock_table() -> Result<Vec<Lock>, String> {
    let mut table = Vec::new();
    for (pid, waiting) in waiting_for_locks()? {
        // Of one that has ended meanwhile, or is another user's, there is nothing to tell.
        for one in descriptors(pid).unwrap_or_default() {
            let (Some(inode), true) = (one.inode, one.locks) else { continue };
            table.push(Lock { kind: "FLOCK".into(), exclusive: None, waiting, pid, inode });
        }
    }
    Ok(table)
}

/// The processes that wait for a lock on the file with this inode number, of any kind: they have the
/// file open, and wait. One that waits for another file's lock meanwhile counts too.
pub fn lock_waiters(inode: u64) -> Result<Vec<i32>, String> {
    // Of one that has ended meanwhile there is nothing to tell.
    let has_it_open =
        |pid| descriptors(pid).is_ok_and(|open| open.iter().any(|one| one.inode == Some(inode)));
    let waiting = waiting_for_locks()?.into_iter().filter(|(_, waiting)| *waiting);
    Ok(waiting.map(|(pid, _)| pid).filter(|&pid| has_it_open(pid)).collect())
}

/// The sockets that a process has open, by their protocol control blocks.
pub fn open_sockets(pid: i32) -> Result<HashSet<u64>, String> {
    Ok(descriptors(pid)?
        .into_iter()
        .filter(|descriptor| descriptor.kind == libc::KF_TYPE_SOCKET)
        .map(|descriptor| descriptor.control_block)
        .filter(|&block| block != 0)
        .collect())
}

/// How many segments a socket has sent again, connecting included.
pub fn retransmissions(_socket: &impl std::os::fd::AsFd) -> Result<u32, String> {
    // tcpi_snd_rexmitpack (tcp(4), TCP_INFO) counts segments that carry data only.
    Err("FreeBSD does not tell how often a connection request was sent again".into())
}

/// How often a connection found the queue of a listening socket full in this network (netstat(1); the
/// kernel's own counters have no fixed places).
pub fn listen_overflows() -> Result<u64, String> {
    const PROGRAM: &str = "/usr/bin/netstat";
    let output = Command::new(PROGRAM)
        .args(["-s", "-p", "tcp"])
        .output()
        .map_err(|error| format!("{PROGRAM}: {error}"))?;
    overflows_in(&String::from_utf8_lossy(&output.stdout))
        .ok_or_else(|| format!("{PROGRAM} -s -p tcp tells no listen queue overflows"))
}

/// The number in netstat's line "12 listen queue overflows", which has an s for all but 1.
fn overflows_in(text: &str) -> Option<u64> {
    let mut lines = text.lines().map(str::trim);
    lines
        .find_map(|line| {
            line.strip_suffix('s').unwrap_or(line).strip_suffix(" listen queue overflow")
        })?
        .parse()
        .ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn netstats_words() {
        let text =
            |line: &str| format!("tcp:\n\t5 bad connection attempts\n\t{line}\n\t0 ignored\n");
        assert_eq!(overflows_in(&text("0 listen queue overflows")), Some(0));
        assert_eq!(overflows_in(&text("1 listen queue overflow")), Some(1));
        assert_eq!(overflows_in(&text("7 of another kind")), None);
        assert!(listen_overflows().is_ok());
    }

    #[test]
    fn a_socket_is_told_and_told_apart() {
        let own = std::process::id() as i32;
        let before = open_sockets(own).unwrap();
        let first = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let with_first = open_sockets(own).unwrap();
        let second = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let with_both = open_sockets(own).unwrap();
        assert!(with_first.len() > before.len() && with_both.len() > with_first.len());
        drop((first, second));
    }
}
