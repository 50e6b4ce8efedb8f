//! Linux: proc(5), prctl(2), namespaces(7), seccomp(2).

use std::collections::HashSet;
use std::fs;

use nix::errno::Errno;
use nix::sched::{CloneFlags, unshare};
use nix::unistd::{Gid, Uid};

use super::{Lock, Process, SignalState, State};
use crate::verdict::Stop;

/// Makes orphaned descendants this process's children (prctl(2), `PR_SET_CHILD_SUBREAPER`).
pub fn become_reaper() -> Result<(), String> {
    // SAFETY: takes integers only.
    Errno::result(unsafe { libc::prctl(libc::PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0) })
        .map(drop)
        .map_err(|errno| format!("PR_SET_CHILD_SUBREAPER: {}", errno.desc()))
}

/// Every process that this one may see.
pub fn process_table() -> Result<Vec<Process>, String> {
    let entries = fs::read_dir("/proc").map_err(|error| format!("needs /proc: {error}"))?;
    let processes: Vec<Process> = entries
        .filter_map(|entry| entry.ok()?.file_name().to_str()?.parse().ok())
        .filter_map(process)
        .collect();
    if processes.iter().any(|process| process.pid == std::process::id() as i32) {
        Ok(processes)
    } else {
        Err("needs /proc mounted and showing this process".into())
    }
}

/// One process; none when it has gone.
fn process(pid: i32) -> Option<Process> {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    // The name stands in parentheses and may hold any of them (proc_pid_stat(5)).
    let (name, rest) = stat.split_once('(')?.1.rsplit_once(") ")?;
    let mut fields = rest.split(' ');
    let state = match fields.next()? {
        "S" => State::Sleeping,
        "T" | "t" => State::Stopped,
        "Z" | "X" => State::Zombie,
        _ => State::Active,
    };
    let mut number = || fields.next()?.parse().ok();
    Some(Process {
        pid,
        parent: number()?,
        group: number()?,
        session: number()?,
        has_terminal: number()? != 0,
        state,
        name: name.to_owned(),
    })
}

/// A process's signal dispositions and masks (proc_pid_status(5), `SigIgn` and so on).
pub fn signal_state(pid: i32) -> Result<SignalState, String> {
    let status = status(pid)?;
    let set = |name: &str| -> Result<u64, String> {
        field(&status, name)
            .and_then(|text| u64::from_str_radix(text, 16).ok())
            .ok_or_else(|| format!("/proc/{pid}/status has no {name}"))
    };
    Ok(SignalState {
        ignored: set("SigIgn")?,
        caught: set("SigCgt")?,
        blocked: set("SigBlk")?,
        pending: set("SigPnd")? | set("ShdPnd")?,
    })
}

/// A process's real, effective and saved user ids, and its supplementary groups.
pub fn credentials(pid: i32) -> Result<([u32; 3], Vec<u32>), String> {
    let status = status(pid)?;
    let numbers = |name: &str| -> Vec<u32> {
        field(&status, name)
            .map(|text| text.split_whitespace().filter_map(|word| word.parse().ok()).collect())
            .unwrap_or_default()
    };
    match numbers("Uid")[..] {
        [real, effective, saved, ..] => Ok(([real, effective, saved], numbers("Groups"))),
        _ => Err(format!("/proc/{pid}/status has no Uid")),
    }
}

/// A process's file mode creation mask, where the system tells.
pub fn umask_of(pid: i32) -> Result<u32, String> {
    field(&status(pid)?, "Umask")
        .and_then(|text| u32::from_str_radix(text, 8).ok())
        .ok_or_else(|| "needs Umask in /proc/PID/status (Linux 4.7)".into())
}

fn status(pid: i32) -> Result<String, String> {
    fs::read_to_string(format!("/proc/{pid}/status"))
        .map_err(|error| format!("/proc/{pid}: {error}"))
}

fn field<'a>(status: &'a str, name: &str) -> Option<&'a str> {
    status.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(':')).map(str::trim)
}

/// A process's working directory.
pub fn working_directory(pid: i32) -> Result<std::path::PathBuf, String> {
    fs::read_link(format!("/proc/{pid}/cwd")).map_err(|error| format!("/proc/{pid}/cwd: {error}"))
}

