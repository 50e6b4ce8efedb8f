//! The catalogue: one definition of a requirement serves `list`, `explain`, `run` and the reports.
//!
//! The tables are plain constants, one per area, in the file of the area's name; nothing registers
//! itself through linker sections, which is a portability trap of its own.

use serde::{Deserialize, Serialize};

use crate::harness::Check;
use crate::needs::Need;
use crate::requirements;
use crate::target::Claim;
use crate::verdict::Outcome;

/// How strongly a requirement is meant.
#[derive(
    Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, clap::ValueEnum,
)]
#[serde(rename_all = "lowercase")]
pub enum Level {
    /// A server that fails it is broken.
    Must,
    /// A server that fails it will surprise its users.
    Should,
    /// Reported, never failing.
    May,
}

impl Level {
    /// The word in lists and reports.
    pub fn word(self) -> &'static str {
        match self {
            Self::Must => "must",
            Self::Should => "should",
            Self::May => "may",
        }
    }
}

/// How it is proved that a requirement can fail.
#[derive(Debug, Clone, Copy)]
pub enum Controls {
    /// Each of these must break it.
    By(&'static [Control]),
    /// Nothing does, for this reason.
    None(&'static str),
}

/// A personality that breaks a requirement.
#[derive(Debug, Clone, Copy)]
pub struct Control {
    /// As `forkproof as` takes it: `name`, `name=value`, several with commas.
    pub personality: &'static str,
    /// Words that the failure must hold, so that it is the right one; several to choose from with
    /// `|` between them.
    pub words: &'static str,
}

/// A [`Control`].
pub const fn by(personality: &'static str, words: &'static str) -> Control {
    Control { personality, words }
}

/// One thing that a forking server has to get right.
#[derive(Debug)]
pub struct Requirement {
    /// Stable words, `area/name`; the code is in the file of the area.
    pub id: &'static str,
    /// What must hold, as a sentence.
    pub title: &'static str,
    /// How strongly.
    pub level: Level,
    /// What says so: a standard or a manual page, with the section.
    pub clause: &'static str,
    /// What goes wrong, where, and the usual cause.
    pub trap: &'static str,
    /// What to do about it.
    pub fix: &'static str,
    /// What it takes to check this.
    pub needs: &'static [Need],
    /// What the server must claim for this to be asked of it.
    pub claims: &'static [Claim],
    /// What breaks it; see [`crate::controls`].
    pub controls: Controls,
    /// Whether it measures time or processor use, so that nothing else may run beside it.
    pub exclusive: bool,
    /// The check.
    pub check: fn(&mut Check) -> Outcome,
}

impl Requirement {
    /// The area: the part of the id before the slash.
    pub fn area(&self) -> &'static str {
        self.id.split('/').next().unwrap_or(self.id)
    }
}

/// Every requirement, area by area.
pub fn all() -> impl Iterator<Item = &'static Requirement> {
    requirements::AREAS.iter().flat_map(|area| area.iter())
}

/// The requirement of that id.
pub fn find(id: &str) -> Option<&'static Requirement> {
    all().find(|requirement| requirement.id == id)
}

/// The ids nearest to a mistyped one, best first, at most three.
pub fn nearest(id: &str) -> Vec<&'static str> {
    let ids: Vec<&'static str> = all().map(|requirement| requirement.id).collect();
    nearest_among(&ids, id)
}

/// As [`nearest`], among ids of any kind.
pub(crate) fn nearest_among<'a>(ids: &[&'a str], id: &str) -> Vec<&'a str> {
    let mut ranked: Vec<(f64, &'a str)> = ids
        .iter()
        .map(|&known| {
            let name = known.split('/').nth(1).unwrap_or(known);
            let whole = strsim::jaro_winkler(id, known);
            (whole.max(strsim::jaro_winkler(id, name)), known)
        })
        .filter(|(similarity, _)| *similarity > 0.75)
        .collect();
    ranked.sort_by(|a, b| b.0.total_cmp(&a.0));
    ranked.into_iter().take(3).map(|(_, id)| id).collect()
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
    fn every_text_says_something() {
        for requirement in all() {
            for text in [requirement.title, requirement.clause, requirement.trap, requirement.fix] {
                assert!(text.len() > 15, "{}: `{text}`", requirement.id);
            }
            assert!(!requirement.title.ends_with('.'), "{}", requirement.id);
        }
    }

    #[test]
    fn a_mistyped_id_finds_its_neighbour() {
        assert_eq!(nearest("signals/handler-persist").first(), Some(&"signals/handler-persists"));
        assert_eq!(nearest("hander-persists").first(), Some(&"signals/handler-persists"));
        assert!(nearest("xyzzy").is_empty());
    }
}
