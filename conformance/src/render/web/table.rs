//! The figures as tables: one for each load, a row for each server with each number of workers.

use std::fmt::Write;

use settings::printable;

use super::disturbed;
use super::remarks::{is_behind, is_loads_own, remarks};
use super::words::{load, who};
use crate::bench::{LatencyFigures, LoadFigures, Summary, WebCell, WebReport};
use crate::render::figure::{self, digits, markdown_table, plural, shortened};
use crate::render::{document, escape};

/// The columns, and what they hold.
pub(super) const COLUMNS: [(&str, &str); COUNT] = [
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
const COUNT: usize = 13;
/// Of all columns but the first, at a terminal.
const WIDTHS: [usize; COUNT - 1] = [6, 7, 9, 15, 7, 7, 7, 7, 7, 7, 8, 6];

/// Characters of a server's name with its workers: `apache-prefork × 100` has room.
const NAME: usize = 24;

/// A table.
pub(super) struct Table {
    pub(super) heading: String,
    pub(super) rows: Vec<[String; COUNT]>,
}

/// As JSON.
pub fn json(all: &WebReport) -> Result<String, String> {
    document::json(all).map_err(|error| error.to_string())
}

/// For a terminal.
pub fn text(all: &WebReport) -> String {
    let mut text = String::new();
    for line in about(all) {
        let _ = writeln!(text, "{}", printable(&line));
    }
    for table in tables(all) {
        let width = table.rows.iter().map(|row| row[0].chars().count()).max().unwrap_or(0);
        let _ = writeln!(text, "\n{}", table.heading);
        let line = |cells: &[String]| {
            let Some((server, rest)) = cells.split_first() else { return String::new() };
            let mut line = format!("{server:width$}");
            for (cell, width) in rest.iter().zip(WIDTHS) {
                let _ = write!(line, " {cell:>width$}");
            }
            line
        };
        let _ = writeln!(text, "{}", line(&COLUMNS.map(|(head, _)| head.to_owned())));
        for row in &table.rows {
            let _ = writeln!(text, "{}", line(row));
        }
    }
    for table in disturbed::tables(all) {
        let width = table.rows.iter().map(|row| row[0].chars().count()).max().unwrap_or(0);
        let _ = writeln!(text, "\n{}", table.heading);
        let heads = disturbed::COLUMNS.map(|(head, _)| head.to_owned()).to_vec();
        for row in std::iter::once(&heads).chain(&table.rows) {
            let _ = write!(text, "{:width$}", row[0]);
            for (cell, width) in row[1..].iter().zip(disturbed::WIDTHS) {
                let _ = write!(text, " {cell:>width$}");
            }
            text.push('\n');
        }
    }
    let remarks = remarks(all);
    if !remarks.is_empty() {
        text.push('\n');
    }
    for remark in remarks {
        let _ = writeln!(text, "{}", printable(&remark));
    }
    text
}

/// As Markdown.
pub fn markdown(all: &WebReport) -> String {
    let mut text = "# Web servers side by side\n\n".to_owned();
    for line in about(all) {
        let _ = writeln!(text, "{}  ", escape::markdown(&line));
    }
    for table in tables(all) {
        text.push_str(&markdown_table(&table.heading, &COLUMNS, &table.rows));
    }
    for table in disturbed::tables(all) {
        text.push_str(&markdown_table(&table.heading, &disturbed::COLUMNS, &table.rows));
    }
    text.push('\n');
    for remark in remarks(all) {
        let _ = writeln!(text, "- {}", escape::markdown(&remark));
    }
    text.push_str("\nColumns: ");
    let columns: Vec<String> = columns(all)
        .iter()
        .map(|(head, about)| format!("{}: {about}", escape::markdown(head)))
        .collect();
    text.push_str(&columns[1..].join("; "));
    text.push_str(".\n\nServers:\n\n");
    for server in &all.servers {
        let words = format!("{}: {}", server.name, about_server(&server.about, &server.version));
        let _ = writeln!(text, "- {}", escape::markdown(&words));
    }
    text
}

/// The columns of the tables that there are.
pub(super) fn columns(all: &WebReport) -> &'static [(&'static str, &'static str)] {
    if all.cells.is_empty() { &disturbed::COLUMNS } else { &COLUMNS }
}

/// What a server is, in a line.
pub(super) fn about_server(about: &str, version: &str) -> String {
    match version {
        "" => about.to_owned(),
        version => format!("{about} ({version})"),
    }
}

/// What was measured, where, and how.
pub(super) fn about(all: &WebReport) -> Vec<String> {
    let machine = &all.machine;
    let mut lines = vec![all.platform.line()];
    lines.push(figure::machine(machine));
    lines.push(format!(
        "load: one thread, every byte of each answer compared; {}, all servers in turn",
        plural(all.rounds, "round"),
    ));
    lines.push(format!("processor time by {}", all.accounting));
    lines
}

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
                heading: format!("{what}: {} requests, {} at once", of.requests, of.at_once),
                rows: rows(|cell| cell.closed.as_ref(), false),
            });
        }
        if let (Some(per_second), Some(seconds)) = (of.per_second, of.paced_seconds) {
            tables.push(Table {
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

fn row(cell: &WebCell, figures: &LoadFigures, open: bool) -> [String; COUNT] {
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
    [
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
