//! Workers' processes: starting one, listening to it, ending it; and how soon one that failed is
//! started again.

use std::io::{self, ErrorKind, Read};
use std::os::fd::{AsRawFd, OwnedFd, RawFd};
use std::os::unix::net::UnixStream;
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::{Command, Stdio};
use std::rc::Rc;
use std::time::{Duration, Instant};

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

use crate::channel::{self, ORDER, Order, Report};
use crate::config::Config;
use crate::metrics::Figures;
use crate::platform;
use crate::privileges::Identity;
use crate::sockets::{Listener, pass};
use crate::worker::ARGUMENT;
use settings::StartError;

/// A worker that ends sooner has failed to work at all.
const STABLE: Duration = Duration::from_secs(1);
/// Pause before the third start in a row; it doubles from then on.
const FIRST_PAUSE: Duration = Duration::from_millis(100);
/// The longest pause.
const LONGEST_PAUSE: Duration = Duration::from_secs(30);
/// A line of a worker, at most. It comes from a process that reads what strangers send.
const LONGEST_LINE: usize = 1 << 20;
/// What a draining worker may take beyond its own limit.
const GRACE: Duration = Duration::from_secs(1);

/// How far a worker is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum State {
    Starting,
    Ready,
    /// It finishes what it has, until then.
    Draining(Instant),
    /// It has been sent SIGKILL.
    Killed,
}

/// One worker's process.
pub(crate) struct Worker {
    pub(crate) pid: Pid,
    pub(crate) generation: u64,
    pub(crate) slot: usize,
    pub(crate) state: State,
    pub(crate) channel: UnixStream,
    pub(crate) figures: Figures,
    pub(crate) heard: Instant,
    /// By how much it may be silent longer: there was no processor for it.
    excused: Duration,
    /// The worker's end of the channel is closed.
    pub(crate) closed: bool,
    started: Instant,
    received: Vec<u8>,
}

impl Worker {
    /// A worker that an earlier master started.
    pub(crate) fn adopt(
        pid: Pid,
        generation: u64,
        slot: usize,
        state: State,
        channel: OwnedFd,
    ) -> io::Result<Self> {
        let channel = UnixStream::from(channel);
        channel.set_nonblocking(true)?;
        Ok(Self {
            pid,
            generation,
            slot,
            state,
            channel,
            figures: Figures::default(),
            heard: Instant::now(),
            excused: Duration::ZERO,
            closed: false,
            started: Instant::now(),
            received: Vec::new(),
        })
    }

    /// Whether it fills its slot.
    pub(crate) fn works(&self) -> bool {
        matches!(self.state, State::Starting | State::Ready)
    }

    /// Takes in what the worker has said.
    pub(crate) fn listen(&mut self, drain_timeout: Duration) {
        let mut buffer = [0; 16 * 1024];
        loop {
            match self.channel.read(&mut buffer) {
                Ok(0) => {
                    self.closed = true;
                    break;
                }
                Ok(length) => self.received.extend_from_slice(&buffer[..length]),
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(_) => break,
            }
            if self.received.len() > LONGEST_LINE {
                return self.kill();
            }
        }
        while let Some(end) = self.received.iter().position(|&byte| byte == b'\n') {
            let line: Vec<u8> = self.received.drain(..=end).collect();
            let Ok(report) = serde_json::from_slice::<Report>(&line) else { continue };
            (self.heard, self.excused) = (Instant::now(), Duration::ZERO);
            self.figures = report.figures;
            match (self.state, report.ready) {
                (State::Starting, true) => self.state = State::Ready,
                // Somebody else told it to end.
                (State::Ready, false) => self.set_draining(drain_timeout),
                _ => {}
            }
        }
    }

    fn set_draining(&mut self, timeout: Duration) {
        self.state = State::Draining(Instant::now() + timeout + GRACE);
    }

    /// Asks the worker to end when its requests are answered.
    pub(crate) fn drain(&mut self, timeout: Duration) {
        if self.works() {
            if channel::send_drain(&self.channel).is_err() {
                return self.kill();
            }
            self.set_draining(timeout);
        }
    }

    /// Ends the worker at once.
    pub(crate) fn kill(&mut self) {
        let _ = kill(self.pid, Signal::SIGKILL);
        self.state = State::Killed;
    }

