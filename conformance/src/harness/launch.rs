//! How a server is started, as its manifest says, and how it is known that it listens.
//!
//! ```text
//! Options (what a check wants) ─┐
//! Manifest (what a server takes) ┴─ Invocation ── spawn ── ready ── daemon ── Launched
//! ```

use std::cell::Cell;
use std::ffi::OsString;
use std::fs::File;
use std::io::{Read, Write};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, TcpStream};
use std::os::fd::{AsFd, AsRawFd, OwnedFd};
use std::os::unix::fs::{OpenOptionsExt, PermissionsExt};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::rc::Rc;
use std::time::{Duration, Instant};

use nix::errno::Errno;
use nix::poll::{PollFd, PollFlags, poll};
use nix::sys::signal::{
    SaFlags, SigAction, SigHandler, SigSet, SigmaskHow, sigaction, sigprocmask,
};
use nix::sys::stat::umask;
use nix::sys::wait::WaitStatus;

use super::World;
use super::options::Options;
use super::processes::descends;
use super::server::{Launched, Running, Server, ended, tail};
use crate::platform::{self, State};
use crate::target::manifest::{DaemonIs, Manifest, ReadyBy};
use crate::target::{Template, Values};
use crate::verdict::{OrError, Outcome, Step, Stop, fail};

pub(super) fn start(world: &Rc<World>, options: Options) -> Step<Server> {
    let launched = launch(world, options)?;
    match launched.server {
        Some(server) => Ok(server),
        None => fail(
            "the server starts and listens",
            format!(
                "{}, and says: {}",
                match launched.status {
                    Some(status) => format!("it ended with exit status {status}"),
                    None => "it was ended by a signal".into(),
                },
                match launched.output.trim() {
                    "" => "nothing".into(),
                    words => words.replace('\n', " / "),
                }
            ),
        ),
    }
}

pub(super) fn launch(world: &Rc<World>, options: Options) -> Step<Launched> {
    /// Ports are chosen and then bound; somebody else may come between.
    const TRIES: usize = 3;
    let mut tries = 0;
    loop {
        tries += 1;
        let invocation = Invocation::new(world, &options)?;
        let chosen_port = invocation.chosen_port;
        let launched = spawn(world, &options, invocation)?;
        let lost = launched.server.is_none()
            && chosen_port.is_some_and(|port| !is_free(port))
            && tries < TRIES;
        if !lost {
            return Ok(launched);
        }
        world.note("check", "the port was taken meanwhile; tries another");
    }
}

/// All that is needed to start a server once.
struct Invocation {
    number: u64,
    program: PathBuf,
    arguments: Vec<OsString>,
    environment: Vec<(String, OsString)>,
    directory: PathBuf,
    log: PathBuf,
    key_path: PathBuf,
    key: Vec<u8>,
    pid_file: PathBuf,
    /// Where it is to be found, if it does not tell.
    address: Option<SocketAddr>,
    /// The port, if the harness chose it.
    chosen_port: Option<u16>,
    ready_file: Option<PathBuf>,
    ready_line: Option<Template>,
    /// Written for this server; another user needs to read them.
    files: Vec<PathBuf>,
    in_background: bool,
    run_as: Option<u32>,
    /// Where its addresses come from, and the end that the server gets.
    ready: Option<OwnedFd>,
    ready_end: Option<OwnedFd>,
    /// Held until the start; see [`Options::descriptors_above`].
    taken: Option<Vec<File>>,
}

/// That the manifest has no words for what a check wants.
fn cannot<T>(world: &World, what: &str, key: &str) -> Step<T> {
    Err(Stop::Unsupported(format!(
        "the target {} cannot be told {what}: its manifest has no {key}",
        world.orders.target.name
    )))
}

