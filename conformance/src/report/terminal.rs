//! For people at a terminal, or reading a CI log.

use std::fmt::Write;

use anstyle::{AnsiColor, Style};

use super::{Entry, Report};
use crate::catalogue::{Controls, Level, Requirement};
use crate::execution::{Conclusion, Record};
use crate::harness::Evidence;
use crate::target::Claim;
use crate::verdict::Verdict;

const BOLD: Style = Style::new().bold();
const DIM: Style = Style::new().dimmed();

fn style(verdict: Verdict) -> Style {
    match verdict {
        Verdict::Pass => AnsiColor::Green.on_default(),
        Verdict::Fail | Verdict::Xpass => AnsiColor::Red.on_default().bold(),
        Verdict::Xfail => AnsiColor::Cyan.on_default(),
        Verdict::Error => AnsiColor::Magenta.on_default().bold(),
        Verdict::Unsupported | Verdict::NotRun => AnsiColor::Yellow.on_default(),
    }
}

/// The line of one finished check.
pub fn record_line(record: &Record, repeated: bool) -> String {
    let verdict = record.finding.verdict;
    let colour = style(verdict);
    let id = record.requirement.id;
    let round = if repeated { format!(" #{}", record.round + 1) } else { String::new() };
    let mut line = format!("{colour}{:<11}{colour:#} {id}{round}", verdict.word());
    let width = id.len() + round.len();
    match (&record.finding.reason, &record.finding.failure) {
        (Some(reason), _) => {
            let _ = write!(
                line,
                "{:pad$}  {DIM}{reason}{DIM:#}",
                "",
                pad = 44usize.saturating_sub(width)
            );
        }
        (None, Some(failure)) => {
            let _ = write!(
                line,
                "{:pad$}  {}",
                "",
                failure.actual,
                pad = 44usize.saturating_sub(width)
            );
        }
        (None, None) => {
            let seconds = record.duration.as_secs_f64();
            let _ = write!(
                line,
                "{:pad$}  {DIM}{seconds:>5.2} s{DIM:#}",
                "",
                pad = 44usize.saturating_sub(width)
            );
            if let Some(note) = &record.finding.note {
                let _ = write!(line, "  {note}");
            }
        }
    }
    line
}

