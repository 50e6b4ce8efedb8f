//! Target manifests: what a TOML file tells about a server. `targets/README.md` is the guide.
//!
//! ```text
//! FILE ── settings (line, nearest key) ── Manifest ── check (what must fit together) ── Target
//! ```

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::time::Duration;

use nix::sys::signal::Signal;
use serde::{Deserialize, Serialize};

use super::claim::Claim;
use super::template::{Template, unknown};

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

/// A word that can stand in a report and in a file's name.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(try_from = "String", into = "String")]
pub struct Name(String);

/// A signal, by name.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct SignalName(pub Signal);

/// A time, in seconds on an ordinary machine: more than 0, at most an hour.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(try_from = "f64", into = "f64")]
pub struct Seconds(f64);

/// A key's length in bytes, at most 4096.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(try_from = "u64", into = "u64")]
pub struct KeyLength(u64);

/// A file's mode, as octal digits.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(try_from = "String", into = "String")]
pub struct Mode(#[cfg_attr(test, schemars(with = "String"))] pub u32);

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

impl Default for SignalName {
    fn default() -> Self {
        Self(Signal::SIGTERM)
    }
}

impl Default for Mode {
    fn default() -> Self {
        Self(0o600)
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

impl TryFrom<String> for Name {
    type Error = String;

    fn try_from(name: String) -> Result<Self, String> {
        let good = |c: char| c.is_ascii_alphanumeric() || "-_.".contains(c);
        if name.is_empty() || name.len() > 64 || !name.chars().all(good) {
            return Err(format!(
                "`{}` is no name: 1 to 64 letters, digits, dashes, dots and underscores",
                name.escape_default()
            ));
        }
        Ok(Self(name))
    }
}

impl From<Name> for String {
    fn from(name: Name) -> Self {
        name.0
    }
}

impl Name {
    /// The name.
    pub fn text(&self) -> &str {
        &self.0
    }
}

impl TryFrom<String> for SignalName {
    type Error = String;

    fn try_from(name: String) -> Result<Self, String> {
        let known: Vec<&str> = Signal::iterator().map(Signal::as_str).collect();
        name.parse().map(Self).map_err(|_| unknown("signal", &name, &name.to_uppercase(), &known))
    }
}

impl From<SignalName> for String {
    fn from(name: SignalName) -> Self {
        name.0.as_str().to_owned()
    }
}

#[cfg(test)]
impl schemars::JsonSchema for SignalName {
    fn schema_name() -> std::borrow::Cow<'static, str> {
        "SignalName".into()
    }

    fn json_schema(_generator: &mut schemars::SchemaGenerator) -> schemars::Schema {
        schemars::json_schema!({
            "description": "A signal, by name.", "type": "string", "pattern": "^SIG[A-Z0-9]+$"
        })
    }
}

impl TryFrom<f64> for Seconds {
    type Error = &'static str;

    fn try_from(seconds: f64) -> Result<Self, Self::Error> {
        if seconds > 0.0 && seconds <= 3600.0 {
            Ok(Self(seconds))
        } else {
            Err("a number of seconds must be more than 0 and at most 3600")
        }
    }
}

impl From<Seconds> for f64 {
    fn from(seconds: Seconds) -> Self {
        seconds.0
    }
}

impl Seconds {
    /// As a duration.
    pub fn duration(self) -> Duration {
        Duration::from_secs_f64(self.0)
    }
}

impl TryFrom<u64> for KeyLength {
    type Error = &'static str;

    fn try_from(length: u64) -> Result<Self, Self::Error> {
        // Checks split a key in two and change bytes within it.
        if length == 0 || (8..=4096).contains(&length) {
            Ok(Self(length))
        } else {
            Err("a key has 8 to 4096 bytes, or 0 for no key")
        }
    }
}

impl From<KeyLength> for u64 {
    fn from(length: KeyLength) -> Self {
        length.0
    }
}

impl TryFrom<String> for Mode {
    type Error = String;

    fn try_from(digits: String) -> Result<Self, String> {
        match u32::from_str_radix(&digits, 8) {
            Ok(mode) if mode <= 0o777 => Ok(Self(mode)),
            _ => Err(format!("`{digits}` is no mode: octal digits from \"000\" to \"777\"")),
        }
    }
}

impl From<Mode> for String {
    fn from(mode: Mode) -> Self {
        format!("{:04o}", mode.0)
    }
}

/// What is wrong with a manifest, and the key or the value that it is about, for the line.
#[derive(Debug)]
pub(super) struct Mistake {
    pub(super) about: String,
    pub(super) message: String,
}

fn mistake(about: impl Into<String>, message: impl Into<String>) -> Result<(), Mistake> {
    Err(Mistake { about: about.into(), message: message.into() })
}

/// Values that every text of `launch`, `log` and `ready` can have.
const EVERYWHERE: &[&str] = &[
    "dir",
    "forkproof",
    "key",
    "key-file",
    "log",
    "manifest-dir",
    "pid-file",
    "port",
    "program",
    "program-dir",
    "ready-fd",
    "ready-file",
];

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
    fn facts(&self) -> [(Claim, &'static str, bool); 11] {
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
        match () {
            () if claims.contains(&Claim::Clusters) => 2,
            () if claims.contains(&Claim::ProcessPerClient) => 1,
            () => 0,
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

    /// Finds what does not fit together.
    pub(super) fn check(&self) -> Result<(), Mistake> {
        self.check_claims()?;
        self.check_placeholders()?;
        self.check_paths()?;
        self.check_ready()?;
        let wire = &self.wire;
        if wire.auth_timeout.is_some() && self.key_length() == 0 {
            return mistake(
                "auth-timeout",
                "there is a time for the key, but wire.key says there is none",
            );
        }
        if self.log.is_some() && (wire.ending_in == Ending::Nul || wire.ending_out == Ending::Nul) {
            return mistake(
                "log",
                "[log] is for logs of what is sent, byte for byte, in lines; with messages that end in NUL leave it out",
            );
        }
        Ok(())
    }

    fn check_claims(&self) -> Result<(), Mistake> {
        let mut seen = BTreeSet::new();
        for &claim in &self.claims {
            if !seen.insert(claim) {
                return mistake(claim.word(), format!("`{}` is claimed twice", claim.word()));
            }
            if let Some((_, from, _)) =
                self.facts().iter().find(|(c, _, holds)| *c == claim && !holds)
            {
                return mistake(
                    claim.word(),
                    format!("`{}` is claimed, but it takes {from}", claim.word()),
                );
            }
        }
        let claims = self.all_claims();
        let needs: &[(Claim, &[Claim])] = &[
            (Claim::LogLock, &[Claim::ChatLog]),
            (Claim::LogRotation, &[Claim::ChatLog]),
            (Claim::PrivateLog, &[Claim::ChatLog]),
            (Claim::DiskErrors, &[Claim::ChatLog]),
            (Claim::Generations, &[Claim::ChatLog, Claim::IndependentClients]),
            (Claim::IndependentClients, &[Claim::ProcessPerClient]),
            (Claim::MulticastSignal, &[Claim::ProcessPerClient]),
            (Claim::KeyFileWarnings, &[Claim::Key]),
        ];
        for (claim, needed) in needs {
            for need in *needed {
                if claims.contains(claim) && !claims.contains(need) {
                    return mistake(
                        claim.word(),
                        format!("`{}` makes no sense without `{}`", claim.word(), need.word()),
                    );
                }
            }
        }
        if claims.contains(&Claim::Ipv6) && self.options.address.is_none() {
            return mistake(
                "ipv6",
                "`ipv6` is claimed, but there is no options.address to ask for it",
            );
        }
        if claims.contains(&Claim::ConfigErrors) && self.options.config.is_none() {
            return mistake(
                "config-errors",
                "`config-errors` is claimed, but it takes options.config",
            );
        }
        match (&self.roles, claims.contains(&Claim::ProcessPerClient)) {
            (Some(roles), true) if roles.receiver.is_none() => {
                mistake("roles", "[roles] lacks `receiver`, the process that serves a client")
            }
            (Some(roles), _) if claims.contains(&Claim::Clusters) && roles.sender.is_none() => {
                mistake("roles", "[roles] lacks `sender`, which `clusters` claims")
            }
            _ => Ok(()),
        }
    }

    fn check_placeholders(&self) -> Result<(), Mistake> {
        let launch = &self.launch;
        let options = &self.options;
        let mut all: Vec<(&Template, &[&str])> = Vec::new();
        let general = launch
            .arguments
            .iter()
            .chain(launch.environment.values())
            .chain(&launch.directory)
            .chain(launch.files.iter().flat_map(|file| [&file.path, &file.content]));
        all.extend(general.map(|template| (template, EVERYWHERE)));
        const PATHS: &[&str] = &["dir", "manifest-dir", "program-dir"];
        let paths = launch
            .key_file
            .iter()
            .chain(&launch.pid_file)
            .chain(launch.bind.iter().map(|bind| &bind.from))
            .chain(self.log.iter().filter_map(|log| log.path.as_ref()));
        all.extend(paths.map(|template| (template, PATHS)));
        all.extend(self.ready.file.iter().map(|template| (template, EVERYWHERE)));
        all.extend(self.ready.line.iter().map(|template| (template, &["address", "port"][..])));
        all.extend(launch.program.iter().map(|template| (template, &["forkproof"][..])));
        // Arguments, what they may hold, and what they must.
        type Rule<'r> = (&'r Option<Vec<Template>>, &'r [&'r str], Option<&'r str>);
        let of_options: [Rule<'_>; 10] = [
            (&options.address, &["address"], Some("address")),
            (&options.any_address, &["port"], Some("port")),
            (&options.replay, &["lines"], Some("lines")),
            (&options.daemon, &["pid-file"], None),
            (&options.stderr, &[], None),
            (&options.syslog, &[], None),
            (&options.user, &["user"], Some("user")),
            (&options.max_clients, &["number"], Some("number")),
            (&options.config, &["config"], Some("config")),
            (&options.ready_file, &["ready-file"], Some("ready-file")),
        ];
        for (templates, allowed, wanted) in of_options {
            let Some(templates) = templates else { continue };
            all.extend(templates.iter().map(|template| (template, allowed)));
            if let Some(wanted) = wanted {
                if !templates.iter().any(|template| template.mentions(wanted)) {
                    let about = templates.first().map_or("options", Template::text);
                    return mistake(about, format!("these arguments should hold {{{wanted}}}"));
                }
            }
        }
        for (template, allowed) in all {
            for name in template.placeholders() {
                if !allowed.contains(&name) {
                    let known: Vec<String> =
                        allowed.iter().map(|name| format!("{{{name}}}")).collect();
                    return mistake(
                        template.text(),
                        format!("{{{name}}} has no value here (known: {})", known.join(", ")),
                    );
                }
            }
        }
        Ok(())
    }

    fn check_paths(&self) -> Result<(), Mistake> {
        let launch = &self.launch;
        for bind in &launch.bind {
            let shown = bind.path.display().to_string();
            let plain = bind.path.components().all(|part| {
                !matches!(part, std::path::Component::ParentDir | std::path::Component::CurDir)
            });
            if !bind.path.is_absolute() || !plain || bind.path.parent().is_none() {
                return mistake(
                    &shown,
                    format!(
                        "launch.bind: `{shown}` must be an absolute path below /, without `..`"
                    ),
                );
            }
        }
        let own = |path: &Path| {
            path.starts_with("{dir}") || launch.bind.iter().any(|bind| path.starts_with(&bind.path))
        };
        let written = launch
            .files
            .iter()
            .map(|file| &file.path)
            .chain(&launch.key_file)
            .chain(&launch.pid_file)
            .chain(self.log.iter().filter_map(|log| log.path.as_ref()));
        for template in written {
            let text = template.text();
            let named = ["{key-file}", "{pid-file}", "{log}"].contains(&text);
            if !named && (!own(Path::new(text)) || text.contains("..")) {
                return mistake(
                    text,
                    format!(
                        "`{text}` is outside of the check's directory: begin it with {{dir}}, or give its directory in launch.bind"
                    ),
                );
            }
        }
        Ok(())
    }

    fn check_ready(&self) -> Result<(), Mistake> {
        let ready = &self.ready;
        if ready.line.is_some() != (ready.by == ReadyBy::Output) {
            return mistake("ready", "ready.line belongs to by = \"output\", and only to that");
        }
        if ready.file.is_some() && ready.by != ReadyBy::File {
            return mistake("ready", "ready.file belongs to by = \"file\"");
        }
        let tells_port = match ready.by {
            ReadyBy::Descriptor => {
                let said = self.launch.arguments.iter().chain(self.launch.environment.values());
                if !said.into_iter().any(|template| template.mentions("ready-fd")) {
                    return mistake(
                        "ready",
                        "by = \"descriptor\" takes {ready-fd} in launch.arguments or launch.environment",
                    );
                }
                true
            }
            ReadyBy::Output => ready
                .line
                .as_ref()
                .is_some_and(|line| line.mentions("port") || line.mentions("address")),
            ReadyBy::File | ReadyBy::Port => false,
        };
        let port_is_known = tells_port
            || self.takes_port()
            || self.options.address.is_some()
            || self.launch.port.is_some();
        if !port_is_known {
            return mistake(
                "launch",
                "nobody knows the port: say {port} in launch.arguments or launch.files, give launch.port or options.address, or let ready.line tell it",
            );
        }
        Ok(())
    }
}
