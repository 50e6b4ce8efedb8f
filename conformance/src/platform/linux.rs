//! Linux: proc(5), prctl(2), namespaces(7), seccomp(2).

use std::collections::HashSet;
use std::fs;

use nix::errno::Errno;
use nix::mount::{MsFlags, mount};
use nix::sched::{CloneFlags, unshare};
use nix::unistd::{Gid, Uid};

use super::{HIGH_PROCESS_ID, Lock, Namespace, Process, SignalState, State};
use crate::verdict::Stop;

/// The limit of a process's address space (getrlimit(2)).
pub const LIMIT_ADDRESS_SPACE: nix::sys::resource::Resource =
    nix::sys::resource::Resource::RLIMIT_AS;

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

/// Why this process cannot have a namespace of its own, if it cannot.
pub fn namespace_missing(namespace: Namespace) -> Option<Stop> {
    let needs = |why: &str| Some(Stop::NotRun(format!("needs {}: {why}", namespace.words())));
    // Tried in an executed copy of this program: the namespaces of this process stay as they are,
    // and what a forked child of many threads may not do, allocate for one, is no matter.
    let program = std::env::current_exe().ok()?;
    match std::process::Command::new(program).args(["__try-namespace", namespace.name()]).output() {
        Ok(output) if output.status.success() => None,
        Ok(output) => needs(String::from_utf8_lossy(&output.stderr).trim()),
        Err(error) => needs(&error.to_string()),
    }
}

/// Enters `namespace` for good, to see whether that can be done.
pub fn try_namespace(namespace: Namespace) -> Result<(), String> {
    match namespace {
        Namespace::Network => enter_private_network(),
        Namespace::Mounts => {
            enter_private_mounts()?;
            mount_tmpfs(std::path::Path::new("/tmp"), 64 * 1024)
        }
        Namespace::Processes => {
            unshare_processes()?;
            // SAFETY: this process has one thread.
            match unsafe { nix::unistd::fork() }
                .map_err(|errno| format!("fork: {}", errno.desc()))?
            {
                nix::unistd::ForkResult::Child => {
                    let status = match begin_private_processes(HIGH_PROCESS_ID) {
                        Ok(()) => 0,
                        Err(reason) => {
                            eprintln!("{reason}");
                            1
                        }
                    };
                    // SAFETY: ends the process without running what its parent registered.
                    unsafe { libc::_exit(status) }
                }
                nix::unistd::ForkResult::Parent { child } => {
                    use nix::sys::wait::{WaitStatus, waitpid};
                    match waitpid(child, None) {
                        Ok(WaitStatus::Exited(_, 0)) => Ok(()),
                        // It has said why.
                        Ok(_) => Err(String::new()),
                        Err(errno) => Err(format!("waitpid: {}", errno.desc())),
                    }
                }
            }
        }
    }
}

/// Moves this process into a network namespace of its own, with the loopback interface up.
///
/// As an ordinary user this takes a user namespace too (user_namespaces(7)), in which the user
/// keeps its ids, so that nothing believes to be root.
pub fn enter_private_network() -> Result<(), String> {
    unshare_with_rights(CloneFlags::CLONE_NEWNET)?;
    raise_loopback()
}

/// Moves this process into a mount namespace of its own: what it mounts from now on, only it and
/// its children see, and it is gone with them. As an ordinary user as in
/// [`enter_private_network`].
pub fn enter_private_mounts() -> Result<(), String> {
    unshare_with_rights(CloneFlags::CLONE_NEWNS)?;
    keep_mounts_private()
}

/// A new mount namespace still shares its mounts' events with the old one where those are shared,
/// as systemd makes them (mount_namespaces(7), "Shared subtrees").
fn keep_mounts_private() -> Result<(), String> {
    mount(None::<&str>, "/", None::<&str>, MsFlags::MS_REC | MsFlags::MS_PRIVATE, None::<&str>)
        .map_err(|errno| format!("mount --make-rprivate /: {}", errno.desc()))
}

