//! A private server: launched, found, asked, ended.

use std::cell::Cell;
use std::ffi::OsString;
use std::fs::File;
use std::io::{Read, Seek, SeekFrom};
use std::net::SocketAddr;
use std::os::fd::{AsFd, AsRawFd};
use std::os::unix::fs::OpenOptionsExt;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::rc::Rc;
use std::time::{Duration, Instant};

use nix::errno::Errno;
use nix::poll::{PollFd, PollFlags, poll};
use nix::sys::resource::Resource;
use nix::sys::signal::{
    SaFlags, SigAction, SigHandler, SigSet, SigmaskHow, Signal, sigaction, sigprocmask,
};
use nix::sys::stat::{Mode, umask};
use nix::sys::wait::WaitStatus;

use super::processes::{self, Cluster, descends, status_words};
use super::{Check, Client, Crowd, LockMode, World, try_lock};
use crate::platform::{self, Process};
use crate::target::KEY_LENGTH;
use crate::verdict::{OrError, Outcome, Step, Stop, ensure, fail};

/// How long a server may take to listen, and a launcher to return, on an ordinary machine.
const START_LIMIT: Duration = Duration::from_secs(10);
/// How long a server may take to end.
pub(crate) const END_LIMIT: Duration = Duration::from_secs(2);

/// How a server is to be started. What is not named is as the catalogue expects it: seven lines of
/// replay, one second for the key, IPv4 loopback on a port that the system chooses, foreground.
#[derive(Debug, Clone, Default)]
pub struct Options {
    listen: Vec<String>,
    default_addresses: bool,
    replay: Option<usize>,
    daemon: bool,
    arguments: Vec<OsString>,
    log: Option<PathBuf>,
    key_file: Option<PathBuf>,
    port: Option<u16>,
    ignored: Vec<Signal>,
    all_blocked: bool,
    without_ipv6: bool,
    limits: Vec<(Resource, u64)>,
    run_as: Option<u32>,
    groups: Vec<u32>,
    to_syslog: bool,
    umask: Option<Mode>,
    descriptors_above: Option<i32>,
    untouchable: Option<(u32, u32)>,
}

impl Options {
    /// The defaults.
    pub fn new() -> Self {
        Self::default()
    }

    /// Listens on `address` (repeatable) instead of `127.0.0.1:0`.
    pub fn listen(mut self, address: impl ToString) -> Self {
        self.listen.push(address.to_string());
        self
    }

    /// Names no address: the server's own default, on a port that the system chooses.
    pub fn default_addresses(mut self) -> Self {
        self.default_addresses = true;
        self
    }

    /// With [`default_addresses`](Self::default_addresses): on this port.
    pub fn port(mut self, port: u16) -> Self {
        self.port = Some(port);
        self
    }

    /// Sends this many lines of the log first.
    pub fn replay(mut self, lines: usize) -> Self {
        self.replay = Some(lines);
        self
    }

    /// Goes into the background by itself.
    pub fn daemon(mut self) -> Self {
        self.daemon = true;
        self
    }

    /// Further arguments.
    pub fn arguments<A: Into<OsString>>(mut self, arguments: impl IntoIterator<Item = A>) -> Self {
        self.arguments.extend(arguments.into_iter().map(Into::into));
        self
    }

    /// Keeps the chat log there.
    pub fn log(mut self, path: impl Into<PathBuf>) -> Self {
        self.log = Some(path.into());
        self
    }

    /// Reads the key there, without one being written.
    pub fn key_file(mut self, path: impl Into<PathBuf>) -> Self {
        self.key_file = Some(path.into());
        self
    }

    /// Is started with these signals ignored, as a parent may have left them.
    pub fn ignoring(mut self, signals: &[Signal]) -> Self {
        self.ignored.extend(signals);
        self
    }

    /// Is started with every signal blocked.
    pub fn all_blocked(mut self) -> Self {
        self.all_blocked = true;
        self
    }

    /// Finds a kernel that knows no IPv6.
    pub fn without_ipv6(mut self) -> Self {
        self.without_ipv6 = true;
        self
    }

    /// Is started with a resource limit.
    pub fn limit(mut self, resource: Resource, value: u64) -> Self {
        self.limits.push((resource, value));
        self
    }