impl Invocation {
    fn new(world: &Rc<World>, options: &Options) -> Step<Self> {
        let target = &world.orders.target;
        let manifest = &target.manifest;
        let launch = &manifest.launch;
        let dir = &world.orders.dir;
        let number = world.serial();

        let mut values = world.places()?;
        let log = match &options.log {
            None => PathBuf::from(values["log"].clone()),
            Some(_) if !mentions(manifest, "log") => {
                return cannot(world, "where its log is", "{log} in launch");
            }
            Some(log) => log.clone(),
        };
        values.insert("log", log.clone().into());
        let key_path = match &options.key_file {
            None => PathBuf::from(values["key-file"].clone()),
            Some(_) if !mentions(manifest, "key-file") => {
                return cannot(world, "where its key is", "{key-file} in launch");
            }
            Some(path) => path.clone(),
        };
        values.insert("key-file", key_path.clone().into());
        if options.key_file.is_none() && manifest.key_length() > 0 && !key_path.exists() {
            write_key(&key_path, manifest.key_length())?;
        }
        // A key file that is wrong on purpose gives no key to speak of.
        let key = match manifest.key_length() {
            0 => Vec::new(),
            _ => std::fs::read(&key_path).unwrap_or_default(),
        };
        values.insert("key", std::os::unix::ffi::OsStringExt::from_vec(key.clone()));
        let pid_file = match &launch.pid_file {
            Some(template) => PathBuf::from(fill(template, &values)?),
            None => dir.join(format!("server-{number}.pid")),
        };
        values.insert("pid-file", pid_file.clone().into());
        let ready_file = options
            .ready_file
            .clone()
            .unwrap_or_else(|| dir.join(format!("server-{number}.ready")));
        values.insert("ready-file", ready_file.clone().into());

        let (address_arguments, address, chosen_port) = where_to_listen(world, options)?;
        if let Some(address) = address {
            values.insert("port", address.port().to_string().into());
        }
        // Taken first, so that the ready descriptor, which the server closes, and what `spawn`
        // opens for itself are above them too.
        let taken = options.descriptors_above.map(take_descriptors).transpose()?;
        let (ready, ready_end) = match manifest.ready.by {
            ReadyBy::Descriptor => {
                let (ready, ready_end) =
                    nix::unistd::pipe2(nix::fcntl::OFlag::O_CLOEXEC).or_error("pipe")?;
                values.insert("ready-fd", ready_end.as_raw_fd().to_string().into());
                (Some(ready), Some(ready_end))
            }
            _ => (None, None),
        };
        let run_as = match (options.run_as, &launch.user) {
            (Some(user), _) => Some(user),
            (None, Some(name)) if nix::unistd::geteuid().is_root() => {
                let user = nix::unistd::User::from_name(name).or_error("user database")?;
                let user = user.ok_or_else(|| Stop::Error(format!("no user `{name}`")))?;
                Some(user.uid.as_raw())
            }
            _ => None,
        };
        let program = match run_as {
            Some(_) => reachable_program(world)?,
            None => target.program.clone(),
        };

        let mut arguments = target.leading.clone();
        for template in &launch.arguments {
            arguments.push(fill(template, &values)?);
        }
        arguments.extend(address_arguments);
        arguments.extend(option_arguments(world, options, &mut values)?);
        let mut environment = Vec::new();
        for (name, template) in &launch.environment {
            environment.push((name.clone(), fill(template, &values)?));
        }
        let directory = match &launch.directory {
            Some(template) => PathBuf::from(fill(template, &values)?),
            None => dir.clone(),
        };
        let mut files = Vec::new();
        for file in &launch.files {
            let path = PathBuf::from(fill(&file.path, &values)?);
            let content = fill(&file.content, &values)?;
            write_file(
                &path,
                std::os::unix::ffi::OsStrExt::as_bytes(content.as_os_str()),
                file.mode.0,
            )
            .or_error(path.display())?;
            files.push(path);
        }
        let ready_file = match (manifest.ready.by, &manifest.ready.file) {
            (ReadyBy::File, Some(template)) => Some(PathBuf::from(fill(template, &values)?)),
            (ReadyBy::File, None) => Some(ready_file),
            _ => None,
        };
        if let Some(file) = &ready_file {
            // One that an earlier server left says nothing of this one.
            let _ = std::fs::remove_file(file);
        }
        Ok(Self {
            number,
            program,
            arguments,
            environment,
            directory,
            log,
            key_path,
            key,
            pid_file,
            address,
            chosen_port,
            ready_file,
            ready_line: manifest.ready.line.clone(),
            files,
            in_background: options.daemon || launch.background,
            run_as,
            ready,
            ready_end,
            taken,
        })
    }
}

