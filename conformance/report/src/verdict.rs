//! The answer to one requirement, and how much it matters.

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
    /// The server failed before it could be asked: in a step that another requirement is about.
    Blocked,
    /// The server fails as the baseline expects it to.
    Xfail,
    /// The server does what is required, although the baseline expects a failure: that is stale.
    Xpass,
}

impl Verdict {
    /// Every verdict, in the order in which summaries count them.
    pub const ALL: [Self; 8] = [
        Self::Pass,
        Self::Fail,
        Self::Unsupported,
        Self::NotRun,
        Self::Error,
        Self::Blocked,
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
            Self::Blocked => "blocked",
            Self::Xfail => "xfail",
            Self::Xpass => "xpass",
        }
    }

    /// How much it asks for attention: of several runs the gravest verdict speaks for all, and what
    /// is gravest is shown first. Distinct for each.
    pub fn gravity(self) -> u8 {
        match self {
            Self::Fail => 7,
            Self::Xpass => 6,
            Self::Error => 5,
            Self::Blocked => 4,
            Self::Xfail => 3,
            Self::NotRun => 2,
            Self::Unsupported => 1,
            Self::Pass => 0,
        }
    }

    /// Whether it is one to look at: something is wrong with the server, the baseline or the check.
    pub fn is_trouble(self) -> bool {
        matches!(self, Self::Fail | Self::Error | Self::Blocked | Self::Xpass)
    }

    /// Whether the server did what is required, whatever the baseline expects.
    pub fn holds(self) -> bool {
        matches!(self, Self::Pass | Self::Xpass)
    }
}

/// How strongly a requirement is meant.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Level {
    /// A server that fails it is broken.
    Must,
    /// A server that fails it will surprise its users.
    Should,
    /// Reported, never failing.
    May,
}

impl Level {
    /// Every level, the strongest first.
    pub const ALL: [Self; 3] = [Self::Must, Self::Should, Self::May];

    /// The word in lists and reports.
    pub fn word(self) -> &'static str {
        match self {
            Self::Must => "must",
            Self::Should => "should",
            Self::May => "may",
        }
    }
}

impl std::str::FromStr for Level {
    type Err = String;

    fn from_str(word: &str) -> Result<Self, String> {
        let words = Self::ALL.map(Self::word);
        Self::ALL
            .into_iter()
            .find(|level| level.word() == word)
            .ok_or_else(|| settings::unknown("level", word, &words))
    }
}

/// What a server should have done, and what it did.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Failure {
    /// What the requirement expects at this point.
    pub expected: String,
    /// What happened instead.
    pub actual: String,
    /// The requirement that is about this step, where that is another one than the one checked: it
    /// was not reached, or a process of the server had gone.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub covered_by: Option<String>,
}

impl Failure {
    /// Something that the requirement itself is about.
    pub fn new(expected: impl Into<String>, actual: impl Into<String>) -> Self {
        Self { expected: expected.into(), actual: actual.into(), covered_by: None }
    }

    /// Whether it has these words: any one of several, where `|` stands between them.
    pub fn has(&self, words: &str) -> bool {
        words.split('|').any(|words| self.expected.contains(words) || self.actual.contains(words))
    }
}