    /// Gives more time to a worker that is runnable but has had almost no processor since it last
    /// reported: it does not hang, and another one in its place would fare no better. Linux only.
    pub(crate) fn excuse_starvation(&mut self, config: &Config) {
        let (limit, silent) = match self.state {
            State::Starting => (config.start_timeout, self.started.elapsed()),
            _ => (config.health_timeout, self.heard.elapsed()),
        };
        let Ok(used) = platform::processor_time(Some(self.pid)) else { return };
        let since = used.saturating_sub(Duration::from_micros(self.figures.counters.processor));
        // One that spins comes to that, however small its share is.
        if since < limit / 2 && platform::is_runnable(self.pid) == Some(true) {
            self.excused = silent.saturating_sub(limit) + limit / 4;
        }
    }

    /// When the worker must have done what it is to do next.
    pub(crate) fn deadline(&self, config: &Config) -> Option<Instant> {
        let alive = self.heard + config.health_timeout + self.excused;
        match self.state {
            State::Starting => Some(self.started + config.start_timeout + self.excused),
            State::Ready => Some(alive),
            State::Draining(end) => Some(end.min(alive)),
            State::Killed => None,
        }
    }
}

/// The place of one worker, and how often its workers have failed in a row.
#[derive(Default)]
pub(crate) struct Slot {
    failures: u32,
    pub(crate) not_before: Option<Instant>,
}

impl Slot {
    /// A worker of this slot has ended unasked in `state`; tells how long the next has to wait.
    pub(crate) fn failed(&mut self, worker: &Worker, state: State) -> Duration {
        if worker.started.elapsed() >= STABLE && state != State::Starting {
            *self = Self::default();
            return Duration::ZERO;
        }
        self.cannot_start()
    }

    /// No worker could be started; tells how long the next try has to wait.
    pub(crate) fn cannot_start(&mut self) -> Duration {
        self.failures = self.failures.saturating_add(1);
        let pause = match self.failures {
            1 => Duration::ZERO,
            more => FIRST_PAUSE.saturating_mul(1 << (more - 2).min(16)).min(LONGEST_PAUSE),
        };
        self.not_before = Some(Instant::now() + pause);
        pause
    }
}

/// All workers of one configuration, and what they need.
pub(crate) struct Crew {
    pub(crate) generation: u64,
    pub(crate) config: Config,
    pub(crate) listeners: Vec<Rc<Listener>>,
    pub(crate) access_log: Option<OwnedFd>,
    pub(crate) identity: Option<Identity>,
    pub(crate) slots: Vec<Slot>,
}

impl Crew {
    /// A crew without any worker yet.
    pub(crate) fn new(
        generation: u64,
        config: Config,
        listeners: Vec<Rc<Listener>>,
    ) -> Result<Self, StartError> {
        let identity = crate::privileges::find(config.user.as_deref())?;
        let access_log = config.access_log.as_deref().map(|path| {
            crate::access_log::open(path).map_err(|error| {
                let why = settings::reason(&error);
                StartError::failure(format!("access log {}: {why}", path.display()))
            })
        });
        let access_log = access_log.transpose()?;
        let slots = (0..config.workers).map(|_| Slot::default()).collect();
        Ok(Self { generation, config, listeners, access_log, identity, slots })
    }

    /// Starts a worker for `slot`: fork, and exec of this program.
    pub(crate) fn start(
        &self,
        slot: usize,
        program: &Path,
        leading: &[std::ffi::OsString],
    ) -> io::Result<Worker> {
        let (ours, theirs) = UnixStream::pair()?;
        let mut passed: Vec<RawFd> =
            self.listeners.iter().map(|listener| listener.socket.as_raw_fd()).collect();
        let order = Order {
            config: self.config.clone(),
            channel: theirs.as_raw_fd(),
            listeners: passed.clone(),
            access_log: self.access_log.as_ref().map(AsRawFd::as_raw_fd),
            identity: self.identity.clone(),
        };
        passed.push(order.channel);
        passed.extend(order.access_log);
        let mut command = Command::new(platform::own_program(program));
        command.arg0(program).args(leading).arg(ARGUMENT).stdin(Stdio::null());
        command.env(ORDER, serde_json::to_string(&order)?);
        for name in crate::upgrade::OWN_VARIABLES {
            command.env_remove(name);
        }
        // SAFETY: between fork and exec only fcntl is called, and no error allocates.
        unsafe {
            command.pre_exec(move || Ok(passed.iter().try_for_each(|&passed| pass(passed))?));
        }
        let child = command.spawn()?;
        let pid = Pid::from_raw(child.id() as libc::pid_t);
        Worker::adopt(pid, self.generation, slot, State::Starting, ours.into())
    }
}
