//! Reading the files of a matrix: what is wrong with one of them is one line that names it.

use std::collections::HashSet;
use std::ffi::{OsStr, OsString};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use serde_json::Value;

use crate::catalogue::Level;
use crate::execution::Conclusion;
use crate::probe::report::SCHEMA as PROBE;
use crate::report::{Report, SCHEMA};
use crate::verdict::Verdict;

use super::Column;
use super::label::{self, Unlabelled};

/// A file, and what its column is to be called if that was said.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Source {
    label: Option<String>,
    /// Where the report is.
    pub path: PathBuf,
}

impl Source {
    /// `FILE` or `LABEL=FILE`. What names a file as it stands is a file.
    pub fn parse(argument: &OsStr) -> Result<Self, String> {
        let bytes = argument.as_bytes();
        let at = match bytes.iter().position(|&byte| byte == b'=') {
            Some(at) if !Path::new(argument).exists() => at,
            _ => return Ok(Self { label: None, path: argument.into() }),
        };
        let wrong =
            |what: &str| Err(format!("{}: {what}: write LABEL=FILE", argument.to_string_lossy()));
        let path = PathBuf::from(OsStr::from_bytes(&bytes[at + 1..]));
        match std::str::from_utf8(&bytes[..at]) {
            Ok(label) if label.trim().is_empty() => wrong("the label is empty"),
            Ok(_) if path.as_os_str().is_empty() => wrong("the file is missing"),
            Ok(label) => Ok(Self { label: Some(label.trim().to_owned()), path }),
            Err(_) => wrong("the label is no UTF-8"),
        }
    }
}

/// Reads the reports and names their columns.
pub fn read_all(arguments: &[OsString]) -> Result<(Vec<Source>, Vec<Column>), String> {
    let sources: Vec<Source> =
        arguments.iter().map(|argument| Source::parse(argument)).collect::<Result<_, _>>()?;
    let mut files: Vec<((u64, u64), &Path)> = Vec::new();
    let mut reports = Vec::new();
    for source in &sources {
        let metadata = std::fs::metadata(&source.path)
            .map_err(|error| format!("{}: {error}", source.path.display()))?;
        let file = (metadata.dev(), metadata.ino());
        if let Some((_, first)) = files.iter().find(|(known, _)| *known == file) {
            return Err(if *first == source.path {
                format!("{}: the same file twice", first.display())
            } else {
                format!("{} and {}: the same file twice", first.display(), source.path.display())
            });
        }
        files.push((file, &source.path));
        reports.push(read(&source.path)?);
    }
    let unlabelled: Vec<Unlabelled<'_>> = sources
        .iter()
        .zip(&reports)
        .map(|(source, report)| Unlabelled {
            given: source.label.as_deref(),
            file: &source.path,
            report,
        })
        .collect();
    let lines = label::columns(&unlabelled);
    let mut labels = HashSet::new();
    if let Some(label) =
        lines.iter().map(|lines| lines.join(", ")).find(|l| !labels.insert(l.clone()))
    {
        return Err(format!("two columns are called `{label}`: give each a label of its own"));
    }
    let columns = lines
        .into_iter()
        .zip(reports)
        .map(|(lines, report)| Column { label: lines.join(", "), lines, report })
        .collect();
    Ok((sources, columns))
}

/// Reads one report; the error names the file and the place.
pub fn read(path: &Path) -> Result<Report, String> {
    let wrong = |what: String| format!("{}: {what}", path.display());
    let bytes = std::fs::read(path).map_err(|error| wrong(error.to_string()))?;
    if bytes.iter().all(u8::is_ascii_whitespace) {
        return Err(wrong(format!("is empty: expected a report (`{SCHEMA}`)")));
    }
    let json: Value =
        serde_json::from_slice(&bytes).map_err(|error| wrong(format!("is not JSON: {error}")))?;
    match json.get("schema").and_then(Value::as_str) {
        Some(SCHEMA) => {}
        Some(PROBE) => {
            return Err(wrong(format!(
                "holds facts of an operating system (`{PROBE}`, from `forkproof probe`), not a \
                 report (`{SCHEMA}`, from `forkproof run --report`); `forkproof diff` compares facts"
            )));
        }
        Some(other) => {
            return Err(wrong(format!("its schema is `{other}`: expected `{SCHEMA}`")));
        }
        None => return Err(wrong(format!("has no schema: expected `{SCHEMA}`"))),
    }
    // Read again from the text, for an error that names the line besides the member.
    let report: Report =
        serde_path_to_error::deserialize(&mut serde_json::Deserializer::from_slice(&bytes))
            .map_err(|error| {
                let place = error.path().to_string();
                wrong(format!("is not as its schema says: {place}: {}", error.into_inner()))
            })?;
    check(&report).map_err(wrong)?;
    Ok(report)
}

/// What no run writes, and would make the matrix say something wrong.
fn check(report: &Report) -> Result<(), String> {
    let mut seen = HashSet::new();
    for entry in &report.requirements {
        let word = |part: &str| {
            !part.is_empty()
                && part.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-')
        };
        if !entry.id.split_once('/').is_some_and(|(area, name)| word(area) && word(name)) {
            return Err(format!("`{}` is no requirement's id", printable(&entry.id)));
        }
        if !seen.insert(entry.id.as_str()) {
            return Err(format!("has `{}` twice", entry.id));
        }
        let failed = entry.verdict == Verdict::Fail && entry.level != Level::May;
        if failed && report.conclusion == Conclusion::Conformant {
            return Err(format!("says that it is conformant, and `{}` failed", entry.id));
        }
    }
    for verdict in Verdict::ALL {
        let (said, held) = (
            report.count(verdict),
            report.requirements.iter().filter(|entry| entry.verdict == verdict).count(),
        );
        if said != held {
            return Err(format!(
                "counts {said} requirements as {}, and has {held}: it is not as it was written",
                verdict.word()
            ));
        }
    }
    Ok(())
}

/// Text from elsewhere, without what steers a terminal or has no place in a page.
pub fn printable(text: &str) -> String {
    text.chars()
        .map(|c| match c {
            '\n' | '\t' => ' ',
            // Besides controls, what turns the direction of the text around it.
            '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}' => '\u{fffd}',
            c if c.is_control() => '\u{fffd}',
            c => c,
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use rstest::rstest;

    use super::*;

    #[rstest]
    #[case("r.json", None, "r.json")]
    #[case("FreeBSD 14=r.json", Some("FreeBSD 14"), "r.json")]
    #[case("a=b=c.json", Some("a"), "b=c.json")]
    fn a_label_stands_before_the_first_equals_sign(
        #[case] argument: &str,
        #[case] label: Option<&str>,
        #[case] path: &str,
    ) {
        let source = Source::parse(OsStr::new(argument)).unwrap();
        assert_eq!((source.label.as_deref(), source.path.as_path()), (label, Path::new(path)));
    }

    #[test]
    fn what_is_a_file_as_it_stands_is_a_file() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("a=b.json");
        std::fs::write(&path, "").unwrap();
        assert_eq!(Source::parse(path.as_os_str()).unwrap(), Source { label: None, path });
    }

    #[test]
    fn nothing_printable_steers() {
        assert_eq!(printable("a\u{1b}[31m\u{202e}\n\tbä✓"), "a\u{fffd}[31m\u{fffd}  bä✓");
    }
}
