//! The master: one loop that waits for signals, for its workers' signs of life, and for the next
//! deadline. It ends when it is told to, and for nothing else: what it cannot start now, for want
//! of processes or descriptors, it tries again later.

use std::ffi::OsString;
use std::io::Read;
use std::net::SocketAddr;
use std::os::fd::AsFd;
use std::os::unix::net::UnixStream;
use std::rc::Rc;
use std::time::{Duration, Instant};

use nix::errno::Errno;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sys::signal::Signal;
use nix::sys::wait::{WaitPidFlag, WaitStatus, waitpid};
use nix::unistd::{Pid, geteuid};
use settings::{StartError, reason};

use crate::config::Config;
use crate::diagnostics::say;
use crate::exposition::Exposition;
use crate::metrics::{self, MasterFigures, WorkerCounts};
use crate::notify::Notifier;
use crate::sockets::{self, Listener};
use crate::supervise::{Crew, State, Worker};
use crate::upgrade::{self, Program};
use crate::{access_log, announce, channel, platform, signals};

/// How long killed workers may take to be gone.
const KILLED: Duration = Duration::from_secs(5);

/// The master's state.
pub(crate) struct Master {
    pub(crate) program: Program,
    /// The arguments, for a reload.
    pub(crate) args: Vec<OsString>,
    pub(crate) woken: UnixStream,
    pub(crate) notifier: Notifier,
    pub(crate) alive_at: Option<Instant>,
    /// What serves.
    pub(crate) crew: Crew,
    /// What is to take its place, and until when that must have come about.
    pub(crate) next: Option<Next>,
    pub(crate) workers: Vec<Worker>,
    pub(crate) exposition: Exposition,
    /// Whether the sockets are a supervisor's: the configuration does not change them.
    pub(crate) activated: bool,
    pub(crate) figures: MasterFigures,
    /// Whether any worker has ever been ready.
    pub(crate) announced: bool,
    pub(crate) generation: u64,
    pub(crate) reload_wanted: bool,
    pub(crate) upgrade_wanted: bool,
    /// The installed program, asked whether it would take over, and until when.
    pub(crate) checking: Option<(Pid, Instant)>,
    /// When the workers that are left are killed, or given up.
    pub(crate) stopping: Option<Instant>,
}

/// What is to take the place of what serves.
pub(crate) struct Next {
    pub(crate) crew: Crew,
    pub(crate) deadline: Instant,
    /// The metrics' socket, if that is another one.
    pub(crate) metrics: Option<Option<Listener>>,
    pub(crate) upgrade: bool,
}

/// Serves as `config` says, until told to end.
pub(crate) fn run(config: Config, program: Program, args: Vec<OsString>) -> Result<(), StartError> {
    let pid_file = config.pid_file.clone();
    let ready_file = config.ready_file.clone();
    platform::name_process(c"webd");
    platform::raise_descriptors();
    let woken = signals::assume_master()
        .map_err(|error| StartError::failure(format!("signals: {}", reason(&error))))?;
    let mut master = match upgrade::State::left() {
        Some(state) => Master::resume(state, config, program, args, woken)?,
        None => Master::begin(config, program, args, woken)?,
    };
    let served = master.serve();
    if let Some(path) = &pid_file {
        announce::remove_pid(path);
    }
    if let Some(path) = &ready_file {
        let _ = std::fs::remove_file(path);
    }
    served
}

impl Master {
    pub(crate) fn new(
        crew: Crew,
        metrics: Option<Listener>,
        program: Program,
        args: Vec<OsString>,
        woken: UnixStream,
    ) -> Self {
        let notifier = Notifier::from_environment();
        Self {
            program,
            args,
            woken,
            alive_at: notifier.watchdog.map(|_| Instant::now()),
            notifier,
            generation: crew.generation,
            crew,
            next: None,
            workers: Vec::new(),
            exposition: Exposition::serving(metrics),
            activated: false,
            figures: MasterFigures::default(),
            announced: false,
            reload_wanted: false,
            upgrade_wanted: false,
            checking: None,
            stopping: None,
        }
    }

    fn begin(
        config: Config,
        program: Program,
        args: Vec<OsString>,
        woken: UnixStream,
    ) -> Result<Self, StartError> {
        let (web, metrics) = sockets::activated()?;
        let activated = !web.is_empty();
        let listeners = if activated {
            web
        } else {
            let (listeners, note) = sockets::open_all(&config.listen, sockets::AT_START)?;
            note.iter().for_each(|note| say(note));
            listeners
        };
        let metrics = match metrics.into_iter().next() {
            Some(listener) => Some(listener),
            None => config.metrics.map(open_metrics).transpose()?,
        };
        if geteuid().is_root() && config.user.is_none() {
            say("warning: workers run as root: name a user with --user");
        }
        if let Some(path) = &config.pid_file {
            announce::write_pid(path)?;
        }
        let listeners = listeners.into_iter().map(Rc::new).collect();
        let crew = Crew::new(1, config, listeners)?;
        Ok(Self { activated, ..Self::new(crew, metrics, program, args, woken) })
    }

