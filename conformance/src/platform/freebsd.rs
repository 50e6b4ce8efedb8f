//! FreeBSD: sysctl(3) `kern.proc`, procctl(2).
//!
//! The records are those of sys/user.h, as the libc crate declares them. Each begins with its size
//! and may be shorter than declared: the kernel cuts the path at its end (`procstat -f`, `-v` and
//! fstat(1) read the same ones).

use std::collections::HashSet;
use std::ffi::{CStr, c_int};
use std::mem::offset_of;
use std::path::PathBuf;

use nix::errno::Errno;
use nix::sys::signal::Signal;

use super::{Lock, Process, SignalState, State, signal_set};
use crate::verdict::Stop;

/// The limit of a process's address space (its getrlimit(2): RLIMIT_AS, an alias of RLIMIT_VMEM).
pub const LIMIT_ADDRESS_SPACE: nix::sys::resource::Resource =
    nix::sys::resource::Resource::RLIMIT_VMEM;

/// Makes orphaned descendants this process's children (procctl(2), `PROC_REAP_ACQUIRE`).
pub fn become_reaper() -> Result<(), String> {
    // An id of 0 stands for the calling process (procctl(2), `P_PID`).
    // SAFETY: this request reads no data.
    let result =
        unsafe { libc::procctl(libc::P_PID, 0, libc::PROC_REAP_ACQUIRE, std::ptr::null_mut()) };
    match Errno::result(result) {
        // It is one already.
        Ok(_) | Err(Errno::EBUSY) => Ok(()),
        Err(errno) => Err(format!("PROC_REAP_ACQUIRE: {}", errno.desc())),
    }
}

/// What `kern.proc.WHAT.OF` tells, as bytes (sysctl(3), `KERN_PROC`).
fn ask(what: c_int, of: &[c_int]) -> Result<Vec<u8>, Errno> {
    let mut name = vec![libc::CTL_KERN, libc::KERN_PROC, what];
    name.extend_from_slice(of);
    loop {
        let mut length = 0;
        // SAFETY: `name` has that length; only the size is written.
        Errno::result(unsafe {
            libc::sysctl(
                name.as_ptr(),
                name.len() as libc::c_uint,
                std::ptr::null_mut(),
                &raw mut length,
                std::ptr::null(),
                0,
            )
        })?;
        // The table may grow meanwhile.
        length += length / 8 + 1024;
        let mut bytes = vec![0_u8; length];
        // SAFETY: at most `length` bytes are written to `bytes`, which has them.
        let result = unsafe {
            libc::sysctl(
                name.as_ptr(),
                name.len() as libc::c_uint,
                bytes.as_mut_ptr().cast(),
                &raw mut length,
                std::ptr::null(),
                0,
            )
        };
        match Errno::result(result) {
            Ok(_) => {
                bytes.truncate(length);
                return Ok(bytes);
            }
            Err(Errno::ENOMEM) => {}
            Err(errno) => return Err(errno),
        }
    }
}

/// [`ask`] about one process, with words for what went wrong.
fn ask_about(pid: i32, what: c_int, name: &str) -> Result<Vec<u8>, String> {
    ask(what, &[pid]).map_err(|errno| format!("kern.proc.{name} of {pid}: {}", errno.desc()))
}

/// A structure of sys/user.h: numbers and kernel addresses, beginning with its size.
///
/// # Safety
/// Any bytes, all zero ones too, must be a valid value.
unsafe trait Record: Sized {}
// SAFETY: integers, arrays of them and raw pointers.
unsafe impl Record for libc::kinfo_proc {}
// SAFETY: integers and arrays of them.
unsafe impl Record for libc::kinfo_file {}
// SAFETY: integers and arrays of them.
unsafe impl Record for libc::kinfo_vmentry {}

/// The records in `bytes`, each as long as its first word says.
fn records(mut bytes: &[u8]) -> Vec<&[u8]> {
    let mut found = Vec::new();
    while let Some((size, _)) = bytes.split_first_chunk() {
        let size = usize::try_from(c_int::from_ne_bytes(*size)).unwrap_or(0);
        if size == 0 || size > bytes.len() {
            break;
        }
        let (record, rest) = bytes.split_at(size);
        found.push(record);
        bytes = rest;
    }
    found
}

