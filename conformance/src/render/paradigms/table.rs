//! The figures as tables.

use std::fmt::Write;

use forkproof_sinks::FLOOR;
use settings::printable;

use crate::bench::{Cell, Paradigms, Summary};
use crate::render::figure::{self, digits, markdown_table, plural, shown};
use crate::render::{document, escape};

/// The columns, and what they hold.
const COLUMNS: [(&str, &str); 9] = [
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

/// As JSON.
pub fn json(all: &Paradigms) -> Result<String, String> {
    document::json(all).map_err(|error| error.to_string())
}

/// For a terminal.
pub fn text(all: &Paradigms) -> String {
    let mut text = String::new();
    for line in about(all) {
        let _ = writeln!(text, "{}", printable(&line));
    }
    for point in points(all) {
        let rows = rows(all, point);
        let width = rows.iter().map(|row| row[0].chars().count()).max().unwrap_or(0);
        let _ = writeln!(text, "\n{}", heading(point));
        let line = |cells: &[String]| {
            let [sink, cpu, interval, rest @ ..] = cells else { return String::new() };
            let mut line = format!("{sink:width$} {cpu:>9} {interval:>17}");
            for (cell, width) in rest.iter().zip([8, 6, 8, 9, 13, 9]) {
                let _ = write!(line, " {cell:>width$}");
            }
            line
        };
        let _ = writeln!(text, "{}", line(&COLUMNS.map(|(head, _)| head.to_owned())));
        for row in rows {
            let _ = writeln!(text, "{}", line(&row));
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
pub fn markdown(all: &Paradigms) -> String {
    let mut text = "# What a process per client costs\n\n".to_owned();
    for line in about(all) {
        let _ = writeln!(text, "{}  ", escape::markdown(&line));
    }
    for point in points(all) {
        text.push_str(&markdown_table(&heading(point), &COLUMNS, &rows(all, point)));
    }
    text.push('\n');
    for remark in remarks(all) {
        let _ = writeln!(text, "- {}", escape::markdown(&remark));
    }
    text.push_str("\nColumns: ");
    let columns = COLUMNS.map(|(head, about)| format!("{}: {about}", escape::markdown(head)));
    text.push_str(&columns[1..].join("; "));
    text.push_str(".\n\nSinks:\n\n");
    for sink in &all.sinks {
        let about = escape::markdown(&sink.about);
        let _ = writeln!(text, "- {}: {about}", escape::markdown(&sink.name));
    }
    text
}

/// Heads and meanings of the columns.
pub(super) fn columns() -> &'static [(&'static str, &'static str)] {
    &COLUMNS
}

/// What was measured, where, and how.
pub(super) fn about(all: &Paradigms) -> Vec<String> {
    let machine = &all.machine;
    let mut lines = vec![all.platform.line()];
    lines.push(figure::machine(machine));
    lines.push(format!(
        "load: {} kbit/s a connection in writes of {} bytes, {} s, {}, all sinks in turn",
        all.load.bits_per_second as f64 / 1e3,
        all.load.message_bytes,
        all.seconds,
        plural(all.rounds, "round"),
    ));
    lines.push(format!("processor time by {}", all.accounting));
    lines
}

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
        remarks.push(format!(
            "{} say little about variation: 10 are the default",
            plural(all.rounds, "round")
        ));
    }
    remarks
}

/// The numbers of connections.
pub(super) fn points(all: &Paradigms) -> Vec<usize> {
    let mut points: Vec<usize> = all.cells.iter().map(|cell| cell.connections).collect();
    points.dedup();
    points
}

pub(super) fn heading(point: usize) -> String {
    plural(point, "connection")
}

/// The cells of one number of connections, as [`COLUMNS`] has them.
pub(super) fn rows(all: &Paradigms, point: usize) -> Vec<[String; 9]> {
    let cells = || all.cells.iter().filter(move |cell| cell.connections == point);
    let floor = cells().find(|cell| cell.sink == FLOOR);
    let floor = floor.map(|cell| cell.processor_ms_per_second.median);
    cells().map(|cell| row(cell, floor)).collect()
}

fn row(cell: &Cell, floor: Option<f64>) -> [String; 9] {
    let cpu = &cell.processor_ms_per_second;
    let none = || "-".to_owned();
    let median = |summary: Option<Summary>| summary.map_or_else(none, |one| digits(one.median));
    let switches = match (cell.voluntary_per_second, cell.involuntary_per_second) {
        (Some(own), Some(others)) => format!("{:.0} + {:.0}", own.median, others.median),
        _ => none(),
    };
    let is_smaller = cell.behind > 0 || cell.unmade_percent.is_some();
    let behind = if is_smaller { " (!)" } else { "" };
    [
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
