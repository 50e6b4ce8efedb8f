//! What a check wants of the server that it starts.

use std::ffi::OsString;
use std::net::TcpListener;
use std::os::fd::OwnedFd;
use std::path::PathBuf;
use std::sync::Arc;

use nix::sys::resource::Resource;
use nix::sys::signal::Signal;
use nix::sys::stat::Mode;

/// How a server is to be started. What is not named is as its manifest says: IPv4 loopback on a port
/// that nobody has, in the foreground where it can, with its own number of lines of replay.
#[derive(Debug, Clone, Default)]
pub struct Options {
    pub(super) listen: Vec<String>,
    pub(super) default_addresses: bool,
    pub(super) replay: Option<usize>,
    pub(super) daemon: bool,
    pub(super) user: Option<String>,
    pub(super) max_clients: Option<usize>,
    pub(super) config: Option<PathBuf>,
    pub(super) ready_file: Option<PathBuf>,
    pub(super) log: Option<PathBuf>,
    pub(super) key_file: Option<PathBuf>,
    pub(super) ignored: Vec<Signal>,
    pub(super) all_blocked: bool,
    pub(super) without_ipv6: bool,
    pub(super) limits: Vec<(Resource, u64)>,
    pub(super) run_as: Option<u32>,
    pub(super) groups: Vec<u32>,
    pub(super) to_syslog: bool,
    pub(super) umask: Option<Mode>,
    pub(super) descriptors_above: Option<i32>,
    pub(super) untouchable: Option<(u32, u32)>,
    pub(super) elsewhere: bool,
    pub(super) default_port: Option<u16>,
    pub(super) under: Vec<String>,
    pub(super) without_standard_descriptors: bool,
    pub(super) output_to: Option<Arc<OwnedFd>>,
    pub(super) messages_to: Option<Arc<OwnedFd>>,
    pub(super) inherited: Vec<Arc<OwnedFd>>,
    pub(super) as_process_1: bool,
    pub(super) pid_file_holds: Option<String>,
    pub(super) handed: Option<Handed>,
    pub(super) notify: Option<OsString>,
    pub(super) unknown_child: bool,
    pub(super) group: Option<PathBuf>,
}

/// A listening socket that a server finds as its descriptor 3 (sd_listen_fds(3)).
#[derive(Debug, Clone)]
pub(super) struct Handed {
    pub(super) socket: Arc<TcpListener>,
    /// Whether `LISTEN_PID` is the server's, or some other process's.
    pub(super) is_meant: bool,
}

impl Options {
    /// The defaults.
    pub fn new() -> Self {
        Self::default()
    }

    /// Listens on `address` (repeatable) instead of `127.0.0.1:0`.
    pub fn listen(mut self, address: impl ToString) -> Self {
        self.listen.push(address.to_string());
        self
    }

    /// Names no address: the server's own default, on a port that the system chooses.
    pub fn default_addresses(mut self) -> Self {
        self.default_addresses = true;
        self
    }

    /// As [`default_addresses`](Self::default_addresses), on this port.
    pub fn default_addresses_on(mut self, port: u16) -> Self {
        self.default_addresses = true;
        self.default_port = Some(port);
        self
    }

    /// Finds surroundings that a personality makes, `name` or `name=value`: see `forkproof as --list`.
    /// They come beside those that the whole run is under.
    pub fn under(mut self, personality: impl Into<String>) -> Self {
        self.under.push(personality.into());
        self
    }

    /// Is handed this listening socket, and told no address.
    pub fn handed(mut self, socket: &Arc<TcpListener>) -> Self {
        self.handed = Some(Handed { socket: socket.clone(), is_meant: true });
        self
    }

    /// Finds this listening socket as its descriptor 3, and variables which say that it was handed to
    /// another process: that of a parent, which has forgotten to take them away.
    pub fn handed_to_another(mut self, socket: &Arc<TcpListener>) -> Self {
        self.handed = Some(Handed { socket: socket.clone(), is_meant: false });
        self
    }

    /// Is to tell at this address of `NOTIFY_SOCKET` that it is ready (sd_notify(3)).
    pub fn notify(mut self, address: impl Into<OsString>) -> Self {
        self.notify = Some(address.into());
        self
    }

    /// Sends this many lines of the log first.
    pub fn replay(mut self, lines: usize) -> Self {
        self.replay = Some(lines);
        self
    }

    /// Goes into the background by itself.
    pub fn daemon(mut self) -> Self {
        self.daemon = true;
        self
    }

    /// Becomes this user by itself.
    pub fn user(mut self, name: &str) -> Self {
        self.user = Some(name.to_owned());
        self
    }

