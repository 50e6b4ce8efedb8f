//! The daemon: accepts, forks a cluster per client, reaps, and ends all when told to.
//!
//! # Process groups
//! All clusters of a daemon are one process group, apart from the daemon's own: a multicast to it
//! reaches every sender and nobody else, neither the shell that launched the server nor the other
//! programs of its pipeline. The first cluster's receiver founds the group; it lasts as long as it
//! has members, and when the last is reaped the next client founds another. (A group's number is
//! not given to another process while the group has a member, POSIX.1-2024, `fork`; so long as one
//! of its receivers is unreaped, the number is safe to use.)

mod places;
mod refusals;

use std::fs::File;
use std::net::SocketAddr;
use std::os::fd::{AsFd, AsRawFd, FromRawFd, OwnedFd};
use std::time::{Duration, Instant};

use nix::errno::Errno;
use nix::poll::{PollFd, PollFlags};
use nix::sys::signal::{SigSet, Signal, kill, killpg};
use nix::sys::socket::{SockaddrLike, SockaddrStorage};
use nix::sys::time::TimeSpec;
use nix::unistd::{ForkResult, Pid, fork, setpgid};

use crate::config::Config;
use crate::generations::Generations;
use crate::key::Key;
use crate::listen::{Listener, to_std};
use crate::receiver::Served;
use crate::receiver::admission::{self, Admission, Admissions};
use crate::receiver::refusal::Refusal;
use crate::signals::Ending;
use crate::{diagnostics, platform, receiver, signals};
use places::{Limits, Place, Places, Standing};
use refusals::Refusals;

/// How long clusters may take to end by themselves once the server is told to.
const GRACE: Duration = Duration::from_millis(1500);
/// How often they are told meanwhile: a `SIGTERM` can come just before a wait that it should end.
const REPEAT: Duration = Duration::from_millis(50);
/// Pause of accepting when the system has no descriptor or memory to spare.
const PAUSE: Duration = Duration::from_millis(100);
/// Connections accepted before the daemon looks at its signals again.
const BATCH: usize = 64;

/// The accepting process.
pub(crate) struct Daemon {
    listeners: Vec<Listener>,
    key: Key,
    config: Config,
    open_mask: SigSet,
    /// The receivers that are alive or not yet reaped.
    places: Places,
    refusals: Refusals,
    /// Both ends of the pipe by which receivers tell that a client has shown the key.
    admission: Option<Admission>,
    admissions: Option<Admissions>,
    /// The clusters' process group, while it has members.
    group: Option<Pid>,
    /// Who serves the log, this daemon among others. Never opened again in this process: that would
    /// drop its locks.
    register: Option<Generations>,
    /// A descriptor in reserve: given up for a moment, it lets the daemon accept and close a
    /// connection that it has no descriptor for, which would otherwise stay in the queue and keep
    /// `ppoll` from ever waiting.
    reserve: Option<File>,
    pause_until: Option<Instant>,
}

impl Daemon {
    /// Takes over listening sockets. From here on the daemon's dispositions are in force.
    pub(crate) fn new(listeners: Vec<Listener>, key: Key, config: Config) -> nix::Result<Self> {
        let (admission, admissions) = admission::channel()?;
        // Tried before: without it no client could be served.
        let register = Generations::open(&config.log).ok();
        let limits = Limits {
            clients: config.max_clients,
            pending: config.max_pending,
            pending_per_address: config.max_pending_per_address,
        };
        Ok(Self {
            listeners,
            key,
            config,
            open_mask: signals::DAEMON.assume()?,
            places: Places::new(limits),
            refusals: Refusals::default(),
            admission: Some(admission),
            admissions: Some(admissions),
            group: None,
            register,
            reserve: open_reserve(),
            pause_until: None,
        })
    }

    /// Serves until `SIGTERM` or `SIGINT`, then ends every cluster.
    pub(crate) fn run(mut self) {
        platform::name_process(c"chatd");
        while !signals::terminating() {
            self.reap();
            self.refusals.settle();
            if signals::take_hangup() {
                diagnostics::info("SIGHUP: nothing to do, the log is followed by name");
            }
            self.accept_ready();
        }
        self.end_all();
        self.end_orphans();
        self.refusals.finish();
    }

