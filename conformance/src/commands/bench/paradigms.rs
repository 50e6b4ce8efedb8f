//! `forkproof bench paradigms`: what a sink costs in several designs.

use std::net::SocketAddr;
use std::path::Path;
use std::time::{Duration, Instant};

use forkproof_report::PARADIGMS_SCHEMA;
use forkproof_sinks as sinks;

use super::accounting::Accounting;
use super::outputs::Outputs;
use super::progress::progress;
use crate::bench::{Cell, Group, Machine, Measurement, Paradigms, Rate, Sample, Sink, SinkFacts};
use crate::commands::arguments::catch_interrupts;
use crate::commands::outcome::{CommandError, CommandResult};
use crate::commands::private::{PrivateDir, private_dir};
use crate::platform;
use crate::run::{Product, Task, Work, run_task, slowness};

/// What `--help` says last.
pub(super) const AFTER_HELP: &str = "\
Every sink only reads from its clients, and writes to standard output, which is /dev/null. A peer is started \
in the foreground, without a shell; `{address}` stands for HOST:PORT, `{host}` and `{port}` for its \
parts:

  forkproof bench paradigms --peer 'c=./sink {port}' --html paradigms.html

The default takes about 45 minutes. For a first look: --rounds 3 --seconds 1 --points 1,8,64

Exit status: 0 measured, also where a sink fell behind, which is said · 2 usage · 3 a sink could not be \
measured, or the run was interrupted.";

/// The most connections of a point.
const MOST: usize = 1024;

/// The options of `forkproof bench paradigms`.
#[derive(clap::Args, Debug)]
pub struct Arguments {
    /// Measure these designs; `none` for peers alone [default: all]
    #[arg(long, value_name = "NAME,…", value_delimiter = ',')]
    sinks: Vec<String>,

    /// Measure another program too
    #[arg(long = "peer", value_name = "NAME=COMMAND")]
    peers: Vec<String>,

    /// Measure with each of these numbers of connections, at most 1024
    #[arg(long, value_name = "N,…", value_delimiter = ',', default_values_t = [1, 2, 4, 8, 16, 32, 64])]
    points: Vec<usize>,

    /// How often each is measured; in every second round in the opposite order
    #[arg(long, value_name = "N", default_value_t = 10, value_parser = clap::value_parser!(u16).range(1..=1000))]
    rounds: u16,

    /// How long each measurement takes, in seconds
    #[arg(long, value_name = "SECONDS", default_value_t = 5, value_parser = clap::value_parser!(u16).range(1..=600))]
    seconds: u16,

    /// How much each connection sends, in bits per second
    #[arg(long, value_name = "BITS", default_value_t = 1_000_000, value_parser = clap::value_parser!(u64).range(1..=100_000_000_000))]
    rate: u64,

    /// How many bytes a client writes at a time
    #[arg(long, value_name = "BYTES", default_value_t = 4096, value_parser = clap::value_parser!(u32).range(1..=65536))]
    message: u32,

    /// How processor time is counted
    #[arg(long, value_enum, default_value_t = Accounting::Auto)]
    accounting: Accounting,

    #[command(flatten)]
    outputs: Outputs,
}

/// The command.
pub(super) fn main(arguments: &Arguments) -> CommandResult {
    let plan = Plan::new(arguments)?;
    let open = arguments.outputs.open()?;
    let dir = private_dir(false)?;
    catch_interrupts()?;
    let group = arguments.accounting.group()?;
    let measured = plan.measure(&dir, &group)?;
    open.write(&measured)
}

/// What is to be measured.
struct Plan {
    sinks: Vec<Sink>,
    facts: Vec<SinkFacts>,
    points: Vec<usize>,
    rounds: usize,
    time: Duration,
    rate: Rate,
}

impl Plan {
    fn new(arguments: &Arguments) -> Result<Self, CommandError> {
        let usage = |why: String| CommandError::usage(why);
        let mut points = arguments.points.clone();
        points.sort_unstable();
        points.dedup();
        if points.iter().any(|point| !(1..=MOST).contains(point)) {
            return Err(usage(format!("--points: each number must be from 1 to {MOST}")));
        }
        let rate =
            Rate { bits_per_second: arguments.rate, message_bytes: arguments.message as usize };
        let time = Duration::from_secs(arguments.seconds.into());
        if rate.interval() > time {
            return Err(usage(format!(
                "a client that sends {} bits per second writes {} bytes each {:.0} s: --seconds must be \
                 at least that",
                arguments.rate,
                arguments.message,
                rate.interval().as_secs_f64().ceil()
            )));
        }
        let mut plan = Self {
            sinks: Vec::new(),
            facts: Vec::new(),
            points,
            rounds: arguments.rounds.into(),
            time,
            rate,
        };
        plan.add_designs(&arguments.sinks)?;
        for peer in &arguments.peers {
            plan.add_peer(peer).map_err(|why| usage(format!("--peer `{peer}`: {why}")))?;
        }
        if plan.sinks.is_empty() {
            return Err(usage("there is nothing to measure: --sinks or --peer".into()));
        }
        Ok(plan)
    }

