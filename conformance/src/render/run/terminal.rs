//! For people at a terminal, or reading a CI log.

use std::fmt::Write;
use std::time::Duration;

use forkproof_report::{Entry, Evidence, Report, Verdict};
use settings::printable;

use crate::render::again::again;
use crate::render::fields::told;
use crate::render::look::{BOLD, CAUSE, DIM, FIX, look, look_of};
use crate::run::Record;

/// How a command begins that stands in a text, to be copied.
pub const COMMAND: &str = "forkproof run ";

/// What is shown of a run.
#[derive(Debug, Clone, Copy)]
pub struct Shown {
    /// What was not asked, with the reasons, too.
    pub verbose: bool,
    /// Failures in full at the end.
    pub failures: bool,
}

/// The line of one finished check; `slow` is what took long.
pub fn record_line(record: &Record, repeated: bool, slow: Duration) -> String {
    /// Where the words begin that stand behind the ids.
    const WORDS: usize = 44;
    let look = look(record.finding.verdict);
    let round = if repeated { format!(" #{}", record.round + 1) } else { String::new() };
    let name = format!("{}{round}", record.requirement.id);
    let words = match (&record.finding.reason, &record.finding.failure) {
        (Some(reason), _) => format!("{DIM}{}{DIM:#}", printable(reason)),
        (None, Some(failure)) => printable(&failure.actual),
        (None, None) => {
            let seconds = record.duration.as_secs_f64();
            let note = record.finding.note.as_ref().map(|note| format!("  {}", printable(note)));
            format!("{DIM}{seconds:>5.2} s{DIM:#}{}", note.unwrap_or_default())
        }
    };
    let style = look.style;
    let mark = if record.duration >= slow { slow_mark(record.duration) } else { String::new() };
    format!("{style}{:<11}{style:#} {name:<WORDS$}  {words}{mark}", look.word)
}

fn slow_mark(duration: Duration) -> String {
    let style = look(Verdict::NotRun).style;
    format!("  {style}slow: {:.0} s{style:#}", duration.as_secs_f64())
}

/// A failure in full, as soon as it is known.
pub fn at_once(entry: &Entry) -> String {
    let mut text = String::new();
    failure(&mut text, entry, usize::MAX);
    text.push('\n');
    text
}

/// The checks that took longest.
pub fn slowest(report: &Report, slow: Duration) -> String {
    const SHOWN: usize = 10;
    let mut entries: Vec<&Entry> = report.requirements.iter().collect();
    entries.sort_by_key(|entry| std::cmp::Reverse(entry.duration_ms));
    let mut text = format!("\n{BOLD}Slowest:{BOLD:#}\n");
    for entry in entries.into_iter().take(SHOWN) {
        let mark =
            if entry.duration() >= slow { slow_mark(entry.duration()) } else { String::new() };
        let _ = writeln!(text, "  {:>7.2} s  {}{mark}", entry.duration().as_secs_f64(), entry.id);
    }
    text
}

/// The end of a run: every failure in full, then the summary.
pub fn conclusion(report: &Report, show: Shown) -> String {
    let mut text = String::new();
    // Writing to a String cannot fail.
    if let Some(rehearsal) = &report.rehearsal {
        // All have the verdict of the rehearsal.
        let verdict = report.requirements.first().map_or(Verdict::Error, |entry| entry.verdict);
        let (colour, word) = (look(verdict).style, verdict.word());
        let _ = writeln!(text, "\n{colour}{word}{colour:#} {}", printable(&rehearsal.reason));
        if let Some(evidence) = &rehearsal.evidence {
            for line in evidence_text(evidence).lines() {
                let _ = writeln!(text, "  {line}");
            }
        }
    }
    // With a rehearsal all have the one reason.
    let groups = if report.rehearsal.is_some() { Vec::new() } else { alike(report) };
    let cascade = groups.iter().map(Vec::len).sum::<usize>() > CASCADE;
    let shown = match (show.failures, cascade) {
        (false, _) => 0,
        (true, true) => SHOWN_OF_CASCADE.min(groups.len()),
        (true, false) => groups.len(),
    };
    for (at, group) in groups[..shown].iter().enumerate() {
        let events = match (cascade, at) {
            (false, _) => usize::MAX,
            (true, 0) => EVENTS_OF_CASCADE,
            (true, _) => 0,
        };
        trouble(&mut text, report, group, cascade, events);
    }
    let rest: Vec<&str> = groups[shown..].iter().flatten().map(|e| e.id.as_str()).collect();
    if !rest.is_empty() && show.failures {
        let _ = writeln!(
            text,
            "\nOther failures, listed above (in full with --report FILE): {}",
            rest.join(" ")
        );
    }
    text.push_str(&flaky(report));
    let ids: Vec<&str> = groups.iter().flatten().map(|entry| entry.id.as_str()).collect();
    if ids.len() > 1 {
        let _ = writeln!(text, "\n{BOLD}To run these again:{BOLD:#} {}", again(report, &ids));
    }
    let colour = look_of(report.conclusion).style;
    let _ = writeln!(
        text,
        "\n{colour}{}{colour:#}: {}  {DIM}({:.1} s, {} at a time, deadlines × {}){DIM:#}",
        report.conclusion_words(),
        report.summary(),
        report.duration_ms as f64 / 1e3,
        report.options.jobs,
        report.options.slowness,
    );
    let unsupported =
        report.requirements.iter().filter(|entry| entry.verdict == Verdict::Unsupported).count();
    if unsupported > 0 && !show.verbose {
        let _ = writeln!(
            text,
            "{DIM}Not asked, since the server does not claim or speak it: {unsupported}; --verbose \
             says why.{DIM:#}"
        );
    }
    if report.options.slowness > SLOW {
        let _ = writeln!(
            text,
            "This machine is slow: deadlines are × {}, so times were not judged strictly.",
            report.options.slowness
        );
    }
    text
}

