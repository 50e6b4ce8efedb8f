//! The matrix as Markdown, for the summary of a CI job: counts, differences, failures.

use std::fmt::Write;

use super::model::{Matrix, Row, Section};
use crate::render::escape::markdown as cell;
use crate::render::look::{CAUSE, FIX, NOT_SELECTED, look};
use settings::printable;

/// The matrix as Markdown.
pub fn render(matrix: &Matrix<'_>) -> String {
    let mut text = String::new();
    // Writing to a String cannot fail.
    let _ = writeln!(text, "## {}\n", cell(&matrix.title));
    let summary: Vec<String> = matrix.summary().iter().map(|sentence| cell(sentence)).collect();
    let _ = writeln!(text, "{}\n", summary.join(" "));
    for remark in matrix.remarks() {
        let _ = writeln!(text, "> {}\n", cell(&remark));
    }
    let _ = writeln!(text, "|   | {} | result | counts |\n|--:|---|---|---|", matrix.noun());
    for (at, column) in matrix.columns.iter().enumerate() {
        let counts: Vec<String> = column
            .counts()
            .iter()
            .map(|(look, count)| format!("{} {count} {}", look.symbol, look.word))
            .collect();
        let _ = writeln!(
            text,
            "| {} | {} | {} | {} |",
            at + 1,
            cell(&column.label),
            column.conclusion(),
            counts.join(", ")
        );
    }
    let several = matrix.columns.len() > 1;
    for (heading, rows) in matrix.shown_sections() {
        let _ = writeln!(text, "\n### {heading} ({})\n", rows.len());
        table(&mut text, matrix, &rows);
        findings(&mut text, matrix, &rows);
    }
    if several && matrix.section(Section::Differs).next().is_none() {
        let _ = writeln!(text, "\nNothing differs between the {}s.", matrix.noun());
    }
    let areas = matrix.same_by_area();
    if !areas.is_empty() {
        let heading = if several {
            format!("The same on every {}", matrix.noun())
        } else {
            "The rest".into()
        };
        let count: usize = areas.iter().map(|(_, rows)| rows.len()).sum();
        let _ = writeln!(text, "\n<details><summary>{heading} ({count})</summary>\n");
        let rows: Vec<&Row<'_>> = areas.into_iter().flat_map(|(_, rows)| rows).collect();
        table(&mut text, matrix, &rows);
        let _ = writeln!(text, "\n</details>");
    }
    text
}

fn table(text: &mut String, matrix: &Matrix<'_>, rows: &[&Row<'_>]) {
    let heads: Vec<String> = (1..=matrix.columns.len()).map(|n| n.to_string()).collect();
    let _ = writeln!(text, "| requirement | {} |", heads.join(" | "));
    let _ = writeln!(text, "|---|{}", "---|".repeat(matrix.columns.len()));
    for row in rows {
        let _ = write!(text, "| {} |", cell(row.id));
        for entry in &row.cells {
            let look = entry.map_or(NOT_SELECTED, |entry| look(entry.verdict));
            let _ = write!(text, " {} {} |", look.symbol, look.word);
        }
        text.push('\n');
    }
}

fn findings(text: &mut String, matrix: &Matrix<'_>, rows: &[&Row<'_>]) {
    text.push('\n');
    for row in rows {
        let Some(first) = row.first() else { continue };
        let _ = writeln!(
            text,
            "- **{}** ({}): {}",
            cell(row.id),
            first.level.word(),
            cell(&printable(&first.title))
        );
        for (at, entry) in row.entries() {
            let said = [
                ("expected", &entry.expected),
                ("actual", &entry.actual),
                ("reason", &entry.reason),
            ];
            let said: Vec<String> = said
                .into_iter()
                .filter_map(|(name, value)| {
                    Some(format!("{name}: {}", cell(&printable(value.as_ref()?))))
                })
                .collect();
            if !said.is_empty() {
                let _ = writeln!(
                    text,
                    "  - {}, {}: {}",
                    cell(&matrix.columns[at].label),
                    look(entry.verdict).word,
                    said.join("; ")
                );
            }
        }
        let advice = row.entries().find_map(|(_, entry)| Some((&entry.trap, entry.fix.as_ref()?)));
        if let Some((trap, fix)) = advice {
            if let Some(trap) = trap {
                let _ = writeln!(text, "  - {CAUSE}: {}", cell(&printable(trap)));
            }
            let _ = writeln!(text, "  - {FIX}: {}", cell(&printable(fix)));
        }
    }
}