/// A record as a structure; what the kernel has cut off is zero.
fn read<T: Record>(record: &[u8]) -> T {
    let mut value = std::mem::MaybeUninit::<T>::zeroed();
    // SAFETY: no more bytes are copied than either has; any bytes are a valid `Record`.
    unsafe {
        std::ptr::copy_nonoverlapping(
            record.as_ptr(),
            value.as_mut_ptr().cast(),
            record.len().min(size_of::<T>()),
        );
        value.assume_init()
    }
}

/// The processes of a `kern.proc` table.
fn process_records(bytes: &[u8]) -> Result<Vec<libc::kinfo_proc>, String> {
    let records = records(bytes);
    // The size is the layout's version (sys/user.h, KINFO_PROC_SIZE).
    if records.iter().any(|record| record.len() != size_of::<libc::kinfo_proc>()) {
        return Err("this kernel's struct kinfo_proc is not the one that forkproof knows".into());
    }
    Ok(records.into_iter().map(read).collect())
}

fn process_record(pid: i32) -> Result<libc::kinfo_proc, String> {
    process_records(&ask_about(pid, libc::KERN_PROC_PID, "pid")?)?
        .pop()
        .ok_or_else(|| format!("no process {pid}"))
}

/// Every process that this one may see.
pub fn process_table() -> Result<Vec<Process>, String> {
    let bytes = ask(libc::KERN_PROC_PROC, &[])
        .map_err(|errno| format!("needs kern.proc.proc: {}", errno.desc()))?;
    Ok(process_records(&bytes)?.iter().map(process).collect())
}

fn process(record: &libc::kinfo_proc) -> Process {
    /// Sleep is interruptible (sys/proc.h; ps(1) tells `S` and `D` apart by it).
    const TDF_SINTR: libc::c_long = 0x8;
    let state = match record.ki_stat {
        libc::SSLEEP if record.ki_tdflags & TDF_SINTR != 0 => State::Sleeping,
        libc::SSTOP => State::Stopped,
        libc::SZOMB => State::Zombie,
        _ => State::Active,
    };
    Process {
        pid: record.ki_pid,
        parent: record.ki_ppid,
        group: record.ki_pgid,
        session: record.ki_sid,
        // NODEV of sys/param.h.
        has_terminal: record.ki_tdev != libc::dev_t::MAX,
        state,
        name: text(&record.ki_comm),
    }
}

/// The string in an array of characters.
fn text(characters: &[libc::c_char]) -> String {
    let bytes: Vec<u8> =
        characters.iter().map(|&byte| byte as u8).take_while(|&byte| byte != 0).collect();
    String::from_utf8_lossy(&bytes).into_owned()
}

/// A process's signal dispositions and masks.
///
/// The kernel's ignored set holds the signals whose default it is to be discarded too (sigaction(2),
/// the table of signals), whether or not they were set to be ignored. They are left out: nobody can
/// tell.
pub fn signal_state(pid: i32) -> Result<SignalState, String> {
    let record = process_record(pid)?;
    let set = |signals: &libc::sigset_t| {
        (1..=64)
            // SAFETY: reads a set that is there.
            .filter(|&number| unsafe { libc::sigismember(signals, number) } == 1)
            .fold(0_u64, |set, number| set | 1 << (number - 1))
    };
    let discarded = signal_set(&[
        Signal::SIGURG,
        Signal::SIGCHLD,
        Signal::SIGIO,
        Signal::SIGWINCH,
        Signal::SIGINFO,
    ]);
    Ok(SignalState {
        ignored: set(&record.ki_sigignore) & !discarded,
        caught: set(&record.ki_sigcatch),
        blocked: set(&record.ki_sigmask),
        pending: set(&record.ki_siglist),
    })
}