/// What a process's standard descriptors are: a path, or `socket:[…]`, `pipe:[…]`.
pub fn standard_descriptors(pid: i32) -> Result<[Option<String>; 3], String> {
    let name = |number: i32| {
        fs::read_link(format!("/proc/{pid}/fd/{number}"))
            .ok()
            .map(|target| target.to_string_lossy().into_owned())
    };
    Ok([name(0), name(1), name(2)])
}

/// How many descriptors a process has open.
pub fn descriptor_count(pid: i32) -> Result<usize, String> {
    fs::read_dir(format!("/proc/{pid}/fd"))
        .map(Iterator::count)
        .map_err(|error| format!("/proc/{pid}/fd: {error}"))
}

/// The sockets that a process has open, by inode.
pub fn open_sockets(pid: i32) -> Result<HashSet<u64>, String> {
    let entries = fs::read_dir(format!("/proc/{pid}/fd"))
        .map_err(|error| format!("/proc/{pid}/fd: {error}"))?;
    Ok(entries
        .filter_map(|entry| fs::read_link(entry.ok()?.path()).ok())
        .filter_map(|target| {
            target.to_str()?.strip_prefix("socket:[")?.strip_suffix(']')?.parse().ok()
        })
        .collect())
}

/// Who holds and who waits for which lock (proc_locks(5)).
pub fn lock_table() -> Result<Vec<Lock>, String> {
    let text =
        fs::read_to_string("/proc/locks").map_err(|error| format!("/proc/locks: {error}"))?;
    Ok(parse_locks(&text))
}

/// The kernel gives the table page by page and counts from its start each time: what stands at the
/// end of one page comes again on the next when somebody has locked something meanwhile.
fn parse_locks(text: &str) -> Vec<Lock> {
    let mut locks = Vec::new();
    for lock in text.lines().filter_map(parse_lock) {
        if !locks.contains(&lock) {
            locks.push(lock);
        }
    }
    locks
}

/// Reads `1: -> FLOCK  ADVISORY  WRITE 708 08:01:42 0 EOF`, with or without the arrow.
fn parse_lock(line: &str) -> Option<Lock> {
    let mut words = line.split_whitespace().skip(1).peekable();
    let waiting = words.next_if_eq(&"->").is_some();
    let kind = words.next()?.to_owned();
    let exclusive = words.nth(1)? == "WRITE";
    let pid = words.next()?.parse().ok()?;
    let inode = words.next()?.rsplit(':').next()?.parse().ok()?;
    Some(Lock { kind, exclusive, waiting, pid, inode })
}

/// Processor time of a process in nanoseconds (`/proc/PID/schedstat`): the scheduler's own count,
/// in which short wake-ups don't vanish between clock ticks.
pub fn processor_time(pid: i32) -> Result<u64, String> {
    let path = format!("/proc/{pid}/schedstat");
    fs::read_to_string(&path)
        .ok()
        .and_then(|text| text.split_whitespace().next()?.parse().ok())
        .ok_or_else(|| format!("needs {path}"))
}

/// Private memory of a process in bytes: its proportional share (`smaps_rollup`, `Pss`).
pub fn private_memory(pid: i32) -> Result<u64, String> {
    memory(pid, "Pss")
}

