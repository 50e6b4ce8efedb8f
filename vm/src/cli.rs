//! `forkproof vm …`

use std::process::ExitCode;

use clap::Subcommand;

/// The commands.
#[derive(Subcommand, Debug)]
pub enum Arguments {
    /// Show the images: what they are, and which are here
    Images(Images),
}

/// `forkproof vm images`
#[derive(clap::Args, Debug)]
pub struct Images {
    /// As JSON
    #[arg(long)]
    json: bool,
}

/// Runs a command; an error is told in one line.
pub fn main(arguments: &Arguments) -> ExitCode {
    let result = match arguments {
        Arguments::Images(arguments) => images(arguments),
    };
    match result {
        Ok(status) => status,
        Err(error) => {
            eprintln!("forkproof: {error}");
            ExitCode::from(error.exit_status())
        }
    }
}

fn images(arguments: &Images) -> crate::error::Result<ExitCode> {
    let _ = arguments.json;
    crate::catalogue::Catalogue::load()?;
    Ok(ExitCode::SUCCESS)
}
