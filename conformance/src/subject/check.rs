//! What must fit together in a manifest.

use std::collections::BTreeSet;
use std::path::Path;

use super::claim::Claim;
use super::manifest::{Manifest, ReadyBy};
use super::options::Words;
use super::processes::Model;
use super::template::Template;
use super::wire::{Again, Ending, Kind};

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
    "shared",
    "user",
];

/// Values of what is run once a run, before there is a check.
const ONCE: &[&str] = &["forkproof", "manifest-dir", "program", "program-dir", "shared", "user"];

/// Values of a file's content beside [`EVERYWHERE`].
const IN_FILES: &[&str] = &["address", "host"];

impl Manifest {
    /// Finds what does not fit together.
    pub(super) fn check(&self) -> Result<(), Mistake> {
        self.check_claims()?;
        self.check_placeholders()?;
        self.check_paths()?;
        self.check_ready()?;
        self.check_lifecycle()?;
        self.check_wire()
    }

    /// What of `lifecycle` belongs together.
    fn check_lifecycle(&self) -> Result<(), Mistake> {
        let life = &self.lifecycle;
        // A key, whether it is there, and the one that it is about.
        let keys = [
            ("config", life.config.is_some(), "reload", life.reload.is_some()),
            ("broken", life.broken.is_some(), "config", life.config.is_some()),
            ("graceful-limit", life.graceful_limit.is_some(), "graceful", life.graceful.is_some()),
            ("log", life.log.is_some(), "reopen", life.reopen.is_some()),
            ("finish", life.finish.is_some(), "upgrade", life.upgrade.is_some()),
        ];
        for (key, is_there, other, other_is_there) in keys {
            if is_there && !other_is_there {
                return mistake(
                    key,
                    format!("lifecycle.{key} makes no sense without lifecycle.{other}"),
                );
            }
        }
        let stop = &self.stop;
        if let Some(limit) = life.graceful_limit.filter(|_| life.graceful == Some(stop.signal)) {
            // Whoever is connected when it ends may make it wait.
            if f64::from(limit) >= f64::from(stop.limit) {
                return mistake(
                    "graceful-limit",
                    format!(
                        "a graceful stop may take lifecycle.graceful-limit = {}, and stop.signal is \
                         its signal: stop.limit must be more than that, not {}",
                        f64::from(limit),
                        f64::from(stop.limit)
                    ),
                );
            }
        }
        if life.reopen.is_some() && life.log.is_none() {
            return mistake(
                "reopen",
                "lifecycle.reopen takes lifecycle.log, the log that it is about",
            );
        }
        if life.health.is_some() && self.processes.model != Model::Workers {
            return mistake(
                "health",
                "lifecycle.health is about workers, but processes.model says that there are none",
            );
        }
        let Some(config) = &life.config else { return Ok(()) };
        if self.launch.files.iter().any(|file| file.path == *config) {
            return Ok(());
        }
        mistake(
            config.text(),
            format!("lifecycle.config: `{}` is none of launch.files", config.text()),
        )
    }

