//! What FreeBSD has not, or does not tell yet: each question gets the reason, and the requirements
//! that need it are `unsupported` or `not-run` with it.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use crate::platform::model::{Cover, Shared};
use crate::stop::Stop;

const NO_NAMESPACES: &str = "this system has no namespaces of the kind (namespaces(7) of Linux)";
const NO_FILTER: &str = "this system has no system call filter of the kind (seccomp(2) of Linux)";

/// What gives this system its IPv6 loopback.
pub fn how_to_enable_ipv6() -> &'static str {
    "sudo ifconfig lo0 inet6 ::1 prefixlen 128 alias"
}

/// What lets this process see others.
pub fn how_to_see_processes() -> &'static str {
    "run it as root, outside of a jail"
}

/// Lets a process see its own namespace's processes alone: not here.
pub fn mount_own_processes() -> nix::Result<()> {
    Err(nix::errno::Errno::ENOSYS)
}

/// Puts directories in the place of others in private mounts: not here.
pub fn cover_paths(_covers: &[Cover], _scratch: &Path) -> Result<(), String> {
    Err(NO_NAMESPACES.into())
}

/// What outlives the processes that share it: not told here.
pub fn shared_objects() -> Vec<Shared> {
    Vec::new()
}

/// Whether a process has the object in its memory.
pub fn maps(_pid: i32, _object: &Shared) -> bool {
    false
}

/// Removes it: there is none.
pub fn remove_shared(_object: &Shared) -> Result<(), String> {
    Ok(())
}

/// How many connections may wait to be accepted at most: not known here.
pub fn longest_queue() -> Option<usize> {
    None
}

/// Whether something listens on a port: nothing tells without asking it.
pub fn is_listening(_port: u16) -> Option<bool> {
    None
}

/// Makes a file with a large inode number in private mounts: not here.
pub fn mount_high_inodes(_dir: &Path, _name: &str, _content: &[u8]) -> Result<(), String> {
    Err(NO_NAMESPACES.into())
}

/// Puts the next child into a process namespace of its own: not here.
pub fn unshare_processes() -> Result<(), String> {
    Err(NO_NAMESPACES.into())
}

/// Chooses the next process id of a process namespace: not here.
pub fn begin_private_processes(_last: i32) -> Result<(), String> {
    Err(NO_NAMESPACES.into())
}

/// Moves this process into a user namespace: not here.
pub fn become_user_inside(_inside: u32) -> Result<(), String> {
    Err(NO_NAMESPACES.into())
}

/// Why descriptors cannot be forbidden.
pub fn descriptor_filter_missing() -> Option<Stop> {
    Some(Stop::Unsupported(NO_FILTER.into()))
}

/// Kills whoever closes certain descriptors: not here.
pub fn forbid_descriptors(_from: u32, _to: u32) -> std::io::Result<()> {
    Err(std::io::ErrorKind::Unsupported.into())
}

/// A datagram socket with a name that no file has.
pub fn abstract_datagram(_name: &str) -> Result<std::os::unix::net::UnixDatagram, String> {
    Err("this system has no abstract names of sockets".into())
}

/// How many bytes from a client at `client` no process has read at the other end, `at`.
pub fn unread(
    _at: std::net::SocketAddr,
    _client: std::net::SocketAddr,
) -> Result<Option<u64>, String> {
    Err("this system does not tell what of a connection is unread".into())
}

/// How many bytes that clients have sent no process has read: not told here.
pub fn backlog(_at: std::net::SocketAddr) -> Result<u64, String> {
    Err("this system does not tell what of a connection is unread".into())
}

/// See Linux's.
pub const GROUP_CLOCK: &str = "a group of processes";
/// See Linux's.
pub const GROUP_PREFIX: &str = "forkproof-bench.";
const NO_GROUPS: &str = "this system has no groups of processes of the kind (cgroups(7) of Linux)";

/// Makes a group of processes: not here.
pub fn make_group(_name: &str) -> Result<PathBuf, String> {
    Err(NO_GROUPS.into())
}

/// Removes a group: there is none.
pub fn remove_group(_group: &Path) {}

/// The processor time of a group: there is none.
pub fn group_time(_group: &Path) -> Result<Duration, String> {
    Err(NO_GROUPS.into())
}

/// Has `command` begin in a group: there is none.
pub fn start_in_group(_command: &mut Command, _group: &Path) -> Result<(), String> {
    Err(NO_GROUPS.into())
}
