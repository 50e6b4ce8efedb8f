//! The surroundings of one check, shared by its servers and clients. For one thread: a check runs in
//! a process of its own, which may change itself as it likes.

use std::cell::{Cell, RefCell};
use std::fs::File;
use std::io::{Read, Seek, SeekFrom};
use std::net::SocketAddr;
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::rc::Rc;
use std::time::{Duration, Instant};

use forkproof_report::{Evidence, Failure};
use nix::errno::Errno;
use nix::sys::signal::Signal;
use nix::sys::wait::{WaitPidFlag, WaitStatus, waitpid};

use super::deadline::Deadline;
use super::record::{SHOWN, Scene, Timeline, excerpt};
use super::seen::{Register, tells_of_a_failure, tells_of_an_end};
use super::user::User;
use crate::platform::Process;
use crate::stop::{OrError, Outcome, Step, Stop, covered_by, fail};
use crate::subject::{Ends, Target, Values};

/// How long a check waits for something that should happen at once, on an idle machine of
/// ordinary speed. Only a failure ever takes that long.
const PATIENCE: Duration = Duration::from_secs(5);

/// The name of the directory that all checks of a run share, beside theirs.
pub const SHARED: &str = "shared";

/// The requirement that is about a server's start, and a client's being served.
pub(super) const SERVES: &str = "listen/clients-are-served";
/// The requirement that is about a message that arrives only when another one follows.
pub(super) const WAKES: &str = "signals/no-lost-wakeup";

/// The places that a manifest can name, where they usually are, for a check in `dir`.
///
/// `dir` is what `{dir}` stands for, and `shared` what `{shared}` does.
pub(super) fn places(target: &Target, dir: &Path, shared: &Path) -> Step<Values<'static>> {
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
    values.insert("shared", shared.as_os_str().to_owned());
    let user = match &manifest.launch.user {
        Some(user) if nix::unistd::geteuid().is_root() => user.clone(),
        _ => nix::unistd::User::from_uid(nix::unistd::geteuid())
            .ok()
            .flatten()
            .map_or_else(|| nix::unistd::geteuid().to_string(), |user| user.name),
    };
    values.insert("user", user.into());
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

/// The directory that all checks of a run share, for a check that keeps `kept`.
pub(super) fn shared(kept: &Path) -> PathBuf {
    kept.parent().unwrap_or(kept).join(SHARED)
}

/// What a check process was told by its warden.
#[derive(Debug, Clone)]
pub struct Orders {
    /// The check's own directory: what a server has to do with is below, never in it.
    pub kept: PathBuf,
    /// What `{dir}` stands for: the server's, if that is started as another user.
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
pub(super) struct World {
    pub(super) orders: Orders,
    pub(super) timeline: RefCell<Timeline>,
    /// Orphans that this process has reaped, with how they ended, and when.
    pub(super) ended: RefCell<Vec<(i32, Ending, Duration)>>,
    /// The servers' processes.
    pub(super) seen: RefCell<Register>,
    pub(super) servers: RefCell<Vec<Rc<Running>>>,
    /// What is to be told beside the verdict.
    pub(super) remarks: RefCell<Vec<String>>,
    /// Of a part of the check that ran in another process.
    pub(super) evidence_from_below: RefCell<Option<Evidence>>,
    pub(super) serial: Cell<u64>,
    /// The signals that the check has sent to the server's processes.
    pub(super) sent: RefCell<Vec<Signal>>,
    /// Whether the check has begun with what its requirement is about; until then all is set-up.
    pub(super) acting: Cell<bool>,
    /// What was there when the check failed.
    pub(super) scene: RefCell<Option<Scene>>,
    /// What ends with the daemon; see [`Target::ends`]. The rehearsal finds out.
    pub(super) ends: Cell<Ends>,
    /// The keys that were written, by their files: what a server makes of those is its own affair.
    pub(super) keys: RefCell<Vec<(PathBuf, Vec<u8>)>>,
    /// The personalities that the check has put servers under, and where their calls are counted.
    pub(super) interposed: RefCell<Vec<(String, PathBuf)>>,
    /// The user that servers are started as, if that is another one.
    pub(super) owner: Cell<Option<User>>,
    /// What has been given to which user.
    pub(super) given: RefCell<Vec<(PathBuf, u32)>>,
}

impl World {
    /// A number that was not given out before.
    pub(super) fn serial(&self) -> u64 {
        self.serial.set(self.serial.get() + 1);
        self.serial.get()
    }