    fn serve(&mut self) -> Result<(), StartError> {
        loop {
            // Workers that ended while the program was executed have said so to nobody.
            self.reap()?;
            if self.stopping.is_some() {
                if self.workers.is_empty() {
                    return Ok(());
                }
            } else {
                self.fill_slots();
                self.advance()?;
            }
            self.wait();
            self.take_signals();
            self.expire();
            if let (Some(at), Some(every)) = (self.alive_at, self.notifier.watchdog) {
                if at <= Instant::now() {
                    self.notifier.alive();
                    self.alive_at = Some(Instant::now() + every);
                }
            }
        }
    }

    /// Waits for a signal, a worker's word, somebody who wants metrics, or the next deadline; takes
    /// in what was said.
    fn wait(&mut self) {
        let (begin, deadline) = (Instant::now(), self.next_deadline());
        let timeout = match deadline {
            None => PollTimeout::NONE,
            Some(deadline) => {
                let left = deadline.saturating_duration_since(Instant::now());
                // Rounded up: else the last millisecond is waited for many times.
                let left = left + Duration::from_micros(999);
                PollTimeout::try_from(left).unwrap_or(PollTimeout::MAX)
            }
        };
        let speaking: Vec<bool> = {
            let mut waited = vec![PollFd::new(self.woken.as_fd(), PollFlags::POLLIN)];
            let open = self.workers.iter().filter(|worker| !worker.closed);
            waited.extend(open.map(|one| PollFd::new(one.channel.as_fd(), PollFlags::POLLIN)));
            let interests = self.exposition.interests();
            waited.extend(interests.into_iter().map(|(fd, events)| PollFd::new(fd, events)));
            match poll(&mut waited, timeout) {
                Ok(_) | Err(Errno::EINTR) => {}
                // Nothing that could be waited for, so it is time that is.
                Err(_) => std::thread::sleep(Duration::from_millis(100)),
            }
            waited.iter().map(|fd| fd.any().unwrap_or(false)).collect()
        };
        let health = self.crew.config.health_timeout;
        let late = deadline.map_or(Duration::ZERO, |deadline| deadline.max(begin).elapsed());
        if late > health / 4 {
            // The machine stood still, and the workers with it: they get time to say that they live.
            for worker in &mut self.workers {
                worker.heard = worker.heard.max(Instant::now() - health / 2);
            }
        }
        let _ = (&self.woken).read(&mut [0; 64]);
        let mut speaking = speaking.into_iter().skip(1);
        let drain_timeout = self.crew.config.drain_timeout;
        for worker in self.workers.iter_mut().filter(|worker| !worker.closed) {
            if speaking.next().unwrap_or(false) {
                worker.listen(drain_timeout);
            }
        }
        if speaking.any(|speaks| speaks) || self.exposition.is_busy() {
            let Self { exposition, figures, workers, generation, .. } = self;
            exposition.proceed(|| page(figures, workers, *generation));
        }
    }

    fn next_deadline(&self) -> Option<Instant> {
        let crews = [Some(&self.crew), self.next.as_ref().map(|next| &next.crew)];
        let incomplete = crews
            .into_iter()
            .flatten()
            .filter(|crew| self.stopping.is_none() && !self.is_complete(crew));
        let vacant = incomplete.flat_map(|crew| {
            let slots = crew.slots.iter().enumerate();
            let empty = slots.filter(|(slot, _)| !self.is_filled(crew.generation, *slot));
            empty.filter_map(|(_, slot)| slot.not_before)
        });
        let workers = self.workers.iter().filter_map(|worker| worker.deadline(&self.crew.config));
        vacant
            .chain(workers)
            .chain(self.exposition.deadline())
            .chain(self.alive_at)
            .chain(self.checking.map(|(_, deadline)| deadline))
            .chain(self.next.as_ref().map(|next| next.deadline))
            .chain(self.stopping)
            .min()
    }

