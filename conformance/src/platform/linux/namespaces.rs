//! Namespaces of this process's own (namespaces(7)), with and without root's rights.

use std::fs;

use nix::errno::Errno;
use nix::mount::{MsFlags, mount};
use nix::sched::{CloneFlags, unshare};
use nix::unistd::{Gid, Uid};

use super::mounts::mount_tmpfs;
use crate::platform::model::{HIGH_PROCESS_ID, Namespace};
use crate::platform::trial;
use crate::stop::Stop;

/// Why this process cannot have a namespace of its own, if it cannot.
pub fn namespace_missing(namespace: Namespace) -> Option<Stop> {
    trial::why_not(namespace).map(|why| Stop::NotRun(format!("needs {}: {why}", namespace.words())))
}

/// What allows an ordinary user, or a container, namespaces of its own: each distribution has its
/// own bolt.
pub fn how_to_allow(namespace: Namespace) -> String {
    if namespace == Namespace::HighProcessIds && namespace_missing(Namespace::Processes).is_none() {
        return "sudo sysctl -w kernel.pid_max=4194304; a 32-bit kernel's ids end at 32768".into();
    }
    let read = |name: &str| fs::read_to_string(format!("/proc/sys/{name}")).unwrap_or_default();
    for (name, bolt, open) in [
        ("kernel/unprivileged_userns_clone", "0", "1"),
        ("kernel/apparmor_restrict_unprivileged_userns", "1", "0"),
        ("user/max_user_namespaces", "0", "10000"),
    ] {
        if read(name).trim() == bolt {
            return format!("sudo sysctl -w {}={open}", name.replace('/', "."));
        }
    }
    "run it as root; in a container, one started with `--privileged`".to_owned()
}

/// What gives this machine its IPv6 loopback.
pub fn how_to_enable_ipv6() -> &'static str {
    "sudo sysctl -w net.ipv6.conf.all.disable_ipv6=0 net.ipv6.conf.lo.disable_ipv6=0"
}

/// What lets this process see others.
pub fn how_to_see_processes() -> &'static str {
    "run it as root, with /proc mounted without hidepid"
}

/// Enters `namespace` for good, to see whether that can be done.
pub fn try_namespace(namespace: Namespace) -> Result<(), String> {
    match namespace {
        Namespace::Network => enter_private_network(),
        Namespace::Mounts => {
            enter_private_mounts()?;
            mount_tmpfs(std::path::Path::new("/tmp"), 64 * 1024)
        }
        Namespace::Processes | Namespace::HighProcessIds => {
            unshare_processes()?;
            // SAFETY: this process has one thread.
            match unsafe { nix::unistd::fork() }
                .map_err(|errno| format!("fork: {}", errno.desc()))?
            {
                nix::unistd::ForkResult::Child => {
                    let begun = match namespace {
                        Namespace::HighProcessIds => begin_private_processes(HIGH_PROCESS_ID),
                        _ => mount_processes(),
                    };
                    let status = match begun {
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

/// Why this process cannot mount file systems below a directory of its own: as for private mounts.
pub fn mounts_missing() -> Option<Stop> {
    namespace_missing(Namespace::Mounts)
}

/// Makes ready for mounts below a directory of one's own: nobody else is to see them.
pub fn prepare_mounts() -> Result<(), String> {
    enter_private_mounts()
}

/// A new mount namespace still shares its mounts' events with the old one where those are shared,
/// as systemd makes them (mount_namespaces(7), "Shared subtrees").
fn keep_mounts_private() -> Result<(), String> {
    mount(None::<&str>, "/", None::<&str>, MsFlags::MS_REC | MsFlags::MS_PRIVATE, None::<&str>)
        .map_err(|errno| format!("mount --make-rprivate /: {}", errno.desc()))
}

/// Puts this process's next child, and all below it, into a process namespace of its own
/// (pid_namespaces(7)), with mounts of its own. As an ordinary user as in
/// [`enter_private_network`].
pub fn unshare_processes() -> Result<(), String> {
    unshare_with_rights(CloneFlags::CLONE_NEWNS | CloneFlags::CLONE_NEWPID)?;
    keep_mounts_private()
}

/// In a process that begins such a namespace: lets it, and it alone, see its own processes in /proc,
/// as in a container. Between fork and exec: nothing but system calls, unless one fails.
pub fn mount_own_processes() -> nix::Result<()> {
    const PROC: Option<&str> = Some("proc");
    unshare(CloneFlags::CLONE_NEWNS)?;
    mount(None::<&str>, "/", None::<&str>, MsFlags::MS_REC | MsFlags::MS_PRIVATE, None::<&str>)?;
    mount(PROC, "/proc", PROC, MsFlags::empty(), None::<&str>)
}

/// In the child after [`unshare_processes`]: mounts the namespace's own /proc, and makes the next
/// process's id the one after `last` (proc_sys_kernel(5), `ns_last_pid`).
pub fn begin_private_processes(last: i32) -> Result<(), String> {
    mount_processes()?;
    fs::write("/proc/sys/kernel/ns_last_pid", last.to_string()).map_err(|error| {
        let most = fs::read_to_string("/proc/sys/kernel/pid_max").unwrap_or_default();
        format!("/proc/sys/kernel/ns_last_pid: {error} (pid_max is {})", most.trim())
    })
}

/// In the first process of a process namespace: its own /proc.
fn mount_processes() -> Result<(), String> {
    mount(Some("proc"), "/proc", Some("proc"), MsFlags::empty(), None::<&str>)
        .map_err(|errno| format!("mount /proc: {}", errno.desc()))
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

/// Makes sockets of a private network serve IPv6 alone by default, or both families (ip(7),
/// `net.ipv6.bindv6only`).
pub fn set_v6only_default(on: bool) -> Result<(), String> {
    set_parameter("net/ipv6/bindv6only", if on { "1" } else { "0" })
}

/// Gives the loopback interface of a private network another address of 127.0.0.0/8: it has them all.
pub fn add_loopback_alias(_address: std::net::Ipv4Addr) -> Result<(), String> {
    Ok(())
}

/// Takes IPv6 from all interfaces of a private network; the kernel still knows it.
pub fn disable_ipv6() -> Result<(), String> {
    ["all", "lo"].into_iter().try_for_each(|interface| {
        set_parameter(&format!("net/ipv6/conf/{interface}/disable_ipv6"), "1")
    })
}

/// Writes one of this network namespace's settings.
fn set_parameter(name: &str, value: &str) -> Result<(), String> {
    let path = format!("/proc/sys/{name}");
    fs::write(&path, value).map_err(|error| format!("{path}: {error}"))
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
