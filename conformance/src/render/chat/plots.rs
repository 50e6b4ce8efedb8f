//! The figures over the number of clients, as pictures.

use super::table::pace;
use crate::bench::{Chat, Conversation, Summary};
use crate::render::comparison::Plots;
use crate::render::figure::shown;
use crate::render::plot::{Across, COLOURS, Measured, Plot, Words, plot};

/// A figure of a conversation, and its interval.
type Figure = fn(&Conversation) -> (f64, Option<[f64; 2]>);

/// Anchor, title, unit, and the figure.
const FIGURES: [((&str, &str, &str), Figure); 4] = [
    (("cpu", "Processor time for a delivery", "µs"), |one| of(one.us_per_delivery)),
    (("speed", "Deliveries", "per second"), |one| of(one.deliveries_per_second)),
    (("middle", "Latency of half of the deliveries", "µs"), |one| (one.latency_us[0], None)),
    (("high", "Latency of 99 % of the deliveries", "µs"), |one| (one.latency_us[1], None)),
];

fn of(summary: Summary) -> (f64, Option<[f64; 2]>) {
    (summary.median, summary.interval)
}

/// Those of each rate.
pub(super) fn plots(all: &Chat) -> Vec<Plots> {
    let mut rates: Vec<Option<f64>> = Vec::new();
    for one in &all.conversations {
        if !rates.contains(&one.rate) {
            rates.push(one.rate);
        }
    }
    rates
        .into_iter()
        .enumerate()
        .map(|(number, rate)| Plots {
            heading: Some(pace(rate)),
            plots: FIGURES
                .into_iter()
                // A steady rate is heard as it is said.
                .filter(|((anchor, ..), _)| rate.is_none() || *anchor != "speed")
                .filter_map(|(words, figure)| draw(all, (number, rate), words, figure))
                .collect(),
        })
        .collect()
}

fn draw(
    all: &Chat,
    (number, rate): (usize, Option<f64>),
    (anchor, title, unit): (&'static str, &'static str, &'static str),
    figure: Figure,
) -> Option<Plot> {
    let series: Vec<(usize, String, Vec<Measured>)> = all
        .servers
        .iter()
        .enumerate()
        .map(|(colour, server)| {
            let is_its = |one: &&Conversation| one.server == server.name && one.rate == rate;
            let points = all.conversations.iter().filter(is_its).map(|one| {
                let (value, interval) = figure(one);
                (one.clients, value, interval)
            });
            (colour % COLOURS, shown(&server.name), points.collect())
        })
        .collect();
    let anchor = format!("{anchor}-{number}");
    plot(Words { anchor, title: title.into(), unit, across: Across::Count("clients") }, &series)
}
