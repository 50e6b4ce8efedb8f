//! What arrives from the network, on its way to standard output.

use std::io::{Stdout, Write, stdout};

/// A line that does not end is shown in pieces of this size, in bytes.
const LONGEST_LINE: usize = 64 * 1024;

/// Turns bytes that strangers sent into lines that can do a terminal no harm.
///
/// Escape sequences could retitle the terminal, repaint other people's lines or make it type
/// answers; marks of text direction could make a line read as something else. Each such
/// character is shown as a visible stand-in.
#[derive(Debug, Default)]
pub(super) struct Lines {
    partial: Vec<u8>,
}

impl Lines {
    /// Takes bytes; returns the lines they complete, each with its `\n`.
    pub(super) fn push(&mut self, bytes: &[u8]) -> String {
        self.partial.extend_from_slice(bytes);
        let complete = match memchr::memrchr(b'\n', &self.partial) {
            Some(newline) => newline + 1,
            None if self.partial.len() >= LONGEST_LINE => self.partial.len(),
            None => return String::new(),
        };
        let lines: Vec<u8> = self.partial.drain(..complete).collect();
        harmless(&lines)
    }

    /// Returns the last line, which never got its end.
    pub(super) fn finish(&mut self) -> String {
        harmless(&std::mem::take(&mut self.partial))
    }
}

/// Whether `character` turns the direction of the text around it, or ends a line: marks,
/// embeddings, overrides and isolates of direction (UAX #9), line and paragraph separators.
pub(super) fn turns(character: char) -> bool {
    matches!(
        character,
        '\u{61c}'
            | '\u{200e}'..='\u{200f}'
            | '\u{2028}'..='\u{202e}'
            | '\u{2066}'..='\u{2069}'
    )
}

/// The text of `bytes`, ending in a line break unless it is empty.
fn harmless(bytes: &[u8]) -> String {
    let mut shown = String::with_capacity(bytes.len() + 1);
    let text = String::from_utf8_lossy(bytes);
    for line in text.split_inclusive('\n') {
        let line = line.strip_suffix('\n').unwrap_or(line);
        // Clients of other systems end lines with \r\n; that is no trick.
        for character in line.strip_suffix('\r').unwrap_or(line).chars() {
            match character {
                '\t' => shown.push('\t'),
                '\0'..='\x1f' => {
                    shown.push('^');
                    shown.push(char::from(character as u8 | 0x40));
                }
                '\x7f' => shown.push_str("^?"),
                // C1 controls, and what makes a line read as something else.
                other if other.is_control() || turns(other) => {
                    shown.push_str(&format!("<U+{:04X}>", u32::from(other)));
                }
                other => shown.push(other),
            }
        }
        shown.push('\n');
    }
    shown
}

/// Standard output: harmless lines, or bytes as they are if that is asked for. A pipe or a file
/// gets harmless lines too: what reads it shows them at a terminal in the end.
pub(super) struct Output {
    stdout: Stdout,
    lines: Option<Lines>,
}

impl Output {
    pub(super) fn stdout(raw: bool) -> Self {
        let lines = (!raw).then(Lines::default);
        Self { stdout: stdout(), lines }
    }

    /// Prints bytes and flushes.
    pub(super) fn write(&mut self, bytes: &[u8]) -> std::io::Result<()> {
        match &mut self.lines {
            Some(lines) => self.stdout.write_all(lines.push(bytes).as_bytes())?,
            None => self.stdout.write_all(bytes)?,
        }
        self.stdout.flush()
    }

    /// Prints what is held back of a line that never got its end.
    pub(super) fn finish(&mut self) -> std::io::Result<()> {
        if let Some(lines) = &mut self.lines {
            self.stdout.write_all(lines.finish().as_bytes())?;
        }
        self.stdout.flush()
    }

    pub(super) fn descriptor(&self) -> &Stdout {
        &self.stdout
    }
}

#[cfg(test)]
mod tests {
    use rstest::rstest;

    use super::*;

    #[rstest]
    #[case::plain(b"bob: hi\n", "bob: hi\n")]
    #[case::words_of_any_script("bob: žluťoučký 你好 🥭\n".as_bytes(), "bob: žluťoučký 你好 🥭\n")]
    #[case::tab(b"a\tb\n", "a\tb\n")]
    #[case::empty_line(b"\n", "\n")]
    #[case::carriage_return_at_the_end(b"hi\r\n", "hi\n")]
    #[case::carriage_return_inside(b"bob: hi\rroot: go\n", "bob: hi^Mroot: go\n")]
    #[case::escape_sequence(b"\x1b[2J\x1b]0;x\x07\n", "^[[2J^[]0;x^G\n")]
    #[case::nul_and_delete(b"\0\x7f\n", "^@^?\n")]
    #[case::csi_in_utf8(b"\xc2\x9b2J\n", "<U+009B>2J\n")]
    #[case::csi_in_latin1(b"\x9b2J\n", "\u{fffd}2J\n")]
    #[case::reversed_text("\u{202e}evil\n".as_bytes(), "<U+202E>evil\n")]
    #[case::line_separator("a\u{2028}b\n".as_bytes(), "a<U+2028>b\n")]
    fn lines_do_no_harm(#[case] bytes: &[u8], #[case] shown: &str) {
        assert_eq!(Lines::default().push(bytes), shown);
    }

    #[test]
    fn lines_are_shown_whole_whatever_the_pieces() {
        let text = "bob: 🥭 one\ncat: two\nlast";
        for cut in 0..text.len() {
            let mut lines = Lines::default();
            let mut shown = lines.push(&text.as_bytes()[..cut]);
            shown += &lines.push(&text.as_bytes()[cut..]);
            assert_eq!(shown, "bob: 🥭 one\ncat: two\n", "cut at {cut}");
            assert_eq!(lines.finish(), "last\n");
            assert_eq!(lines.finish(), "");
        }
    }

    #[test]
    fn a_line_without_end_is_not_hoarded() {
        let mut lines = Lines::default();
        assert_eq!(lines.push(&[b'x'; LONGEST_LINE - 1]), "");
        assert_eq!(lines.push(b"x").len(), LONGEST_LINE + 1);
    }

    /// Whatever others send, in whatever pieces, nothing of it steers or turns.
    #[test]
    fn fuzz() {
        const TOKENS: &[&[u8]] =
            &[b"\x1b[", b"\xc2\x9b", b"\xe2\x80\xae", b"\r\n", b"\xe2\x80", b"\0", b"\x7f"];
        let corpus = concat!(env!("CARGO_MANIFEST_DIR"), "/fuzz/display");
        forkproof_fuzz::fuzz(std::path::Path::new(corpus), TOKENS, |bytes| {
            let whole = {
                let mut lines = Lines::default();
                lines.push(bytes) + &lines.finish()
            };
            let harms = |c: char| c != '\n' && c != '\t' && (c.is_control() || turns(c));
            assert!(!whole.contains(harms), "{}", whole.escape_debug());
            for size in [1, 3, 7] {
                let mut lines = Lines::default();
                let mut shown: String = bytes.chunks(size).map(|piece| lines.push(piece)).collect();
                shown += &lines.finish();
                assert_eq!(shown, whole, "in pieces of {size}");
            }
        });
    }
}
