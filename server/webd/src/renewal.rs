//! What takes the place of what serves: a reload's workers, or an upgrade's program. The new
//! workers come first, and the old ones go when all of those are ready; until then, whatever fails
//! leaves the server as it was.

use std::ffi::OsString;
use std::net::SocketAddr;
use std::os::fd::AsRawFd;
use std::os::unix::net::UnixStream;
use std::rc::Rc;
use std::time::{Duration, Instant};

use nix::errno::Errno;
use nix::sys::wait::WaitStatus;
use nix::unistd::Pid;
use settings::{StartError, reason};

use crate::config::{ArgsError, Config, Request};
use crate::diagnostics::say;
use crate::exposition::Exposition;
use crate::master::{Master, Next, open_metrics};
use crate::sockets::{self, Listener};
use crate::supervise::{Crew, State, Worker};
use crate::upgrade::{self, Program, WorkerState};

impl Master {
    /// Goes on after an upgrade's exec.
    pub(crate) fn resume(
        state: upgrade::State,
        config: Config,
        program: Program,
        args: Vec<OsString>,
        woken: UnixStream,
    ) -> Result<Self, StartError> {
        let lost = |errno: Errno| {
            StartError::failure(format!("upgrade: a socket was lost: {}", errno.desc()))
        };
        let inherited = |&descriptor: &i32| Listener::inherit(descriptor).map(Rc::new);
        let listeners: Result<Vec<_>, _> = state.listeners.iter().map(inherited).collect();
        let metrics = state.metrics.map(Listener::inherit).transpose().map_err(lost)?;
        let old = serde_json::from_value(state.config).unwrap_or_else(|_| config.clone());
        let crew = Crew::new(state.generation, old, listeners.map_err(lost)?)?;
        let mut master = Self::new(crew, metrics, program, args, woken);
        (master.activated, master.announced) = (state.activated, true);
        master.figures = state.figures;
        master.figures.upgrades += 1;
        for WorkerState { pid, generation, slot, ready, channel } in state.workers {
            let end = Instant::now() + master.crew.config.drain_timeout;
            let state = if ready { State::Ready } else { State::Draining(end) };
            let adopted = sockets::inherit(channel)
                .map_err(std::io::Error::from)
                .and_then(|c| Worker::adopt(Pid::from_raw(pid), generation, slot, state, c));
            match adopted {
                Ok(worker) => master.workers.push(worker),
                Err(error) => say(&format!("upgrade: worker {pid} is lost: {}", reason(&error))),
            }
        }
        say("upgrade: the new program runs; its workers start");
        match master.prepare(config) {
            Ok(next) => master.next = Some(Next { upgrade: true, ..next }),
            Err(error) => master.reload_failed("upgrade", &error.message),
        }
        Ok(master)
    }

    /// Goes on with what takes several steps: the start, a reload, an upgrade.
    pub(crate) fn advance(&mut self) -> Result<(), StartError> {
        let ready = |generation: u64| {
            let serves = |w: &&Worker| w.generation == generation && w.state == State::Ready;
            self.workers.iter().filter(serves).count()
        };
        if !self.announced && ready(self.crew.generation) > 0 {
            self.announced = true;
            self.announce()?;
        }
        if let Some(next) = &self.next {
            if ready(next.crew.generation) >= next.crew.slots.len() {
                self.take_over();
            } else if next.deadline <= Instant::now() {
                self.give_up_next("its workers were not ready in time");
            }
        }
        if self.next.is_some() || self.checking.is_some() || !self.announced {
            return Ok(());
        }
        if std::mem::take(&mut self.reload_wanted) {
            self.notifier.reloading();
            match self.read_configuration().and_then(|config| self.prepare(config)) {
                Ok(next) => self.next = Some(next),
                Err(error) => self.reload_failed("reload", &error.message),
            }
            self.fill_slots();
        } else if std::mem::take(&mut self.upgrade_wanted) {
            self.notifier.reloading();
            match self.program.check() {
                Ok(pid) => {
                    let deadline = Instant::now() + self.crew.config.start_timeout;
                    self.checking = Some((Pid::from_raw(pid as libc::pid_t), deadline));
                }
                Err(error) => self.reload_failed("upgrade", &reason(&error)),
            }
        }
        Ok(())
    }

