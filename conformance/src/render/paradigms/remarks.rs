//! What a reader has to know before he believes the figures.

use crate::bench::Paradigms;
use crate::render::figure::{few_rounds, plural};

/// What a reader has to know before he believes the figures.
pub(super) fn remarks(all: &Paradigms) -> Vec<String> {
    /// Of the machine.
    const QUIET: f64 = 5.0;
    /// Of a write, in ms.
    const PUNCTUAL: f64 = 20.0;
    let mut remarks = Vec::new();
    for cell in &all.cells {
        if let Some(missing) = cell.missing_percent {
            remarks.push(format!(
                "{} with {} fell behind its load in {} of {}: up to {missing:.1} % of the bytes were not \
                 read in time, so its figures are of a smaller load",
                cell.sink,
                plural(cell.connections, "connection"),
                cell.behind,
                plural(cell.samples.len(), "round"),
            ));
        }
        if let Some(unmade) = cell.unmade_percent {
            remarks.push(format!(
                "{} with {} had a smaller load than it should: up to {unmade:.1} % of it could not be \
                 made, since the machine was too busy",
                cell.sink,
                plural(cell.connections, "connection"),
            ));
        }
    }
    let late = all.cells.iter().flat_map(|cell| &cell.samples).map(|one| one.load_late_ms);
    let late = late.fold(0.0, f64::max);
    if late > PUNCTUAL {
        remarks.push(format!(
            "the load itself was not punctual: in one measurement 1 % of the writes were more than \
             {late:.0} ms late"
        ));
    }
    match all.machine.others_percent {
        Some(others) if others.median > QUIET => remarks.push(format!(
            "the machine was not quiet: others used {:.0} % of it (median of the measurements)",
            others.median
        )),
        Some(_) => {}
        None => remarks.push("what else the machine did meanwhile is not told here".into()),
    }
    if cfg!(debug_assertions) && all.sinks.iter().any(|sink| !sink.peer) {
        remarks.push("this forkproof was built without optimization, and so were its sinks".into());
    }
    if all.rounds < 5 {
        remarks.push(few_rounds(all.rounds, 10));
    }
    remarks
}
