//! All of it together.

use super::{plots, remarks, table};
use crate::bench::Paradigms;
use crate::render::comparison::{Compared, Comparison, Member, Plots};
use crate::render::figure::{self, plural};

impl Compared for Paradigms {
    fn comparison(&self) -> Comparison {
        let all = self;
        Comparison {
            title: "What a process per client costs",
            started: all.started.clone(),
            about: about(all),
            remarks: remarks::remarks(all),
            kind: "Sinks",
            members: all
                .sinks
                .iter()
                .map(|sink| Member {
                    name: sink.name.clone(),
                    about: sink.about.clone(),
                    is_command: sink.peer,
                })
                .collect(),
            tables: table::tables(all),
            plots_first: true,
            plots: vec![Plots { heading: None, plots: plots::plots(all) }],
            plots_about: "Medians over the number of connections, with their 95 % intervals as vertical \
                          bars. Both axes are logarithmic.",
        }
    }
}

/// What was measured, where, and how.
fn about(all: &Paradigms) -> Vec<String> {
    let machine = &all.machine;
    let mut lines = vec![all.platform.line()];
    lines.push(figure::machine(machine));
    lines.push(format!(
        "load: {} kbit/s a connection in writes of {} bytes, {} s, {}, all sinks in turn",
        all.load.bits_per_second as f64 / 1e3,
        all.load.message_bytes,
        all.seconds,
        plural(all.rounds, "round"),
    ));
    lines.push(format!("processor time by {}", all.accounting));
    lines
}
