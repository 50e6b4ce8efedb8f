//! The figures as tables: one for each number of clients and each rate, and one of what servers take
//! while nobody speaks.

use forkproof_sinks::CHAT_FLOOR;

use crate::bench::{AtRest, Chat, Conversation, Summary};
use crate::render::comparison::{Column, Table};
use crate::render::figure::{digits, plural, shown};

const TALKING: [Column; 10] = [
    ("server", "the server"),
    ("CPU µs", "processor time of all its processes for a delivery, median of the rounds"),
    ("95 %", "the interval of that median, by bootstrap"),
    ("× floor", "the median over that of `floor`"),
    ("deliveries/s", "messages heard in a second, by all clients together"),
    ("p50 µs", "latency from when a message was to be said: half of the deliveries came sooner"),
    ("p99", "99 % came sooner"),
    ("p99.9", "99.9 % came sooner"),
    ("max", "the longest"),
    ("lost", "deliveries that did not come, or came out of order or twice, in all rounds"),
];

const RESTING: [Column; 5] = [
    ("server", "the server"),
    ("joins/s", "clients let in one after the other, in a second"),
    ("KiB a client", "memory of all its processes for one of 64 clients (PSS)"),
    ("KiB alone", "memory without clients"),
    ("idle ms/s", "processor time with 64 silent clients, in ms per second"),
];

/// All tables.
pub(super) fn tables(all: &Chat) -> Vec<Table> {
    let is_alike = |a: &Conversation, b: &Conversation| a.clients == b.clients && a.rate == b.rate;
    let talking = all.conversations.chunk_by(is_alike).map(|alike| {
        let floor = alike.iter().find(|one| one.server == CHAT_FLOOR);
        let floor = floor.map(|one| one.us_per_delivery.median);
        Table {
            heading: place(&alike[0]),
            columns: &TALKING,
            rows: alike.iter().map(|one| talking_row(one, floor)).collect(),
        }
    });
    let resting = (!all.at_rest.is_empty()).then(|| Table {
        heading: "Nobody speaks".into(),
        columns: &RESTING,
        rows: all.at_rest.iter().map(resting_row).collect(),
    });
    talking.chain(resting).collect()
}

/// How many talk, and how much.
pub(super) fn place(one: &Conversation) -> String {
    format!("{}, {}", plural(one.clients, "client"), pace(one.rate))
}

/// How much each says.
pub(super) fn pace(rate: Option<f64>) -> String {
    match rate {
        Some(rate) => format!("{rate} messages a second of each"),
        None => "as many messages as all hear".into(),
    }
}

fn talking_row(one: &Conversation, floor: Option<f64>) -> Vec<String> {
    let none = || "-".to_owned();
    let cost = &one.us_per_delivery;
    let wrong = one.lost + one.disordered;
    let mark = if wrong > 0 { " (!)" } else { "" };
    let mut row = vec![
        format!("{}{mark}", shown(&one.server)),
        digits(cost.median),
        cost.interval
            .map_or_else(none, |[low, high]| format!("{} – {}", digits(low), digits(high))),
        floor
            .filter(|floor| *floor > 0.0)
            .map_or_else(none, |floor| format!("{:.2}", cost.median / floor)),
        digits(one.deliveries_per_second.median),
    ];
    row.extend(one.latency_us.map(|latency| format!("{latency:.0}")));
    row.push(wrong.to_string());
    row
}

fn resting_row(one: &AtRest) -> Vec<String> {
    let median = |summary: &Summary| digits(summary.median);
    let none = || "-".to_owned();
    vec![
        shown(&one.server),
        median(&one.joins_per_second),
        one.memory_per_client_kib.as_ref().map_or_else(none, median),
        one.memory_alone_kib.as_ref().map_or_else(none, median),
        median(&one.idle_ms_per_second),
    ]
}