fn fill(template: &Template, values: &Values<'_>) -> Step<OsString> {
    template.fill(values).map_err(|message| Stop::Error(format!("manifest: {message}")))
}

fn mentions(manifest: &Manifest, name: &str) -> bool {
    let launch = &manifest.launch;
    launch
        .arguments
        .iter()
        .chain(launch.environment.values())
        .chain(launch.files.iter().map(|file| &file.content))
        .any(|template| template.mentions(name))
}

/// Arguments for the addresses, where the server is to be found if it does not tell, and the port
/// if the harness chose it.
type Whereabouts = (Vec<OsString>, Option<SocketAddr>, Option<u16>);

fn where_to_listen(world: &World, options: &Options) -> Step<Whereabouts> {
    let manifest = &world.orders.target.manifest;
    let tells = match manifest.ready.by {
        ReadyBy::Descriptor => true,
        ReadyBy::Output => {
            let line = manifest.ready.line.as_ref();
            line.is_some_and(|line| line.mentions("port") || line.mentions("address"))
        }
        ReadyBy::File | ReadyBy::Port => false,
    };
    let given =
        |templates: &[Template], name: &'static str, value: String| -> Step<Vec<OsString>> {
            let values: Values<'_> = [(name, OsString::from(value))].into();
            templates.iter().map(|template| fill(template, &values)).collect()
        };
    let local = |port: u16| SocketAddr::from((Ipv4Addr::LOCALHOST, port));
    let fixed = manifest.launch.port.map(std::num::NonZeroU16::get);

    if options.default_addresses {
        if let Some(templates) = &manifest.options.any_address {
            let chosen = match options.port {
                Some(port) => port,
                None if tells => 0,
                None => free_port()?,
            };
            let address = (!tells).then(|| local(chosen));
            let arguments = given(templates, "port", chosen.to_string())?;
            return Ok((arguments, address, address.map(|_| chosen)));
        }
        if manifest.options.address.is_some() && !manifest.takes_port() {
            return cannot(world, "to listen on its defaults", "options.any-address");
        }
    }
    if let (Some(templates), false) = (&manifest.options.address, options.default_addresses) {
        let mut chosen = None;
        let mut wanted = options.listen.clone();
        if wanted.is_empty() {
            if !tells {
                chosen = Some(free_port()?);
            }
            wanted.push(local(chosen.unwrap_or(0)).to_string());
        }
        let mut arguments = Vec::new();
        for address in &wanted {
            arguments.extend(given(templates, "address", address.clone())?);
        }
        let mut address = None;
        if !tells {
            // A port of 0 would never be known.
            for wanted in &mut wanted {
                if wanted.ends_with(":0") {
                    return cannot(world, "which port it chose", "ready.line with {port}");
                }
            }
            address = wanted.first().and_then(|wanted| wanted.parse().ok());
        }
        return Ok((arguments, address, chosen));
    }
    // The port alone can be told, or nothing.
    let port = match (options.listen.as_slice(), fixed) {
        ([], Some(fixed)) => {
            if world.servers.borrow().iter().any(|server| !server.over.get()) {
                return cannot(
                    world,
                    "a port beside that of its other server",
                    "other port than launch.port",
                );
            }
            fixed
        }
        ([], None) if tells && !manifest.takes_port() => return Ok((Vec::new(), None, None)),
        ([], None) => {
            let chosen = free_port()?;
            return Ok((Vec::new(), Some(local(chosen)), Some(chosen)));
        }
        ([one], fixed) => match (one.parse::<SocketAddr>(), fixed) {
            (Ok(address), None)
                if address.ip() == IpAddr::V4(Ipv4Addr::LOCALHOST) && manifest.takes_port() =>
            {
                match address.port() {
                    0 => free_port()?,
                    port => port,
                }
            }
            (Ok(address), Some(fixed)) if address == local(fixed) => fixed,
            _ => return cannot(world, &format!("to listen on {one}"), "options.address"),
        },
        _ => return cannot(world, "to listen on several addresses", "options.address"),
    };
    Ok((Vec::new(), Some(local(port)), None))
}

