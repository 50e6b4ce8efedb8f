//! All of it together.

use super::{disturbed, plots, remarks, table};
use crate::bench::WebReport;
use crate::render::comparison::{Compared, Comparison, Member};
use crate::render::figure::{self, plural};

impl Compared for WebReport {
    fn comparison(&self) -> Comparison {
        let all = self;
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
