//! JUnit XML, for CI systems. What did not run, or failed as the baseline expects, is `skipped` with
//! its reason, never a pass; what passes unexpectedly is a failure.

use quick_junit::{NonSuccessKind, Report as Document, TestCase, TestCaseStatus, TestSuite};

use super::{Entry, Report};
use crate::verdict::Verdict;

/// The report as JUnit XML: a test suite per area, a test case per requirement.
pub fn render(report: &Report) -> Result<String, quick_junit::SerializeError> {
    let mut document = Document::new("forkproof");
    document.set_time(std::time::Duration::from_millis(report.duration_ms));
    let mut suite: Option<TestSuite> = None;
    for entry in &report.requirements {
        let (area, _) = parts(&entry.id);
        if suite.as_ref().is_none_or(|suite| suite.name.as_str() != area) {
            document.add_test_suites(suite.take());
            let mut next = TestSuite::new(area);
            next.add_property(("platform", report.platform.line().as_str()));
            next.add_property(("target", report.target.name.as_str()));
            suite = Some(next);
        }
        let case = case(entry);
        if let Some(suite) = &mut suite {
            suite.add_test_case(case);
        }
    }
    document.add_test_suites(suite);
    document.to_string()
}

/// The area and the name of an id.
pub(crate) fn parts(id: &str) -> (&str, &str) {
    id.split_once('/').unwrap_or(("", id))
}

/// One requirement as a test case.
pub(crate) fn case(entry: &Entry) -> TestCase {
    let (area, name) = parts(&entry.id);
    let mut case = TestCase::new(name, status(entry));
    case.set_classname(format!("forkproof.{area}"));
    case.set_time(entry.duration());
    if let Some(evidence) = &entry.evidence {
        case.set_system_out(super::terminal::evidence_text(evidence));
    } else if let Some(note) = &entry.note {
        case.set_system_out(note);
    }
    case
}

fn status(entry: &Entry) -> TestCaseStatus {
    let non_success = |kind, word: &str| {
        let mut status = TestCaseStatus::non_success(kind);
        status.set_type(word);
        status
    };
    let reason = entry.reason.clone().unwrap_or_default();
    match entry.verdict {
        Verdict::Pass => TestCaseStatus::success(),
        Verdict::Fail => {
            let mut status = non_success(NonSuccessKind::Failure, "fail");
            status.set_message(entry.actual.clone().unwrap_or_default());
            status.set_description(super::terminal::failure_text(entry));
            status
        }
        Verdict::Error => {
            let mut status = non_success(NonSuccessKind::Error, "error");
            status.set_message(reason);
            status
        }
        Verdict::Xpass => {
            let mut status = non_success(NonSuccessKind::Failure, "xpass");
            status.set_message(reason);
            status.set_description(super::terminal::failure_text(entry));
            status
        }
        Verdict::Unsupported | Verdict::NotRun | Verdict::Xfail => {
            let mut status = TestCaseStatus::skipped();
            status.set_type(entry.verdict.word());
            status.set_message(reason);
            status
        }
    }
}
