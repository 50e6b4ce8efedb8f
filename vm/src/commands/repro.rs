//! `forkproof vm repro`

use forkproof_report::ExitStatus;

use super::options::{FetchOptions, MachineOptions};
use super::shell::console;
use crate::catalogue::Catalogue;
use crate::error::Result;

/// `forkproof vm repro`
#[derive(clap::Args, Debug)]
pub struct Repro {
    /// The image; `forkproof vm images` shows them
    #[arg(value_name = "IMAGE")]
    name: String,

    /// The requirement; `forkproof list` shows them
    #[arg(value_name = "ID")]
    id: String,

    #[command(flatten)]
    machine: MachineOptions,

    #[command(flatten)]
    fetch: FetchOptions,

    /// Options of `forkproof run` in the guest
    #[arg(last = true, value_name = "RUN-OPTIONS")]
    options: Vec<String>,
}

pub(super) fn repro(arguments: &Repro) -> Result<ExitStatus> {
    let image = Catalogue::load()?.find(&arguments.name)?.clone();
    let id = Some(arguments.id.as_str());
    console(image, &arguments.machine, &arguments.fetch, id, &arguments.options)
}
