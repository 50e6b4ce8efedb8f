//! `forkproof vm images`

use std::fmt::Write as _;

use forkproof_report::ExitStatus;
use indicatif::HumanBytes;
use serde::Serialize;

use super::say::say;
use crate::cache::Cache;
use crate::catalogue::{Catalogue, Image, Kind, Source};
use crate::error::{Error, Result};

/// `forkproof vm images`
#[derive(clap::Args, Debug)]
pub struct Images {
    /// As JSON
    #[arg(long)]
    json: bool,
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

pub(super) fn images(arguments: &Images) -> Result<ExitStatus> {
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
        say(&text)?;
    } else {
        say(table(&listed).trim_end())?;
    }
    Ok(ExitStatus::Conformant)
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