/// A process's real, effective and saved user ids, and its supplementary groups; before FreeBSD 15
/// the effective group is among them (setgroups(2)).
pub fn credentials(pid: i32) -> Result<([u32; 3], Vec<u32>), String> {
    let record = process_record(pid)?;
    // ki_groups holds the first 16 of them.
    let groups = ask_about(pid, libc::KERN_PROC_GROUPS, "groups")?
        .chunks_exact(size_of::<libc::gid_t>())
        .map(|group| libc::gid_t::from_ne_bytes([group[0], group[1], group[2], group[3]]))
        .collect();
    Ok(([record.ki_ruid, record.ki_uid, record.ki_svuid], groups))
}

/// A process's file mode creation mask, where the system tells.
pub fn umask_of(pid: i32) -> Result<u32, String> {
    // An unsigned short (libprocstat(3), procstat_getumask).
    match ask_about(pid, libc::KERN_PROC_UMASK, "umask")?[..] {
        [low, high] => Ok(u16::from_ne_bytes([low, high]).into()),
        _ => Err("kern.proc.umask is no unsigned short".into()),
    }
}

/// A process's working directory.
pub fn working_directory(pid: i32) -> Result<PathBuf, String> {
    let bytes = ask_about(pid, libc::KERN_PROC_CWD, "cwd")?;
    let path = records(&bytes).first().map(|record| read::<libc::kinfo_file>(record));
    match path.map(|record| text(&record.kf_path)) {
        Some(path) if !path.is_empty() => Ok(path.into()),
        _ => Err(format!("kern.proc.cwd of {pid} has no path")),
    }
}

/// An open descriptor.
struct Descriptor {
    number: c_int,
    kind: c_int,
    path: String,
    /// For sockets: the address of the protocol's control block, which `netstat -A` shows too. 0
    /// when there is none any more.
    control_block: u64,
}

