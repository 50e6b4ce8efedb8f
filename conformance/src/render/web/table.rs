//! The figures as tables: one for each load, a row for each server with each number of workers.

use super::remarks::{is_behind, is_loads_own};
use super::words::{load, who};
use crate::bench::{LatencyFigures, LoadFigures, Summary, WebCell, WebReport};
use crate::render::comparison::{Column, Table};
use crate::render::figure::{digits, shortened};

/// The columns, and what they hold.
pub(super) const COLUMNS: [Column; 13] = [
    ("server", "the server, and how many workers it has"),
    ("failed", "requests without a good answer, in all rounds"),
    ("req/s", "good answers a second, median of the rounds"),
    ("req/CPU-s", "good answers for a second of processor time of all its processes"),
    ("95 %", "the interval of that median, by bootstrap"),
    ("p50 ms", "latency: half of the answers came sooner"),
    ("p90", "90 % came sooner"),
    ("p99", "99 % came sooner"),
    ("p99.9", "99.9 % came sooner"),
    ("max", "the longest"),
    ("MiB", "memory of all its processes (PSS: what they share counted once), after both loads"),
    ("KiB each", "memory of one worker"),
    ("load %", "how busy the load was, in percent of one processor"),
];

/// Characters of a server's name with its workers: `apache-prefork × 100` has room.
const NAME: usize = 24;

/// A table for each load, closed and open.
pub(super) fn tables(all: &WebReport) -> Vec<Table> {
    let mut tables = Vec::new();
    for cells in all.cells.chunk_by(|a, b| a.load == b.load) {
        let what = load(&cells[0]);
        let of = cells[0].load;
        let rows = |figures: fn(&WebCell) -> Option<&LoadFigures>, open: bool| {
            cells.iter().filter_map(|cell| Some(row(cell, figures(cell)?, open))).collect()
        };
        if of.requests > 0 {
            tables.push(Table {
                columns: &COLUMNS,
                heading: format!("{what}: {} requests, {} at once", of.requests, of.at_once),
                rows: rows(|cell| cell.closed.as_ref(), false),
            });
        }
        if let (Some(per_second), Some(seconds)) = (of.per_second, of.paced_seconds) {
            tables.push(Table {
                columns: &COLUMNS,
                heading: format!(
                    "{what}: open, {} requests a second for {seconds} s",
                    digits(per_second)
                ),
                rows: rows(|cell| cell.open.as_ref(), true),
            });
        }
    }
    tables
}

fn row(cell: &WebCell, figures: &LoadFigures, open: bool) -> Vec<String> {
    let none = || "-".to_owned();
    let median = |summary: Option<Summary>| summary.map_or_else(none, |one| digits(one.median));
    let latency = |of: fn(&LatencyFigures) -> Summary| median(figures.latency.as_ref().map(of));
    let mut name = shortened(&who(cell), NAME);
    if figures.failed > 0 || (open && is_behind(cell)) {
        name.push_str(" (!)");
    }
    if is_loads_own(figures) {
        name.push_str(" (L)");
    }
    let per_cpu = figures.per_cpu_second;
    let interval = per_cpu.and_then(|one| one.interval);
    vec![
        name,
        figures.failed.to_string(),
        digits(figures.per_second.median),
        median(per_cpu),
        interval.map_or_else(none, |[low, high]| format!("{} – {}", digits(low), digits(high))),
        latency(|one| one.p50_ms),
        latency(|one| one.p90_ms),
        latency(|one| one.p99_ms),
        latency(|one| one.p999_ms),
        latency(|one| one.max_ms),
        cell.memory_kib.map_or_else(none, |one| digits(one.median / 1024.0)),
        cell.worker_memory_kib.map_or_else(none, |one| format!("{:.0}", one.median)),
        format!("{:.0}", figures.load_percent.median),
    ]
}
