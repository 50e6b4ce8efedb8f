//! What a requirement needs of the platform, and how a run finds out whether it is there.

use std::net::{Ipv6Addr, TcpListener};

use serde::Serialize;

use crate::platform::{self, Namespace};
use crate::stop::Stop;

/// Something that not every platform or every run has.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Need {
    /// `::1` can be bound.
    Ipv6,
    /// The run has root's rights, that to become another user among them.
    Root,
    /// The system tells about processes: parents, states, signal dispositions.
    ProcessTable,
    /// The system tells which sockets a process has open.
    DescriptorTable,
    /// The system tells who waits for a lock.
    LockWaiters,
    /// The system tells who holds and who waits for which lock.
    LockTable,
    /// A private network: a namespace (Linux), with or without root, or a jail (FreeBSD), with.
    NetworkNamespace,
    /// File systems mounted below the check's directory: private mounts (Linux), or root (FreeBSD).
    Mounts,
    /// Private mount namespaces (Linux), with or without root.
    MountNamespace,
    /// Private process namespaces (Linux), with or without root.
    ProcessNamespace,
    /// Process ids above 99999 in a private process namespace (Linux).
    HighProcessIds,
    /// A kernel without IPv6, or a filter of system calls (Linux) that makes it look like one.
    Ipv6Absence,
    /// The system tells a process's processor time in nanoseconds, wake by wake.
    ProcessorTime,
    /// The system tells a process's private memory.
    ProcessMemory,
    /// The system tells a process's user ids and groups.
    Credentials,
    /// Another process's resource limits can be changed.
    ForeignLimits,
    /// The system tells whether a connection found a queue full: how many segments it sent again, or how
    /// often that happened in a private network.
    QueueOverflows,
    /// 127.0.0.2 is this machine, too (Linux; not FreeBSD by default), or can be in a private network.
    LoopbackNet,
}

impl Need {
    /// The need in words.
    pub fn words(self) -> &'static str {
        match self {
            Self::Ipv6 => "IPv6",
            Self::Root => "root",
            Self::ProcessTable => "a process table",
            Self::DescriptorTable => "other processes' descriptors",
            Self::LockWaiters => "who waits for a lock",
            Self::LockTable => "the system's lock table",
            Self::NetworkNamespace => Namespace::Network.words(),
            Self::Mounts => "mounts in a directory of its own",
            Self::MountNamespace => Namespace::Mounts.words(),
            Self::ProcessNamespace => Namespace::Processes.words(),
            Self::HighProcessIds => Namespace::HighProcessIds.words(),
            Self::Ipv6Absence => "a kernel without IPv6, or a system call filter",
            Self::ProcessorTime => "exact processor times",
            Self::ProcessMemory => "processes' memory sizes",
            Self::Credentials => "other processes' user ids",
            Self::ForeignLimits => "the right to change a process's limits from outside",
            Self::QueueOverflows => "whether a queue of connections was full",
            Self::LoopbackNet => "127.0.0.2",
        }
    }

    /// Why this need is not met here, if it isn't.
    pub fn missing(self) -> Option<Stop> {
        let own = std::process::id() as i32;
        match self {
            Self::Ipv6 => TcpListener::bind((Ipv6Addr::LOCALHOST, 0)).err().map(|error| {
                Stop::Unsupported(format!("this machine has no IPv6 loopback: {error}"))
            }),
            Self::Root => root_missing(),
            Self::Credentials => platform::credentials(own).err().map(Stop::NotRun),
            Self::ForeignLimits => platform::descriptor_limit_of(own).err().map(Stop::NotRun),
            Self::QueueOverflows => queue_overflows_missing(),
            Self::ProcessTable => platform::process_table().err().map(Stop::NotRun),
            Self::DescriptorTable => platform::open_sockets(own).err().map(Stop::NotRun),
            Self::LockWaiters => platform::lock_waiters(0).err().map(Stop::NotRun),
            Self::LockTable => platform::lock_table().err().map(Stop::NotRun),
            Self::NetworkNamespace => platform::namespace_missing(Namespace::Network),
            Self::Mounts => platform::mounts_missing(),
            Self::MountNamespace => platform::namespace_missing(Namespace::Mounts),
            Self::ProcessNamespace => platform::namespace_missing(Namespace::Processes),
            Self::HighProcessIds => platform::namespace_missing(Namespace::HighProcessIds),
            Self::Ipv6Absence => match platform::kernel_has_ipv6() {
                true => platform::syscall_filter_missing(),
                false => None,
            },
            Self::ProcessorTime => platform::processor_time(own).err().map(Stop::NotRun),
            Self::ProcessMemory => platform::anonymous_memory(own).err().map(Stop::NotRun),
            Self::LoopbackNet => match TcpListener::bind(("127.0.0.2", 0)) {
                Ok(_) => None,
                // A private network can have it.
                Err(_) => platform::namespace_missing(Namespace::Network),
            },
        }
    }

    /// What usually supplies it where it is missing: a command, or a sentence.
    pub fn remedy(self) -> String {
        match self {
            Self::Root => "sudo forkproof run".to_owned(),
            Self::Ipv6 => platform::how_to_enable_ipv6().to_owned(),
            Self::NetworkNamespace => platform::how_to_allow(Namespace::Network),
            Self::Mounts | Self::MountNamespace => platform::how_to_allow(Namespace::Mounts),
            Self::ProcessNamespace => platform::how_to_allow(Namespace::Processes),
            Self::HighProcessIds => platform::how_to_allow(Namespace::HighProcessIds),
            Self::LoopbackNet => "sudo ifconfig lo0 alias 127.0.0.2/8".to_owned(),
            Self::ProcessTable
            | Self::DescriptorTable
            | Self::LockWaiters
            | Self::LockTable
            | Self::ProcessorTime
            | Self::ProcessMemory
            | Self::Credentials
            | Self::ForeignLimits
            | Self::Ipv6Absence
            | Self::QueueOverflows => platform::how_to_see_processes().to_owned(),
        }
    }

    /// Why the first unmet one of `needs` is not met.
    pub fn first_missing(needs: &[Self]) -> Option<Stop> {
        needs.iter().find_map(|need| need.missing())
    }
}

/// Root of a container may lack what makes it root. The right to choose one's groups usually comes with
/// that to become another user, and it can be tried without changing anything.
fn root_missing() -> Option<Stop> {
    if !nix::unistd::geteuid().is_root() {
        return Some(Stop::NotRun("needs root".into()));
    }
    let same = nix::unistd::getgroups().and_then(|groups| nix::unistd::setgroups(&groups));
    same.err().map(|errno| {
        Stop::NotRun(format!("needs root's right to become another user: {}", errno.desc()))
    })
}

fn queue_overflows_missing() -> Option<Stop> {
    let listener = TcpListener::bind((std::net::Ipv4Addr::LOCALHOST, 0)).ok()?;
    let socket = std::net::TcpStream::connect(listener.local_addr().ok()?).ok()?;
    let untold = platform::retransmissions(&socket).err()?;
    match platform::listen_overflows() {
        Ok(_) => platform::namespace_missing(Namespace::Network),
        Err(nor) => Some(Stop::NotRun(format!("{untold}; {nor}"))),
    }
}
