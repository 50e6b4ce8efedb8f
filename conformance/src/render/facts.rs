//! The facts of an operating system as a table.

use std::fmt::Write;

use anstyle::AnsiColor;

use super::look::{BOLD, DIM};
use crate::probe::{Measured, ProbeReport};

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
            let says =
                if report.platform.system == "FreeBSD" { &fact.freebsd } else { &fact.linux };
            let _ = writeln!(
                text,
                "  {:<width$}  documented: {} ({})",
                "",
                says.value.as_deref().unwrap_or("nothing"),
                says.source
            );
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
