//! What differs between systems, behind one door.

/// Where `syslog(3)` sends its datagrams (glibc and musl; FreeBSD's and NetBSD's syslogd(8)).
#[cfg(target_os = "linux")]
pub(crate) const SYSLOG_SOCKET: &str = "/dev/log";

/// Where `syslog(3)` sends its datagrams (glibc and musl; FreeBSD's and NetBSD's syslogd(8)).
#[cfg(not(target_os = "linux"))]
pub(crate) const SYSLOG_SOCKET: &str = "/var/run/log";

/// Whether `ppoll` may sleep although a signal is pending that its mask opens.
///
/// FreeBSD 13.2 does after a `fork` in a program with libthr, which all of Rust's are: around it
/// libthr blocks signals by a word (sigfastblock(2)) that the kernel reads when it returns to a process
/// with a signal pending. What it has read stays, in the child as well, until it next reads it, and
/// `ppoll` goes by that. sigtimedwait(2) reads it; to open the mask does so only while a signal is
/// pending, and waitpid(2) takes a pending `SIGCHLD` away. `signals/pending-at-fork` of `forkproof
/// probe` asks.
pub(crate) const PENDING_MAY_BE_OVERLOOKED: bool = cfg!(target_os = "freebsd");

/// Names this process after its role, where the system can show it in process listings.
///
/// Linux: `PR_SET_NAME` of prctl(2), at most 15 bytes. FreeBSD: setproctitle(3), where a leading
/// `-` leaves the program's name out.
#[cfg(target_os = "linux")]
pub(crate) fn name_process(role: &std::ffi::CStr) {
    // SAFETY: PR_SET_NAME reads a string that ends in NUL and keeps no pointer to it.
    unsafe { libc::prctl(libc::PR_SET_NAME, role.as_ptr(), 0, 0, 0) };
}

/// Names this process after its role, where the system can show it in process listings.
#[cfg(target_os = "freebsd")]
pub(crate) fn name_process(role: &std::ffi::CStr) {
    // SAFETY: the format takes one string; the result is copied.
    unsafe { libc::setproctitle(c"-%s".as_ptr(), role.as_ptr()) };
}

/// Tells systemd, or what speaks its protocol, that the service is ready: `READY=1` as a datagram
/// to the socket that `NOTIFY_SOCKET` names (sd_notify(3), "Standalone Implementations").
pub(crate) fn notify_ready() -> std::io::Result<()> {
    use std::os::unix::ffi::OsStrExt;
    let Some(name) = std::env::var_os("NOTIFY_SOCKET") else { return Ok(()) };
    let socket = std::os::unix::net::UnixDatagram::unbound()?;
    let message = format!("READY=1\nMAINPID={}\n", std::process::id());
    match name.as_bytes() {
        #[cfg(target_os = "linux")]
        [b'@', abstract_name @ ..] => {
            use std::os::linux::net::SocketAddrExt;
            let address = std::os::unix::net::SocketAddr::from_abstract_name(abstract_name)?;
            socket.send_to_addr(message.as_bytes(), &address)?;
        }
        [b'/', ..] => {
            socket.send_to(message.as_bytes(), &name)?;
        }
        _ => {
            return Err(std::io::Error::other("NOTIFY_SOCKET names neither a path nor @name"));
        }
    }
    Ok(())
}

/// Lets other processes run first where they are ready too: nice(2) by 10, which leaves a tenth of a
/// contended processor's share. On Linux a wake does not push aside what runs, either: `SCHED_BATCH` of
/// sched(7), unless the administrator chose another policy than the usual one. A machine that refuses
/// goes without.
pub(crate) fn give_way() {
    // SAFETY: an integer only.
    unsafe { libc::nice(10) };
    #[cfg(target_os = "linux")]
    {
        let this = 0;
        // By their numbers, since musl's functions of these names refuse (it says ENOSYS).
        // SAFETY: the kernel reads the priority from a `struct sched_param`, which is an int; of this
        // policy it must be 0.
        unsafe {
            if libc::syscall(libc::SYS_sched_getscheduler, this) == libc::SCHED_OTHER.into() {
                let priority: libc::c_int = 0;
                let param = &raw const priority;
                libc::syscall(libc::SYS_sched_setscheduler, this, libc::SCHED_BATCH, param);
            }
        }
    }
}

/// Gives up what a process that serves a client never needs: further rights through the programs
/// that it may execute, and a core file, which would hold the chat.
///
/// Linux: `PR_SET_NO_NEW_PRIVS` of prctl(2). FreeBSD 14: `PROC_NO_NEW_PRIVS_CTL` of procctl(2).
/// An older kernel goes without.
pub(crate) fn give_up_rights() {
    let none = libc::rlimit { rlim_cur: 0, rlim_max: 0 };
    // SAFETY: the limit is read.
    unsafe { libc::setrlimit(libc::RLIMIT_CORE, &raw const none) };
    gain_no_rights();
}

#[cfg(target_os = "linux")]
fn gain_no_rights() {
    let (yes, unused): (libc::c_ulong, libc::c_ulong) = (1, 0);
    // SAFETY: integers only, of the width that the kernel reads.
    unsafe { libc::prctl(libc::PR_SET_NO_NEW_PRIVS, yes, unused, unused, unused) };
}

#[cfg(target_os = "freebsd")]
fn gain_no_rights() {
    let mut enable = libc::PROC_NO_NEW_PRIVS_ENABLE;
    let this = libc::id_t::from(std::process::id());
    // SAFETY: the argument is an int, which the command reads.
    unsafe {
        libc::procctl(libc::P_PID, this, libc::PROC_NO_NEW_PRIVS_CTL, (&raw mut enable).cast());
    }
}
