//! What a requirement's run came to, and which of the possible answers count as a failure.

use std::borrow::Cow;
use std::cell::RefCell;

use serde::{Deserialize, Serialize};

/// The answer to one requirement.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Verdict {
    /// The server does what is required.
    Pass,
    /// The server does something else.
    Fail,
    /// This platform or this target hasn't what the requirement is about.
    Unsupported,
    /// It could be checked on this platform, but not in this run: root or a tool is missing.
    NotRun,
    /// The harness failed. Never counted against the server.
    Error,
    /// The server fails as the baseline expects it to.
    Xfail,
    /// The server does what is required, although the baseline expects a failure: that is stale.
    Xpass,
}

impl Verdict {
    /// Every verdict, in the order in which summaries count them.
    pub const ALL: [Self; 7] = [
        Self::Pass,
        Self::Fail,
        Self::Unsupported,
        Self::NotRun,
        Self::Error,
        Self::Xfail,
        Self::Xpass,
    ];

    /// The word in reports.
    pub fn word(self) -> &'static str {
        match self {
            Self::Pass => "pass",
            Self::Fail => "fail",
            Self::Unsupported => "unsupported",
            Self::NotRun => "not-run",
            Self::Error => "error",
            Self::Xfail => "xfail",
            Self::Xpass => "xpass",
        }
    }

    /// Whether the server did what is required, whatever the baseline expects.
    pub fn holds(self) -> bool {
        matches!(self, Self::Pass | Self::Xpass)
    }
}

/// Why a check ended before its last line.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum Stop {
    /// The server does not conform.
    Fail(Failure),
    /// As [`Verdict::Unsupported`], with the reason.
    Unsupported(String),
    /// As [`Verdict::NotRun`], with the reason.
    NotRun(String),
    /// As [`Verdict::Error`], with what went wrong.
    Error(String),
}

/// What a server should have done, and what it did.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Failure {
    /// What the requirement expects at this point.
    pub expected: String,
    /// What happened instead.
    pub actual: String,
}

impl Failure {
    /// Whether it has these words: any one of several, where `|` stands between them.
    pub fn has(&self, words: &str) -> bool {
        words.split('|').any(|words| self.expected.contains(words) || self.actual.contains(words))
    }
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
    Err(Stop::Fail(Failure {
        expected: expected.into().into_owned(),
        actual: actual.into().into_owned(),
    }))
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
