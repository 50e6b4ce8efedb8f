//! The matrix as JUnit XML: a test suite for each column, a test case for each requirement.

use quick_junit::{Report as Document, SerializeError, TestCase, TestCaseStatus, TestSuite};

use super::Matrix;
use super::look::NOT_SELECTED;
use crate::report::junit::{case, parts};

/// The matrix as JUnit XML. What a report hasn't is `skipped` in its suite, never a pass.
pub fn render(matrix: &Matrix<'_>) -> Result<String, SerializeError> {
    let mut document = Document::new(matrix.title.as_str());
    for (at, column) in matrix.columns.iter().enumerate() {
        let mut suite = TestSuite::new(column.label.as_str());
        let report = &column.report;
        suite.set_time(std::time::Duration::from_millis(report.duration_ms));
        suite.add_property(("platform", report.platform.line().as_str()));
        suite.add_property(("target", report.target.name.as_str()));
        suite.add_property(("forkproof", report.forkproof.as_str()));
        suite.add_property(("conclusion", column.conclusion()));
        for row in &matrix.rows {
            suite.add_test_case(match row.cells[at] {
                Some(entry) => case(entry),
                None => {
                    let (area, name) = parts(row.id);
                    let mut status = TestCaseStatus::skipped();
                    status.set_type(NOT_SELECTED.word);
                    status.set_message(NOT_SELECTED.meaning);
                    let mut case = TestCase::new(name, status);
                    case.set_classname(format!("forkproof.{area}"));
                    case
                }
            });
        }
        document.add_test_suite(suite);
    }
    document.to_string()
}
