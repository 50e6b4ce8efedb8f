//! A sink that runs: started, seen to listen, still there.

use std::fs::File;
use std::net::{Ipv4Addr, SocketAddr, TcpListener};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use serde::{Deserialize, Serialize};

use crate::platform::{self, Process, State};
use crate::subject::{Template, Values};

/// A sink under test.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub enum Sink {
    /// A design of forkproof's own.
    Inside(String),
    /// Any program.
    Peer {
        /// What it is called.
        name: String,
        /// The program and its arguments.
        words: Vec<Template>,
        /// Where it is started.
        directory: PathBuf,
    },
}

/// What may stand between braces in a peer's command line.
const PLACEHOLDERS: [&str; 3] = ["address", "host", "port"];

impl Sink {
    /// A peer, from its name and its command line.
    ///
    /// # Errors
    /// What is wrong with the command line.
    pub fn peer(name: &str, words: Vec<String>, directory: PathBuf) -> Result<Self, String> {
        let words: Vec<Template> =
            words.into_iter().map(Template::try_from).collect::<Result<_, _>>()?;
        if words.is_empty() {
            return Err("there is no command".into());
        }
        let named = || words.iter().flat_map(Template::placeholders);
        if let Some(other) = named().find(|name| !PLACEHOLDERS.contains(name)) {
            return Err(format!("{{{other}}} has no value here: write {{address}} or {{port}}"));
        }
        if !named().any(|name| name != "host") {
            return Err("its command must say where it listens: {address} or {port}".into());
        }
        Ok(Self::Peer { name: name.to_owned(), words, directory })
    }

    /// What it is called.
    pub fn name(&self) -> &str {
        match self {
            Self::Inside(name) | Self::Peer { name, .. } => name,
        }
    }

    fn command(&self, at: SocketAddr, clients: usize) -> Result<Command, String> {
        match self {
            Self::Inside(name) => {
                let own = std::env::current_exe()
                    .map_err(|error| format!("this program's own path: {error}"))?;
                let mut command = Command::new(own);
                command.args(["__sink", name, &at.to_string(), &clients.to_string()]);
                Ok(command)
            }
            Self::Peer { words, directory, .. } => {
                let values = Values::from([
                    ("address", at.to_string().into()),
                    ("host", at.ip().to_string().into()),
                    ("port", at.port().to_string().into()),
                ]);
                let mut words = words.iter().map(|word| word.fill(&values));
                let program = words.next().ok_or("there is no command")??;
                let mut command = Command::new(program);
                command.current_dir(directory);
                for word in words {
                    command.arg(word?);
                }
                Ok(command)
            }
        }
    }
}

/// A sink that listens. What is left of it is ended by the warden.
pub(super) struct Running<'a> {
    sink: &'a Sink,
    child: Child,
    /// Where it listens.
    pub(super) at: SocketAddr,
    output: PathBuf,
}

impl<'a> Running<'a> {
    /// Starts it, in `group` if there is one, and waits until it listens.
    pub(super) fn start(
        sink: &'a Sink,
        clients: usize,
        group: Option<&Path>,
        dir: &Path,
        patience: Duration,
    ) -> Result<Self, String> {
        let port = TcpListener::bind((Ipv4Addr::LOCALHOST, 0))
            .and_then(|listener| listener.local_addr())
            .map_err(|error| format!("no free port: {error}"))?
            .port();
        let at = SocketAddr::from((Ipv4Addr::LOCALHOST, port));
        let output = dir.join("sink.output");
        let errors = File::create(&output).map_err(|error| format!("its output: {error}"))?;
        let mut command = sink.command(at, clients)?;
        if let Some(group) = group {
            platform::start_in_group(&mut command, group)?;
        }
        let child =
            command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(errors).spawn().map_err(
                |error| {
                    let program = command.get_program().to_string_lossy().into_owned();
                    format!("{program}: {}", settings::reason(&error))
                },
            )?;
        let mut running = Self { sink, child, at, output };
        running.wait_until_it_listens(patience)?;
        Ok(running)
    }

    fn wait_until_it_listens(&mut self, patience: Duration) -> Result<(), String> {
        let begin = Instant::now();
        loop {
            let listens = |process: &Process| platform::listens(process.pid, self.at.port());
            let below = below()?;
            if below.iter().any(|process| listens(process).unwrap_or(false)) {
                return Ok(());
            }
            let ended = self.child.try_wait().ok().flatten();
            if let Some(status) = ended.filter(|_| below.is_empty()) {
                return Err(format!(
                    "the sink {} ended with {status} and never listened on {}; {}",
                    self.sink.name(),
                    self.at,
                    self.last_words()
                ));
            }
            if begin.elapsed() > patience {
                return Err(format!(
                    "the sink {} does not listen on {} after {:.0} s; {}",
                    self.sink.name(),
                    self.at,
                    patience.as_secs_f64(),
                    self.last_words()
                ));
            }
            // Nothing announces that a stranger listens.
            std::thread::sleep(Duration::from_millis(1));
        }
    }

    /// `why` something went wrong with it, and what it says itself.
    pub(super) fn failed(&self, why: &str) -> String {
        format!("the sink {}: {why}; {}", self.sink.name(), self.last_words())
    }

    fn last_words(&self) -> String {
        /// As much as a line holds.
        const SHOWN: usize = 300;
        let text = std::fs::read(&self.output).unwrap_or_default();
        let text = String::from_utf8_lossy(&text);
        let lines: Vec<&str> =
            text.lines().map(str::trim).filter(|line| !line.is_empty()).collect();
        let words: String = lines[lines.len().saturating_sub(2)..].join(" / ");
        match words.is_empty() {
            true => "it says nothing on standard error".to_owned(),
            false => {
                let words: String = words.chars().take(SHOWN).collect();
                format!("it says: {}", settings::printable(&words))
            }
        }
    }
}

/// The processes of the sink that have not ended: all that descends from this one.
pub(super) fn below() -> Result<Vec<Process>, String> {
    let table = platform::process_table()?;
    let mut below = platform::descendants(&table, std::process::id() as i32);
    below.retain(|process| process.state != State::Zombie);
    Ok(below)
}
