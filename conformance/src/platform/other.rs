//! Every other system: what POSIX gives, and words for what it doesn't.

use std::collections::HashSet;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};

use super::model::{Lock, Namespace, Process, SignalState, Ticks, Used};
use super::without_namespaces::NO_NAMESPACES;
use crate::stop::Stop;

const NOT_READ: &str = "this system's process table is not read yet";

fn not_read<T>() -> Result<T, String> {
    Err(NOT_READ.into())
}

/// The limit of a process's address space (POSIX.1-2024, getrlimit).
pub const LIMIT_ADDRESS_SPACE: nix::sys::resource::Resource =
    nix::sys::resource::Resource::RLIMIT_AS;

/// Makes orphaned descendants this process's children: POSIX has no such thing.
pub fn become_reaper() -> Result<(), String> {
    Err("this system gives orphans to init alone: a server's processes could get away".into())
}

/// Every process that this one may see.
pub fn process_table() -> Result<Vec<Process>, String> {
    not_read()
}

/// A process's signal dispositions and masks.
pub fn signal_state(_pid: i32) -> Result<SignalState, String> {
    not_read()
}

/// A process's real, effective and saved user ids, and its supplementary groups.
pub fn credentials(_pid: i32) -> Result<([u32; 3], Vec<u32>), String> {
    not_read()
}

/// A process's working directory.
pub fn working_directory(_pid: i32) -> Result<PathBuf, String> {
    not_read()
}

/// What a process's standard descriptors are.
pub fn standard_descriptors(_pid: i32) -> Result<[Option<String>; 3], String> {
    not_read()
}

/// How many descriptors a process has open.
pub fn descriptor_count(_pid: i32) -> Result<usize, String> {
    not_read()
}

/// The lowest number that no descriptor of a process has.
pub fn next_descriptor(_pid: i32) -> Result<u64, String> {
    not_read()
}

/// Where the sockets listen that a process has open.
pub fn listeners(_pid: i32) -> Result<Vec<SocketAddr>, String> {
    not_read()
}

/// Whether a process has the connection open that a client at `client` has made to `at`.
pub fn serves(_pid: i32, _at: SocketAddr, _client: SocketAddr) -> Result<bool, String> {
    not_read()
}

/// The sockets that a process has open.
pub fn peers(_pid: i32, _at: SocketAddr) -> Result<HashSet<SocketAddr>, String> {
    not_read()
}

/// See the other systems' modules.
pub fn open_sockets(_pid: i32) -> Result<HashSet<u64>, String> {
    not_read()
}

/// Who holds and who waits for which lock.
pub fn lock_table() -> Result<Vec<Lock>, String> {
    Err("this system's lock table is not read yet".into())
}

/// The processes that wait for a lock on a file.
pub fn lock_waiters(_inode: u64) -> Result<Vec<i32>, String> {
    Err("this system's lock table is not read yet".into())
}

/// Processor time of a process in nanoseconds.
pub fn processor_time(_pid: i32) -> Result<u64, String> {
    not_read()
}

/// Private memory of a process in bytes.
pub fn private_memory(_pid: i32) -> Result<u64, String> {
    not_read()
}

/// How often a connection found the queue of a listening socket full: of which one, nothing tells.
pub fn listen_overflows() -> Result<u64, String> {
    Err(NO_NAMESPACES.into())
}

/// How many segments a socket has sent again, connecting included.
pub fn retransmissions(_socket: &impl std::os::fd::AsFd) -> Result<u32, String> {
    Err("this system's count of retransmissions is not read yet".into())
}

/// Moves this process into a network namespace of its own: Linux only.
pub fn enter_private_network() -> Result<(), String> {
    Err(NO_NAMESPACES.into())
}

/// Sets the default of `IPV6_V6ONLY` in a private network: Linux and FreeBSD only.
pub fn set_v6only_default(_on: bool) -> Result<(), String> {
    Err(NO_NAMESPACES.into())
}

/// Gives a private network another IPv4 loopback address: Linux and FreeBSD only.
pub fn add_loopback_alias(_address: std::net::Ipv4Addr) -> Result<(), String> {
    Err(NO_NAMESPACES.into())
}

/// Takes IPv6 from a private network: Linux and FreeBSD only.
pub fn disable_ipv6() -> Result<(), String> {
    Err(NO_NAMESPACES.into())
}

/// Why this process cannot filter its system calls.
pub fn syscall_filter_missing() -> Option<Stop> {
    Some(Stop::Unsupported("system call filters are Linux's".into()))
}