    fn take_signals(&mut self) {
        if signals::take(Signal::SIGINT) | signals::take(Signal::SIGQUIT) {
            self.notifier.stopping();
            self.workers.iter_mut().for_each(Worker::kill);
            self.stopping = Some(Instant::now() + KILLED);
        }
        if signals::take(Signal::SIGTERM) && self.stopping.is_none() {
            self.notifier.stopping();
            let timeout = self.crew.config.drain_timeout;
            say(&format!(
                "SIGTERM: finishing what is under way, within {} s",
                timeout.as_secs_f64()
            ));
            self.workers.iter_mut().for_each(|worker| worker.drain(timeout));
            self.stopping = Some(Instant::now() + timeout + KILLED);
        }
        if self.stopping.is_some() {
            // Nobody is to find an open port behind which nothing answers.
            self.crew.listeners.clear();
            self.next = None;
        }
        if signals::take(Signal::SIGUSR1) {
            self.reopen_log();
        }
        self.reload_wanted |= signals::take(Signal::SIGHUP);
        self.upgrade_wanted |= signals::take(Signal::SIGUSR2);
    }

    fn reopen_log(&mut self) {
        let Some(path) = &self.crew.config.access_log else { return };
        match access_log::open(path) {
            Ok(log) => {
                for worker in &self.workers {
                    if let Err(error) = channel::send_log(&worker.channel, &log) {
                        let (pid, why) = (worker.pid, reason(&error));
                        say(&format!("worker {pid} keeps the old access log: {why}"));
                    }
                }
                self.crew.access_log = Some(log);
            }
            Err(error) => say(&format!(
                "access log {}: {}: the old one is kept",
                path.display(),
                reason(&error)
            )),
        }
    }

    /// Kills whoever has exceeded a deadline.
    fn expire(&mut self) {
        let now = Instant::now();
        for index in 0..self.workers.len() {
            let worker = &mut self.workers[index];
            let config = &self.crew.config;
            let expired =
                |worker: &Worker| worker.deadline(config).is_some_and(|deadline| deadline <= now);
            if !expired(worker) {
                continue;
            }
            worker.excuse_starvation(config);
            if !expired(worker) {
                continue;
            }
            let silence = worker.heard.elapsed().as_secs_f64();
            let (pid, state) = (worker.pid, worker.state);
            worker.kill();
            match state {
                State::Draining(_) => say(&format!("worker {pid} did not end in time: killed")),
                State::Starting => say(&format!("worker {pid} was not ready in time: killed")),
                _ => say(&format!("worker {pid} gave no sign of life for {silence:.1} s: killed")),
            }
            if matches!(state, State::Starting | State::Ready) {
                self.figures.replaced_hung += 1;
                self.slot_failed(index, state);
            }
        }
        if self.checking.is_some_and(|(_, deadline)| deadline <= now) {
            if let Some((pid, _)) = self.checking.take() {
                let _ = nix::sys::signal::kill(pid, Signal::SIGKILL);
            }
            self.reload_failed("upgrade", "the installed program does not answer");
        }
        if self.stopping.is_some_and(|deadline| deadline <= now) {
            // Not even SIGKILL ends them now (a file system that hangs): whoever reaps them later,
            // the server has ended.
            self.workers.clear();
        }
    }

    /// Collects every child that has ended, those of others too: as process 1, this one inherits
    /// them.
    fn reap(&mut self) -> Result<(), StartError> {
        let _ = signals::take(Signal::SIGCHLD);
        loop {
            let status = match waitpid(None, Some(WaitPidFlag::WNOHANG)) {
                Err(Errno::EINTR) => continue,
                Err(_) | Ok(WaitStatus::StillAlive) => return Ok(()),
                Ok(status) => status,
            };
            let Some(pid) = status.pid() else { continue };
            if self.checking.is_some_and(|(checking, _)| checking == pid) {
                self.checking = None;
                self.checked(status);
            } else if let Some(index) = self.workers.iter().position(|w| w.pid == pid) {
                self.buried(index, status)?;
            }
        }
    }

    /// A worker has ended.
    fn buried(&mut self, index: usize, status: WaitStatus) -> Result<(), StartError> {
        let state = self.workers[index].state;
        self.workers[index].listen(self.crew.config.drain_timeout);
        self.figures.past.add(&self.workers[index].figures.counters);
        let pid = self.workers[index].pid;
        let (how, code) = match status {
            WaitStatus::Signaled(_, signal, _) => (format!("was killed by {signal}"), None),
            WaitStatus::Exited(_, code) => (format!("ended with exit status {code}"), Some(code)),
            _ => ("ended".to_owned(), None),
        };
        match state {
            State::Killed => {}
            State::Draining(_) if code == Some(0) => {}
            State::Draining(_) => say(&format!("worker {pid} {how} while it drained")),
            State::Starting | State::Ready if self.stopping.is_some() => {}
            State::Starting | State::Ready => {
                match code {
                    Some(_) => self.figures.replaced_exit += 1,
                    None => self.figures.replaced_signal += 1,
                }
                let pause = self.slot_failed(index, state);
                let next = if pause.is_zero() {
                    "replaced at once".to_owned()
                } else {
                    format!("the next starts in {} s", pause.as_secs_f64())
                };
                say(&format!("worker {pid} {how}: {next}"));
                if !self.announced && code.is_some_and(|code| code != 0) {
                    // It has said why, and the next would say the same.
                    self.workers.iter_mut().for_each(Worker::kill);
                    return Err(StartError::failure("the workers cannot start"));
                }
            }
        }
        self.workers.swap_remove(index);
        Ok(())
    }

