//! A server that listens: its processes, its end, and what is left after that. How clients come to it is
//! in `joining`, what only a running one tells of itself in `manners`.

use std::fs::File;
use std::io::{Read, Seek, SeekFrom};
use std::net::SocketAddr;
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;
use std::rc::Rc;
use std::time::Duration;

use forkproof_report::Failure;
use nix::sys::signal::Signal;

use super::client::Witness;
use super::locks::{HeldLock, LockMode, try_lock};
use super::processes::{self, descends};
use super::world::{Ending, Running, SERVES, World};
use crate::platform::{self, Process};
use crate::stop::{OrError, Outcome, Step, Stop, covered_by, ensure, fail};
use crate::subject::{Ends, Model};

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
            Some(ending) => format!("it {ending}"),
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

    /// What that holds.
    pub fn said_in_pid_file(&self) -> Step<std::io::Result<String>> {
        self.world.said_in(self.pid_file())
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
        self.log_from(0)
    }

    /// What the chat log holds from `position` to its end.
    pub fn log_from(&self, position: u64) -> Step<Vec<u8>> {
        self.world.act();
        self.read_log(position)?.or_error(self.log().display())
    }

    /// The same where it may not be there.
    pub fn read_log(&self, position: u64) -> Step<std::io::Result<Vec<u8>>> {
        self.as_owner(|log| {
            let mut bytes = Vec::new();
            let mut file = File::options().read(true).custom_flags(libc::O_NONBLOCK).open(log)?;
            if !file.metadata()?.is_file() {
                return Err(std::io::Error::other("it is no file"));
            }
            file.seek(SeekFrom::Start(position))?;
            file.read_to_end(&mut bytes)?;
            Ok(bytes)
        })
    }

    /// Does something with the log, with the rights that the server has: what it has laid in the log's
    /// place leads no further than it can go itself.
    pub fn as_owner<T>(&self, work: impl FnOnce(&Path) -> T) -> Step<T> {
        self.world.as_owner_of(self.log(), || work(self.log()))
    }

    /// Locks the log, if that is possible at once.
    pub fn try_lock(&self, mode: LockMode) -> Step<Option<HeldLock>> {
        self.as_owner(|log| try_lock(log, mode))?
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

    /// How many bytes it has said so far.
    pub fn output_length(&self) -> u64 {
        self.running.output.metadata().map_or(0, |metadata| metadata.len())
    }

    /// The server's processes that are still there, zombies included.
    pub fn processes(&self) -> Step<Vec<Process>> {
        let processes = descends()?;
        self.world.look_at(&processes);
        Ok(processes)
    }

    /// The process `pid`, if it is still there.
    pub fn process(&self, pid: i32) -> Step<Option<Process>> {
        Ok(self.processes()?.into_iter().find(|process| process.pid == pid))
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
                    Some(ending) => format!("{} {ending}", self.world.name(pid)),
                    None => format!("{} has ended, and its parent knows how", self.world.name(pid)),
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
            || format!("{} did not stop when it was sent SIGSTOP", self.world.name(pid)),
        )
    }

    /// Stops all processes that can accept a connection, and returns them. Also those that a pool has
    /// started while it was looked at: one that went on would accept everything.
    pub fn freeze_acceptors(&self) -> Step<Vec<i32>> {
        let mut frozen = Vec::new();
        loop {
            let running: Vec<i32> =
                self.acceptors()?.into_iter().filter(|pid| !frozen.contains(pid)).collect();
            if running.is_empty() {
                return Ok(frozen);
            }
            for &pid in &running {
                self.freeze(pid)?;
            }
            frozen.extend(running);
        }
    }

    /// Stops a process that does not hold the log's lock just then: whoever stands still with it
    /// keeps all others out, and nobody could blame the server.
    pub fn freeze_at_rest(&self, pid: i32) -> Outcome {
        const TRIES: usize = 10;
        let is_free = |limit| -> Step<bool> {
            let log = self.log();
            let look = || Ok(!log.exists() || self.try_lock(LockMode::Exclusive)?.is_some());
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
            || format!("{} is still there", self.world.name(self.daemon())),
        )
    }

    /// Sends `signal` to the daemon at once, whatever it is doing, and waits until it has ended; returns
    /// how.
    pub fn end_with(&self, signal: Signal) -> Step<Ending> {
        self.world.act();
        self.running.over.set(true);
        self.signal(self.daemon(), signal)?;
        let limit = self.world.end_limit();
        let status = self.world.wait(limit, || Ok(self.world.ending_of(self.daemon())))?;
        if let Some(ending) = status {
            return Ok(ending);
        }
        // One that was overlooked is told from one that is not obeyed.
        self.signal(self.daemon(), signal)?;
        let at_once = self.world.scaled(Duration::from_secs(1));
        let again = self.world.wait(at_once, || Ok(self.world.ending_of(self.daemon())))?;
        fail(
            format!("the server ends within {:.1} s of {signal}", limit.as_secs_f64()),
            match again {
                Some(_) => format!("its daemon is still there; after a second {signal} it ended"),
                None => "its daemon is still there".into(),
            },
        )
    }

    /// Waits for a moment until the daemon sleeps. What becomes of a signal between a look and the wait
    /// after it is what some requirements are about, and no affair of the others.
    fn comes_to_rest(&self) -> Outcome {
        const LOOKS: usize = 3;
        if self.running.over.get() {
            return Ok(());
        }
        let mut asleep = 0;
        self.world.wait(self.world.scaled(Duration::from_millis(200)), || {
            let Some(daemon) = self.process(self.daemon())? else { return Ok(Some(())) };
            asleep = if daemon.state == platform::State::Sleeping { asleep + 1 } else { 0 };
            Ok((asleep >= LOOKS).then_some(()))
        })?;
        Ok(())
    }

    /// Ends the server as its manifest says, once it sleeps; it must exit in time, and with the status
    /// that it should.
    pub fn end(&self) -> Outcome {
        self.dismiss_witness();
        self.comes_to_rest()?;
        self.end_now()
    }

    /// As [`end`](Self::end), whatever it is doing: where that is the point.
    pub fn end_now(&self) -> Outcome {
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
    pub fn dismiss_witness(&self) {
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
        if self.log().is_file() && self.try_lock(LockMode::Exclusive)?.is_none() {
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
