//! A worker's process: sockets, the channel to its master, and its end.

use std::cell::{Cell, RefCell};
use std::io;
use std::os::fd::{AsRawFd, OwnedFd};
use std::os::unix::net::UnixStream as StdUnixStream;
use std::process::ExitCode;
use std::rc::Rc;
use std::time::Duration;

use nix::sys::signal::Signal;
use settings::{StartError, reason};
use tokio::io::{AsyncReadExt, Interest};
use tokio::net::UnixStream;
use tokio::sync::{Notify, watch};
use tokio::time::{Instant, MissedTickBehavior};

use crate::accept::{AHEAD, Acceptors, Arrival};
use crate::access_log::AccessLog;
use crate::balance::{Pool, watch_health};
use crate::channel::{self, Command, ORDER, Order, Report};
use crate::config::Config;
use crate::connection;
use crate::files::Files;
use crate::limits::Limits;
use crate::metrics::Figures;
use crate::service::{Client, Service};
use crate::sockets::{Listener, inherit};
use crate::watch::{Timeouts, Watch};
use crate::{diagnostics, platform, privileges, signals};

/// The first argument of a worker's process.
pub(crate) const ARGUMENT: &str = "__worker";

/// How often a worker tells its master that it lives.
pub(crate) fn heartbeat(config: &Config) -> Duration {
    (config.health_timeout / 5).min(Duration::from_secs(1))
}

/// A worker's process, from its master's order to its exit status.
pub(crate) fn main() -> ExitCode {
    let outcome = (|| {
        let order = std::env::var(ORDER).ok();
        let order: Order = order
            .and_then(|text| serde_json::from_str(&text).ok())
            .ok_or_else(|| StartError::usage("a worker is started by its master only"))?;
        let taken = |errno: nix::Error| StartError::failure(format!("order: {}", errno.desc()));
        let channel = inherit(order.channel).map_err(taken)?;
        let log = order.access_log.map(inherit).transpose().map_err(taken)?;
        let listeners: Result<_, _> = order.listeners.into_iter().map(Listener::inherit).collect();
        serve(order.config, listeners.map_err(taken)?, Some(channel), log, order.identity.as_ref())
    })();
    match outcome {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            diagnostics::say(&error.message);
            ExitCode::from(error.status)
        }
    }
}

/// Serves from `listeners` until told to end: by the master at the other end of `channel`, or by a
/// signal.
pub(crate) fn serve(
    config: Config,
    listeners: Vec<Listener>,
    channel: Option<OwnedFd>,
    log: Option<OwnedFd>,
    identity: Option<&privileges::Identity>,
) -> Result<(), StartError> {
    platform::name_process(c"webd-worker");
    let failed = |what: &'static str| {
        move |error: io::Error| StartError::failure(format!("{what}: {}", reason(&error)))
    };
    let woken = signals::assume_worker(channel.is_some()).map_err(failed("signals"))?;
    platform::raise_descriptors();
    // Before the rights go: the directory may lie where the user has no way to. What is in it is opened
    // with the user's own rights.
    let files = match &config.directory {
        Some(directory) if config.remotes.is_empty() || config.local_shares > 0 => {
            Some(RefCell::new(Files::open(&config, directory)?))
        }
        _ => None,
    };
    privileges::assume(identity)?;
    if channel.is_some() {
        platform::continue_when_orphaned();
    }
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    let runtime = runtime.map_err(failed("event loop"))?;
    let service = Rc::new(Service {
        files,
        pool: (!config.remotes.is_empty()).then(|| Pool::new(&config)),
        figures: Rc::default(),
        log: log.map(|file| AccessLog::new(file, config.access_log_format)),
        draining: Cell::new(false),
        config,
    });
    let local = tokio::task::LocalSet::new();
    local.block_on(&runtime, async {
        let channel = channel.map(|channel| {
            let channel = StdUnixStream::from(channel);
            channel.set_nonblocking(true)?;
            UnixStream::from_std(channel)
        });
        let channel = channel.transpose().map_err(failed("channel"))?;
        let woken = UnixStream::from_std(woken).map_err(failed("signals"))?;
        let sockets = listeners.len();
        let acceptors = Acceptors::start(listeners).map_err(failed("accepting"))?;
        Worker::new(service, acceptors, sockets).run(channel, woken).await;
        Ok(())
    })
}