    fn add_designs(&mut self, names: &[String]) -> Result<(), CommandError> {
        let known: Vec<&str> = sinks::DESIGNS.iter().map(|design| design.name).collect();
        if let Some(wrong) =
            names.iter().find(|name| *name != "none" && !known.contains(&name.as_str()))
        {
            let why = settings::unknown("paradigm", wrong, &known);
            return Err(CommandError::usage(format!("--sinks: {why}")));
        }
        let is_wanted = |name: &str| names.is_empty() || names.iter().any(|wanted| wanted == name);
        for design in sinks::DESIGNS.iter().filter(|design| is_wanted(design.name)) {
            self.sinks.push(Sink::Inside(design.name.to_owned()));
            self.facts.push(SinkFacts {
                name: design.name.to_owned(),
                about: design.about.to_owned(),
                peer: false,
            });
        }
        Ok(())
    }

    fn add_peer(&mut self, text: &str) -> Result<(), String> {
        let (name, command) = text.split_once('=').ok_or("write NAME=COMMAND")?;
        if name.is_empty() {
            return Err("it has no name".into());
        }
        let is_taken = |name: &str| self.facts.iter().any(|facts| facts.name == name);
        if is_taken(name) || sinks::find(name).is_some() {
            return Err(format!("something else is called {name}"));
        }
        let words = shell_words::split(command).map_err(|error| error.to_string())?;
        let here = std::env::current_dir().map_err(|error| error.to_string())?;
        let program = words.first().ok_or("there is no command")?.clone();
        self.sinks.push(Sink::peer(name, words, here.clone())?);
        which::which_in(&program, std::env::var_os("PATH"), here)
            .map_err(|_| format!("there is no program {program}"))?;
        self.facts.push(SinkFacts { name: name.to_owned(), about: command.to_owned(), peer: true });
        Ok(())
    }

    /// Measures everything, round after round: what changes on the machine meanwhile meets all sinks
    /// alike.
    fn measure(&self, dir: &PrivateDir, group: &Group) -> Result<Paradigms, CommandError> {
        let started = humantime::format_rfc3339_seconds(std::time::SystemTime::now()).to_string();
        let begin = Instant::now();
        let facts = platform::facts(dir.path());
        let bar = progress(self.rounds * self.points.len() * self.sinks.len());
        let mut samples: Vec<Vec<Sample>> = vec![Vec::new(); self.points.len() * self.sinks.len()];
        for round in 0..self.rounds {
            let slowness = slowness();
            for (row, &connections) in self.points.iter().enumerate() {
                let mut order: Vec<usize> = (0..self.sinks.len()).collect();
                if round % 2 == 1 {
                    order.reverse();
                }
                for at in order {
                    let sink = &self.sinks[at];
                    bar.set_message(format!(
                        "round {} of {}: {}, {connections} connections",
                        round + 1,
                        self.rounds,
                        sink.name()
                    ));
                    let task = Task {
                        work: Work::Sink(Measurement {
                            sink: sink.clone(),
                            connections,
                            rate: self.rate,
                            time: self.time,
                            group: group.path().map(Path::to_owned),
                        }),
                        dir: dir.path().join("sink"),
                        keep: false,
                        slowness,
                        limit: self.time + Duration::from_secs(120).mul_f64(slowness),
                    };
                    samples[row * self.sinks.len() + at].push(one(&task)?);
                    bar.inc(1);
                }
            }
        }
        bar.finish_and_clear();
        let others = samples.iter().flatten().map(|sample| sample.others_percent);
        let machine = Machine::this(others);
        let places = self
            .points
            .iter()
            .flat_map(|&point| self.facts.iter().map(move |facts| (facts.name.as_str(), point)));
        Ok(Paradigms {
            schema: PARADIGMS_SCHEMA,
            forkproof: env!("CARGO_PKG_VERSION"),
            started,
            duration_seconds: begin.elapsed().as_secs_f64(),
            platform: facts,
            machine,
            accounting: group.words.clone(),
            load: self.rate,
            seconds: self.time.as_secs_f64(),
            rounds: self.rounds,
            sinks: self.facts.clone(),
            cells: places
                .zip(samples)
                .filter_map(|((sink, connections), samples)| Cell::new(sink, connections, samples))
                .collect(),
        })
    }
}

/// One measurement.
fn one(task: &Task) -> Result<Sample, CommandError> {
    let finding = run_task(task).ok_or_else(|| CommandError::no_verdict("interrupted"))?;
    match finding.product {
        Some(Product::Sample(sample)) => Ok(sample),
        _ => Err(CommandError::no_verdict(finding.reason.unwrap_or_else(|| "no figures".into()))),
    }
}

/// Is a sink, until it is killed.
pub fn sink(design: &str, address: SocketAddr, clients: usize) -> CommandResult {
    let design =
        sinks::find(design).ok_or_else(|| CommandError::usage(format!("no design `{design}`")))?;
    match sinks::run(design, address, clients) {
        Ok(never) => match never {},
        Err(error) => {
            let why = settings::reason(&error);
            Err(CommandError::no_verdict(format!("{} at {address}: {why}", design.name)))
        }
    }
}
