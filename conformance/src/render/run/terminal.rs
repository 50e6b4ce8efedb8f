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

/// The end of a run: every failure in full, then the summary.
pub fn conclusion(report: &Report) -> String {
    let mut text = String::new();
    // Writing to a String cannot fail.
    if let Some(rehearsal) = &report.rehearsal {
        let colour = look(Verdict::Error).style;
        let _ = writeln!(text, "\n{colour}error{colour:#} {}", rehearsal.reason);
        if let Some(evidence) = &rehearsal.evidence {
            for line in evidence_text(evidence).lines() {
                let _ = writeln!(text, "  {line}");
            }
        }
    }
    let troubled = match report.rehearsal {
        // All have the one reason.
        Some(_) => [].iter(),
        None => report.requirements.iter(),
    };
    for entry in troubled {
        if !entry.verdict.is_trouble() {
            continue;
        }
        let colour = look(entry.verdict).style;
        let _ = writeln!(
            text,
            "\n{colour}{}{colour:#} {BOLD}{}{BOLD:#}",
            entry.verdict.word(),
            entry.id
        );
        for line in failure_text(entry).lines() {
            let _ = writeln!(text, "  {line}");
        }
        if let Some(evidence) = &entry.evidence {
            for line in evidence_text(evidence).lines() {
                let _ = writeln!(text, "  {line}");
            }
        }
        if let Some(directory) = &entry.directory {
            let _ = writeln!(text, "  Files:     {directory}");
        }
        let _ = writeln!(text, "  Again:     {}", again(report, entry));
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
    let colour = look_of(report.conclusion).style;
    let word = report.conclusion.words();
    let _ = writeln!(
        text,
        "\n{colour}{word}{colour:#}: {}  {DIM}({:.1} s, {} at a time, deadlines × {}){DIM:#}",
        report.summary(),
        report.duration_ms as f64 / 1e3,
        report.options.jobs,
        report.options.slowness,
    );
    text
}

/// The command that runs a check again, as a shell takes it.
fn again(report: &Report, entry: &Entry) -> String {
    let target = &report.target;
    let mut words = vec!["forkproof", "run", &entry.id];
    match (&target.manifest, target.name.as_str()) {
        (Some(manifest), _) => {
            words.extend(["--target", manifest, "--program", &target.program]);
        }
        (None, "reference") => {}
        (None, name) if name == target.program => words.extend(["--program", name]),
        (None, name) => words.extend(["--target", name, "--program", &target.program]),
    }
    words.push("--keep");
    printable(&shell_words::join(words))
}

/// A failure in words, without its evidence.
pub fn failure_text(entry: &Entry) -> String {
    let mut text = String::new();
    let mut field = |name: &str, value: Option<&str>| {
        if let Some(value) = value {
            let _ = writeln!(text, "{:<10} {}", format!("{name}:"), printable(value));
        }
    };
    field("Required", Some(&format!("{} ({})", entry.title, entry.level.word())));
    field("Source", Some(&entry.clause));
    field("Expected", entry.expected.as_deref());
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
    field("Trap", entry.trap.as_deref());
    field("Fix", entry.fix.as_deref());
    text
}

/// The evidence of a failure.
pub fn evidence_text(evidence: &Evidence) -> String {
    let mut text = String::new();
    for (name, lines) in evidence.parts() {
        let _ = writeln!(text, "{name}:");
        for line in lines {
            let _ = writeln!(text, "    {}", printable(line));
        }
    }
    text
}