    /// Waits for a signal or a connection, and accepts what is there.
    fn accept_ready(&mut self) {
        let pause = self.pause_until.and_then(|end| end.checked_duration_since(Instant::now()));
        let timeout = pause.into_iter().chain(self.refusals.due()).min();
        let mut ready: Vec<PollFd> = Vec::new();
        if pause.is_none() {
            self.pause_until = None;
            ready.extend(
                self.listeners.iter().map(|l| PollFd::new(l.socket.as_fd(), PollFlags::POLLIN)),
            );
        }
        let listening = ready.len();
        // Only waited for here; the caller reads them.
        ready.extend(
            self.admissions.iter().map(|pipe| PollFd::new(pipe.as_fd(), PollFlags::POLLIN)),
        );
        if signals::wait(&mut ready, timeout.map(TimeSpec::from), self.open_mask).is_err() {
            return; // EINTR: the caller looks at what came
        }
        let readable: Vec<usize> = ready[..listening]
            .iter()
            .enumerate()
            .filter(|(_, fd)| fd.revents().is_some_and(|events| !events.is_empty()))
            .map(|(index, _)| index)
            .collect();
        for index in readable {
            self.accept_from(index);
        }
    }

    fn accept_from(&mut self, index: usize) {
        for _ in 0..BATCH {
            match accept(&self.listeners[index].socket) {
                Ok((socket, peer)) => self.start_cluster(socket, peer),
                Err(Errno::EAGAIN) => return,
                Err(Errno::EMFILE | Errno::ENFILE | Errno::ENOBUFS | Errno::ENOMEM) => {
                    return self.refuse_for_want_of_descriptors(index);
                }
                // The connection was gone before it was accepted (ECONNABORTED), or brings its own
                // network's error with it (Linux accept(2), "Error handling").
                Err(_) => {}
            }
        }
    }

    fn refuse_for_want_of_descriptors(&mut self, index: usize) {
        self.reserve = None;
        match accept(&self.listeners[index].socket) {
            Ok((_refused, peer)) => self.refusals.tell(peer, "out of descriptors or memory"),
            // It stays in the queue, and so does everybody behind it.
            Err(errno) => {
                self.refusals.warn(format_args!("clients wait: accept: {}", errno.desc()))
            }
        }
        self.reserve = open_reserve();
        self.pause_until = Some(Instant::now() + PAUSE);
    }

    fn start_cluster(&mut self, socket: OwnedFd, peer: SocketAddr) {
        self.reap();
        if self.places.full() {
            let maximum = self.config.max_clients;
            return self.refusals.tell(peer, format_args!("{maximum} clients are the maximum"));
        }
        if let Some(pid) = self.places.in_the_way_of(peer) {
            // Ends a stranger, and nobody who has shown the key meanwhile: see `signals`.
            let _ = kill(pid, Signal::SIGHUP);
            self.places.evict(pid);
        }
        // SAFETY: this process has one thread.
        match unsafe { fork() } {
            Ok(ForkResult::Child) => {
                let group = self.group.unwrap_or(Pid::from_raw(0));
                let _ = setpgid(Pid::from_raw(0), group);
                // What belongs to the daemon must not live on in a client's process: a listening
                // socket would keep the port bound after the daemon's end.
                self.listeners.clear();
                self.reserve = None;
                self.admissions = None;
                self.register = None;
                let admission = self.admission.take();
                let server = Served { key: &mut self.key, config: &self.config };
                let served = receiver::run(socket, peer, server, admission);
                let status = served.map_or_else(Refusal::status, |()| 0);
                // SAFETY: ends the process without running what its parent registered.
                unsafe { libc::_exit(status) }
            }
            Ok(ForkResult::Parent { child }) => {
                // In the parent too, so that the group is right whoever runs first. The child may
                // already be gone.
                let group = match self.group {
                    Some(group) => group,
                    None => self.found_group(child),
                };
                let _ = setpgid(child, group);
                self.places.take(child, peer);
            }
            Err(errno) => {
                self.refusals.tell(peer, format_args!("fork: {}", errno.desc()));
            }
        }
    }

    /// Collects every child that has ended, for one SIGCHLD may stand for many, and what those
    /// and others have told of their clients.
    fn reap(&mut self) {
        signals::take_child();
        let mut ended = Vec::new();
        while let Ok(Some(child)) = signals::reap(None) {
            ended.push(child);
        }
        // What they told, they told before they ended; and no later child can have their ids yet.
        while let Some(pid) = self.admissions.as_ref().and_then(Admissions::next) {
            if let Some(peer) = self.places.admit(pid) {
                let maximum = self.config.max_clients;
                self.refusals.tell(peer, format_args!("{maximum} clients are the maximum"));
                let _ = kill(pid, Signal::SIGTERM);
            }
        }
        for (pid, ending) in ended {
            if let Some(place) = self.places.free(pid) {
                self.tell_end(pid, place, ending);
            }
        }
        if self.places.is_empty() {
            if let (Some(group), Some(register)) = (self.group.take(), &self.register) {
                let _ = register.disclaim(group);
            }
        }
    }

