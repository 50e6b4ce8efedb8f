//! What a requirement is: one definition serves `list`, `explain`, `run`, `controls` and the reports.

use forkproof_report::Level;

use crate::harness::Check;
use crate::needs::Need;
use crate::stop::Outcome;
use crate::subject::Claim;

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
    /// A system, as [`std::env::consts::OS`] calls it, on which it breaks nothing, and why.
    pub harmless: Option<(&'static str, &'static str)>,
}

/// A [`Control`].
pub const fn by(personality: &'static str, words: &'static str) -> Control {
    Control { personality, words, harmless: None }
}

impl Control {
    /// The same, which breaks nothing on one system, for a reason.
    pub const fn but_not_on(self, system: &'static str, why: &'static str) -> Self {
        Self { harmless: Some((system, why)), ..self }
    }
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
    /// Real bugs of this kind, as `owner/repo#number` on GitHub.
    pub references: &'static [&'static str],
    /// What it takes to check this.
    pub needs: &'static [Need],
    /// What the server must claim for this to be asked of it.
    pub claims: &'static [Claim],
    /// What breaks it; see `forkproof controls`.
    pub controls: Controls,
    /// Whether it measures time or processor use, so that nothing else may run beside it.
    pub exclusive: bool,
    /// The check.
    pub check: fn(&mut Check) -> Outcome,
}

impl Requirement {
    /// The area: the part of the id before the slash.
    pub fn area(&self) -> &'static str {
        forkproof_report::area(self.id)
    }
}
