//! `forkproof vm …`

use std::fmt::Write as _;
use std::io::{IsTerminal, Write as _};
use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;

use clap::Subcommand;
use indicatif::{HumanBytes, ProgressBar, ProgressStyle};
use serde::Serialize;

use crate::cache::{Cache, Files};
use crate::catalogue::{Catalogue, Image, Kind, Source};
use crate::commands;
use crate::error::{Error, Result};
use crate::fetch::{self, Event};
use crate::interrupt;

const FETCH_HELP: &str = "\
A download that was cut off is resumed. Nothing is used before it is whole and has the publisher's \
checksum. Images are in $XDG_CACHE_HOME/forkproof/images (~/.cache/forkproof/images).

Exit status: 0 all are there · 2 usage · 3 one or more could not be had.";

/// The commands.
#[derive(Subcommand, Debug)]
pub enum Arguments {
    /// Show the images: what they are, and which are here
    Images(Images),
    /// Download images, and verify them
    #[command(after_help = FETCH_HELP)]
    Fetch(Fetch),
    /// Make images on this host from Debian's packages
    #[command(after_help = commands::BUILD_HELP)]
    Build(commands::Build),
    /// Run the suite in machines of these images, and bring the reports back
    #[command(after_help = commands::RUN_HELP)]
    Run(commands::Run),
    /// Open a shell in a machine of this image, with forkproof in it
    Shell(commands::Shell),
    /// Check one requirement in a machine of this image, and open a shell there
    Repro(commands::Repro),
}

/// `forkproof vm images`
#[derive(clap::Args, Debug)]
pub struct Images {
    /// As JSON
    #[arg(long)]
    json: bool,
}

/// `forkproof vm fetch`
#[derive(clap::Args, Debug)]
pub struct Fetch {
    /// The images; `forkproof vm images` shows them
    #[arg(value_name = "IMAGE", required = true)]
    images: Vec<String>,

    #[command(flatten)]
    options: FetchOptions,
}

/// How images are fetched.
#[derive(clap::Args, Debug)]
pub struct FetchOptions {
    /// Ask no server: an image that is not here is an error
    #[arg(long)]
    offline: bool,

    /// Ask the publisher although the image is here, and replace it if it has changed
    #[arg(long, conflicts_with = "offline")]
    update: bool,

    /// Refuse an image whose digest is not the recorded one
    #[arg(long)]
    locked: bool,

    /// The file that records them [default: lock.toml, beside the images]
    #[arg(long, value_name = "FILE", requires = "locked")]
    lock_file: Option<PathBuf>,

    /// How often a broken connection is taken up again, each time
    #[arg(long, value_name = "N", default_value_t = 3)]
    retries: u32,

    /// How long a connection may take
    #[arg(long, value_name = "SECONDS", default_value_t = 30, value_parser = clap::value_parser!(u64).range(1..=86400))]
    connect_timeout: u64,

    /// How long a server may send nothing
    #[arg(long, value_name = "SECONDS", default_value_t = 60, value_parser = clap::value_parser!(u64).range(1..=86400))]
    idle_timeout: u64,

    /// A PEM file of the certificate authorities to believe, instead of Mozilla's, which are built
    /// in
    #[arg(long, value_name = "FILE", env = "SSL_CERT_FILE")]
    ca_file: Option<PathBuf>,
}

impl FetchOptions {
    /// As [`fetch::fetch`] takes them.
    pub fn options(&self, cache: &Cache) -> Result<fetch::Options> {
        let locked =
            self.locked.then(|| self.lock_file.clone().unwrap_or_else(|| cache.records_file()));
        if let Some(file) = locked.as_ref().filter(|file| !file.is_file()) {
            return Err(Error::Usage(format!(
                "--locked: there is no file {}: fetch once without it, which writes one",
                file.display()
            )));
        }
        Ok(fetch::Options {
            offline: self.offline,
            update: self.update,
            locked,
            retries: self.retries,
            connect_timeout: Duration::from_secs(self.connect_timeout),
            idle_timeout: Duration::from_secs(self.idle_timeout),
            ca_file: self.ca_file.clone(),
        })
    }
}

/// Runs a command; an error is told in one line.
pub fn main(arguments: &Arguments) -> ExitCode {
    let result = match arguments {
        Arguments::Images(arguments) => images(arguments),
        Arguments::Fetch(arguments) => fetch(arguments),
        Arguments::Build(arguments) => commands::build(arguments),
        Arguments::Run(arguments) => commands::run(arguments),
        Arguments::Shell(arguments) => commands::shell(arguments),
        Arguments::Repro(arguments) => commands::repro(arguments),
    };
    result.unwrap_or_else(|error| complain(&error))
}

