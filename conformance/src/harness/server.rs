//! A private server: launched, found, asked, ended.

use std::cell::{Cell, RefCell};
use std::fs::File;
use std::io::{Read, Seek, SeekFrom};
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::rc::Rc;
use std::time::Duration;

use nix::sys::signal::Signal;
use nix::sys::wait::WaitStatus;

use super::processes::{self, Cluster, descends, status_words};
use super::{Check, Client, Crowd, LockMode, World, try_lock};
use crate::platform::{self, Process};
use crate::target::manifest::Ends;
use crate::verdict::{OrError, Outcome, Step, Stop, ensure, fail};

/// What is known about a server that was started.
#[derive(Debug)]
pub(crate) struct Running {
    pub(crate) name: String,
    pub(crate) daemon: Cell<i32>,
    pub(crate) addresses: Vec<SocketAddr>,
    pub(crate) log: PathBuf,
    pub(super) key: Vec<u8>,
    pub(super) output: PathBuf,
    /// The check has ended it, or seen it end; nothing more is expected of it.
    pub(crate) over: Cell<bool>,
    /// A client that hears what others say, where speakers do not hear themselves.
    pub(super) witness: RefCell<Option<Client>>,
}

impl Running {
    pub(super) fn key(&self) -> &[u8] {
        &self.key
    }

    pub(super) fn output_tail(&self, length: u64) -> String {
        tail(&self.output, length)
    }
}

pub(super) fn tail(path: &Path, length: u64) -> String {
    let mut bytes = Vec::new();
    if let Ok(mut file) = File::open(path) {
        let end = file.seek(SeekFrom::End(0)).unwrap_or(0);
        let _ = file.seek(SeekFrom::Start(end.saturating_sub(length)));
        let _ = file.take(length).read_to_end(&mut bytes);
    }
    String::from_utf8_lossy(&bytes).into_owned()
}

/// What became of a server that was launched.
#[derive(Debug)]
pub struct Launched {
    /// The launcher's exit status; none while a foreground server runs, or after a signal.
    pub status: Option<i32>,
    /// What it has said so far, on standard output and standard error.
    pub output: String,
    /// The server, if it listens.
    pub server: Option<Server>,
    /// How long it took from exec to the answer.
    pub took: Duration,
}

/// A server that listens.
#[derive(Debug, Clone)]
pub struct Server {
    pub(super) world: Rc<World>,
    pub(super) running: Rc<Running>,
}

pub(super) fn ended(world: &World, pid: i32) -> Option<WaitStatus> {
    world.ended.borrow().iter().find(|(ended, _)| *ended == pid).map(|(_, status)| *status)
}

impl Server {
    /// The first address that it listens on.
    pub fn address(&self) -> SocketAddr {
        self.running.addresses[0]
    }

    /// Every address that it listens on.
    pub fn addresses(&self) -> &[SocketAddr] {
        &self.running.addresses
    }

    /// The chat log.
    pub fn log(&self) -> &Path {
        &self.running.log
    }

    /// How many processes there are while `clients` are served: the daemon's, theirs, and those of
    /// the harness's own witness, if it needs one.
    pub fn process_count(&self, clients: usize) -> usize {
        let witness = usize::from(self.running.witness.borrow().is_some());
        1 + self.world.orders.target.manifest.processes_per_client() * (clients + witness)
    }

    /// How many of its processes there are, without those that have ended and are not reaped.
    pub fn living(&self) -> Step<usize> {
        let processes = self.processes()?;
        Ok(processes.iter().filter(|process| process.state != platform::State::Zombie).count())
    }

    /// What the chat log holds.
    pub fn log_content(&self) -> Step<Vec<u8>> {
        std::fs::read(self.log()).or_error(self.log().display())
    }

    /// What the chat log holds from `position` to its end.
    pub fn log_from(&self, position: u64) -> Step<Vec<u8>> {
        let mut bytes = Vec::new();
        File::open(self.log())
            .and_then(|mut file| {
                file.seek(SeekFrom::Start(position))?;
                file.read_to_end(&mut bytes)
            })
            .or_error(self.log().display())?;
        Ok(bytes)
    }

    /// The shared key.
    pub fn key(&self) -> &[u8] {
        &self.running.key
    }

    /// The daemon's process id.
    pub fn daemon(&self) -> i32 {
        self.running.daemon.get()
    }

    /// What the server has said so far.
    pub fn output(&self) -> String {
        self.running.output_tail(u64::from(u32::MAX))
    }

    /// Connects to its first address, and says nothing yet.
    pub fn connect(&self, name: &str) -> Step<Client> {
        self.connect_to(name, self.address())
    }

    /// Connects to `address`, and says nothing yet.
    pub fn connect_to(&self, name: &str, address: SocketAddr) -> Step<Client> {
        Client::connect(&self.world, name, address, Some(&self.running))
    }

