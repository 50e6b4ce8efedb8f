//! A first baseline from a report's failures, to be edited.

use std::fmt::Write;

use forkproof_report::{Entry, Failure, Level, Report, Verdict};

use super::baseline::TODO;
use crate::requirement::{Controls, Requirement};
use crate::requirements;

/// The format of a baseline, for `--help`.
pub const FORMAT: &str = "\
A baseline names the failures that are known, for `forkproof run --baseline FILE`. Each has an entry:

    [[exception]]
    id = \"signals/handler-persists\"    # or a glob, as `forkproof run` takes it
    platforms = [\"linux\", \"*-32bit\"]   # where it holds; everywhere when left out
    expected = \"fail\"                  # or \"sometimes\"; or \"skip\": not run at all
    reason = \"signal() goes in 2.0\"    # required
    link = \"https://example.org/17\"    # if it is tracked somewhere
    matches = \"closed the connection\"  # unless \"skip\": words of Expected or Actual

`matches` is required, except with \"skip\". `a|b` matches either; in a list, every item must match. A \
failure with those words is `xfail` and does not fail the run; any other failure still does. A \
requirement that passes although it is expected to fail is `xpass` and makes the run fail: its entry \
is stale. With \"sometimes\" a pass is a pass.

A platform has several names, all in lower case, and `platforms` takes each of them or a glob over \
them: the system (linux, freebsd), with its release (freebsd-14, freebsd-14.3), with the \
architecture that forkproof runs as (linux-x86, freebsd-x86_64), with its width (linux-32bit), with \
its C library (linux-musl), and the distribution, also with its release (debian, ubuntu-24.04).";

/// The baseline's text; an error if the report names what is not in the catalogue.
pub fn draft(report: &Report) -> Result<String, String> {
    let mut text = String::new();
    let names = report.platform.names();
    let comment = |text: &mut String, words: &str| {
        // Writing to a String cannot fail.
        let _ = writeln!(text, "# {}", one_line(words));
    };
    comment(
        &mut text,
        &format!(
            "Made from a run against {} on {}, {}.",
            report.target.name,
            report.platform.line(),
            report.started
        ),
    );
    comment(&mut text, &format!("This platform is called {}.", names.join(", ")));
    if report.interrupted {
        comment(&mut text, "That run was interrupted: not everything was checked.");
    }
    // The system with its architecture: a defect of a server seldom depends on less, and the width
    // is told by it.
    let platform = format!("{}-{}", names[0], report.platform.architecture());
    let failures: Vec<&Entry> = report
        .requirements
        .iter()
        .filter(|entry| entry.verdict == Verdict::Fail && entry.level != Level::May)
        .collect();
    if failures.is_empty() {
        comment(&mut text, "Nothing failed: there are no exceptions.");
        return Ok(text);
    }
    comment(&mut text, "Say in each reason why the failure is expected; TODO is refused.");
    for entry in failures {
        let requirement = requirements::find(&entry.id).ok_or_else(|| {
            let hint = requirements::did_you_mean(&entry.id)
                .unwrap_or_else(|| "it was made by another version of forkproof".to_owned());
            format!("no requirement `{}`: {hint}", entry.id)
        })?;
        let failure = match (&entry.expected, &entry.actual) {
            (Some(expected), Some(actual)) => Failure::new(expected.clone(), actual.clone()),
            _ => return Err(format!("`{}` failed without `expected` and `actual`", entry.id)),
        };
        let words = characteristic(requirement, &failure)
            .ok_or_else(|| format!("`{}` failed without a word", entry.id))?;
        text.push('\n');
        comment(&mut text, &format!("{}: {}", entry.level.word(), entry.title));
        comment(&mut text, &format!("Expected: {}", failure.expected));
        comment(&mut text, &format!("Actual: {}", failure.actual));
        let quoted = |value: &str| toml::Value::from(value).to_string();
        let _ = write!(
            text,
            "[[exception]]\nid = {}\nplatforms = [{}]\nexpected = \"fail\"\n\
             reason = \"{TODO}: why is this expected, and until when?\"\n\
             # link = \"https://…\"\nmatches = {}\n",
            quoted(&entry.id),
            quoted(&platform),
            quoted(&words)
        );
    }
    Ok(text)
}

/// Words by which this failure will be known again: those that the catalogue's controls look for,
/// if it has them, or else the longest piece of it without numbers, paths and clients' names, which
/// differ from run to run.
fn characteristic(requirement: &Requirement, failure: &Failure) -> Option<String> {
    let controls = match requirement.controls {
        Controls::By(controls) => controls,
        Controls::None(_) => &[],
    };
    let of_controls = controls
        .iter()
        .flat_map(|control| control.words.split('|'))
        .filter(|words| failure.has(words))
        .max_by_key(|words| words.len());
    let texts = [failure.expected.as_str(), failure.actual.as_str()];
    let longest = |pieces: Vec<&str>| {
        // The first of equals, which max_by_key would not give.
        pieces.into_iter().rev().max_by_key(|piece| piece.len()).map(str::to_owned)
    };
    of_controls
        .map(str::to_owned)
        .or_else(|| {
            let pieces = texts.iter().flat_map(|text| stable_pieces(text));
            let trimmed = pieces.map(|piece| piece.trim_matches(|c: char| ",;.(".contains(c)));
            longest(trimmed.filter(|piece| !piece.is_empty()).collect())
        })
        .or_else(|| {
            let words = texts.iter().flat_map(|text| text.split(['|', ' ', '\n']));
            longest(words.filter(|word| !word.is_empty()).collect())
        })
}

/// The runs of stable words in `text`, as they stand there.
fn stable_pieces(text: &str) -> Vec<&str> {
    let mut pieces = Vec::new();
    let mut run: Option<(usize, usize)> = None;
    for word in text.split_ascii_whitespace() {
        // A piece of `text`, so this is where it begins.
        let start = word.as_ptr() as usize - text.as_ptr() as usize;
        let end = start + word.len();
        run = match run {
            Some((first, last)) if is_stable(word) && &text[last..start] == " " => {
                Some((first, end))
            }
            other => {
                pieces.extend(other.map(|(first, last)| &text[first..last]));
                is_stable(word).then_some((start, end))
            }
        };
    }
    pieces.extend(run.map(|(first, last)| &text[first..last]));
    pieces
}

/// The names that checks give their clients, beside those with numbers.
const CLIENTS: [&str; 3] = ["alice", "bob", "carol"];

fn is_stable(word: &str) -> bool {
    let unsteady = |c: char| c.is_ascii_digit() || c.is_control() || "/|:".contains(c);
    !word.contains(unsteady) && !CLIENTS.iter().any(|name| word.contains(name))
}

/// For a comment, which ends where the line does.
fn one_line(text: &str) -> String {
    text.chars().map(|c| if c.is_control() { ' ' } else { c }).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use rstest::rstest;

    #[rstest]
    // The controls' words, whoever of the clients was met first.
    #[case("signals/handler-persists", "bob hears \"message 7\" (1 of 1)", "gone", "\"message ")]
    #[case("signals/handler-persists", "x", "it took 3.5 s for /tmp/y to be read", "to be read")]
    #[case("signals/handler-persists", "alice hears what bob says", "2", "hears what")]
    #[case("signals/handler-persists", "one two|three four five", "6", "four five")]
    #[case("signals/handler-persists", "1", "nothing came; 2", "nothing came")]
    // Better a number than nothing.
    #[case("signals/handler-persists", "12", "3", "12")]
    fn words_that_stay(
        #[case] id: &str,
        #[case] expected: &str,
        #[case] actual: &str,
        #[case] words: &str,
    ) {
        let failure = Failure::new(expected, actual);
        let found = characteristic(requirements::find(id).unwrap(), &failure).unwrap();
        assert_eq!(found, words);
        assert!(failure.has(&found));
    }

    #[test]
    fn the_example_of_the_help_is_right() {
        let example: Vec<&str> =
            FORMAT.lines().filter_map(|line| line.strip_prefix("    ")).collect();
        super::super::baseline::Baseline::parse(&example.join("\n"), "example").unwrap();
    }
}
