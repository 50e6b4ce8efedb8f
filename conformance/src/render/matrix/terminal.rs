//! The matrix at a terminal: what differs and what fails; the rest is counted.

use std::fmt::Write;

use super::model::{Matrix, Row, Section, plural};
use crate::render::look::{BOLD, DIM, NOT_SELECTED, look, look_of};
use forkproof_report::Entry;
use settings::printable;

/// The columns, with what each came to.
pub fn summary(matrix: &Matrix<'_>) -> String {
    let mut text = String::new();
    // Writing to a String cannot fail.
    let width = matrix.columns.iter().map(|c| c.label.chars().count()).max().unwrap_or(0);
    for (at, column) in matrix.columns.iter().enumerate() {
        let colour = look_of(column.report.conclusion).style;
        let _ = writeln!(
            text,
            "{BOLD}{:>2}{BOLD:#}  {:<width$}  {colour}{}{colour:#}: {}",
            at + 1,
            column.label,
            column.conclusion(),
            column.counts_in_words(),
        );
    }
    for remark in matrix.remarks() {
        let _ = writeln!(text, "{DIM}{remark}{DIM:#}");
    }
    text
}

/// The whole matrix.
pub fn render(matrix: &Matrix<'_>) -> String {
    let mut text = summary(matrix);
    let several = matrix.columns.len() > 1;
    for (heading, rows) in matrix.shown_sections() {
        let _ = writeln!(text, "\n{BOLD}{heading}{BOLD:#} ({})", rows.len());
        let width = rows.iter().map(|row| row.id.len()).max().unwrap_or(0);
        let heads: Vec<String> =
            (1..=matrix.columns.len()).map(|number| format!("{number:<CELL$}")).collect();
        let _ = writeln!(text, "  {DIM}{:width$}  {}{DIM:#}", "", heads.join(" ").trim_end());
        for row in rows {
            line(&mut text, row, width);
        }
    }
    let same = matrix.section(Section::Same).count();
    if same > 0 {
        let rest: Vec<String> = matrix
            .same_by_area()
            .iter()
            .map(|(area, rows)| format!("{area} {}", rows.len()))
            .collect();
        let _ = writeln!(
            text,
            "\n{BOLD}{}{BOLD:#} ({}): {}",
            if several {
                format!("The same on every {}", matrix.noun())
            } else {
                "Everything else".to_owned()
            },
            plural(same, "requirement"),
            rest.join(", ")
        );
    }
    text
}

/// Symbol, space, and the longest word.
const CELL: usize = 14;

fn line(text: &mut String, row: &Row<'_>, width: usize) {
    let _ = write!(text, "  {:<width$} ", row.id);
    for (at, cell) in row.cells.iter().enumerate() {
        let look = cell.map_or(NOT_SELECTED, |entry| look(entry.verdict));
        let colour = look.style;
        let word = format!("{} {}", look.symbol, look.word);
        let width = if at + 1 < row.cells.len() { CELL } else { 0 };
        let _ = write!(text, " {colour}{word:<width$}{colour:#}");
    }
    text.push('\n');
    for (at, entry) in row.entries() {
        if let Some(words) = words(entry) {
            let _ = writeln!(text, "    {DIM}{}: {}{DIM:#}", at + 1, printable(words));
        }
    }
}

/// What a verdict other than pass has to say in one line.
fn words(entry: &Entry) -> Option<&str> {
    entry.actual.as_deref().or(entry.reason.as_deref())
}
