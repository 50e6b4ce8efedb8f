//! The figures over the number of connections, as pictures.

use crate::bench::{Cell, Paradigms, Summary};
use crate::render::figure::shown;
use crate::render::plot::{Across, COLOURS, Measured, Plot, Words, plot};

/// A figure of a cell.
type Figure = fn(&Cell) -> Option<Summary>;

/// Anchor, title, unit, and the figure.
const PLOTS: [((&str, &str, &str), Figure); 5] = [
    (("cpu", "Processor time", "ms per second"), |cell| Some(cell.processor_ms_per_second)),
    (("byte", "Processor time for a byte", "ns"), |cell| cell.ns_per_byte),
    (("switches", "Voluntary context switches", "per second"), |cell| cell.voluntary_per_second),
    (("memory", "Memory", "KiB, PSS"), |cell| cell.memory_kib),
    (("joining", "Processor time for letting a client in", "µs"), |cell| Some(cell.joining_us)),
];

/// All of them.
pub(super) fn plots(all: &Paradigms) -> Vec<Plot> {
    PLOTS.into_iter().filter_map(|(words, figure)| draw(all, words, figure)).collect()
}

fn draw(
    all: &Paradigms,
    (anchor, title, unit): (&'static str, &'static str, &'static str),
    figure: Figure,
) -> Option<Plot> {
    let series: Vec<(usize, String, Vec<Measured>)> = all
        .sinks
        .iter()
        .enumerate()
        .map(|(number, sink)| {
            let cells = all.cells.iter().filter(|cell| cell.sink == sink.name);
            let points = cells.filter_map(|cell| {
                let summary = figure(cell)?;
                Some((cell.connections, summary.median, summary.interval))
            });
            (number % COLOURS, shown(&sink.name), points.collect())
        })
        .collect();
    let across = Across::Count("connections");
    plot(Words { anchor: anchor.into(), title: title.into(), unit, across }, &series)
}
