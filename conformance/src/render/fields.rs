//! What an entry of a report says of its check, under the names that it has everywhere.

use forkproof_report::{Entry, Verdict};

use crate::subject::Claim;

/// What was expected and what happened, what there is of it: names and texts, as they stand in the
/// report.
pub(super) fn told(entry: &Entry) -> Vec<(&'static str, String)> {
    let expected = if entry.verdict == Verdict::Blocked { "Set-up" } else { "Expected" };
    let reason = match entry.verdict {
        Verdict::Xpass => "Stale",
        Verdict::Unsupported | Verdict::NotRun => "Reason",
        _ => "Error",
    };
    let claimed: Vec<String> = entry
        .claimed
        .iter()
        .map(|word| match Claim::try_from(word.clone()) {
            Ok(claim) => format!("`{word}`, that the server {}", claim.sentence()),
            Err(_) => format!("`{word}`"),
        })
        .collect();
    [
        (expected, entry.expected.clone()),
        ("Actual", entry.actual.clone()),
        (reason, entry.reason.clone()),
        ("Baseline", entry.baseline_text()),
        ("Claimed", (!claimed.is_empty()).then(|| claimed.join("; "))),
        ("Covered by", entry.covered_by.clone()),
    ]
    .into_iter()
    .filter_map(|(name, value)| Some((name, value?)))
    .collect()
}
