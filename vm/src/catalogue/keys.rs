//! The keyboard of a machine: which characters can be typed on it, and how.

/// The keys of a character on a keyboard of the United States, which is what a system without
/// settings has; QEMU's names (QMP reference, `QKeyCode`). None for what such a keyboard has not.
pub(crate) fn keys(character: char) -> Option<Vec<&'static str>> {
    const NAMED_BY_THEMSELVES: &str = "abcdefghijklmnopqrstuvwxyz0123456789";
    #[rustfmt::skip]
    const NAMES: [&str; 12] = [
        "spc", "minus", "equal", "bracket_left", "bracket_right", "semicolon", "apostrophe",
        "grave_accent", "backslash", "comma", "dot", "slash",
    ];
    const NAMED: &str = r" -=[];'`\,./";
    const SHIFTED: &str = r#"!@#$%^&*()_+{}:"~|<>?"#;
    const BELOW: &str = r"1234567890-=[];'`\,./";
    let plain = |character: char| match NAMED_BY_THEMSELVES.find(character) {
        Some(at) => Some(&NAMED_BY_THEMSELVES[at..=at]),
        None => NAMED.find(character).map(|at| NAMES[at]),
    };
    let below = match SHIFTED.find(character) {
        Some(at) => BELOW[at..].chars().next()?,
        None if character.is_ascii_uppercase() => character.to_ascii_lowercase(),
        None => return Some(vec![plain(character)?]),
    };
    Some(vec!["shift", plain(below)?])
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

    #[test]
    fn keys_lie_where_they_do() {
        for (character, expected) in [
            ('a', vec!["a"]),
            ('Z', vec!["shift", "z"]),
            ('0', vec!["0"]),
            (' ', vec!["spc"]),
            ('\'', vec!["apostrophe"]),
            ('`', vec!["grave_accent"]),
            ('\\', vec!["backslash"]),
            ('/', vec!["slash"]),
            ('!', vec!["shift", "1"]),
            (')', vec!["shift", "0"]),
            ('_', vec!["shift", "minus"]),
            ('"', vec!["shift", "apostrophe"]),
            ('~', vec!["shift", "grave_accent"]),
            ('|', vec!["shift", "backslash"]),
            ('?', vec!["shift", "slash"]),
        ] {
            assert_eq!(keys(character), Some(expected), "{character}");
        }
    }
}
