//! What sysctl(3) `kern.proc` tells of processes, and procctl(2).

use std::ffi::c_int;
use std::path::PathBuf;

use nix::errno::Errno;
use nix::sys::resource::Resource;
use nix::sys::signal::Signal;

use super::records::{ask, ask_about, process_record, process_records, read, records, text};
use crate::platform::model::{Process, SignalState, State, signal_set};

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

/// A process's working directory.
pub fn working_directory(pid: i32) -> Result<PathBuf, String> {
    let bytes = ask_about(pid, libc::KERN_PROC_CWD, "cwd")?;
    let path = records(&bytes).first().map(|record| read::<libc::kinfo_file>(record));
    match path.map(|record| text(&record.kf_path)) {
        Some(path) if !path.is_empty() => Ok(path.into()),
        _ => Err(format!("kern.proc.cwd of {pid} has no path")),
    }
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
    limit_of(pid, Resource::RLIMIT_NOFILE, limit)
}

/// The same for any resource.
pub fn limit_of(pid: i32, resource: Resource, limit: u64) -> Result<u64, String> {
    let before = present_limit(pid, resource)?;
    let after = libc::rlimit {
        rlim_cur: libc::rlim_t::try_from(limit).unwrap_or(libc::RLIM_INFINITY),
        rlim_max: before.rlim_max,
    };
    let name = [libc::CTL_KERN, libc::KERN_PROC, libc::KERN_PROC_RLIMIT, pid, resource as c_int];
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
    present_limit(pid, Resource::RLIMIT_NOFILE)
}

fn present_limit(pid: i32, resource: Resource) -> Result<libc::rlimit, String> {
    let bytes = ask(libc::KERN_PROC_RLIMIT, &[pid, resource as c_int])
        .map_err(|errno| format!("kern.proc.rlimit of {pid}: {}", errno.desc()))?;
    let number = |at: usize| {
        bytes.get(at..).and_then(<[u8]>::first_chunk).map(|text| libc::rlim_t::from_ne_bytes(*text))
    };
    match (number(0), number(size_of::<libc::rlim_t>())) {
        (Some(rlim_cur), Some(rlim_max)) => Ok(libc::rlimit { rlim_cur, rlim_max }),
        _ => Err(format!("kern.proc.rlimit of {pid} is no struct rlimit")),
    }
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
    fn own_directory_and_limit() {
        let own = std::process::id() as i32;
        assert_eq!(working_directory(own).unwrap(), std::env::current_dir().unwrap());
        let (soft, hard) =
            nix::sys::resource::getrlimit(nix::sys::resource::Resource::RLIMIT_NOFILE).unwrap();
        let limit = descriptor_limit_of(own).unwrap();
        assert_eq!((limit.rlim_cur, limit.rlim_max), (soft, hard));
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
