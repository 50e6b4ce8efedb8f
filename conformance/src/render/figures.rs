//! What a chat costs, as a table.

use std::fmt::Write;

use crate::bench::Chat;

/// The figures, and the machine that they are of.
pub fn table(chat: &Chat) -> String {
    let mut text = format!(
        "{}\nMedians of {} rounds of {} s. A delivery is a message of 64 bytes that one client has heard.\n",
        chat.platform.line(),
        chat.rounds,
        chat.seconds
    );
    // Writing to a String cannot fail.
    let _ = writeln!(
        text,
        "\n{:>7} {:>8}  {:<12} {:>12} {:>13} {:>9} {:>9} {:>9}",
        "clients", "rate", "server", "CPU µs each", "deliveries/s", "p50 µs", "p99 µs", "max µs"
    );
    let mut last = None;
    for one in &chat.conversations {
        let place = (one.clients, one.rate.map(f64::to_bits));
        if last.is_some_and(|last| last != place) {
            text.push('\n');
        }
        last = Some(place);
        let rate = one.rate.map_or_else(|| "max".to_owned(), |rate| format!("{rate}/s"));
        let [median, high, _, most] = one.latency_us;
        let _ = write!(
            text,
            "{:>7} {rate:>8}  {:<12} {:>12.1} {:>13.0} {median:>9.0} {high:>9.0} {most:>9.0}",
            one.clients, one.server, one.us_per_delivery.median, one.deliveries_per_second.median,
        );
        if one.lost > 0 {
            let _ = write!(text, "  {} lost", one.lost);
        }
        if one.disordered > 0 {
            let _ = write!(text, "  {} out of order", one.disordered);
        }
        text.push('\n');
    }
    let _ = writeln!(
        text,
        "\n{:<12} {:>10} {:>18} {:>16} {:>22}",
        "server", "joins/s", "KiB per client", "KiB alone", "64 idle, CPU ms/s"
    );
    for one in &chat.at_rest {
        let _ = writeln!(
            text,
            "{:<12} {:>10.0} {:>18.0} {:>16.0} {:>22.3}",
            one.server,
            one.joins_per_second.median,
            one.memory_per_client_kib.median,
            one.memory_alone_kib.median,
            one.idle_ms_per_second.median
        );
    }
    let late = chat.conversations.iter().map(|one| one.load_late_ms).fold(0.0, f64::max);
    if late > LATE_MS {
        let _ = writeln!(
            text,
            "\nThe load itself was up to {late:.0} ms late: this machine was too busy for the latencies \
             to mean much."
        );
    }
    text
}

/// A load that is later than that tells more of the machine than of the server.
const LATE_MS: f64 = 20.0;
