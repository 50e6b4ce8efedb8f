//! The command line and the configuration file, merged into one [`Config`]. Flags win.

use std::ffi::OsString;
use std::os::fd::RawFd;
use std::path::{Path, PathBuf};
use std::time::Duration;

use clap::{Args, CommandFactory, Parser};
use serde::Deserialize;

use crate::diagnostics::Sink;
use crate::listen::ListenAddress;
use settings::StartError;

/// The port when none is named.
pub(crate) const DEFAULT_PORT: u16 = 7722;
/// Lines of the log that a new client sees first, when nothing else is configured.
pub(crate) const DEFAULT_REPLAY: usize = 7;
/// Length of the listening sockets' queues, when nothing else is configured. The system's own
/// ceiling (`net.core.somaxconn`, `kern.ipc.soacceptqueue`) applies.
pub(crate) const DEFAULT_BACKLOG: i32 = 1024;
/// Clients served at a time, when nothing else is configured.
pub(crate) const DEFAULT_MAX_CLIENTS: usize = 1024;
/// Connections whose key has not come yet, when nothing else is configured.
pub(crate) const DEFAULT_MAX_PENDING: usize = 256;
/// The same of one address. A burst of clients behind one address (a proxy, a translated network)
/// fits in, and so do two such floods at a time beside everybody else.
pub(crate) const DEFAULT_MAX_PENDING_PER_ADDRESS: usize = 128;

/// Time for which a client may take nothing of what it is sent, when nothing else is configured.
pub(crate) const DEFAULT_WRITE_TIMEOUT: Duration = Duration::from_secs(600);

const AFTER_HELP: &str = "\
Exit status: 0 ended as asked (or, with --daemon, the daemon is ready) · 1 could not start · 2 the \
command line, the configuration or the key file is wrong.

Encryption: there is none. Whoever sees the packets has the key and the chat. Beyond one machine or \
a network that you trust, listen on loopback (--listen 127.0.0.1) with TLS in front (stunnel, or a \
reverse proxy for TCP), or on an address of a VPN such as WireGuard. Behind a proxy all clients \
have one address: raise --max-pending-per-address.

Lines: no line begins within another client's. A line that comes in pieces is appended whole if \
the rest comes within 0.1 s; a later rest continues it as long as nobody else speaks, and is a line \
of its own after that. Names prove nothing: everybody who has the key can send any line.

Locks: other programs may lock the log with flock(2), to read or rotate it undisturbed; the chat \
stands still meanwhile. Whoever can open the log can lock it: a new log has mode 0660 minus the umask, \
with no access for other users. Give its group only to those you trust with that.

Signals: SIGTERM and SIGINT end the server and all its clients' processes. SIGHUP changes nothing: \
the log is followed by name, so rotating it needs no signal.";

/// A reference forking chat server: a daemon, and a receiver and a sender process per client.
#[derive(Parser)]
#[command(name = "chatd", version, after_help = AFTER_HELP, max_term_width = 100)]
struct Cli {
    /// Configuration file (TOML; the keys are the long options from --listen to --log-to). Options
    /// win; paths in it are relative to it
    #[arg(short, long, value_name = "FILE")]
    config: Option<PathBuf>,

    #[command(flatten)]
    settings: Settings,

    /// Stay in the foreground, whatever the configuration file says
    #[arg(short, long)]
    foreground: bool,

    /// Write a new random key to FILE (mode 0600) and exit
    #[arg(long, value_name = "FILE", exclusive = true)]
    generate_key: Option<PathBuf>,
}

/// The command line.
pub(crate) fn command() -> clap::Command {
    Cli::command()
}

/// What both the options and the configuration file can say. The aliases are the keys' names in
/// configuration files of earlier versions.
#[derive(Args, Deserialize, Default)]
#[serde(deny_unknown_fields, default, rename_all = "kebab-case")]
struct Settings {
    /// Address to listen on: HOST, HOST:PORT, [IPV6%SCOPE]:PORT or :PORT for both families.
    /// Repeatable. Port 0 lets the system choose. By default every IPv4 and IPv6 address of this
    /// machine, so others can connect: nothing is encrypted, see below
    #[arg(short, long, value_name = "ADDRESS")]
    listen: Vec<String>,

