//! What disturbances cost the clients of a server, as a table.

use super::words::way;
use crate::bench::{Disturbance, DisturbedCell, DisturbedSample, WebReport};
use crate::render::comparison::{Column, Table};
use crate::render::figure::{digits, shortened};

/// The columns, and what they hold.
const COLUMNS: [Column; COUNT] = [
    ("server", "the server, and how many workers it has"),
    ("done", "how often it was done"),
    ("requests", "requests that were due meanwhile"),
    ("lost", "those without a good answer"),
    ("again", "those made once more, since the server had closed the connection that was kept"),
    ("back s", "how long it took until as many other workers were there, the median"),
    ("longest", "the longest time that took; `never` where they did not come"),
    ("p50 ms", "latency from when a request was due: half of the answers came sooner"),
    ("p99", "99 % came sooner"),
    ("max", "the longest"),
];
const COUNT: usize = 10;

/// A table for each thing that was done, under each load.
pub(super) fn tables(all: &WebReport) -> Vec<Table> {
    let is_alike = |a: &DisturbedCell, b: &DisturbedCell| {
        (a.kind, a.keep_alive, a.bytes) == (b.kind, b.keep_alive, b.bytes)
    };
    let tables = all.disturbed.chunk_by(is_alike).map(|cells| {
        let first = &cells[0];
        let what = match first.kind {
            Disturbance::Kill => "a worker is killed",
            Disturbance::Stop => "a worker is stopped",
            Disturbance::Reload => "the configuration is read again",
            Disturbance::Upgrade => "the program is executed anew",
        };
        Table {
            columns: &COLUMNS,
            heading: format!(
                "{what}, {} × in {} s of {} requests a second, {}",
                first.times,
                first.seconds,
                digits(first.per_second),
                way(first.keep_alive)
            ),
            rows: cells.iter().map(row).collect(),
        }
    });
    tables.collect()
}

fn row(cell: &DisturbedCell) -> Vec<String> {
    let mut row = vec![shortened(&who(cell), 24)];
    let Some(sample) = &cell.sample else {
        row.resize(COUNT, "-".to_owned());
        return row;
    };
    let none = || "-".to_owned();
    let latency = |figure: Option<f64>| figure.map_or_else(none, digits);
    let mut back = sample.recovered_seconds.clone();
    back.sort_by(f64::total_cmp);
    let longest = match (sample.done > back.len(), back.last()) {
        (true, _) => "never".to_owned(),
        (false, Some(longest)) => digits(*longest),
        (false, None) => none(),
    };
    row.extend([
        sample.done.to_string(),
        sample.requests.to_string(),
        sample.failed.to_string(),
        sample.retried.to_string(),
        back.get(back.len() / 2).map_or_else(none, |middle| digits(*middle)),
        longest,
        latency(sample.latency.map(|one| one.p50_ms)),
        latency(sample.latency.map(|one| one.p99_ms)),
        latency(sample.latency.map(|one| one.max_ms)),
    ]);
    row
}

fn who(cell: &DisturbedCell) -> String {
    match cell.workers {
        Some(workers) => format!("{} × {workers}", cell.server),
        None => cell.server.clone(),
    }
}

/// What there is to say about them.
pub(super) fn remarks(all: &WebReport) -> Vec<String> {
    let mut remarks = Vec::new();
    for cell in &all.disturbed {
        let named = format!("{}, {}, {}", who(cell), word(cell.kind), way(cell.keep_alive));
        if let Some(why) = &cell.missing {
            remarks.push(format!("{named}: not done, since {why}"));
        }
        let Some(sample) = &cell.sample else { continue };
        if sample.failed > 0 {
            let what: Vec<String> =
                sample.failures.iter().map(|(what, count)| format!("{what} ({count})")).collect();
            remarks.push(format!("{named}: {} lost: {}", sample.failed, what.join("; ")));
        }
        if let Some(words) = unfinished(cell, sample) {
            remarks.push(format!("{named}: {words}"));
        }
    }
    remarks
}

/// What was not done, or not got over.
fn unfinished(cell: &DisturbedCell, sample: &DisturbedSample) -> Option<String> {
    if sample.done > sample.recovered_seconds.len() {
        return Some(format!(
            "after the last of {} × the other workers had not come when the load was over",
            sample.done
        ));
    }
    (sample.done < cell.times)
        .then(|| format!("done {} × only, as it took its time each time", sample.done))
}

fn word(kind: Disturbance) -> &'static str {
    match kind {
        Disturbance::Kill => "kill",
        Disturbance::Stop => "stop",
        Disturbance::Reload => "reload",
        Disturbance::Upgrade => "upgrade",
    }
}
