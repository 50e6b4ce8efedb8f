//! JUnit XML, for CI systems: of one run, or of several. What did not run, or failed as the baseline
//! expects, is `skipped` with its reason, never a pass; what passes unexpectedly is a failure.

use std::io;

use forkproof_report::{Entry, Report, Verdict};
use quick_xml::Writer;
use quick_xml::events::{BytesDecl, BytesText, Event};
// Of what is left of the characters XML 1.0 has every one (section 2.2).
use settings::printable_lines as harmless;

use super::look::NOT_SELECTED;
use super::matrix::Matrix;
use super::run::terminal::{evidence_text, failure_text};

/// One run: a test suite per area, a test case per requirement.
pub fn of_run(report: &Report) -> io::Result<String> {
    let mut suites: Vec<Suite<'_>> = Vec::new();
    for entry in &report.requirements {
        if suites.last().is_none_or(|suite| suite.name != entry.area()) {
            let properties = properties(report);
            suites.push(Suite {
                name: entry.area(),
                properties,
                milliseconds: None,
                cases: vec![],
            });
        }
        if let Some(suite) = suites.last_mut() {
            suite.cases.push(Case::Of(entry));
        }
    }
    document("forkproof", report.duration_ms, &suites)
}

/// Several runs: a test suite for each column, a test case for each requirement. What a report hasn't
/// is `skipped` in its suite.
pub fn of_matrix(matrix: &Matrix<'_>) -> io::Result<String> {
    let suites: Vec<Suite<'_>> = matrix
        .columns
        .iter()
        .enumerate()
        .map(|(at, column)| Suite {
            name: &column.label,
            properties: [
                properties(&column.report),
                vec![
                    ("forkproof", column.report.forkproof.clone()),
                    ("conclusion", column.conclusion()),
                ],
            ]
            .concat(),
            milliseconds: Some(column.report.duration_ms),
            cases: matrix
                .rows
                .iter()
                .map(|row| row.cells[at].map_or(Case::NotSelected(row.id), Case::Of))
                .collect(),
        })
        .collect();
    let total = matrix.columns.iter().map(|column| column.report.duration_ms).sum();
    document(&matrix.title, total, &suites)
}

/// Where, what and how.
fn properties(report: &Report) -> Vec<(&'static str, String)> {
    let options = &report.options;
    let mut properties =
        vec![("platform", report.platform.line()), ("target", report.target.name.clone())];
    if !options.command.is_empty() {
        properties.push(("command", format!("forkproof {}", shell_words::join(&options.command))));
    }
    properties.extend(options.personality.clone().map(|words| ("personality", words)));
    properties
}

struct Suite<'a> {
    name: &'a str,
    properties: Vec<(&'static str, String)>,
    /// How long it took; the sum of its cases where that is all that is known.
    milliseconds: Option<u64>,
    cases: Vec<Case<'a>>,
}

enum Case<'a> {
    Of(&'a Entry),
    NotSelected(&'a str),
}

/// What counts in a suite.
#[derive(Default, Clone, Copy)]
struct Counts {
    tests: usize,
    failures: usize,
    errors: usize,
    skipped: usize,
}

impl Case<'_> {
    /// The element that says that it is no plain pass.
    fn element(&self) -> Option<&'static str> {
        match self {
            Self::NotSelected(_) => Some("skipped"),
            Self::Of(entry) => match entry.verdict {
                Verdict::Pass => None,
                Verdict::Fail | Verdict::Xpass => Some("failure"),
                Verdict::Error | Verdict::Blocked => Some("error"),
                Verdict::Unsupported | Verdict::NotRun | Verdict::Xfail => Some("skipped"),
            },
        }
    }

    fn milliseconds(&self) -> u64 {
        match self {
            Self::Of(entry) => entry.duration_ms,
            Self::NotSelected(_) => 0,
        }
    }
}

impl Suite<'_> {
    fn counts(&self) -> Counts {
        let of = |element| self.cases.iter().filter(|case| case.element() == Some(element)).count();
        Counts {
            tests: self.cases.len(),
            failures: of("failure"),
            errors: of("error"),
            skipped: of("skipped"),
        }
    }
}

fn seconds(milliseconds: u64) -> String {
    format!("{:.3}", milliseconds as f64 / 1e3)
}

