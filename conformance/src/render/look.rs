//! How verdicts and conclusions are shown, everywhere: a word, a symbol and a colour, never a colour
//! alone.

use anstyle::{AnsiColor, Style};
use forkproof_report::{Conclusion, Verdict};
use serde::Serialize;

pub(super) const BOLD: Style = Style::new().bold();
pub(super) const DIM: Style = Style::new().dimmed();

/// What a requirement's trap and fix are called below a failure: what is usual, not what was found.
pub(super) const CAUSE: &str = "Usual cause";
pub(super) const FIX: &str = "Usual fix";

/// How a verdict is shown.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub(super) struct Look {
    /// The verdict's word in reports; also the name of its style on a page.
    pub(super) word: &'static str,
    /// Stands before the word; in every common font, and none that is drawn as an emoji.
    pub(super) symbol: &'static str,
    /// For the legend.
    pub(super) meaning: &'static str,
    /// At a terminal.
    #[serde(skip)]
    pub(super) style: Style,
}

/// Where a report hasn't the requirement.
pub(super) const NOT_SELECTED: Look = Look {
    word: "not selected",
    symbol: "·",
    meaning: "the report hasn't it: a selection, or another version",
    style: DIM,
};

/// How `verdict` is shown.
pub(super) fn look(verdict: Verdict) -> Look {
    let (symbol, style, meaning) = match verdict {
        Verdict::Pass => ("✓", AnsiColor::Green.on_default(), "the server does what is required"),
        Verdict::Fail => {
            ("✗", AnsiColor::Red.on_default().bold(), "the server does something else")
        }
        Verdict::Xpass => (
            "(✓)",
            AnsiColor::Red.on_default().bold(),
            "passes, and the baseline says that it fails: the baseline is stale",
        ),
        Verdict::Xfail => (
            "(✗)",
            AnsiColor::Cyan.on_default(),
            "fails, and the baseline says so, with the reason",
        ),
        Verdict::Error => (
            "!",
            AnsiColor::Magenta.on_default().bold(),
            "the check itself failed; says nothing about the server",
        ),
        Verdict::Blocked => (
            "⊣",
            AnsiColor::Magenta.on_default(),
            "the server failed in a step that another requirement is about",
        ),
        Verdict::NotRun => {
            ("○", AnsiColor::Yellow.on_default(), "could be checked there, but not in this run")
        }
        Verdict::Unsupported => (
            "∅",
            AnsiColor::Yellow.on_default(),
            "the platform or the server hasn't what it is about",
        ),
    };
    Look { word: verdict.word(), symbol, meaning, style }
}

/// The verdict whose look stands for `conclusion`.
pub(super) fn look_of(conclusion: Conclusion) -> Look {
    look(match conclusion {
        Conclusion::Conformant => Verdict::Pass,
        Conclusion::NotConformant => Verdict::Fail,
        Conclusion::NoVerdict => Verdict::Error,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_verdict_has_a_symbol_of_its_own() {
        let mut seen = vec![NOT_SELECTED.symbol];
        for verdict in Verdict::ALL {
            let look = look(verdict);
            assert_eq!(look.word, verdict.word());
            assert!(!seen.contains(&look.symbol), "{}", look.symbol);
            seen.push(look.symbol);
        }
    }
}