    /// Connects and sends the key, and waits for nothing.
    pub fn enter(&self, name: &str) -> Step<Client> {
        self.enter_at(name, self.address())
    }

    /// As [`enter`](Self::enter), at `address`.
    pub fn enter_at(&self, name: &str, address: SocketAddr) -> Step<Client> {
        let mut client = self.connect_to(name, address)?;
        if !self.key().is_empty() {
            client.send(self.key())?;
        }
        Ok(client)
    }

    /// A client that has been let in: it has heard itself.
    pub fn join(&self, name: &str) -> Step<Client> {
        self.join_at(name, self.address())
    }

    /// As [`join`](Self::join), at `address`.
    pub fn join_at(&self, name: &str, address: SocketAddr) -> Step<Client> {
        let mut client = self.enter_at(name, address)?;
        client.barrier()?;
        Ok(client)
    }

    /// A client that has been let in, with the processes that serve it. Nobody else may join or
    /// leave meanwhile.
    pub fn join_with_cluster(&self, name: &str) -> Step<(Client, Cluster)> {
        let per_client = self.world.orders.target.manifest.processes_per_client();
        if !self.world.orders.target.manifest.wire.echo {
            self.join("first")?;
        }
        let before: Vec<i32> = descends()?.iter().map(|process| process.pid).collect();
        let client = self.join(name)?;
        let mut fresh: Vec<Process> = descends()?;
        fresh.retain(|process| !before.contains(&process.pid));
        let receiver = fresh.iter().find(|process| process.parent == self.daemon());
        let sender = match per_client {
            1 => receiver,
            _ => receiver.and_then(|head| fresh.iter().find(|process| process.parent == head.pid)),
        };
        match (receiver, sender) {
            (Some(receiver), Some(sender)) if fresh.len() == per_client => {
                let by = match per_client {
                    1 => format!("process {}", receiver.pid),
                    _ => format!("receiver {} and sender {}", receiver.pid, sender.pid),
                };
                self.world.note("check", format!("{name} is served by {by}"));
                Ok((client, Cluster { receiver: receiver.pid, sender: sender.pid }))
            }
            _ => fail(
                match per_client {
                    1 => "a client is served by one process, a child of the daemon",
                    _ => {
                        "a client is served by a child of the daemon, the receiver, and a child of \
                         that, the sender"
                    }
                },
                format!("{name} brought {} processes", fresh.len()),
            ),
        }
    }

    /// Many clients that have been let in, all at once.
    pub fn crowd(&self, size: usize) -> Step<Crowd> {
        Crowd::join(self, size)
    }

    /// The server's processes that are still there, zombies included.
    pub fn processes(&self) -> Step<Vec<Process>> {
        descends()
    }

    /// The process `pid`, if it is still there.
    pub fn process(&self, pid: i32) -> Step<Option<Process>> {
        Ok(descends()?.into_iter().find(|process| process.pid == pid))
    }

    /// Sends a signal to one of its processes.
    pub fn signal(&self, pid: i32, signal: Signal) -> Outcome {
        processes::signal(&self.world, pid, signal)
    }

    /// Stops a process and waits until it is stopped.
    pub fn freeze(&self, check: &Check, pid: i32) -> Outcome {
        self.signal(pid, Signal::SIGSTOP)?;
        check.until(
            Duration::from_secs(5),
            "a process stops at SIGSTOP",
            || Ok(self.process(pid)?.is_some_and(|p| p.state == platform::State::Stopped)),
            || format!("process {pid} did not"),
        )
    }

    /// Stops a process that does not hold the log's lock just then: whoever stands still with it
    /// keeps all others out, and nobody could blame the server.
    pub fn freeze_at_rest(&self, check: &Check, pid: i32) -> Outcome {
        const TRIES: usize = 10;
        let is_free = |limit| -> Step<bool> {
            let log = self.log();
            let look = || Ok(!log.exists() || try_lock(log, LockMode::Exclusive)?.is_some());
            Ok(self.world.wait(check.scaled(limit), || Ok(look()?.then_some(())))?.is_some())
        };
        for _ in 0..TRIES {
            // It has to get on to let the lock go.
            is_free(Duration::from_secs(1))?;
            self.freeze(check, pid)?;
            if is_free(Duration::from_millis(100))? {
                return Ok(());
            }
            check.note(format!("process {pid} stands still with the log's lock: lets it go on"));
            self.signal(pid, Signal::SIGCONT)?;
        }
        // A lock that is never let go is the server's affair: the check goes on and tells so.
        self.freeze(check, pid)
    }

