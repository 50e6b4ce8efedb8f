//! All of it together.

use super::{plots, remarks, table};
use crate::bench::Chat;
use crate::render::comparison::{Compared, Comparison, Member};
use crate::render::figure::{self, plural};

impl Compared for Chat {
    fn comparison(&self) -> Comparison {
        let all = self;
        Comparison {
            title: "Chats side by side",
            started: all.started.clone(),
            about: about(all),
            remarks: remarks::remarks(all),
            kind: "Servers",
            members: all
                .servers
                .iter()
                .map(|server| Member {
                    name: server.name.clone(),
                    about: server.about.clone(),
                    is_command: false,
                })
                .collect(),
            tables: table::tables(all),
            plots_first: true,
            plots: plots::plots(all),
            plots_about: "Medians over the number of clients, with their 95 % intervals as vertical bars. \
                          Both axes are logarithmic.",
        }
    }
}

/// What was measured, where, and how.
fn about(all: &Chat) -> Vec<String> {
    vec![
        all.platform.line(),
        figure::machine(&all.machine),
        format!(
            "load: all clients speak and all hear each other, messages of {} bytes, {} s, {}, all \
             servers in turn",
            all.message_bytes,
            all.seconds,
            plural(all.rounds, "round"),
        ),
        "a delivery is a message that one client has heard; processor time by the clocks of all the \
         server's processes"
            .into(),
    ]
}