/// Puts directories in the place of others. To be called in private mounts; `scratch` is an empty
/// directory for what that takes. Nothing is ever made in a directory that others see: where a path
/// does not exist, its nearest ancestor that does is covered by an empty file system in which all
/// of the ancestor's entries are links to the real ones.
pub fn cover_paths(covers: &[super::Cover], scratch: &std::path::Path) -> Result<(), String> {
    // Directories that are on file systems of our own.
    let mut own: Vec<std::path::PathBuf> = Vec::new();
    for (number, cover) in covers.iter().enumerate() {
        let path = &cover.path;
        if !path.is_dir() {
            let ancestor = path
                .ancestors()
                .skip(1)
                .find(|ancestor| ancestor.is_dir())
                .and_then(|ancestor| ancestor.canonicalize().ok())
                .ok_or_else(|| format!("{}: no directory above it", path.display()))?;
            if !own.iter().any(|dir| ancestor.starts_with(dir)) {
                if ancestor == std::path::Path::new("/") {
                    return Err(format!(
                        "needs {} to exist: nothing can be put beside the entries of /",
                        path.display()
                    ));
                }
                let stage = scratch.join(number.to_string());
                shadow(&ancestor, &stage)?;
                own.push(ancestor);
            }
            fs::create_dir_all(path).map_err(|error| format!("{}: {error}", path.display()))?;
        }
        let cannot = |errno: Errno| {
            format!("{} at {}: {}", cover.from.display(), path.display(), errno.desc())
        };
        let flags = MsFlags::MS_BIND | MsFlags::MS_REC;
        mount(Some(&cover.from), path, None::<&str>, flags, None::<&str>).map_err(cannot)?;
        if cover.read_only {
            make_bind_read_only(path)?;
        }
    }
    Ok(())
}

/// Makes what is bound on `path` read-only there. In a user namespace the flags that the original
/// mount has cannot be taken off, so they are said again (mount_namespaces(7), "locked").
fn make_bind_read_only(path: &std::path::Path) -> Result<(), String> {
    use nix::sys::statvfs::{FsFlags, statvfs};
    let failed = |errno: Errno| format!("remount {}: {}", path.display(), errno.desc());
    let has = statvfs(path).map_err(failed)?.flags();
    let mut flags = MsFlags::MS_BIND | MsFlags::MS_REMOUNT | MsFlags::MS_RDONLY;
    for (flag, mount_flag) in [
        (FsFlags::ST_NOSUID, MsFlags::MS_NOSUID),
        (FsFlags::ST_NODEV, MsFlags::MS_NODEV),
        (FsFlags::ST_NOEXEC, MsFlags::MS_NOEXEC),
        (FsFlags::ST_NOATIME, MsFlags::MS_NOATIME),
        (FsFlags::ST_NODIRATIME, MsFlags::MS_NODIRATIME),
        (FsFlags::ST_RELATIME, MsFlags::MS_RELATIME),
    ] {
        if has.contains(flag) {
            flags |= mount_flag;
        }
    }
    mount(None::<&str>, path, None::<&str>, flags, None::<&str>).map_err(failed)
}

