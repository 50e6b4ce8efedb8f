//! `forkproof vm build`

use forkproof_report::ExitStatus;
use indicatif::HumanBytes;

use super::say::{complain, say};
use crate::cache::Cache;
use crate::catalogue::{Catalogue, Image};
use crate::error::{Error, Result};
use crate::job::refuse_duplicates;
use crate::{obtain, platform};

pub(super) const HELP: &str = "\
Root is not needed. A tiny image needs apt-get, dpkg-deb and xz. A full one needs mmdebstrap, \
arch-test and mke2fs, and for an ordinary user also fakeroot, uidmap and a range of ids in \
/etc/subuid. Both need the package debian-archive-keyring. $FORKPROOF_DEBIAN_MIRROR names \
another mirror than http://deb.debian.org/debian.

Exit status: 0 all are there · 2 usage · 3 one or more could not be built.";

/// `forkproof vm build`
#[derive(clap::Args, Debug)]
pub struct Build {
    /// The images; those that `forkproof vm images` shows as built here
    #[arg(value_name = "IMAGE", required = true)]
    images: Vec<String>,
}

pub(super) fn build(arguments: &Build) -> Result<ExitStatus> {
    let catalogue = Catalogue::load()?;
    let cache = Cache::open()?;
    let images: Vec<&Image> =
        arguments.images.iter().map(|id| catalogue.find(id)).collect::<Result<_>>()?;
    refuse_duplicates(images.iter().map(|image| image.id.as_str()))?;
    platform::catch_signals()?;
    let mut statuses = Vec::new();
    for image in images {
        match obtain::ensure(&cache, image, &|text| eprintln!("{}: {text}", image.id)) {
            Ok(files) => {
                let size = HumanBytes(files.size());
                say(&format!("{}: {} ({size})", image.id, cache.dir(&image.id).display()))?;
            }
            Err(Error::Interrupted) => return Err(Error::Interrupted),
            Err(error) => statuses.push(complain(&error)),
        }
    }
    Ok(ExitStatus::worst(statuses))
}
