//! What must fit together in a manifest.

use std::collections::BTreeSet;
use std::path::Path;

use super::claim::Claim;
use super::manifest::{Ending, Manifest, ReadyBy};
use super::template::Template;

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
