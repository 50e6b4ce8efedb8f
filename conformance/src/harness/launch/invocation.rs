//! All that is needed to start a server once: what a check wants, in the words that its manifest has
//! for it.

use std::ffi::OsString;
use std::fs::File;
use std::io::{Read, Write};
use std::net::SocketAddr;
use std::os::fd::{AsRawFd, OwnedFd};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::rc::Rc;

use super::access::{give_away, reachable_program};
use super::listen::{ListenPlan, parts_of, where_to_listen};
use super::words::{cannot, fill, mentions};
use crate::harness::options::Options;
use crate::harness::prepare::{user_of, write_file};
use crate::harness::user::User;
use crate::harness::world::World;
use crate::stop::{OrError, Step, Stop};
use crate::subject::{Manifest, ReadyBy, Template, Values, Words};

/// All that is needed to start a server once.
pub(super) struct Invocation {
    pub(super) number: u64,
    /// What `{dir}` stands for.
    pub(super) dir: PathBuf,
    pub(super) program: PathBuf,
    pub(super) arguments: Vec<OsString>,
    pub(super) environment: Vec<(String, OsString)>,
    pub(super) directory: PathBuf,
    pub(super) log: PathBuf,
    pub(super) key: Vec<u8>,
    pub(super) pid_file: PathBuf,
    /// Where it is to be found, if it does not tell.
    pub(super) address: Option<SocketAddr>,
    /// The port, if the harness chose it.
    pub(super) chosen_port: Option<u16>,
    pub(super) ready_file: Option<PathBuf>,
    pub(super) ready_line: Option<Template>,
    /// What is to be run before it.
    pub(super) prepare: Vec<Vec<OsString>>,
    pub(super) in_background: bool,
    pub(super) run_as: Option<User>,
    /// Where its addresses come from, and the end that the server gets.
    pub(super) ready: Option<OwnedFd>,
    pub(super) ready_end: Option<OwnedFd>,
    /// What its pid file is to hold before the start.
    pub(super) left_in_pid_file: Option<String>,
    /// Whether what it says cannot be heard.
    pub(super) is_unheard: bool,
    /// Held until the start; see [`Options::descriptors_above`].
    pub(super) taken: Option<Vec<File>>,
}

