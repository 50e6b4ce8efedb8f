//! What is asked for: the images, their payloads, and what their machines are made of.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::time::Duration;

use crate::cache::{Files, own_disk};
use crate::catalogue::{Architecture, FirstBoot, Image, Kind, Source};
use crate::error::{Error, Result};
use crate::machine::{Accelerator, Machine, emulator_of, try_sandbox};
use crate::obtain::Options;
use crate::payload::Wanted;
use crate::{payload, platform};

/// What stays free for the host, MiB.
const HOST_MEMORY: u64 = 512;

/// What all machines of a command have in common.
#[derive(Debug, Clone)]
pub(crate) struct Settings {
    /// The emulator to use instead of the system's.
    pub(crate) emulator: Option<PathBuf>,
    /// What the processors are made of.
    pub(crate) acceleration: Acceleration,
    /// Memory instead of the image's, MiB.
    pub(crate) memory: Option<u32>,
    /// Boot limit instead of the image's.
    pub(crate) boot_limit: Option<Duration>,
    /// Run limit instead of the image's.
    pub(crate) run_limit: Option<Duration>,
    /// How images are fetched.
    pub(crate) fetch: Options,
    /// More words on the command line of the kernels.
    pub(crate) append: Vec<String>,
    /// Files and directories that lie beside `forkproof` in the guests, under their last names.
    pub(crate) added: Vec<PathBuf>,
}

/// What a user may ask for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Acceleration {
    /// QEMU's own emulation: everywhere, and slow
    Tcg,
    /// The host's processor; an error if a canary does not run on it
    Kvm,
    /// The host's processor if a canary runs on it, emulation otherwise
    Auto,
}

/// An image and the program that goes into its guest.
#[derive(Debug, Clone)]
pub(crate) struct Candidate {
    /// The image.
    pub(crate) image: Image,
    /// A `forkproof` for it.
    pub(crate) payload: PathBuf,
}

/// How many machines at a time: as many as the processors and the memory are enough for, at least
/// one.
///
/// Each counts with all its processors: the suite keeps them busy, and in a guest that is kept
/// waiting for its host, a server's own timeouts pass before it gets to run.
pub(crate) fn machines_at_a_time(images: &[&Image], memory: Option<u32>) -> usize {
    let processors = std::thread::available_parallelism().map_or(1, usize::from);
    let available = platform::memory_available().map_or(0, |mib| mib.saturating_sub(HOST_MEMORY));
    let most = |needed: &dyn Fn(&Image) -> u64| {
        images.iter().map(|image| needed(image)).max().unwrap_or(1).max(1)
    };
    let by_processors = processors as u64 / most(&|image| image.cpus.into());
    let by_memory = available / most(&|image| memory.unwrap_or(image.memory).into());
    usize::try_from(by_processors.min(by_memory)).unwrap_or(usize::MAX).max(1)
}

/// Refuses what would let one image's results overwrite another's.
pub(crate) fn refuse_duplicates<'a>(ids: impl Iterator<Item = &'a str>) -> Result<()> {
    let mut seen = BTreeSet::new();
    for id in ids {
        if !seen.insert(id) {
            return Err(Error::Usage(format!("image `{id}` is named twice: once is enough")));
        }
    }
    Ok(())
}

/// Sees, before anything is built or fetched, that the programs for these images are there.
pub(crate) fn require_programs(candidates: &[Candidate], settings: &Settings) -> Result<()> {
    let mut architectures: Vec<Architecture> = Vec::new();
    for candidate in candidates {
        let image = &candidate.image;
        if settings.emulator.is_none() && !architectures.contains(&image.architecture) {
            architectures.push(image.architecture);
            emulator_of(image.architecture)?;
        }
        if settings.acceleration == Acceleration::Kvm && !image.architecture.is_the_hosts() {
            return Err(Error::Usage(format!(
                "--accel kvm: image `{}` is of {}, which this host's processor does not run",
                image.id,
                image.architecture.words()
            )));
        }
        if !settings.append.is_empty() && !matches!(image.source, Source::Built(_)) {
            return Err(Error::Usage(format!(
                "--append: image `{}` starts its kernel itself; only those that are built here get \
                 its command line from QEMU",
                image.id
            )));
        }
        if image.first_boot != FirstBoot::Agent || !is_tiny(image) {
            platform::program("qemu-img")?;
        }
    }
    Ok(())
}

fn is_tiny(image: &Image) -> bool {
    matches!(&image.source, Source::Built(built) if built.kind == Kind::Tiny)
}

/// The candidates for a command: each image with its payload.
pub(crate) fn candidates(images: Vec<Image>, payloads: &[PathBuf]) -> Result<Vec<Candidate>> {
    refuse_duplicates(images.iter().map(|image| image.id.as_str()))?;
    let wanted: Vec<Wanted> = images.iter().map(Wanted::by).collect();
    payload::require_use(payloads, &wanted)?;
    images
        .into_iter()
        .map(|image| {
            if let Source::File(path) = &image.source {
                own_disk(path)?;
            }
            let payload = payload::find(Wanted::by(&image), payloads)?;
            Ok(Candidate { image, payload })
        })
        .collect()
}

/// The machine of an image, with its files in `dir`. `tell` hears if it has no sandbox.
pub(super) fn machine(
    image: &Image,
    files: Files,
    settings: &Settings,
    accelerator: Accelerator,
    dir: &Path,
    tell: &dyn Fn(&str),
) -> Result<Machine> {
    let emulator = match &settings.emulator {
        Some(path) => path.clone(),
        None => emulator_of(image.architecture)?,
    };
    let accelerator = match image.architecture.is_the_hosts() {
        true => accelerator,
        false => Accelerator::Tcg,
    };
    let sandbox = try_sandbox(&emulator)?;
    if let Err(why) = &sandbox {
        tell(&format!("runs QEMU without its sandbox: {why}"));
    }
    Ok(Machine {
        id: image.id.clone(),
        files,
        architecture: image.architecture,
        first_boot: image.first_boot.clone(),
        emulator,
        sandbox: sandbox.is_ok(),
        accelerator,
        memory: settings.memory.unwrap_or(image.memory),
        cpus: image.cpus,
        append: settings.append.clone(),
        boot_limit: settings.boot_limit.unwrap_or(Duration::from_secs(image.boot_limit)),
        run_limit: settings.run_limit.unwrap_or(Duration::from_secs(image.run_limit)),
        dir: dir.to_owned(),
    })
}
