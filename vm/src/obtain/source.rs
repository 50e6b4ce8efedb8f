//! Brings an image into the cache in the way that its source needs.

use super::build::ensure;
use super::download::Event;
use super::fetch::{Options, fetch};
use crate::cache::{Cache, Files};
use crate::catalogue::{Image, Source};
use crate::error::Result;

/// From here on it is told that it takes a moment, bytes.
const LARGE: u64 = 256 * 1024 * 1024;

/// The image's files, fetched or built if they are not there, for a machine: what came here, and
/// nobody else's to change.
pub(crate) fn obtain(
    cache: &Cache,
    image: &Image,
    options: &Options,
    tell: &dyn Fn(&str),
) -> Result<Files> {
    let files = match &image.source {
        Source::Built(_) => ensure(cache, image, tell)?,
        _ => fetch(image, cache, options, &mut |event| match event {
            Event::Waiting => tell("waits for another process that fetches it"),
            Event::Downloading { url, .. } => {
                tell(&format!("downloads {url}"));
            }
            Event::Retrying { why } => {
                tell(&format!("{why}: tries again"));
            }
            Event::Verifying(_) => tell("verifies it"),
            Event::Unpacking(_) => tell("unpacks it"),
            Event::Advanced(_) => {}
        })?,
    };
    if files.size() >= LARGE {
        tell("verifies what is in the cache");
    }
    cache.verify(image, &files)?;
    Ok(files)
}