impl Invocation {
    pub(super) fn new(world: &Rc<World>, options: &Options) -> Step<Self> {
        let target = &world.orders.target;
        let manifest = &target.manifest;
        let launch = &manifest.launch;
        let number = world.serial();
        let run_as = match options.run_as {
            Some(user) => Some(User { id: user, group: user }),
            None => user_of(world)?,
        };
        world.owner.set(run_as);
        let dir = match options.elsewhere {
            false => world.orders.dir.clone(),
            true => world.orders.kept.join(format!("server-{number}")),
        };
        if options.elsewhere {
            std::fs::create_dir(&dir).or_error(dir.display())?;
        }
        give_away(world, &dir)?;

        let mut values = world.places_in(&dir)?;
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
        let key = key(world, options, &key_path)?;
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

        let plan = match options.handed.as_ref().filter(|handed| handed.is_meant) {
            Some(handed) => ListenPlan {
                address: Some(handed.socket.local_addr().or_error("local address")?),
                ..ListenPlan::default()
            },
            None => where_to_listen(world, options)?,
        };
        if let Some(address) = plan.address {
            values.insert("port", address.port().to_string().into());
        }
        let tells = |text: &Template| text.mentions("address") || text.mentions("host");
        let addresses = &plan.addresses;
        // Taken first, so that the ready descriptor, which the server closes, and what `spawn`
        // opens for itself are above them too.
        let taken = options.descriptors_above.map(take_descriptors).transpose()?;
        let (ready, ready_end) = match manifest.ready.by {
            ReadyBy::Descriptor => {
                let (ready, ready_end) =
                    nix::unistd::pipe2(nix::fcntl::OFlag::O_CLOEXEC).or_error("pipe")?;
                // Descriptor 3 may be what the server is handed.
                let ready_end = match options.handed {
                    Some(_) => above(ready_end, 10)?,
                    None => ready_end,
                };
                values.insert("ready-fd", ready_end.as_raw_fd().to_string().into());
                (Some(ready), Some(ready_end))
            }
            _ => (None, None),
        };
        let program = match run_as {
            Some(_) => reachable_program(world)?,
            None => target.program.clone(),
        };

        let mut arguments = target.leading.clone();
        let said = wished(world, options, &mut values)?;
        arguments.extend(launch_arguments(manifest, &said, &values)?);
        arguments.extend(plan.arguments);
        arguments.extend(added_arguments(&said, &values)?);
        let mut environment = Vec::new();
        for (name, template) in &launch.environment {
            environment.push((name.clone(), fill(template, &values)?));
        }
        let directory = match &launch.directory {
            Some(template) => PathBuf::from(fill(template, &values)?),
            None => dir.clone(),
        };
        for file in &launch.files {
            let path = PathBuf::from(fill(&file.path, &values)?);
            let content = match tells(&file.content) {
                true => for_each_address(&file.content, addresses, &values)?,
                false => fill(&file.content, &values)?,
            };
            let content = std::os::unix::ffi::OsStrExt::as_bytes(content.as_os_str());
            world
                .as_owner_of(&path, || write_file(&path, content, file.mode.0))?
                .or_error(path.display())?;
        }
        let ready_file = match (manifest.ready.by, &manifest.ready.file) {
            (ReadyBy::File, Some(template)) => Some(PathBuf::from(fill(template, &values)?)),
            (ReadyBy::File, None) => Some(ready_file),
            _ => None,
        };
        if let Some(file) = &ready_file {
            // One that an earlier server left says nothing of this one.
            let _ = world.as_owner_of(file, || std::fs::remove_file(file))?;
        }
        let mut prepare = Vec::new();
        for command in launch.prepare.iter().filter(|prepare| !prepare.once) {
            let words = command.command.iter().map(|template| fill(template, &values));
            prepare.push(words.collect::<Step<_>>()?);
        }
        Ok(Self {
            number,
            dir,
            program,
            arguments,
            environment,
            directory,
            log,
            key,
            pid_file,
            address: plan.address,
            chosen_port: plan.chosen_port,
            ready_file,
            ready_line: manifest.ready.line.clone(),
            prepare,
            in_background: options.daemon || launch.background,
            run_as,
            ready,
            ready_end,
            left_in_pid_file: options.pid_file_holds.clone(),
            is_unheard: options.is_unheard(),
            taken,
        })
    }
}

/// What a server is told beside its addresses.
fn wished<'m>(
    world: &'m World,
    options: &Options,
    values: &mut Values<'_>,
) -> Step<Vec<&'m Words>> {
    let manifest = &world.orders.target.manifest;
    let own = &manifest.options;
    let replay = options.replay.filter(|&lines| lines != usize::from(manifest.wire.replay));
    // What it is, the key of the manifest's words for it, the placeholder that they hold, and its
    // value; none where it is not wanted.
    type Wish<'m> = (&'m str, &'m str, &'m Option<Words>, &'static str, Option<OsString>);
    let no_value = |wanted: bool| wanted.then(OsString::new);
    let wishes: [Wish<'m>; 8] = [
        (
            "how many lines to send first",
            "options.replay",
            &own.replay,
            "lines",
            replay.map(|lines| lines.to_string().into()),
        ),
        (
            "to go into the background",
            "options.daemon",
            &own.daemon,
            "",
            no_value(options.daemon && !manifest.launch.background),
        ),
        (
            "to write to the system's log",
            "options.syslog",
            &own.syslog,
            "",
            no_value(options.to_syslog),
        ),
        (
            "which user to become",
            "options.user",
            &own.user,
            "user",
            options.user.as_ref().map(OsString::from),
        ),
        (
            "how many clients to serve",
            "options.max-clients",
            &own.max_clients,
            "number",
            options.max_clients.map(|number| number.to_string().into()),
        ),
        (
            "which configuration to read",
            "options.config",
            &own.config,
            "config",
            options.config.as_ref().map(OsString::from),
        ),
        (
            "to serve on a socket that it is handed",
            "options.activation",
            &own.activation,
            "",
            no_value(options.handed.as_ref().is_some_and(|handed| handed.is_meant)),
        ),
        (
            "to make a file when it listens",
            "options.ready-file",
            &own.ready_file,
            "ready-file",
            options.ready_file.as_ref().map(OsString::from),
        ),
    ];
    let mut said = Vec::new();
    for (what, key, words, name, value) in wishes {
        let Some(value) = value else { continue };
        let Some(words) = words else { return cannot(world, what, key) };
        if !name.is_empty() {
            values.insert(name, value);
        }
        said.push(words);
    }
    if !options.to_syslog {
        said.extend(own.stderr.as_ref());
    }
    Ok(said)
}

