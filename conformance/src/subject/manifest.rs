//! Target manifests: what a TOML file tells about a server. `targets/README.md` is the guide.
//!
//! ```text
//! FILE ── settings (line, nearest key) ── Manifest ── check (what must fit together) ── Target
//! ```

use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;

use serde::{Deserialize, Serialize};

use super::claim::Claim;
use super::template::Template;
use super::words::{KeyLength, Mode, Name, Seconds, SignalName};

/// A server under test.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct Manifest {
    /// Its name in reports.
    pub name: Name,
    /// What it is, in a sentence.
    #[serde(default)]
    pub description: Option<String>,
    /// What it claims beside what follows from the other tables; see the guide for the list.
    #[serde(default)]
    pub claims: Vec<Claim>,
    /// How it is started.
    pub launch: Launch,
    /// The arguments for what a check may want; what is not there is not checked.
    #[serde(default)]
    pub options: Options,
    /// How it tells that it listens.
    #[serde(default)]
    pub ready: Ready,
    /// How it is ended.
    #[serde(default)]
    pub stop: Stop,
    /// What it speaks.
    #[serde(default)]
    pub wire: Wire,
    /// The chat log, if it keeps one.
    #[serde(default)]
    pub log: Option<Log>,
    /// What its processes do with signals, by their part.
    #[serde(default)]
    pub roles: Option<Roles>,
}

/// How a server is started.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct Launch {
    /// The program: a path, relative ones from the manifest's directory, or a name to be looked up
    /// in PATH. `--program FILE` takes its place, and is needed where this is missing.
    #[serde(default)]
    pub program: Option<Template>,
    /// Its arguments.
    #[serde(default)]
    pub arguments: Vec<Template>,
    /// Variables for it, besides those of this process.
    #[serde(default)]
    pub environment: BTreeMap<String, Template>,
    /// Its working directory; `{dir}` when missing.
    #[serde(default)]
    pub directory: Option<Template>,
    /// The user that it is started as, where forkproof runs as root; otherwise it is the user who
    /// runs forkproof.
    #[serde(default)]
    pub user: Option<String>,
    /// Its port, if it cannot be told one. Each check then has a network of its own (Linux), or
    /// nothing runs beside it.
    #[serde(default)]
    pub port: Option<std::num::NonZeroU16>,
    /// Whether it goes into the background by itself, so that what was started ends.
    #[serde(default)]
    pub background: bool,
    /// How its daemon is found when it is in the background.
    #[serde(default)]
    pub daemon: DaemonIs,
    /// The file with the key; `{dir}/key` when missing.
    #[serde(default)]
    pub key_file: Option<Template>,
    /// The file in which a daemon writes its process id; `{dir}/pid` when missing.
    #[serde(default)]
    pub pid_file: Option<Template>,
    /// Files that it wants to find.
    #[serde(default)]
    pub files: Vec<LaunchFile>,
    /// Fixed paths, each replaced by a directory of the check's own (Linux: private mounts).
    #[serde(default)]
    pub bind: Vec<Bind>,
}

/// How the process that accepts connections is found among those of a server in the background.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(rename_all = "kebab-case")]
pub enum DaemonIs {
    /// It is the one whose parent has ended: the check is its reaper.
    #[default]
    Orphan,
    /// Its process id is in `launch.pid-file`.
    InPidFile,
    /// It is the leader of a session of its own.
    SessionLeader,
}

/// A file to be written before the start.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct LaunchFile {
    /// Where: below `{dir}`, or below a path of `launch.bind`.
    pub path: Template,
    /// What it holds.
    pub content: Template,
    /// Its mode, in octal digits; 0600 when missing.
    #[serde(default)]
    pub mode: Mode,
}

/// A path that the server knows, and the directory that it finds there.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct Bind {
    /// The directory that the server knows, an absolute path.
    pub path: PathBuf,
    /// What it finds there: `{dir}/…`, which is made, or a directory that exists.
    pub from: Template,
    /// Whether it can write there.
    #[serde(default)]
    pub read_only: bool,
}