    /// A worker has failed in its place; tells how long the place stays empty.
    fn slot_failed(&mut self, index: usize, state: State) -> Duration {
        let worker = &self.workers[index];
        if self.next.as_ref().is_some_and(|next| next.crew.generation == worker.generation) {
            let why = format!("worker {} failed", worker.pid);
            self.give_up_next(&why);
            return Duration::ZERO;
        }
        let (generation, slot) = (worker.generation, worker.slot);
        match self.crew.slots.get_mut(slot).filter(|_| generation == self.crew.generation) {
            Some(slot) => slot.failed(worker, state),
            None => Duration::ZERO,
        }
    }

    /// Whether each slot of a crew is filled. (Asked at each turn, so without a look at each slot.)
    fn is_complete(&self, crew: &Crew) -> bool {
        let works = |worker: &&Worker| worker.generation == crew.generation && worker.works();
        self.workers.iter().filter(works).count() >= crew.slots.len()
    }

    fn is_filled(&self, generation: u64, slot: usize) -> bool {
        let fills = |worker: &Worker| worker.generation == generation && worker.slot == slot;
        self.workers.iter().any(|worker| worker.works() && fills(worker))
    }

    /// Starts a worker wherever one is missing and may start.
    pub(crate) fn fill_slots(&mut self) {
        let now = Instant::now();
        for is_next in [false, true] {
            let crew = match (is_next, &self.next) {
                (false, _) => &self.crew,
                (true, Some(next)) => &next.crew,
                (true, None) => continue,
            };
            if self.is_complete(crew) {
                continue;
            }
            let (generation, slots) = (crew.generation, crew.slots.len());
            for slot in 0..slots {
                if self.is_filled(generation, slot) {
                    continue;
                }
                let crew = match (is_next, &mut self.next) {
                    (true, Some(next)) => &mut next.crew,
                    _ => &mut self.crew,
                };
                if crew.slots[slot].not_before.is_some_and(|begin| begin > now) {
                    continue;
                }
                match crew.start(slot, &self.program.path, &self.program.leading) {
                    Ok(worker) => self.workers.push(worker),
                    Err(error) => {
                        let pause = crew.slots[slot].cannot_start().max(Duration::from_millis(100));
                        crew.slots[slot].not_before = Some(now + pause);
                        let (why, pause) = (reason(&error), pause.as_secs_f64());
                        say(&format!("cannot start a worker: {why}: next try in {pause} s"));
                    }
                }
            }
        }
    }

    /// Tells everyone who wants to know that the server serves.
    pub(crate) fn announce(&self) -> Result<(), StartError> {
        let listeners = &self.crew.listeners;
        let urls: Vec<String> =
            listeners.iter().map(|one| format!("http://{}/", one.address)).collect();
        let what = match &self.crew.config.directory {
            Some(directory) if self.crew.config.remotes.is_empty() => {
                directory.display().to_string()
            }
            _ => format!("{} remote workers", self.crew.config.remotes.len()),
        };
        let workers = self.crew.slots.len();
        let plural = if workers == 1 { "" } else { "s" };
        say(&format!("serving {what} on {} with {workers} worker{plural}", urls.join(" and ")));
        if let Some(path) = &self.crew.config.ready_file {
            let lines: String = listeners.iter().map(|one| format!("{}\n", one.address)).collect();
            announce::write_file(path, "ready file", &lines)?;
        }
        self.notifier.ready("serving");
        Ok(())
    }
}

pub(crate) fn open_metrics(address: SocketAddr) -> Result<Listener, StartError> {
    let listener = sockets::open(address).map_err(|errno| sockets::refusal(address, errno))?;
    say(&format!("metrics on http://{}/metrics", listener.address));
    Ok(listener)
}

fn page(figures: &MasterFigures, workers: &[Worker], generation: u64) -> String {
    let mut counts = WorkerCounts::default();
    for worker in workers {
        match worker.state {
            State::Starting => counts.starting += 1,
            State::Ready => counts.ready += 1,
            State::Draining(_) | State::Killed => counts.draining += 1,
        }
    }
    metrics::render(figures, &counts, generation, workers.iter().map(|worker| &worker.figures))
}
