//! Reading the files of a matrix: what is wrong with one of them is one line that names it.

use std::collections::HashSet;
use std::ffi::{OsStr, OsString};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use forkproof_report::Report;
use settings::reason;

use super::label::{self, Unlabelled};
use super::model::Column;

/// A file, and what its column is to be called if that was said.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Source {
    /// `LABEL` of `LABEL=FILE`.
    pub label: Option<String>,
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
            .map_err(|error| format!("{}: {}", source.path.display(), reason(&error)))?;
        let file = (metadata.dev(), metadata.ino());
        if let Some((_, first)) = files.iter().find(|(known, _)| *known == file) {
            return Err(if *first == source.path {
                format!("{}: the same file twice", first.display())
            } else {
                format!("{} and {}: the same file twice", first.display(), source.path.display())
            });
        }
        files.push((file, &source.path));
        reports.push(Report::read(&source.path)?);
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
}