/// `launch.arguments`, less those that give way to others.
fn launch_arguments(
    manifest: &Manifest,
    said: &[&Words],
    values: &Values<'_>,
) -> Step<Vec<OsString>> {
    let all = &manifest.launch.arguments;
    let mut arguments: Vec<Option<&[Template]>> = all.chunks(1).map(Some).collect();
    for words in said {
        if let (Words::Instead(instead), Some(place)) = (words, words.place_in(all)) {
            arguments[place..place + instead.instead_of.len()].fill(None);
            arguments[place] = Some(&instead.arguments);
        }
    }
    arguments.into_iter().flatten().flatten().map(|template| fill(template, values)).collect()
}

/// The arguments that come after all others.
fn added_arguments(said: &[&Words], values: &Values<'_>) -> Step<Vec<OsString>> {
    let added = said.iter().filter(|words| matches!(words, Words::Added(_)));
    added.flat_map(|words| words.arguments()).map(|template| fill(template, values)).collect()
}

/// The content of a file that tells addresses: a line that does is there once for each.
fn for_each_address(
    content: &Template,
    addresses: &[String],
    values: &Values<'_>,
) -> Step<OsString> {
    let mut text = OsString::new();
    for line in content.text().split_inclusive('\n') {
        let line = Template::from(line);
        if !line.mentions("address") && !line.mentions("host") {
            text.push(fill(&line, values)?);
            continue;
        }
        for address in addresses {
            let mut values = values.clone();
            values.extend(parts_of(address));
            text.push(fill(&line, &values)?);
        }
    }
    Ok(text)
}

/// The key that the server finds in `path`: a new one where there is none. What a check has written
/// it remembers, since whose the file is now is the server's affair.
fn key(world: &World, options: &Options, path: &Path) -> Step<Vec<u8>> {
    let length = world.orders.target.manifest.key_length();
    if length == 0 {
        return Ok(Vec::new());
    }
    let known = |keys: &[(PathBuf, Vec<u8>)]| {
        keys.iter().find(|(of, _)| of == path).map(|(_, key)| key.clone())
    };
    if let Some(key) = known(&world.keys.borrow()) {
        return Ok(key);
    }
    // A key file that is wrong on purpose gives no key to speak of.
    if options.key_file.is_some() || path.exists() {
        return Ok(world.as_owner_of(path, || std::fs::read(path))?.unwrap_or_default());
    }
    let key = world.as_owner_of(path, || write_key(path, length))??;
    world.keys.borrow_mut().push((path.to_owned(), key.clone()));
    Ok(key)
}

/// A key like real ones, different for each check.
fn write_key(path: &Path, length: usize) -> Step<Vec<u8>> {
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
        .or_error("key file")?;
    Ok(key)
}

/// The same with a number of at least `least`.
fn above(descriptor: OwnedFd, least: i32) -> Step<OwnedFd> {
    use nix::fcntl::{FcntlArg, fcntl};
    let raw = fcntl(&descriptor, FcntlArg::F_DUPFD_CLOEXEC(least)).or_error("F_DUPFD")?;
    // SAFETY: fcntl has just made it for us alone.
    Ok(unsafe { <OwnedFd as std::os::fd::FromRawFd>::from_raw_fd(raw) })
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