/// The arguments for what a check may want. An empty list: nothing need be said for it.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct Options {
    /// To listen on `{address}`, once for each.
    #[serde(default)]
    pub address: Option<Vec<Template>>,
    /// To listen on the default addresses, on port `{port}`.
    #[serde(default)]
    pub any_address: Option<Vec<Template>>,
    /// To send `{lines}` lines of the log first.
    #[serde(default)]
    pub replay: Option<Vec<Template>>,
    /// To go into the background.
    #[serde(default)]
    pub daemon: Option<Vec<Template>>,
    /// To write messages to standard error.
    #[serde(default)]
    pub stderr: Option<Vec<Template>>,
    /// To write messages to the system's log.
    #[serde(default)]
    pub syslog: Option<Vec<Template>>,
    /// To become `{user}`.
    #[serde(default)]
    pub user: Option<Vec<Template>>,
    /// To serve `{number}` clients at most.
    #[serde(default)]
    pub max_clients: Option<Vec<Template>>,
    /// To read the configuration file `{config}`.
    #[serde(default)]
    pub config: Option<Vec<Template>>,
    /// To make `{ready-file}` when it listens.
    #[serde(default)]
    pub ready_file: Option<Vec<Template>>,
}

/// How a server tells that it listens.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct Ready {
    /// By what.
    #[serde(default)]
    pub by: ReadyBy,
    /// With `by = "output"`: the words of the line, in which `{port}` or `{address}` stands for
    /// what it chose.
    #[serde(default)]
    pub line: Option<Template>,
    /// With `by = "file"`: the file, which is not empty then; `{ready-file}` when missing.
    #[serde(default)]
    pub file: Option<Template>,
    /// How long it may take, in seconds on an ordinary machine.
    #[serde(default = "ten")]
    pub limit: Seconds,
}

/// See [`Ready::by`].
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(rename_all = "kebab-case")]
pub enum ReadyBy {
    /// Something listens on its port.
    #[default]
    Port,
    /// It writes a line to standard output or standard error.
    Output,
    /// It makes a file.
    File,
    /// It writes its addresses to `{ready-fd}`, a line each, and closes it.
    Descriptor,
}

/// How a server is ended.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct Stop {
    /// The signal for its daemon.
    #[serde(default)]
    pub signal: SignalName,
    /// How long it may take, in seconds on an ordinary machine.
    #[serde(default = "two")]
    pub limit: Seconds,
    /// The exit status of its daemon; any when missing.
    #[serde(default)]
    pub status: Option<u8>,
    /// What ends.
    #[serde(default)]
    pub ends: Ends,
}

/// See [`Stop::ends`].
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(rename_all = "kebab-case")]
pub enum Ends {
    /// Every process of the server.
    #[default]
    All,
    /// The daemon; its clients' processes end with their clients.
    Daemon,
}

/// What a server speaks.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct Wire {
    /// How many bytes of key a client sends first; 0 for none.
    #[serde(default)]
    pub key: KeyLength,
    /// After how many seconds a client is closed whose key is not there.
    #[serde(default)]
    pub auth_timeout: Option<Seconds>,
    /// What ends a message from a client.
    #[serde(default)]
    pub ending_in: Ending,
    /// What ends a message to a client.
    #[serde(default)]
    pub ending_out: Ending,
    /// How many lines of the log a new client is sent first.
    #[serde(default)]
    pub replay: u16,
    /// Whether speakers hear themselves.
    #[serde(default = "yes")]
    pub echo: bool,
}

/// What ends a message.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(rename_all = "kebab-case")]
pub enum Ending {
    /// A newline, which belongs to it.
    #[default]
    Newline,
    /// A NUL byte instead of the newline.
    Nul,
    /// Nothing: bytes are passed on as they come.
    Nothing,
}

/// The chat log.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct Log {
    /// Where it is: `{log}` elsewhere in the manifest; `{dir}/chat.log` when missing.
    #[serde(default)]
    pub path: Option<Template>,
    /// What becomes of a symbolic link in its place.
    #[serde(default)]
    pub symbolic_links: SymbolicLinks,
}