    /// Is started as this user, whom the check's directory is then given to. Takes root.
    pub fn run_as(mut self, user: u32) -> Self {
        self.run_as = Some(user);
        self
    }

    /// Is started with these supplementary groups. Takes root.
    pub fn groups(mut self, groups: &[u32]) -> Self {
        self.groups.extend(groups);
        self
    }

    /// Is started with this file mode creation mask.
    pub fn umask(mut self, mask: u32) -> Self {
        self.umask = Some(Mode::from_bits_truncate(mask as libc::mode_t));
        self
    }

    /// Is started with every descriptor up to this one open, so that its own are all above.
    pub fn descriptors_above(mut self, last: i32) -> Self {
        self.descriptors_above = Some(last);
        self
    }

    /// Is killed, as each of its processes is, when it closes or asks about a descriptor from
    /// `from` up to but not including `to`; see [`platform::forbid_descriptors`].
    pub fn forbidding_descriptors(mut self, from: u32, to: u32) -> Self {
        self.untouchable = Some((from, to));
        self
    }

    /// Sends its messages to the system's log instead of standard error.
    pub fn to_syslog(mut self) -> Self {
        self.to_syslog = true;
        self
    }
}

/// What is known about a server that was started.
#[derive(Debug)]
pub(crate) struct Running {
    pub(crate) name: String,
    pub(crate) daemon: Cell<i32>,
    pub(crate) addresses: Vec<SocketAddr>,
    pub(crate) log: PathBuf,
    key: Vec<u8>,
    output: PathBuf,
    /// The check has ended it, or seen it end; nothing more is expected of it.
    pub(crate) over: Cell<bool>,
}

impl Running {
    pub(super) fn key(&self) -> &[u8] {
        &self.key
    }

    pub(super) fn output_tail(&self, length: u64) -> String {
        tail(&self.output, length)
    }
}

fn tail(path: &Path, length: u64) -> String {
    let mut bytes = Vec::new();
    if let Ok(mut file) = File::open(path) {
        let end = file.seek(SeekFrom::End(0)).unwrap_or(0);
        let _ = file.seek(SeekFrom::Start(end.saturating_sub(length)));
        let _ = file.take(length).read_to_end(&mut bytes);
    }
    String::from_utf8_lossy(&bytes).into_owned()
}

/// What became of a server that was launched.
#[derive(Debug)]
pub struct Launched {
    /// The launcher's exit status; none while a foreground server runs, or after a signal.
    pub status: Option<i32>,
    /// What it has said so far, on standard output and standard error.
    pub output: String,
    /// The server, if it listens.
    pub server: Option<Server>,
    /// How long it took from exec to the answer.
    pub took: Duration,
}

/// A server that listens.
#[derive(Debug, Clone)]
pub struct Server {
    pub(super) world: Rc<World>,
    pub(super) running: Rc<Running>,
}

pub(super) fn start(world: &Rc<World>, options: Options) -> Step<Server> {
    let launched = launch(world, options)?;
    match launched.server {
        Some(server) => Ok(server),
        None => fail(
            "the server starts and listens",
            format!(
                "it never did: exit status {:?}, it says: {}",
                launched.status,
                launched.output.trim().replace('\n', " / ")
            ),
        ),
    }
}