    /// Port where an address names none [default: 7722]
    #[arg(short, long)]
    port: Option<u16>,

    /// The chat log; created when it doesn't exist. A symbolic link is refused
    #[arg(long, value_name = "FILE")]
    log: Option<PathBuf>,

    /// File holding the shared key, exactly 128 bytes, for its owner only (mode 0600)
    #[arg(short, long, value_name = "FILE")]
    #[serde(alias = "key_file")]
    key_file: Option<PathBuf>,

    /// Lines of the log that a new client sees first [default: 7]
    #[arg(long, value_name = "LINES")]
    replay: Option<usize>,

    /// Seconds within which a client's key must arrive [default: 1]
    #[arg(long, value_name = "SECONDS")]
    #[serde(alias = "auth_timeout")]
    auth_timeout: Option<f64>,

    /// Clients served at a time; further ones are closed at once [default: 1024]
    #[arg(long, value_name = "N")]
    #[serde(alias = "max_clients")]
    max_clients: Option<usize>,

    /// Connections that have not sent their key yet; they do not count as clients. Beyond this, the
    /// oldest one of the busiest address is closed [default: 256]
    #[arg(long, value_name = "N")]
    max_pending: Option<usize>,

    /// The same from one address, or from one IPv6 network of 64 bits. Behind a proxy, all clients
    /// have one address [default: 128]
    #[arg(long, value_name = "N")]
    max_pending_per_address: Option<usize>,

    /// Bytes a second that a client may send; the rest waits. 0 means no limit [default: 0]
    #[arg(long, value_name = "BYTES")]
    max_rate: Option<u64>,

    /// Longest line, in bytes; a client that sends a longer one is disconnected. 0 means no limit: a
    /// line of more than 1 MiB is appended in pieces [default: 0]
    #[arg(long, value_name = "BYTES")]
    max_line: Option<u64>,

    /// Seconds for which a client may send nothing; 0 means forever [default: 0]
    #[arg(long, value_name = "SECONDS")]
    idle_timeout: Option<f64>,

    /// Seconds for which a client may leave what it is sent unread; 0 means forever [default: 600]
    #[arg(long, value_name = "SECONDS")]
    write_timeout: Option<f64>,

    /// Length of the queue of connections not yet accepted [default: 1024]
    #[arg(long, value_name = "N")]
    backlog: Option<i32>,

    /// Run in the background; return when the daemon listens, or has failed
    #[arg(short, long, conflicts_with = "foreground")]
    daemon: bool,

    /// File to write the daemon's process id to
    #[arg(long, value_name = "FILE")]
    #[serde(alias = "pid_file")]
    pid_file: Option<PathBuf>,

    /// File to write, when the server listens, the real addresses to, one a line
    #[arg(long, value_name = "FILE")]
    #[serde(alias = "ready_file")]
    ready_file: Option<PathBuf>,

    /// Descriptor to write the same to, and close
    #[arg(long, value_name = "FD")]
    #[serde(alias = "ready_fd")]
    ready_fd: Option<RawFd>,

    /// User to become when started as root
    #[arg(short, long, value_name = "NAME")]
    user: Option<String>,

    /// Run as root when no user is named. Whoever takes over a process of the server then has the
    /// machine
    #[arg(long)]
    allow_root: bool,

    /// Where the server's own messages go [default: stderr, or syslog with --daemon]
    #[arg(long, value_enum, value_name = "WHERE")]
    #[serde(alias = "log_to")]
    log_to: Option<Sink>,
}

