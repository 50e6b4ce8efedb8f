//! The command line of `forkproof bench web`.

use std::path::PathBuf;

use crate::bench::Disturbance;
use crate::commands::bench::accounting::Accounting;
use crate::commands::bench::outputs::Outputs;

/// What `--help` says last.
pub const AFTER_HELP: &str = "\
Each server gets a configuration made here, in a private directory, with the number of workers asked \
for; what is not installed is left out, and that is said. `--target FILE` measures any other one by \
its manifest, with as many workers as that says; it has to serve the directory {dir}/site:

  forkproof bench web --servers webd,nginx --target mine.toml --html web.html
  forkproof bench web --servers webd,nginx --disturb kill,reload,upgrade,stop --workers 4

The default takes some minutes, --complete more than an hour. For a first look: --rounds 1 \
--requests 1000 --concurrency 50

Exit status: 0 measured, also where requests failed, which is said · 2 usage · 3 a server could not \
be measured, or the run was interrupted.";

/// The options of `forkproof bench web`.
#[derive(clap::Args, Debug)]
pub struct Arguments {
    /// Measure these: webd, nginx, apache-event, apache-prefork; `none` for --target alone [default:
    /// all that are there]
    #[arg(long, value_name = "NAME,…", value_delimiter = ',')]
    pub(super) servers: Vec<String>,

    /// Measure the server of this manifest too; its wire.kind is http. Repeatable
    #[arg(long = "target", value_name = "FILE")]
    pub(super) targets: Vec<PathBuf>,

    /// The full grid: 2, 10 and 100 workers; files of 1 kB, 143 kB and 10 MB
    #[arg(long, conflicts_with_all = ["workers", "sizes"])]
    pub(super) complete: bool,

    /// Measure with each of these numbers of workers [default: 2,10]
    #[arg(long, value_name = "N,…", value_delimiter = ',')]
    pub(super) workers: Vec<usize>,

    /// Ask for files of these lengths, in bytes [default: 1000]
    #[arg(long, value_name = "BYTES,…", value_delimiter = ',')]
    pub(super) sizes: Vec<usize>,

    /// Whether connections are used again
    #[arg(long, value_enum, default_value_t = KeepAlive::Both)]
    pub(super) keep_alive: KeepAlive,

    /// How often each is measured; in every second round in the opposite order
    #[arg(long, value_name = "N", default_value_t = 5, value_parser = clap::value_parser!(u16).range(1..=1000))]
    pub(super) rounds: u16,

    /// Requests of the closed load, in which one follows an answer; 0 leaves it out
    #[arg(long, value_name = "N", default_value_t = 5000, value_parser = clap::value_parser!(u32).range(0..=10_000_000))]
    pub(super) requests: u32,

    /// The same for files of more than a megabyte
    #[arg(long, value_name = "N", default_value_t = 500, value_parser = clap::value_parser!(u32).range(0..=10_000_000))]
    pub(super) large_requests: u32,

    /// How many connections there are at a time
    #[arg(long, value_name = "N", default_value_t = 500, value_parser = clap::value_parser!(u16).range(1..=1000))]
    pub(super) concurrency: u16,

    /// Pace of the open load in requests a second, whether they are answered or not; of large files
    /// as many as make 200 MB a second
    #[arg(long, value_name = "N", default_value_t = 500, value_parser = clap::value_parser!(u32).range(1..=100_000))]
    pub(super) rate: u32,

    /// How long that is kept, in seconds; 0 leaves it out [default: 2, with --disturb 60]
    #[arg(long, value_name = "SECONDS", value_parser = clap::value_parser!(u16).range(0..=600))]
    pub(super) seconds: Option<u16>,

    /// Instead of comparing figures, do this to each server while it is under the open load, and tell
    /// which requests that costs: kill or stop a worker, reload, upgrade the program in place
    #[arg(long, value_name = "WHAT,…", value_delimiter = ',', value_enum, conflicts_with_all = ["complete", "sizes", "rounds", "requests", "large_requests"])]
    pub(super) disturb: Vec<Disturb>,

    /// How processor time is counted
    #[arg(long, value_enum, default_value_t = Accounting::Auto)]
    pub(super) accounting: Accounting,

    #[command(flatten)]
    pub(super) outputs: Outputs,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub(super) enum KeepAlive {
    /// Many requests on one connection
    On,
    /// A connection for each request
    Off,
    /// Each in turn
    Both,
}

/// What can be done to a server.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub(super) enum Disturb {
    /// Kill a worker, 20 times in a minute
    Kill,
    /// Stop a worker for good, once
    Stop,
    /// Have the configuration read again, 10 times in a minute
    Reload,
    /// Have the program executed anew, 3 times in a minute
    Upgrade,
}

impl Disturb {
    /// What it is, and how often it is done in so many seconds.
    pub(super) fn plan(self, seconds: f64) -> (Disturbance, usize) {
        const MINUTE: f64 = 60.0;
        let in_a_minute = |count: f64| ((count * seconds / MINUTE).round() as usize).max(1);
        match self {
            Self::Kill => (Disturbance::Kill, in_a_minute(20.0)),
            Self::Stop => (Disturbance::Stop, 1),
            Self::Reload => (Disturbance::Reload, in_a_minute(10.0)),
            Self::Upgrade => (Disturbance::Upgrade, in_a_minute(3.0)),
        }
    }
}