    pub(super) fn scaled(&self, duration: Duration) -> Duration {
        duration.mul_f64(self.orders.slowness)
    }

    /// From here on a failure is the requirement's own.
    pub(super) fn act(&self) {
        self.acting.set(true);
    }

    /// What a step that `requirement` is about comes to: in the set-up of another one, the check is
    /// blocked when it fails.
    pub(super) fn step<T>(&self, requirement: &str, result: Step<T>) -> Step<T> {
        if self.acting.get() {
            return result;
        }
        result.map_err(|stop| match covered_by(stop, requirement) {
            Stop::Fail(failure) => Stop::Blocked(failure),
            other => other,
        })
    }

    /// What ends with the daemon.
    pub(super) fn ends(&self) -> Ends {
        self.ends.get()
    }

    /// How long a server may take to end.
    pub(super) fn end_limit(&self) -> Duration {
        // A control's short deadlines are not for what is a mere step of it.
        const STEP: Duration = Duration::from_secs(2);
        let limit = self.orders.target.manifest.stop.limit.duration();
        self.scaled(limit).max(limit.min(STEP))
    }

    /// Does `work` with the rights that the servers have. What one of them has laid in its directories,
    /// links among it, leads no further then than the server itself can go.
    pub(super) fn as_owner<T>(&self, work: impl FnOnce() -> T) -> Step<T> {
        match self.owner.get() {
            None => Ok(work()),
            Some(user) => user.rights().map(|_rights| work()),
        }
    }

    /// The same where `path` is the server's, and with this process's own rights elsewhere.
    pub(super) fn as_owner_of<T>(&self, path: &Path, work: impl FnOnce() -> T) -> Step<T> {
        let launch = &self.orders.target.manifest.launch;
        let is_servers = path.starts_with(&self.orders.kept)
            || path.starts_with(shared(&self.orders.kept))
            || launch.bind.iter().any(|bind| path.starts_with(&bind.path));
        if is_servers { self.as_owner(work) } else { Ok(work()) }
    }

    /// The text of a small file of the server's. What is there may be anything: a link, a FIFO, a disk.
    pub(super) fn said_in(&self, path: &Path) -> Step<std::io::Result<String>> {
        const LIMIT: u64 = 4096;
        self.as_owner_of(path, || {
            let file = File::options().read(true).custom_flags(libc::O_NONBLOCK).open(path)?;
            if !file.metadata()?.is_file() {
                return Err(std::io::Error::other("it is no file"));
            }
            let mut bytes = Vec::new();
            file.take(LIMIT).read_to_end(&mut bytes)?;
            Ok(String::from_utf8_lossy(&bytes).into_owned())
        })
    }

    /// The places that a manifest can name, where they usually are.
    pub(super) fn places(&self) -> Step<Values<'static>> {
        self.places_in(&self.orders.dir)
    }

