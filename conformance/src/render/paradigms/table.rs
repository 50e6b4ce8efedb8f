//! The figures as tables: one for each number of connections.

use forkproof_sinks::FLOOR;

use crate::bench::{Cell, Paradigms, Summary};
use crate::render::comparison::{Column, Table};
use crate::render::figure::{digits, plural, shown};

/// The columns, and what they hold.
const COLUMNS: [Column; 9] = [
    ("sink", "the design or the program"),
    ("CPU ms/s", "processor time of all its processes, median of the rounds"),
    ("95 %", "the interval of that median, by bootstrap"),
    ("mean", "the mean of the rounds"),
    ("CV %", "coefficient of variation: standard deviation over mean"),
    ("× floor", "the median over that of the sink `null`"),
    ("µs/write", "processor time for each write of a client"),
    ("switches/s", "context switches: voluntary + others"),
    ("PSS KiB", "memory of all its processes, what they share counted once"),
];

/// A table for each number of connections.
pub(super) fn tables(all: &Paradigms) -> Vec<Table> {
    points(all)
        .into_iter()
        .map(|point| Table {
            heading: plural(point, "connection"),
            columns: &COLUMNS,
            rows: rows(all, point),
        })
        .collect()
}

/// The numbers of connections.
fn points(all: &Paradigms) -> Vec<usize> {
    let mut points: Vec<usize> = all.cells.iter().map(|cell| cell.connections).collect();
    points.dedup();
    points
}

/// The cells of one number of connections, as [`COLUMNS`] has them.
fn rows(all: &Paradigms, point: usize) -> Vec<Vec<String>> {
    let cells = || all.cells.iter().filter(move |cell| cell.connections == point);
    let floor = cells().find(|cell| cell.sink == FLOOR);
    let floor = floor.map(|cell| cell.processor_ms_per_second.median);
    cells().map(|cell| row(cell, floor)).collect()
}

fn row(cell: &Cell, floor: Option<f64>) -> Vec<String> {
    let cpu = &cell.processor_ms_per_second;
    let none = || "-".to_owned();
    let median = |summary: Option<Summary>| summary.map_or_else(none, |one| digits(one.median));
    let switches = match (cell.voluntary_per_second, cell.involuntary_per_second) {
        (Some(own), Some(others)) => format!("{:.0} + {:.0}", own.median, others.median),
        _ => none(),
    };
    let is_smaller = cell.behind > 0 || cell.unmade_percent.is_some();
    let behind = if is_smaller { " (!)" } else { "" };
    vec![
        format!("{}{behind}", shown(&cell.sink)),
        digits(cpu.median),
        cpu.interval.map_or_else(none, |[low, high]| format!("{} – {}", digits(low), digits(high))),
        digits(cpu.mean),
        cpu.variation.map_or_else(none, |variation| digits(variation * 100.0)),
        floor
            .filter(|floor| *floor > 0.0)
            .map_or_else(none, |floor| format!("{:.2}", cpu.median / floor)),
        median(cell.us_per_message),
        switches,
        cell.memory_kib.map_or_else(none, |one| format!("{:.0}", one.median)),
    ]
}
