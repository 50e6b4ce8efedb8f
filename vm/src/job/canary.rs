//! Whether KVM is to be used.

use std::fs::File;
use std::path::Path;
use std::time::Duration;

use forkproof_report::ExitStatus;

use super::directory::{RunDirectory, prepare};
use super::plan::{Acceleration, Settings, machine};
use crate::cache::Cache;
use crate::catalogue::{Catalogue, Image};
use crate::error::{Error, Result};
use crate::guest::{self, Outcome, Stamp, Work};
use crate::machine::{Accelerator, Disks};
use crate::obtain::obtain;

/// How long the canary may take, from power-on to each of its two ends.
const CANARY_LIMIT: Duration = Duration::from_secs(20);

/// Decides what the processors are made of. That /dev/kvm opens proves nothing: hosts were seen on
/// which machines are made, and no kernel gets anywhere. So a tiny image must write its result
/// first.
pub(super) fn accelerator<'a>(
    cache: &Cache,
    settings: &Settings,
    images: impl IntoIterator<Item = &'a Image>,
    tell: &dyn Fn(&str),
) -> Result<Accelerator> {
    let emulated = settings.acceleration == Acceleration::Tcg
        || !images.into_iter().any(|image| image.architecture.is_the_hosts());
    if emulated {
        return Ok(Accelerator::Tcg);
    }
    match canary(cache, settings) {
        Ok(()) => Ok(Accelerator::Kvm),
        Err(Error::Interrupted) => Err(Error::Interrupted),
        Err(error) if settings.acceleration == Acceleration::Kvm => {
            Err(Error::qemu_failed(CANARY, format!("no canary came back from KVM: {error}")))
        }
        Err(error) => {
            tell(&format!("not used, since no canary came back: {error}"));
            Ok(Accelerator::Tcg)
        }
    }
}

/// The image that flies first: of this host's processor.
const CANARY: &str = if cfg!(target_arch = "aarch64") {
    "debian-12-arm64-tiny"
} else if cfg!(target_arch = "arm") {
    "debian-12-armhf-tiny"
} else if cfg!(target_arch = "s390x") {
    "debian-12-s390x-tiny"
} else if cfg!(target_arch = "riscv64") {
    "debian-13-riscv64-tiny"
} else {
    "debian-12-tiny"
};

fn canary(cache: &Cache, settings: &Settings) -> Result<()> {
    const DEVICE: &str = "/dev/kvm";
    let device = Path::new(DEVICE);
    File::options()
        .read(true)
        .write(true)
        .open(device)
        .map_err(|error| Error::io("open", device, error))?;
    let catalogue = Catalogue::load()?;
    let image = catalogue.find(CANARY)?;
    let files = obtain(cache, image, &settings.fetch, &|_| ())?;
    let run = RunDirectory::make(cache)?;
    let stamp = Stamp::new();
    prepare(run.path(), &Work::Canary, &stamp, None, &[])?;
    let mut machine = machine(image, files, settings, Accelerator::Kvm, run.path(), &|_| ())?;
    machine.boot_limit = CANARY_LIMIT;
    machine.run_limit = CANARY_LIMIT;
    let ended = machine.run(stamp.text(), &run.path().join("console.log"), &mut |_| ())?;
    match guest::read_out(&run.path().join(Disks::OUT), &stamp)? {
        Ok(Outcome { status: Some(ExitStatus::Conformant), .. }) => Ok(()),
        Ok(_) => Err(ended.without_result(CANARY, "it wrote something else")),
        Err(why) => Err(ended.without_result(CANARY, &why)),
    }
}
