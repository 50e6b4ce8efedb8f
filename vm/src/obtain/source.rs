//! Brings an image into the cache in the way that its source needs.

use super::build::ensure;
use super::download::Event;
use super::fetch::{Options, fetch};
use crate::cache::{Cache, Files};
use crate::catalogue::{Image, Source};
use crate::error::Result;

/// The image's files, fetched or built if they are not there.
pub(crate) fn obtain(
    cache: &Cache,
    image: &Image,
    options: &Options,
    tell: &dyn Fn(&str),
) -> Result<Files> {
    match &image.source {
        Source::Built(_) => ensure(cache, image, tell),
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
        }),
    }
}