fn memory(pid: i32, name: &str) -> Result<u64, String> {
    let path = format!("/proc/{pid}/smaps_rollup");
    let text = fs::read_to_string(&path).map_err(|error| format!("needs {path}: {error}"))?;
    field(&text, name)
        .and_then(|size| size.strip_suffix("kB")?.trim().parse::<u64>().ok())
        .map(|kib| kib * 1024)
        .ok_or_else(|| format!("{path} has no {name}"))
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

/// Why this process cannot have a network namespace of its own, if it cannot.
pub fn network_namespace_missing() -> Option<Stop> {
    // Tried in a child: the namespaces of this process stay as they are.
    // SAFETY: the child only makes system calls and ends; `in_private_network` allocates, which
    // the one thread of a warden or the forked copy of the runner's allocator lock could forbid,
    // so the child is an executed copy of this program instead.
    let program = std::env::current_exe().ok()?;
    match std::process::Command::new(program).arg("__try-network-namespace").output() {
        Ok(output) if output.status.success() => None,
        Ok(output) => Some(Stop::NotRun(format!(
            "needs a private network namespace: {}",
            String::from_utf8_lossy(&output.stderr).trim()
        ))),
        Err(error) => Some(Stop::NotRun(format!("needs a private network namespace: {error}"))),
    }
}

/// Moves this process into a network namespace of its own, with the loopback interface up.
///
/// As an ordinary user this takes a user namespace too (user_namespaces(7)), in which the user
/// keeps its ids, so that nothing believes to be root.
pub fn enter_private_network() -> Result<(), String> {
    if nix::unistd::geteuid().is_root() {
        unshare(CloneFlags::CLONE_NEWNET).map_err(|errno| format!("unshare: {}", errno.desc()))?;
    } else {
        let (user, group) = (Uid::current(), Gid::current());
        unshare(CloneFlags::CLONE_NEWUSER | CloneFlags::CLONE_NEWNET)
            .map_err(|errno| format!("unshare: {}", errno.desc()))?;
        let write = |path: &str, text: String| {
            fs::write(path, text).map_err(|error| format!("{path}: {error}"))
        };
        write("/proc/self/setgroups", "deny".into())?;
        write("/proc/self/uid_map", format!("{user} {user} 1"))?;
        write("/proc/self/gid_map", format!("{group} {group} 1"))?;
    }
    raise_loopback()
}

/// Sets `IFF_UP` on `lo` (netdevice(7)); it starts down in a new namespace.
fn raise_loopback() -> Result<(), String> {
    use nix::sys::socket::{AddressFamily, SockFlag, SockType, socket};
    let socket = socket(AddressFamily::Inet, SockType::Datagram, SockFlag::SOCK_CLOEXEC, None)
        .map_err(|errno| format!("socket: {}", errno.desc()))?;
    // SAFETY: all-zero bytes are a valid ifreq.
    let mut request: libc::ifreq = unsafe { std::mem::zeroed() };
    for (to, from) in request.ifr_name.iter_mut().zip(b"lo\0") {
        *to = *from as libc::c_char;
    }
    request.ifr_ifru.ifru_flags = (libc::IFF_UP | libc::IFF_RUNNING) as libc::c_short;
    let raw = std::os::fd::AsRawFd::as_raw_fd(&socket);
    // SAFETY: SIOCSIFFLAGS reads an ifreq.
    Errno::result(unsafe { libc::ioctl(raw, libc::SIOCSIFFLAGS as _, &raw const request) })
        .map(drop)
        .map_err(|errno| format!("lo: {}", errno.desc()))
}

/// Writes one of this network namespace's settings, `net/ipv6/bindv6only` for instance.
pub fn set_network_parameter(name: &str, value: &str) -> Result<(), String> {
    let path = format!("/proc/sys/{name}");
    fs::write(&path, value).map_err(|error| format!("{path}: {error}"))
}

/// Why this process cannot filter its system calls, if it cannot.
pub fn syscall_filter_missing() -> Option<Stop> {
    if AUDIT_ARCH.is_none() {
        let reason = if cfg!(target_arch = "x86") {
            "32-bit x86 makes sockets through socketcall(2), whose arguments no filter can see"
        } else {
            "the filter for a kernel without IPv6 is not written for this architecture"
        };
        return Some(Stop::NotRun(reason.into()));
    }
    // SAFETY: PR_GET_SECCOMP takes no argument.
    let mode = unsafe { libc::prctl(libc::PR_GET_SECCOMP, 0, 0, 0, 0) };
    (mode < 0).then(|| Stop::NotRun("this kernel has no seccomp".into()))
}

/// The value of `AUDIT_ARCH_*` (linux/audit.h) for the architectures on which `socket` is a system
/// call of its own in every libc. On 32-bit x86, glibc multiplexes it through `socketcall`, whose
/// arguments a filter cannot see.
const AUDIT_ARCH: Option<u32> = if cfg!(target_arch = "x86_64") {
    Some(0xC000_003E)
} else if cfg!(target_arch = "aarch64") {
    Some(0xC000_00B7)
} else if cfg!(target_arch = "arm") {
    Some(0x4000_0028)
} else if cfg!(target_arch = "riscv64") {
    Some(0xC000_00F3)
} else {
    None
};

/// Makes `socket(AF_INET6, …)` fail with `EAFNOSUPPORT` in this process and what it executes: a
/// kernel built or started without IPv6 (seccomp(2), `SECCOMP_MODE_FILTER`).
///
/// Safe to call between fork and exec: it only makes system calls.
pub fn deny_ipv6_sockets() -> std::io::Result<()> {
    let Some(arch) = AUDIT_ARCH else {
        return Err(std::io::ErrorKind::Unsupported.into());
    };
    let statement = |code: u32, k: u32| libc::sock_filter { code: code as u16, jt: 0, jf: 0, k };
    let unless = |k: u32, skip: u8| libc::sock_filter {
        code: (libc::BPF_JMP | libc::BPF_JEQ | libc::BPF_K) as u16,
        jt: 0,
        jf: skip,
        k,
    };
    let load = libc::BPF_LD | libc::BPF_W | libc::BPF_ABS;
    // Offsets in struct seccomp_data: nr 0, arch 4, args from 16; the low half of the first
    // argument comes first on little-endian machines, which all of the above are.
    let filter = [
        statement(load, 4),
        unless(arch, 5),
        statement(load, 0),
        unless(libc::SYS_socket as u32, 3),
        statement(load, 16),
        unless(libc::AF_INET6 as u32, 1),
        statement(libc::BPF_RET | libc::BPF_K, libc::SECCOMP_RET_ERRNO | libc::EAFNOSUPPORT as u32),
        statement(libc::BPF_RET | libc::BPF_K, libc::SECCOMP_RET_ALLOW),
    ];
    let program = libc::sock_fprog { len: filter.len() as u16, filter: filter.as_ptr().cast_mut() };
    // SAFETY: integers only; needed for an unprivileged filter.
    Errno::result(unsafe { libc::prctl(libc::PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) })?;
    // SAFETY: the kernel copies the filter that `program` points to, which lives until here.
    Errno::result(unsafe {
        libc::prctl(libc::PR_SET_SECCOMP, libc::SECCOMP_MODE_FILTER, &raw const program)
    })?;
    Ok(())
}

/// How many processes and threads the user of this process has, as `RLIMIT_NPROC` counts them.
pub fn processes_of_user() -> Result<u64, String> {
    use std::os::unix::fs::MetadataExt;
    let user = nix::unistd::getuid().as_raw();
    let mut count = 0;
    let entries = fs::read_dir("/proc").map_err(|error| format!("needs /proc: {error}"))?;
    for entry in entries.filter_map(Result::ok) {
        let is_process = entry.file_name().to_str().is_some_and(|name| name.parse::<i32>().is_ok());
        if is_process && entry.metadata().is_ok_and(|metadata| metadata.uid() == user) {
            count += fs::read_dir(entry.path().join("task")).map_or(1, Iterator::count) as u64;
        }
    }
    Ok(count)
}

/// Sets how many descriptors another process of this user may have (prlimit(2)); returns what the
/// limit was.
pub fn limit_descriptors_of(pid: i32, limit: u64) -> Result<u64, String> {
    let before = descriptor_limit_of(pid)?;
    let after = libc::rlimit64 { rlim_cur: limit, rlim_max: before.rlim_max };
    // SAFETY: the kernel reads `after`; nothing is written.
    Errno::result(unsafe {
        libc::prlimit64(pid, libc::RLIMIT_NOFILE, &raw const after, std::ptr::null_mut())
    })
    .map_err(|errno| format!("prlimit: {}", errno.desc()))?;
    Ok(before.rlim_cur)
}

/// How many descriptors another process of this user may have.
pub fn descriptor_limit_of(pid: i32) -> Result<libc::rlimit64, String> {
    // SAFETY: all-zero bytes are a valid rlimit64.
    let mut limit: libc::rlimit64 = unsafe { std::mem::zeroed() };
    // SAFETY: the kernel writes to `limit`, which is of that type.
    Errno::result(unsafe {
        libc::prlimit64(pid, libc::RLIMIT_NOFILE, std::ptr::null(), &raw mut limit)
    })
    .map(|_| limit)
    .map_err(|errno| format!("prlimit: {}", errno.desc()))
}

/// Memory of a process in bytes that is its own and no file's (`smaps_rollup`, `Anonymous`).
pub fn anonymous_memory(pid: i32) -> Result<u64, String> {
    memory(pid, "Anonymous")
}

/// Gives the loopback interface of a private network one more IPv6 address; returns the
/// interface's name and index (`struct in6_ifreq` of linux/ipv6.h).
pub fn add_loopback_address(address: std::net::Ipv6Addr) -> Result<(&'static str, u32), String> {
    use nix::sys::socket::{AddressFamily, SockFlag, SockType, socket};
    #[repr(C)]
    struct In6Ifreq {
        address: libc::in6_addr,
        prefix_length: u32,
        interface: libc::c_int,
    }
    let index =
        nix::net::if_::if_nametoindex("lo").map_err(|errno| format!("lo: {}", errno.desc()))?;
    let socket = socket(AddressFamily::Inet6, SockType::Datagram, SockFlag::SOCK_CLOEXEC, None)
        .map_err(|errno| format!("socket: {}", errno.desc()))?;
    let request = In6Ifreq {
        address: libc::in6_addr { s6_addr: address.octets() },
        prefix_length: 64,
        interface: index as libc::c_int,
    };
    let raw = std::os::fd::AsRawFd::as_raw_fd(&socket);
    // SAFETY: on an IPv6 socket SIOCSIFADDR reads an in6_ifreq.
    Errno::result(unsafe { libc::ioctl(raw, libc::SIOCSIFADDR as _, &raw const request) })
        .map_err(|errno| format!("{address} on lo: {}", errno.desc()))?;
    Ok(("lo", index))
}

/// What the processor says about virtualization, and whether it is emulated in software (None:
/// cannot be told). QEMU's own processor names itself in `/proc/cpuinfo`; the `hypervisor` flag
/// stands for any virtual machine.
pub fn virtualization() -> (Option<String>, Option<bool>) {
    let Ok(text) = fs::read_to_string("/proc/cpuinfo") else { return (None, None) };
    let value = |name: &str| {
        text.lines()
            .find_map(|line| line.split_once(':').filter(|(key, _)| key.trim() == name))
            .map(|(_, value)| value.trim().to_owned())
    };
    let model = value("model name").unwrap_or_default();
    if model.contains("QEMU TCG") || model.contains("QEMU Virtual CPU") {
        return (Some(model), Some(true));
    }
    match value("flags") {
        Some(flags) if flags.split(' ').any(|flag| flag == "hypervisor") => {
            (Some("a virtual machine".into()), Some(false))
        }
        Some(_) => (None, Some(false)),
        None => (None, None),
    }
}

/// The type of the file system that `path` is on (statfs(2)).
pub fn file_system(path: &std::path::Path) -> String {
    use nix::sys::statfs as magic;
    let Ok(found) = magic::statfs(path) else { return "unknown file system".into() };
    let known = [
        (magic::EXT4_SUPER_MAGIC, "ext4"),
        (magic::TMPFS_MAGIC, "tmpfs"),
        (magic::BTRFS_SUPER_MAGIC, "btrfs"),
        (magic::XFS_SUPER_MAGIC, "xfs"),
        (magic::OVERLAYFS_SUPER_MAGIC, "overlay"),
        (magic::NFS_SUPER_MAGIC, "nfs"),
    ];
    known.iter().find(|(number, _)| *number == found.filesystem_type()).map_or_else(
        || format!("file system {:#x}", found.filesystem_type().0),
        |(_, name)| (*name).to_owned(),
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn this_process_is_in_the_table() {
        let table = process_table().unwrap();
        let own = table.iter().find(|p| p.pid == std::process::id() as i32).unwrap();
        assert_eq!(own.parent, nix::unistd::getppid().as_raw());
        assert_eq!(own.group, nix::unistd::getpgrp().as_raw());
    }

    #[test]
    fn a_lock_that_comes_twice_is_one() {
        let text = "1: FLOCK  ADVISORY  WRITE 708 08:01:42 0 EOF\n\
                    2: FLOCK  ADVISORY  WRITE 708 08:01:42 0 EOF\n\
                    3: FLOCK  ADVISORY  WRITE 709 08:01:42 0 EOF\n";
        let pids: Vec<i32> = parse_locks(text).iter().map(|lock| lock.pid).collect();
        assert_eq!(pids, [708, 709]);
    }

    #[test]
    fn lock_lines() {
        let held = parse_lock("1: FLOCK  ADVISORY  WRITE 708 08:01:42 0 EOF").unwrap();
        assert_eq!((held.exclusive, held.waiting, held.pid, held.inode), (true, false, 708, 42));
        let waiting = parse_lock("1: -> FLOCK  ADVISORY  READ 9 fd:00:7 0 EOF").unwrap();
        assert_eq!(
            (waiting.exclusive, waiting.waiting, waiting.pid, waiting.inode),
            (false, true, 9, 7)
        );
    }
}
