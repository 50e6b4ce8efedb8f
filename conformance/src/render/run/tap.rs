//! TAP 14, for programs that read the Test Anything Protocol: `prove`, kyua, CI systems. What did not
//! run is `SKIP`; what may fail without failing the run is `TODO`.

use std::fmt::Write;

use forkproof_report::{Conclusion, Entry, Level, Report, Verdict};

/// The report as TAP 14: a test point for each requirement.
pub fn render(report: &Report) -> String {
    let mut text = String::from("TAP version 14\n");
    // Writing to a String cannot fail.
    let _ = writeln!(text, "1..{}", report.requirements.len());
    let _ = writeln!(text, "# {}", one_line(&report.target.name));
    let _ = writeln!(text, "# {}", one_line(&report.platform.line()));
    for (at, entry) in report.requirements.iter().enumerate() {
        point(&mut text, at + 1, entry);
    }
    let _ = writeln!(text, "# {}: {}", report.conclusion_words(), report.summary());
    match &report.rehearsal {
        Some(rehearsal) => {
            let _ = writeln!(text, "Bail out! {}", one_line(&rehearsal.reason));
        }
        None if report.interrupted => {
            let _ = writeln!(text, "Bail out! The run was interrupted.");
        }
        // Where every point is skipped a reader of TAP would see a pass.
        None if report.conclusion == Conclusion::NoVerdict
            && !report.requirements.iter().any(|entry| entry.verdict.is_trouble()) =>
        {
            let _ = writeln!(text, "Bail out! Nothing could be checked.");
        }
        None => {}
    }
    text
}

fn point(text: &mut String, number: usize, entry: &Entry) {
    let ok = match entry.verdict {
        Verdict::Pass | Verdict::Unsupported | Verdict::NotRun => "ok",
        Verdict::Fail | Verdict::Xfail | Verdict::Xpass | Verdict::Error | Verdict::Blocked => {
            "not ok"
        }
    };
    let reason = entry.reason.as_deref().unwrap_or_default();
    let directive = match (entry.verdict, entry.level) {
        (Verdict::Unsupported | Verdict::NotRun, _) => {
            format!(" # SKIP {}: {}", entry.verdict.word(), one_line(reason))
        }
        (Verdict::Xfail, _) => {
            let why = entry.baseline.as_ref().map_or(reason, |exception| &exception.reason);
            format!(" # TODO the baseline says: {}", one_line(why))
        }
        (Verdict::Fail, Level::May) => " # TODO informative: it fails no run".to_owned(),
        _ => String::new(),
    };
    let _ = writeln!(text, "{ok} {number} - {}{directive}", entry.id);
    if entry.verdict.is_trouble() || entry.verdict == Verdict::Xfail {
        let _ = writeln!(text, "  ---");
        let mut field = |name: &str, value: Option<&str>| {
            if let Some(value) = value {
                // A JSON string is one of YAML's double-quoted.
                let _ = writeln!(
                    text,
                    "  {name}: {}",
                    serde_json::Value::from(settings::printable(value))
                );
            }
        };
        field("verdict", Some(entry.verdict.word()));
        field("level", Some(entry.level.word()));
        field("required", Some(&entry.title));
        field("expected", entry.expected.as_deref());
        field("actual", entry.actual.as_deref());
        field("reason", entry.reason.as_deref());
        field("covered_by", entry.covered_by.as_deref());
        field("usual_cause", entry.trap.as_deref());
        field("usual_fix", entry.fix.as_deref());
        let _ = writeln!(text, "  duration_ms: {}", entry.duration_ms);
        let _ = writeln!(text, "  ...");
    }
}

/// Words that end no line early and begin no directive.
fn one_line(text: &str) -> String {
    settings::printable(text).replace('\\', "\\\\").replace('#', "\\#")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_breaks_out_of_its_line() {
        assert_eq!(one_line("a # SKIP\nok \\2"), "a \\# SKIP ok \\\\2");
    }
}
