//! `forkproof vm run`

use std::fs;
use std::path::PathBuf;

use forkproof_report::ExitStatus;

use super::display::Display;
use super::options::{FetchOptions, MachineOptions};
use super::say::{exit_status, say};
use crate::cache::Cache;
use crate::catalogue::{Catalogue, Image};
use crate::error::{Error, Result};
use crate::guest::Work;
use crate::job::{self, News, Settled};
use crate::platform;

pub(super) const HELP: &str = "\
An image that is not here is fetched or built first. Whatever follows `--` is passed to `forkproof \
run` in each guest: ids, globs, --level, --repeat and so on. To check your own server: \
`forkproof vm run debian-12 --add server.toml --add src/server -- --target server.toml --program \
./server`.

The forkproof that runs in a guest must be a program for the guest's system and processor. It is \
looked for in this order: --payload; $FORKPROOF_PAYLOADS, a directory; forkproof-TARGET beside this \
program; cargo's target directory around this program, TARGET/release/forkproof and \
cross/TARGET/release/forkproof; that of the clone you are in; this program. In each place a static \
one is preferred.

Results are in DIR/IMAGE: report.json, junit.xml, summary.md, output.log, console.log, exitcode; \
with --facts also facts.json.

Exit status, of the guests' the first in the order 3, 2, 4, 1, 0: 0 conformant · 1 a requirement failed · 2 usage · 3 no \
verdict (a machine, an image or the harness failed) · 4 nothing was selected.";

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

    /// Write the results to this directory
    #[arg(long, value_name = "DIR", default_value = "forkproof-vm")]
    out: PathBuf,

    /// Measure the facts of each guest, too, as `forkproof probe --json` does
    #[arg(long)]
    facts: bool,

    /// Run this many machines at a time [default: as many as processors and memory allow]
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

pub(super) fn run(arguments: &Run) -> Result<ExitStatus> {
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
    platform::catch_signals()?;
    let at_a_time = arguments.jobs.map_or_else(
        || {
            let images: Vec<&Image> = candidates.iter().map(|c| &c.image).collect();
            job::machines_at_a_time(&images, settings.memory)
        },
        usize::from,
    );
    let mut display = Display::new();
    let mut statuses = Vec::new();
    let work = Work::Suite { options: arguments.options.clone(), facts: arguments.facts };
    let plan = job::Plan { candidates: &candidates, work: &work, out: &arguments.out, at_a_time };
    job::run(&cache, &settings, &plan, &mut |news| match news {
        News::Step { id, text } => display.step(&id, &text),
        News::Console { id, line } => display.console(&id, &line),
        News::Settled(mut settled) => {
            let path = arguments.out.join(&settled.id).join("exitcode");
            if let Err(error) = fs::write(&path, format!("{}\n", status(&settled).code())) {
                settled.error.get_or_insert(Error::io("write", &path, error));
            }
            statuses.push(status(&settled));
            let candidate = candidates.iter().find(|c| c.image.id == settled.id);
            display.end(&settled.id, || tell(&line(&settled, candidate.map(|c| &c.image))));
        }
    })?;
    Ok(ExitStatus::worst(statuses))
}

fn status(settled: &Settled) -> ExitStatus {
    settled.error.as_ref().map_or(ExitStatus::Conformant, exit_status)
}

/// Results to standard output, errors to standard error.
fn tell(text: &str) {
    for line in text.lines() {
        let line = settings::printable(line);
        if line.starts_with("forkproof: ") {
            eprintln!("{line}");
        } else {
            let _ = say(&line);
        }
    }
}

/// One line about a guest, for people.
fn line(settled: &Settled, image: Option<&Image>) -> String {
    let mut times = String::new();
    if let (Some(booted), Some(took), Some(image)) = (settled.booted, settled.took, image) {
        times = format!(
            "  (boot {:.1} s, boot to verdict {:.1} s; {})",
            booted.as_secs_f64(),
            (took - booted).as_secs_f64(),
            image.widths()
        );
    }
    match (&settled.report, &settled.error) {
        (Some(report), None) => {
            let words = report.conclusion_words();
            format!("{}: {words}: {}{times}", settled.id, report.summary())
        }
        (Some(report), Some(error)) => {
            format!("{}: {}{times}\nforkproof: {error}", settled.id, report.summary())
        }
        (None, Some(error)) => format!("forkproof: {error}"),
        (None, None) => settled.id.clone(),
    }
}