    /// What a kind of wire takes, and what belongs to another one.
    fn check_wire(&self) -> Result<(), Mistake> {
        let wire = &self.wire;
        let kind = wire.kind;
        let (chat, exchange) = (kind == Kind::Chat, kind == Kind::Exchange);
        let lines = wire.has_lines();
        let default = |ending: Ending| ending == Ending::default();
        // A key, whether it is there, and where it belongs.
        let keys = [
            ("greeting", wire.greeting.is_some(), !chat, "every kind but \"chat\""),
            ("request", wire.request.is_some(), exchange, "kind = \"exchange\""),
            ("response", wire.response.is_some(), exchange, "kind = \"exchange\""),
            ("until", wire.until.is_some(), exchange, "kind = \"exchange\""),
            ("path", wire.path.is_some(), kind == Kind::Http, "kind = \"http\""),
            ("status", wire.status.is_some(), kind == Kind::Http, "kind = \"http\""),
            ("replay", wire.replay > 0, chat, "kind = \"chat\""),
            ("echo", !wire.echo, chat, "kind = \"chat\""),
            ("ending-in", !default(wire.ending_in), lines, "kind = \"chat\" or \"echo\""),
            ("ending-out", !default(wire.ending_out), lines, "kind = \"chat\" or \"echo\""),
        ];
        for (key, is_there, belongs, where_to) in keys {
            if is_there && !belongs {
                return mistake(key, format!("wire.{key} belongs to {where_to}"));
            }
        }
        if exchange && (wire.request.is_none() || wire.response.is_none()) {
            return mistake(
                "kind",
                "kind = \"exchange\" takes wire.request, what a client asks, and wire.response, what the answer holds",
            );
        }
        if kind == Kind::Greeting && wire.greeting.is_none() {
            return mistake(
                "kind",
                "kind = \"greeting\" takes wire.greeting, what the server says",
            );
        }
        if kind == Kind::Http && wire.again == Some(Again::None) {
            return mistake(
                "again",
                "again = \"none\" is no HTTP: a connection is asked again (\"same\") or closed (\"reconnect\")",
            );
        }
        if wire.again.is_some_and(|again| again != wire.again()) {
            return mistake("again", "wire.again belongs to kind = \"exchange\" or \"http\"");
        }
        for (key, text) in [("greeting", &wire.greeting), ("path", &wire.path)] {
            if text.as_ref().is_some_and(|text| text.has_token()) {
                return mistake(key, format!("{{token}} has no value in wire.{key}"));
            }
        }
        if wire.status.is_some_and(|status| !(200..=599).contains(&status)) {
            return mistake("status", "wire.status is a final HTTP status, from 200 to 599");
        }
        if wire.auth_timeout.is_some() && self.key_length() == 0 {
            return mistake(
                "auth-timeout",
                "there is a time for the key, but wire.key says there is none",
            );
        }
        if self.log.is_some() && !chat {
            return mistake(
                "log",
                "[log] is the log of a chat, but wire.kind says that the server is none",
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
            (Claim::MulticastSignal, &[Claim::Broadcast]),
            (Claim::WholeLines, &[Claim::Broadcast]),
            (Claim::Transparent, &[Claim::Broadcast]),
            (Claim::HalfClose, &[Claim::Echo]),
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
            .chain(&self.lifecycle.config)
            .chain(&self.lifecycle.broken)
            .chain(&self.lifecycle.log)
            .chain(launch.files.iter().map(|file| &file.path));
        all.extend(general.map(|template| (template, EVERYWHERE)));
        let in_files = [EVERYWHERE, IN_FILES].concat();
        all.extend(launch.files.iter().map(|file| (&file.content, in_files.as_slice())));
        for prepare in &launch.prepare {
            let allowed = if prepare.once { ONCE } else { EVERYWHERE };
            all.extend(prepare.command.iter().map(|template| (template, allowed)));
        }
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
        const PROGRAM: &[&str] = &["forkproof", "manifest-dir"];
        all.extend(launch.program.iter().map(|template| (template, PROGRAM)));
        // Arguments, what they may hold, and what they must.
        type Rule<'r> = (&'r Option<Words>, &'r [&'r str], Option<&'r str>);
        let in_file = self.tells_address_in_files();
        let apart = |words: &Words| {
            ["host", "port"].iter().all(|part| words.arguments().iter().any(|w| w.mentions(part)))
        };
        // Host and port may stand in arguments of their own.
        let address = match &options.address {
            Some(words) if apart(words) => "host",
            _ => "address",
        };
        let of_options: [Rule<'_>; 11] = [
            (&options.address, &["address", "host", "port"], (!in_file).then_some(address)),
            (&options.any_address, &["port"], Some("port")),
            (&options.replay, &["lines"], Some("lines")),
            (&options.daemon, &["pid-file"], None),
            (&options.stderr, &[], None),
            (&options.syslog, &[], None),
            (&options.user, &["user"], Some("user")),
            (&options.max_clients, &["number"], Some("number")),
            (&options.config, &["config"], Some("config")),
            (&options.ready_file, &["ready-file"], Some("ready-file")),
            (&options.activation, &[], None),
        ];
        for (words, allowed, wanted) in of_options {
            let Some(words) = words else { continue };
            if let Words::Instead(instead) = words {
                all.extend(instead.instead_of.iter().map(|template| (template, EVERYWHERE)));
                if instead.instead_of.is_empty() || words.place_in(&launch.arguments).is_none() {
                    let about = instead.instead_of.first().map_or("instead-of", Template::text);
                    return mistake(
                        about,
                        "instead-of: launch.arguments has no such arguments, one after the other",
                    );
                }
            }
            let templates = words.arguments();
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
            .chain(&self.lifecycle.log)
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
