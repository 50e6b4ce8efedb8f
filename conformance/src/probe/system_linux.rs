//! What probes need that only Linux words like this.

use nix::errno::Errno;

use super::model::Measure;

/// Where there is none, the socket option that spares a socket SIGPIPE.
pub(super) const SO_NOSIGPIPE: Option<libc::c_int> = None;
/// The socket option that distributes connections over listeners.
pub(super) const SO_REUSEPORT_LB: Option<libc::c_int> = None;
/// The command for a lock of the open file description (fcntl(2)).
pub(super) const OFD_SETLK: Option<libc::c_int> = Some(libc::F_OFD_SETLK);
/// What makes a process the parent of its orphans (prctl(2)).
pub(super) const REAPER: &str = "PR_SET_CHILD_SUBREAPER";
/// Whether socket addresses begin with their length.
pub(super) const ADDRESSES_HAVE_LENGTH: bool = false;

fn setting(path: &str) -> Measure {
    let text = std::fs::read_to_string(path).map_err(|error| format!("{path}: {error}"))?;
    let number: i64 = text.trim().parse().map_err(|error| format!("{path}: {error}"))?;
    Ok(number.into())
}

/// listen(2).
pub(super) fn backlog_ceiling() -> Measure {
    setting("/proc/sys/net/core/somaxconn")
}

/// proc_sys_kernel(5).
pub(super) fn pid_max() -> Measure {
    setting("/proc/sys/kernel/pid_max")
}

/// proc_sys_fs(5).
pub(super) fn descriptor_ceiling() -> Measure {
    setting("/proc/sys/fs/nr_open")
}

/// Whether the kernel knows a call: any answer to impossible arguments but `ENOSYS`. Asked without
/// libc, which may lack a wrapper or, linked statically, has no symbols to look for.
pub(super) fn has_call(name: &str) -> Result<bool, String> {
    let number = match name {
        "signalfd" => libc::SYS_signalfd4,
        "eventfd" => libc::SYS_eventfd2,
        "timerfd_create" => libc::SYS_timerfd_create,
        "epoll_create1" => libc::SYS_epoll_create1,
        "inotify_init1" => libc::SYS_inotify_init1,
        "pidfd_open" => libc::SYS_pidfd_open,
        "close_range" => libc::SYS_close_range,
        "memfd_create" => libc::SYS_memfd_create,
        "kqueue" | "pdfork" => return Ok(false),
        _ => return Err(format!("no way to ask for {name}")),
    };
    // SAFETY: none of these reads valid memory or closes anything with such arguments; what they
    // open at worst lives as long as this probe's process.
    let result = unsafe { libc::syscall(number, -1_i32, 0_usize, -1_i32, -1_i32) };
    Ok(result != -1 || Errno::last() != Errno::ENOSYS)
}