/// The arguments for what a check wants beside addresses.
fn option_arguments<'v>(
    world: &World,
    options: &Options,
    values: &mut Values<'v>,
) -> Step<Vec<OsString>> {
    let manifest = &world.orders.target.manifest;
    let own = &manifest.options;
    let path = |path: &PathBuf| path.clone().into_os_string();
    // What is wanted, its value, the manifest's words for it, and what it is.
    type Wanted<'w> = (
        bool,
        Option<(&'static str, OsString)>,
        &'w Option<Vec<Template>>,
        &'static str,
        &'static str,
    );
    let replay = options.replay.filter(|&lines| lines != usize::from(manifest.wire.replay));
    let wanted: [Wanted<'_>; 7] = [
        (
            replay.is_some(),
            replay.map(|lines| ("lines", lines.to_string().into())),
            &own.replay,
            "how many lines to send first",
            "options.replay",
        ),
        (
            options.daemon && !manifest.launch.background,
            None,
            &own.daemon,
            "to go into the background",
            "options.daemon",
        ),
        (options.to_syslog, None, &own.syslog, "to write to the system's log", "options.syslog"),
        (
            options.user.is_some(),
            options.user.as_ref().map(|user| ("user", user.into())),
            &own.user,
            "which user to become",
            "options.user",
        ),
        (
            options.max_clients.is_some(),
            options.max_clients.map(|number| ("number", number.to_string().into())),
            &own.max_clients,
            "how many clients to serve",
            "options.max-clients",
        ),
        (
            options.config.is_some(),
            options.config.as_ref().map(|file| ("config", path(file))),
            &own.config,
            "which configuration to read",
            "options.config",
        ),
        (
            options.ready_file.is_some(),
            options.ready_file.as_ref().map(|file| ("ready-file", path(file))),
            &own.ready_file,
            "to make a file when it listens",
            "options.ready-file",
        ),
    ];
    let mut arguments = Vec::new();
    for (is_wanted, value, templates, what, key) in wanted {
        if !is_wanted {
            continue;
        }
        let Some(templates) = templates else { return cannot(world, what, key) };
        if let Some((name, value)) = value {
            values.insert(name, value);
        }
        for template in templates {
            arguments.push(fill(template, values)?);
        }
    }
    if !options.to_syslog {
        for template in own.stderr.iter().flatten() {
            arguments.push(fill(template, values)?);
        }
    }
    Ok(arguments)
}

/// A port of the loopback interface that nobody has, outside of the range from which systems give
/// ports to clients, so that few things can take it before the server does.
fn free_port() -> Step<u16> {
    for _ in 0..200 {
        let mut random = [0; 2];
        File::open("/dev/urandom")
            .and_then(|mut source| source.read_exact(&mut random))
            .or_error("/dev/urandom")?;
        let port = 10_000 + u16::from_ne_bytes(random) % 20_000;
        if is_free(port) {
            return Ok(port);
        }
    }
    Err(Stop::Error("no port is free".into()))
}

