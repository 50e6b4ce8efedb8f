//! `forkproof bench chat`: what a chat costs, and how fast it is, beside others.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use forkproof_report::CHAT_SCHEMA;
use forkproof_sinks::{self as sinks, CHAT_FLOOR};

use super::outputs::Outputs;
use super::progress::progress;
use crate::bench::{
    AtRest, Chat, ChatSample, ChatServer, Conversation, Figures, MESSAGE, Machine, Measures, Point,
    What,
};
use crate::commands::arguments::{catch_interrupts, program_target};
use crate::commands::outcome::{CommandError, CommandResult};
use crate::commands::private::{PrivateDir, private_dir};
use crate::platform;
use crate::run::{Product, Subject, Task, Work, run_task, slowness};
use crate::subject::Target;

/// What `--help` says last.
pub(super) const AFTER_HELP: &str = "\
All clients speak and all hear each other. `floor` is what the design of chatd costs at least: for each \
client a process that reads and one that writes, one signal, one wake, one read and one send for each \
delivery, and nothing else. `ngircd` is measured if it is installed, by its own protocol.

What a message costs depends on the machine: compare within one run. The default takes about 20 minutes. \
For a first look: --rounds 1 --seconds 1

Exit status: 0 measured, also where something was lost, which is said · 2 usage · 3 a server could not be \
measured, or the run was interrupted.";

/// A rate at which all say as much as they can hear.
const MOST: &str = "max";
const CHATD: &str = "chatd";
const NGIRCD: &str = "ngircd";

/// The options of `forkproof bench chat`.
#[derive(clap::Args, Debug)]
pub struct Arguments {
    /// Measure these: chatd, floor, ngircd; `none` for those of --program and --target alone
    /// [default: all that are here]
    #[arg(long, value_name = "NAME,…", value_delimiter = ',')]
    servers: Vec<String>,

    /// Measure this program too, which has chatd's command line
    #[arg(long, value_name = "FILE")]
    program: Option<PathBuf>,

    /// Measure the chat that this manifest describes too
    #[arg(long = "target", value_name = "NAME|FILE")]
    targets: Vec<PathBuf>,

    /// Measure with each of these numbers of clients
    #[arg(long, value_name = "N,…", value_delimiter = ',', default_values_t = [2, 8, 64])]
    clients: Vec<usize>,

    /// How many messages each client says in a second; `max`: as many as all hear
    #[arg(long, value_name = "N|max,…", value_delimiter = ',', default_values = ["10", "50", MOST])]
    rates: Vec<String>,

    /// How often each is measured; in every second round in the opposite order
    #[arg(long, value_name = "N", default_value_t = 5, value_parser = clap::value_parser!(u16).range(1..=1000))]
    rounds: u16,

    /// How long each measurement takes, in seconds
    #[arg(long, value_name = "SECONDS", default_value_t = 5, value_parser = clap::value_parser!(u16).range(1..=600))]
    seconds: u16,

    #[command(flatten)]
    outputs: Outputs,
}

/// The command.
pub(super) fn main(arguments: &Arguments) -> CommandResult {
    if arguments.clients.iter().any(|clients| !(2..=500).contains(clients)) {
        return Err(CommandError::usage("--clients: each number must be from 2 to 500"));
    }
    let rates: Vec<Option<f64>> =
        arguments.rates.iter().map(|text| rate(text)).collect::<Result<_, _>>()?;
    let servers = servers(arguments)?;
    let open = arguments.outputs.open()?;
    let started = humantime::format_rfc3339_seconds(std::time::SystemTime::now()).to_string();
    let begin = Instant::now();
    let dir = private_dir(false)?;
    catch_interrupts()?;
    let mut whats: Vec<What> = Vec::new();
    for &clients in &arguments.clients {
        whats.extend(rates.iter().map(|&rate| What::Talk(Point { clients, rate })));
    }
    whats.push(What::Rest);
    let time = Duration::from_secs(arguments.seconds.into());
    let facts = platform::facts(dir.path());
    let bar = progress(usize::from(arguments.rounds) * whats.len() * servers.len());
    let mut samples = Vec::new();
    for round in 0..arguments.rounds {
        let slowness = slowness();
        for &what in &whats {
            let mut order: Vec<usize> = (0..servers.len()).collect();
            if round % 2 == 1 {
                order.reverse();
            }
            for at in order {
                let server = &servers[at];
                let name = &server.facts.name;
                let rounds = arguments.rounds;
                bar.set_message(format!("round {} of {rounds}: {name}", round + 1));
                let measures = Measures { what, irc: server.irc, time };
                let figures = one(&dir, measures, &server.target, slowness)
                    .map_err(|why| CommandError::no_verdict(format!("{name}: {why}")))?;
                samples.push(ChatSample { server: name.clone(), what, figures });
                bar.inc(1);
            }
        }
    }
    bar.finish_and_clear();
    let chat = Chat {
        schema: CHAT_SCHEMA,
        forkproof: env!("CARGO_PKG_VERSION"),
        optimized: !cfg!(debug_assertions),
        started,
        duration_seconds: begin.elapsed().as_secs_f64(),
        platform: facts,
        machine: Machine::this(
            samples
                .iter()
                .filter(|sample| sample.what != What::Rest)
                .map(ChatSample::others_percent),
        ),
        message_bytes: MESSAGE,
        seconds: time.as_secs_f64(),
        rounds: arguments.rounds.into(),
        servers: servers.into_iter().map(|server| server.facts).collect(),
        conversations: Conversation::all(&samples),
        at_rest: AtRest::all(&samples),
    };
    open.write(&chat)
}

