//! `forkproof vm build`, `run`, `shell` and `repro`.

use std::collections::BTreeMap;
use std::io::{IsTerminal, Write};
use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::Mutex;
use std::time::Duration;

use indicatif::{MultiProgress, ProgressBar, ProgressStyle};

use crate::cache::Cache;
use crate::catalogue::{Catalogue, Image};
use crate::cli::FetchOptions;
use crate::error::{Error, Result};
use crate::job::{self, Acceleration, Progress, Settings};
use crate::{build, disks, interrupt};

pub(crate) const BUILD_HELP: &str = "\
No image takes root's rights. A tiny one takes apt-get and dpkg-deb; a full one mmdebstrap, \
arch-test and mke2fs, and, for an ordinary user, fakeroot, uidmap and a range of ids in \
/etc/subuid. Both take the package debian-archive-keyring. $FORKPROOF_DEBIAN_MIRROR names \
another mirror than http://deb.debian.org/debian.

Exit status: 0 all are there · 2 usage · 3 one or more could not be built.";

pub(crate) const RUN_HELP: &str = "\
An image that is not here is fetched or built first. What comes after `--` goes to `forkproof run` \
in each guest: patterns of requirements, --level, --repeat and so on. Your own server: \
`forkproof vm run debian-12 --add server.toml --add src/server -- --target server.toml --program \
./server`.

The program that goes into a guest is looked for in this order, and must be an x86 program of the \
guest's system and width: --payload; $FORKPROOF_PAYLOADS, a directory; forkproof-TARGET beside this \
program; cargo's target directory around this program, TARGET/release/forkproof; this program. In \
each place a static one is preferred.

Results are in DIR/IMAGE: report.json, junit.xml, summary.md, output.log, console.log, exitcode.

Exit status, the worst of the guests': 0 conformant · 1 a requirement failed · 2 usage · 3 no \
verdict (a machine, an image or the harness failed) · 4 nothing was selected.";

/// `forkproof vm build`
#[derive(clap::Args, Debug)]
pub struct Build {
    /// The images; those that `forkproof vm images` shows as built here
    #[arg(value_name = "IMAGE", required = true)]
    images: Vec<String>,
}

/// `forkproof vm run`
#[derive(clap::Args, Debug)]
#[command(override_usage = "forkproof vm run [OPTIONS] IMAGE… [-- RUN-OPTIONS]")]
pub struct Run {
    /// The images; `forkproof vm images` shows them
    #[arg(value_name = "IMAGE", required_unless_present = "image")]
    images: Vec<String>,

    /// A disk of your own, qcow2 or raw; FILE.toml beside it may describe it
    #[arg(long, value_name = "FILE")]
    image: Vec<PathBuf>,

    /// Where the results go
    #[arg(long, value_name = "DIR", default_value = "forkproof-vm")]
    out: PathBuf,

    /// Machines at a time [default: what processors and memory are enough for]
    #[arg(short, long, value_name = "N", value_parser = clap::value_parser!(u16).range(1..))]
    jobs: Option<u16>,

    #[command(flatten)]
    machine: MachineOptions,

    #[command(flatten)]
    fetch: FetchOptions,

    /// Options of `forkproof run` in the guests
    #[arg(last = true, value_name = "RUN-OPTIONS")]
    options: Vec<String>,
}

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

/// `forkproof vm repro`
#[derive(clap::Args, Debug)]
pub struct Repro {
    /// The image; `forkproof vm images` shows them
    #[arg(value_name = "IMAGE")]
    name: String,

    /// The requirement; `forkproof list` shows them
    id: String,

    #[command(flatten)]
    machine: MachineOptions,

    #[command(flatten)]
    fetch: FetchOptions,

    /// Options of `forkproof run` in the guest
    #[arg(last = true, value_name = "RUN-OPTIONS")]
    options: Vec<String>,
}