fn document(name: &str, milliseconds: u64, suites: &[Suite<'_>]) -> io::Result<String> {
    let mut writer = Writer::new_with_indent(Vec::new(), b' ', 4);
    writer.write_event(Event::Decl(BytesDecl::new("1.0", Some("UTF-8"), None)))?;
    let all: Vec<Counts> = suites.iter().map(Suite::counts).collect();
    let sum = |of: fn(&Counts) -> usize| all.iter().map(of).sum::<usize>().to_string();
    writer
        .create_element("testsuites")
        .with_attribute(("name", harmless(name).as_str()))
        .with_attribute(("tests", sum(|c| c.tests).as_str()))
        .with_attribute(("failures", sum(|c| c.failures).as_str()))
        .with_attribute(("errors", sum(|c| c.errors).as_str()))
        .with_attribute(("time", seconds(milliseconds).as_str()))
        .write_inner_content(|writer| {
            suites
                .iter()
                .zip(&all)
                .try_for_each(|(suite, counts)| write_suite(writer, suite, counts))
        })?;
    let mut text = String::from_utf8(writer.into_inner()).map_err(io::Error::other)?;
    text.push('\n');
    Ok(text)
}

fn write_suite(writer: &mut Writer<Vec<u8>>, suite: &Suite<'_>, counts: &Counts) -> io::Result<()> {
    let cases = suite.cases.iter().map(Case::milliseconds).sum();
    writer
        .create_element("testsuite")
        .with_attribute(("name", harmless(suite.name).as_str()))
        .with_attribute(("tests", counts.tests.to_string().as_str()))
        .with_attribute(("failures", counts.failures.to_string().as_str()))
        .with_attribute(("errors", counts.errors.to_string().as_str()))
        // Readers differ in which of the two they know.
        .with_attribute(("skipped", counts.skipped.to_string().as_str()))
        .with_attribute(("disabled", counts.skipped.to_string().as_str()))
        .with_attribute(("time", seconds(suite.milliseconds.unwrap_or(cases)).as_str()))
        .write_inner_content(|writer| {
            writer.create_element("properties").write_inner_content(|writer| {
                for (name, value) in &suite.properties {
                    writer
                        .create_element("property")
                        .with_attribute(("name", *name))
                        .with_attribute(("value", harmless(value).as_str()))
                        .write_empty()?;
                }
                Ok(())
            })?;
            suite.cases.iter().try_for_each(|case| write_case(writer, case))
        })
        .map(drop)
}

fn write_case(writer: &mut Writer<Vec<u8>>, case: &Case<'_>) -> io::Result<()> {
    let id = match case {
        Case::Of(entry) => entry.id.as_str(),
        Case::NotSelected(id) => id,
    };
    let (area, name) = id.split_once('/').unwrap_or(("", id));
    let (kind, message, text, output) = match case {
        Case::NotSelected(_) => (NOT_SELECTED.word, NOT_SELECTED.meaning.to_owned(), None, None),
        Case::Of(entry) => {
            let of_server = entry
                .actual
                .as_ref()
                .filter(|_| matches!(entry.verdict, Verdict::Fail | Verdict::Blocked));
            let message = of_server.or(entry.reason.as_ref()).cloned().unwrap_or_default();
            let is_failure =
                matches!(entry.verdict, Verdict::Fail | Verdict::Blocked | Verdict::Xpass);
            let text = is_failure.then(|| failure_text(entry));
            let output = entry.evidence.as_ref().map(evidence_text).or_else(|| entry.note.clone());
            (entry.verdict.word(), message, text, output)
        }
    };
    let element = writer
        .create_element("testcase")
        .with_attribute(("name", name))
        .with_attribute(("classname", format!("forkproof.{area}").as_str()))
        .with_attribute(("time", seconds(case.milliseconds()).as_str()));
    if case.element().is_none() && output.is_none() {
        return element.write_empty().map(drop);
    }
    element
        .write_inner_content(|writer| {
            if let Some(name) = case.element() {
                let element = writer
                    .create_element(name)
                    .with_attribute(("type", kind))
                    .with_attribute(("message", harmless(&message).as_str()));
                match &text {
                    Some(text) => element.write_text_content(BytesText::new(&harmless(text)))?,
                    None => element.write_empty()?,
                };
            }
            if let Some(output) = &output {
                writer
                    .create_element("system-out")
                    .write_text_content(BytesText::new(&harmless(output)))?;
            }
            Ok(())
        })
        .map(drop)
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;
    use crate::render::run::{markdown, terminal};

    /// Of every report there is, JUnit is XML, and nothing that is shown steers a terminal.
    #[test]
    fn fuzz() {
        const TOKENS: &[&[u8]] = &[
            b"\\u001b[2J",
            b"\\u009b",
            b"\\uffff",
            b"\\u202e",
            b"]]>",
            b"&",
            b"<x>",
            b"\\ud800",
            b"\\u0000",
        ];
        let corpus = concat!(env!("CARGO_MANIFEST_DIR"), "/fuzz/report");
        forkproof_fuzz::fuzz(Path::new(corpus), TOKENS, |bytes| {
            let Ok(report) = Report::parse(bytes) else { return };
            let xml = of_run(&report).expect("written");
            roxmltree::Document::parse(&xml).expect("XML");
            let everything = terminal::Shown { verbose: true, failures: true };
            // Its own colours are sequences that begin with ESC.
            let shown = anstream::adapter::strip_str(&terminal::conclusion(&report, everything))
                .to_string();
            for (name, text) in [("terminal", &shown), ("Markdown", &markdown::render(&report))] {
                let steers = |c: char| {
                    c != '\n' && (c.is_control() || ('\u{202a}'..='\u{202e}').contains(&c))
                };
                assert!(!text.contains(steers), "{name}: {}", text.escape_debug());
            }
        });
    }
}
