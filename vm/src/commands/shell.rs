//! `forkproof vm shell`

use std::path::PathBuf;

use forkproof_report::ExitStatus;

use super::options::{FetchOptions, MachineOptions};
use crate::cache::Cache;
use crate::catalogue::{Catalogue, Image};
use crate::error::{Error, Result};
use crate::{job, platform};

/// `forkproof vm shell`
#[derive(clap::Args, Debug)]
pub struct Shell {
    /// The image; `forkproof vm images` shows them
    #[arg(value_name = "IMAGE", required_unless_present = "image")]
    name: Option<String>,

    /// A disk of your own, qcow2 or raw; FILE.toml beside it may describe it
    #[arg(long, value_name = "FILE", conflicts_with = "name")]
    image: Option<PathBuf>,

    #[command(flatten)]
    machine: MachineOptions,

    #[command(flatten)]
    fetch: FetchOptions,
}

pub(super) fn shell(arguments: &Shell) -> Result<ExitStatus> {
    let image = match (&arguments.name, &arguments.image) {
        (Some(name), _) => Catalogue::load()?.find(name)?.clone(),
        (None, Some(file)) => Catalogue::image_file(file)?,
        (None, None) => return Err(Error::Usage("no image is named".into())),
    };
    console(image, &arguments.machine, &arguments.fetch, None, &[])
}

/// A shell in a machine of `image`; of `id`, see [`job::shell`].
pub(super) fn console(
    image: Image,
    machine: &MachineOptions,
    fetch: &FetchOptions,
    id: Option<&str>,
    options: &[String],
) -> Result<ExitStatus> {
    let candidates = job::candidates(vec![image], &machine.payload)?;
    let cache = Cache::open()?;
    let settings = machine.settings(&cache, fetch)?;
    job::require_programs(&candidates, &settings)?;
    platform::catch_signals()?;
    for candidate in &candidates {
        let name = &candidate.image.id;
        let tell = |text: &str| eprintln!("{name}: {text}");
        job::shell(&cache, candidate, &settings, id, options, &tell)?;
    }
    Ok(ExitStatus::Conformant)
}