/// The open descriptors of a process (`KERN_PROC_FILEDESC`).
fn descriptors(pid: i32) -> Result<Vec<Descriptor>, String> {
    /// Of `kf_un.kf_sock.kf_sock_pcb` in struct kinfo_file: the union follows `kf_offset`, and in
    /// it four integers of 32 bits and two socket addresses come first. The layout is the same on
    /// all architectures and never changes (sys/user.h, at KINFO_FILE_SIZE).
    const CONTROL_BLOCK: usize = offset_of!(libc::kinfo_file, kf_offset)
        + size_of::<i64>()
        + 4 * size_of::<u32>()
        + 2 * size_of::<libc::sockaddr_storage>();
    let bytes = ask_about(pid, libc::KERN_PROC_FILEDESC, "filedesc")?;
    let descriptors = records(&bytes).into_iter().map(|record| {
        let file: libc::kinfo_file = read(record);
        let control_block = record
            .get(CONTROL_BLOCK..)
            .and_then(<[u8]>::first_chunk)
            .map_or(0, |bytes| u64::from_ne_bytes(*bytes));
        Descriptor {
            number: file.kf_fd,
            kind: file.kf_type,
            path: text(&file.kf_path),
            control_block,
        }
    });
    // Negative ones are the directories, the program and the terminal (sys/user.h, KF_FD_TYPE_CWD).
    Ok(descriptors.filter(|descriptor| descriptor.number >= 0).collect())
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

/// The sockets that a process has open, by their protocol control blocks.
pub fn open_sockets(pid: i32) -> Result<HashSet<u64>, String> {
    Ok(descriptors(pid)?
        .into_iter()
        .filter(|descriptor| descriptor.kind == libc::KF_TYPE_SOCKET)
        .map(|descriptor| descriptor.control_block)
        .filter(|&block| block != 0)
        .collect())
}

/// Who holds and who waits for which lock.
pub fn lock_table() -> Result<Vec<Lock>, String> {
    // kern.lockf (FreeBSD 14) lists the locks that are held, and for flock(2) without a process.
    Err("FreeBSD does not tell who waits for a lock".into())
}

/// Processor time of a process in nanoseconds: `ki_runtime` counts microseconds, which the
/// scheduler adds up from the processor's own ticks at each switch. Short wake-ups don't vanish.
pub fn processor_time(pid: i32) -> Result<u64, String> {
    Ok(process_record(pid)?.ki_runtime * 1000)
}

/// Private memory of a process in bytes: its proportional share.
pub fn private_memory(_pid: i32) -> Result<u64, String> {
    // ki_rssize counts the pages that are shared with the parent in full. kve_private_resident
    // leaves out what was copied after a fork.
    Err("FreeBSD does not tell a process's share of the memory that it has in common with others"
        .into())
}

/// How many segments a socket has sent again, connecting included.
pub fn retransmissions(_socket: &impl std::os::fd::AsFd) -> Result<u32, String> {
    // tcpi_snd_rexmitpack (tcp(4), TCP_INFO) counts segments that carry data only.
    Err("FreeBSD does not tell how often a connection request was sent again".into())
}

const NO_NAMESPACES: &str =
    "FreeBSD has no network namespaces; jails with VNET (jail(8)) need root and a set-up";

/// Moves this process into a network namespace of its own: not on FreeBSD.
pub fn enter_private_network() -> Result<(), String> {
    Err(NO_NAMESPACES.into())
}

/// Writes one of this network namespace's settings: not on FreeBSD.
pub fn set_network_parameter(_name: &str, _value: &str) -> Result<(), String> {
    Err(NO_NAMESPACES.into())
}

const NO_FILTER: &str = "FreeBSD has no filter for system calls (capsicum(4) forbids all sockets)";

/// Why this process cannot filter its system calls.
pub fn syscall_filter_missing() -> Option<Stop> {
    Some(Stop::Unsupported(NO_FILTER.into()))
}

/// Makes `socket(AF_INET6, …)` fail: not on FreeBSD.
pub fn deny_ipv6_sockets() -> std::io::Result<()> {
    Err(std::io::ErrorKind::Unsupported.into())
}

/// How many processes the user of this process has, as `RLIMIT_NPROC` counts them (setrlimit(2)).
pub fn processes_of_user() -> Result<u64, String> {
    let user = nix::unistd::getuid().as_raw();
    let user = c_int::from_ne_bytes(user.to_ne_bytes());
    let bytes = ask(libc::KERN_PROC_RUID, &[user])
        .map_err(|errno| format!("kern.proc.ruid: {}", errno.desc()))?;
    Ok(process_records(&bytes)?.len() as u64)
}

/// Sets how many descriptors another process of this user may have, as `limits -P` does (limits(1));
/// returns what the limit was.
pub fn limit_descriptors_of(pid: i32, limit: u64) -> Result<u64, String> {
    let before = descriptor_limit_of(pid)?;
    let after = libc::rlimit {
        rlim_cur: libc::rlim_t::try_from(limit).unwrap_or(libc::RLIM_INFINITY),
        rlim_max: before.rlim_max,
    };
    let name = [libc::CTL_KERN, libc::KERN_PROC, libc::KERN_PROC_RLIMIT, pid, libc::RLIMIT_NOFILE];
    // SAFETY: the kernel reads `name` and `after`, with their lengths; nothing is written.
    Errno::result(unsafe {
        libc::sysctl(
            name.as_ptr(),
            name.len() as libc::c_uint,
            std::ptr::null_mut(),
            std::ptr::null_mut(),
            (&raw const after).cast(),
            size_of_val(&after),
        )
    })
    .map_err(|errno| format!("kern.proc.rlimit of {pid}: {}", errno.desc()))?;
    u64::try_from(before.rlim_cur).map_err(|error| format!("kern.proc.rlimit of {pid}: {error}"))
}

/// How many descriptors another process of this user may have.
pub fn descriptor_limit_of(pid: i32) -> Result<libc::rlimit, String> {
    let bytes = ask(libc::KERN_PROC_RLIMIT, &[pid, libc::RLIMIT_NOFILE])
        .map_err(|errno| format!("kern.proc.rlimit of {pid}: {}", errno.desc()))?;
    let number = |at: usize| {
        bytes.get(at..).and_then(<[u8]>::first_chunk).map(|text| libc::rlim_t::from_ne_bytes(*text))
    };
    match (number(0), number(size_of::<libc::rlim_t>())) {
        (Some(rlim_cur), Some(rlim_max)) => Ok(libc::rlimit { rlim_cur, rlim_max }),
        _ => Err(format!("kern.proc.rlimit of {pid} is no struct rlimit")),
    }
}

/// Memory of a process in bytes that is its own and no file's: the resident pages of its map's
/// entries that no file is behind (procstat(1), `-v`: types `df` and `sw`, column `RES`).
pub fn anonymous_memory(pid: i32) -> Result<u64, String> {
    let page = nix::unistd::sysconf(nix::unistd::SysconfVar::PAGE_SIZE)
        .ok()
        .flatten()
        .and_then(|size| u64::try_from(size).ok())
        .ok_or("the page size is unknown")?;
    let pages: u64 = records(&ask_about(pid, libc::KERN_PROC_VMMAP, "vmmap")?)
        .into_iter()
        .map(read::<libc::kinfo_vmentry>)
        .filter(|entry| matches!(entry.kve_type, libc::KVME_TYPE_DEFAULT | libc::KVME_TYPE_SWAP))
        .filter_map(|entry| u64::try_from(entry.kve_resident).ok())
        .sum();
    if pages == 0 {
        // No process is without a stack.
        return Err("needs kern.proc_vmmap_skip_resident_count=0".into());
    }
    Ok(pages * page)
}

/// Gives the loopback interface of a private network one more IPv6 address: not on FreeBSD.
pub fn add_loopback_address(_address: std::net::Ipv6Addr) -> Result<(&'static str, u32), String> {
    Err(NO_NAMESPACES.into())
}

/// What the kernel says about virtualization (`kern.vm_guest`, "none" on real hardware), and whether
/// the processor is emulated in software: QEMU's own names itself in `hw.model`.
pub fn virtualization() -> (Option<String>, Option<bool>) {
    let model = string_of(c"hw.model").unwrap_or_default();
    if model.contains("QEMU TCG") || model.contains("QEMU Virtual CPU") {
        return (Some(model), Some(true));
    }
    match string_of(c"kern.vm_guest") {
        Some(guest) if guest == "none" => (None, Some(false)),
        Some(guest) => (Some(format!("a virtual machine ({guest})")), Some(false)),
        None => (None, None),
    }
}

/// A string that sysctlbyname(3) tells.
fn string_of(name: &CStr) -> Option<String> {
    let mut bytes = vec![0_u8; 1024];
    let mut length = bytes.len();
    // SAFETY: at most `length` bytes are written to `bytes`, which has them.
    Errno::result(unsafe {
        libc::sysctlbyname(
            name.as_ptr(),
            bytes.as_mut_ptr().cast(),
            &raw mut length,
            std::ptr::null(),
            0,
        )
    })
    .ok()?;
    bytes.truncate(length);
    Some(String::from_utf8_lossy(&bytes).trim_end_matches('\0').to_owned())
}

/// The type of the file system that `path` is on (statfs(2), `f_fstypename`).
pub fn file_system(path: &std::path::Path) -> String {
    nix::sys::statfs::statfs(path).map_or_else(
        |_| "unknown file system".into(),
        |found| found.filesystem_type_name().to_owned(),
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
    fn own_umask_directory_and_limit() {
        let own = std::process::id() as i32;
        let umask = nix::sys::stat::umask(nix::sys::stat::Mode::from_bits_truncate(0o027));
        assert_eq!(umask_of(own), Ok(0o027));
        nix::sys::stat::umask(umask);
        assert_eq!(working_directory(own).unwrap(), std::env::current_dir().unwrap());
        let (soft, hard) =
            nix::sys::resource::getrlimit(nix::sys::resource::Resource::RLIMIT_NOFILE).unwrap();
        let limit = descriptor_limit_of(own).unwrap();
        assert_eq!((limit.rlim_cur, limit.rlim_max), (soft, hard));
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

    #[test]
    fn memory_grows_when_it_is_used() {
        let own = std::process::id() as i32;
        let before = anonymous_memory(own).unwrap();
        let block = vec![1_u8; 8 << 20];
        let after = anonymous_memory(own).unwrap();
        assert!(after >= before + block.len() as u64 / 2, "{before} then {after}");
    }
}
