//! Waiting until a server that was started listens, or has ended; and finding its daemon.

use std::cell::Cell;
use std::collections::HashMap;
use std::fs::File;
use std::io::Read;
use std::net::{Ipv4Addr, SocketAddr, TcpStream};
use std::path::{Path, PathBuf};
use std::rc::Rc;
use std::time::{Duration, Instant};

use super::announcement::{Said, address, read_announcement, said_in};
use super::invocation::Invocation;
use crate::harness::client::Witness;
use crate::harness::processes::descends;
use crate::harness::server::{Launched, Server};
use crate::harness::world::{Ending, Running, World, tail};
use crate::platform::{self, State};
use crate::stop::{OrError, Step, Stop, fail};
use crate::subject::{DaemonIs, ReadyBy};

/// What became of what was started, as far as is known.
enum Sign {
    Listens(Vec<SocketAddr>),
    Ended(Ending),
    /// It does neither within its time.
    Silent,
}

/// A server that was started, of which nothing more is known yet.
pub(super) struct Spawned {
    pub(super) world: Rc<World>,
    pub(super) launcher: i32,
    pub(super) before: Vec<i32>,
    pub(super) begin: Instant,
    pub(super) output: PathBuf,
    pub(super) ready_limit: Duration,
    /// The command line, for whoever has to try it.
    pub(super) command: String,
}

impl Spawned {
    pub(super) fn follow(self, invocation: &Invocation) -> Step<Launched> {
        let world = &self.world;
        let sign = match world.orders.target.manifest.ready.by {
            ReadyBy::Descriptor => self.announcement(invocation)?,
            ReadyBy::Output if invocation.is_unheard => self.watch(ReadyBy::Port, invocation)?,
            by => self.watch(by, invocation)?,
        };
        let (status, addresses) = match sign {
            Sign::Silent => {
                return fail(
                    format!(
                        "the server listens within {:.1} s, or ends",
                        self.ready_limit.as_secs_f64()
                    ),
                    format!(
                        "it does neither; it says: {}; it was started as: {}",
                        last_words(&self.output),
                        self.command
                    ),
                );
            }
            Sign::Ended(status) => (Some(status), Vec::new()),
            // Whoever goes into the background leaves its launcher to return.
            Sign::Listens(addresses) if invocation.in_background => {
                (Some(self.launcher_returns()?), addresses)
            }
            Sign::Listens(addresses) => (None, addresses),
        };
        let server = if addresses.is_empty() {
            None
        } else {
            let daemon = match invocation.in_background {
                true => self.daemon(invocation)?,
                false => self.launcher,
            };
            let witness = Rc::new(Witness::new(invocation.key.clone(), addresses[0]));
            let running = Rc::new(Running {
                name: format!("server {}", invocation.number),
                daemon: Cell::new(daemon),
                addresses,
                log: invocation.log.clone(),
                pid_file: invocation.pid_file.clone(),
                key: invocation.key.clone(),
                output: self.output.clone(),
                over: Cell::new(false),
            });
            world.note("check", format!("{} listens on {:?}", running.name, running.addresses));
            world.servers.borrow_mut().push(running.clone());
            Some(Server { world: world.clone(), running, witness })
        };
        Ok(Launched {
            ending: status,
            output: tail(&self.output, 16 * 1024),
            server,
            command: self.command,
        })
    }

    /// What a server that has a ready descriptor says there.
    fn announcement(&self, invocation: &Invocation) -> Step<Sign> {
        let Some(ready) = &invocation.ready else {
            return Err(Stop::Error("no ready descriptor".into()));
        };
        let ready = ready.try_clone().or_error("ready descriptor")?;
        let announced = read_announcement(ready, self.begin + self.ready_limit)?;
        let mut addresses = Vec::new();
        for line in announced.lines().map(str::trim).filter(|line| !line.is_empty()) {
            match address(line) {
                Some(address) => addresses.push(address),
                None => {
                    return Err(Stop::Error(format!(
                        "the target's ready descriptor says `{}`, which is no ADDRESS:PORT",
                        line.escape_debug()
                    )));
                }
            }
        }
        if !addresses.is_empty() {
            return Ok(Sign::Listens(addresses));
        }
        self.launcher_returns().map(Sign::Ended)
    }

    /// The launcher's end, which must come in time.
    fn launcher_returns(&self) -> Step<Ending> {
        let world = &self.world;
        let limit = self.ready_limit;
        match world.wait(limit, || Ok(world.ending_of(self.launcher)))? {
            Some(status) => Ok(status),
            None => fail(
                "the launcher says within its time whether the server listens",
                format!("nothing after {:.0} s", limit.as_secs_f64()),
            ),
        }
    }