/// Everything the server was told, checked. All paths are absolute: a daemon leaves the directory
/// that it was started in.
#[derive(Debug, Clone)]
pub(crate) struct Config {
    /// What to listen on; empty for the default, both wildcard addresses.
    pub(crate) listen: Vec<ListenAddress>,
    /// The port of the default addresses.
    pub(crate) port: u16,
    /// The chat log.
    pub(crate) log: PathBuf,
    /// The shared key's file.
    pub(crate) key_file: PathBuf,
    /// Lines that a new client sees first.
    pub(crate) replay: usize,
    /// Time within which a key must arrive.
    pub(crate) auth_timeout: Duration,
    /// Clients served at a time.
    pub(crate) max_clients: usize,
    /// Connections without a key at a time.
    pub(crate) max_pending: usize,
    /// Connections without a key of one address at a time.
    pub(crate) max_pending_per_address: usize,
    /// Bytes a second of a client.
    pub(crate) max_rate: Option<u64>,
    /// Bytes of a line.
    pub(crate) max_line: Option<u64>,
    /// How long a client may say nothing.
    pub(crate) idle_timeout: Option<Duration>,
    /// How long a client may take nothing.
    pub(crate) write_timeout: Option<Duration>,
    /// Length of the listening queues.
    pub(crate) backlog: i32,
    /// Whether to run in the background.
    pub(crate) daemon: bool,
    /// Where to write the process id.
    pub(crate) pid_file: Option<PathBuf>,
    /// Where to write the real addresses.
    pub(crate) ready_file: Option<PathBuf>,
    /// Which descriptor to write them to.
    pub(crate) ready_fd: Option<RawFd>,
    /// Who to become.
    pub(crate) user: Option<String>,
    /// Whether to stay root.
    pub(crate) allow_root: bool,
    /// Where messages go.
    pub(crate) log_to: Sink,
}

/// What the command line asks for.
#[derive(Debug)]
pub(crate) enum Request {
    /// Serve.
    Serve(Box<Config>),
    /// Write a new key.
    GenerateKey(PathBuf),
}

/// Why a command line can't be followed.
#[derive(Debug)]
pub(crate) enum ArgsError {
    /// clap's own answer: help, version, or a mistake with its explanation.
    Clap(clap::Error),
    /// What clap cannot know.
    Start(StartError),
}

impl From<StartError> for ArgsError {
    fn from(error: StartError) -> Self {
        Self::Start(error)
    }
}

impl Request {
    /// Reads `args`, with the program's name first, and the configuration file that they name.
    pub(crate) fn from_args(args: impl IntoIterator<Item = OsString>) -> Result<Self, ArgsError> {
        let cli = Cli::try_parse_from(args).map_err(ArgsError::Clap)?;
        if let Some(path) = cli.generate_key {
            return Ok(Self::GenerateKey(path));
        }
        let file = match &cli.config {
            Some(path) => {
                settings::read(path).map_err(|error| StartError::usage(error.to_string()))?
            }
            None => Settings::default(),
        };
        Ok(Self::Serve(Box::new(merge(cli, file)?)))
    }
}

