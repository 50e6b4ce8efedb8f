//! The one reader of reports. It believes nothing: a report may come from another version, another
//! machine, or a stranger.

use std::collections::HashSet;
use std::path::Path;

use serde_json::Value;
use settings::{printable, reason};

use crate::conclusion::Conclusion;
use crate::report::Report;
use crate::schema::{PROBE_SCHEMA, SCHEMA};
use crate::verdict::{Level, Verdict};

impl Report {
    /// Reads the report in the file `path`.
    ///
    /// # Errors
    /// One line that names the file and what is wrong with it.
    pub fn read(path: &Path) -> Result<Self, String> {
        let wrong = |what: String| format!("{}: {what}", path.display());
        let bytes = std::fs::read(path).map_err(|error| wrong(reason(&error)))?;
        Self::parse(&bytes).map_err(wrong)
    }

    /// Reads a report.
    ///
    /// # Errors
    /// What is wrong, with the line, as one line without control characters.
    pub fn parse(bytes: &[u8]) -> Result<Self, String> {
        if bytes.iter().all(u8::is_ascii_whitespace) {
            return Err(format!("is empty: expected a report (`{SCHEMA}`)"));
        }
        match schema_of(bytes)?.as_str() {
            SCHEMA => {}
            PROBE_SCHEMA => {
                return Err(format!(
                    "holds facts of an operating system (`{PROBE_SCHEMA}`, from `forkproof probe`), \
                     not a report (`{SCHEMA}`, from `forkproof run --report`); `forkproof diff` \
                     compares facts"
                ));
            }
            other => return Err(format!("its schema is `{other}`: expected `{SCHEMA}`")),
        }
        // From the text again, for an error that names the line.
        let report: Self = serde_json::from_slice(bytes)
            .map_err(|error| printable(&format!("is not as its schema says: {error}")))?;
        report.check()?;
        Ok(report)
    }

    /// What no run writes, and would make whatever is told of it wrong.
    fn check(&self) -> Result<(), String> {
        let mut seen = HashSet::new();
        for entry in &self.requirements {
            let word = |part: &str| {
                let good = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-';
                !part.is_empty() && part.bytes().all(good)
            };
            if !entry.id.split_once('/').is_some_and(|(area, name)| word(area) && word(name)) {
                return Err(format!("`{}` is no requirement's id", printable(&entry.id)));
            }
            if !seen.insert(entry.id.as_str()) {
                return Err(format!("has `{}` twice", entry.id));
            }
            if entry.verdict == Verdict::Fail
                && entry.level != Level::May
                && self.conclusion == Conclusion::Conformant
            {
                return Err(format!("says that it is conformant, and `{}` failed", entry.id));
            }
        }
        let verdicts: Vec<_> =
            self.requirements.iter().map(|entry| (entry.verdict, entry.level)).collect();
        let told = Conclusion::of(&verdicts, self.interrupted);
        if self.conclusion == Conclusion::Conformant && told != Conclusion::Conformant {
            return Err(format!("says that it is conformant, and comes to `{}`", told.words()));
        }
        for verdict in Verdict::ALL {
            let (said, held) = (self.count(verdict), self.with_verdict(verdict).count());
            if said != held {
                return Err(format!(
                    "counts {said} requirements as {}, and has {held}: it is not as it was written",
                    verdict.word()
                ));
            }
        }
        Ok(())
    }
}

/// The name and version of the format of a JSON document of ours.
///
/// # Errors
/// It is no JSON, or names no schema.
pub fn schema_of(bytes: &[u8]) -> Result<String, String> {
    let json: Value =
        serde_json::from_slice(bytes).map_err(|error| format!("is not JSON: {error}"))?;
    match json.get("schema").and_then(Value::as_str) {
        Some(schema) => Ok(printable(schema)),
        None => Err(format!("has no schema: expected `{SCHEMA}`")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Whatever it holds, it is refused in one harmless line, or it is a report that can be written again.
    #[test]
    fn fuzz() {
        const TOKENS: &[&[u8]] = &[
            b"\"verdict\": \"fail\"",
            b"null",
            b"\\u0000",
            b"1e999",
            b"{",
            b"]",
            b"-1",
            b"\"id\": ",
        ];
        let corpus = concat!(env!("CARGO_MANIFEST_DIR"), "/../fuzz/report");
        forkproof_fuzz::fuzz(Path::new(corpus), TOKENS, |bytes| match Report::parse(bytes) {
            Ok(report) => {
                let text = serde_json::to_vec(&report).expect("written");
                assert_eq!(
                    Report::parse(&text).map(|again| again.conclusion),
                    Ok(report.conclusion)
                );
            }
            Err(why) => assert!(!why.contains(char::is_control), "{}", why.escape_debug()),
        });
    }
}
