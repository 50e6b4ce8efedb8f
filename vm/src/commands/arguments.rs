//! The commands, and the one way from a result to an exit status.

use std::process::ExitCode;

use clap::Subcommand;

use super::build::{self, Build};
use super::fetch::{self, Fetch};
use super::images::{self, Images};
use super::repro::{self, Repro};
use super::run::{self, Run};
use super::say::complain;
use super::shell::{self, Shell};

/// The commands.
#[derive(Subcommand, Debug)]
pub enum Arguments {
    /// List the images, and which of them are here
    Images(Images),
    /// Download images and verify them
    #[command(after_help = fetch::HELP)]
    Fetch(Fetch),
    /// Build images on this host from Debian packages
    #[command(after_help = build::HELP)]
    Build(Build),
    /// Run the suite in machines, and bring the reports back
    #[command(after_help = run::HELP)]
    Run(Run),
    /// Open a shell in a machine, with forkproof in it
    Shell(Shell),
    /// Check one requirement in a machine, then open a shell there
    Repro(Repro),
}

/// Runs a command; an error is told in one line.
pub fn main(arguments: &Arguments) -> ExitCode {
    let result = match arguments {
        Arguments::Images(arguments) => images::images(arguments),
        Arguments::Fetch(arguments) => fetch::fetch(arguments),
        Arguments::Build(arguments) => build::build(arguments),
        Arguments::Run(arguments) => run::run(arguments),
        Arguments::Shell(arguments) => shell::shell(arguments),
        Arguments::Repro(arguments) => repro::repro(arguments),
    };
    result.unwrap_or_else(|error| complain(&error)).into()
}