    /// The same for a server that has another directory for `{dir}`.
    pub(super) fn places_in(&self, dir: &Path) -> Step<Values<'static>> {
        places(&self.orders.target, dir, &shared(&self.orders.kept))
    }

    pub(super) fn patience(&self) -> Duration {
        let timeout = self.orders.target.manifest.wire.auth_timeout;
        // A stranger may sit there for that long before it is closed.
        let stranger = timeout.map_or(Duration::ZERO, |timeout| timeout.duration());
        self.scaled(PATIENCE.max(stranger + Duration::from_secs(3)))
    }

    pub(super) fn note(&self, who: &str, what: impl Into<String>) {
        self.timeline.borrow_mut().note(who, what.into());
    }

    /// `wanted` clients, or as many as the server serves at a time.
    pub(super) fn up_to(&self, wanted: usize) -> usize {
        let most = self.orders.target.manifest.wire.clients;
        most.map_or(wanted, |most| wanted.min(usize::from(most.get())))
    }

    /// That the server serves so many clients at a time.
    pub(super) fn needs_clients(&self, count: usize) -> Outcome {
        match self.up_to(count) {
            most if most < count => Err(Stop::Unsupported(format!(
                "it takes {count} clients at a time, and the target {} serves {most}, as wire.clients \
                 says",
                self.orders.target.name
            ))),
            _ => Ok(()),
        }
    }

    /// `bytes` for the timeline: keys are counted, not shown, since reports travel.
    pub(super) fn without_key(&self, bytes: &[u8]) -> String {
        const TELLING: usize = 8;
        let is_part = |key: &[u8]| match bytes.len() {
            0..TELLING => false,
            length if length <= key.len() => key.windows(length).any(|window| window == bytes),
            // No more is shown.
            length => {
                let shown = &bytes[..length.min(SHOWN + TELLING)];
                key.len() >= TELLING
                    && shown.windows(TELLING).any(|window| window == &key[..TELLING])
            }
        };
        if self.servers.borrow().iter().any(|server| is_part(server.key())) {
            format!("the key or a part of it ({} bytes)", bytes.len())
        } else {
            excerpt(bytes)
        }
    }

    /// Waits until `condition` gives something, looking often, for at most `limit`.
    pub(super) fn wait<T>(
        &self,
        limit: Duration,
        mut condition: impl FnMut() -> Step<Option<T>>,
    ) -> Step<Option<T>> {
        let mut deadline = Deadline::after(limit);
        let mut pause = Duration::from_micros(200);
        loop {
            self.reap();
            if let Some(found) = condition()? {
                return Ok(Some(found));
            }
            if deadline.left().is_none() {
                return Ok(None);
            }
            // Between two looks at a condition that nothing announces.
            let begin = Instant::now();
            std::thread::sleep(pause);
            deadline.slept(pause, begin);
            pause = (pause * 2).min(Duration::from_millis(10));
        }
    }

    /// Reaps the orphans that have ended, and remembers how. Processes of [`std::process::Child`] are
    /// never waited for in a check, and an [`Offspring`](crate::offspring::Offspring) by its own number
    /// alone, so this is the only place that waits for any.
    ///
    /// Returns whether there are others: what has lost its parent is this process's child at once.
    pub(super) fn reap(&self) -> bool {
        loop {
            let status = match waitpid(None, Some(WaitPidFlag::WNOHANG)) {
                Ok(status) => status,
                // Of a signal that has no name in nix: the process is reaped all the same.
                Err(Errno::EINVAL) => continue,
                Err(errno) => return errno != Errno::ECHILD,
            };
            let Some(pid) = status.pid() else { return true };
            let Some(ending) = Ending::of(status) else { continue };
            self.note("system", format!("{} {ending}", self.name(pid.as_raw())));
            let now = self.timeline.borrow().now();
            self.ended.borrow_mut().push((pid.as_raw(), ending, now));
        }
    }

    /// How the process `pid` has ended, if it has.
    pub(super) fn ending_of(&self, pid: i32) -> Option<Ending> {
        self.ended.borrow().iter().find(|(ended, ..)| *ended == pid).map(|(_, ending, _)| *ending)
    }

    /// Remembers processes of the servers.
    pub(super) fn look_at(&self, processes: &[Process]) {
        let model = self.orders.target.manifest.processes.model;
        let daemons: Vec<i32> =
            self.servers.borrow().iter().map(|server| server.daemon.get()).collect();
        let now = self.timeline.borrow().now();
        self.seen.borrow_mut().look(processes, &daemons, model, now);
    }

    /// `receiver 4711`, or `process 4711` where nothing tells what that is for.
    pub(super) fn name(&self, pid: i32) -> String {
        self.seen.borrow().name(pid)
    }

    /// What a server says of a process of its own that a signal ended, if it says so: of those that
    /// it reaps itself nobody else is told. What the check did itself is no news.
    fn obituary(&self) -> Option<String> {
        let own = self.sent.borrow();
        let is_news = |line: &&str| {
            tells_of_an_end(line) && !own.iter().any(|signal| line.contains(signal.as_str()))
        };
        self.servers.borrow().iter().find_map(|server| {
            let output = server.output_tail(4096);
            Some(output.lines().rev().find(is_news)?.trim().to_owned())
        })
    }

    /// What a server says last that it could not do.
    fn complaint(&self) -> Option<String> {
        self.servers.borrow().iter().find_map(|server| {
            let output = server.output_tail(4096);
            Some(output.lines().rev().find(|line| tells_of_a_failure(line))?.trim().to_owned())
        })
    }

    /// A failure with the cause that the server itself tells, if it does.
    pub(super) fn with_cause(&self, failure: Failure) -> Failure {
        let mut actual = failure.actual;
        if let Some((ending, words)) = self.end_of_a_daemon() {
            let known = ending.to_string();
            if !actual.contains(&known) {
                actual = format!("{actual}; the daemon {known}, and says: {words}");
            }
        }
        match self.obituary() {
            Some(words) if !actual.contains(&words) => {
                let handler = without_handler(&words);
                actual = format!("{actual}; the server says: {words}{handler}");
            }
            Some(_) => {}
            None => {
                if let Some(words) = self.complaint().filter(|words| !actual.contains(words)) {
                    actual = format!("{actual}; the server says: {words}");
                }
            }
        }
        for words in self.stood_still() {
            if !actual.contains(&words) {
                actual = format!("{actual}; {words}");
            }
        }
        Failure { actual, ..failure }
    }

    /// The processes that stood still when the check failed, if it has not stopped any itself.
    fn stood_still(&self) -> Vec<String> {
        const STOPS: [Signal; 4] =
            [Signal::SIGSTOP, Signal::SIGTSTP, Signal::SIGTTIN, Signal::SIGTTOU];
        if self.sent.borrow().iter().any(|signal| STOPS.contains(signal)) {
            return Vec::new();
        }
        self.scene.borrow().as_ref().map_or_else(Vec::new, |scene| scene.stopped.clone())
    }

    /// How a daemon has ended that nobody has ended, and its last words.
    fn end_of_a_daemon(&self) -> Option<(Ending, String)> {
        self.reap();
        self.servers.borrow().iter().filter(|server| !server.over.get()).find_map(|server| {
            let ending = self.ending_of(server.daemon.get())?;
            let output = server.output_tail(4096);
            let words = output.lines().rev().map(str::trim).find(|line| !line.is_empty());
            Some((ending, words.unwrap_or("nothing").to_owned()))
        })
    }

    /// As [`Check::until`](super::check::Check::until).
    pub(super) fn until(
        &self,
        limit: Duration,
        expected: &str,
        mut condition: impl FnMut() -> Step<bool>,
        actual: impl FnOnce() -> String,
    ) -> Outcome {
        let limit = self.scaled(limit);
        match self.wait(limit, || Ok(condition()?.then_some(())))? {
            Some(()) => Ok(()),
            None => fail(expected, format!("{} (after {:.1} s)", actual(), limit.as_secs_f64())),
        }
    }
}