fn rate(text: &str) -> Result<Option<f64>, CommandError> {
    if text == MOST {
        return Ok(None);
    }
    match text.parse() {
        Ok(rate) if (0.1..=100_000.0).contains(&rate) => Ok(Some(rate)),
        _ => Err(CommandError::usage(format!(
            "--rates `{text}`: write a number from 0.1 to 100000, or `{MOST}`"
        ))),
    }
}

struct Measured {
    facts: ChatServer,
    target: Target,
    /// Whether its clients speak IRC.
    irc: bool,
}

impl Measured {
    fn new(name: impl Into<String>, about: impl Into<String>, target: Target) -> Self {
        let facts = ChatServer { name: name.into(), about: about.into() };
        Self { facts, target, irc: false }
    }
}

fn servers(arguments: &Arguments) -> Result<Vec<Measured>, CommandError> {
    const KNOWN: &[&str] = &[CHATD, CHAT_FLOOR, NGIRCD];
    if let Some(wrong) =
        arguments.servers.iter().find(|name| *name != "none" && !KNOWN.contains(&name.as_str()))
    {
        let why = settings::unknown("server", wrong, KNOWN);
        return Err(CommandError::usage(format!("--servers: {why}")));
    }
    let is_named = |name: &str| arguments.servers.iter().any(|named| named == name);
    let is_wanted = |name: &str| arguments.servers.is_empty() || is_named(name);
    let mut all: Vec<Measured> = Vec::new();
    // First, as in the other comparisons: plots show the first as what the others are measured by.
    if is_wanted(CHAT_FLOOR) {
        let floor = Target::of_text(include_str!("floor.toml"), "floor.toml");
        let about = "the least that chatd's design costs: no lock, no key, no limit";
        all.push(Measured::new(CHAT_FLOOR, about, floor.map_err(CommandError::no_verdict)?));
    }
    if is_wanted(CHATD) {
        let about = "two processes for each client, a log under flock, SIGUSR1 as multicast";
        all.push(Measured::new(CHATD, about, program_target(None)?));
    }
    if let Some(program) = &arguments.program {
        let target = program_target(Some(program))?;
        all.push(Measured::new(program.display().to_string(), "with chatd's command line", target));
    }
    for target in &arguments.targets {
        let target = Target::named(target.as_os_str(), None).map_err(CommandError::usage)?;
        let about = target.manifest.description.clone().unwrap_or_default();
        all.push(Measured::new(target.name.clone(), about, target));
    }
    if is_wanted(NGIRCD) {
        let text = include_str!("../../../targets/ngircd.toml");
        match Target::of_text(text, "targets/ngircd.toml") {
            Ok(target) => {
                let about = "one process for all, measured in IRC, its own protocol";
                all.push(Measured { irc: true, ..Measured::new(NGIRCD, about, target) });
            }
            Err(why) if is_named(NGIRCD) => return Err(CommandError::usage(why)),
            // It is not installed.
            Err(_) => {}
        }
    }
    match all.is_empty() {
        true => Err(CommandError::usage(
            "there is nothing to measure: --servers, --program or --target",
        )),
        false => Ok(all),
    }
}

/// One measurement of a fresh server.
fn one(
    dir: &PrivateDir,
    measures: Measures,
    target: &Target,
    slowness: f64,
) -> Result<Figures, String> {
    let limit = 2 * measures.time + Duration::from_secs(120).mul_f64(slowness);
    let task = Task {
        work: Work::Benchmark(measures, Subject { target: target.clone(), personality: None }),
        dir: dir.path().join("bench"),
        keep: false,
        slowness,
        limit,
    };
    let finding = run_task(&task).ok_or("interrupted")?;
    match finding.product {
        Some(Product::Figures(figures)) => Ok(figures),
        _ => {
            let failure = finding.failure.map(|f| format!("{}: {}", f.expected, f.actual));
            Err(finding.reason.or(failure).unwrap_or_else(|| "no figures".into()))
        }
    }
}

/// Is the floor, until it is killed.
pub fn floor(address: SocketAddr, log: &Path) -> CommandResult {
    match sinks::chat(address, log) {
        Ok(never) => match never {},
        Err(error) => {
            let why = settings::reason(&error);
            Err(CommandError::no_verdict(format!("{CHAT_FLOOR} at {address}: {why}")))
        }
    }
}
