//! For people at a terminal, or reading a CI log.

use std::fmt::Write;

use forkproof_report::{Entry, Evidence, Report, Verdict};
use settings::printable;

use crate::render::look::{BOLD, DIM, look, look_of};
use crate::run::Record;
use crate::subject::Claim;

/// The line of one finished check.
pub fn record_line(record: &Record, repeated: bool) -> String {
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
    format!("{style}{:<11}{style:#} {name:<WORDS$}  {words}", look.word)
}

/// The checks that took longest.
pub fn slowest(report: &Report) -> String {
    const SHOWN: usize = 10;
    let mut entries: Vec<&Entry> = report.requirements.iter().collect();
    entries.sort_by_key(|entry| std::cmp::Reverse(entry.duration_ms));
    let mut text = format!("\n{BOLD}Slowest:{BOLD:#}\n");
    for entry in entries.into_iter().take(SHOWN) {
        let _ = writeln!(text, "  {:>7.2} s  {}", entry.duration().as_secs_f64(), entry.id);
    }
    text
}

/// The end of a run: every failure in full, then the summary.
pub fn conclusion(report: &Report, verbose: bool) -> String {
    let mut text = String::new();
    // Writing to a String cannot fail.
    if let Some(rehearsal) = &report.rehearsal {
        let colour = look(Verdict::Error).style;
        let _ = writeln!(text, "\n{colour}error{colour:#} {}", printable(&rehearsal.reason));
        if let Some(evidence) = &rehearsal.evidence {
            for line in evidence_text(evidence).lines() {
                let _ = writeln!(text, "  {line}");
            }
        }
    }
    // With a rehearsal all have the one reason.
    let groups = if report.rehearsal.is_some() { Vec::new() } else { alike(report) };
    let cascade = groups.iter().map(Vec::len).sum::<usize>() > CASCADE;
    let shown = if cascade { SHOWN_OF_CASCADE.min(groups.len()) } else { groups.len() };
    for (at, group) in groups[..shown].iter().enumerate() {
        let events = match (cascade, at) {
            (false, _) => usize::MAX,
            (true, 0) => EVENTS_OF_CASCADE,
            (true, _) => 0,
        };
        trouble(&mut text, report, group, events);
    }
    let rest: Vec<&str> = groups[shown..].iter().flatten().map(|e| e.id.as_str()).collect();
    if !rest.is_empty() {
        let _ = writeln!(
            text,
            "\nIn other words, which stand in the lines above, and in full in --report FILE: {}",
            rest.join(" ")
        );
    }
    if report.options.repeat > 1 {
        let flaky: Vec<&Entry> =
            report.requirements.iter().filter(|entry| entry.is_flaky()).collect();
        if !flaky.is_empty() {
            let _ = writeln!(text, "\nFlaky:");
            for entry in flaky {
                let _ = writeln!(text, "  {} of {}  {}", entry.not_passed, entry.runs, entry.id);
            }
        }
    }
    let ids: Vec<&str> = groups.iter().flatten().map(|entry| entry.id.as_str()).collect();
    if ids.len() > 1 {
        let _ = writeln!(text, "\n{BOLD}To look at again:{BOLD:#} {}", again(report, &ids));
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
    if unsupported > 0 && !verbose {
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

/// Beyond this factor of deadlines a reader is told that times were not judged strictly.
const SLOW: f64 = 8.0;
/// So many failures have seldom as many causes: then the most numerous kinds are shown, and only the
/// first with its evidence. All of it is in the JSON report.
const CASCADE: usize = 20;
const SHOWN_OF_CASCADE: usize = 3;
const EVENTS_OF_CASCADE: usize = 20;

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
    let (Some(actual), Some(trap)) = (&entry.actual, &entry.trap) else { return 0 };
    let actual = cause(actual);
    let mut words: Vec<&str> = actual.split(|c: char| !c.is_alphanumeric()).collect();
    words.sort_unstable();
    words.dedup();
    words.iter().filter(|word| word.len() >= TELLING && trap.contains(*word)).count()
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
fn trouble(text: &mut String, report: &Report, group: &[&Entry], events: usize) {
    let Some((entry, others)) = group.split_first() else { return };
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
    if let Some(directory) = &entry.directory {
        let _ = writeln!(text, "  {:<13} {}", "Files:", printable(directory));
    }
    let _ = writeln!(text, "  {:<13} {}", "Again:", again(report, &[&entry.id]));
    if !others.is_empty() {
        let ids: Vec<&str> = others.iter().map(|entry| entry.id.as_str()).collect();
        let _ =
            writeln!(text, "  {:<13} {} more: {}", "In the same words:", ids.len(), ids.join(" "));
    }
}

/// The command that runs checks again as they were run, as a shell takes it.
fn again(report: &Report, ids: &[&str]) -> String {
    let target = &report.target;
    let mut words = vec!["forkproof", "run"];
    words.extend(ids);
    let baseline = report
        .requirements
        .iter()
        .filter(|entry| ids.contains(&entry.id.as_str()))
        .find_map(|entry| Some(entry.baseline.as_ref()?.file.as_str()));
    let repeat = report.options.repeat.to_string();
    match (&target.manifest, target.name.as_str()) {
        (Some(manifest), _) => {
            words.extend(["--target", manifest, "--program", &target.program]);
        }
        (None, "reference") => {}
        (None, name) if name == target.program => words.extend(["--program", name]),
        (None, name) => words.extend(["--target", name, "--program", &target.program]),
    }
    if let Some(personality) = &report.options.personality {
        words.extend(["--as", personality]);
    }
    if let Some(file) = baseline {
        words.extend(["--baseline", file]);
    }
    if report.options.repeat > 1 {
        words.extend(["--repeat", &repeat]);
    }
    words.push("--keep");
    printable(&shell_words::join(words))
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
    let blocked = entry.verdict == Verdict::Blocked;
    field(if blocked { "Set-up" } else { "Expected" }, entry.expected.as_deref());
    field("Actual", entry.actual.as_deref());
    let reason = if entry.verdict == Verdict::Xpass { "Stale" } else { "Error" };
    field(reason, entry.reason.as_deref());
    field("Baseline", entry.baseline_text().as_deref());
    let claimed = entry
        .claimed
        .iter()
        .map(|word| match Claim::try_from(word.clone()) {
            Ok(claim) => format!("`{word}`, that the server {}", claim.sentence()),
            Err(_) => format!("`{word}`"),
        })
        .collect::<Vec<_>>()
        .join("; ");
    field("Claimed", (!claimed.is_empty()).then_some(claimed.as_str()));
    field("Covered by", entry.covered_by.as_deref());
    field("Usual cause", entry.trap.as_deref());
    field("Usual fix", entry.fix.as_deref());
    text
}

/// The evidence of a failure.
pub fn evidence_text(evidence: &Evidence) -> String {
    let mut text = String::new();
    for (name, lines) in evidence.parts() {
        let _ = writeln!(text, "{name}:");
        for group in lines.chunk_by(|a, b| a == b) {
            let times = match group.len() {
                1 => String::new(),
                times => format!("  (× {times})"),
            };
            let _ = writeln!(text, "    {}{times}", printable(&group[0]));
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_server_repeats_is_folded() {
        let output = ["a", "b", "b", "b", "a"].map(String::from).to_vec();
        let text = evidence_text(&Evidence { output, ..Evidence::default() });
        assert_eq!(text, "The server's output:\n    a\n    b  (× 3)\n    a\n");
    }
}
