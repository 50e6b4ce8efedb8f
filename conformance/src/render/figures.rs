//! A server's speed and cost as a table.

use std::fmt::Write;

use forkproof_report::Facts;

use crate::bench::Figures;

/// The figures, and the machine that they are of.
pub fn table(figures: &Figures, facts: &Facts) -> String {
    let mut text = format!("{}\n\n", facts.line());
    // Writing to a String cannot fail.
    let _ = writeln!(
        text,
        "{:>8} {:>14} {:>18} {:>12} {:>12}",
        "clients", "deliveries/s", "deliveries/CPU-s", "p50 (µs)", "p99 (µs)"
    );
    for crowd in &figures.crowds {
        let _ = writeln!(
            text,
            "{:>8} {:>14.0} {:>18.0} {:>12.0} {:>12.0}",
            crowd.clients,
            crowd.delivered_per_second,
            crowd.delivered_per_cpu_second,
            crowd.latency_p50_us,
            crowd.latency_p99_us
        );
    }
    let _ = writeln!(text, "\njoins per second              {:>10.0}", figures.joins_per_second);
    let _ = writeln!(text, "memory per client (PSS, KiB)  {:>10.0}", figures.memory_per_client_kib);
    let _ = writeln!(text, "memory of the daemon (KiB)    {:>10.0}", figures.daemon_memory_kib);
    let _ = writeln!(text, "64 idle clients (CPU ms/s)    {:>10.3}", figures.idle_ms_per_second);
    text
}
