//! What a column is called, from the facts of its platform.

use std::path::Path;

use forkproof_report::{Facts, Report};
use settings::printable;

/// A report, and what its column is to be called if that was said.
#[derive(Debug)]
pub struct Unlabelled<'a> {
    /// `LABEL` of `LABEL=FILE`.
    pub given: Option<&'a str>,
    /// Where it was read.
    pub file: &'a Path,
    /// What was read.
    pub report: &'a Report,
}

/// The platform in words: the system and its release, the widths with the machine, and whether the
/// processor is emulated, if that is known.
pub fn platform(facts: &Facts) -> Vec<String> {
    let system = match &facts.distribution {
        Some(name) => name.clone(),
        None => format!("{} {}", facts.system, facts.release),
    };
    let width = match (facts.kernel_bits, facts.userland_bits) {
        (64, 64) => "64-bit".to_owned(),
        (32, 32) => "32-bit kernel".to_owned(),
        (0, userland) => format!("{userland}-bit userland"),
        (kernel, userland) => format!("{userland}-bit userland on a {kernel}-bit kernel"),
    };
    let mut lines = vec![printable(&system), format!("{width} ({})", printable(&facts.machine))];
    lines.extend(emulated(facts).map(str::to_owned));
    lines
}

/// `native` or `emulated`, if that is known.
pub fn emulated(facts: &Facts) -> Option<&'static str> {
    facts.emulated.map(|emulated| if emulated { "emulated" } else { "native" })
}

/// The words for each column, in their order. What was given stands alone; the others say as much
/// as it takes to tell them apart: the platform, the server where there are several, the C library,
/// at last the file.
pub fn columns(reports: &[Unlabelled<'_>]) -> Vec<Vec<String>> {
    let mut lines: Vec<Vec<String>> = reports
        .iter()
        .map(|column| match column.given {
            Some(label) => vec![printable(label)],
            None => platform(&column.report.platform),
        })
        .collect();
    if reports.iter().any(|c| c.report.target.name != reports[0].report.target.name) {
        for (lines, column) in lines.iter_mut().zip(reports) {
            if column.given.is_none() {
                lines.push(printable(&column.report.target.name));
            }
        }
    }
    for (lines, column) in lines.iter_mut().zip(reports).filter(|(_, c)| c.given.is_none()) {
        let personality = &column.report.options.personality;
        lines.extend(personality.iter().map(|words| printable(&format!("as {words}"))));
    }
    tell_apart(&mut lines, reports, |column, _| column.report.platform.libc.clone());
    tell_apart(&mut lines, reports, |column, among| {
        let others: Vec<&Path> = among.iter().map(|other| other.file).collect();
        shortest(column.file, &others)
    });
    lines
}

/// Adds a word to those that are called the same, where the word is not the same too.
fn tell_apart(
    lines: &mut [Vec<String>],
    reports: &[Unlabelled<'_>],
    word: impl Fn(&Unlabelled<'_>, &[&Unlabelled<'_>]) -> String,
) {
    let before = lines.to_vec();
    for (at, column) in reports.iter().enumerate() {
        if column.given.is_some() {
            continue;
        }
        let namesakes: Vec<&Unlabelled<'_>> = reports
            .iter()
            .enumerate()
            .filter(|(other, _)| *other != at && before[*other] == before[at])
            .map(|(_, other)| other)
            .collect();
        let own = word(column, &namesakes);
        let all: Vec<&Unlabelled<'_>> = std::iter::once(column).collect();
        if namesakes.iter().any(|other| word(other, &all) != own) {
            lines[at].push(printable(&own));
        }
    }
}

/// As many of a path's last parts as it takes to tell it from the others.
fn shortest(path: &Path, others: &[&Path]) -> String {
    let parts: Vec<_> = path.components().collect();
    let end = |path: &Path, count: usize| -> std::path::PathBuf {
        let parts: Vec<_> = path.components().collect();
        parts[parts.len().saturating_sub(count)..].iter().collect()
    };
    let count = (1..parts.len())
        .find(|&count| others.iter().all(|other| end(other, count) != end(path, count)))
        .unwrap_or(parts.len());
    end(path, count).display().to_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_path_says_as_much_as_it_takes() {
        let others = [Path::new("run/b/report.json"), Path::new("other/report.json")];
        assert_eq!(shortest(Path::new("run/a/report.json"), &others), "a/report.json");
        assert_eq!(shortest(Path::new("x.json"), &others), "x.json");
        let deep = [Path::new("2/a/report.json")];
        assert_eq!(shortest(Path::new("1/a/report.json"), &deep), "1/a/report.json");
    }
}
