//! Lines for a terminal of a given width: broken between words, and aligned with what they belong to.

use textwrap::{Options, WordSeparator, WordSplitter};

use super::run::terminal::COMMAND;

/// Below this a terminal breaks lines as well as anybody could.
const NARROWEST: usize = 30;

/// `text`, no line of which is wider than `width` unless a single word is. Commands stay whole, so that
/// they can be copied.
pub fn wrap(text: &str, width: usize) -> String {
    let mut wrapped = String::with_capacity(text.len());
    for line in text.split_inclusive('\n') {
        let content = line.strip_suffix('\n').unwrap_or(line);
        let is_wide = textwrap::core::display_width(content) > width;
        if !is_wide || width < NARROWEST || content.contains(COMMAND) {
            wrapped.push_str(line);
            continue;
        }
        let indent = " ".repeat(hanging(content, width));
        // Else a long word below it would leave a line of nothing but spaces.
        let leading = content.len() - content.trim_start_matches(' ').len();
        let options = Options::new(width)
            .break_words(false)
            .word_separator(WordSeparator::AsciiSpace)
            .word_splitter(WordSplitter::NoHyphenation)
            .initial_indent(&content[..leading])
            .subsequent_indent(&indent);
        wrapped.push_str(&textwrap::fill(&content[leading..], options));
        wrapped.push_str(&line[content.len()..]);
    }
    wrapped
}

/// Where the rest of a line begins below it: in the column after its last gap of several spaces, as
/// behind a label, if that leaves most of the width.
fn hanging(line: &str, width: usize) -> usize {
    let plain = anstream::adapter::strip_str(line).to_string();
    let leading = plain.chars().take_while(|c| *c == ' ').count();
    let mut column = None;
    let mut spaces = 0;
    for (at, character) in plain.chars().enumerate().skip(leading) {
        if character != ' ' && spaces > 1 && at <= width / 2 {
            column = Some(at);
        }
        spaces = if character == ' ' { spaces + 1 } else { 0 };
    }
    // A label that leaves one space only, as in `Required: …`.
    let label = plain[leading..].split_once(": ").map(|(label, _)| label.chars().count());
    let behind_label = label.filter(|length| *length <= 13).map(|length| leading + length + 2);
    column.or(behind_label).unwrap_or(leading + 4)
}

#[cfg(test)]
mod tests {
    use rstest::rstest;

    use super::*;

    #[rstest]
    #[case(
        "  Expected:     it is served and heard by all",
        "  Expected:     it is served and\n                heard by all"
    )]
    #[case(
        "    a line of a server's that is long",
        "    a line of a server's that is\n        long"
    )]
    #[case("short\nand short", "short\nand short")]
    // Nothing is lost of a word that is too long, and nothing broken.
    #[case(
        "    /a/path/that/is/longer/than/a/line and more",
        "    /a/path/that/is/longer/than/a/line\n        and more"
    )]
    #[case(
        "  Again:        forkproof run signals/handler-persists",
        "  Again:        forkproof run signals/handler-persists"
    )]
    fn lines_end_between_words(#[case] text: &str, #[case] expected: &str) {
        assert_eq!(wrap(text, 32), expected);
    }

    #[test]
    fn colours_have_no_width() {
        let coloured = "\u{1b}[1mfail\u{1b}[0m auth/exact-key is here";
        assert_eq!(wrap(coloured, 31), coloured);
    }
}
