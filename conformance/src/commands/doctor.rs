//! `forkproof doctor`: what this machine lacks, what that costs, and what mends it.

use std::collections::BTreeSet;

use forkproof_report::ExitStatus;

use super::outcome::{CommandResult, print};
use super::private::private_dir;
use crate::needs::Need;
use crate::render::doctor::{Diagnosis, Item, render};
use crate::requirement::Requirement;
use crate::stop::Stop;
use crate::{personality, platform, requirements};

/// What `--help` says last.
pub(super) const AFTER_HELP: &str = "\
Exit status: 0 every requirement can be checked on this machine · 1 some cannot. What personalities \
and machines need is shown too, but does not count.";

/// The command.
pub(super) fn main() -> CommandResult {
    let all: Vec<&Requirement> = requirements::all().collect();
    let mut lost = BTreeSet::new();
    let checks = needs(&all)
        .into_iter()
        .map(|need| {
            let asking: Vec<&str> = all
                .iter()
                .filter(|requirement| requirement.needs.contains(&need))
                .map(|requirement| requirement.id)
                .collect();
            let mut item = Item::here(need.words(), &requirements_in_words(asking.len()), "");
            if let Some(stop) = need.missing() {
                lost.extend(asking);
                // What the platform has not got cannot be mended on it.
                let (why, remedy) = match stop {
                    Stop::Unsupported(why) => (why, None),
                    Stop::NotRun(why) | Stop::Error(why) => (why, Some(need.remedy())),
                    Stop::Fail(failure) | Stop::Blocked(failure) => (failure.actual, None),
                };
                item = item.missing(&why, remedy);
            }
            item
        })
        .collect();
    let dir = private_dir(false)?;
    let diagnosis = Diagnosis {
        platform: platform::facts(dir.path()).line(),
        total: all.len(),
        possible: all.len() - lost.len(),
        checks,
        personalities: personalities(),
        machines: machines(),
    };
    print(&render(&diagnosis))?;
    Ok(if lost.is_empty() { ExitStatus::Conformant } else { ExitStatus::NotConformant })
}

/// All that is needed, in the order of the catalogue.
fn needs(all: &[&Requirement]) -> Vec<Need> {
    let mut needs = Vec::new();
    for need in all.iter().flat_map(|requirement| requirement.needs) {
        if !needs.contains(need) {
            needs.push(*need);
        }
    }
    needs
}

fn requirements_in_words(count: usize) -> String {
    if count == 1 { "1 requirement".to_owned() } else { format!("{count} requirements") }
}

/// Whether this program can be put under a personality.
fn personalities() -> Item {
    let item = Item::here("personalities", "`forkproof as`, `run --as`, `controls`", "");
    let own = match std::env::current_exe() {
        Ok(own) => own,
        Err(error) => return item.missing(&error.to_string(), None),
    };
    match personality::refuse_uninterposable(&own) {
        Ok(()) => item,
        // Else it is the reason that says what to do.
        Err(why) => item.missing(
            &why,
            cfg!(target_feature = "crt-static").then(|| {
                "use a forkproof that is linked dynamically: `cargo install --path conformance`"
                    .into()
            }),
        ),
    }
}

/// What machines take.
#[cfg(feature = "vm")]
fn machines() -> Vec<Item> {
    forkproof_vm::means()
        .into_iter()
        .map(|means| match means.state {
            Ok(place) => Item::here(&means.name, means.purpose, &place),
            Err(lack) => Item::here(&means.name, means.purpose, "")
                .missing(&lack.why, Some(lack.command).filter(|command| !command.is_empty())),
        })
        .collect()
}

#[cfg(not(feature = "vm"))]
fn machines() -> Vec<Item> {
    Vec::new()
}
