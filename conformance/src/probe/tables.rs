//! Every probe, area by area.

use std::path::Path;

use super::model::{Measure, Probe};
use super::{connections, files, interfaces, locks, processes, restart, signals, sockets, widths};

const AREAS: &[&[Probe]] = &[
    signals::PROBES,
    restart::PROBES,
    locks::PROBES,
    sockets::PROBES,
    connections::PROBES,
    processes::PROBES,
    files::PROBES,
    widths::PROBES,
    interfaces::PROBES,
];

/// Every probe, area by area.
pub fn all() -> impl Iterator<Item = &'static Probe> {
    AREAS.iter().flat_map(|area| area.iter())
}

/// The probe of that id.
pub fn find(id: &str) -> Option<&'static Probe> {
    all().find(|probe| probe.id == id)
}

/// Measures one probe in this process, which the probe may spoil.
pub fn measure(id: &str, dir: &Path) -> Measure {
    use nix::sys::signal::{SigHandler, Signal, signal};
    let probe = find(id).ok_or_else(|| format!("no probe {id}"))?;
    // Who started this program may have had them ignored.
    for inherited in [Signal::SIGUSR1, Signal::SIGCHLD, Signal::SIGPIPE, Signal::SIGALRM] {
        // SAFETY: no handler is installed.
        unsafe { signal(inherited, SigHandler::SigDfl) }
            .map_err(|errno| format!("{inherited}: {errno:?}"))?;
    }
    (probe.measure)(dir)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_are_unique_paths_of_stable_words() {
        let mut seen = std::collections::HashSet::new();
        for Probe { id, .. } in all() {
            assert!(seen.insert(id), "{id} stands twice");
            let parts: Vec<&str> = id.split('/').collect();
            assert_eq!(parts.len(), 2, "{id}");
            for part in parts {
                let good = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '-';
                assert!(!part.is_empty() && part.chars().all(good), "{id}");
            }
        }
        assert!(seen.len() >= 40, "only {} probes", seen.len());
    }

    #[test]
    fn the_area_of_a_probe_is_its_table() {
        for area in AREAS {
            let name = forkproof_report::area(area[0].id);
            assert!(area.iter().all(|probe| forkproof_report::area(probe.id) == name), "{name}");
        }
    }

    #[test]
    fn every_document_is_named() {
        for probe in all() {
            // A title may be no more than a call's name; a document needs its section.
            assert!(probe.title.len() > 5, "{}: `{}`", probe.id, probe.title);
            for text in [probe.posix, probe.linux.source, probe.freebsd.source] {
                assert!(text.len() > 8, "{}: `{text}`", probe.id);
                assert!(!text.ends_with('.'), "{}: `{text}`", probe.id);
            }
        }
    }
}
