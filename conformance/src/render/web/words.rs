//! What was measured, in words.

use crate::bench::WebCell;
use crate::render::figure::plural;

/// A server and its workers.
pub(super) fn who(cell: &WebCell) -> String {
    match cell.workers {
        Some(workers) => format!("{} × {workers}", cell.server),
        None => cell.server.clone(),
    }
}

/// What was asked for.
pub(super) fn load(cell: &WebCell) -> String {
    format!("{}, {}", length(cell.load.bytes), way(cell.load.keep_alive))
}

/// Whether connections are used again.
pub(super) fn way(keep_alive: bool) -> &'static str {
    if keep_alive { "connections kept" } else { "a connection a request" }
}

fn length(bytes: usize) -> String {
    match bytes {
        _ if bytes % 1_000_000 == 0 => format!("{} MB", bytes / 1_000_000),
        _ if bytes % 1000 == 0 => format!("{} kB", bytes / 1000),
        _ => plural(bytes, "byte"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lengths_are_short() {
        let shown = [1, 999, 1000, 143_000, 10_000_000, 1_000_001].map(length);
        assert_eq!(shown, ["1 byte", "999 bytes", "1 kB", "143 kB", "10 MB", "1000001 bytes"]);
    }
}
