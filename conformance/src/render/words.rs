//! What the words of a report mean: verdicts, levels, exit statuses. `forkproof explain` tells it.

use forkproof_report::{ExitStatus, Level, Verdict};

use super::look::BOLD;

/// What `word` means and what to do, if it is a verdict, a level or an exit status.
pub fn meaning(word: &str) -> Option<String> {
    let (kind, text) = if let Some(verdict) = Verdict::ALL.into_iter().find(|v| v.word() == word) {
        ("verdict", of_verdict(verdict))
    } else if let Ok(level) = word.parse() {
        ("level", of_level(level))
    } else {
        ("exit status", of_status(ExitStatus::from_code(word.parse().ok()?)?))
    };
    Some(format!("{BOLD}{word}{BOLD:#} ({kind})\n\n{text}\n"))
}

fn of_verdict(verdict: Verdict) -> &'static str {
    match verdict {
        Verdict::Pass => "The server does what is required.",
        Verdict::Fail => {
            "The server does something else. The report says what was expected, what happened \
             instead, and the usual cause and fix. `forkproof run ID --keep` repeats it."
        }
        Verdict::Unsupported => {
            "The platform or the server does not have what the requirement is about. It does not \
             count. `forkproof run --verbose` gives the reason."
        }
        Verdict::NotRun => {
            "It could be checked on this platform, but something is missing here: root or a tool, \
             for example. `forkproof doctor` shows what, and how to get it."
        }
        Verdict::Error => {
            "The check itself failed. This says nothing about the server and never counts against \
             it, but the run gives no verdict (exit status 3)."
        }
        Verdict::Blocked => {
            "The server failed during the set-up, before the check reached what the requirement is \
             about. Fix the requirement named under `Covered by` first. Without a failure the run \
             gives no verdict (exit status 3)."
        }
        Verdict::Xfail => {
            "The server fails, as the baseline says it will. This does not fail the run."
        }
        Verdict::Xpass => {
            "The baseline says that the requirement fails, but it passes. Remove the entry from \
             the baseline: until then the run fails."
        }
    }
}

fn of_level(level: Level) -> &'static str {
    match level {
        Level::Must => "A server that fails this is broken.",
        Level::Should => "A server that fails this will surprise its users. It fails the run.",
        Level::May => "Informative: a failure is reported but never fails the run.",
    }
}

fn of_status(status: ExitStatus) -> &'static str {
    match status {
        ExitStatus::Conformant => "Conformant: everything that was checked holds.",
        ExitStatus::NotConformant => {
            "A requirement failed, or an entry of the baseline is out of date (`xpass`)."
        }
        ExitStatus::Usage => {
            "The command line, or a file that it names, is wrong. Nothing was checked."
        }
        ExitStatus::NoVerdict => {
            "No verdict: the harness or the environment failed (`error`), a check was `blocked` \
             without a failure, nothing that was selected could be checked, or the run was \
             interrupted."
        }
        ExitStatus::NothingSelected => {
            "Nothing was selected: no requirement matches the given ids and options. `forkproof \
             list` shows them all."
        }
    }
}

#[cfg(test)]
mod tests {
    use rstest::rstest;

    use super::*;

    #[rstest]
    #[case("xpass", "xpass (verdict)", "Remove the entry")]
    #[case("should", "should (level)", "surprise")]
    #[case("3", "3 (exit status)", "No verdict")]
    fn known(#[case] word: &str, #[case] head: &str, #[case] said: &str) {
        let text = anstream::adapter::strip_str(&meaning(word).unwrap()).to_string();
        assert!(text.starts_with(head) && text.contains(said), "{text}");
    }

    #[rstest]
    #[case("passed")]
    #[case("5")]
    #[case("-1")]
    #[case("")]
    fn unknown(#[case] word: &str) {
        assert_eq!(meaning(word), None);
    }
}