pub(super) fn launch(world: &Rc<World>, options: Options) -> Step<Launched> {
    let number = world.serial();
    let dir = &world.orders.dir;
    let log = options.log.clone().unwrap_or_else(|| dir.join("chat.log"));
    let key_path = options.key_file.clone().unwrap_or_else(|| dir.join("key"));
    if options.key_file.is_none() && !key_path.exists() {
        write_key(&key_path)?;
    }
    // A key file that is wrong on purpose gives no key to speak of.
    let key = std::fs::read(&key_path).unwrap_or_default();
    let output = dir.join(format!("server-{number}.output"));
    let pid_file = dir.join(format!("server-{number}.pid"));
    let output_file = File::create(&output).or_error("server's output")?;
    // Taken first, so that the ready descriptor, which the server closes, and what `spawn` opens for
    // itself are above them too.
    let taken = options.descriptors_above.map(take_descriptors).transpose()?;
    let (ready, ready_end) = nix::unistd::pipe2(nix::fcntl::OFlag::O_CLOEXEC).or_error("pipe")?;

    let target = &world.orders.target;
    let program = match options.run_as {
        Some(_) => reachable_program(world)?,
        None => target.program.clone(),
    };
    let mut command = Command::new(&program);
    command.args(&target.arguments);
    if options.default_addresses {
        command.arg("--port").arg(options.port.unwrap_or(0).to_string());
    } else if options.listen.is_empty() {
        command.args(["--listen", "127.0.0.1:0"]);
    }
    for address in &options.listen {
        command.arg("--listen").arg(address);
    }
    command.arg("--log").arg(&log).arg("--key-file").arg(&key_path);
    command.args(["--log-to", if options.to_syslog { "syslog" } else { "stderr" }]);
    command.arg("--ready-fd").arg(ready_end.as_raw_fd().to_string());
    if let Some(lines) = options.replay {
        command.arg("--replay").arg(lines.to_string());
    }
    if options.daemon {
        command.arg("--daemon").arg("--pid-file").arg(&pid_file);
    }
    command.args(&options.arguments);
    command.envs(world.orders.environment.iter().cloned());
    command.stdin(Stdio::null());
    command.stdout(output_file.try_clone().or_error("server's output")?);
    command.stderr(output_file);
    if let Some(user) = options.run_as {
        for path in [dir.as_path(), &key_path] {
            // Root inside a user namespace may not know the user.
            std::os::unix::fs::chown(path, Some(user), Some(user)).map_err(|error| {
                Stop::NotRun(format!("needs the right to run the server as user {user}: {error}"))
            })?;
        }
    }
    let write_raw = ready_end.as_raw_fd();
    let in_child = options.clone();
    let groups: Vec<_> = options.groups.iter().map(|&id| nix::unistd::Gid::from_raw(id)).collect();
    // SAFETY: between fork and exec the closure makes system calls only; it allocates nothing.
    unsafe {
        command.pre_exec(move || {
            libc::fcntl(write_raw, libc::F_SETFD, 0);
            if let Some(last) = in_child.descriptors_above {
                leave_open(last)?;
            }
            if let Some(mask) = in_child.umask {
                umask(mask);
            }
            for &(resource, value) in &in_child.limits {
                nix::sys::resource::setrlimit(resource, value as _, value as _)?;
            }
            if in_child.without_ipv6 {
                platform::deny_ipv6_sockets()?;
            }
            if let Some((from, to)) = in_child.untouchable {
                platform::forbid_descriptors(from, to)?;
            }
            for &signal in &in_child.ignored {
                let ignore = SigAction::new(SigHandler::SigIgn, SaFlags::empty(), SigSet::empty());
                sigaction(signal, &ignore)?;
            }
            if !groups.is_empty() {
                nix::unistd::setgroups(&groups)?;
            }
            if let Some(user) = in_child.run_as {
                become_user(user)?;
            }
            if in_child.all_blocked {
                sigprocmask(SigmaskHow::SIG_SETMASK, Some(&SigSet::all()), None)?;
            }
            Ok(())
        });
    }
    let begin = Instant::now();
    world.note("check", format!("starts server {number}"));
    let child = command.spawn().or_error(target.program.display())?;
    drop(ready_end);
    drop(taken);
    // From here on the process is known by its number; `reap` waits for it.
    let launcher = child.id() as i32;
    drop(child);

    let limit = world.scaled(START_LIMIT);
    let announced = read_announcement(ready, begin + limit)?;
    let addresses: Vec<SocketAddr> =
        announced.lines().filter_map(|line| line.trim().parse().ok()).collect();
    // A daemon's launcher returns; so does whoever could not start.
    let status = if addresses.is_empty() || options.daemon {
        let status = world.wait(limit, || Ok(ended(world, launcher)))?;
        match status {
            Some(WaitStatus::Exited(_, status)) => Some(status),
            Some(_) => None,
            None => {
                return fail(
                    "the launcher says within its time whether the server listens",
                    format!("nothing after {:.0} s", limit.as_secs_f64()),
                );
            }
        }
    } else {
        None
    };
    let server = if addresses.is_empty() {
        None
    } else {
        let daemon = if options.daemon {
            std::fs::read_to_string(&pid_file)
                .ok()
                .and_then(|text| text.trim().parse().ok())
                .ok_or_else(|| Stop::Error(format!("no pid in {}", pid_file.display())))?
        } else {
            launcher
        };
        let running = Rc::new(Running {
            name: format!("server {number}"),
            daemon: Cell::new(daemon),
            addresses,
            log,
            key,
            output: output.clone(),
            over: Cell::new(false),
        });
        world.note("check", format!("server {number} listens on {:?}", running.addresses));
        world.servers.borrow_mut().push(running.clone());
        Some(Server { world: world.clone(), running })
    };
    Ok(Launched { status, output: tail(&output, 16 * 1024), server, took: begin.elapsed() })
}

