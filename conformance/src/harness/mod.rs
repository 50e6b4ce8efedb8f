//! What checks are written with: a private server, clients with barriers, waits with deadlines, and
//! the evidence of all that happened.
//!
//! A check runs in a process of its own (see [`crate::warden`]), which may change itself as it
//! likes: namespaces, limits, dispositions. Everything here is therefore for one thread.

mod client;
mod crowd;
mod evidence;
mod processes;
mod server;

use std::cell::{Cell, RefCell};
use std::path::{Path, PathBuf};
use std::rc::Rc;
use std::time::{Duration, Instant};

pub use client::{Client, line_of};
pub use crowd::Crowd;
pub use evidence::{Evidence, Timeline, excerpt};
use processes::reap;
pub use processes::{Cluster, HeldLock, LockMode, descends, lock, lock_waiters, try_lock};
pub use server::{Launched, Options, Server};

use crate::target::Target;
use crate::verdict::{Outcome, Step, fail};

/// How long a check waits for something that should happen at once, on an idle machine of
/// ordinary speed. Only a failure ever takes that long.
const PATIENCE: Duration = Duration::from_secs(5);

/// What a check process was told by its warden.
#[derive(Debug, Clone)]
pub struct Orders {
    /// The private directory.
    pub dir: PathBuf,
    /// How much slower than an ordinary machine this one is: deadlines are this many times as
    /// long. At least 1.
    pub slowness: f64,
    /// The server under test.
    pub target: Target,
    /// Variables that servers are started with, besides those of this process.
    pub environment: Vec<(std::ffi::OsString, std::ffi::OsString)>,
}

/// The surroundings of one check, shared by its servers and clients.
#[derive(Debug)]
pub(crate) struct World {
    pub(crate) orders: Orders,
    pub(crate) timeline: RefCell<Timeline>,
    /// Orphans that this process has reaped, with how they ended.
    pub(crate) ended: RefCell<Vec<(i32, nix::sys::wait::WaitStatus)>>,
    pub(crate) servers: RefCell<Vec<Rc<server::Running>>>,
    serial: Cell<u64>,
}

impl World {
    /// A number that was not given out before.
    pub(crate) fn serial(&self) -> u64 {
        self.serial.set(self.serial.get() + 1);
        self.serial.get()
    }

    pub(crate) fn scaled(&self, duration: Duration) -> Duration {
        duration.mul_f64(self.orders.slowness)
    }

    pub(crate) fn patience(&self) -> Duration {
        self.scaled(PATIENCE)
    }

    pub(crate) fn note(&self, who: &str, what: impl Into<String>) {
        self.timeline.borrow_mut().note(who, what.into());
    }

    /// Waits until `condition` gives something, looking often, for at most `limit`.
    pub(crate) fn wait<T>(
        &self,
        limit: Duration,
        mut condition: impl FnMut() -> Step<Option<T>>,
    ) -> Step<Option<T>> {
        let deadline = Instant::now() + limit;
        let mut pause = Duration::from_micros(200);
        loop {
            reap(self);
            if let Some(found) = condition()? {
                return Ok(Some(found));
            }
            if Instant::now() >= deadline {
                return Ok(None);
            }
            // Between two looks at a condition that nothing announces.
            std::thread::sleep(pause);
            pause = (pause * 2).min(Duration::from_millis(10));
        }
    }
}

/// One check's way to everything it needs.
#[derive(Debug)]
pub struct Check {
    pub(crate) world: Rc<World>,
}

impl Check {
    /// Begins a check.
    pub fn new(orders: Orders) -> Self {
        Self {
            world: Rc::new(World {
                orders,
                timeline: RefCell::new(Timeline::new()),
                ended: RefCell::default(),
                servers: RefCell::default(),
                serial: Cell::new(0),
            }),
        }
    }

    /// The private directory.
    pub fn dir(&self) -> &Path {
        &self.world.orders.dir
    }

    /// The server under test.
    pub fn target(&self) -> &Target {
        &self.world.orders.target
    }

    /// Starts a server with its defaults, on addresses that the system chooses.
    pub fn server(&mut self) -> Step<Server> {
        self.server_with(Options::new())
    }

    /// Starts a server that listens.
    pub fn server_with(&mut self, options: Options) -> Step<Server> {
        server::start(&self.world, options)
    }

    /// Starts a server that may well refuse to; see [`Launched`].
    pub fn launch(&mut self, options: Options) -> Step<Launched> {
        server::launch(&self.world, options)
    }

    /// A duration on an ordinary machine, as long as it must be on this one.
    pub fn scaled(&self, duration: Duration) -> Duration {
        self.world.scaled(duration)
    }

    /// Waits until `condition` holds; fails with `expected` and `actual` when it doesn't within
    /// `limit` (as on an ordinary machine).
    pub fn until(
        &self,
        limit: Duration,
        expected: &str,
        mut condition: impl FnMut() -> Step<bool>,
        actual: impl FnOnce() -> String,
    ) -> Outcome {
        let limit = self.scaled(limit);
        match self.world.wait(limit, || Ok(condition()?.then_some(())))? {
            Some(()) => Ok(()),
            None => fail(expected, format!("{} (after {:.1} s)", actual(), limit.as_secs_f64())),
        }
    }

    /// Watches for `span` (as on an ordinary machine) that `condition` goes on holding.
    ///
    /// That something does not happen has no event to wait for, so this is the one place where
    /// time passes for its own sake.
    pub fn throughout(
        &self,
        span: Duration,
        expected: &str,
        mut condition: impl FnMut() -> Step<bool>,
        actual: impl FnOnce() -> String,
    ) -> Outcome {
        let broken = self.world.wait(self.scaled(span), || Ok((!condition()?).then_some(())))?;
        if broken.is_none() { Ok(()) } else { fail(expected, actual()) }
    }

    /// Writes a remark into the timeline.
    pub fn note(&self, what: impl Into<String>) {
        self.world.note("check", what);
    }

    /// After the last line of a check that passed: every server still up must be sane, end when
    /// told to, and leave nothing behind.
    pub fn finish(&mut self) -> Outcome {
        let servers = self.world.servers.borrow().clone();
        for server in &servers {
            server::check_sane(&self.world, server)?;
        }
        for server in &servers {
            server::end(&self.world, server)?;
        }
        let no_process_left = server::check_no_process_left(&self.world)?;
        for server in &servers {
            server::check_nothing_held(&self.world, server, no_process_left)?;
        }
        Ok(())
    }

    /// What there is to show for a failure.
    pub fn evidence(&self) -> Evidence {
        evidence::gather(&self.world)
    }
}