    fn read_configuration(&self) -> Result<Config, StartError> {
        match Request::from_args(self.args.clone()) {
            Ok(Request::Serve(config)) => Ok(*config),
            Ok(_) => Err(StartError::usage("the arguments ask for something else")),
            Err(ArgsError::Start(error)) => Err(error),
            Err(ArgsError::Clap(error)) => Err(StartError::usage(error.to_string())),
        }
    }

    /// Gets ready what `config` needs, beside what serves now.
    fn prepare(&mut self, config: Config) -> Result<Next, StartError> {
        let old = &self.crew;
        let listeners = if self.activated || config.listen == old.config.listen {
            old.listeners.clone()
        } else {
            let kept = |address: &SocketAddr| {
                old.listeners.iter().find(|listener| listener.address == *address)
            };
            let (known, new): (Vec<SocketAddr>, Vec<SocketAddr>) =
                config.listen.iter().partition(|address| kept(address).is_some());
            let (opened, note) = sockets::open_all(&new, Duration::ZERO)?;
            note.iter().for_each(|note| say(note));
            let known = known.iter().filter_map(kept).map(Rc::clone);
            known.chain(opened.into_iter().map(Rc::new)).collect()
        };
        let metrics = if config.metrics == old.config.metrics {
            None
        } else {
            Some(config.metrics.map(open_metrics).transpose()?)
        };
        let deadline = Instant::now() + config.start_timeout;
        let crew = Crew::new(self.generation + 1, config, listeners)?;
        self.generation += 1;
        Ok(Next { crew, deadline, metrics, upgrade: false })
    }

    /// The new workers are ready: the old ones may go.
    fn take_over(&mut self) {
        let Some(next) = self.next.take() else { return };
        if let Some(metrics) = next.metrics {
            self.exposition = Exposition::serving(metrics);
        }
        let timeout = self.crew.config.drain_timeout;
        self.crew = next.crew;
        let generation = self.crew.generation;
        for worker in self.workers.iter_mut().filter(|worker| worker.generation < generation) {
            worker.drain(timeout);
        }
        let what = if next.upgrade { "upgrade" } else { "reload" };
        if !next.upgrade {
            self.figures.reloads += 1;
        }
        let workers = self.crew.slots.len();
        say(&format!("{what}: {workers} new workers serve; the old ones finish"));
        self.notifier.ready("serving");
    }

    pub(crate) fn give_up_next(&mut self, why: &str) {
        let Some(next) = self.next.take() else { return };
        let generation = next.crew.generation;
        let timeout = self.crew.config.drain_timeout;
        for worker in self.workers.iter_mut().filter(|worker| worker.generation == generation) {
            // One that is ready may have taken requests.
            worker.drain(timeout);
        }
        self.reload_failed(if next.upgrade { "upgrade" } else { "reload" }, why);
    }

    pub(crate) fn reload_failed(&mut self, what: &str, why: &str) {
        self.figures.reloads_failed += 1;
        say(&format!("{what} failed: {why}; serving as before"));
        self.notifier.ready(&format!("{what} failed; serving as before"));
    }

    /// The installed program has told whether it would take over.
    pub(crate) fn checked(&mut self, status: WaitStatus) {
        if !matches!(status, WaitStatus::Exited(_, 0)) {
            return self.reload_failed("upgrade", "the installed program refuses to start");
        }
        if self.stopping.is_some() {
            return;
        }
        let Ok(config) = serde_json::to_value(&self.crew.config) else { return };
        let worker = |worker: &Worker| WorkerState {
            pid: worker.pid.as_raw(),
            generation: worker.generation,
            slot: worker.slot,
            ready: worker.works(),
            channel: worker.channel.as_raw_fd(),
        };
        let state = upgrade::State {
            pid: std::process::id(),
            config,
            generation: self.crew.generation,
            listeners: self.crew.listeners.iter().map(|one| one.socket.as_raw_fd()).collect(),
            activated: self.activated,
            metrics: self.exposition.listener.as_ref().map(|one| one.socket.as_raw_fd()),
            workers: self.workers.iter().map(worker).collect(),
            figures: self.figures.clone(),
        };
        let error = self.program.execute(&state);
        self.reload_failed("upgrade", &reason(&error));
    }
}