    /// Kills the daemon at once, and leaves its clusters alone. Waits until it is gone.
    pub fn kill_daemon(&self, check: &Check) -> Outcome {
        self.running.over.set(true);
        self.signal(self.daemon(), Signal::SIGKILL)?;
        check.until(
            Duration::from_secs(5),
            "a killed daemon is gone",
            || Ok(self.process(self.daemon())?.is_none()),
            || "it is still there".into(),
        )
    }

    /// Sends `signal` to the daemon and waits until it has ended; returns how.
    pub fn end_with(&self, signal: Signal) -> Step<String> {
        self.running.over.set(true);
        self.signal(self.daemon(), signal)?;
        let limit = self.world.end_limit();
        let status = self.world.wait(limit, || Ok(ended(&self.world, self.daemon())))?;
        match status {
            Some(status) => Ok(status_words(&status)),
            None => fail(
                format!(
                    "the server ends within {:.1} s of {}",
                    limit.as_secs_f64(),
                    signal.as_str()
                ),
                "its daemon is still there",
            ),
        }
    }

    /// Ends the server as an administrator does, and checks that it ends well.
    pub fn end(&self) -> Outcome {
        end(&self.world, &self.running)
    }

    /// Nothing more is expected of this server at the end of the check.
    pub fn is_over(&self) {
        self.running.over.set(true);
    }
}

/// At the end of a check: is the server still one?
pub(super) fn check_sane(world: &Rc<World>, running: &Rc<Running>) -> Outcome {
    if running.over.get() {
        return Ok(());
    }
    let server = Server { world: world.clone(), running: running.clone() };
    processes::reap(world);
    if let Some(status) = ended(world, server.daemon()) {
        return fail(
            "the server is still alive at the end of the check",
            format!("its daemon {} {}", server.daemon(), status_words(&status)),
        );
    }
    world.note("check", format!("looks whether {} still serves", running.name));
    server.join("last").map(drop).map_err(|stop| match stop {
        Stop::Fail(failure) => Stop::Fail(crate::verdict::Failure {
            expected: "the server still serves a new client at the end of the check".into(),
            actual: failure.actual,
        }),
        other => other,
    })
}

/// Ends a server as its manifest says; it must exit in time, and with the status that it should.
pub(super) fn end(world: &Rc<World>, running: &Rc<Running>) -> Outcome {
    drop(running.witness.take());
    if running.over.get() {
        return Ok(());
    }
    let server = Server { world: world.clone(), running: running.clone() };
    let stop = &world.orders.target.manifest.stop;
    let signal = stop.signal.0;
    let words = server.end_with(signal)?;
    let Some(status) = stop.status else { return Ok(()) };
    ensure(
        words == format!("exited with status {status}"),
        format!("{} ends the server with exit status {status}", signal.as_str()),
        || format!("the daemon {words}"),
    )
}

/// After the end of all servers, those included that never listened: no process is left. Returns
/// whether the system tells about processes at all.
pub(super) fn check_no_process_left(world: &Rc<World>) -> Step<bool> {
    let mut left = Vec::new();
    let mut known = true;
    for server in world.servers.borrow().iter() {
        drop(server.witness.take());
    }
    if world.orders.target.manifest.stop.ends == Ends::Daemon {
        // What serves clients ends with them, and not by the end of the daemon. The warden ends it.
        return Ok(false);
    }
    let gone = world.wait(world.end_limit(), || {
        left = match descends() {
            Ok(left) => left,
            // Where nothing tells about processes, the warden still sees its own children.
            Err(Stop::NotRun(_)) => {
                known = false;
                Vec::new()
            }
            Err(other) => return Err(other),
        };
        Ok(left.is_empty().then_some(()))
    })?;
    if gone.is_some() {
        return Ok(known);
    }
    let names: Vec<String> = left
        .iter()
        .map(|process| format!("{} {} ({})", process.name, process.pid, process.state.word()))
        .collect();
    fail("no process of the server is left after its end", names.join(", "))
}

/// After a server's end: no lock, no bound port.
///
/// Where no process is left the ports are free, and asking could only find another check's server
/// that the system has given the same port since.
pub(super) fn check_nothing_held(
    world: &Rc<World>,
    running: &Rc<Running>,
    no_process_left: bool,
) -> Outcome {
    let limit = world.end_limit();
    if world.orders.target.manifest.stop.ends == Ends::Daemon {
        return Ok(());
    }
    for address in &running.addresses {
        if !no_process_left && std::net::TcpStream::connect_timeout(address, limit).is_ok() {
            return fail(
                "the port is free after the server's end",
                format!("{address} still accepts connections"),
            );
        }
    }
    if running.log.is_file() && try_lock(&running.log, LockMode::Exclusive)?.is_none() {
        return fail(
            "the chat log is unlocked after the server's end",
            "someone still holds a lock",
        );
    }
    Ok(())
}
