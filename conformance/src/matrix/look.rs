//! How a verdict is shown: a word and a symbol, never a colour alone.

use crate::verdict::Verdict;

/// How a verdict is shown, and what it weighs.
#[derive(Debug, PartialEq, Eq)]
pub struct Look {
    /// The verdict's word in reports; also the name of its style.
    pub word: &'static str,
    /// Stands before the word; in every common font, and none that is drawn as an emoji.
    pub symbol: &'static str,
    /// For the legend.
    pub meaning: &'static str,
    /// The greater, the earlier among the differences.
    pub gravity: u8,
    /// Whether it is shown among the failures when all columns have it.
    pub troubled: bool,
}

const fn row(
    word: &'static str,
    symbol: &'static str,
    gravity: u8,
    troubled: bool,
    meaning: &'static str,
) -> Look {
    Look { word, symbol, meaning, gravity, troubled }
}

/// By word, so that a file and the legend can name every one of them. `xfail` and `xpass` are the
/// verdicts of a run with a baseline.
const LOOKS: &[Look] = &[
    row("pass", "✓", 0, false, "the server does what is required"),
    row("fail", "✗", 6, true, "the server does something else"),
    row(
        "xpass",
        "(✓)",
        4,
        true,
        "passes, and the baseline says that it fails: the baseline is stale",
    ),
    row("xfail", "(✗)", 3, false, "fails, and the baseline says so, with the reason"),
    row("error", "!", 5, true, "the check itself failed; says nothing about the server"),
    row("not-run", "○", 2, false, "could be checked there, but not in this run"),
    row("unsupported", "∅", 1, false, "the platform or the server hasn't what it is about"),
];

/// Where a report hasn't the requirement.
pub const NOT_SELECTED: &Look =
    &row("not selected", "·", 0, false, "the report hasn't it: a selection, or another version");

/// How `verdict` is shown.
pub fn look(verdict: Verdict) -> &'static Look {
    // A verdict that is missing above is found by the test below, before anybody meets this one.
    const UNKNOWN: &Look = &row("unknown", "?", 5, true, "a verdict without a description");
    LOOKS.iter().find(|look| look.word == verdict.word()).unwrap_or(UNKNOWN)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_verdict_has_a_look_of_its_own() {
        let mut seen = vec![NOT_SELECTED.symbol];
        for verdict in Verdict::ALL {
            let look = look(verdict);
            assert_eq!(look.word, verdict.word());
            assert!(!seen.contains(&look.symbol), "{}", look.symbol);
            seen.push(look.symbol);
        }
    }

    #[test]
    fn a_failure_outweighs_everything() {
        let gravest = LOOKS.iter().max_by_key(|look| look.gravity).map(|look| look.word);
        assert_eq!(gravest, Some("fail"));
        assert_eq!(look(Verdict::Pass).gravity, 0);
    }
}