/// Covers `dir` by an empty file system that holds links to all that `dir` held.
fn shadow(dir: &std::path::Path, stage: &std::path::Path) -> Result<(), String> {
    const REAL: &str = ".forkproof-below";
    let failed =
        |what: &std::path::Path, why: &dyn std::fmt::Display| format!("{}: {why}", what.display());
    fs::create_dir(stage).map_err(|error| failed(stage, &error))?;
    mount(Some("tmpfs"), stage, Some("tmpfs"), MsFlags::empty(), Some("size=1m,mode=0755"))
        .map_err(|errno| failed(stage, &errno.desc()))?;
    let real = stage.join(REAL);
    fs::create_dir(&real).map_err(|error| failed(&real, &error))?;
    mount(Some(dir), &real, None::<&str>, MsFlags::MS_BIND | MsFlags::MS_REC, None::<&str>)
        .map_err(|errno| failed(&real, &errno.desc()))?;
    for entry in fs::read_dir(dir).map_err(|error| failed(dir, &error))? {
        let name = entry.map_err(|error| failed(dir, &error))?.file_name();
        let link = stage.join(&name);
        std::os::unix::fs::symlink(std::path::Path::new(REAL).join(&name), &link)
            .map_err(|error| failed(&link, &error))?;
    }
    mount(Some(stage), dir, None::<&str>, MsFlags::MS_MOVE, None::<&str>)
        .map_err(|errno| failed(dir, &errno.desc()))
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

/// Mounts an empty file system of `size` bytes on the directory `path` (tmpfs(5)). To be called in
/// private mounts.
pub fn mount_tmpfs(path: &std::path::Path, size: u64) -> Result<(), String> {
    let options = format!("size={size},mode=0700");
    mount(Some("tmpfs"), path, Some("tmpfs"), MsFlags::empty(), Some(options.as_str()))
        .map_err(|errno| format!("tmpfs on {}: {}", path.display(), errno.desc()))
}

/// Makes the file system that is mounted on `path` read-only (mount(2), "Remounting"). To be called
/// in private mounts.
pub fn make_read_only(path: &std::path::Path) -> Result<(), String> {
    let flags = MsFlags::MS_REMOUNT | MsFlags::MS_RDONLY;
    mount(None::<&str>, path, None::<&str>, flags, None::<&str>)
        .map_err(|errno| format!("remount {}: {}", path.display(), errno.desc()))
}

/// Makes `dir` hold a file of the given name and content whose inode number takes all 64 bits. To
/// be called in private mounts.
///
/// An overlay with `xino=on` puts the number of the layer's file system into the inode's highest
/// bits (Documentation/filesystems/overlayfs, "Inode properties"); a file keeps its number when it
/// is written to.
pub fn mount_high_inodes(dir: &std::path::Path, name: &str, content: &[u8]) -> Result<(), String> {
    let beside = |part: &str| {
        let mut path = dir.as_os_str().to_owned();
        path.push(part);
        std::path::PathBuf::from(path)
    };
    let (lower, upper) = (beside(".lower"), beside(".upper"));
    let words =
        |path: &std::path::Path, error: std::io::Error| format!("{}: {error}", path.display());
    for path in [dir, &lower, &upper] {
        fs::create_dir(path).map_err(|error| words(path, error))?;
    }
    // Two file systems: with one, the overlay needs no bits to tell its layers apart.
    mount_tmpfs(&lower, 1024 * 1024)?;
    mount_tmpfs(&upper, 1024 * 1024)?;
    let file = lower.join(name);
    fs::write(&file, content).map_err(|error| words(&file, error))?;
    let (changed, work) = (upper.join("changed"), upper.join("work"));
    for path in [&changed, &work] {
        fs::create_dir(path).map_err(|error| words(path, error))?;
    }
    let options = format!(
        "lowerdir={},upperdir={},workdir={},xino=on",
        lower.display(),
        changed.display(),
        work.display()
    );
    mount(Some("overlay"), dir, Some("overlay"), MsFlags::empty(), Some(options.as_str()))
        .map_err(|errno| format!("overlay on {}: {}", dir.display(), errno.desc()))
}

/// Puts this process's next child, and all below it, into a process namespace of its own
/// (pid_namespaces(7)), with mounts of its own. As an ordinary user as in
/// [`enter_private_network`].
pub fn unshare_processes() -> Result<(), String> {
    unshare_with_rights(CloneFlags::CLONE_NEWNS | CloneFlags::CLONE_NEWPID)?;
    keep_mounts_private()
}

/// In the child after [`unshare_processes`]: mounts the namespace's own /proc, and makes the next
/// process's id the one after `last` (proc_sys_kernel(5), `ns_last_pid`).
pub fn begin_private_processes(last: i32) -> Result<(), String> {
    mount(Some("proc"), "/proc", Some("proc"), MsFlags::empty(), None::<&str>)
        .map_err(|errno| format!("mount /proc: {}", errno.desc()))?;
    fs::write("/proc/sys/kernel/ns_last_pid", last.to_string()).map_err(|error| {
        let most = fs::read_to_string("/proc/sys/kernel/pid_max").unwrap_or_default();
        format!("/proc/sys/kernel/ns_last_pid: {error} (pid_max is {})", most.trim())
    })
}

/// Moves this process into a user namespace in which it has the ids `inside`, and with it all that
/// it executes.
pub fn become_user_inside(inside: u32) -> Result<(), String> {
    enter_user_namespace(CloneFlags::empty(), inside, inside)
}

/// Unshares what `flags` say. An ordinary user has the right to in a user namespace only, in which
/// this process keeps its ids.
fn unshare_with_rights(flags: CloneFlags) -> Result<(), String> {
    if nix::unistd::geteuid().is_root() {
        unshare(flags).map_err(|errno| format!("unshare: {}", errno.desc()))
    } else {
        enter_user_namespace(flags, Uid::current().as_raw(), Gid::current().as_raw())
    }
}

/// Unshares what `flags` say, and the user ids, with this process's own as the only ones mapped.
fn enter_user_namespace(flags: CloneFlags, user: u32, group: u32) -> Result<(), String> {
    let (outer_user, outer_group) = (Uid::effective(), Gid::effective());
    unshare(CloneFlags::CLONE_NEWUSER | flags)
        .map_err(|errno| format!("unshare: {}", errno.desc()))?;
    let write = |path: &str, text: String| {
        fs::write(path, text).map_err(|error| format!("{path}: {error}"))
    };
    write("/proc/self/setgroups", "deny".into())?;
    write("/proc/self/uid_map", format!("{user} {outer_user} 1"))?;
    write("/proc/self/gid_map", format!("{group} {outer_group} 1"))
}

/// The most descriptors that root may allow a process (proc_sys_fs(5), `nr_open`).
pub fn most_descriptors() -> Result<u64, String> {
    const PATH: &str = "/proc/sys/fs/nr_open";
    fs::read_to_string(PATH)
        .ok()
        .and_then(|text| text.trim().parse().ok())
        .ok_or_else(|| format!("needs {PATH}"))
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

/// Why this process cannot deny IPv6 sockets by a filter, if it cannot.
pub fn syscall_filter_missing() -> Option<Stop> {
    if cfg!(target_arch = "x86") {
        return Some(Stop::NotRun(
            "32-bit x86 makes sockets through socketcall(2), whose arguments no filter can see"
                .into(),
        ));
    }
    if AUDIT_ARCH.is_none() {
        return Some(Stop::NotRun(
            "the filter for a kernel without IPv6 is not written for this architecture".into(),
        ));
    }
    filters_missing()
}

/// Why [`forbid_descriptors`] cannot be used, if it cannot.
pub fn descriptor_filter_missing() -> Option<Stop> {
    if AUDIT_ARCH.is_none() {
        return Some(Stop::NotRun(
            "the filter for descriptors is not written for this architecture".into(),
        ));
    }
    filters_missing()
}

fn filters_missing() -> Option<Stop> {
    // SAFETY: PR_GET_SECCOMP takes no argument.
    let mode = unsafe { libc::prctl(libc::PR_GET_SECCOMP, 0, 0, 0, 0) };
    (mode < 0).then(|| Stop::NotRun("this kernel has no seccomp".into()))
}

/// The value of `AUDIT_ARCH_*` (linux/audit.h) for the architectures that filters are written for.
const AUDIT_ARCH: Option<u32> = if cfg!(target_arch = "x86_64") {
    Some(0xC000_003E)
} else if cfg!(target_arch = "x86") {
    Some(0x4000_0003)
} else if cfg!(target_arch = "aarch64") {
    Some(0xC000_00B7)
} else if cfg!(target_arch = "arm") {
    Some(0x4000_0028)
} else if cfg!(target_arch = "riscv64") {
    Some(0xC000_00F3)
} else {
    None
};

// Offsets in struct seccomp_data (seccomp(2)): nr 0, arch 4, args from 16; the low half of the
// first argument comes first on little-endian machines, which all of the above are.
const NUMBER: u32 = 0;
const ARCH: u32 = 4;
const FIRST_ARGUMENT: u32 = 16;

fn load(offset: u32) -> libc::sock_filter {
    statement(libc::BPF_LD | libc::BPF_W | libc::BPF_ABS, offset)
}

fn answer(action: u32) -> libc::sock_filter {
    statement(libc::BPF_RET | libc::BPF_K, action)
}

fn statement(code: u32, k: u32) -> libc::sock_filter {
    libc::sock_filter { code: code as u16, jt: 0, jf: 0, k }
}

/// Compares what was loaded with `k`; skips so many statements if it holds, or if not.
fn compare(how: u32, k: u32, holds: u8, fails: u8) -> libc::sock_filter {
    let code = (libc::BPF_JMP | how | libc::BPF_K) as u16;
    libc::sock_filter { code, jt: holds, jf: fails, k }
}

/// Filters the system calls of this process and of what it executes, for good.
fn apply_filter(filter: &[libc::sock_filter]) -> std::io::Result<()> {
    let program = libc::sock_fprog { len: filter.len() as u16, filter: filter.as_ptr().cast_mut() };
    // SAFETY: integers only; needed for an unprivileged filter.
    Errno::result(unsafe { libc::prctl(libc::PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) })?;
    // SAFETY: the kernel copies the filter that `program` points to, which lives until here.
    Errno::result(unsafe {
        libc::prctl(libc::PR_SET_SECCOMP, libc::SECCOMP_MODE_FILTER, &raw const program)
    })?;
    Ok(())
}

/// Makes `socket(AF_INET6, …)` fail with `EAFNOSUPPORT` in this process and what it executes: a
/// kernel built or started without IPv6 (seccomp(2), `SECCOMP_MODE_FILTER`).
///
/// Safe to call between fork and exec: it only makes system calls.
pub fn deny_ipv6_sockets() -> std::io::Result<()> {
    let Some(arch) = AUDIT_ARCH else {
        return Err(std::io::ErrorKind::Unsupported.into());
    };
    apply_filter(&[
        load(ARCH),
        compare(libc::BPF_JEQ, arch, 0, 5),
        load(NUMBER),
        compare(libc::BPF_JEQ, libc::SYS_socket as u32, 0, 3),
        load(FIRST_ARGUMENT),
        compare(libc::BPF_JEQ, libc::AF_INET6 as u32, 0, 1),
        answer(libc::SECCOMP_RET_ERRNO | libc::EAFNOSUPPORT as u32),
        answer(libc::SECCOMP_RET_ALLOW),
    ])
}

/// Makes `close` and `fcntl` kill the process (`SIGSYS`) for descriptors from `from` up to but not
/// including `to`, in this process and what it executes: nobody who has never opened so many does
/// that, except in a loop over all. A program of another architecture than this one is let go.
///
/// Safe to call between fork and exec: it only makes system calls.
pub fn forbid_descriptors(from: u32, to: u32) -> std::io::Result<()> {
    let Some(arch) = AUDIT_ARCH else {
        return Err(std::io::ErrorKind::Unsupported.into());
    };
    apply_filter(&[
        load(ARCH),
        compare(libc::BPF_JEQ, arch, 0, 8),
        load(NUMBER),
        compare(libc::BPF_JEQ, libc::SYS_close as u32, 2, 0),
        compare(libc::BPF_JEQ, libc::SYS_fcntl as u32, 1, 0),
        compare(libc::BPF_JEQ, SYS_FCNTL64, 0, 4),
        load(FIRST_ARGUMENT),
        compare(libc::BPF_JGE, from, 0, 2),
        compare(libc::BPF_JGE, to, 1, 0),
        answer(libc::SECCOMP_RET_KILL_PROCESS),
        answer(libc::SECCOMP_RET_ALLOW),
    ])
}

/// The one that 32-bit libcs use; elsewhere there is only `fcntl`.
#[cfg(any(target_arch = "x86", target_arch = "arm"))]
const SYS_FCNTL64: u32 = libc::SYS_fcntl64 as u32;
#[cfg(not(any(target_arch = "x86", target_arch = "arm")))]
const SYS_FCNTL64: u32 = libc::SYS_fcntl as u32;

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
        (magic::FsType(0x5846_5342), "xfs"), // linux/magic.h; not in every libc crate target
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
