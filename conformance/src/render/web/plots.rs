//! The figures over the number of workers, and latencies, as pictures.

use super::words::load;
use crate::bench::{LoadFigures, Summary, WebCell, WebReport};
use crate::render::comparison::Plots;
use crate::render::figure::shown;
use crate::render::plot::{Across, COLOURS, Measured, Plot, Words, plot};

/// A figure of a cell.
type Figure = fn(&WebCell) -> Option<Summary>;

/// Anchor, title, unit, and the figure.
const OVER_WORKERS: [(&str, &str, &str, Figure); 4] = [
    ("cpu", "Answers for a second of processor time", "per CPU-second", |cell| {
        cell.closed.as_ref()?.per_cpu_second
    }),
    ("speed", "Answers a second, closed load", "per second", |cell| {
        Some(cell.closed.as_ref()?.per_second)
    }),
    ("memory", "Memory of all processes", "KiB, PSS", |cell| cell.memory_kib),
    ("paced-cpu", "Answers for a second of processor time, open load", "per CPU-second", |cell| {
        cell.open.as_ref()?.per_cpu_second
    }),
];

const SHARES: Across =
    Across::Names("share of the answers", &["50 %", "90 %", "99 %", "99.9 %", "all"]);

/// The pictures of each load.
pub(super) fn plots(all: &WebReport) -> Vec<Plots> {
    all.cells
        .chunk_by(|a, b| a.load == b.load)
        .enumerate()
        .map(|(number, cells)| Plots {
            heading: Some(load(&cells[0])),
            plots: of_load(all, number, cells),
        })
        .collect()
}

fn of_load(all: &WebReport, number: usize, cells: &[WebCell]) -> Vec<Plot> {
    let mut plots: Vec<Plot> = OVER_WORKERS
        .into_iter()
        .filter_map(|(anchor, title, unit, figure)| {
            let series = of_each(all, |server| {
                let cells = cells.iter().filter(|cell| cell.server == server);
                let points = cells.filter_map(|cell| {
                    let summary = figure(cell)?;
                    Some((workers(cell), summary.median, summary.interval))
                });
                points.collect()
            });
            let anchor = format!("{anchor}-{number}");
            let across = Across::Count("workers");
            plot(Words { anchor, title: title.into(), unit, across }, &series)
        })
        .collect();
    // A server by a manifest stands beside the others in each picture of latencies.
    let mut counts: Vec<Option<usize>> = cells.iter().map(|cell| cell.workers).collect();
    counts.sort_unstable();
    counts.dedup();
    if counts.len() > 1 {
        counts.retain(Option::is_some);
    }
    for count in counts {
        let with = count.map_or_else(String::new, |count| format!(", {count} workers"));
        for (way, open) in [("closed", false), ("open", true)] {
            let series = of_each(all, |server| {
                let is_its = |cell: &&WebCell| {
                    cell.server == server && (cell.workers == count || cell.workers.is_none())
                };
                let cell = cells.iter().find(is_its);
                let figures = cell
                    .and_then(|cell| if open { cell.open.as_ref() } else { cell.closed.as_ref() });
                figures.map_or_else(Vec::new, latencies)
            });
            let words = Words {
                anchor: format!("latency-{way}-{}-{number}", count.unwrap_or(0)),
                title: format!("Latency, {way} load{with}"),
                unit: "ms",
                across: SHARES,
            };
            plots.extend(plot(words, &series));
        }
    }
    plots
}

/// Where a cell stands among others with more or fewer workers.
fn workers(cell: &WebCell) -> usize {
    // One by a manifest has a master, mostly, and a process for each worker.
    cell.workers.unwrap_or(cell.processes.saturating_sub(1).max(1))
}

fn latencies(figures: &LoadFigures) -> Vec<Measured> {
    let Some(latency) = &figures.latency else { return Vec::new() };
    [latency.p50_ms, latency.p90_ms, latency.p99_ms, latency.p999_ms, latency.max_ms]
        .into_iter()
        .zip(1..)
        .map(|(summary, at)| (at, summary.median, summary.interval))
        .collect()
}

fn of_each(
    all: &WebReport,
    points: impl Fn(&str) -> Vec<Measured>,
) -> Vec<(usize, String, Vec<Measured>)> {
    all.servers
        .iter()
        .enumerate()
        .map(|(number, server)| (number % COLOURS, shown(&server.name), points(&server.name)))
        .collect()
}
