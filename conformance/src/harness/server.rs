//! A server that listens: clients for it, its processes, its end, and what is left after that.

use std::fs::File;
use std::io::{Read, Seek, SeekFrom};
use std::net::SocketAddr;
use std::path::Path;
use std::rc::Rc;
use std::time::Duration;

use forkproof_report::Failure;
use nix::sys::signal::Signal;

use super::client::{Client, Witness};
use super::locks::{LockMode, try_lock};
use super::processes::{self, Cluster, descends};
use super::world::{Ending, Running, SERVES, World};
use crate::platform::{self, Process};
use crate::stop::{OrError, Outcome, Step, Stop, covered_by, ensure, fail};
use crate::subject::Ends;

/// What became of a server that was launched.
#[derive(Debug)]
pub struct Launched {
    /// How what was started has ended; none while a foreground server runs.
    pub ending: Option<Ending>,
    /// What it has said so far, on standard output and standard error.
    pub output: String,
    /// The server, if it listens.
    pub server: Option<Server>,
}

impl Launched {
    /// Whether what was started has ended with an exit status that tells of a failure.
    pub fn failed(&self) -> bool {
        matches!(self.ending, Some(Ending::Exit(status)) if status != 0)
    }

    /// How it has ended, in words.
    pub fn outcome(&self) -> String {
        match self.ending {
            Some(ending) => format!("it {ending}"),
            None => "it runs on".into(),
        }
    }

    /// That it should have started, and what it did.
    pub(super) fn refusal(&self) -> Stop {
        let ended = match self.ending {
            Some(Ending::Exit(status)) => format!("it ended with exit status {status}"),
            Some(Ending::Signal(signal)) => format!("it was killed by {}", signal.as_str()),
            None => "it does not listen".into(),
        };
        let said = match self.output.trim() {
            "" => "nothing".into(),
            words => words.replace('\n', " / "),
        };
        Stop::Fail(Failure::new(
            "the server starts and listens",
            format!("{ended}, and says: {said}"),
        ))
    }
}

