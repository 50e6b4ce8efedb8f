//! The facts of an operating system as a table, and those of several side by side.

use std::fmt::Write;

use anstyle::AnsiColor;
use forkproof_report::area;
use minijinja::context;
use serde::Serialize;
use settings::printable;

use super::frame;
use super::look::{BOLD, DIM};
use crate::probe::{Fact, Measured, ProbeReport, Says};

/// As a table: one line for each fact, with a mark where it is not what this system's own
/// manual says.
pub fn table(report: &ProbeReport) -> String {
    let mut text = String::new();
    let width = report.facts.iter().map(|fact| fact.id.len()).max().unwrap_or(0);
    let mut differing = 0;
    // Writing to a String cannot fail.
    let _ = writeln!(text, "{}\n", report.platform.line());
    for fact in &report.facts {
        let colour = match (&fact.measured, fact.as_documented) {
            (Measured::Error { .. }, _) => AnsiColor::Magenta.on_default().bold(),
            (_, Some(false)) => AnsiColor::Yellow.on_default().bold(),
            _ => BOLD,
        };
        let mark = if fact.as_documented == Some(false) { '!' } else { ' ' };
        let _ = writeln!(
            text,
            "{colour}{mark}{colour:#} {:<width$}  {colour}{:<26}{colour:#}  {DIM}{}{DIM:#}",
            fact.id,
            fact.measured.to_string(),
            fact.title
        );
        if fact.as_documented == Some(false) {
            differing += 1;
            if let Some(says) = says_of(fact, &report.platform.system) {
                let _ = writeln!(
                    text,
                    "  {:<width$}  documented: {} ({})",
                    "",
                    says.value.as_deref().unwrap_or("nothing"),
                    says.source
                );
            }
        }
    }
    let _ = writeln!(
        text,
        "\n{} fact{}, {differing} not as documented for {} (!), {} not measured",
        report.facts.len(),
        if report.facts.len() == 1 { "" } else { "s" },
        report.platform.system,
        report.errors()
    );
    text
}

/// What the manual of the system of that name says, if it is one of the two.
fn says_of<'a>(fact: &'a Fact, system: &str) -> Option<&'a Says> {
    match system {
        "Linux" => Some(&fact.linux),
        "FreeBSD" => Some(&fact.freebsd),
        _ => None,
    }
}

/// The facts of several systems, side by side.
#[derive(Debug, Serialize)]
pub struct SideBySide {
    systems: Vec<System>,
    total: usize,
    /// Facts that were measured on two systems at least, with different values.
    differing: Vec<Row>,
    same: Vec<Row>,
}

/// A column.
#[derive(Debug, Serialize)]
struct System {
    label: String,
    name: String,
    below: Vec<String>,
}

/// A fact.
#[derive(Debug, Serialize)]
struct Row {
    id: String,
    area: String,
    /// Whether the row above is of another area.
    first_of_area: bool,
    title: String,
    /// Who says what: the name, the source, the value that it fixes.
    says: Vec<(&'static str, String, Option<String>)>,
    cells: Vec<Cell>,
}

/// What was measured on one system.
#[derive(Debug, Serialize)]
struct Cell {
    text: String,
    /// Which of the row's values it is, in the order in which they appear; `none` where there is
    /// none.
    group: String,
    /// What the system's own manual says, where that is something else.
    documented: Option<String>,
}

impl SideBySide {
    /// Of systems by what they are called; facts that only later files know are appended to their
    /// areas.
    pub fn new(systems: &[(Vec<String>, &ProbeReport)]) -> Self {
        let mut facts: Vec<&Fact> = Vec::new();
        for fact in systems.iter().flat_map(|(_, report)| &report.facts) {
            if facts.iter().any(|known| known.id == fact.id) {
                continue;
            }
            let last = facts.iter().rposition(|known| area(&known.id) == area(&fact.id));
            facts.insert(last.map_or(facts.len(), |at| at + 1), fact);
        }
        let rows = facts.iter().map(|fact| row(fact, systems));
        let (mut differing, mut same): (Vec<Row>, Vec<Row>) =
            rows.partition(|row| row.cells.iter().any(|cell| cell.group == "1"));
        for rows in [&mut differing, &mut same] {
            let mut above = String::new();
            for row in rows {
                row.first_of_area = row.area != above;
                above.clone_from(&row.area);
            }
        }
        let systems = systems.iter().map(|(lines, _)| {
            let (name, below) = lines
                .split_first()
                .map_or((String::new(), &[][..]), |(name, below)| (name.clone(), below));
            System { label: lines.join(", "), name, below: below.to_vec() }
        });
        Self { systems: systems.collect(), total: facts.len(), differing, same }
    }