    /// Waits until the server's sign is there, or the server is gone.
    fn watch(&self, by: ReadyBy, invocation: &Invocation) -> Step<Sign> {
        let world = &self.world;
        let left = self.ready_limit.saturating_sub(self.begin.elapsed());
        /// A table that is read while processes come and go may lack one that is there. So many
        /// looks, one after the other, do not lack the same.
        const LOOKS: usize = 3;
        let mut looks = 0;
        let sign = world.wait(left, || {
            if let (Some(status), false) =
                (world.ending_of(self.launcher), invocation.in_background)
            {
                return Ok(Some(Sign::Ended(status)));
            }
            let seen = match by {
                ReadyBy::Descriptor => None,
                ReadyBy::Port => {
                    invocation.address.filter(|at| self.listens(*at)).map(|at| vec![at])
                }
                ReadyBy::File => {
                    let there = invocation.ready_file.as_ref().is_some_and(|file| {
                        std::fs::metadata(file).is_ok_and(|metadata| metadata.len() > 0)
                    });
                    invocation.address.filter(|_| there).map(|at| vec![at])
                }
                ReadyBy::Output => self.said_line(invocation)?,
            };
            if let Some(addresses) = seen {
                return Ok(Some(Sign::Listens(addresses)));
            }
            match world.ending_of(self.launcher) {
                Some(status @ Ending::Exit(0)) if invocation.in_background => {
                    // Its daemon may be under way, as long as there is one.
                    // What has lost its parent is a child of this process, so without one all of
                    // it is gone.
                    let has_children = world.reap();
                    let Ok(left) = descends() else {
                        return Ok((!has_children).then_some(Sign::Ended(status)));
                    };
                    looks = if self.own(left).is_empty() { looks + 1 } else { 0 };
                    Ok((!has_children || looks >= LOOKS).then_some(Sign::Ended(status)))
                }
                Some(status) => Ok(Some(Sign::Ended(status))),
                None => Ok(None),
            }
        })?;
        Ok(sign.unwrap_or(Sign::Silent))
    }

    /// The addresses that the server's line tells, once it is there.
    fn said_line(&self, invocation: &Invocation) -> Step<Option<Vec<SocketAddr>>> {
        /// A line that says that a server is ready is among its first.
        const LOOKED_AT: u64 = 1 << 20;
        let Some(template) = &invocation.ready_line else { return Ok(None) };
        let mut bytes = Vec::new();
        let file = File::open(&self.output).or_error("server's output")?;
        file.take(LOOKED_AT).read_to_end(&mut bytes).or_error("server's output")?;
        let text = String::from_utf8_lossy(&bytes);
        // The last line may not be whole yet.
        let whole = text.split_inclusive('\n').filter(|line| line.ends_with('\n'));
        for line in whole {
            if let Some(said) = said_in(template, line.trim_end())? {
                return Ok(Some(match said {
                    Said::Address(address) => vec![address],
                    Said::Port(port) => vec![SocketAddr::from((Ipv4Addr::LOCALHOST, port))],
                    Said::Nothing => invocation.address.into_iter().collect(),
                }));
            }
        }
        Ok(None)
    }

    /// The process that accepts connections, when the launcher has left it behind.
    fn daemon(&self, invocation: &Invocation) -> Step<i32> {
        let world = &self.world;
        let own = std::process::id() as i32;
        let found = |is: &dyn Fn(&platform::Process) -> bool| -> Step<Vec<i32>> {
            let mut found = descends()?;
            let is_new =
                |p: &platform::Process| p.pid != self.launcher && !self.before.contains(&p.pid);
            found.retain(|p| is_new(p) && p.state != State::Zombie && is(p));
            Ok(found.iter().map(|process| process.pid).collect())
        };
        // A table that is read while processes come and go may lack one that is there.
        let awaited = |is: &dyn Fn(&platform::Process) -> bool| -> Step<Vec<i32>> {
            let some = world.wait(world.patience(), || {
                Ok(Some(found(is)?).filter(|found| !found.is_empty()))
            })?;
            Ok(some.unwrap_or_default())
        };
        let (candidates, how) = match world.orders.target.manifest.launch.daemon {
            DaemonIs::InPidFile => {
                let path = &invocation.pid_file;
                let said = || -> Step<String> { Ok(world.said_in(path)?.unwrap_or_default()) };
                // Whatever a file says: only a process of this check is the server's.
                let pid = world.wait(world.patience(), || {
                    let pid = said()?.trim().parse::<i32>().ok();
                    let own = descends()?;
                    let is_new = |pid| !self.before.contains(&pid);
                    Ok(pid.filter(|&pid| is_new(pid) && own.iter().any(|one| one.pid == pid)))
                })?;
                if pid.is_none() && invocation.left_in_pid_file.is_some() {
                    return fail(
                        "the server puts its own process id into the pid file that it finds",
                        format!("the file still holds `{}`", said()?.trim().escape_debug()),
                    );
                }
                return match pid {
                    Some(pid) => Ok(pid),
                    // In the rehearsal it is the manifest that is wrong.
                    None => fail(
                        "the pid file holds the process id of the daemon",
                        format!(
                            "the pid file {} holds `{}`, which is no process of this check",
                            path.display(),
                            said()?.trim().escape_debug()
                        ),
                    ),
                };
            }
            DaemonIs::Orphan => (awaited(&|p| p.parent == own)?, "have lost their parent"),
            DaemonIs::SessionLeader => (awaited(&|p| p.session == p.pid)?, "lead a session"),
        };
        // Of several the daemon is the one that listens.
        let port = invocation.address.map(|address| address.port());
        let those_that_listen = |candidates: Vec<i32>| -> Vec<i32> {
            let listens =
                |&pid: &i32| port.is_some_and(|port| platform::listens(pid, port).unwrap_or(false));
            let listening: Vec<i32> = candidates.iter().copied().filter(listens).collect();
            if listening.is_empty() { candidates } else { listening }
        };
        let candidates = those_that_listen(candidates);
        match candidates.as_slice() {
            [one] if world.orders.target.manifest.launch.daemon == DaemonIs::Orphan => {
                let next = || found(&|p| p.parent == own && p.pid != *one).map(those_that_listen);
                self.settled(*one, invocation, next)
            }
            [one] => Ok(*one),
            several => Err(Stop::Error(format!(
                "{} processes of the target {how}, so which of them is the daemon cannot be told: \
                 see launch.daemon",
                several.len()
            ))),
        }
    }

