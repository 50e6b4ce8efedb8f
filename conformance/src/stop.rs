//! How a check ends before its last line: what checks, and all that they stand on, return.

use std::borrow::Cow;
use std::cell::RefCell;

use forkproof_report::Failure;
use serde::{Deserialize, Serialize};

/// Why a check ended before its last line.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum Stop {
    /// The server does not conform.
    Fail(Failure),
    /// As [`forkproof_report::Verdict::Blocked`].
    Blocked(Failure),
    /// As [`forkproof_report::Verdict::Unsupported`], with the reason.
    Unsupported(String),
    /// As [`forkproof_report::Verdict::NotRun`], with the reason.
    NotRun(String),
    /// As [`forkproof_report::Verdict::Error`], with what went wrong.
    Error(String),
}

/// What a check comes to: nothing to say when the requirement holds.
pub type Outcome = Result<(), Stop>;

/// A step of a check.
pub type Step<T> = Result<T, Stop>;

thread_local! {
    /// See [`at_each_failure`].
    static BYSTANDER: RefCell<Option<Box<dyn Fn()>>> = const { RefCell::new(None) };
}

/// Has `look` called at each failure of this thread, while the check's clients and locks are still
/// there: the moment that its evidence should show.
pub fn at_each_failure(look: impl Fn() + 'static) {
    BYSTANDER.with(|bystander| *bystander.borrow_mut() = Some(Box::new(look)));
}

/// A check that ends here because the server did not conform.
pub fn fail<'a, T>(expected: impl Into<Cow<'a, str>>, actual: impl Into<Cow<'a, str>>) -> Step<T> {
    BYSTANDER.with(|bystander| {
        if let Some(look) = &*bystander.borrow() {
            look();
        }
    });
    Err(Stop::Fail(Failure::new(expected.into().into_owned(), actual.into().into_owned())))
}

/// What failed is what `requirement`, another one, is about, unless that is said already.
pub fn covered_by(stop: Stop, requirement: &str) -> Stop {
    match stop {
        Stop::Fail(failure) => {
            let covered_by = failure.covered_by.or_else(|| Some(requirement.to_owned()));
            Stop::Fail(Failure { covered_by, ..failure })
        }
        other => other,
    }
}

/// Fails unless `holds`.
pub fn ensure<'a>(
    holds: bool,
    expected: impl Into<Cow<'a, str>>,
    actual: impl FnOnce() -> String,
) -> Outcome {
    if holds { Ok(()) } else { fail(expected, actual()) }
}

/// Turns an error of the harness's own work into [`Stop::Error`], saying what it was about.
pub trait OrError<T> {
    /// Names what the harness was doing.
    fn or_error(self, doing: impl std::fmt::Display) -> Step<T>;
}

impl<T, E: std::fmt::Display> OrError<T> for Result<T, E> {
    fn or_error(self, doing: impl std::fmt::Display) -> Step<T> {
        self.map_err(|error| Stop::Error(format!("{doing}: {error}")))
    }
}