struct Worker {
    service: Rc<Service>,
    acceptors: Acceptors,
    limits: Rc<Limits>,
    timeouts: Timeouts,
    /// Connections that are open.
    open: Rc<Cell<usize>>,
    most_open: usize,
    /// A connection has ended.
    ended: Rc<Notify>,
    /// Connections that each socket may accept, and that have not arrived.
    allowed: Vec<usize>,
    draining: watch::Sender<bool>,
    drain_end: Option<Instant>,
}

/// Counts a connection as open.
struct Open(Rc<Cell<usize>>, Rc<Notify>);

impl Drop for Open {
    fn drop(&mut self) {
        self.0.set(self.0.get() - 1);
        self.1.notify_one();
    }
}

impl Worker {
    fn new(service: Rc<Service>, acceptors: Acceptors, sockets: usize) -> Self {
        let config = &service.config;
        Self {
            acceptors,
            limits: Limits::new(config.max_connections_per_address, config.rate),
            timeouts: Timeouts::of(config),
            open: Rc::default(),
            most_open: config.max_connections.div_ceil(config.workers).max(1),
            ended: Rc::default(),
            allowed: vec![0; sockets],
            draining: watch::Sender::new(false),
            drain_end: None,
            service,
        }
    }

    async fn run(mut self, channel: Option<UnixStream>, mut woken: UnixStream) {
        if let Some(pool) = &self.service.pool {
            for remote in &pool.remotes {
                let (path, every) =
                    (self.service.config.health_path.clone(), self.service.config.health_interval);
                let watching = watch_health(Rc::clone(remote), path, every);
                tokio::task::spawn_local(watching);
            }
        }
        self.allow();
        let mut beat = tokio::time::interval(heartbeat(&self.service.config));
        beat.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let mut master_lives = channel.is_some();
        let (mut unsent, mut signals) = (Vec::new(), [0; 64]);
        loop {
            if self.drain_end.is_some() && self.open.get() == 0 {
                break;
            }
            let end = self.drain_end.unwrap_or_else(|| Instant::now() + Duration::from_secs(3600));
            tokio::select! {
                Some(arrival) = self.acceptors.next() => self.begin(arrival),
                () = self.ended.notified() => self.allow(),
                command = next_command(channel.as_ref()), if master_lives => match command {
                    Some(Command::Log(file)) => {
                        if let Some(log) = &self.service.log {
                            log.borrow_mut().reopen(file);
                        }
                    }
                    Some(Command::Drain) => self.drain().await,
                    None => {
                        master_lives = false;
                        diagnostics::say("the master has gone: finishing what is under way");
                        self.drain().await;
                    }
                },
                _ = woken.read(&mut signals) => {
                    if signals::take(Signal::SIGTERM) | signals::take(Signal::SIGINT) {
                        self.drain().await;
                    }
                }
                _ = beat.tick() => {
                    self.limits.tidy();
                    if let Some(channel) = channel.as_ref().filter(|_| master_lives) {
                        self.report(channel, &mut unsent).await;
                    }
                }
                () = tokio::time::sleep_until(end) => {
                    diagnostics::say(&format!(
                        "the drain timeout is over: {} connections are broken off",
                        self.open.get()
                    ));
                    break;
                }
            }
        }
        if let Some(log) = &self.service.log {
            log.borrow_mut().write();
        }
        if let Some(channel) = channel.as_ref().filter(|_| master_lives) {
            self.report(channel, &mut unsent).await;
        }
    }

    fn begin(&mut self, (socket, stream, peer): Arrival) {
        self.allowed[socket] -= 1;
        self.start(stream, peer);
        self.allow();
    }

