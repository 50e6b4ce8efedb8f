//! What a machine lacks, as text.

use std::fmt::Write;

use anstyle::{AnsiColor, Style};
use settings::printable;

use super::look::{BOLD, DIM};

const GOOD: Style = AnsiColor::Green.on_default();
const BAD: Style = AnsiColor::Red.on_default().bold();

/// What was found out about a machine.
pub struct Diagnosis {
    /// The system in a line.
    pub platform: String,
    /// How many requirements there are.
    pub total: usize,
    /// How many of them can be checked here.
    pub possible: usize,
    /// What they need.
    pub checks: Vec<Item>,
    /// Whether this program can be put under a personality.
    pub personalities: Item,
    /// What machines take; empty in a program without them.
    pub machines: Vec<Item>,
}

/// One thing that may be missing.
pub struct Item {
    name: String,
    purpose: String,
    place: String,
    missing: Option<(String, Option<String>)>,
}

impl Item {
    /// It is here: what it serves, and where it is.
    pub fn here(name: &str, purpose: &str, place: &str) -> Self {
        Self {
            name: name.to_owned(),
            purpose: purpose.to_owned(),
            place: place.to_owned(),
            missing: None,
        }
    }

    /// It is missing: why, and what mends it, if anything does.
    pub fn missing(self, why: &str, remedy: Option<String>) -> Self {
        Self { missing: Some((why.to_owned(), remedy)), ..self }
    }
}

/// The whole of it.
pub fn render(diagnosis: &Diagnosis) -> String {
    let mut text = format!("{}\n\n", diagnosis.platform);
    let heading = |text: &mut String, words: &str| {
        let _ = writeln!(text, "{BOLD}{words}{BOLD:#}");
    };
    heading(
        &mut text,
        &format!(
            "Checks: {} of {} requirements can be checked here",
            diagnosis.possible, diagnosis.total
        ),
    );
    items(&mut text, &diagnosis.checks);
    text.push('\n');
    heading(&mut text, "Personalities: other platforms' behaviour on this machine");
    items(&mut text, std::slice::from_ref(&diagnosis.personalities));
    if !diagnosis.machines.is_empty() {
        text.push('\n');
        heading(&mut text, "Machines: other systems, with `forkproof vm`");
        items(&mut text, &diagnosis.machines);
    }
    text
}

fn items(text: &mut String, items: &[Item]) {
    let width = items.iter().map(|item| item.name.chars().count()).max().unwrap_or(0);
    for Item { name, purpose, place, missing } in items {
        // Writing to a String cannot fail.
        match missing {
            None => {
                let place = if place.is_empty() { purpose } else { place };
                let place = printable(place);
                let _ =
                    writeln!(text, "  {GOOD}ok{GOOD:#}       {name:<width$}  {DIM}{place}{DIM:#}");
            }
            Some((why, remedy)) => {
                let _ = writeln!(text, "  {BAD}missing{BAD:#}  {name:<width$}  {purpose}");
                if !why.is_empty() {
                    let _ = writeln!(text, "             {}", printable(why));
                }
                if let Some(remedy) = remedy {
                    let _ = writeln!(
                        text,
                        "             to get it: {BOLD}{}{BOLD:#}",
                        printable(remedy)
                    );
                }
            }
        }
    }
}
