//! All that is needed to start a server once: what a check wants, in the words that its manifest has
//! for it.

use std::ffi::OsString;
use std::fs::File;
use std::io::{Read, Write};
use std::net::SocketAddr;
use std::os::fd::{AsRawFd, OwnedFd};
use std::os::unix::fs::{OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::rc::Rc;

use super::access::reachable_program;
use super::listen::where_to_listen;
use super::words::{cannot, fill, mentions};
use crate::harness::options::Options;
use crate::harness::world::World;
use crate::stop::{OrError, Outcome, Step, Stop};
use crate::subject::{ReadyBy, Template, Values};

/// All that is needed to start a server once.
pub(super) struct Invocation {
    pub(super) number: u64,
    pub(super) program: PathBuf,
    pub(super) arguments: Vec<OsString>,
    pub(super) environment: Vec<(String, OsString)>,
    pub(super) directory: PathBuf,
    pub(super) log: PathBuf,
    pub(super) key_path: PathBuf,
    pub(super) key: Vec<u8>,
    pub(super) pid_file: PathBuf,
    /// Where it is to be found, if it does not tell.
    pub(super) address: Option<SocketAddr>,
    /// The port, if the harness chose it.
    pub(super) chosen_port: Option<u16>,
    pub(super) ready_file: Option<PathBuf>,
    pub(super) ready_line: Option<Template>,
    /// Written for this server; another user needs to read them.
    pub(super) files: Vec<PathBuf>,
    pub(super) in_background: bool,
    pub(super) run_as: Option<u32>,
    /// Where its addresses come from, and the end that the server gets.
    pub(super) ready: Option<OwnedFd>,
    pub(super) ready_end: Option<OwnedFd>,
    /// Held until the start; see [`Options::descriptors_above`].
    pub(super) taken: Option<Vec<File>>,
}

impl Invocation {
    pub(super) fn new(world: &Rc<World>, options: &Options) -> Step<Self> {
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

        let plan = where_to_listen(world, options)?;
        if let Some(address) = plan.address {
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
        arguments.extend(plan.arguments);
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
            address: plan.address,
            chosen_port: plan.chosen_port,
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

/// The arguments for what a check wants beside addresses.
fn option_arguments<'v>(
    world: &World,
    options: &Options,
    values: &mut Values<'v>,
) -> Step<Vec<OsString>> {
    let manifest = &world.orders.target.manifest;
    let own = &manifest.options;
    /// Something that a check wants, beside addresses.
    struct Wish<'w> {
        /// What it is, and the key of the manifest's words for it.
        what: &'static str,
        key: &'static str,
        templates: &'w Option<Vec<Template>>,
        /// The placeholder that they hold, and its value.
        value: Option<(&'static str, OsString)>,
    }
    let mut wishes = Vec::new();
    let mut wish = |what, key, templates, value| {
        wishes.push(Wish { what, key, templates, value });
    };
    if let Some(lines) = options.replay.filter(|&l| l != usize::from(manifest.wire.replay)) {
        let value = Some(("lines", lines.to_string().into()));
        wish("how many lines to send first", "options.replay", &own.replay, value);
    }
    if options.daemon && !manifest.launch.background {
        wish("to go into the background", "options.daemon", &own.daemon, None);
    }
    if options.to_syslog {
        wish("to write to the system's log", "options.syslog", &own.syslog, None);
    }
    if let Some(user) = &options.user {
        wish("which user to become", "options.user", &own.user, Some(("user", user.into())));
    }
    if let Some(number) = options.max_clients {
        let value = Some(("number", number.to_string().into()));
        wish("how many clients to serve", "options.max-clients", &own.max_clients, value);
    }
    if let Some(file) = &options.config {
        let value = Some(("config", file.into()));
        wish("which configuration to read", "options.config", &own.config, value);
    }
    if let Some(file) = &options.ready_file {
        let value = Some(("ready-file", file.into()));
        wish("to make a file when it listens", "options.ready-file", &own.ready_file, value);
    }
    let mut arguments = Vec::new();
    for Wish { what, key, templates, value } in wishes {
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
