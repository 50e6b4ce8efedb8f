//! The keyboard of a machine: which characters can be typed on it, and how.

/// The keys of a character on a keyboard of the United States, which is what a system without
/// settings has; QEMU's names (QMP reference, `QKeyCode`). None for what such a keyboard has not.
pub(crate) fn keys(character: char) -> Option<Vec<&'static str>> {
    const LETTERS: [&str; 26] = [
        "a", "b", "c", "d", "e", "f", "g", "h", "i", "j", "k", "l", "m", "n", "o", "p", "q", "r",
        "s", "t", "u", "v", "w", "x", "y", "z",
    ];
    const DIGITS: [&str; 10] = ["0", "1", "2", "3", "4", "5", "6", "7", "8", "9"];
    const PLAIN: [(char, &str); 12] = [
        (' ', "spc"),
        ('-', "minus"),
        ('=', "equal"),
        ('[', "bracket_left"),
        (']', "bracket_right"),
        (';', "semicolon"),
        ('\'', "apostrophe"),
        ('`', "grave_accent"),
        ('\\', "backslash"),
        (',', "comma"),
        ('.', "dot"),
        ('/', "slash"),
    ];
    const SHIFTED: [(char, char); 21] = [
        ('!', '1'),
        ('@', '2'),
        ('#', '3'),
        ('$', '4'),
        ('%', '5'),
        ('^', '6'),
        ('&', '7'),
        ('*', '8'),
        ('(', '9'),
        (')', '0'),
        ('_', '-'),
        ('+', '='),
        ('{', '['),
        ('}', ']'),
        (':', ';'),
        ('"', '\''),
        ('~', '`'),
        ('|', '\\'),
        ('<', ','),
        ('>', '.'),
        ('?', '/'),
    ];
    let plain = |character: char| match character {
        'a'..='z' => Some(LETTERS[character as usize - 'a' as usize]),
        '0'..='9' => Some(DIGITS[character as usize - '0' as usize]),
        _ => PLAIN.iter().find(|(there, _)| *there == character).map(|(_, key)| *key),
    };
    if character.is_ascii_uppercase() {
        return Some(vec!["shift", plain(character.to_ascii_lowercase())?]);
    }
    if let Some((_, below)) = SHIFTED.iter().find(|(there, _)| *there == character) {
        return Some(vec!["shift", plain(*below)?]);
    }
    Some(vec![plain(character)?])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_printable_character_has_keys_of_its_own() {
        let mut seen = std::collections::BTreeSet::new();
        for character in ' '..='~' {
            let keys = keys(character).unwrap_or_else(|| panic!("no key for {character:?}"));
            assert!(seen.insert(keys.clone()), "{character:?} has the keys of another: {keys:?}");
        }
        assert_eq!(keys('ä'), None);
    }
}
