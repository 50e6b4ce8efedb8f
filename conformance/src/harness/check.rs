//! One check's way to everything it needs: servers, waits, remarks, and what there is to show.

use std::cell::{Cell, RefCell};
use std::ffi::OsString;
use std::os::unix::fs::lchown;
use std::path::{Path, PathBuf};
use std::rc::Rc;
use std::time::Duration;

use forkproof_report::{Evidence, Failure};
use nix::unistd::setsid;

use super::evidence;
use super::launch;
use super::locks::{HeldLock, LockMode, try_lock};
use super::options::Options;
use super::prepare;
use super::record::Timeline;
use super::server::{self, Launched, Server};
use super::world::{Orders, SERVES, World};
use crate::offspring::Offspring;
use crate::personality::{self, Selected};
use crate::platform;
use crate::stop::{OrError, Outcome, Step, Stop, at_each_failure, fail};
use crate::subject::{Claim, Target, Template};

/// One check's way to everything it needs.
#[derive(Debug)]
pub struct Check {
    world: Rc<World>,
    /// What it has started, and listened.
    servers: Vec<Server>,
}

impl Check {
    /// Begins a check.
    pub fn new(orders: Orders) -> Self {
        let ends = orders.target.ends();
        let check = Self {
            world: Rc::new(World {
                orders,
                timeline: RefCell::new(Timeline::new()),
                ended: RefCell::default(),
                seen: RefCell::default(),
                servers: RefCell::default(),
                remarks: RefCell::default(),
                evidence_from_below: RefCell::default(),
                serial: Cell::new(0),
                sent: RefCell::default(),
                acting: Cell::new(false),
                scene: RefCell::default(),
                ends: Cell::new(ends),
                keys: RefCell::default(),
                interposed: RefCell::default(),
                owner: Cell::new(None),
                given: RefCell::default(),
            }),
            servers: Vec::new(),
        };
        let world = Rc::downgrade(&check.world);
        at_each_failure(move || {
            if let Some(world) = world.upgrade() {
                *world.scene.borrow_mut() = Some(evidence::scene(&world));
            }
        });
        check
    }

    /// The directory for what servers have to do with.
    pub fn dir(&self) -> &Path {
        &self.world.orders.dir
    }

    /// The server under test.
    pub fn target(&self) -> &Target {
        &self.world.orders.target
    }

    /// A text of the manifest with the check's places filled in.
    pub fn fill(&self, template: &Template) -> Step<OsString> {
        template.fill(&self.world.places()?).map_err(|why| Stop::Error(format!("manifest: {why}")))
    }

    /// Where the chat log is, unless [`Options::log`] says otherwise.
    pub fn log_path(&self) -> Step<PathBuf> {
        Ok(PathBuf::from(self.world.places()?["log"].clone()))
    }

    /// Where the key is, unless [`Options::key_file`] says otherwise.
    pub fn key_path(&self) -> Step<PathBuf> {
        Ok(PathBuf::from(self.world.places()?["key-file"].clone()))
    }

    /// `wanted` clients, or as many as the server serves at a time.
    pub fn up_to(&self, wanted: usize) -> usize {
        self.world.up_to(wanted)
    }

    /// That the server serves so many clients at a time, without which a check means nothing.
    pub fn needs_clients(&self, count: usize) -> Outcome {
        self.world.needs_clients(count)
    }