/// What machines are made of.
#[derive(clap::Args, Debug)]
struct MachineOptions {
    /// The program that goes into the guests; once for each system and width
    #[arg(long, value_name = "FILE")]
    payload: Vec<PathBuf>,

    /// A file or directory that lies beside forkproof in the guests, under its last name: your
    /// server, its manifest, a baseline
    #[arg(long, value_name = "PATH")]
    add: Vec<PathBuf>,

    /// A word on the command line of kernels that QEMU starts itself: `ipv6.disable=1`
    #[arg(long, value_name = "WORD")]
    append: Vec<String>,

    /// Memory of each machine instead of its image's
    #[arg(long, value_name = "MIB", value_parser = clap::value_parser!(u32).range(64..))]
    memory: Option<u32>,

    /// How long a guest may take to come up, instead of its image's
    #[arg(long, value_name = "SECONDS", value_parser = clap::value_parser!(u64).range(1..=86400))]
    boot_limit: Option<u64>,

    /// How long it may take from there, instead of its image's
    #[arg(long, value_name = "SECONDS", value_parser = clap::value_parser!(u64).range(1..=86400))]
    limit: Option<u64>,

    /// What the processors are made of
    #[arg(long, value_enum, default_value_t = Acceleration::Tcg)]
    accel: Acceleration,

    /// The emulator to use instead of qemu-system-x86_64 or qemu-system-i386
    #[arg(long, value_name = "FILE")]
    qemu: Option<PathBuf>,
}

impl MachineOptions {
    fn settings(&self, cache: &Cache, fetch: &FetchOptions) -> Result<Settings> {
        disks::require_added(&self.add)?;
        Ok(Settings {
            emulator: self.qemu.clone(),
            acceleration: self.accel,
            memory: self.memory,
            boot_limit: self.boot_limit.map(Duration::from_secs),
            run_limit: self.limit.map(Duration::from_secs),
            fetch: fetch.options(cache)?,
            append: self.append.clone(),
            added: self.add.clone(),
        })
    }
}

fn catch_signals() -> Result<()> {
    interrupt::catch().map_err(|errno| Error::io("catch", "signals".as_ref(), errno.into()))
}

pub(crate) fn build(arguments: &Build) -> Result<ExitCode> {
    let catalogue = Catalogue::load()?;
    let cache = Cache::open()?;
    let images: Vec<&Image> =
        arguments.images.iter().map(|id| catalogue.find(id)).collect::<Result<_>>()?;
    job::refuse_duplicates(images.iter().map(|image| image.id.as_str()))?;
    catch_signals()?;
    let mut status = 0;
    for image in images {
        match build::ensure(&cache, image, &|text| eprintln!("{}: {text}", image.id)) {
            Ok(files) => {
                let size = indicatif::HumanBytes(files.size());
                job::say(&format!("{}: {} ({size})", image.id, cache.dir(&image.id).display()));
            }
            Err(Error::Interrupted) => return Err(Error::Interrupted),
            Err(error) => {
                eprintln!("forkproof: {error}");
                status = job::worst([status, error.exit_status()]);
            }
        }
    }
    Ok(ExitCode::from(status))
}

pub(crate) fn run(arguments: &Run) -> Result<ExitCode> {
    let catalogue = Catalogue::load()?;
    let mut images: Vec<Image> =
        arguments.images.iter().map(|id| catalogue.find(id).cloned()).collect::<Result<_>>()?;
    for file in &arguments.image {
        images.push(Catalogue::image_file(file)?);
    }
    let candidates = job::candidates(images, &arguments.machine.payload)?;
    let cache = Cache::open()?;
    let settings = arguments.machine.settings(&cache, &arguments.fetch)?;
    job::require_programs(&candidates, &settings)?;
    catch_signals()?;
    let at_a_time = arguments.jobs.map_or_else(
        || {
            let images: Vec<&Image> = candidates.iter().map(|c| &c.image).collect();
            job::machines_at_a_time(&images, settings.memory)
        },
        usize::from,
    );
    let display = Display::new();
    let settled = job::run(
        &cache,
        &settings,
        &job::Plan {
            candidates: &candidates,
            options: &arguments.options,
            out: &arguments.out,
            at_a_time,
        },
        &|id, progress| display.show(id, progress),
        &|settled| {
            let candidate = candidates.iter().find(|c| c.image.id == settled.id);
            display.end(&settled.id, || {
                if let Some(candidate) = candidate {
                    tell(&job::line(settled, candidate));
                }
            });
        },
    )?;
    Ok(ExitCode::from(job::worst(settled.iter().map(job::Settled::status))))
}

