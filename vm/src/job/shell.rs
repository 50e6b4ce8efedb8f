//! A shell in a machine.

use super::canary::accelerator;
use super::directory::{RunDirectory, prepare, sweep};
use super::plan::{Candidate, Settings, machine};
use crate::cache::Cache;
use crate::error::{Error, Result};
use crate::guest::{self, Outcome, Stamp, Work};
use crate::machine::Disks;
use crate::obtain::obtain;

/// Opens a shell in a guest on this terminal; with an id, that requirement is checked before, with
/// these options of `forkproof run`.
pub(crate) fn shell(
    cache: &Cache,
    candidate: &Candidate,
    settings: &Settings,
    id: Option<&str>,
    options: &[String],
    tell: &dyn Fn(&str),
) -> Result<()> {
    sweep(cache)?;
    let image = &candidate.image;
    let accelerator = accelerator(cache, settings, [image], tell)?;
    let files = obtain(cache, image, &settings.fetch, tell)?;
    let run = RunDirectory::make(cache)?;
    let stamp = Stamp::new();
    let work = Work::Shell { id: id.map(str::to_owned), options: options.to_vec() };
    prepare(run.path(), &work, &stamp, Some(&candidate.payload), &settings.added)?;
    let machine = machine(image, files, settings, accelerator, run.path(), tell)?;
    tell("powers on; Ctrl-A X ends the machine");
    machine.run_on_terminal(stamp.text())?;
    match guest::read_out(&run.path().join(Disks::OUT), &stamp)? {
        Ok(Outcome { problem: Some(why), .. }) => {
            Err(Error::does_not_run(&image.id, &candidate.payload, &why))
        }
        // Whoever ends the machine with Ctrl-A X wants it so.
        _ => Ok(()),
    }
}
