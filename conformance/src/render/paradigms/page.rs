//! The figures as one self-contained page: no other file, no request, no script.

use serde::Serialize;
use settings::printable;

use super::table;
use crate::bench::{Cell, Paradigms, Summary};
use crate::render::figure::shown as shorten;
use crate::render::frame;
use crate::render::plot::{self, Across, COLOURS, Measured, Plot, Words, plot};

const TEMPLATE: &str = include_str!("../../../templates/paradigms.html");

/// What the template knows.
#[derive(Serialize)]
struct Page {
    version: &'static str,
    policy: String,
    style: String,
    started: String,
    about: Vec<String>,
    remarks: Vec<String>,
    sinks: Vec<SinkView>,
    plots: Vec<Plot>,
    columns: &'static [(&'static str, &'static str)],
    tables: Vec<Table>,
}

#[derive(Serialize)]
struct SinkView {
    name: String,
    about: String,
    peer: bool,
    number: usize,
}

#[derive(Serialize)]
struct Table {
    heading: String,
    rows: Vec<[String; 9]>,
}

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

/// Renders it.
///
/// # Errors
/// The template is wrong.
pub fn html(all: &Paradigms) -> Result<String, String> {
    let wrong = |error: minijinja::Error| format!("the page's template: {error:#}");
    let style = frame::style(plot::STYLE, table::columns().len() - 1);
    let page = Page {
        version: env!("CARGO_PKG_VERSION"),
        policy: frame::policy(&style, None),
        style,
        started: all.started.clone(),
        about: shown(table::about(all)),
        remarks: shown(table::remarks(all)),
        sinks: all
            .sinks
            .iter()
            .enumerate()
            .map(|(number, sink)| SinkView {
                name: shorten(&sink.name),
                about: printable(&sink.about),
                peer: sink.peer,
                number: number % COLOURS,
            })
            .collect(),
        plots: PLOTS.into_iter().filter_map(|(words, figure)| draw(all, words, figure)).collect(),
        columns: table::columns(),
        tables: table::points(all)
            .into_iter()
            .map(|point| Table { heading: table::heading(point), rows: table::rows(all, point) })
            .collect(),
    };
    frame::html(&[("plots.html", plot::TEMPLATE), ("page", TEMPLATE)])
        .and_then(|environment| environment.get_template("page")?.render(page))
        .map_err(wrong)
}

fn shown(lines: Vec<String>) -> Vec<String> {
    lines.iter().map(|line| printable(line)).collect()
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
            (number % COLOURS, shorten(&sink.name), points.collect())
        })
        .collect();
    let across = Across::Count("connections");
    plot(Words { anchor: anchor.into(), title: title.into(), unit, across }, &series)
}
