//! What checks are written with: a private server, clients with barriers, waits with deadlines, and
//! the evidence of all that happened.
//!
//! A check runs in a process of its own (see [`crate::warden`]), which may change itself as it
//! likes: namespaces, limits, dispositions. Everything here is therefore for one thread.

mod client;
mod crowd;
mod evidence;
mod launch;
mod options;
mod processes;
mod server;
mod surroundings;

use std::cell::{Cell, RefCell};
use std::fs::File;
use std::io::{Read, Write};
use std::path::{Path, PathBuf};
use std::rc::Rc;
use std::time::{Duration, Instant};

use nix::fcntl::OFlag;
use nix::sys::wait::waitpid;
use nix::unistd::{ForkResult, fork, pipe2, setsid};

pub use client::{Client, line_of};
pub use crowd::Crowd;
pub use evidence::{Evidence, Timeline, excerpt};
pub use options::Options;
use processes::reap;
pub use processes::{Cluster, HeldLock, LockMode, descends, lock, lock_waiters, try_lock};
pub use server::{Launched, Server};
pub(crate) use surroundings::enter as enter_surroundings;

use crate::platform;
use crate::target::{Target, Values};
use crate::verdict::{OrError, Outcome, Step, Stop, at_each_failure, fail};

/// How long a check waits for something that should happen at once, on an idle machine of
/// ordinary speed. Only a failure ever takes that long.
const PATIENCE: Duration = Duration::from_secs(5);