/// See [`Log::symbolic_links`].
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(rename_all = "kebab-case")]
pub enum SymbolicLinks {
    /// It is refused.
    #[default]
    Refused,
    /// It is followed, and the documentation says so.
    Followed,
}

/// What a server's processes do with signals.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct Roles {
    /// The process that accepts connections.
    pub daemon: Role,
    /// The process that reads a client's socket, or does everything for it.
    #[serde(default)]
    pub receiver: Option<Role>,
    /// With `clusters`: the process that writes to the client's socket.
    #[serde(default)]
    pub sender: Option<Role>,
}

/// What a process does with signals while it waits; all others have their default, and none is
/// blocked.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct Role {
    /// Ignored.
    #[serde(default)]
    pub ignored: Vec<SignalName>,
    /// Caught by a handler.
    #[serde(default)]
    pub caught: Vec<SignalName>,
}

impl Default for Ready {
    fn default() -> Self {
        Self { by: ReadyBy::Port, line: None, file: None, limit: ten() }
    }
}

impl Default for Stop {
    fn default() -> Self {
        Self { signal: SignalName::default(), limit: two(), status: None, ends: Ends::All }
    }
}

impl Default for Wire {
    fn default() -> Self {
        Self {
            key: KeyLength(0),
            auth_timeout: None,
            ending_in: Ending::Newline,
            ending_out: Ending::Newline,
            replay: 0,
            echo: true,
        }
    }
}

fn yes() -> bool {
    true
}

fn two() -> Seconds {
    Seconds(2.0)
}

fn ten() -> Seconds {
    Seconds(10.0)
}

impl Manifest {
    /// What the server claims, said or following from the other tables.
    pub fn all_claims(&self) -> BTreeSet<Claim> {
        let mut claims: BTreeSet<Claim> = self.claims.iter().copied().collect();
        for (claim, _, holds) in self.facts() {
            if holds {
                claims.insert(claim);
            }
        }
        if claims.contains(&Claim::Clusters) {
            claims.insert(Claim::ProcessPerClient);
        }
        claims
    }

    /// The claims that follow from other tables: which, from what, and whether they do.
    pub(super) fn facts(&self) -> [(Claim, &'static str, bool); 11] {
        let options = &self.options;
        [
            (Claim::Key, "wire.key = BYTES", self.key_length() > 0),
            (Claim::AuthTimeout, "wire.auth-timeout = SECONDS", self.wire.auth_timeout.is_some()),
            (Claim::Replay, "wire.replay = LINES", self.wire.replay > 0),
            (Claim::Echo, "wire.echo = true", self.wire.echo),
            (Claim::ChatLog, "a table [log]", self.log.is_some()),
            (Claim::DocumentedDispositions, "a table [roles]", self.roles.is_some()),
            (
                Claim::Daemon,
                "options.daemon or launch.background = true",
                options.daemon.is_some() || self.launch.background,
            ),
            (Claim::MaxClients, "options.max-clients", options.max_clients.is_some()),
            (Claim::PrivilegeDrop, "options.user", options.user.is_some()),
            (Claim::Syslog, "options.syslog", options.syslog.is_some()),
            (Claim::EndsAll, "stop.ends = \"all\"", self.stop.ends == Ends::All),
        ]
    }

    /// The key's length in bytes; 0 for none.
    pub fn key_length(&self) -> usize {
        self.wire.key.0 as usize
    }

    /// How many processes serve a client.
    pub fn processes_per_client(&self) -> usize {
        let claims = self.all_claims();
        if claims.contains(&Claim::Clusters) {
            2
        } else {
            usize::from(claims.contains(&Claim::ProcessPerClient))
        }
    }

    /// Whether the harness chooses the port, since the server can be told one and does not tell
    /// which it chose itself.
    pub fn takes_port(&self) -> bool {
        let mentions = |template: &Template| template.mentions("port");
        self.launch.arguments.iter().any(mentions)
            || self.launch.environment.values().any(mentions)
            || self.launch.files.iter().any(|file| mentions(&file.content))
    }
}
