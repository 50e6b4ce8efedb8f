//! What a reader has to know before he believes the figures.

use super::table::place;
use crate::bench::Chat;
use crate::render::figure::{few_rounds, plural};

/// Of the machine, in percent.
const QUIET: f64 = 5.0;
/// A load that is later than that, in ms, tells more of the machine than of the server.
const PUNCTUAL: f64 = 20.0;

/// All that is to be said.
pub(super) fn remarks(all: &Chat) -> Vec<String> {
    let mut remarks = Vec::new();
    for one in &all.conversations {
        for (count, what) in
            [(one.lost, "did not come"), (one.disordered, "came out of order, or twice")]
        {
            if count > 0 {
                remarks.push(format!(
                    "{}, {}: {} {what}",
                    one.server,
                    place(one),
                    plural(usize::try_from(count).unwrap_or(usize::MAX), "message"),
                ));
            }
        }
    }
    let late = all.conversations.iter().map(|one| one.load_late_ms).fold(0.0, f64::max);
    if late > PUNCTUAL {
        remarks.push(format!(
            "the load itself was not punctual: it was up to {late:.0} ms late, which latencies contain"
        ));
    }
    match all.machine.others_percent {
        Some(others) if others.median > QUIET => remarks.push(format!(
            "the machine was not quiet: others used {:.0} % of it (median of the conversations)",
            others.median
        )),
        Some(_) => {}
        None if all.conversations.is_empty() => {}
        None => remarks.push("what else the machine did meanwhile is not told here".into()),
    }
    if !all.optimized {
        remarks.push(
            "this forkproof was built without optimization, and so were its chatd and its floor"
                .into(),
        );
    }
    if all.rounds < 5 {
        remarks.push(few_rounds(all.rounds, 5));
    }
    remarks
}
