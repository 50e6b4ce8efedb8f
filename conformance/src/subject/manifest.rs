//! Target manifests: what a TOML file tells about a server. `targets/README.md` is the guide.
//!
//! ```text
//! FILE ── settings (line, nearest key) ── Manifest ── check (what must fit together) ── Target
//! ```

use std::collections::BTreeSet;

use serde::{Deserialize, Serialize};

use super::claim::Claim;
use super::launch::Launch;
use super::lifecycle::Lifecycle;
use super::options::Options;
use super::processes::{Measured, Model, Processes};
use super::template::Template;
use super::wire::{Again, Kind, Wire};
use super::words::{Name, Seconds, SignalName};

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
    /// How its processes are arranged.
    #[serde(default)]
    pub processes: Processes,
    /// What it can be told while it runs.
    #[serde(default)]
    pub lifecycle: Lifecycle,
    /// The chat log, if it keeps one.
    #[serde(default)]
    pub log: Option<Log>,
    /// What its processes do with signals, by their part.
    #[serde(default)]
    pub roles: Option<Roles>,
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
    /// How long it may take, in seconds on an ordinary machine, with clients that are connected and
    /// say nothing.
    #[serde(default = "two")]
    pub limit: Seconds,
    /// The exit status of its daemon; any when missing.
    #[serde(default)]
    pub status: Option<u8>,
    /// What ends. When missing the rehearsal finds out, with clients in; else it makes sure.
    #[serde(default)]
    pub ends: Option<Ends>,
}

/// See [`Stop::ends`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(rename_all = "kebab-case")]
pub enum Ends {
    /// Every process of the server.
    All,
    /// The daemon; its clients' processes end with their clients.
    Daemon,
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
        Self { signal: SignalName::default(), limit: two(), status: None, ends: None }
    }
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
        claims
    }

    /// The claims that follow from other tables: which, from what, and whether they do.
    pub(super) fn facts(&self) -> [(Claim, &'static str, bool); 26] {
        let (options, wire, model) = (&self.options, &self.wire, self.processes.model);
        let life = &self.lifecycle;
        [
            (Claim::Broadcast, "wire.kind = \"chat\"", wire.kind == Kind::Chat),
            (Claim::Lines, "wire.kind = \"chat\" or \"echo\"", wire.has_lines()),
            (
                Claim::KeepsOpen,
                "wire.again = \"same\" or \"none\"",
                wire.again() != Again::Reconnect,
            ),
            (Claim::Again, "wire.again = \"same\"", wire.again() == Again::Same),
            (Claim::Key, "wire.key = BYTES", self.key_length() > 0),
            (Claim::AuthTimeout, "wire.auth-timeout = SECONDS", wire.auth_timeout.is_some()),
            (Claim::Replay, "wire.replay = LINES", wire.replay > 0),
            (Claim::Echo, "wire.echo = true, or wire.kind = \"echo\"", wire.comes_back()),
            (Claim::ChatLog, "a table [log]", self.log.is_some()),
            (Claim::DocumentedDispositions, "a table [roles]", self.roles.is_some()),
            (
                Claim::Daemon,
                "options.daemon or launch.background = true",
                options.daemon.is_some() || self.launch.background,
            ),
            (
                Claim::PidFile,
                "{pid-file} in launch or options.daemon, or launch.pid-file",
                self.has_pid_file_in_foreground() || self.has_pid_file_in_background(),
            ),
            (Claim::MaxClients, "options.max-clients", options.max_clients.is_some()),
            (Claim::PrivilegeDrop, "options.user", options.user.is_some()),
            (Claim::Syslog, "options.syslog", options.syslog.is_some()),
            (Claim::SocketActivation, "options.activation", options.activation.is_some()),
            (Claim::EndsAll, "stop.ends = \"all\"", self.stop.ends != Some(Ends::Daemon)),
            (
                Claim::ProcessPerClient,
                "processes.model = \"per-client\" or \"clusters\"",
                model.is_per_client(),
            ),
            (Claim::Clusters, "processes.model = \"clusters\"", model == Model::Clusters),
            (Claim::Workers, "processes.model = \"workers\"", model == Model::Workers),
            (Claim::Reload, "lifecycle.reload", life.reload.is_some()),
            (Claim::GracefulStop, "lifecycle.graceful", life.graceful.is_some()),
            (Claim::GracefulLimit, "lifecycle.graceful-limit", life.graceful_limit.is_some()),
            (Claim::ReopensLogs, "lifecycle.reopen", life.reopen.is_some()),
            (Claim::Upgrade, "lifecycle.upgrade", life.upgrade.is_some()),
            (Claim::HealthChecks, "lifecycle.health", life.health.is_some()),
        ]
    }

    /// Whether it writes its process id to a file however it is started.
    pub fn has_pid_file_in_foreground(&self) -> bool {
        let launch = &self.launch;
        let told = |text: &Template| text.mentions("pid-file");
        launch.pid_file.is_some()
            || launch.arguments.iter().any(told)
            || launch.environment.values().any(told)
            || launch.files.iter().any(|file| told(&file.content))
    }

    /// Whether it does in the background.
    fn has_pid_file_in_background(&self) -> bool {
        let words = self.options.daemon.as_ref();
        words.is_some_and(|words| words.arguments().iter().any(|word| word.mentions("pid-file")))
    }

    /// The key's length in bytes; 0 for none.
    pub fn key_length(&self) -> usize {
        self.wire.key.0 as usize
    }

    /// What is to be expected of its processes before the rehearsal has measured them.
    pub(super) fn expected(&self) -> Measured {
        self.processes.model.expected()
    }

    /// Whether the addresses to listen on stand in a file.
    pub fn tells_address_in_files(&self) -> bool {
        let tells = |text: &Template| text.mentions("address") || text.mentions("host");
        self.launch.files.iter().any(|file| tells(&file.content))
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