/// The places that a manifest can name, where they usually are, for a check in `dir`.
fn places(target: &Target, dir: &Path) -> Step<Values<'static>> {
    let manifest = &target.manifest;
    let own = std::env::current_exe().or_error("this program's own path")?;
    let parent = |path: &Path| path.parent().unwrap_or(Path::new("/")).to_owned();
    let manifest_dir = target.file.as_deref().map_or_else(|| parent(&own), parent);
    let mut values: Values<'static> = [
        ("dir", dir.to_owned()),
        ("program-dir", parent(&target.program)),
        ("program", target.program.clone()),
        ("manifest-dir", manifest_dir),
        ("forkproof", own),
    ]
    .map(|(name, path)| (name, path.into_os_string()))
    .into();
    let log = manifest.log.as_ref().and_then(|log| log.path.as_ref());
    for (name, template, usual) in
        [("log", log, "chat.log"), ("key-file", manifest.launch.key_file.as_ref(), "key")]
    {
        let path = match template {
            Some(template) => {
                template.fill(&values).map_err(|why| Stop::Error(format!("manifest: {why}")))?
            }
            None => dir.join(usual).into_os_string(),
        };
        values.insert(name, path);
    }
    Ok(values)
}

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
    /// What is to be told beside the verdict.
    remarks: RefCell<Vec<String>>,
    /// Of a part of the check that ran in another process.
    evidence_from_below: RefCell<Option<Evidence>>,
    serial: Cell<u64>,
    /// What was there when the check failed.
    pub(crate) scene: RefCell<Option<evidence::Scene>>,
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

    /// How long a server may take to end.
    pub(crate) fn end_limit(&self) -> Duration {
        self.scaled(self.orders.target.manifest.stop.limit.duration())
    }

    /// The places that a manifest can name, where they usually are.
    pub(crate) fn places(&self) -> Step<Values<'static>> {
        places(&self.orders.target, &self.orders.dir)
    }

    pub(crate) fn patience(&self) -> Duration {
        let timeout = self.orders.target.manifest.wire.auth_timeout;
        // A stranger may sit there for that long before it is closed.
        let stranger = timeout.map_or(Duration::ZERO, |timeout| timeout.duration());
        self.scaled(PATIENCE.max(stranger + Duration::from_secs(3)))
    }

    pub(crate) fn note(&self, who: &str, what: impl Into<String>) {
        self.timeline.borrow_mut().note(who, what.into());
    }

    /// `bytes` for the timeline: keys are counted, not shown, since reports travel.
    pub(crate) fn without_key(&self, bytes: &[u8]) -> String {
        const TELLING: usize = 8;
        let is_part = |key: &[u8]| match bytes.len() {
            0..TELLING => false,
            length if length <= key.len() => key.windows(length).any(|window| window == bytes),
            _ => {
                key.len() >= TELLING
                    && bytes.windows(TELLING).any(|window| window == &key[..TELLING])
            }
        };
        if self.servers.borrow().iter().any(|server| is_part(server.key())) {
            format!("the key or a part of it ({} bytes)", bytes.len())
        } else {
            excerpt(bytes)
        }
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
        let check = Self {
            world: Rc::new(World {
                orders,
                timeline: RefCell::new(Timeline::new()),
                ended: RefCell::default(),
                servers: RefCell::default(),
                remarks: RefCell::default(),
                evidence_from_below: RefCell::default(),
                serial: Cell::new(0),
                scene: RefCell::default(),
            }),
        };
        let world = Rc::downgrade(&check.world);
        at_each_failure(move || {
            if let Some(world) = world.upgrade() {
                *world.scene.borrow_mut() = Some(evidence::scene(&world));
            }
        });
        check
    }

    /// The private directory.
    pub fn dir(&self) -> &Path {
        &self.world.orders.dir
    }

    /// The server under test.
    pub fn target(&self) -> &Target {
        &self.world.orders.target
    }

    /// Where the chat log is, unless [`Options::log`] says otherwise.
    pub fn log_path(&self) -> Step<PathBuf> {
        Ok(PathBuf::from(self.world.places()?["log"].clone()))
    }

    /// Where the key is, unless [`Options::key_file`] says otherwise.
    pub fn key_path(&self) -> Step<PathBuf> {
        Ok(PathBuf::from(self.world.places()?["key-file"].clone()))
    }

    /// The ways to start the server that it has: in the foreground, in the background.
    pub fn launch_modes(&self) -> Vec<Options> {
        let target = self.target();
        let mut modes = vec![Options::new()];
        if target.manifest.options.daemon.is_some() && !target.manifest.launch.background {
            modes.push(Options::new().daemon());
        }
        modes
    }

    /// Starts a server with its defaults, on addresses that the system chooses.
    pub fn server(&mut self) -> Step<Server> {
        self.server_with(Options::new())
    }

    /// Starts a server that listens.
    pub fn server_with(&mut self, options: Options) -> Step<Server> {
        launch::start(&self.world, options)
    }

    /// Starts a server that may well refuse to; see [`Launched`].
    pub fn launch(&mut self, options: Options) -> Step<Launched> {
        launch::launch(&self.world, options)
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

    /// Lets exactly this much time pass, however slow the machine is: for what is itself about
    /// time, such as a key that comes late or a rate of messages.
    pub fn let_pass(&self, span: Duration) {
        std::thread::sleep(span);
        reap(&self.world);
    }

    /// Writes a remark into the timeline.
    pub fn note(&self, what: impl Into<String>) {
        self.world.note("check", what);
    }

    /// Tells something beside the verdict, in the report.
    pub fn remark(&self, what: impl Into<String>) {
        self.world.remarks.borrow_mut().push(what.into());
    }

    /// What the check has to tell beside its verdict.
    pub fn remarks(&self) -> Option<String> {
        let remarks = self.world.remarks.borrow();
        (!remarks.is_empty()).then(|| remarks.join("; "))
    }

    /// Runs `body`, and [`finish`](Self::finish), in a process namespace of its own, in which the
    /// next process has the id after `last`. What it starts is gone when this returns.
    pub fn in_private_processes(&mut self, last: i32, body: fn(&mut Check) -> Outcome) -> Outcome {
        platform::unshare_processes().map_err(Stop::NotRun)?;
        let (result, result_end) = pipe2(OFlag::O_CLOEXEC).or_error("pipe")?;
        // SAFETY: this process has one thread.
        match unsafe { fork() }.or_error("fork")? {
            ForkResult::Child => {
                drop(result);
                let outcome = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| {
                    // Session and group have no number in here as long as they are the parent's.
                    setsid().or_error("setsid")?;
                    platform::begin_private_processes(last).map_err(Stop::NotRun)?;
                    body(self)?;
                    self.finish()
                }))
                .unwrap_or_else(|_| Err(Stop::Error("the check panicked".into())));
                let told = outcome.map_err(|stop| (stop, self.evidence()));
                let written = serde_json::to_vec(&told)
                    .map_err(std::io::Error::from)
                    .and_then(|text| File::from(result_end).write_all(&text));
                // SAFETY: ends the process without running what its parent registered.
                unsafe { libc::_exit(i32::from(written.is_err())) }
            }
            ForkResult::Parent { child } => {
                drop(result_end);
                let mut text = Vec::new();
                File::from(result).read_to_end(&mut text).or_error("result")?;
                let status = waitpid(child, None).or_error("waitpid")?;
                let told: Result<(), (Stop, Evidence)> = serde_json::from_slice(&text)
                    .or_error(format_args!("the check below died without a finding: {status:?}"))?;
                told.map_err(|(stop, evidence)| {
                    *self.world.evidence_from_below.borrow_mut() = Some(evidence);
                    stop
                })
            }
        }
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
        let from_below = self.world.evidence_from_below.borrow_mut().take();
        from_below.unwrap_or_else(|| evidence::gather(&self.world))
    }
}
