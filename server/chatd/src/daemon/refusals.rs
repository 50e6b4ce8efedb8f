//! What is said of those who are not let in: the first few in full, then only how many there were.
//! A flood of strangers must not fill the disk that the messages are on.

use std::fmt::Display;
use std::time::{Duration, Instant};

use crate::diagnostics;

/// Refusals told in full in each [`WINDOW`].
const TOLD: u32 = 10;
/// How long the others are added up.
const WINDOW: Duration = Duration::from_secs(10);

/// The refusals of the present window.
#[derive(Debug, Default)]
pub(super) struct Refusals {
    since: Option<Instant>,
    told: u32,
    untold: u64,
}

impl Refusals {
    /// Tells, or counts, that `who` was refused.
    pub(super) fn tell(&mut self, who: impl Display, why: impl Display) {
        self.settle();
        self.since.get_or_insert_with(Instant::now);
        if self.told < TOLD {
            self.told += 1;
            diagnostics::info(&format!("{who}: refused: {why}"));
        } else {
            self.untold += 1;
        }
    }

    /// Tells that nobody can be served just now, as often as refusals are told.
    pub(super) fn warn(&mut self, what: impl Display) {
        self.settle();
        self.since.get_or_insert_with(Instant::now);
        if self.told < TOLD {
            self.told += 1;
            diagnostics::warning(&what.to_string());
        }
    }

    /// Tells how many were only counted, once the window is over.
    pub(super) fn settle(&mut self) {
        if self.since.is_some_and(|since| since.elapsed() >= WINDOW) {
            self.finish();
        }
    }

    /// Tells how many were only counted.
    pub(super) fn finish(&mut self) {
        let Some(since) = self.since.take() else { return };
        self.told = 0;
        let seconds = since.elapsed().as_secs().max(1);
        match std::mem::take(&mut self.untold) {
            0 => {}
            1 => diagnostics::warning(&format!("1 more connection was refused in {seconds} s")),
            count => {
                diagnostics::warning(&format!(
                    "{count} more connections were refused in {seconds} s"
                ));
            }
        }
    }

    /// The time until [`settle`](Self::settle) has something to tell.
    pub(super) fn due(&self) -> Option<Duration> {
        let since = self.since.filter(|_| self.untold > 0)?;
        Some(WINDOW.saturating_sub(since.elapsed()))
    }
}