/// Reads what the server writes to its ready descriptor, until it is closed.
fn read_announcement(ready: std::os::fd::OwnedFd, deadline: Instant) -> Step<String> {
    let mut ready = File::from(ready);
    let mut text = Vec::new();
    loop {
        let left = deadline.saturating_duration_since(Instant::now());
        let milliseconds = u16::try_from(left.as_millis()).unwrap_or(u16::MAX);
        let mut fds = [PollFd::new(ready.as_fd(), PollFlags::POLLIN)];
        match poll(&mut fds, milliseconds) {
            Ok(0) => {
                return fail(
                    "the server says that it listens, or ends",
                    "it does neither within its time",
                );
            }
            Err(Errno::EINTR) => continue,
            Err(errno) => return Err(Stop::Error(format!("poll: {}", errno.desc()))),
            Ok(_) => {}
        }
        let mut buffer = [0; 1024];
        match ready.read(&mut buffer) {
            Ok(0) => return Ok(String::from_utf8_lossy(&text).into_owned()),
            Ok(count) => text.extend_from_slice(&buffer[..count]),
            Err(error) => return Err(Stop::Error(format!("ready pipe: {error}"))),
        }
    }
}

/// A key like real ones, different for each check.
fn write_key(path: &Path) -> Outcome {
    let mut random = [0u8; KEY_LENGTH];
    File::open("/dev/urandom")
        .and_then(|mut source| source.read_exact(&mut random))
        .or_error("/dev/urandom")?;
    let key: Vec<u8> = random.iter().map(|byte| b'a' + byte % 26).collect();
    std::fs::OpenOptions::new()
        .write(true)
        .create_new(true)
        .mode(0o600)
        .open(path)
        .and_then(|mut file| std::io::Write::write_all(&mut file, &key))
        .or_error("key file")
}

/// Opens every free descriptor of this process up to `last`.
fn take_descriptors(last: i32) -> Step<Vec<File>> {
    let missing = |error: std::io::Error| {
        Stop::NotRun(format!("needs {last} descriptors and more (RLIMIT_NOFILE): {error}"))
    };
    let mut taken = vec![File::open("/dev/null").map_err(missing)?];
    while taken[taken.len() - 1].as_raw_fd() < last {
        taken.push(taken[0].try_clone().map_err(missing)?);
    }
    Ok(taken)
}

/// Replaces every descriptor up to `last` that would be closed by exec, by one that stays open.
/// Between fork and exec: system calls only.
fn leave_open(last: i32) -> nix::Result<()> {
    // SAFETY: the path is a string that ends in NUL.
    let null = Errno::result(unsafe { libc::open(c"/dev/null".as_ptr(), libc::O_RDWR) })?;
    for descriptor in 3..=last {
        // SAFETY: F_GETFD takes no further argument.
        let flags = Errno::result(unsafe { libc::fcntl(descriptor, libc::F_GETFD) })?;
        if flags & libc::FD_CLOEXEC != 0 {
            // SAFETY: what `descriptor` was is used no more in this process, which is about to
            // become another program.
            Errno::result(unsafe { libc::dup2(null, descriptor) })?;
        }
    }
    // SAFETY: nobody else has it.
    Errno::result(unsafe { libc::close(null) }).map(drop)
}

/// The program under test at a place where any user can execute it: a home or build directory may
/// be closed to others.
fn reachable_program(world: &World) -> Step<PathBuf> {
    let original = &world.orders.target.program;
    let path = world.orders.dir.join("program");
    if !path.exists() && std::fs::hard_link(original, &path).is_err() {
        std::fs::copy(original, &path).or_error(original.display())?;
    }
    Ok(path)
}

