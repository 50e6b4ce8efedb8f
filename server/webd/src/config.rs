//! The command line and the configuration file, merged into one [`Config`]. Options win.

use std::ffi::OsString;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::time::Duration;

use clap::Parser;
use serde::{Deserialize, Serialize};

use crate::options::{
    Balance, Cli, Command, Links, LogFormat, MOST_WORKERS, ServeArguments, Settings, WorkerAddress,
    Workers,
};
use crate::sockets::resolve;
use settings::StartError;

/// The port when none is named.
const DEFAULT_PORT: u16 = 8080;
/// All remote workers must fit into the environment of a worker's process.
const MOST_REMOTES: usize = 1024;

/// Everything the server was told, checked. Paths are absolute.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct Config {
    pub(crate) listen: Vec<SocketAddr>,
    pub(crate) metrics: Option<SocketAddr>,
    pub(crate) directory: Option<PathBuf>,
    pub(crate) workers: usize,
    /// Remote workers; empty if this machine serves all itself.
    pub(crate) remotes: Vec<SocketAddr>,
    /// How many shares of the requests this machine serves itself, where there are remote workers.
    pub(crate) local_shares: usize,
    pub(crate) balance: Balance,
    pub(crate) health_path: String,
    pub(crate) health_interval: Duration,
    pub(crate) remote_timeout: Duration,
    pub(crate) user: Option<String>,
    pub(crate) pid_file: Option<PathBuf>,
    pub(crate) ready_file: Option<PathBuf>,
    pub(crate) access_log: Option<PathBuf>,
    pub(crate) access_log_format: LogFormat,
    pub(crate) index: String,
    pub(crate) links: Links,
    pub(crate) hidden: bool,
    /// In bytes.
    pub(crate) cache: usize,
    /// In bytes.
    pub(crate) cache_file: usize,
    pub(crate) header_timeout: Duration,
    pub(crate) body_timeout: Duration,
    pub(crate) idle_timeout: Duration,
    pub(crate) write_timeout: Duration,
    pub(crate) drain_timeout: Duration,
    pub(crate) health_timeout: Duration,
    pub(crate) start_timeout: Duration,
    pub(crate) max_connections: usize,
    pub(crate) max_connections_per_address: Option<u32>,
    pub(crate) rate: Option<(u32, u32)>,
    /// In bytes.
    pub(crate) max_body: u64,
}

/// What the command line asks for.
pub(crate) enum Request {
    /// A master and workers.
    Serve(Box<Config>),
    /// A worker alone.
    Work(Box<Config>),
    /// Nothing more: it was only to be checked.
    Checked,
}

/// Why a command line can't be followed.
pub(crate) enum ArgsError {
    /// clap's own answer: help, version, or a mistake with its explanation.
    Clap(clap::Error),
    /// What clap cannot know.
    Start(StartError),
}

impl Request {
    /// Reads `args`, with the program's name first, and the configuration file that they name.
    pub(crate) fn from_args(args: impl IntoIterator<Item = OsString>) -> Result<Self, ArgsError> {
        let cli = Cli::try_parse_from(args).map_err(ArgsError::Clap)?;
        let (alone, arguments) = match cli.command {
            Some(Command::Worker(arguments)) => (true, arguments),
            None => (false, cli.serve),
        };
        let check = arguments.check;
        let config = Box::new(merge(arguments).map_err(ArgsError::Start)?);
        Ok(match (check, alone) {
            (true, _) => Self::Checked,
            (_, true) => Self::Work(config),
            (_, false) => Self::Serve(config),
        })
    }
}

fn read(path: &Path) -> Result<Settings, StartError> {
    let usage = |error: settings::SettingsError| StartError::usage(error.to_string());
    if path.extension().is_none_or(|extension| extension != "json") {
        return settings::read(path).map_err(usage);
    }
    let text = settings::read_text(path).map_err(usage)?;
    serde_json::from_str(&text).map_err(|error| {
        let message = error.to_string();
        let message = message.split(" at line ").next().unwrap_or_default();
        let message = match message.strip_prefix("unknown field ") {
            Some(rest) => {
                let mut names = rest.split('`').skip(1).step_by(2);
                let wrong = names.next().unwrap_or_default();
                settings::unknown("key", wrong, &names.collect::<Vec<_>>())
            }
            None => message.replacen("missing field ", "missing key ", 1),
        };
        StartError::usage(format!("{}:{}: {message}", path.display(), error.line()))
    })
}