/// Makes `socket(AF_INET6, …)` fail: Linux only.
pub fn deny_ipv6_sockets() -> std::io::Result<()> {
    Err(std::io::ErrorKind::Unsupported.into())
}

/// How many processes the user of this process has, as `RLIMIT_NPROC` counts them.
pub fn processes_of_user() -> Result<u64, String> {
    not_read()
}

/// Sets how many descriptors another process of this user may have: POSIX lets a process set its
/// own limits alone.
pub fn limit_descriptors_of(_pid: i32, _limit: u64) -> Result<u64, String> {
    Err(OWN_LIMITS_ONLY.into())
}

/// Sets a limit of another process of this user.
pub fn limit_of(
    _pid: i32,
    _resource: nix::sys::resource::Resource,
    _limit: u64,
) -> Result<u64, String> {
    Err(OWN_LIMITS_ONLY.into())
}

const OWN_LIMITS_ONLY: &str = "a process can change its own limits alone on this system";

/// How many descriptors another process of this user may have.
pub fn descriptor_limit_of(_pid: i32) -> Result<libc::rlimit, String> {
    Err(OWN_LIMITS_ONLY.into())
}

/// Memory of a process in bytes that is its own and no file's.
pub fn anonymous_memory(_pid: i32) -> Result<u64, String> {
    not_read()
}

/// Gives the loopback interface of a private network one more IPv6 address: Linux only.
pub fn add_loopback_address(_address: std::net::Ipv6Addr) -> Result<(&'static str, u32), String> {
    Err(NO_NAMESPACES.into())
}

/// What the processor says about virtualization, and whether it is emulated in software: cannot be
/// told.
pub fn virtualization() -> (Option<String>, Option<bool>) {
    (None, None)
}

/// The type of the file system that `path` is on: POSIX has no name for it.
pub fn file_system(_path: &Path) -> String {
    "unknown file system".into()
}

/// How the processor time of a tree of processes is told: not here.
pub const PROCESS_CLOCKS: &str = NOT_READ;

/// What a process has used so far.
pub fn used_by(_pid: i32) -> Result<Used, String> {
    not_read()
}

/// How busy the whole machine has been.
pub fn machine_ticks() -> Result<Ticks, String> {
    not_read()
}

/// The processor's name: POSIX has none for it.
pub fn processor_model() -> Option<String> {
    None
}

/// Who chooses the processor's frequency: POSIX has no such thing.
pub fn governor() -> Option<String> {
    None
}

/// Why this process cannot have a namespace of its own.
pub fn namespace_missing(namespace: Namespace) -> Option<Stop> {
    Some(Stop::Unsupported(format!("needs {}: {NO_NAMESPACES}", namespace.words())))
}

/// What allows namespaces of one's own: another system.
pub fn how_to_allow_namespaces() -> String {
    "check on Linux: `forkproof vm run debian-12-tiny`".into()
}

/// Enters `namespace`: not here.
pub fn try_namespace(_namespace: Namespace) -> Result<(), String> {
    Err(NO_NAMESPACES.into())
}

/// Moves this process into mounts of its own: not here.
pub fn enter_private_mounts() -> Result<(), String> {
    Err(NO_NAMESPACES.into())
}

/// Why this process cannot mount file systems below a directory of its own.
pub fn mounts_missing() -> Option<Stop> {
    namespace_missing(Namespace::Mounts)
}

/// Makes ready for mounts below a directory of one's own: not here.
pub fn prepare_mounts() -> Result<(), String> {
    Err(NO_NAMESPACES.into())
}

/// Unmounts what a check has left mounted below a directory: nothing is mounted here.
pub fn unmount_below(_dir: &Path) {}

/// Mounts an empty file system in private mounts: not here.
pub fn mount_tmpfs(_path: &Path, _size: u64) -> Result<(), String> {
    Err(NO_NAMESPACES.into())
}

/// Makes a mounted file system read-only in private mounts: not here.
pub fn make_read_only(_path: &Path) -> Result<(), String> {
    Err(NO_NAMESPACES.into())
}

/// The most descriptors that root may allow a process.
pub fn most_descriptors() -> Result<u64, String> {
    Err("this system does not tell the most descriptors a process may be allowed".into())
}

/// The descriptors of a process that are sockets.
pub fn socket_descriptors(_pid: i32) -> Result<Vec<i32>, String> {
    Err("this system's descriptor numbers of other processes are not read yet".into())
}