    fn found_group(&mut self, leader: Pid) -> Pid {
        if let Some(register) = &self.register {
            let _ = register.claim(leader);
        }
        *self.group.insert(leader)
    }

    fn tell_end(&mut self, pid: Pid, place: Place, ending: Ending) {
        match (place.standing, ending) {
            // A receiver that leaves in good order has said so itself.
            (_, Ending::Exited(0)) => {}
            (Standing::Evicted, _) => {
                self.refusals.tell(place.peer, "its place was needed before its key came");
            }
            (_, Ending::Exited(status)) => match Refusal::from_status(status) {
                Some(refusal) => self.refusals.tell(place.peer, refusal),
                None => diagnostics::warning(&format!("receiver {pid} {ending}")),
            },
            (_, Ending::Killed(_)) => diagnostics::warning(&format!("receiver {pid} {ending}")),
        }
    }

    /// Ends every cluster: asks, asks again, and finally forces.
    fn end_all(&mut self) {
        self.listeners.clear();
        let deadline = Instant::now() + GRACE;
        loop {
            self.reap();
            if self.places.is_empty() {
                return;
            }
            if Instant::now() >= deadline {
                break;
            }
            for pid in self.places.pids() {
                let _ = kill(pid, Signal::SIGTERM);
                // A stopped receiver acts on that once it is continued; its sender, stopped or
                // not, is its own to kill.
                let _ = kill(pid, Signal::SIGCONT);
            }
            let _ = signals::wait(&mut [], Some(REPEAT.into()), self.open_mask);
        }
        diagnostics::warning(&match self.places.len() {
            1 => "the processes of 1 client had to be killed".into(),
            count => format!("the processes of {count} clients had to be killed"),
        });
        if let Some(group) = self.group {
            let _ = killpg(group, Signal::SIGKILL);
        }
        for pid in self.places.pids() {
            let _ = kill(pid, Signal::SIGKILL);
            signals::await_end(pid);
        }
    }

    /// Ends what a daemon of the same log has left that was killed: nobody else would.
    fn end_orphans(&self) {
        let Some(register) = &self.register else { return };
        let deadline = Instant::now() + GRACE;
        let mut met = Vec::new();
        loop {
            let orphans = register.orphans();
            let late = Instant::now() >= deadline;
            if orphans.is_empty() || late && met.is_empty() {
                break;
            }
            let told = if late { Signal::SIGKILL } else { Signal::SIGTERM };
            for &group in &orphans {
                // A group of this server's user that has a member that serves this log.
                let _ = killpg(group, told);
                let _ = killpg(group, Signal::SIGCONT);
            }
            met.extend(orphans);
            if late {
                break;
            }
            let _ = signals::wait(&mut [], Some(REPEAT.into()), self.open_mask);
        }
        met.sort();
        met.dedup();
        for group in met {
            diagnostics::info(&format!(
                "ended the clusters of a daemon that was killed (process group {group})"
            ));
        }
    }
}

fn open_reserve() -> Option<File> {
    File::open("/dev/null").ok()
}

/// Accepts a connection as this process wants it: closed on exec, and blocking whatever the
/// listener is. BSD systems pass `O_NONBLOCK` on from the listener, Linux doesn't (accept(2)).
fn accept(listener: &OwnedFd) -> nix::Result<(OwnedFd, SocketAddr)> {
    use nix::fcntl::{FcntlArg, FdFlag, OFlag, fcntl};
    // SAFETY: all-zero bytes are a valid address storage.
    let mut storage: libc::sockaddr_storage = unsafe { std::mem::zeroed() };
    let mut length = size_of::<libc::sockaddr_storage>() as libc::socklen_t;
    // nix's `accept` does not tell the peer, and asking later fails when the peer is gone.
    // SAFETY: the pointers are to the two variables above, `length` is the storage's size.
    let raw = Errno::result(unsafe {
        libc::accept(listener.as_raw_fd(), (&raw mut storage).cast(), &raw mut length)
    })?;
    // SAFETY: accept has just returned this descriptor to us alone.
    let socket = unsafe { OwnedFd::from_raw_fd(raw) };
    fcntl(&socket, FcntlArg::F_SETFD(FdFlag::FD_CLOEXEC))?;
    fcntl(&socket, FcntlArg::F_SETFL(OFlag::empty()))?;
    // SAFETY: the kernel has written an address of `length` bytes.
    let peer = unsafe { SockaddrStorage::from_raw((&raw const storage).cast(), Some(length)) }
        .and_then(|peer| to_std(&peer))
        .unwrap_or_else(|| SocketAddr::from(([0, 0, 0, 0], 0)));
    Ok((socket, peer))
}