/// Whether a server gets this port on whatever address, also one that does not set `SO_REUSEADDR`
/// and so is kept out by connections in TIME_WAIT; std's `TcpListener` sets it.
fn is_free(port: u16) -> bool {
    use nix::sys::socket::{AddressFamily, SockFlag, SockType, SockaddrStorage, bind, socket};
    let all: [IpAddr; 2] = [Ipv4Addr::UNSPECIFIED.into(), Ipv6Addr::UNSPECIFIED.into()];
    all.into_iter().all(|address| {
        let family = if address.is_ipv4() { AddressFamily::Inet } else { AddressFamily::Inet6 };
        match socket(family, SockType::Stream, SockFlag::empty(), None) {
            Ok(socket) => {
                let at = SockaddrStorage::from(SocketAddr::from((address, port)));
                bind(socket.as_raw_fd(), &at) != Err(Errno::EADDRINUSE)
            }
            // A kernel without this family.
            Err(_) => true,
        }
    })
}

/// Writes a file anew, with its directory if that is missing.
fn write_file(path: &Path, content: &[u8], mode: u32) -> std::io::Result<()> {
    if let Some(parent) = path.parent() {
        std::fs::create_dir_all(parent)?;
    }
    match std::fs::remove_file(path) {
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => return Err(error),
        _ => {}
    }
    let mut file =
        std::fs::OpenOptions::new().write(true).create_new(true).mode(mode).open(path)?;
    file.write_all(content)?;
    // Whatever the umask is.
    file.set_permissions(std::fs::Permissions::from_mode(mode))
}

/// What became of what was started, as far as is known.
enum Sign {
    Listens(Vec<SocketAddr>),
    Ended(WaitStatus),
    /// It does neither within its time.
    Silent,
}

fn spawn(world: &Rc<World>, options: &Options, mut invocation: Invocation) -> Step<Launched> {
    let target = &world.orders.target;
    let dir = &world.orders.dir;
    let number = invocation.number;
    if let (Some(port), Some(at)) = (target.manifest.launch.port, invocation.address) {
        let alone = world.servers.borrow().iter().all(|server| server.over.get());
        if alone && TcpStream::connect(at).is_ok() {
            return Err(Stop::NotRun(format!("port {port} is in use by another program")));
        }
    }
    let output = dir.join(format!("server-{number}{}", crate::warden::OUTPUT_SUFFIX));
    let output_file = std::fs::OpenOptions::new()
        .append(true)
        .create_new(true)
        .open(&output)
        .or_error("server's output")?;
    let mut command = Command::new(&invocation.program);
    command.args(&invocation.arguments);
    command.current_dir(&invocation.directory);
    command.envs(invocation.environment.iter().cloned());
    command.envs(world.orders.environment.iter().cloned());
    command.stdin(Stdio::null());
    command.stdout(output_file.try_clone().or_error("server's output")?);
    command.stderr(output_file);
    if let Some(user) = invocation.run_as {
        let mut own = vec![dir.clone(), invocation.key_path.clone()];
        let values = world.places()?;
        for bind in &target.manifest.launch.bind {
            own.push(PathBuf::from(fill(&bind.from, &values)?));
        }
        // What lies elsewhere is somebody else's.
        own.retain(|path| path.starts_with(dir));
        own.extend(invocation.files.iter().cloned());
        for path in &own {
            if !path.exists() {
                continue;
            }
            // Root inside a user namespace may not know the user.
            std::os::unix::fs::chown(path, Some(user), Some(user)).map_err(|error| {
                Stop::NotRun(format!("needs the right to run the server as user {user}: {error}"))
            })?;
        }
    }
    prepare(&mut command, options, &invocation);
    // What is there already is not this server's.
    let before: Vec<i32> = descends().unwrap_or_default().iter().map(|p| p.pid).collect();
    let begin = Instant::now();
    world.note("check", format!("starts server {number}"));
    let child = command.spawn().or_error(target.program.display())?;
    // The server alone has the other end now, so that its closing it is seen.
    drop(invocation.ready_end.take());
    drop(invocation.taken.take());
    // From here on the process is known by its number; `reap` waits for it.
    let launcher = child.id() as i32;
    drop(child);
    let ready_limit = world.scaled(target.manifest.ready.limit.duration());
    Spawned { world: world.clone(), launcher, before, begin, output, ready_limit }
        .follow(&invocation)
}

