//! Markdown, for the job summary of a CI run.

use std::fmt::Write;

use forkproof_report::{Entry, Report, Verdict};
use settings::printable;

use crate::render::escape::markdown as cell;
use crate::render::look::{CAUSE, FIX};

/// The report as Markdown: the failures with their reasons first, then what did not run.
pub fn render(report: &Report) -> String {
    let mut text = String::new();
    // Writing to a String cannot fail.
    let _ = writeln!(text, "## forkproof: {}\n", report.conclusion_words());
    let _ = writeln!(text, "{}.\n", report.summary());
    let _ = writeln!(text, "- Target: {}", cell(&report.target.name));
    let _ = writeln!(text, "- Platform: {}", cell(&report.platform.line()));
    let _ = writeln!(
        text,
        "- Run time: {:.1} s with {} jobs, deadlines × {}",
        report.duration_ms as f64 / 1e3,
        report.options.jobs,
        report.options.slowness
    );
    if !report.options.command.is_empty() {
        let command = shell_words::join(&report.options.command);
        let _ = writeln!(text, "- Command: {}", cell(&format!("forkproof {command}")));
    }
    if let Some(personality) = &report.options.personality {
        let _ = writeln!(text, "- Under the personality: {}", cell(personality));
    }
    let of = |verdicts: &[Verdict]| -> Vec<&Entry> {
        report.requirements.iter().filter(|entry| verdicts.contains(&entry.verdict)).collect()
    };
    let troubled = of(&[Verdict::Fail, Verdict::Error, Verdict::Blocked, Verdict::Xpass]);
    if !troubled.is_empty() {
        let _ = writeln!(text, "\n### Failures\n");
        for entry in troubled {
            let title = cell(&entry.title);
            let _ = writeln!(text, "- **{}** ({}): {title}", entry.id, entry.level.word());
            let reason = if entry.verdict == Verdict::Xpass { "Stale" } else { "Error" };
            for (name, value) in [
                ("Expected", &entry.expected),
                ("Actual", &entry.actual),
                (reason, &entry.reason),
                ("Baseline", &entry.baseline_text()),
                ("Covered by", &entry.covered_by),
                (CAUSE, &entry.trap),
                (FIX, &entry.fix),
            ] {
                if let Some(value) = value {
                    let _ = writeln!(text, "  - {name}: {}", cell(value));
                }
            }
        }
    }
    let known = of(&[Verdict::Xfail]);
    if !known.is_empty() {
        let _ = writeln!(text, "\n### Expected failures\n");
        for (entry, exception) in known.iter().filter_map(|e| Some((e, e.baseline.as_ref()?))) {
            let link = exception.link.as_ref().map(|link| format!(" <{}>", printable(link)));
            let link = link.unwrap_or_default();
            let _ = writeln!(
                text,
                "- **{}** ({}): {}{link} ({}:{})",
                entry.id,
                entry.level.word(),
                cell(&exception.reason),
                cell(&exception.file),
                exception.line
            );
        }
    }
    let skipped = of(&[Verdict::Unsupported, Verdict::NotRun]);
    if !skipped.is_empty() {
        let _ = writeln!(
            text,
            "\n### Not checked\n\n| requirement | verdict | reason |\n|---|---|---|"
        );
        for entry in skipped {
            let reason = entry.reason.as_deref().unwrap_or("");
            let _ =
                writeln!(text, "| {} | {} | {} |", entry.id, entry.verdict.word(), cell(reason));
        }
    }
    let noted = report.requirements.iter().filter_map(|e| Some((e, e.note.as_ref()?)));
    for (index, (entry, note)) in noted.enumerate() {
        if index == 0 {
            let _ = writeln!(text, "\n### Notes\n");
        }
        let _ = writeln!(text, "- {}: {}", entry.id, cell(note));
    }
    let _ = writeln!(
        text,
        "\n<details><summary>All requirements</summary>\n\n| requirement | level | verdict | s |\n|---|---|---|---|"
    );
    for entry in &report.requirements {
        let _ = writeln!(
            text,
            "| {} | {} | {} | {:.2} |",
            entry.id,
            entry.level.word(),
            entry.verdict.word(),
            entry.duration().as_secs_f64()
        );
    }
    let _ = writeln!(text, "\n</details>");
    text
}