/// A table of what did not come to the same in every round.
fn flaky(report: &Report) -> String {
    let mut entries: Vec<&Entry> =
        report.requirements.iter().filter(|entry| entry.is_flaky()).collect();
    if entries.is_empty() {
        return String::new();
    }
    let share = |entry: &Entry| entry.not_passed as f64 / entry.runs as f64;
    entries.sort_by(|a, b| share(b).total_cmp(&share(a)));
    let mut text = format!(
        "\n{BOLD}Flaky:{BOLD:#}\n  {DIM}{:>10} {:>6} {:>6} {:>9}{DIM:#}\n",
        "not passed", "rounds", "share", "longest"
    );
    for entry in entries {
        let _ = writeln!(
            text,
            "  {:>10} {:>6} {:>4.0} % {:>7.2} s  {}",
            entry.not_passed,
            entry.runs,
            share(entry) * 100.0,
            entry.duration().as_secs_f64(),
            entry.id
        );
    }
    text
}

/// Beyond this factor of deadlines a reader is told that times were not judged strictly.
const SLOW: f64 = 8.0;
/// So many failures have seldom as many causes: then the most numerous kinds are shown, and only the
/// first with its evidence. All of it is in the JSON report.
const CASCADE: usize = 20;
const SHOWN_OF_CASCADE: usize = 2;
const EVENTS_OF_CASCADE: usize = 8;

/// What is not well, those together that failed in the same words, the most numerous kind first.
fn alike(report: &Report) -> Vec<Vec<&Entry>> {
    let mut groups: Vec<(String, Vec<&Entry>)> = Vec::new();
    for entry in report.requirements.iter().filter(|entry| entry.verdict.is_trouble()) {
        let words = format!("{} {}", entry.verdict.word(), signature(entry));
        match groups.iter_mut().find(|(known, _)| *known == words) {
            Some((_, group)) => group.push(entry),
            None => groups.push((words, vec![entry])),
        }
    }
    for (_, group) in &mut groups {
        // The one whose usual cause has most to do with what happened speaks for the others.
        group.sort_by_key(|entry| std::cmp::Reverse(likeness(entry)));
    }
    groups.sort_by_key(|(_, group)| std::cmp::Reverse(group.len()));
    groups.into_iter().map(|(_, group)| group).collect()
}

/// What the server tells of the cause, if it does, and else what happened.
fn cause(actual: &str) -> &str {
    actual.split_once("the server says: ").map_or(actual, |(_, cause)| cause)
}

/// How many of the words for what happened stand in the usual cause of a requirement's failures.
fn likeness(entry: &Entry) -> usize {
    /// Shorter words stand everywhere.
    const TELLING: usize = 5;
    /// And so do these.
    const ANYWHERE: [&str; 5] = ["client", "clients", "server", "process", "within"];
    let (Some(actual), Some(trap)) = (&entry.actual, &entry.trap) else { return 0 };
    let actual = cause(actual);
    let mut words: Vec<&str> = actual.split(|c: char| !c.is_alphanumeric()).collect();
    words.sort_unstable();
    words.dedup();
    let telling = |word: &&&str| word.len() >= TELLING && !ANYWHERE.contains(*word);
    words.iter().filter(telling).filter(|word| trap.contains(**word)).count()
}

/// What happened, without what differs from check to check: numbers, quotations, clients' names.
fn signature(entry: &Entry) -> String {
    const CLIENTS: [&str; 5] = ["alice", "bob", "carol", "client", "last"];
    let actual = entry.actual.as_deref().or(entry.reason.as_deref()).unwrap_or_default();
    let told = cause(actual) != actual;
    // In the set-up it does not matter who it was that was not served.
    let actual = match &entry.covered_by {
        Some(step) if !told && entry.verdict == Verdict::Blocked => step,
        _ => actual,
    };
    // Nor who did not hear something.
    let actual = actual.split_once(" does not hear ").map_or(actual, |(_, rest)| rest);
    let unquoted: String = cause(actual).split('"').step_by(2).collect();
    let words = unquoted.split(|c: char| !c.is_alphabetic());
    let mut words: Vec<&str> =
        words.filter(|word| !word.is_empty() && !CLIENTS.contains(word)).collect();
    words.dedup();
    // Where that leaves nothing, no two are alike.
    if words.is_empty() { entry.id.clone() } else { words.join(" ") }
}