    /// The daemon, which is `one` unless that is about to leave it to a child: who forks twice leads a
    /// session in between, with everything open already.
    fn settled(
        &self,
        one: i32,
        invocation: &Invocation,
        next: impl Fn() -> Step<Vec<i32>>,
    ) -> Step<i32> {
        /// For a process that has nothing to do any more but to fork and to end.
        const BETWEEN: Duration = Duration::from_millis(300);
        let world = &self.world;
        let settled = world.wait(world.scaled(BETWEEN), || {
            let table = descends()?;
            match table.iter().find(|p| p.pid == one && p.state != State::Zombie) {
                Some(process) if process.session != one => return Ok(Some(one)),
                Some(_) => {
                    let said = world.said_in(&invocation.pid_file)?.unwrap_or_default();
                    return Ok((said.trim().parse() == Ok(one)).then_some(one));
                }
                None => {}
            }
            Ok(match next()?.as_slice() {
                [next] => Some(*next),
                _ => None,
            })
        })?;
        Ok(settled.unwrap_or(one))
    }

    /// Those that live and came with this server. What another one of this check forks meanwhile is that
    /// one's.
    fn own(&self, table: Vec<platform::Process>) -> Vec<platform::Process> {
        let parents: HashMap<i32, i32> = table.iter().map(|one| (one.pid, one.parent)).collect();
        let is_new = |pid: i32| {
            let ancestors = std::iter::successors(Some(pid), |pid| parents.get(pid).copied());
            // A table that is read while processes end and begin may hold a circle.
            !ancestors.take(parents.len() + 1).any(|pid| self.before.contains(&pid))
        };
        let lives = |one: &platform::Process| one.state != State::Zombie && is_new(one.pid);
        table.into_iter().filter(lives).collect()
    }

    /// Whether a process of this server listens at `at`. A stranger that has the port is none, and
    /// neither is another server of this check.
    fn listens(&self, at: SocketAddr) -> bool {
        // Asked without a connection where that is possible: one more client is one more process.
        let listening = platform::is_listening(at.port());
        if listening == Some(false) {
            return false;
        }
        let mut told = false;
        if let Ok(processes) = descends() {
            let processes = self.own(processes);
            let mut answers: Vec<_> = processes
                .iter()
                .map(|process| (process.pid, platform::listens(process.pid, at.port())))
                .collect();
            // One that has gone meanwhile is not one that does not let itself be looked at.
            if answers.iter().any(|(_, answer)| answer.is_err()) {
                let left = descends().unwrap_or_default();
                let is_left = |pid: i32| {
                    left.iter().any(|process| process.pid == pid && process.state != State::Zombie)
                };
                answers.retain(|(pid, answer)| answer.is_ok() || is_left(*pid));
            }
            let answers: Vec<_> = answers.into_iter().map(|(_, answer)| answer).collect();
            if answers.contains(&Ok(true)) {
                return true;
            }
            // Where a process does not let itself be looked at, it may be that one.
            told = answers.iter().all(Result::is_ok);
        }
        !told && listening.unwrap_or_else(|| TcpStream::connect(at).is_ok())
    }
}

fn last_words(output: &Path) -> String {
    let said = tail(output, 2048);
    match said.trim() {
        "" => "nothing".into(),
        words => words.replace('\n', " / "),
    }
}
