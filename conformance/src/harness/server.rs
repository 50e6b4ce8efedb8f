//! A server that listens: clients for it, its processes, its end, and what is left after that.

use std::fs::File;
use std::io::{Read, Seek, SeekFrom};
use std::net::SocketAddr;
use std::path::Path;
use std::rc::Rc;
use std::time::{Duration, Instant};

use forkproof_report::Failure;
use nix::sys::signal::Signal;

use super::client::{Client, Witness};
use super::locks::{LockMode, try_lock};
use super::processes::{self, Cluster, descends};
use super::world::{Ending, Running, SERVES, World};
use crate::platform::{self, Process};
use crate::stop::{OrError, Outcome, Step, Stop, covered_by, ensure, fail};
use crate::subject::{Again, Ends, Measured, Model};

/// What became of a server that was launched.
#[derive(Debug)]
pub struct Launched {
    /// How what was started has ended; none while a foreground server runs.
    pub ending: Option<Ending>,
    /// What it has said so far, on standard output and standard error.
    pub output: String,
    /// The server, if it listens.
    pub server: Option<Server>,
    /// The command line that it was started with.
    pub command: String,
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
            format!("{ended}, and says: {said}; it was started as: {}", self.command),
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

    /// The file that it writes its process id to, if it was told to.
    pub fn pid_file(&self) -> &Path {
        &self.running.pid_file
    }

    /// How many processes there are at most while `clients` are served: those that there are without
    /// one, as the rehearsal has measured, theirs, and those of the harness's own witness, if it
    /// needs one.
    pub fn process_count(&self, clients: usize) -> usize {
        let witness = usize::from(self.witness.is_there());
        let measured = self.world.orders.target.measured;
        measured.idle + measured.per_client * (clients + witness)
    }

    /// Whether no processes are left but those of `clients` and those that there are without one. A
    /// pool of workers has its own mind about how many there are.
    pub fn is_back_to(&self, clients: usize) -> Step<bool> {
        let pool = self.world.orders.target.manifest.processes.model == Model::Workers;
        Ok(pool || self.living()? <= self.process_count(clients))
    }

    /// The processes that can accept a connection: those that have the listening socket open and no
    /// client. The daemon's alone where that cannot be told.
    pub fn acceptors(&self) -> Step<Vec<i32>> {
        let port = self.address().port();
        let model = self.world.orders.target.manifest.processes.model;
        let mut found = Vec::new();
        // What was started may be a monitor.
        if !model.is_per_client() {
            for process in self.processes()? {
                if platform::listens(process.pid, port).unwrap_or(false) {
                    found.push(process.pid);
                }
            }
        }
        if found.is_empty() {
            found.push(self.daemon());
        }
        Ok(found)
    }