fn merge(arguments: ServeArguments) -> Result<Config, StartError> {
    let ServeArguments { config, settings: cli, .. } = arguments;
    let file = config.as_deref().map(read).transpose()?.unwrap_or_default();
    let here = std::env::current_dir().map_err(|error| {
        StartError::failure(format!("current directory: {}", settings::reason(&error)))
    })?;
    // Paths in the configuration file are relative to that file, those of options to here.
    let beside = config.as_deref().and_then(Path::parent).map_or(here.clone(), |p| here.join(p));
    let path = |flag: Option<PathBuf>, setting: Option<PathBuf>| {
        flag.map(|path| here.join(path)).or_else(|| setting.map(|path| beside.join(path)))
    };
    let seconds = |name: &str, cli: Option<f64>, file: Option<f64>, default: f64| {
        let seconds = cli.or(file).unwrap_or(default);
        Duration::try_from_secs_f64(seconds)
            .ok()
            .filter(|time| !time.is_zero() && *time <= Duration::from_secs(86400))
            .ok_or_else(|| {
                StartError::usage(format!("{name} {seconds}: must be above 0 and at most 86400 s"))
            })
    };
    let at_least_one = |name: &str, number: Option<u64>| match number {
        Some(0) => Err(StartError::usage(format!("{name} 0: must be at least 1"))),
        _ => Ok(()),
    };

    let port = cli.port.or(file.port);
    let mut listen = addresses(
        if cli.listen.is_empty() { &file.listen } else { &cli.listen },
        Some(port.unwrap_or(DEFAULT_PORT)),
    )?;
    let (mut workers, mut local_shares) = (None, 0);
    let mut remotes =
        addresses(if cli.remote.is_empty() { &file.remote } else { &cli.remote }, None)?;
    let mut own = Vec::new();
    match cli.workers.or(file.workers) {
        None => {}
        Some(Workers::Count(count)) => workers = Some(count),
        Some(Workers::Each(each)) => {
            for WorkerAddress { host, port } in each {
                // The first address of a name: more would be more workers than were listed.
                let found = resolve(&host, Some(port)).map_err(StartError::usage)?;
                match found.into_iter().next() {
                    Some(address) if address.ip().is_loopback() => own.push(address),
                    other => remotes.extend(other),
                }
            }
            local_shares = own.len();
            workers = Some(own.len()).filter(|&count| count > 0);
        }
    }
    if listen.is_empty() {
        let port = port.unwrap_or(DEFAULT_PORT);
        listen = match file.master_port {
            Some(master_port) => {
                addresses(&[format!(":{}", cli.port.unwrap_or(master_port))], None)?
            }
            None => vec![
                (std::net::Ipv4Addr::LOCALHOST, port).into(),
                (std::net::Ipv6Addr::LOCALHOST, port).into(),
            ],
        };
    }
    // What is listed as a worker of this machine can be reached under its own address, too.
    let taken: Vec<u16> = listen.iter().map(SocketAddr::port).collect();
    listen.extend(own.into_iter().filter(|address| !taken.contains(&address.port())));

    let workers = match workers {
        Some(count) if count > MOST_WORKERS => {
            return Err(StartError::usage(format!(
                "workers: {count} on this machine: at most {MOST_WORKERS}"
            )));
        }
        Some(count) => count,
        None => std::thread::available_parallelism().map_or(1, usize::from),
    };
    if remotes.len() > MOST_REMOTES {
        return Err(StartError::usage(format!(
            "{} remote workers: at most {MOST_REMOTES}",
            remotes.len()
        )));
    }
    let serves_files = remotes.is_empty() || local_shares > 0;
    let directory = path(cli.directory, file.directory);
    let directory = match directory {
        Some(directory) => Some(checked_directory(&directory)?),
        None if serves_files => {
            return Err(StartError::usage(
                "no directory to serve: name one (`webd .` serves this one), or \
                 `directory = \"…\"` in the configuration file",
            ));
        }
        None => None,
    };
    let metrics = match cli.metrics.or(file.metrics) {
        Some(text) => resolve(&text, None).map_err(StartError::usage)?.into_iter().next(),
        None => None,
    };
    let health_path = cli.health_path.or(file.health_path).unwrap_or_else(|| "/".to_owned());
    if !health_path.starts_with('/') || health_path.parse::<hyper::Uri>().is_err() {
        return Err(StartError::usage(format!("health path `{health_path}`: must begin with /")));
    }
    let index = cli.index.or(file.index).unwrap_or_else(|| "index.html".to_owned());
    if index.is_empty() || index.contains('/') || index == ".." {
        return Err(StartError::usage(format!("index `{index}`: must be the name of a file")));
    }
    let max_connections = cli.max_connections.or(file.max_connections).unwrap_or(4096);
    let per_address = cli.max_connections_per_address.or(file.max_connections_per_address);
    let rate = cli.rate.or(file.rate);
    let burst = cli.burst.or(file.burst);
    at_least_one("max connections", Some(max_connections as u64))?;
    at_least_one("max connections per address", per_address.map(u64::from))?;
    at_least_one("rate", rate.map(u64::from))?;
    at_least_one("burst", burst.map(u64::from))?;
    let kib = |cli: Option<u32>, file: Option<u32>| cli.or(file).unwrap_or(1024);
    let s = seconds;
    Ok(Config {
        listen,
        metrics,
        directory,
        workers,
        remotes,
        local_shares,
        balance: cli.balance.or(file.balance).unwrap_or(Balance::LeastConnections),
        health_path,
        health_interval: s("health interval", cli.health_interval, file.health_interval, 2.0)?,
        remote_timeout: s("remote timeout", cli.remote_timeout, file.remote_timeout, 30.0)?,
        user: cli.user.or(file.user),
        pid_file: path(cli.pid_file, file.pid_file),
        ready_file: path(cli.ready_file, file.ready_file),
        access_log: match cli.access_log {
            Some(log) if log == Path::new("-") => Some(log),
            log => path(log, file.access_log),
        },
        access_log_format: cli
            .access_log_format
            .or(file.access_log_format)
            .unwrap_or(LogFormat::Combined),
        index,
        links: cli.links.or(file.links).unwrap_or(Links::Inside),
        hidden: cli.hidden || file.hidden,
        cache: (cli.cache_mib.or(file.cache_mib).unwrap_or(64) as usize).saturating_mul(1 << 20),
        cache_file: (kib(cli.cache_file_kib, file.cache_file_kib) as usize).saturating_mul(1024),
        header_timeout: s("header timeout", cli.header_timeout, file.header_timeout, 10.0)?,
        body_timeout: s("body timeout", cli.body_timeout, file.body_timeout, 30.0)?,
        idle_timeout: s("idle timeout", cli.idle_timeout, file.idle_timeout, 30.0)?,
        write_timeout: s("write timeout", cli.write_timeout, file.write_timeout, 30.0)?,
        drain_timeout: s("drain timeout", cli.drain_timeout, file.drain_timeout, 30.0)?,
        health_timeout: s("health timeout", cli.health_timeout, file.health_timeout, 5.0)?,
        start_timeout: s("start timeout", cli.start_timeout, file.start_timeout, 10.0)?,
        max_connections,
        max_connections_per_address: per_address,
        rate: rate.map(|rate| (rate, burst.unwrap_or(rate))),
        max_body: u64::from(kib(cli.max_body_kib, file.max_body_kib)) * 1024,
    })
}

fn addresses(texts: &[String], port: Option<u16>) -> Result<Vec<SocketAddr>, StartError> {
    let mut found = Vec::new();
    for text in texts {
        found.extend(resolve(text, port).map_err(StartError::usage)?);
    }
    Ok(found)
}

fn checked_directory(path: &Path) -> Result<PathBuf, StartError> {
    let bad = |why: &str| StartError::usage(format!("directory {}: {why}", path.display()));
    match std::fs::metadata(path) {
        Ok(found) if found.is_dir() => {
            path.canonicalize().map_err(|error| bad(&settings::reason(&error)))
        }
        Ok(_) => Err(bad("not a directory")),
        Err(error) => Err(bad(&settings::reason(&error))),
    }
}
