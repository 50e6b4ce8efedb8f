//! `forkproof vm fetch`

use std::io::IsTerminal;
use std::time::Duration;

use forkproof_report::ExitStatus;
use indicatif::{HumanBytes, ProgressBar, ProgressStyle};

use super::options::FetchOptions;
use super::say::{complain, say};
use crate::cache::{Cache, Files};
use crate::catalogue::{Catalogue, Image};
use crate::error::{Error, Result};
use crate::obtain::{self, Event};
use crate::platform;

pub(super) const HELP: &str = "\
An interrupted download is resumed. Nothing is used before it is complete and its checksum is the \
publisher's. This needs curl, and for compressed images xz or bsdtar. Images are in \
$XDG_CACHE_HOME/forkproof/images (~/.cache/forkproof/images).

Exit status: 0 all are there · 2 usage · 3 one or more could not be had.";

/// `forkproof vm fetch`
#[derive(clap::Args, Debug)]
pub struct Fetch {
    /// The images; `forkproof vm images` shows them
    #[arg(value_name = "IMAGE", required = true)]
    images: Vec<String>,

    #[command(flatten)]
    options: FetchOptions,
}

pub(super) fn fetch(arguments: &Fetch) -> Result<ExitStatus> {
    let catalogue = Catalogue::load()?;
    let cache = Cache::open()?;
    // All names first: a wrong one is known before hours of download.
    let images: Vec<&Image> =
        arguments.images.iter().map(|id| catalogue.find(id)).collect::<Result<_>>()?;
    let options = arguments.options.options(&cache)?;
    platform::catch_signals()?;
    let mut statuses = Vec::new();
    for image in images {
        let mut progress = Progress::new(&image.id);
        let fetched = obtain::fetch(image, &cache, &options, &mut |event| progress.show(&event));
        progress.bar.finish_and_clear();
        match fetched {
            Ok(files) => {
                let path = match &files {
                    Files::Disk { path, .. } => path,
                    Files::Kernel { kernel, .. } => kernel,
                };
                let size = HumanBytes(files.size());
                say(&format!("{}: {} ({size})", image.id, path.display()))?;
            }
            Err(Error::Interrupted) => return Err(Error::Interrupted),
            Err(error) => statuses.push(complain(&error)),
        }
    }
    Ok(ExitStatus::worst(statuses))
}

/// What a fetch shows: a bar on a terminal, lines elsewhere.
struct Progress<'a> {
    id: &'a str,
    bar: ProgressBar,
}

impl<'a> Progress<'a> {
    fn new(id: &'a str) -> Self {
        let bar = if std::io::stderr().is_terminal() {
            ProgressBar::no_length()
        } else {
            ProgressBar::hidden()
        };
        let template = "{prefix} {bar:30} {bytes}/{total_bytes} {bytes_per_sec} {wide_msg}";
        if let Ok(style) = ProgressStyle::with_template(template) {
            bar.set_style(style);
        }
        bar.set_prefix(id.to_owned());
        Self { id, bar }
    }

    fn line(&self, text: &str) {
        self.bar.suspend(|| eprintln!("{}: {text}", self.id));
    }

    fn begin(&self, what: &str, from: u64, total: Option<u64>) {
        self.bar.reset();
        match total {
            Some(total) => self.bar.set_length(total),
            None => self.bar.unset_length(),
        }
        self.bar.set_position(from);
        // The speed is of this run, not of what was here before.
        self.bar.reset_eta();
        self.bar.set_message(what.to_owned());
        self.bar.enable_steady_tick(Duration::from_millis(200));
    }

    fn show(&mut self, event: &Event<'_>) {
        match event {
            Event::Waiting => self.line("another process is at it: waiting for it to end"),
            Event::Downloading { url, from, total } => {
                let size = total.map_or("unknown size".to_owned(), |n| HumanBytes(n).to_string());
                let resumed = match from {
                    0 => String::new(),
                    from => format!(", {} of it are here", HumanBytes(*from)),
                };
                self.line(&format!("downloading {url} ({size}{resumed})"));
                self.begin("downloading", *from, *total);
            }
            Event::Retrying { why } => self.line(&format!("{why}: trying again")),
            Event::Verifying(bytes) => self.begin("verifying", 0, Some(*bytes)),
            Event::Unpacking(bytes) => self.begin("unpacking", 0, Some(*bytes)),
            Event::Advanced(bytes) => self.bar.inc(*bytes),
        }
    }
}
