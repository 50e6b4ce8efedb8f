//! An image that is built here: made unless it is there, and its recipe.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::full::{self, DISK_SIZE};
use super::making::{Making, mirror};
use super::scripts::{UNIT, agent, init};
use super::tiny;
use crate::cache::{Cache, Files, ImageLock, digest_of_text, now};
use crate::catalogue::{Built, Image, Kind, Source};
use crate::error::{Error, Result};
use crate::platform;

/// To be raised when images are made otherwise than before, and no text of the recipe shows it.
const VERSION: u32 = 5;
const RECIPE: &str = "recipe.toml";

/// What an image was made from.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
struct Recipe {
    /// Digest of everything that decides how it is made.
    recipe: String,
    /// When it was made, RFC 3339.
    date: String,
    /// The packages that are in it, with their versions.
    packages: BTreeMap<String, String>,
}

/// The image's files, made now unless they are there and of today's recipe. `tell` hears what is
/// going on.
pub(crate) fn ensure(cache: &Cache, image: &Image, tell: &dyn Fn(&str)) -> Result<Files> {
    let Source::Built(built) = &image.source else {
        return Err(Error::Usage(format!(
            "image `{}` is not built here: `forkproof vm fetch {}` downloads it",
            image.id, image.id
        )));
    };
    let wanted = recipe_digest(built);
    if let Some(files) = current(cache, image, &wanted) {
        return Ok(files);
    }
    let lock = cache.lock(&image.id, || tell("waits for another process that makes it"))?;
    if let Some(files) = current(cache, image, &wanted) {
        return Ok(files);
    }
    let making = Making { id: &image.id, built, dir: lock.dir().join("build.part"), tell };
    making.begin()?;
    let made = match built.kind {
        Kind::Tiny => tiny::make(&making),
        Kind::Full | Kind::Cloud | Kind::Plain => full::make(&making),
    };
    let result = made.and_then(|packages| publish(&making, &lock, wanted, packages));
    let cleared = making.clear();
    result.and(cleared)?;
    cache.find(image).ok_or_else(|| making.failed("the files are not where they belong"))
}

fn current(cache: &Cache, image: &Image, wanted: &str) -> Option<Files> {
    let recipe: Recipe = settings::read(cache.dir(&image.id).join(RECIPE)).ok()?;
    if recipe.recipe == wanted { cache.find(image) } else { None }
}

fn recipe_digest(built: &Built) -> String {
    // What changes from day to day is made anew on another day.
    let day = match built.suite.as_str() {
        "testing" | "unstable" => now()[..10].to_owned(),
        _ => String::new(),
    };
    let text = format!("{VERSION} {built:?} {} {DISK_SIZE}{day}", mirror());
    digest_of_text(&[&text, &init(), &agent(), UNIT].map(|text| text.to_owned()).concat())
}

/// Gives the files their names; the recipe last, so that it vouches for all.
fn publish(
    making: &Making<'_>,
    lock: &ImageLock,
    wanted: String,
    packages: BTreeMap<String, String>,
) -> Result<()> {
    let recipe = Recipe { recipe: wanted, date: now(), packages };
    let part = making.dir.join(RECIPE);
    let text = toml::to_string(&recipe)
        .map_err(|error| making.failed(format!("its recipe cannot be written: {error}")))?;
    platform::write(&part, text)?;
    platform::remove(&lock.dir().join(RECIPE))?;
    lock.unseal()?;
    let mut names = vec!["kernel", "initrd", "disk.qcow2"];
    names.retain(|name| making.dir.join(name).exists());
    for name in &names {
        lock.publish(&making.dir.join(name), name)?;
    }
    lock.seal(&names, &mut |_| ())?;
    lock.publish(&part, RECIPE).map(drop)
}
