//! All of it together.

use super::{disturbed, plots, remarks, table};
use crate::bench::WebReport;
use crate::render::comparison::{Comparison, Member};
use crate::render::document;
use crate::render::figure::{self, plural};

/// As JSON.
///
/// # Errors
/// It is no JSON.
pub fn json(all: &WebReport) -> Result<String, String> {
    document::json(all).map_err(|error| error.to_string())
}

/// For a terminal.
pub fn text(all: &WebReport) -> String {
    comparison(all).text()
}

/// As Markdown.
pub fn markdown(all: &WebReport) -> String {
    comparison(all).markdown()
}

/// As a page.
///
/// # Errors
/// The template is wrong.
pub fn html(all: &WebReport) -> Result<String, String> {
    comparison(all).html()
}

fn comparison(all: &WebReport) -> Comparison {
    Comparison {
        title: "Web servers side by side",
        started: all.started.clone(),
        about: about(all),
        remarks: remarks::remarks(all),
        kind: "Servers",
        members: all
            .servers
            .iter()
            .map(|server| Member {
                name: server.name.clone(),
                about: about_server(&server.about, &server.version),
                is_command: false,
            })
            .collect(),
        tables: table::tables(all).into_iter().chain(disturbed::tables(all)).collect(),
        plots_first: false,
        plots: plots::plots(all),
        plots_about: "Medians of the rounds, with their 95 % intervals as vertical bars. The vertical \
                      axes are logarithmic, and so is the number of workers.",
    }
}

/// What a server is, in a line.
fn about_server(about: &str, version: &str) -> String {
    match version {
        "" => about.to_owned(),
        version => format!("{about} ({version})"),
    }
}

/// What was measured, where, and how.
fn about(all: &WebReport) -> Vec<String> {
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
