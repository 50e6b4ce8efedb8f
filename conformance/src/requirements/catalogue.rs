//! The catalogue: every requirement, area by area.
//!
//! The tables are plain constants, one per area, in the file of the area's name; nothing registers
//! itself through linker sections, which is a portability trap of its own.

use super::{
    auth, delivery, lifecycle, listen, locking, processes, signals, storage, width, workers,
};
use crate::requirement::Requirement;

/// The areas, in the order in which they are shown.
const AREAS: &[&[Requirement]] = &[
    listen::REQUIREMENTS,
    listen::surroundings::REQUIREMENTS,
    listen::managed::REQUIREMENTS,
    signals::REQUIREMENTS,
    signals::surroundings::REQUIREMENTS,
    locking::REQUIREMENTS,
    processes::REQUIREMENTS,
    processes::surroundings::REQUIREMENTS,
    processes::pid_file::REQUIREMENTS,
    processes::clients::REQUIREMENTS,
    workers::REQUIREMENTS,
    lifecycle::REQUIREMENTS,
    auth::REQUIREMENTS,
    delivery::REQUIREMENTS,
    delivery::lines::REQUIREMENTS,
    storage::REQUIREMENTS,
    storage::surroundings::REQUIREMENTS,
    width::REQUIREMENTS,
    width::surroundings::REQUIREMENTS,
];

/// Every requirement, area by area.
pub fn all() -> impl Iterator<Item = &'static Requirement> {
    AREAS.iter().flat_map(|area| area.iter())
}

/// The requirement of that id.
pub fn find(id: &str) -> Option<&'static Requirement> {
    all().find(|requirement| requirement.id == id)
}

/// `did you mean …?` for a mistyped id, if some id is like it.
pub fn did_you_mean(id: &str) -> Option<String> {
    let ids: Vec<&'static str> = all().map(|requirement| requirement.id).collect();
    settings::did_you_mean(id, &ids)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_are_unique_paths_of_stable_words() {
        let mut seen = std::collections::HashSet::new();
        for requirement in all() {
            let id = requirement.id;
            assert!(seen.insert(id), "{id} stands twice");
            let parts: Vec<&str> = id.split('/').collect();
            assert_eq!(parts.len(), 2, "{id}");
            for part in parts {
                let good = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '-';
                assert!(!part.is_empty() && part.chars().all(good), "{id}");
            }
        }
    }

    #[test]
    fn references_are_issues() {
        for requirement in all() {
            for reference in requirement.references {
                let (repository, number) = reference.split_once('#').unwrap_or_default();
                assert_eq!(repository.split('/').count(), 2, "{}: {reference}", requirement.id);
                assert!(number.parse::<u32>().is_ok(), "{}: {reference}", requirement.id);
            }
        }
    }

    #[test]
    fn every_text_says_something() {
        for requirement in all() {
            for text in [requirement.title, requirement.clause, requirement.trap, requirement.fix] {
                assert!(text.len() > 15, "{}: `{text}`", requirement.id);
            }
            assert!(!requirement.title.ends_with('.'), "{}", requirement.id);
        }
    }
}
