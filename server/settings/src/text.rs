//! Words for people: text from elsewhere that does no harm, errors without numbers.

use std::io;

/// An error of the operating system in words alone: `Permission denied`, without the number
/// that the standard library adds.
#[must_use]
pub fn reason(error: &io::Error) -> String {
    let text = error.to_string();
    match text.split_once(" (os error ") {
        Some((words, _)) => words.to_owned(),
        None => text,
    }
}

/// Text from elsewhere on one line: line breaks become spaces, other controls are escaped, so that
/// a quotation cannot break the line and stays readable.
#[must_use]
pub fn one_line(text: &str) -> String {
    let mut line = String::with_capacity(text.len());
    for character in text.trim_end().chars() {
        match character {
            '\n' => line.push(' '),
            control if control.is_control() => line.extend(control.escape_default()),
            other => line.push(other),
        }
    }
    line
}

/// Text from elsewhere as one line that neither steers a terminal nor turns the direction of the
/// text around it: each control, each mark, embedding, override and isolate of direction (UAX #9), each
/// separator of lines and what is no character becomes U+FFFD.
#[must_use]
pub fn printable(text: &str) -> String {
    text.chars()
        .map(|character| match character {
            '\n' | '\t' => ' ',
            '\u{61c}'
            | '\u{200e}'..='\u{200f}'
            | '\u{2028}'..='\u{202e}'
            | '\u{2066}'..='\u{2069}'
            | '\u{fffe}'..='\u{ffff}' => '\u{fffd}',
            control if control.is_control() => '\u{fffd}',
            other => other,
        })
        .collect()
}

/// The same for text of several lines, which stay.
#[must_use]
pub fn printable_lines(text: &str) -> String {
    text.split('\n').map(printable).collect::<Vec<_>>().join("\n")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_printable_steers() {
        assert_eq!(printable("a\u{1b}[31m\u{202e}\n\tbä✓"), "a\u{fffd}[31m\u{fffd}  bä✓");
        for steers in ["\u{61c}", "\u{200f}", "\u{2028}", "\u{2069}", "\u{9b}", "\0", "\u{ffff}"] {
            assert_eq!(printable(steers), "\u{fffd}", "{}", steers.escape_unicode());
        }
        assert_eq!(printable_lines("a\u{1b}\nb\r\n"), "a\u{fffd}\nb\u{fffd}\n");
        assert_eq!(one_line("a\u{1b}[31m\nb\n"), "a\\u{1b}[31m b");
    }
}