/// Results to standard output, errors to standard error.
fn tell(text: &str) {
    for line in text.lines() {
        if line.starts_with("forkproof: ") {
            eprintln!("{line}");
        } else {
            job::say(line);
        }
    }
}

pub(crate) fn shell(arguments: &Shell) -> Result<ExitCode> {
    let image = match (&arguments.name, &arguments.image) {
        (Some(name), _) => Catalogue::load()?.find(name)?.clone(),
        (None, Some(file)) => Catalogue::image_file(file)?,
        (None, None) => return Err(Error::Usage("no image is named".into())),
    };
    console(image, &arguments.machine, &arguments.fetch, None, &[])
}

pub(crate) fn repro(arguments: &Repro) -> Result<ExitCode> {
    let image = Catalogue::load()?.find(&arguments.name)?.clone();
    let id = Some(arguments.id.as_str());
    console(image, &arguments.machine, &arguments.fetch, id, &arguments.options)
}

fn console(
    image: Image,
    machine: &MachineOptions,
    fetch: &FetchOptions,
    id: Option<&str>,
    options: &[String],
) -> Result<ExitCode> {
    let candidates = job::candidates(vec![image], &machine.payload)?;
    let cache = Cache::open()?;
    let settings = machine.settings(&cache, fetch)?;
    job::require_programs(&candidates, &settings)?;
    catch_signals()?;
    for candidate in &candidates {
        let name = &candidate.image.id;
        let tell = |text: &str| eprintln!("{name}: {text}");
        job::shell(&cache, candidate, &settings, id, options, &tell)?;
    }
    Ok(ExitCode::SUCCESS)
}

/// How it goes: a line that changes for each machine on a terminal, lines elsewhere.
struct Display {
    bars: Option<MultiProgress>,
    by_id: Mutex<BTreeMap<String, ProgressBar>>,
}

impl Display {
    fn new() -> Self {
        let bars = std::io::stderr().is_terminal().then(MultiProgress::new);
        Self { bars, by_id: Mutex::new(BTreeMap::new()) }
    }

    fn show(&self, id: &str, progress: Progress<'_>) {
        match (&self.bars, progress) {
            (None, Progress::Step(text)) => {
                let _ = writeln!(std::io::stderr(), "{id}: {text}");
            }
            (None, Progress::Console(_)) => {}
            (Some(bars), Progress::Step(text) | Progress::Console(text)) => {
                let Ok(mut by_id) = self.by_id.lock() else { return };
                let bar = by_id.entry(id.to_owned()).or_insert_with(|| {
                    let bar = bars.add(ProgressBar::new_spinner());
                    if let Ok(style) =
                        ProgressStyle::with_template("{spinner} {prefix} {elapsed} {wide_msg}")
                    {
                        bar.set_style(style);
                    }
                    bar.set_prefix(id.to_owned());
                    bar.enable_steady_tick(Duration::from_millis(200));
                    bar
                });
                // A guest's console may hold what a terminal obeys.
                bar.set_message(text.chars().filter(|c| !c.is_control()).collect::<String>());
            }
        }
    }

    fn end(&self, id: &str, tell: impl FnOnce()) {
        if let Ok(mut by_id) = self.by_id.lock() {
            if let Some(bar) = by_id.remove(id) {
                bar.finish_and_clear();
            }
        }
        match &self.bars {
            Some(bars) => bars.suspend(tell),
            None => tell(),
        }
    }
}
