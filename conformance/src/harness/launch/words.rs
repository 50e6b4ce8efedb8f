//! The manifest's words, filled in.

use std::ffi::OsString;

use crate::harness::world::World;
use crate::stop::{Step, Stop};
use crate::subject::{Manifest, Template, Values};

/// That the manifest has no words for what a check wants.
pub(super) fn cannot<T>(world: &World, what: &str, key: &str) -> Step<T> {
    Err(Stop::Unsupported(format!(
        "the target {} cannot be told {what}: its manifest has no {key}",
        world.orders.target.name
    )))
}

pub(super) fn fill(template: &Template, values: &Values<'_>) -> Step<OsString> {
    template.fill(values).map_err(|message| Stop::Error(format!("manifest: {message}")))
}

pub(super) fn mentions(manifest: &Manifest, name: &str) -> bool {
    let launch = &manifest.launch;
    launch
        .arguments
        .iter()
        .chain(launch.environment.values())
        .chain(launch.files.iter().map(|file| &file.content))
        .any(|template| template.mentions(name))
}
