//! What the keys of a terminal ask for.

use tui_input::InputRequest;

/// What ends what a terminal pastes.
pub(super) const PASTE_END: &[u8] = b"\x1b[201~";

/// What a key or a sequence of bytes from the terminal asks for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Key {
    Edit(InputRequest),
    Enter,
    Older,
    Newer,
    EndOfInput,
    Interrupt,
    Suspend,
    ClearScreen,
    /// What was entered before, looked for.
    Search,
    /// Escape or Ctrl-G: out of what was begun.
    Leave,
    /// The terminal pastes from here on, until the bytes of [`PASTE_END`].
    Paste,
    None,
}

impl Key {
    /// The first key in `bytes` and the number of bytes it takes; `None` if it is incomplete.
    pub(super) fn first(bytes: &[u8]) -> Option<(Self, usize)> {
        let key = match *bytes.first()? {
            0x1b => return Self::escaped(bytes),
            0x01 => Self::Edit(InputRequest::GoToStart),
            0x02 => Self::Edit(InputRequest::GoToPrevChar),
            0x03 => Self::Interrupt,
            0x04 => Self::EndOfInput,
            0x05 => Self::Edit(InputRequest::GoToEnd),
            0x06 => Self::Edit(InputRequest::GoToNextChar),
            0x08 | 0x7f => Self::Edit(InputRequest::DeletePrevChar),
            b'\t' => Self::Edit(InputRequest::InsertChar(' ')),
            b'\r' | b'\n' => Self::Enter,
            0x07 => Self::Leave,
            0x0b => Self::Edit(InputRequest::DeleteTillEnd),
            0x0c => Self::ClearScreen,
            0x0e => Self::Newer,
            0x10 => Self::Older,
            0x12 => Self::Search,
            0x15 => Self::Edit(InputRequest::DeleteFromStart),
            0x17 => Self::Edit(InputRequest::DeletePrevWord),
            0x19 => Self::Edit(InputRequest::Yank),
            0x1a => Self::Suspend,
            _ => return Self::character(bytes),
        };
        Some((key, 1))
    }

    fn character(bytes: &[u8]) -> Option<(Self, usize)> {
        let length = match bytes[0] {
            0xc2..=0xdf => 2,
            0xe0..=0xef => 3,
            0xf0..=0xf4 => 4,
            _ => 1,
        };
        let character =
            std::str::from_utf8(bytes.get(..length)?).ok().and_then(|text| text.chars().next());
        Some(match character {
            Some(character) if !character.is_control() => {
                (Self::Edit(InputRequest::InsertChar(character)), length)
            }
            Some(_) => (Self::None, length),
            // One byte of garbage; the next may begin a character again.
            None => (Self::None, 1),
        })
    }

    /// ECMA-48 control sequences as xterm and its kin send them, and Alt with a letter.
    fn escaped(bytes: &[u8]) -> Option<(Self, usize)> {
        let parameters = match bytes.get(1)? {
            b'[' | b'O' => &bytes[2..],
            letter => {
                let key = match letter {
                    b'b' => Self::Edit(InputRequest::GoToPrevWord),
                    b'f' => Self::Edit(InputRequest::GoToNextWord),
                    b'd' => Self::Edit(InputRequest::DeleteNextWord),
                    0x08 | 0x7f => Self::Edit(InputRequest::DeletePrevWord),
                    // A lone Escape, then another sequence.
                    0x1b => return Some((Self::None, 1)),
                    _ => Self::None,
                };
                return Some((key, 2));
            }
        };
        let end = parameters.iter().position(|byte| !(0x20..=0x3f).contains(byte))?;
        // Modifiers follow a semicolon: 1;5C is Ctrl-Right.
        let (number, modified) = match parameters[..end].iter().position(|&byte| byte == b';') {
            Some(semicolon) => (&parameters[..semicolon], true),
            None => (&parameters[..end], false),
        };
        let key = match (parameters[end], number, modified) {
            (b'A', _, _) => Self::Older,
            (b'B', _, _) => Self::Newer,
            (b'C', _, false) => Self::Edit(InputRequest::GoToNextChar),
            (b'C', _, true) => Self::Edit(InputRequest::GoToNextWord),
            (b'D', _, false) => Self::Edit(InputRequest::GoToPrevChar),
            (b'D', _, true) => Self::Edit(InputRequest::GoToPrevWord),
            (b'H', _, _) | (b'~', b"1" | b"7", _) => Self::Edit(InputRequest::GoToStart),
            (b'F', _, _) | (b'~', b"4" | b"8", _) => Self::Edit(InputRequest::GoToEnd),
            (b'~', b"200", _) => Self::Paste,
            (b'~', b"3", _) => Self::Edit(InputRequest::DeleteNextChar),
            _ => Self::None,
        };
        Some((key, 2 + end + 1))
    }
}

#[cfg(test)]
mod tests {
    use rstest::rstest;
    use tui_input::InputRequest::*;

    use super::*;

    #[rstest]
    #[case::letter(b"ab", Some((Key::Edit(InsertChar('a')), 1)))]
    #[case::two_bytes("ž".as_bytes(), Some((Key::Edit(InsertChar('ž')), 2)))]
    #[case::four_bytes("🥭".as_bytes(), Some((Key::Edit(InsertChar('🥭')), 4)))]
    #[case::half_a_character(b"\xc5", None)]
    #[case::garbage(b"\xffa", Some((Key::None, 1)))]
    #[case::broken_character(b"\xc5a", Some((Key::None, 1)))]
    #[case::c1_control(b"\xc2\x9b", Some((Key::None, 2)))]
    #[case::enter(b"\r", Some((Key::Enter, 1)))]
    #[case::ctrl_d(b"\x04", Some((Key::EndOfInput, 1)))]
    #[case::escape_alone(b"\x1b", None)]
    #[case::escape_twice(b"\x1b\x1b[A", Some((Key::None, 1)))]
    #[case::up(b"\x1b[A", Some((Key::Older, 3)))]
    #[case::up_in_application_mode(b"\x1bOA", Some((Key::Older, 3)))]
    #[case::half_a_sequence(b"\x1b[1;", None)]
    #[case::right(b"\x1b[Cx", Some((Key::Edit(GoToNextChar), 3)))]
    #[case::ctrl_right(b"\x1b[1;5C", Some((Key::Edit(GoToNextWord), 6)))]
    #[case::delete(b"\x1b[3~", Some((Key::Edit(DeleteNextChar), 4)))]
    #[case::home(b"\x1b[H", Some((Key::Edit(GoToStart), 3)))]
    #[case::page_up(b"\x1b[5~", Some((Key::None, 4)))]
    #[case::paste(b"\x1b[200~x", Some((Key::Paste, 6)))]
    #[case::ctrl_r(b"\x12", Some((Key::Search, 1)))]
    #[case::alt_b(b"\x1bb", Some((Key::Edit(GoToPrevWord), 2)))]
    fn keys(#[case] bytes: &[u8], #[case] expected: Option<(Key, usize)>) {
        assert_eq!(Key::first(bytes), expected);
    }
}
