//! How lines look at a terminal: names in colours, and when they came.

use std::env;
use std::hash::{DefaultHasher, Hash, Hasher};
use std::time::{SystemTime, UNIX_EPOCH};

/// What stands before a colon and a space is a name, if it is no longer than this, in characters.
const LONGEST_NAME: usize = 32;

/// What is added to lines, which are harmless by then.
#[derive(Debug, Clone, Copy)]
pub(super) struct Look {
    colours: bool,
    times: bool,
}

impl Look {
    /// Colours unless the user's environment says no (no-color.org).
    pub(super) fn new(times: bool) -> Self {
        Self { colours: env::var_os("NO_COLOR").is_none_or(|value| value.is_empty()), times }
    }

    /// The lines with what is added.
    pub(super) fn of(self, lines: &str) -> String {
        let mut shown = String::with_capacity(lines.len());
        let time = if self.times { time_of_day() } else { String::new() };
        for line in lines.split_inclusive('\n') {
            shown.push_str(&time);
            match line.split_once(": ") {
                Some((name, rest)) if self.colours && is_name(name) => {
                    shown.push_str(&format!("\x1b[{}m{name}\x1b[0m: {rest}", colour(name)));
                }
                _ => shown.push_str(line),
            }
        }
        shown
    }
}

fn is_name(text: &str) -> bool {
    (1..=LONGEST_NAME).contains(&text.chars().count())
}

/// The same for the same name, everywhere. Not black or white, which are backgrounds.
fn colour(name: &str) -> u64 {
    let mut hasher = DefaultHasher::new();
    name.hash(&mut hasher);
    31 + hasher.finish() % 6
}

// libc marks `time_t` as one that is to become wider with musl: what is here takes both widths.
#[cfg_attr(target_env = "musl", allow(deprecated))]
fn time_of_day() -> String {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs());
    let Ok(now) = libc::time_t::try_from(now) else { return String::new() };
    // SAFETY: all-zero bytes are a valid `tm`, whose pointer nobody reads then.
    let mut time: libc::tm = unsafe { std::mem::zeroed() };
    // SAFETY: both point to variables of ours.
    if unsafe { libc::localtime_r(&raw const now, &raw mut time) }.is_null() {
        return String::new();
    }
    format!("{:02}:{:02} ", time.tm_hour, time.tm_min)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_have_colours_of_their_own() {
        let look = Look { colours: true, times: false };
        let bob = colour("bob");
        let shown = look.of("bob: hi: you\n* no name\nbob: half");
        let name = format!("\x1b[{bob}mbob\x1b[0m");
        assert_eq!(shown, format!("{name}: hi: you\n* no name\n{name}: half"));
        let long = format!("{}: x\n", "n".repeat(33));
        assert_eq!(look.of(&long), long);
        assert_eq!(Look { colours: false, times: false }.of("bob: hi\n"), "bob: hi\n");
        let timed = Look { colours: false, times: true }.of("bob: hi\n");
        assert!(timed.ends_with(" bob: hi\n") && timed.as_bytes()[2] == b':', "{timed}");
    }
}
