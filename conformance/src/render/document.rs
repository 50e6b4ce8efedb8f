//! Documents for programs.

use serde::Serialize;

/// JSON, with an end of the last line.
pub fn json(document: &impl Serialize) -> serde_json::Result<String> {
    let mut text = serde_json::to_string_pretty(document)?;
    text.push('\n');
    Ok(text)
}
