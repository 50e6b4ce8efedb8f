//! A network of this process's own: a jail with a network stack of its own (jail(2), `vnet`). It takes
//! root. Files and users are as outside; of processes those in the jail are seen, and tmpfs(5) alone can
//! be mounted.

use std::ffi::{CStr, c_int};
use std::net::Ipv4Addr;
use std::process::Command;

use nix::errno::Errno;

use super::host::number_of;
use super::mounts::tmpfs_allowed;
use crate::platform::model::{Namespace, kernel_has_ipv6};
use crate::platform::trial;
use crate::stop::Stop;

/// The loopback interface (lo(4)).
const LOOPBACK: &str = "lo0";

/// Why this process cannot have a namespace of its own, if it cannot.
pub fn namespace_missing(namespace: Namespace) -> Option<Stop> {
    let needs = format!("needs {}", namespace.words());
    match namespace {
        Namespace::Network if !nix::unistd::geteuid().is_root() => {
            Some(Stop::NotRun(format!("{needs}: a jail (jail(8)) takes root")))
        }
        Namespace::Network => {
            trial::why_not(namespace).map(|why| Stop::NotRun(format!("{needs}: {why}")))
        }
        Namespace::Mounts => {
            Some(Stop::Unsupported(format!("{needs}: on FreeBSD all processes see all mounts")))
        }
        Namespace::Processes | Namespace::HighProcessIds => Some(Stop::Unsupported(format!(
            "{needs}: FreeBSD has one process ID space, from init(8)'s 1 to 99999"
        ))),
    }
}

/// What allows this process a network of its own.
pub fn how_to_allow(_namespace: Namespace) -> String {
    "run it as root, outside of jails (jail(8))".into()
}

/// Enters `namespace` for good, to see whether that can be done.
pub fn try_namespace(namespace: Namespace) -> Result<(), String> {
    match namespace {
        Namespace::Network => enter_private_network(),
        other => Err(format!("FreeBSD has no {}", other.name())),
    }
}

/// Moves this process into a jail with a network of its own, with the loopback interface up. The jail is
/// gone with its last process.
pub fn enter_private_network() -> Result<(), String> {
    // Attaching changes the working directory (jail_attach(2)).
    let here = std::env::current_dir();
    let name = format!("forkproof-{}\0", std::process::id());
    let number = |value: c_int| value.to_ne_bytes().to_vec();
    let text = |text: &str| text.as_bytes().to_vec();
    // As jail(8) says them: what is not a number or a string is on.
    let mut parameters: Vec<(&CStr, Vec<u8>)> = vec![
        (c"name", text(&name)),
        (c"path", text("/\0")),
        (c"vnet", number(libc::JAIL_SYS_NEW)),
        (c"host", number(libc::JAIL_SYS_INHERIT)),
        (c"enforce_statfs", number(0)),
        (c"allow.raw_sockets", Vec::new()),
        (c"allow.sysvipc", Vec::new()),
        (c"allow.mlock", Vec::new()),
    ];
    // A check may come to want a second one, which then has fewer.
    if number_of(c"security.jail.jailed") == Some(0) {
        parameters.push((c"children.max", number(4)));
    }
    // For a file system that gets full, or read-only, below the check's directory.
    if tmpfs_allowed() {
        parameters.push((c"allow.mount", Vec::new()));
        parameters.push((c"allow.mount.tmpfs", Vec::new()));
    }
    let mut why = [0_u8; 256];
    let mut parts: Vec<libc::iovec> = Vec::new();
    let mut part = |bytes: &[u8]| {
        // No bytes at all are no value.
        let base = if bytes.is_empty() { std::ptr::null_mut() } else { bytes.as_ptr().cast_mut() };
        parts.push(libc::iovec { iov_base: base.cast(), iov_len: bytes.len() });
    };
    for (name, value) in &parameters {
        part(name.to_bytes_with_nul());
        part(value);
    }
    part(c"errmsg".to_bytes_with_nul());
    parts.push(libc::iovec { iov_base: why.as_mut_ptr().cast(), iov_len: why.len() });
    let flags = libc::JAIL_CREATE | libc::JAIL_ATTACH;
    // SAFETY: as many parts as counted, each with as many bytes as it says; only `why` is written.
    let made = unsafe { libc::jail_set(parts.as_mut_ptr(), parts.len() as libc::c_uint, flags) };
    Errno::result(made).map_err(|errno| {
        let why = CStr::from_bytes_until_nul(&why).unwrap_or_default().to_string_lossy();
        match why.as_ref() {
            "" => format!("jail_set: {}", errno.desc()),
            why => format!("jail_set: {why}"),
        }
    })?;
    if let Ok(here) = here {
        std::env::set_current_dir(&here).map_err(|error| format!("{}: {error}", here.display()))?;
    }
    ifconfig(&["inet", "127.0.0.1/8", "up"])?;
    if kernel_has_ipv6() {
        ifconfig(&["inet6", "::1", "prefixlen", "128", "alias"])?;
    }
    Ok(())
}

/// Changes the loopback interface (ifconfig(8)).
fn ifconfig(arguments: &[&str]) -> Result<(), String> {
    const PROGRAM: &str = "/sbin/ifconfig";
    let output = Command::new(PROGRAM)
        .arg(LOOPBACK)
        .args(arguments)
        .output()
        .map_err(|error| format!("{PROGRAM}: {error}"))?;
    if output.status.success() {
        return Ok(());
    }
    let said = String::from_utf8_lossy(&output.stderr);
    Err(format!("{PROGRAM} {LOOPBACK} {}: {}", arguments.join(" "), said.trim()))
}

/// Makes sockets of a private network serve IPv6 alone by default, or both families (ip6(4),
/// `net.inet6.ip6.v6only`).
pub fn set_v6only_default(on: bool) -> Result<(), String> {
    let value = c_int::from(on);
    let name = c"net.inet6.ip6.v6only";
    // SAFETY: an integer is read from `value`, and nothing written.
    let set = unsafe {
        libc::sysctlbyname(
            name.as_ptr(),
            std::ptr::null_mut(),
            std::ptr::null_mut(),
            (&raw const value).cast(),
            size_of::<c_int>(),
        )
    };
    Errno::result(set)
        .map(drop)
        .map_err(|errno| format!("{}: {}", name.to_string_lossy(), errno.desc()))
}

/// Takes IPv6 from the one interface of a private network; the kernel still knows it.
pub fn disable_ipv6() -> Result<(), String> {
    ifconfig(&["inet6", "::1", "delete"])?;
    ifconfig(&["inet6", "ifdisabled"])
}

/// Gives the loopback interface of a private network another address of 127.0.0.0/8. It has 127.0.0.1
/// alone otherwise: getaddrinfo(3) takes another for one that reaches further (`AI_ADDRCONFIG`).
pub fn add_loopback_alias(address: Ipv4Addr) -> Result<(), String> {
    ifconfig(&["inet", &format!("{address}/32"), "alias"])
}

/// Gives the loopback interface of a private network one more IPv6 address; returns the interface's
/// name and index.
pub fn add_loopback_address(address: std::net::Ipv6Addr) -> Result<(&'static str, u32), String> {
    let address = match address.is_unicast_link_local() {
        true => format!("{address}%{LOOPBACK}"),
        false => address.to_string(),
    };
    ifconfig(&["inet6", &address, "prefixlen", "64", "alias"])?;
    let index = nix::net::if_::if_nametoindex(LOOPBACK)
        .map_err(|errno| format!("{LOOPBACK}: {}", errno.desc()))?;
    Ok((LOOPBACK, index))
}