    /// Serves no more clients than this at a time.
    pub fn max_clients(mut self, number: usize) -> Self {
        self.max_clients = Some(number);
        self
    }

    /// Reads this configuration file.
    pub fn config(mut self, path: impl Into<PathBuf>) -> Self {
        self.config = Some(path.into());
        self
    }

    /// Makes this file when it listens.
    pub fn ready_file(mut self, path: impl Into<PathBuf>) -> Self {
        self.ready_file = Some(path.into());
        self
    }

    /// Keeps the chat log there.
    pub fn log(mut self, path: impl Into<PathBuf>) -> Self {
        self.log = Some(path.into());
        self
    }

    /// Reads the key there, without one being written.
    pub fn key_file(mut self, path: impl Into<PathBuf>) -> Self {
        self.key_file = Some(path.into());
        self
    }

    /// Is started with these signals ignored, as a parent may have left them.
    pub fn ignoring(mut self, signals: &[Signal]) -> Self {
        self.ignored.extend(signals);
        self
    }

    /// Is started with every signal blocked.
    pub fn all_blocked(mut self) -> Self {
        self.all_blocked = true;
        self
    }

    /// Finds a kernel that knows no IPv6: this one, or by a filter.
    pub fn without_ipv6(mut self) -> Self {
        self.without_ipv6 = crate::platform::kernel_has_ipv6();
        self
    }

    /// Is started with a resource limit.
    pub fn limit(mut self, resource: Resource, value: u64) -> Self {
        self.limits.push((resource, value));
        self
    }

    /// Is started as this user, whom the check's directory is then given to. Takes root.
    pub fn run_as(mut self, user: u32) -> Self {
        self.run_as = Some(user);
        self
    }

    /// Is started with these supplementary groups. Takes root.
    pub fn groups(mut self, groups: &[u32]) -> Self {
        self.groups.extend(groups);
        self
    }

    /// Is started with this file mode creation mask.
    pub fn umask(mut self, mask: u32) -> Self {
        self.umask = Some(Mode::from_bits_truncate(mask as libc::mode_t));
        self
    }

    /// Is started with every descriptor up to this one open, so that its own are all above.
    pub fn descriptors_above(mut self, last: i32) -> Self {
        self.descriptors_above = Some(last);
        self
    }

    /// Is killed, as each of its processes is, when it closes or asks about a descriptor from
    /// `from` up to but not including `to`; see [`crate::platform::forbid_descriptors`].
    pub fn forbidding_descriptors(mut self, from: u32, to: u32) -> Self {
        self.untouchable = Some((from, to));
        self
    }

    /// Has a directory of its own for `{dir}`, apart from that of the check's other servers: it does
    /// not meet their locks and pid files.
    pub fn elsewhere(mut self) -> Self {
        self.elsewhere = true;
        self
    }

    /// Sends its messages to the system's log instead of standard error.
    pub fn syslog(mut self) -> Self {
        self.to_syslog = true;
        self
    }

    /// Is started with standard input, output and error closed.
    pub fn without_standard_descriptors(mut self) -> Self {
        self.without_standard_descriptors = true;
        self
    }

    /// Has this for standard output.
    pub fn output_to(mut self, sink: Arc<OwnedFd>) -> Self {
        self.output_to = Some(sink);
        self
    }

    /// Has this for standard output and standard error.
    pub fn messages_to(mut self, sink: Arc<OwnedFd>) -> Self {
        self.output_to = Some(sink.clone());
        self.messages_to = Some(sink);
        self
    }

    /// Is started with this open too, under the number that it has here.
    pub fn inheriting(mut self, descriptor: Arc<OwnedFd>) -> Self {
        self.inherited.push(descriptor);
        self
    }

    /// Is process 1 of a process namespace of its own, as in a container. One server of a check can
    /// be.
    pub fn being_process_1(mut self) -> Self {
        self.as_process_1 = true;
        self
    }

    /// Finds this in its pid file, as an earlier server may have left it.
    pub fn pid_file_holds(mut self, text: impl ToString) -> Self {
        self.pid_file_holds = Some(text.to_string());
        self
    }

    /// Finds a child that it has not started, a `sleep`: the program that it is executed by had one.
    pub fn with_an_unknown_child(mut self) -> Self {
        self.unknown_child = true;
        self
    }

    /// Begins in this group of processes; see [`crate::platform::make_group`].
    pub fn in_group(mut self, group: impl Into<PathBuf>) -> Self {
        self.group = Some(group.into());
        self
    }

    /// Whether the harness does not hear what it says.
    pub(super) fn is_unheard(&self) -> bool {
        self.without_standard_descriptors || self.output_to.is_some()
    }
}