/// Becomes `user` for good. Between fork and exec: system calls only.
fn become_user(user: u32) -> nix::Result<()> {
    let group = nix::unistd::Gid::from_raw(user);
    nix::unistd::setgroups(&[group])?;
    nix::unistd::setgid(group)?;
    nix::unistd::setuid(nix::unistd::Uid::from_raw(user))
}

fn ended(world: &World, pid: i32) -> Option<WaitStatus> {
    world.ended.borrow().iter().find(|(ended, _)| *ended == pid).map(|(_, status)| *status)
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

    /// What the chat log holds.
    pub fn log_content(&self) -> Step<Vec<u8>> {
        std::fs::read(self.log()).or_error(self.log().display())
    }

    /// What the chat log holds from `position` to its end.
    pub fn log_from(&self, position: u64) -> Step<Vec<u8>> {
        let mut bytes = Vec::new();
        File::open(self.log())
            .and_then(|mut file| {
                file.seek(SeekFrom::Start(position))?;
                file.read_to_end(&mut bytes)
            })
            .or_error(self.log().display())?;
        Ok(bytes)
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

    /// Connects to its first address, and says nothing yet.
    pub fn connect(&self, name: &str) -> Step<Client> {
        self.connect_to(name, self.address())
    }

    /// Connects to `address`, and says nothing yet.
    pub fn connect_to(&self, name: &str, address: SocketAddr) -> Step<Client> {
        Client::connect(&self.world, name, address)
    }

    /// Connects and sends the key, and waits for nothing.
    pub fn enter(&self, name: &str) -> Step<Client> {
        self.enter_at(name, self.address())
    }

    /// As [`enter`](Self::enter), at `address`.
    pub fn enter_at(&self, name: &str, address: SocketAddr) -> Step<Client> {
        let mut client = self.connect_to(name, address)?;
        client.send(self.key())?;
        Ok(client)
    }

    /// A client that has been let in: it has heard itself.
    pub fn join(&self, name: &str) -> Step<Client> {
        self.join_at(name, self.address())
    }

    /// As [`join`](Self::join), at `address`.
    pub fn join_at(&self, name: &str, address: SocketAddr) -> Step<Client> {
        let mut client = self.enter_at(name, address)?;
        client.barrier()?;
        Ok(client)
    }

    /// A client that has been let in, with the processes that serve it. Nobody else may join or
    /// leave meanwhile.
    pub fn join_with_cluster(&self, name: &str) -> Step<(Client, Cluster)> {
        let before: Vec<i32> = descends()?.iter().map(|process| process.pid).collect();
        let client = self.join(name)?;
        let mut fresh: Vec<Process> = descends()?;
        fresh.retain(|process| !before.contains(&process.pid));
        let receiver = fresh.iter().find(|process| process.parent == self.daemon());
        let sender =
            receiver.and_then(|head| fresh.iter().find(|process| process.parent == head.pid));
        match (receiver, sender, fresh.len()) {
            (Some(receiver), Some(sender), 2) => {
                self.world.note(
                    "check",
                    format!(
                        "{name} is served by receiver {} and sender {}",
                        receiver.pid, sender.pid
                    ),
                );
                Ok((client, Cluster { receiver: receiver.pid, sender: sender.pid }))
            }
            _ => fail(
                "a client is served by a child of the daemon, the receiver, and a child of that, \
                 the sender",
                format!("{name} brought {} processes", fresh.len()),
            ),
        }
    }

    /// Many clients that have been let in, all at once.
    pub fn crowd(&self, size: usize) -> Step<Crowd> {
        Crowd::join(self, size)
    }

    /// The server's processes that are still there, zombies included.
    pub fn processes(&self) -> Step<Vec<Process>> {
        descends()
    }

    /// The process `pid`, if it is still there.
    pub fn process(&self, pid: i32) -> Step<Option<Process>> {
        Ok(descends()?.into_iter().find(|process| process.pid == pid))
    }

    /// Sends a signal to one of its processes.
    pub fn signal(&self, pid: i32, signal: Signal) -> Outcome {
        processes::signal(&self.world, pid, signal)
    }

    /// Stops a process and waits until it is stopped.
    pub fn freeze(&self, check: &Check, pid: i32) -> Outcome {
        self.signal(pid, Signal::SIGSTOP)?;
        check.until(
            Duration::from_secs(5),
            "a process stops at SIGSTOP",
            || Ok(self.process(pid)?.is_some_and(|p| p.state == platform::State::Stopped)),
            || format!("process {pid} did not"),
        )
    }

    /// Kills the daemon at once, and leaves its clusters alone. Waits until it is gone.
    pub fn kill_daemon(&self, check: &Check) -> Outcome {
        self.running.over.set(true);
        self.signal(self.daemon(), Signal::SIGKILL)?;
        check.until(
            Duration::from_secs(5),
            "a killed daemon is gone",
            || Ok(self.process(self.daemon())?.is_none()),
            || "it is still there".into(),
        )
    }

    /// Sends `signal` to the daemon and waits until it has ended; returns how.
    pub fn end_with(&self, signal: Signal) -> Step<String> {
        self.running.over.set(true);
        self.signal(self.daemon(), signal)?;
        let limit = self.world.scaled(END_LIMIT);
        let status = self.world.wait(limit, || Ok(ended(&self.world, self.daemon())))?;
        match status {
            Some(status) => Ok(status_words(&status)),
            None => fail(
                format!(
                    "the server ends within {:.1} s of {}",
                    limit.as_secs_f64(),
                    signal.as_str()
                ),
                "its daemon is still there",
            ),
        }
    }

    /// Ends the server as an administrator does, and checks that it ends well.
    pub fn end(&self) -> Outcome {
        end(&self.world, &self.running)
    }

    /// Nothing more is expected of this server at the end of the check.
    pub fn is_over(&self) {
        self.running.over.set(true);
    }
}

/// At the end of a check: is the server still one?
pub(super) fn check_sane(world: &Rc<World>, running: &Rc<Running>) -> Outcome {
    if running.over.get() {
        return Ok(());
    }
    let server = Server { world: world.clone(), running: running.clone() };
    processes::reap(world);
    if let Some(status) = ended(world, server.daemon()) {
        return fail(
            "the server is still alive at the end of the check",
            format!("its daemon {} {}", server.daemon(), status_words(&status)),
        );
    }
    world.note("check", format!("looks whether {} still serves", running.name));
    server.join("last").map(drop).map_err(|stop| match stop {
        Stop::Fail(failure) => Stop::Fail(crate::verdict::Failure {
            expected: "the server still serves a new client at the end of the check".into(),
            actual: failure.actual,
        }),
        other => other,
    })
}

/// Ends a server with SIGTERM; it must exit with status 0 in time.
pub(super) fn end(world: &Rc<World>, running: &Rc<Running>) -> Outcome {
    if running.over.get() {
        return Ok(());
    }
    let server = Server { world: world.clone(), running: running.clone() };
    let words = server.end_with(Signal::SIGTERM)?;
    ensure(words == "exited with status 0", "SIGTERM ends the server with exit status 0", || {
        format!("the daemon {words}")
    })
}

/// After the end of all servers, those included that never listened: no process is left. Returns
/// whether the system tells about processes at all.
pub(super) fn check_no_process_left(world: &Rc<World>) -> Step<bool> {
    let mut left = Vec::new();
    let mut known = true;
    let gone = world.wait(world.scaled(END_LIMIT), || {
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
    let names: Vec<String> = left
        .iter()
        .map(|process| format!("{} {} ({})", process.name, process.pid, process.state.word()))
        .collect();
    fail("no process of the server is left after its end", names.join(", "))
}

/// After a server's end: no lock, no bound port.
///
/// Where no process is left the ports are free, and asking could only find another check's server
/// that the system has given the same port since.
pub(super) fn check_nothing_held(
    world: &Rc<World>,
    running: &Rc<Running>,
    no_process_left: bool,
) -> Outcome {
    let limit = world.scaled(END_LIMIT);
    for address in &running.addresses {
        if !no_process_left && std::net::TcpStream::connect_timeout(address, limit).is_ok() {
            return fail(
                "the port is free after the server's end",
                format!("{address} still accepts connections"),
            );
        }
    }
    if running.log.is_file() && try_lock(&running.log, LockMode::Exclusive)?.is_none() {
        return fail(
            "the chat log is unlocked after the server's end",
            "someone still holds a lock",
        );
    }
    Ok(())
}
