//! `forkproof bench chat`: a chat server's speed, latency, memory and idle cost.

use std::path::PathBuf;
use std::time::Duration;

use crate::bench::Measures;
use crate::commands::arguments::{catch_interrupts, program_target};
use crate::commands::outcome::{CommandError, CommandResult, print, say};
use crate::commands::private::private_dir;
use crate::platform;
use crate::render::{self, figures};
use crate::run::{Product, Subject, Task, Work, run_task, slowness};

/// The options of `forkproof bench chat`.
#[derive(clap::Args, Debug)]
pub struct Arguments {
    /// Measure this program, which has the reference server's command line, instead of the one
    /// inside
    #[arg(long, value_name = "FILE")]
    program: Option<PathBuf>,

    /// Measure with each of these numbers of clients
    #[arg(long, value_name = "N,…", value_delimiter = ',', default_values_t = [2, 8, 32, 64])]
    clients: Vec<usize>,

    /// How long each measurement takes, in seconds
    #[arg(long, value_name = "SECONDS", default_value_t = 2, value_parser = clap::value_parser!(u16).range(1..=600))]
    seconds: u16,

    /// Print JSON
    #[arg(long)]
    json: bool,
}

/// The command.
pub(super) fn main(arguments: &Arguments) -> CommandResult {
    if arguments.clients.iter().any(|&clients| clients == 0 || clients > 500) {
        return Err(CommandError::usage("--clients: each number must be from 1 to 500"));
    }
    let target = program_target(arguments.program.as_deref())?;
    let dir = private_dir(false)?;
    let facts = platform::facts(dir.path());
    let seconds = u64::from(arguments.seconds);
    let measures =
        Measures { clients: arguments.clients.clone(), time: Duration::from_secs(seconds) };
    let task = Task {
        work: Work::Benchmark(measures, Subject { target, personality: None }),
        dir: dir.path().join("bench"),
        keep: false,
        slowness: slowness(),
        limit: Duration::from_secs(120 + 3 * seconds * (2 + arguments.clients.len() as u64)),
    };
    catch_interrupts()?;
    let finding = run_task(&task).ok_or_else(|| CommandError::no_verdict("interrupted"))?;
    let Some(Product::Figures(figures)) = finding.product else {
        let failure = finding.failure.map(|f| format!("{}: {}", f.expected, f.actual));
        let reason = finding.reason.or(failure).unwrap_or_else(|| "no figures".into());
        return Err(CommandError::no_verdict(reason));
    };
    if !arguments.json {
        return say(&figures::table(&figures, &facts));
    }
    let document = serde_json::json!({ "platform": facts, "figures": figures });
    print(&render::json(&document).map_err(CommandError::no_verdict)?)
}