/// A server that listens.
#[derive(Debug, Clone)]
pub struct Server {
    pub(super) world: Rc<World>,
    pub(super) running: Rc<Running>,
    /// Who hears what others say, where speakers do not hear themselves.
    pub(super) witness: Rc<Witness>,
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
        let witness = usize::from(self.witness.is_there());
        1 + self.world.orders.target.manifest.processes_per_client() * (clients + witness)
    }

    /// How many of its processes there are, without those that have ended and are not reaped.
    pub fn living(&self) -> Step<usize> {
        let processes = self.processes()?;
        Ok(processes.iter().filter(|process| process.state != platform::State::Zombie).count())
    }

    /// What the chat log holds.
    pub fn log_content(&self) -> Step<Vec<u8>> {
        self.world.act();
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
        self.world.act();
        Client::connect(&self.world, name, address, Some(&self.witness))
    }

    /// Connects and sends the key, and waits for nothing.
    pub fn enter(&self, name: &str) -> Step<Client> {
        self.enter_at(name, self.address())
    }

    /// As [`enter`](Self::enter), at `address`.
    pub fn enter_at(&self, name: &str, address: SocketAddr) -> Step<Client> {
        self.world.act();
        self.enter_anyhow(name, address)
    }

    fn enter_anyhow(&self, name: &str, address: SocketAddr) -> Step<Client> {
        let mut client = Client::connect(&self.world, name, address, Some(&self.witness))?;
        if !self.key().is_empty() {
            client.deliver(self.key())?;
        }
        Ok(client)
    }

    /// A client that has been let in: it has heard itself.
    pub fn join(&self, name: &str) -> Step<Client> {
        let joined = self.join_anyhow(name, self.address());
        self.world.step(SERVES, joined)
    }

    /// As [`join`](Self::join), at `address`.
    pub fn join_at(&self, name: &str, address: SocketAddr) -> Step<Client> {
        self.world.act();
        self.join_anyhow(name, address)
    }

    fn join_anyhow(&self, name: &str, address: SocketAddr) -> Step<Client> {
        let mut client = self.enter_anyhow(name, address)?;
        client.let_in()?;
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

    /// The server's processes that are still there, zombies included.
    pub fn processes(&self) -> Step<Vec<Process>> {
        descends()
    }

    /// The process `pid`, if it is still there.
    pub fn process(&self, pid: i32) -> Step<Option<Process>> {
        Ok(descends()?.into_iter().find(|process| process.pid == pid))
    }

    /// What the system tells of its process `pid`. One that has gone is a failure of the server,
    /// never a reason not to judge it.
    pub fn ask<T>(&self, pid: i32, look: impl FnOnce(i32) -> Result<T, String>) -> Step<T> {
        let reason = match look(pid) {
            Ok(told) => return Ok(told),
            Err(reason) => reason,
        };
        match self.process(pid)? {
            Some(process) if process.state != platform::State::Zombie => Err(Stop::NotRun(reason)),
            _ => {
                self.world.reap();
                let how = match self.world.ending_of(pid) {
                    Some(ending) => format!("process {pid} {ending}"),
                    None => format!("process {pid} has ended, and its parent knows how"),
                };
                fail("the server's processes are there to be looked at", how)
                    .map_err(|stop| covered_by(stop, SERVES))
            }
        }
    }

    /// The processor time of all its processes. Those that end meanwhile count no more.
    pub fn processor_time(&self) -> Step<Duration> {
        let mut total = 0;
        for process in self.processes()? {
            match platform::processor_time(process.pid) {
                Ok(nanoseconds) => total += nanoseconds,
                Err(reason) => match self.process(process.pid)? {
                    Some(left) if left.state != platform::State::Zombie => {
                        return Err(Stop::NotRun(reason));
                    }
                    _ => {}
                },
            }
        }
        Ok(Duration::from_nanos(total))
    }

    /// Sends a signal to one of its processes.
    pub fn signal(&self, pid: i32, signal: Signal) -> Outcome {
        self.world.act();
        processes::signal(&self.world, pid, signal)
    }

    /// Stops a process and waits until it is stopped.
    pub fn freeze(&self, pid: i32) -> Outcome {
        self.signal(pid, Signal::SIGSTOP)?;
        self.world.until(
            Duration::from_secs(5),
            "a process stops at SIGSTOP",
            || Ok(self.process(pid)?.is_some_and(|p| p.state == platform::State::Stopped)),
            || format!("process {pid} did not stop"),
        )
    }

    /// Stops a process that does not hold the log's lock just then: whoever stands still with it
    /// keeps all others out, and nobody could blame the server.
    pub fn freeze_at_rest(&self, pid: i32) -> Outcome {
        const TRIES: usize = 10;
        let is_free = |limit| -> Step<bool> {
            let log = self.log();
            let look = || Ok(!log.exists() || try_lock(log, LockMode::Exclusive)?.is_some());
            Ok(self.world.wait(self.world.scaled(limit), || Ok(look()?.then_some(())))?.is_some())
        };
        for _ in 0..TRIES {
            // It has to get on to let the lock go.
            is_free(Duration::from_secs(1))?;
            self.freeze(pid)?;
            if is_free(Duration::from_millis(100))? {
                return Ok(());
            }
            self.world.note(
                "check",
                format!("process {pid} stands still with the log's lock: lets it go on"),
            );
            self.signal(pid, Signal::SIGCONT)?;
        }
        // A lock that is never let go is the server's affair: the check goes on and tells so.
        self.freeze(pid)
    }

    /// Kills the daemon at once, and leaves its clusters alone. Waits until it is gone.
    pub fn kill_daemon(&self) -> Outcome {
        self.running.over.set(true);
        self.signal(self.daemon(), Signal::SIGKILL)?;
        self.world.until(
            Duration::from_secs(5),
            "a killed daemon is gone",
            || Ok(self.process(self.daemon())?.is_none()),
            || "it is still there".into(),
        )
    }

    /// Sends `signal` to the daemon and waits until it has ended; returns how.
    pub fn end_with(&self, signal: Signal) -> Step<Ending> {
        self.world.act();
        self.running.over.set(true);
        self.signal(self.daemon(), signal)?;
        let limit = self.world.end_limit();
        let status = self.world.wait(limit, || Ok(self.world.ending_of(self.daemon())))?;
        match status {
            Some(ending) => Ok(ending),
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

    /// Ends the server as its manifest says; it must exit in time, and with the status that it
    /// should.
    pub fn end(&self) -> Outcome {
        self.dismiss_witness();
        if self.running.over.get() {
            return Ok(());
        }
        let stop = &self.world.orders.target.manifest.stop;
        let signal = stop.signal.0;
        let ending = self.end_with(signal)?;
        let Some(status) = stop.status else { return Ok(()) };
        ensure(
            ending == Ending::Exit(status.into()),
            format!("{} ends the server with exit status {status}", signal.as_str()),
            || format!("the daemon {ending}"),
        )
    }

    /// Lets the harness's own client go.
    pub(super) fn dismiss_witness(&self) {
        self.witness.dismiss();
    }

    /// At the end of a check: is the server still one?
    pub(super) fn check_sane(&self) -> Outcome {
        if self.running.over.get() {
            return Ok(());
        }
        self.world.reap();
        if let Some(ending) = self.world.ending_of(self.daemon()) {
            return fail(
                "the server is still alive at the end of the check",
                format!("its daemon {} {ending}", self.daemon()),
            );
        }
        self.world.note("check", format!("looks whether {} still serves", self.running.name));
        let served = |stop: Stop| match stop {
            Stop::Fail(failure) => Stop::Fail(Failure {
                expected: "the server still serves a new client at the end of the check".into(),
                ..failure
            }),
            other => other,
        };
        self.join_anyhow("last", self.address()).map(drop).map_err(served)
    }

    /// After a server's end: no lock, no bound port.
    ///
    /// Where no process is left the ports are free, and asking could only find another check's server
    /// that the system has given the same port since.
    pub(super) fn check_nothing_held(&self, no_process_left: bool) -> Outcome {
        let limit = self.world.end_limit();
        if self.world.orders.target.manifest.stop.ends == Ends::Daemon {
            return Ok(());
        }
        for address in self.addresses() {
            if !no_process_left && std::net::TcpStream::connect_timeout(address, limit).is_ok() {
                return fail(
                    "the port is free after the server's end",
                    format!("{address} still accepts connections"),
                );
            }
        }
        if self.log().is_file() && try_lock(self.log(), LockMode::Exclusive)?.is_none() {
            return fail(
                "the chat log is unlocked after the server's end",
                "someone still holds a lock",
            );
        }
        Ok(())
    }
}

/// After the end of all servers, those included that never listened: no process is left. Returns
/// whether the system tells about processes at all.
pub(super) fn check_no_process_left(world: &Rc<World>) -> Step<bool> {
    let mut left = Vec::new();
    let mut known = true;
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
    let names: Vec<String> = left.iter().map(Process::to_string).collect();
    fail("no process of the server is left after its end", names.join(", "))
}