    /// Whether the server claims `claim`.
    pub fn has(&self, claim: Claim) -> bool {
        self.target().has(claim)
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

    /// Runs what the manifest wants run once a run.
    pub fn prepare_once(&self) -> Outcome {
        prepare::once(&self.world)
    }

    /// Says that the set-up is over: from here on, what fails is what the requirement is about, also
    /// a server's start or a client's being let in. Whatever else a check does says so by itself.
    pub fn act(&self) {
        self.world.act();
    }

    /// Starts a server with its defaults, on addresses that the system chooses.
    pub fn server(&mut self) -> Step<Server> {
        let started = self.start(Options::new());
        self.world.step(SERVES, started)
    }

    /// Starts a server that listens.
    pub fn server_with(&mut self, options: Options) -> Step<Server> {
        self.world.act();
        self.start(options)
    }

    fn start(&mut self, options: Options) -> Step<Server> {
        let launched = self.start_or_not(options)?;
        launched.server.clone().ok_or_else(|| launched.refusal())
    }

    /// Starts a server that may well refuse to; see [`Launched`].
    pub fn launch(&mut self, options: Options) -> Step<Launched> {
        self.world.act();
        self.start_or_not(options)
    }

    fn start_or_not(&mut self, options: Options) -> Step<Launched> {
        let launched = launch::launch(&self.world, options)?;
        self.servers.extend(launched.server.clone());
        Ok(launched)
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
        condition: impl FnMut() -> Step<bool>,
        actual: impl FnOnce() -> String,
    ) -> Outcome {
        self.world.act();
        self.world.until(limit, expected, condition, actual)
    }

    /// Waits until `condition` holds, for at most `limit` (as on an ordinary machine); whether it
    /// does.
    pub fn reaches(
        &self,
        limit: Duration,
        mut condition: impl FnMut() -> Step<bool>,
    ) -> Step<bool> {
        let reached = self.world.wait(self.scaled(limit), || Ok(condition()?.then_some(())))?;
        Ok(reached.is_some())
    }

    /// Locks `path`, waiting for it: the other program of the requirements.
    pub fn lock(&self, path: &Path, mode: LockMode) -> Step<HeldLock> {
        self.world.act();
        let held = self.world.wait(self.world.patience(), || self.try_lock(path, mode))?;
        let Some(held) = held else {
            return fail(
                format!("another program gets {mode} flock on the chat log while nobody speaks"),
                "the server keeps the log locked",
            );
        };
        self.note(format!("takes {mode} lock on the log"));
        Ok(held)
    }

    /// Does something with `path`: with the server's rights where that is the server's, so that what
    /// it has laid there leads no further than it can go itself.
    pub fn as_owner_of<T>(&self, path: &Path, work: impl FnOnce() -> T) -> Step<T> {
        self.world.as_owner_of(path, work)
    }

    /// Lays a file for a server to find, which is the user's that it is started as. No link is followed:
    /// an earlier server of the check may have owned the directory.
    pub fn lay(&self, path: &Path, content: &[u8]) -> Outcome {
        let write = || prepare::write_file(path, content, 0o644);
        self.world.as_owner_of(path, write)?.or_error(path.display())?;
        match prepare::user_of(&self.world)? {
            Some(user) => lchown(path, Some(user.id), Some(user.group)).or_error(path.display()),
            None => Ok(()),
        }
    }

    /// Locks `path`, if that is possible at once.
    pub fn try_lock(&self, path: &Path, mode: LockMode) -> Step<Option<HeldLock>> {
        self.world.as_owner_of(path, || try_lock(path, mode))?
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
        self.world.act();
        // What a broken server does in that time takes its time, too.
        let span = self.scaled(span).max(span);
        let broken = self.world.wait(span, || Ok((!condition()?).then_some(())))?;
        if broken.is_none() { Ok(()) } else { fail(expected, actual()) }
    }

    /// Lets exactly this much time pass, however slow the machine is: for what is itself about
    /// time, such as a key that comes late or a rate of messages.
    pub fn let_pass(&self, span: Duration) {
        self.world.act();
        std::thread::sleep(span);
        self.world.reap();
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

    /// How many calls this personality has altered in the servers that the check has put under it; none
    /// where it has put none.
    pub fn altered_calls(&self, name: &str) -> Step<Option<u64>> {
        let mut traces: Vec<PathBuf> = Vec::new();
        for (selected, trace) in self.world.interposed.borrow().iter() {
            let selected = Selected::parse_list(selected).map_err(Stop::Error)?;
            if selected.iter().any(|one| one.personality.name == name) && !traces.contains(trace) {
                traces.push(trace.clone());
            }
        }
        let mut altered = None;
        for trace in traces {
            let all = personality::read_trace(&trace).map_err(Stop::Error)?;
            let its = all.iter().filter(|traced| traced.name == name);
            let calls: u64 = its.map(|traced| u64::from(traced.altered_calls)).sum();
            *altered.get_or_insert(0) += calls;
        }
        Ok(altered)
    }

    /// That a server came to the situation that this personality makes: one that makes its system calls
    /// itself, or in a way of its own, did not.
    pub fn came_to(&self, name: &str) -> Outcome {
        match self.altered_calls(name)? {
            Some(0) => Err(Stop::Unsupported(format!(
                "the server makes none of the C library's calls that the personality {name} alters"
            ))),
            _ => Ok(()),
        }
    }

    /// Runs `body`, and [`finish`](Self::finish), in a process namespace of its own, in which the
    /// next process has the id after `last`. What it starts is gone when this returns.
    pub fn in_private_processes(&mut self, last: i32, body: fn(&mut Check) -> Outcome) -> Outcome {
        platform::unshare_processes().map_err(Stop::NotRun)?;
        let below = Offspring::fork(|| {
            let outcome = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| {
                // Session and group have no number in here as long as they are the parent's.
                setsid().or_error("setsid")?;
                platform::begin_private_processes(last).map_err(Stop::NotRun)?;
                body(self)?;
                self.finish()
            }))
            .unwrap_or_else(|_| Err(Stop::Error("the check panicked".into())));
            outcome.map_err(|stop| Box::new((stop, self.evidence())))
        });
        let told: Result<(), Box<(Stop, Evidence)>> = below
            .and_then(Offspring::wait)
            .or_error("the part of the check in a namespace of its own")?;
        told.map_err(|told| {
            let (stop, evidence) = *told;
            *self.world.evidence_from_below.borrow_mut() = Some(evidence);
            stop
        })
    }

    /// After the last line of a check that passed: every server still up must be sane, end when
    /// told to, and leave nothing behind.
    pub fn finish(&mut self) -> Outcome {
        for server in &self.servers {
            server.check_sane()?;
        }
        for server in &self.servers {
            server.end()?;
        }
        for server in &self.servers {
            server.dismiss_witness();
        }
        let no_process_left = server::check_no_process_left(&self.world)?;
        for server in &self.servers {
            server.check_nothing_held(no_process_left)?;
        }
        Ok(())
    }

    /// A failure with the cause that the server itself tells, if it does.
    pub fn with_cause(&self, failure: Failure) -> Failure {
        evidence::await_last_words(&self.world);
        self.world.with_cause(failure)
    }

    /// What there is to show for a failure.
    pub fn evidence(&self) -> Evidence {
        let from_below = self.world.evidence_from_below.borrow_mut().take();
        from_below.unwrap_or_else(|| evidence::gather(&self.world))
    }
}