fn merge(cli: Cli, file: Settings) -> Result<Config, StartError> {
    let Cli { config, settings: cli, foreground, .. } = cli;
    let here = std::env::current_dir().map_err(|error| {
        StartError::failure(format!("current directory: {}", settings::reason(&error)))
    })?;
    // Paths in the configuration file are relative to that file, those of options to here.
    let beside = match config.as_deref().and_then(Path::parent) {
        Some(parent) => here.join(parent),
        None => here.clone(),
    };
    let path = |flag: Option<PathBuf>, setting: Option<PathBuf>| {
        flag.map(|path| here.join(path)).or_else(|| setting.map(|path| beside.join(path)))
    };

    let port = cli.port.or(file.port).unwrap_or(DEFAULT_PORT);
    let names = if cli.listen.is_empty() { file.listen } else { cli.listen };
    let listen = names
        .iter()
        .map(|name| ListenAddress::parse(name, port))
        .collect::<Result<Vec<_>, _>>()
        .map_err(StartError::usage)?;

    let seconds = cli.auth_timeout.or(file.auth_timeout).unwrap_or(1.0);
    let auth_timeout = Duration::try_from_secs_f64(seconds)
        .ok()
        .filter(|timeout| !timeout.is_zero() && *timeout <= Duration::from_secs(3600))
        .ok_or_else(|| {
            StartError::usage(format!("auth timeout {seconds}: must be above 0 and at most 3600 s"))
        })?;
    let at_least_one = |what: &str, count: Option<usize>, usual: usize| match count {
        Some(0) => Err(StartError::usage(format!("{what} 0: must be at least 1"))),
        count => Ok(count.unwrap_or(usual)),
    };
    let max_clients =
        at_least_one("max clients", cli.max_clients.or(file.max_clients), DEFAULT_MAX_CLIENTS)?;
    let max_pending =
        at_least_one("max pending", cli.max_pending.or(file.max_pending), DEFAULT_MAX_PENDING)?;
    let max_pending_per_address = at_least_one(
        "max pending per address",
        cli.max_pending_per_address.or(file.max_pending_per_address),
        DEFAULT_MAX_PENDING_PER_ADDRESS,
    )?;
    let limit = |cli: Option<u64>, file: Option<u64>| cli.or(file).filter(|&bytes| bytes > 0);
    let timeout = |what: &str, seconds: Option<f64>, usual: Option<Duration>| match seconds {
        None => Ok(usual),
        Some(0.0) => Ok(None),
        // As good as for ever, and far from where sums with it overflow.
        Some(seconds) => match Duration::try_from_secs_f64(seconds.min(1e9)) {
            Ok(timeout) if !seconds.is_nan() => Ok(Some(timeout)),
            _ => Err(StartError::usage(format!("{what} {seconds}: must be 0 or above"))),
        },
    };
    let idle_timeout = timeout("idle timeout", cli.idle_timeout.or(file.idle_timeout), None)?;
    let write_timeout = timeout(
        "write timeout",
        cli.write_timeout.or(file.write_timeout),
        Some(DEFAULT_WRITE_TIMEOUT),
    )?;
    let backlog = cli.backlog.or(file.backlog).unwrap_or(DEFAULT_BACKLOG);
    if backlog < 1 {
        return Err(StartError::usage(format!("backlog {backlog}: must be at least 1")));
    }
    let required = |value: Option<PathBuf>, option: &str, key: &str| {
        value.ok_or_else(|| {
            StartError::usage(format!(
                "no {option}: give it, or `{key} = \"…\"` in the configuration file"
            ))
        })
    };
    let daemon = (cli.daemon || file.daemon) && !foreground;
    Ok(Config {
        listen,
        port,
        log: required(path(cli.log, file.log), "--log FILE", "log")?,
        key_file: required(path(cli.key_file, file.key_file), "--key-file FILE", "key-file")?,
        replay: cli.replay.or(file.replay).unwrap_or(DEFAULT_REPLAY),
        auth_timeout,
        max_clients,
        max_pending,
        max_pending_per_address,
        max_rate: limit(cli.max_rate, file.max_rate),
        max_line: limit(cli.max_line, file.max_line),
        idle_timeout,
        write_timeout,
        backlog,
        daemon,
        pid_file: path(cli.pid_file, file.pid_file),
        ready_file: path(cli.ready_file, file.ready_file),
        ready_fd: cli.ready_fd.or(file.ready_fd),
        user: cli.user.or(file.user),
        allow_root: cli.allow_root || file.allow_root,
        log_to: cli.log_to.or(file.log_to).unwrap_or(if daemon {
            Sink::Syslog
        } else {
            Sink::Stderr
        }),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Whatever a file holds, a mistake in it is one harmless line that names it.
    #[test]
    fn fuzz() {
        const TOKENS: &[&[u8]] =
            &[b"max-clients = ", b"-1", b"99999999999", b"[", b"\"[::1]:0\"", b"nan", b"1e400"];
        let corpus = concat!(env!("CARGO_MANIFEST_DIR"), "/fuzz/config");
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("x.toml");
        forkproof_fuzz::fuzz(Path::new(corpus), TOKENS, |bytes| {
            std::fs::write(&path, bytes).unwrap();
            let args = ["chatd".into(), "--config".into(), path.clone().into_os_string()];
            if let Err(ArgsError::Start(error)) = Request::from_args(args) {
                assert!(
                    !error.message.contains(char::is_control),
                    "{}",
                    error.message.escape_debug()
                );
            }
        });
    }
}