/// Sets up what the process of `command` is to find, between fork and exec.
fn prepare(command: &mut Command, options: &Options, invocation: &Invocation) {
    let ready_end = invocation.ready_end.as_ref().map(|end| end.as_raw_fd());
    let in_child = options.clone();
    let run_as = invocation.run_as;
    let groups: Vec<_> = options.groups.iter().map(|&id| nix::unistd::Gid::from_raw(id)).collect();
    // SAFETY: between fork and exec the closure makes system calls only; it allocates nothing.
    unsafe {
        command.pre_exec(move || {
            if let Some(ready_end) = ready_end {
                libc::fcntl(ready_end, libc::F_SETFD, 0);
            }
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
            if let Some(user) = run_as {
                become_user(user)?;
            }
            if in_child.all_blocked {
                sigprocmask(SigmaskHow::SIG_SETMASK, Some(&SigSet::all()), None)?;
            }
            Ok(())
        });
    }
}

/// A server that was started, of which nothing more is known yet.
struct Spawned {
    world: Rc<World>,
    launcher: i32,
    before: Vec<i32>,
    begin: Instant,
    output: PathBuf,
    ready_limit: Duration,
}

impl Spawned {
    fn follow(self, invocation: &Invocation) -> Step<Launched> {
        let world = &self.world;
        let sign = match world.orders.target.manifest.ready.by {
            ReadyBy::Descriptor => self.announcement(invocation)?,
            by => self.watch(by, invocation)?,
        };
        let (status, addresses) = match sign {
            Sign::Silent => {
                return fail(
                    format!(
                        "the server listens within {:.1} s, or ends",
                        self.ready_limit.as_secs_f64()
                    ),
                    format!("it does neither; it says: {}", last_words(&self.output)),
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
            let running = Rc::new(Running {
                name: format!("server {}", invocation.number),
                daemon: Cell::new(daemon),
                addresses,
                log: invocation.log.clone(),
                key: invocation.key.clone(),
                output: self.output.clone(),
                over: Cell::new(false),
                witness: std::cell::RefCell::default(),
            });
            world.note("check", format!("{} listens on {:?}", running.name, running.addresses));
            world.servers.borrow_mut().push(running.clone());
            Some(Server { world: world.clone(), running })
        };
        let status = match status {
            Some(WaitStatus::Exited(_, status)) => Some(status),
            _ => None,
        };
        Ok(Launched {
            status,
            output: tail(&self.output, 16 * 1024),
            server,
            took: self.begin.elapsed(),
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
    fn launcher_returns(&self) -> Step<WaitStatus> {
        let world = &self.world;
        let limit = self.ready_limit;
        match world.wait(limit, || Ok(ended(world, self.launcher)))? {
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
        let sign = world.wait(left, || {
            let seen = match by {
                ReadyBy::Descriptor => None,
                ReadyBy::Port => invocation.address.filter(|at| listens(*at)).map(|at| vec![at]),
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
            match ended(world, self.launcher) {
                Some(status @ WaitStatus::Exited(_, 0)) if invocation.in_background => {
                    // Its daemon may be under way, as long as there is one.
                    let left = descends().unwrap_or_default();
                    let all_gone = left.iter().all(|process| process.state == State::Zombie);
                    let known = platform::process_table().is_ok();
                    Ok((known && all_gone).then_some(Sign::Ended(status)))
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
        let (candidates, how) = match world.orders.target.manifest.launch.daemon {
            DaemonIs::InPidFile => {
                let path = &invocation.pid_file;
                let pid = world.wait(world.patience(), || {
                    let text = std::fs::read_to_string(path).unwrap_or_default();
                    Ok(text.trim().parse::<i32>().ok())
                })?;
                return pid.ok_or_else(|| Stop::Error(format!("no pid in {}", path.display())));
            }
            DaemonIs::Orphan => (found(&|p| p.parent == own)?, "have lost their parent"),
            DaemonIs::SessionLeader => (found(&|p| p.session == p.pid)?, "lead a session"),
        };
        match candidates.as_slice() {
            [one] => Ok(*one),
            several => Err(Stop::Error(format!(
                "{} processes of the target {how}, so which of them is the daemon cannot be told: \
                 see launch.daemon",
                several.len()
            ))),
        }
    }
}

fn last_words(output: &Path) -> String {
    let said = tail(output, 2048);
    match said.trim() {
        "" => "nothing".into(),
        words => words.replace('\n', " / "),
    }
}

/// Whether something listens at `at`.
fn listens(at: SocketAddr) -> bool {
    // Asked without a connection where that is possible: one more client is one more process.
    platform::is_listening(at.port()).unwrap_or_else(|| TcpStream::connect(at).is_ok())
}

/// An address and port, with the scope as a number or as an interface's name (RFC 4007, 11).
fn address(text: &str) -> Option<SocketAddr> {
    let plain = || -> Option<SocketAddr> {
        let (before, rest) = text.split_once('%')?;
        let (name, after) = rest.split_once(']')?;
        let index = nix::net::if_::if_nametoindex(name).ok()?;
        format!("{before}%{index}]{after}").parse().ok()
    };
    text.parse().ok().or_else(plain)
}

/// What a ready line tells.
#[derive(Debug, PartialEq)]
enum Said {
    Nothing,
    Port(u16),
    Address(SocketAddr),
}

/// Where `words` end in `line`, not as a part of longer words: `ready` is not in `already`.
fn word_in(line: &str, words: &str, whole: bool) -> Option<usize> {
    let is_letter = |c: Option<char>| c.is_some_and(char::is_alphanumeric);
    line.match_indices(words).map(|(at, _)| (at, at + words.len())).find_map(|(at, end)| {
        let begins = !is_letter(line[..at].chars().next_back()) || !is_letter(words.chars().next());
        let ends = !is_letter(line[end..].chars().next()) || !is_letter(words.chars().next_back());
        (begins && (ends || !whole)).then_some(end)
    })
}

/// What `line` tells, if it is the one.
fn said_in(template: &Template, line: &str) -> Step<Option<Said>> {
    const MARK: &str = "\u{1}";
    let values: Values<'_> = ["port", "address"].map(|name| (name, OsString::from(MARK))).into();
    let text = fill(template, &values)?.to_string_lossy().into_owned();
    let Some((before, after)) = text.split_once(MARK) else {
        let found = word_in(line, &text, true);
        return Ok(found.map(|_| Said::Nothing));
    };
    let Some(begin) = word_in(line, before, false) else { return Ok(None) };
    let rest = &line[begin..];
    let end = match after {
        "" => rest.find(char::is_whitespace).unwrap_or(rest.len()),
        after => match rest.find(after) {
            Some(end) => end,
            None => return Ok(None),
        },
    };
    let word = &rest[..end];
    let said = if template.mentions("port") {
        word.parse().ok().filter(|port| *port != 0).map(Said::Port)
    } else {
        address(word).map(Said::Address)
    };
    match said {
        Some(said) => Ok(Some(said)),
        None => Err(Stop::Error(format!(
            "the target's ready line says `{}` where its {} should be: {}",
            word.escape_debug(),
            if template.mentions("port") { "port" } else { "address" },
            line.escape_debug()
        ))),
    }
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
fn write_key(path: &Path, length: usize) -> Outcome {
    let mut random = vec![0u8; length];
    File::open("/dev/urandom")
        .and_then(|mut source| source.read_exact(&mut random))
        .or_error("/dev/urandom")?;
    let key: Vec<u8> = random.iter().map(|byte| b'a' + byte % 26).collect();
    std::fs::OpenOptions::new()
        .write(true)
        .create_new(true)
        .mode(0o600)
        .open(path)
        .and_then(|mut file| file.write_all(&key))
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
    let target = &world.orders.target;
    let original = &target.program;
    let unreachable = |path: &Path| {
        Err(Stop::NotRun(format!(
            "needs files that every user can read: the server is started as another user, who cannot \
             reach {}",
            path.display()
        )))
    };
    // With a script beside the manifest the program is its interpreter, which works where it is.
    let is_interpreter = mentions(&target.manifest, "manifest-dir");
    if let Some(manifest) = target.file.as_ref().filter(|_| is_interpreter) {
        if !is_open_to_all(manifest) {
            return unreachable(manifest);
        }
    }
    let mode = std::fs::metadata(original).or_error(original.display())?.permissions().mode();
    if is_open_to_all(original) && mode & 0o001 != 0 {
        return Ok(original.clone());
    }
    if is_interpreter {
        return unreachable(original);
    }
    let path = world.orders.dir.join("program");
    if !path.exists() && std::fs::hard_link(original, &path).is_err() {
        std::fs::copy(original, &path).or_error(original.display())?;
    }
    Ok(path)
}

/// Whether every user can read `path`: each directory above it can be passed through.
fn is_open_to_all(path: &Path) -> bool {
    let mode = |path: &Path| std::fs::metadata(path).map_or(0, |found| found.permissions().mode());
    mode(path) & 0o004 != 0 && path.ancestors().skip(1).all(|above| mode(above) & 0o001 != 0)
}

/// Becomes `user` for good. Between fork and exec: system calls only.
fn become_user(user: u32) -> nix::Result<()> {
    let group = nix::unistd::Gid::from_raw(user);
    nix::unistd::setgroups(&[group])?;
    nix::unistd::setgid(group)?;
    nix::unistd::setuid(nix::unistd::Uid::from_raw(user))
}

#[cfg(test)]
mod tests {
    use rstest::rstest;

    use super::*;

    fn template(text: &str) -> Template {
        Template::try_from(text.to_owned()).unwrap()
    }

    #[rstest]
    #[case("ready", "I am ready now", Some(Said::Nothing))]
    #[case("ready", "not yet", None)]
    #[case("ready", "Address already in use", None)]
    #[case("ready", "readying", None)]
    #[case("port {port}", "listening on port 7722", Some(Said::Port(7722)))]
    #[case("port {port}", "listening on port 7722 of all", Some(Said::Port(7722)))]
    #[case("({port})", "at (80) now", Some(Said::Port(80)))]
    #[case("({port})", "at (80", None)]
    #[case("on {address}", "on 127.0.0.1:80", Some(Said::Address(([127, 0, 0, 1], 80).into())))]
    fn ready_lines_are_read(#[case] text: &str, #[case] line: &str, #[case] said: Option<Said>) {
        assert_eq!(said_in(&template(text), line).unwrap(), said);
    }

    #[rstest]
    #[case("port {port}", "port none", "`none` where its port should be")]
    #[case("port {port}", "port 0", "`0` where its port should be")]
    #[case("port {port}", "port 70000", "`70000` where its port should be")]
    #[case("on {address}", "on 7722", "`7722` where its address should be")]
    fn ready_lines_that_are_wrong_say_so(
        #[case] text: &str,
        #[case] line: &str,
        #[case] words: &str,
    ) {
        match said_in(&template(text), line) {
            Err(Stop::Error(message)) => assert!(message.contains(words), "{message}"),
            other => panic!("{other:?}"),
        }
    }
}