    /// Whether its daemon has not ended.
    pub fn lives(&self) -> Step<bool> {
        let daemon = self.process(self.daemon())?;
        Ok(daemon.is_some_and(|process| process.state != platform::State::Zombie))
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

    /// As [`connect`](Self::connect), when there is a place: who has just left takes one until its
    /// process is gone, where places are few.
    pub fn come(&self, name: &str) -> Step<Client> {
        self.world.act();
        self.awaits_a_place()?;
        Client::connect(&self.world, name, self.address(), Some(&self.witness))
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

    pub(super) fn enter_anyhow(&self, name: &str, address: SocketAddr) -> Step<Client> {
        self.awaits_a_place()?;
        let mut client = Client::connect(&self.world, name, address, Some(&self.witness))?;
        client.key = self.key().to_vec();
        client.send_key()?;
        Ok(client)
    }

    /// A client that has been let in: the server has served it, and it is still connected.
    ///
    /// Where a connection ends with its answer, one before it was served, and this one has still to
    /// ask.
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
        let before = self.living().ok();
        let mut client = self.enter_anyhow(name, address)?;
        client.let_in()?;
        if client.wire().again() == Again::Reconnect {
            self.lets_go(before)?;
            client.reconnect()?;
            client.is_greeted()?;
            // It has not asked, so only its socket tells whether it is accepted yet.
            let model = self.world.orders.target.manifest.processes.model;
            if model.is_per_client() {
                self.whoever_serves(&client).or_else(|stop| match stop {
                    Stop::NotRun(_) => Ok(Cluster::default()),
                    other => Err(other),
                })?;
            }
        }
        Ok(client)
    }

    /// Where the manifest tells how many places there are: waits, for a while, for a free one.
    fn awaits_a_place(&self) -> Outcome {
        match self.world.orders.target.manifest.wire.clients {
            Some(most) => self.lets_go(Some(self.process_count(usize::from(most.get()) - 1))),
            None => Ok(()),
        }
    }

    /// Waits, for a while, until the process of a client that has gone has gone too.
    fn lets_go(&self, before: Option<usize>) -> Outcome {
        let model = self.world.orders.target.manifest.processes.model;
        let Some(before) = before.filter(|_| model.is_per_client()) else { return Ok(()) };
        self.world
            .wait(self.world.patience(), || Ok((self.living()? <= before).then_some(())))
            .map(drop)
    }

    /// A client that has been let in, with the processes that serve it. Nobody else may join or
    /// leave meanwhile.
    pub fn join_with_cluster(&self, name: &str) -> Step<(Client, Cluster)> {
        if self.witness_is_needed() {
            self.join("first")?;
        }
        let before: Vec<i32> = descends()?.iter().map(|process| process.pid).collect();
        let client = self.join(name)?;
        let cluster = match self.world.orders.target.manifest.processes.model {
            model if model.is_per_client() => self.own_processes(model, name, &before)?,
            _ => self.whoever_serves(&client)?,
        };
        self.world.note("check", format!("{name} is served by {cluster}"));
        Ok((client, cluster))
    }

    fn witness_is_needed(&self) -> bool {
        let wire = &self.world.orders.target.manifest.wire;
        wire.has_lines() && !wire.comes_back()
    }

    /// The processes that have come with a client.
    fn own_processes(&self, model: Model, name: &str, before: &[i32]) -> Step<Cluster> {
        // Where a connection is served before it has asked, its process may be under way.
        let fresh = self.world.wait(self.world.patience(), || {
            let mut fresh = descends()?;
            fresh.retain(|p| !before.contains(&p.pid) && p.state != platform::State::Zombie);
            let has_child = fresh.iter().any(|process| process.parent == self.daemon());
            Ok((has_child || model == Model::Clusters).then_some(fresh))
        })?;
        let fresh = fresh.unwrap_or_default();
        let head = fresh.iter().find(|process| process.parent == self.daemon());
        let sender = match model {
            Model::Clusters => {
                head.and_then(|head| fresh.iter().find(|process| process.parent == head.pid))
            }
            _ => head,
        };
        let as_many = model != Model::Clusters || fresh.len() == 2;
        match (head, sender) {
            (Some(head), Some(sender)) if as_many => Ok(Cluster {
                receiver: head.pid,
                sender: sender.pid,
                others: fresh.iter().map(|process| process.pid).collect(),
            }),
            _ => fail(
                match model {
                    Model::Clusters => {
                        "a client is served by a child of the daemon, the receiver, and a child of \
                         that, the sender"
                    }
                    _ => "a client is served by a process of its own, a child of the daemon",
                },
                format!("{name} brought {} processes", fresh.len()),
            ),
        }
    }

    /// The process that has the other end of a client's connection open, found through the socket.
    fn whoever_serves(&self, client: &Client) -> Step<Cluster> {
        let own = client.stream.local_addr().or_error("local address")?;
        let at = client.stream.peer_addr().or_error("peer address")?;
        let mut untold = None;
        let found = self.world.wait(self.world.patience(), || {
            for process in descends()? {
                match platform::serves(process.pid, at, own) {
                    Ok(true) => return Ok(Some(process.pid)),
                    Ok(false) => {}
                    Err(reason) => untold = Some(reason),
                }
            }
            Ok(None)
        })?;
        match (found, untold) {
            (Some(pid), _) => Ok(Cluster { receiver: pid, sender: pid, others: vec![pid] }),
            (None, Some(reason)) => Err(Stop::NotRun(reason)),
            (None, None) => fail(
                format!("a process of the server has the connection of {} open", client.name),
                "none has",
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

    /// How many processes there are when no client is, and how many more with one. Nobody may be in.
    pub fn measure(&self) -> Step<Measured> {
        let model = self.world.orders.target.manifest.processes.model;
        let expected = self.world.orders.target.measured;
        // Where nothing tells about processes, nothing that takes their number is asked.
        if descends().is_err() {
            return Ok(expected);
        }
        self.dismiss_witness();
        let idle = self.settled()?;
        if !model.is_per_client() {
            return Ok(Measured { idle, per_client: 0 });
        }
        let (client, cluster) = self.join_with_cluster("carol")?;
        let witness = usize::from(self.witness.is_there());
        let with_one = self.settled()?;
        let per_client = with_one.saturating_sub(idle) / (1 + witness);
        self.world.note("check", format!("{idle} processes are idle; {cluster} came with carol"));
        drop(client);
        self.dismiss_witness();
        Ok(Measured { idle, per_client: per_client.max(expected.per_client) })
    }

    /// The number of its processes, when that has not changed for a while.
    fn settled(&self) -> Step<usize> {
        const A_WHILE: Duration = Duration::from_millis(200);
        let a_while = self.world.scaled(A_WHILE);
        let mut last = (self.living()?, Instant::now());
        let found = self.world.wait(self.world.patience(), || {
            let now = self.living()?;
            if now != last.0 {
                last = (now, Instant::now());
            }
            Ok((last.1.elapsed() >= a_while).then_some(now))
        })?;
        // A pool that is still growing is as large as it is.
        found.map_or_else(|| self.living(), Ok)
    }

    /// Ends the server while a client is in, and finds out what ends with it; fails if that is not as
    /// its manifest says.
    pub fn what_ends(&self) -> Step<Ends> {
        let stop = &self.world.orders.target.manifest.stop;
        let mut client = self.join("dora")?;
        self.end()?;
        let mut left = Vec::new();
        let gone = self.world.wait(self.world.end_limit(), || {
            left = descends().unwrap_or_default();
            Ok(left.is_empty().then_some(()))
        })?;
        client.pump();
        drop(client);
        let ends = if gone.is_some() { Ends::All } else { Ends::Daemon };
        if stop.ends == Some(Ends::All) && ends == Ends::Daemon {
            let names: Vec<String> = left.iter().map(Process::to_string).collect();
            return fail(
                format!(
                    "every process of the server ends at {} while a client is in, as stop.ends = \"all\" says",
                    stop.signal.0.as_str()
                ),
                format!("{} go on; say stop.ends = \"daemon\"", names.join(", ")),
            );
        }
        self.world.ends.set(stop.ends.unwrap_or(ends));
        Ok(self.world.ends())
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
        if self.world.ends() == Ends::Daemon {
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
    if world.ends() == Ends::Daemon {
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