    /// For a terminal: what differs, with the systems that share a value on one line.
    pub fn text(&self) -> String {
        let mut text = String::new();
        for row in &self.differing {
            let _ = writeln!(text, "{BOLD}{}{BOLD:#}  {DIM}{}{DIM:#}", row.id, row.title);
            let mut values: Vec<(&str, Vec<&str>)> = Vec::new();
            for (cell, system) in row.cells.iter().zip(&self.systems) {
                match values.iter_mut().find(|(value, _)| *value == cell.text) {
                    Some((_, systems)) => systems.push(&system.label),
                    None => values.push((&cell.text, vec![&system.label])),
                }
            }
            for (value, systems) in values {
                let _ = writeln!(text, "    {value}  {DIM}{}{DIM:#}", systems.join("; "));
            }
        }
        let _ = writeln!(
            text,
            "{} of {} facts differ between {} systems",
            self.differing.len(),
            self.total,
            self.systems.len()
        );
        text
    }

    /// Whether no fact differs.
    pub fn is_empty(&self) -> bool {
        self.differing.is_empty()
    }

    /// As a page of its own.
    pub fn html(&self) -> Result<String, String> {
        let style = frame::style(frame::TEXT, self.systems.len());
        frame::html(&[("facts.html", HTML), ("page", PAGE)])
            .and_then(|environment| {
                environment.get_template("page")?.render(context! {
                    version => env!("CARGO_PKG_VERSION"),
                    policy => frame::policy(&style, None),
                    style,
                    facts => self,
                })
            })
            .map_err(|error| format!("the page's template: {error:#}"))
    }

    /// As Markdown.
    pub fn markdown(&self) -> Result<String, String> {
        frame::markdown(&[("page", MARKDOWN)])
            .and_then(|environment| {
                environment.get_template("page")?.render(context! { facts => self })
            })
            .map_err(|error| format!("the facts' template: {error:#}"))
    }
}

/// The part of a page, whose context has them as `facts`.
pub(super) const HTML: &str = include_str!("../../templates/facts.html");
pub(super) const MARKDOWN: &str = include_str!("../../templates/facts.md");
const PAGE: &str = include_str!("../../templates/facts-page.html");

fn row(fact: &Fact, systems: &[(Vec<String>, &ProbeReport)]) -> Row {
    let mut values: Vec<String> = Vec::new();
    let cells = systems.iter().map(|(_, report)| {
        let Some(own) = report.facts.iter().find(|own| own.id == fact.id) else {
            return Cell { text: "not asked".into(), group: "none".into(), documented: None };
        };
        let text = printable(&own.measured.to_string());
        if matches!(own.measured, Measured::Error { .. }) {
            return Cell { text, group: "none".into(), documented: None };
        }
        let group = values.iter().position(|value| *value == text).unwrap_or_else(|| {
            values.push(text.clone());
            values.len() - 1
        });
        let says = says_of(own, &report.platform.system).and_then(|says| says.value.as_deref());
        let documented = says.filter(|_| own.as_documented == Some(false)).map(printable);
        Cell { text, group: group.to_string(), documented }
    });
    let cells = cells.collect();
    let said = |says: &Says| (printable(&says.source), says.value.as_deref().map(printable));
    let (linux, freebsd) = (said(&fact.linux), said(&fact.freebsd));
    Row {
        id: printable(&fact.id),
        area: printable(area(&fact.id)),
        first_of_area: false,
        title: printable(&fact.title),
        says: vec![
            ("POSIX", printable(&fact.posix), None),
            ("Linux", linux.0, linux.1),
            ("FreeBSD", freebsd.0, freebsd.1),
        ],
        cells,
    }
}
