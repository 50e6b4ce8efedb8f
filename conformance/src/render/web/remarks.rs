//! What a reader has to know before he believes the figures.

use super::disturbed;
use super::words::{load, who};
use crate::bench::{LoadFigures, WebCell, WebReport};
use crate::render::figure::{few_rounds, plural};

/// Of a request's turn, in ms.
const PUNCTUAL: f64 = 5.0;
/// Of the machine, in percent.
const QUIET: f64 = 5.0;
/// A server that answers a smaller share of what is due in its time has fallen behind.
const KEEPS_UP: f64 = 0.95;

/// All that is to be said.
pub(super) fn remarks(all: &WebReport) -> Vec<String> {
    let mut remarks = Vec::new();
    for (name, why) in &all.missing {
        remarks.push(format!("{name} was left out: {why}"));
    }
    for cell in &all.cells {
        for (figures, way) in [(&cell.closed, "closed"), (&cell.open, "open")] {
            let Some(figures) = figures else { continue };
            if figures.retried > 0 {
                remarks.push(format!(
                    "{}, {}, {way} load: {} of {} were made twice, since the server had closed a \
                     connection that it had let its client keep",
                    who(cell),
                    load(cell),
                    figures.retried,
                    requests(figures.requests),
                ));
            }
            if figures.failed == 0 {
                continue;
            }
            let what: Vec<String> =
                figures.failures.iter().map(|(what, count)| format!("{what} ({count})")).collect();
            remarks.push(format!(
                "{}, {}, {way} load: {} of {} failed: {}",
                who(cell),
                load(cell),
                figures.failed,
                requests(figures.requests),
                what.join("; ")
            ));
        }
        if is_behind(cell) {
            remarks.push(format!(
                "{}, {}: it did not keep up with the open load, so its latencies there grow with the \
                 time that the load lasts",
                who(cell),
                load(cell)
            ));
        }
    }
    remarks.extend(disturbed::remarks(all));
    let figures = || all.cells.iter().flat_map(|cell| cell.closed.iter().chain(&cell.open));
    if figures().any(is_loads_own) {
        remarks.push(
            "where a row is marked (L) the load itself was the limit: its one thread was busy for 90 % \
             of the time or more, so requests a second and latencies are the load's as much as the \
             server's. Requests for a second of processor time are the server's alone"
                .into(),
        );
    }
    let late = figures().filter_map(|figures| figures.late_ms).fold(0.0, f64::max);
    if late > PUNCTUAL {
        remarks.push(format!(
            "the open load itself was not punctual: in one measurement the turn of 1 % of the requests \
             came more than {late:.0} ms late, which their latencies contain"
        ));
    }
    match all.machine.others_percent {
        Some(others) if others.median > QUIET => remarks.push(format!(
            "the machine was not quiet: others used {:.0} % of it (median of the loads)",
            others.median
        )),
        Some(_) => {}
        None if all.cells.is_empty() => {}
        None => remarks.push("what else the machine did meanwhile is not told here".into()),
    }
    if !all.optimized && all.servers.iter().any(|server| server.name == "webd") {
        remarks.push("this forkproof was built without optimization, and so was its webd".into());
    }
    if all.rounds < 5 && !all.cells.is_empty() {
        remarks.push(few_rounds(all.rounds, 5));
    }
    remarks
}

/// Whether the load was the limit in most rounds.
pub(super) fn is_loads_own(figures: &LoadFigures) -> bool {
    figures.load_percent.median >= 90.0
}

/// Whether a server did not keep up with the open load.
pub(super) fn is_behind(cell: &WebCell) -> bool {
    let due = cell.load.per_second.unwrap_or(0.0);
    cell.open.as_ref().is_some_and(|open| open.per_second.median < due * KEEPS_UP)
}

fn requests(count: u64) -> String {
    plural(usize::try_from(count).unwrap_or(usize::MAX), "request")
}