/// What an end by a signal that servers have handlers for tells beyond its name.
fn without_handler(words: &str) -> String {
    const HANDLED: [Signal; 4] = [Signal::SIGUSR1, Signal::SIGUSR2, Signal::SIGALRM, Signal::SIGIO];
    let named = |signal: &&Signal| words.contains(&format!("killed by {}", signal.as_str()));
    HANDLED.iter().find(named).map_or_else(String::new, |signal| {
        format!(" (it had no handler for {} then)", signal.as_str())
    })
}

/// How a process has ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Ending {
    /// With an exit status.
    Exit(i32),
    /// By a signal.
    Signal(Signal),
}

impl Ending {
    /// What waitpid(2) tells; none of a process that was only stopped.
    fn of(status: WaitStatus) -> Option<Self> {
        match status {
            WaitStatus::Exited(_, code) => Some(Self::Exit(code)),
            WaitStatus::Signaled(_, signal, _) => Some(Self::Signal(signal)),
            _ => None,
        }
    }
}

impl std::fmt::Display for Ending {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Exit(code) => write!(f, "exited with status {code}"),
            Self::Signal(signal) => write!(f, "was killed by {}", signal.as_str()),
        }
    }
}

/// What is known about a server that was started.
#[derive(Debug)]
pub(super) struct Running {
    pub(super) name: String,
    pub(super) daemon: Cell<i32>,
    pub(super) addresses: Vec<SocketAddr>,
    pub(super) log: PathBuf,
    pub(super) pid_file: PathBuf,
    pub(super) key: Vec<u8>,
    /// In a directory that no server can change.
    pub(super) output: PathBuf,
    /// The check has ended it, or seen it end; nothing more is expected of it.
    pub(super) over: Cell<bool>,
}

impl Running {
    pub(super) fn key(&self) -> &[u8] {
        &self.key
    }

    pub(super) fn output_tail(&self, length: u64) -> String {
        tail(&self.output, length)
    }
}

/// The end of what has been written to a file, at most `length` bytes of it; nothing of one that cannot be
/// read.
pub fn tail(path: &Path, length: u64) -> String {
    File::open(path).map_or_else(|_| String::new(), |mut file| last_of(&mut file, length))
}

/// The end of a file, at most `length` bytes of it.
pub(super) fn last_of(file: &mut File, length: u64) -> String {
    let mut bytes = Vec::new();
    let end = file.seek(SeekFrom::End(0)).unwrap_or(0);
    let _ = file.seek(SeekFrom::Start(end.saturating_sub(length)));
    let _ = file.take(length).read_to_end(&mut bytes);
    String::from_utf8_lossy(&bytes).into_owned()
}