fn complain(error: &Error) -> ExitCode {
    eprintln!("forkproof: {error}");
    ExitCode::from(error.exit_status())
}

/// Writes to standard output; a reader that has gone, as `head` does, is no error.
fn print(text: &str) -> Result<()> {
    match std::io::stdout().write_all(text.as_bytes()) {
        Err(error) if error.kind() != std::io::ErrorKind::BrokenPipe => {
            Err(Error::io("write", "standard output".as_ref(), error))
        }
        _ => Ok(()),
    }
}

/// One image, as `--json` shows it.
#[derive(Serialize)]
struct Listed<'a> {
    #[serde(flatten)]
    image: &'a Image,
    /// Whether it is here.
    cached: bool,
    /// The bytes it takes.
    bytes: u64,
}

fn images(arguments: &Images) -> Result<ExitCode> {
    let (catalogue, cache) = (Catalogue::load()?, Cache::open()?);
    let listed: Vec<Listed<'_>> = catalogue
        .images()
        .iter()
        .map(|image| {
            let files = cache.find(image);
            Listed { image, cached: files.is_some(), bytes: files.map_or(0, |files| files.size()) }
        })
        .collect();
    if arguments.json {
        let text = serde_json::to_string_pretty(&listed)
            .map_err(|error| Error::io("write", "JSON".as_ref(), error.into()))?;
        print(&format!("{text}\n"))?;
    } else {
        print(&table(&listed))?;
    }
    Ok(ExitCode::SUCCESS)
}

fn table(listed: &[Listed<'_>]) -> String {
    let head = ["IMAGE", "SYSTEM", "KERNEL/USERLAND", "FROM", "HERE"].map(str::to_owned);
    let rows = listed.iter().map(|Listed { image, cached, bytes }| {
        [
            image.id.clone(),
            image.title.clone(),
            format!("{}/{} bits", image.kernel_bits, image.userland_bits),
            obtained(image).to_owned(),
            if *cached { HumanBytes(*bytes).to_string() } else { "no".to_owned() },
        ]
    });
    let rows: Vec<[String; 5]> = std::iter::once(head).chain(rows).collect();
    let mut text = String::new();
    for row in &rows {
        let mut line = String::new();
        for (column, cell) in row.iter().enumerate() {
            let width = rows.iter().map(|row| row[column].chars().count()).max().unwrap_or(0);
            // Writing to a String cannot fail.
            let _ = write!(line, "{cell:width$}  ");
        }
        text.push_str(line.trim_end());
        text.push('\n');
    }
    let notes = listed.iter().filter(|listed| !listed.image.note.is_empty());
    for (at, Listed { image, .. }) in notes.enumerate() {
        let _ = writeln!(text, "{}{}: {}", if at == 0 { "\n" } else { "" }, image.id, image.note);
    }
    text
}

fn obtained(image: &Image) -> &'static str {
    match &image.source {
        Source::Download(_) => "download",
        Source::Built(built) => match built.kind {
            Kind::Tiny => "built here, initramfs",
            Kind::Full => "built here, systemd",
            Kind::Cloud => "built here, cloud-init",
            Kind::Plain => "built here, login",
        },
        Source::File(_) => "your file",
    }
}

fn fetch(arguments: &Fetch) -> Result<ExitCode> {
    let catalogue = Catalogue::load()?;
    let cache = Cache::open()?;
    // All names first: a wrong one is known before hours of download.
    let images: Vec<&Image> =
        arguments.images.iter().map(|id| catalogue.find(id)).collect::<Result<_>>()?;
    let options = arguments.options.options(&cache)?;
    interrupt::catch().map_err(|errno| Error::io("catch", "signals".as_ref(), errno.into()))?;
    let mut status = ExitCode::SUCCESS;
    for image in images {
        let mut progress = Progress::new(&image.id);
        let fetched = fetch::fetch(image, &cache, &options, &mut |event| progress.show(&event));
        progress.bar.finish_and_clear();
        match fetched {
            Ok(files) => {
                let path = match &files {
                    Files::Disk { path, .. } => path,
                    Files::Kernel { kernel, .. } => kernel,
                };
                let size = HumanBytes(files.size());
                print(&format!("{}: {} ({size})\n", image.id, path.display()))?;
            }
            Err(Error::Interrupted) => return Err(Error::Interrupted),
            Err(error) => status = complain(&error),
        }
    }
    Ok(status)
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
