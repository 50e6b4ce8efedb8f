//! The command line.

use std::ffi::OsString;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::process::ExitCode;

use clap::{ColorChoice, CommandFactory, Parser, Subcommand};
use forkproof_report::ExitStatus;

use super::outcome::{CommandError, CommandResult, conclude};
use super::{
    as_personality, baseline, bench, completions, controls, diff, doctor, init, list, manual,
    probe, report, run,
};
use crate::platform::{Namespace, try_namespace};

const AFTER_HELP: &str = "\
Exit status: 0 conformant · 1 a requirement failed, or the baseline is stale · 2 usage · 3 no \
verdict (the harness or the environment failed, a check was blocked, nothing could be checked, or the \
run was interrupted) · 4 nothing was selected.";

/// Does this forking server behave the same on every Unix?
#[derive(Parser, Debug)]
#[command(name = "forkproof", version, after_help = AFTER_HELP, max_term_width = 100)]
struct Cli {
    /// When text has colours
    #[arg(long, global = true, value_name = "WHEN", default_value_t = ColorChoice::Auto)]
    color: ColorChoice,

    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand, Debug)]
enum Command {
    /// Check a server on this host
    #[command(after_help = AFTER_HELP)]
    Run(run::Arguments),
    /// Write a first manifest for your server, by starting it and looking at it
    #[command(after_help = init::AFTER_HELP)]
    Init(init::Arguments),
    /// Show the catalogue
    List(list::Arguments),
    /// Explain a requirement, a verdict, an exit status or a personality
    Explain {
        /// A requirement (of an area or a glob, the list), a word of a report such as xpass, an
        /// exit status, or a personality
        #[arg(value_name = "WORD")]
        word: String,
    },
    /// Prove that every requirement can fail, and fails for the right reason
    #[command(after_help = controls::AFTER_HELP)]
    Controls(controls::Arguments),
    /// Run any dynamically linked program as if on another platform
    As(as_personality::Arguments),
    /// Measure what servers cost and how fast they are, on this host
    #[command(subcommand)]
    Bench(bench::Command),
    /// Measure what this operating system does, without a server
    #[command(after_help = probe::AFTER_HELP)]
    Probe(probe::Arguments),
    /// Compare two reports, or two files written by `probe --json`
    #[command(after_help = diff::AFTER_HELP)]
    Diff(diff::Arguments),
    /// Merge the reports of several platforms into one matrix: HTML, Markdown, JUnit, or text
    #[command(after_help = report::AFTER_HELP)]
    Report(report::Arguments),
    /// Write a first baseline of known failures from a report
    #[command(after_help = baseline::AFTER_HELP, after_long_help = baseline::long_help())]
    Baseline(baseline::Arguments),
    /// Show what this machine lacks, what that costs, and how to get it
    #[command(after_help = doctor::AFTER_HELP)]
    Doctor,
    /// Run the suite on other systems, in virtual machines
    #[cfg(feature = "vm")]
    #[command(subcommand)]
    Vm(forkproof_vm::Arguments),
    /// Run the reference chat server
    #[command(disable_help_flag = true)]
    Chatd {
        /// Its arguments; see `forkproof chatd --help`
        #[arg(trailing_var_arg = true, allow_hyphen_values = true)]
        arguments: Vec<OsString>,
    },
    /// Run the client of the reference chat server
    #[command(disable_help_flag = true)]
    Chat {
        /// Its arguments; see `forkproof chat --help`
        #[arg(trailing_var_arg = true, allow_hyphen_values = true)]
        arguments: Vec<OsString>,
    },
    /// Run the reference web server, a master with workers
    #[command(disable_help_flag = true)]
    Webd {
        /// Its arguments; see `forkproof webd --help`
        #[arg(trailing_var_arg = true, allow_hyphen_values = true)]
        arguments: Vec<OsString>,
    },
    /// Write the manual pages of forkproof, chatd, chat and webd to a directory
    Man(manual::Pages),
    /// Write a completion script for a shell to standard output
    Completions(completions::Arguments),
    /// The process around one check
    #[command(name = "__check", hide = true)]
    Check { task: String },
    /// The executed half of a probe
    #[command(name = "__probe", hide = true)]
    ExecutedProbe { what: String },
    /// The floor of `bench chat`
    #[command(name = "__floor", hide = true)]
    Floor { log: PathBuf, address: SocketAddr },
    /// One of the sinks that `bench paradigms` compares
    #[command(name = "__sink", hide = true)]
    Sink { design: String, address: SocketAddr, clients: usize },
    /// What slowness is measured with
    #[command(name = "__nothing", hide = true)]
    Nothing,
    /// Whether a private namespace can be had
    #[command(name = "__try-namespace", hide = true)]
    TryNamespace { namespace: String },
}

/// The program `forkproof`.
pub fn main() -> ExitCode {
    let cli = Cli::parse();
    match cli.color {
        ColorChoice::Auto => anstream::ColorChoice::Auto,
        ColorChoice::Always => anstream::ColorChoice::Always,
        ColorChoice::Never => anstream::ColorChoice::Never,
    }
    .write_global();
    conclude(match cli.command {
        Command::Run(arguments) => run::main(arguments),
        Command::Init(arguments) => init::main(&arguments),
        Command::List(arguments) => list::main(&arguments),
        Command::Explain { word } => list::explain(&word),
        Command::Controls(arguments) => controls::main(&arguments),
        Command::As(arguments) => as_personality::main(&arguments),
        Command::Bench(command) => bench::main(command),
        Command::Probe(arguments) => probe::main(&arguments),
        Command::Diff(arguments) => diff::main(&arguments),
        Command::Report(arguments) => report::main(&arguments),
        Command::Baseline(arguments) => baseline::main(&arguments),
        Command::Doctor => doctor::main(),
        Command::Man(arguments) => manual::pages(&arguments, &Cli::command()),
        Command::Completions(arguments) => completions::main(&arguments, Cli::command()),
        Command::ExecutedProbe { what } => probe::executed(&what),
        // The name of another program is the first of its arguments.
        Command::Chatd { arguments } => return chatd::server_main(named("chatd", arguments)),
        Command::Chat { arguments } => return chatd::client_main(named("chat", arguments)),
        Command::Webd { arguments } => return webd::server_main(named("webd", arguments)),
        #[cfg(feature = "vm")]
        Command::Vm(arguments) => return forkproof_vm::main(&arguments),
        Command::Check { task } => told(crate::run::warden(&task)),
        Command::Sink { design, address, clients } => bench::sink(&design, address, clients),
        Command::Floor { address, log } => bench::floor(address, &log),
        Command::Nothing => Ok(ExitStatus::Conformant),
        Command::TryNamespace { namespace } => enter(&namespace),
    })
}

fn named(name: &str, arguments: Vec<OsString>) -> impl Iterator<Item = OsString> {
    std::iter::once(OsString::from(name)).chain(arguments)
}

/// The status of a warden that has told its finding, or has nobody to tell.
fn told(told: bool) -> CommandResult {
    Ok(if told { ExitStatus::Conformant } else { ExitStatus::NoVerdict })
}

fn enter(namespace: &str) -> CommandResult {
    let namespace = Namespace::ALL
        .into_iter()
        .find(|known| known.name() == namespace)
        .ok_or_else(|| CommandError::usage(format!("no namespace `{namespace}`")))?;
    // Whoever asked reads the reason, without this program's name.
    try_namespace(namespace).map(|()| ExitStatus::Conformant).or_else(|reason| {
        eprintln!("{reason}");
        Ok(ExitStatus::NotConformant)
    })
}
