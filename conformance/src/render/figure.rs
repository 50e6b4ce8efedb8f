//! Figures and names in tables and pictures.

use settings::printable;

use crate::bench::Machine;

/// A name that somebody else chose, short enough for a column.
pub(super) fn shown(name: &str) -> String {
    shortened(name, 16)
}

/// The same, of at most `width` characters.
pub(super) fn shortened(name: &str, width: usize) -> String {
    let name = printable(name);
    match name.chars().count() > width {
        true => name.chars().take(width - 1).chain(['…']).collect(),
        false => name,
    }
}

/// With three digits that say something.
pub(super) fn digits(value: f64) -> String {
    match value.abs() {
        large if large >= 100.0 => format!("{value:.0}"),
        large if large >= 10.0 => format!("{value:.1}"),
        large if large >= 1.0 => format!("{value:.2}"),
        _ => format!("{value:.3}"),
    }
}

/// A count and its noun.
pub(super) fn plural(count: usize, noun: &str) -> String {
    format!("{count} {noun}{}", if count == 1 { "" } else { "s" })
}

/// That there were few rounds.
pub(super) fn few_rounds(rounds: usize, default: usize) -> String {
    let says = if rounds == 1 { "says" } else { "say" };
    let rounds = plural(rounds, "round");
    format!("{rounds} {says} little about variation: {default} are the default")
}

/// What a measurement was made on.
pub(super) fn machine(machine: &Machine) -> String {
    let governor = machine.governor.as_deref().unwrap_or("not told");
    let processor = machine.processor.as_deref().unwrap_or("not told");
    format!("processor: {processor}; frequency governor: {governor}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn three_digits_say_something() {
        let shown = [1234.5, 99.94, 9.994, 0.12345, 0.0].map(digits);
        assert_eq!(shown, ["1234", "99.9", "9.99", "0.123", "0.000"]);
    }
}