    /// Allows each socket a few connections ahead, if there is room, and one at least.
    fn allow(&mut self) {
        if self.drain_end.is_some() {
            return;
        }
        let open = self.open.get();
        let mut room = self.most_open.saturating_sub(open + self.allowed.iter().sum::<usize>());
        for (socket, allowed) in self.allowed.iter_mut().enumerate() {
            while *allowed < AHEAD && (room > 0 || (*allowed == 0 && open < self.most_open)) {
                *allowed += 1;
                room = room.saturating_sub(1);
                self.acceptors.allow(socket);
            }
        }
    }

    fn start(&self, stream: std::net::TcpStream, peer: std::net::SocketAddr) {
        let figures = &self.service.figures;
        let Some(admission) = self.limits.admit(peer.ip()) else {
            figures.borrow_mut().counters.refused += 1;
            return;
        };
        figures.borrow_mut().counters.accepted += 1;
        let Ok(stream) = tokio::net::TcpStream::from_std(stream) else { return };
        self.open.set(self.open.get() + 1);
        let open = Open(Rc::clone(&self.open), Rc::clone(&self.ended));
        let watch = Watch::new(self.timeouts, Rc::clone(figures));
        let client = Client { peer, watch, outgoing: Rc::default(), admission };
        let serving =
            connection::serve(Rc::clone(&self.service), client, stream, self.draining.subscribe());
        tokio::task::spawn_local(async move {
            serving.await;
            drop(open);
        });
    }

    /// Takes no more connections; what is there may finish.
    async fn drain(&mut self) {
        if self.drain_end.is_some() {
            return;
        }
        let under_way = self.open.get() + self.allowed.iter().sum::<usize>();
        self.acceptors.stop(self.most_open.saturating_sub(under_way)).await;
        self.drain_end = Some(Instant::now() + self.service.config.drain_timeout);
        self.service.draining.set(true);
        self.draining.send_replace(true);
        // What came at the last moment.
        while let Some((_, stream, peer)) = self.acceptors.next().await {
            self.start(stream, peer);
        }
    }

    /// Tells the master that this worker lives, and its figures. What the master does not read now
    /// is kept: a line is never torn.
    async fn report(&self, channel: &UnixStream, unsent: &mut Vec<u8>) {
        if unsent.is_empty() {
            let report = Report { ready: self.drain_end.is_none(), figures: self.figures() };
            if serde_json::to_writer(&mut *unsent, &report).is_err() {
                return;
            }
            unsent.push(b'\n');
        }
        while !unsent.is_empty() {
            match channel.try_write(unsent) {
                Ok(written) => drop(unsent.drain(..written)),
                Err(_) => break,
            }
        }
    }

    fn figures(&self) -> Figures {
        let mut figures = self.service.figures.borrow_mut();
        figures.gauges.descriptors = platform::open_descriptors().unwrap_or(0);
        figures.counters.processor =
            platform::processor_time(None).map_or(0, |time| time.as_micros() as u64);
        if let Some(files) = &self.service.files {
            let (bytes, count) = files.borrow().cache.size();
            (figures.gauges.cache_bytes, figures.gauges.cache_files) = (bytes, count);
        }
        if let Some(log) = &self.service.log {
            figures.counters.log_lines_lost += log.borrow_mut().take_lost();
        }
        if let Some(pool) = &self.service.pool {
            let status = |remote: &Rc<crate::balance::Remote<_>>| {
                (remote.address.to_string(), remote.is_healthy(), remote.active())
            };
            figures.remotes = pool.remotes.iter().map(status).collect();
        }
        figures.clone()
    }
}

/// The master's next command; `None` when it has gone.
async fn next_command(channel: Option<&UnixStream>) -> Option<Command> {
    let channel = channel?;
    loop {
        let received =
            channel.async_io(Interest::READABLE, || channel::receive(channel.as_raw_fd())).await;
        match received {
            Ok(command) => return command,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(_) => return None,
        }
    }
}