/// The end of a run: every failure in full, then the summary.
pub fn conclusion(report: &Report) -> String {
    let mut text = String::new();
    // Writing to a String cannot fail.
    if let Some(rehearsal) = &report.rehearsal {
        let colour = style(Verdict::Error);
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
        if !matches!(entry.verdict, Verdict::Fail | Verdict::Error | Verdict::Xpass) {
            continue;
        }
        let colour = style(entry.verdict);
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
    let colour = match report.conclusion {
        Conclusion::Conformant => AnsiColor::Green,
        Conclusion::NotConformant => AnsiColor::Red,
        Conclusion::NoVerdict => AnsiColor::Magenta,
    }
    .on_default()
    .bold();
    let word = match report.conclusion {
        Conclusion::Conformant => "conformant",
        Conclusion::NotConformant => "not conformant",
        Conclusion::NoVerdict => "no verdict",
    };
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

/// The command that runs a check again.
fn again(report: &Report, entry: &Entry) -> String {
    let target = match (&report.target.manifest, report.target.name.as_str()) {
        (Some(manifest), _) => format!(" --target {manifest} --program {}", report.target.program),
        (None, "reference") => String::new(),
        (None, name) if name == report.target.program => format!(" --program {name}"),
        (None, name) => format!(" --target {name} --program {}", report.target.program),
    };
    format!("forkproof run {}{target} --keep", entry.id)
}

/// A failure in words, without its evidence.
pub fn failure_text(entry: &Entry) -> String {
    let mut text = String::new();
    let mut field = |name: &str, value: Option<&str>| {
        if let Some(value) = value {
            let _ = writeln!(text, "{:<10} {value}", format!("{name}:"));
        }
    };
    field("Required", Some(&format!("{} ({})", entry.title, entry.level.word())));
    field("Source", Some(&entry.clause));
    field("Expected", entry.expected.as_deref());
    field("Actual", entry.actual.as_deref());
    let reason = if entry.verdict == Verdict::Xpass { "Stale" } else { "Error" };
    field(reason, entry.reason.as_deref());
    field("Baseline", super::baseline_text(entry).as_deref());
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
    for (name, lines) in [
        ("Timeline", &evidence.timeline),
        ("Processes", &evidence.processes),
        ("Locks on the chat log", &evidence.locks),
        ("The server's output", &evidence.output),
    ] {
        if lines.is_empty() {
            continue;
        }
        let _ = writeln!(text, "{name}:");
        for line in lines {
            // What strangers wrote must not steer the terminal.
            let line: String =
                line.chars().map(|c| if c.is_control() { '\u{fffd}' } else { c }).collect();
            let _ = writeln!(text, "    {line}");
        }
    }
    text
}

/// The catalogue as a list.
pub fn list(requirements: &[&'static Requirement]) -> String {
    let mut text = String::new();
    let mut area = "";
    for requirement in requirements {
        if requirement.area() != area {
            area = requirement.area();
            let _ =
                writeln!(text, "{}{BOLD}{area}{BOLD:#}", if text.is_empty() { "" } else { "\n" });
        }
        let mark = match requirement.level {
            Level::Must => "must  ",
            Level::Should => "should",
            Level::May => "may   ",
        };
        let _ = writeln!(text, "  {DIM}{mark}{DIM:#} {:<46} {}", requirement.id, requirement.title);
    }
    text
}

/// One requirement in full.
pub fn explanation(requirement: &Requirement) -> String {
    let mut text = String::new();
    let _ = writeln!(text, "{BOLD}{}{BOLD:#} ({})\n", requirement.id, requirement.level.word());
    let mut field = |name: &str, value: &str| {
        let _ = writeln!(text, "{BOLD}{:<10}{BOLD:#} {value}", format!("{name}:"));
    };
    field("Required", requirement.title);
    field("Source", requirement.clause);
    field("Trap", requirement.trap);
    field("Fix", requirement.fix);
    if !requirement.needs.is_empty() {
        let needs: Vec<String> =
            requirement.needs.iter().map(|need| need.words().to_owned()).collect();
        field("Needs", &needs.join(", "));
    }
    if !requirement.claims.is_empty() {
        let claims: Vec<&str> = requirement.claims.iter().map(|claim| claim.word()).collect();
        field("Claims", &claims.join(", "));
    }
    match requirement.controls {
        Controls::By(controls) => {
            let names: Vec<String> = controls
                .iter()
                .map(|control| {
                    format!("forkproof run {} --as {}", requirement.id, control.personality)
                })
                .collect();
            field("Broken by", &names.join("\n           "));
        }
        Controls::None(why) => field("Broken by", &format!("nothing: {why}")),
    }
    let here = match crate::needs::Need::first_missing(requirement.needs) {
        None => "can be checked".to_owned(),
        Some(crate::verdict::Stop::Unsupported(reason)) => format!("unsupported: {reason}"),
        Some(crate::verdict::Stop::NotRun(reason) | crate::verdict::Stop::Error(reason)) => {
            format!("cannot be run: {reason}")
        }
        Some(crate::verdict::Stop::Fail(_)) => String::new(),
    };
    field("Here", &here);
    field("Code", &format!("conformance/src/requirements/{}.rs", requirement.area()));
    field("Run it", &format!("forkproof run {} --keep", requirement.id));
    text
}

/// The personalities as a list.
pub fn personalities() -> String {
    let mut text = String::new();
    for personality in crate::personality::all() {
        let value = if personality.parameter.is_some() { "[=VALUE]" } else { "" };
        let _ = writeln!(text, "{BOLD}{}{BOLD:#}{value}", personality.name);
        let _ = writeln!(text, "    {}", personality.imitates);
        if let Some(parameter) = &personality.parameter {
            let _ = writeln!(text, "    VALUE: {}", crate::personality::values(parameter));
        }
        let _ = writeln!(text, "    {DIM}{}{DIM:#}", personality.source);
    }
    text
}