/// One kind of failure: the first of it, and how many more there are.
/// `events` is how much of a timeline is shown, from its end; of none, no evidence at all.
fn trouble(text: &mut String, report: &Report, group: &[&Entry], cascade: bool, events: usize) {
    let Some((entry, others)) = group.split_first() else { return };
    let mut entry = (*entry).clone();
    if !others.is_empty() && cascade && likeness(&entry) == 0 {
        // Of many that failed alike no single one's usual cause is the cause.
        (entry.trap, entry.fix) = (None, None);
    }
    let entry = &entry;
    failure(text, entry, events);
    if let Some(directory) = &entry.directory {
        let _ = writeln!(text, "  {:<13} {}", "Files:", printable(directory));
    }
    let _ = writeln!(text, "  {:<13} {}", "Again:", again(report, &[&entry.id]));
    if !others.is_empty() {
        let ids: Vec<&str> = others.iter().map(|entry| entry.id.as_str()).collect();
        let _ = writeln!(text, "  {:<13} {} more: {}", "Same failure:", ids.len(), ids.join(" "));
    }
}

/// What failed, how, and as much evidence as [`trouble`] says.
fn failure(text: &mut String, entry: &Entry, events: usize) {
    let look = look(entry.verdict);
    let colour = look.style;
    let _ = writeln!(text, "\n{colour}{}{colour:#} {BOLD}{}{BOLD:#}", look.word, entry.id);
    for line in failure_text(entry).lines() {
        let _ = writeln!(text, "  {line}");
    }
    if let Some(evidence) = entry.evidence.as_ref().filter(|_| events > 0) {
        let mut evidence = evidence.clone();
        let left_out = evidence.timeline.len().saturating_sub(events);
        if left_out > 0 {
            let note = format!("             … {left_out} events left out …");
            evidence.timeline.splice(..left_out, [note]);
        }
        for line in evidence_text(&evidence).lines() {
            let _ = writeln!(text, "  {line}");
        }
    }
}

/// A failure in words, without its evidence.
pub fn failure_text(entry: &Entry) -> String {
    let mut text = String::new();
    let mut field = |name: &str, value: Option<&str>| {
        if let Some(value) = value {
            let _ = writeln!(text, "{:<13} {}", format!("{name}:"), printable(value));
        }
    };
    field("Required", Some(&format!("{} ({})", entry.title, entry.level.word())));
    field("Source", Some(&entry.clause));
    for (name, value) in told(entry) {
        field(name, Some(&value));
    }
    field(CAUSE, entry.trap.as_deref());
    field(FIX, entry.fix.as_deref());
    text
}

/// The evidence of a failure.
pub fn evidence_text(evidence: &Evidence) -> String {
    let mut text = String::new();
    for (name, lines) in evidence.parts() {
        let _ = writeln!(text, "{name}:");
        // What happens again and again happens at times of its own.
        let many = if name == "Timeline" { usize::MAX } else { MANY };
        for fold in folded(lines, many) {
            let times = match (fold.times, fold.exact) {
                (1, _) => String::new(),
                (times, true) => format!("  (× {times})"),
                (times, false) => format!("  (× {times}, with other numbers)"),
            };
            let _ = writeln!(text, "    {}{times}", printable(fold.line));
        }
    }
    text
}

/// A line, and how often it stands there.
struct Fold<'a> {
    line: &'a str,
    times: usize,
    /// Whether all of them are the same, also in their numbers.
    exact: bool,
}

/// From so many on, lines that differ in nothing but numbers are shown as one.
const MANY: usize = 4;

/// `lines`, with those as one that follow each other and are the same, or are as `many` and differ in
/// numbers only.
fn folded(lines: &[String], many: usize) -> Vec<Fold<'_>> {
    let words = |line: &str| line.split(|c: char| c.is_ascii_digit()).collect::<String>();
    let mut folds = Vec::new();
    for alike in lines.chunk_by(|a, b| words(a) == words(b)) {
        let exact = alike.iter().all(|line| *line == alike[0]);
        if exact || alike.len() >= many {
            folds.push(Fold { line: &alike[0], times: alike.len(), exact });
            continue;
        }
        for same in alike.chunk_by(|a, b| a == b) {
            folds.push(Fold { line: &same[0], times: same.len(), exact: true });
        }
    }
    folds
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_server_repeats_is_folded() {
        let output = ["a", "b", "b", "b", "a"].map(String::from).to_vec();
        let text = evidence_text(&Evidence { output, ..Evidence::default() });
        assert_eq!(text, "The server's output:\n    a\n    b  (× 3)\n    a\n");
        let output = (1..=64).map(|n| format!("chatd[{n}]: joined")).collect();
        let text = evidence_text(&Evidence { output, ..Evidence::default() });
        assert_eq!(
            text,
            "The server's output:\n    chatd[1]: joined  (× 64, with other numbers)\n"
        );
        // A few that differ are all told.
        let output = ["1 left", "2 left", "2 left"].map(String::from).to_vec();
        let text = evidence_text(&Evidence { output, ..Evidence::default() });
        assert_eq!(text, "The server's output:\n    1 left\n    2 left  (× 2)\n");
    }
}
