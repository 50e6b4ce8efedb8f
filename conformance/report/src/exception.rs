//! An entry of a baseline, as reports quote it.

use serde::{Deserialize, Serialize};

/// What an entry of a baseline says will happen.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Expected {
    /// The requirement fails, with certain words.
    Fail,
    /// It fails now and then, with certain words: that it passes is no surprise.
    Sometimes,
    /// It is not to be run.
    Skip,
}

/// An entry of a baseline, as reports quote it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Exception {
    /// The baseline, as the command line names it.
    pub file: String,
    /// The line at which the entry begins, from 1.
    pub line: usize,
    /// The id or glob, as it is written there.
    pub id: String,
    /// What is expected.
    pub expected: Expected,
    /// Why.
    pub reason: String,
    /// Where that is tracked.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub link: Option<String>,
    /// Words that the failure must have, every one of them; with `|` between alternatives.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub matches: Vec<String>,
}

impl std::fmt::Display for Exception {
    /// `FILE:LINE: REASON (LINK)`
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}:{}: {}", self.file, self.line, self.reason)?;
        match &self.link {
            Some(link) => write!(f, " ({link})"),
            None => Ok(()),
        }
    }
}

impl Exception {
    /// That the requirement `id` was seen to hold in `held` of `runs` runs, and what to do.
    pub fn stale(&self, id: &str, held: usize, runs: usize) -> String {
        let place = format!("{}:{}", self.file, self.line);
        if held < runs {
            return format!(
                "passes in {held} of {runs} runs, although {place} expects it to fail: what fails \
                 only sometimes needs mending, or expected = \"sometimes\""
            );
        }
        let remedy = if id == self.id || id.ends_with(&format!("/{}", self.id)) {
            "remove that entry".to_owned()
        } else {
            format!("take it out of that entry's id, `{}`", self.id)
        };
        format!("passes, although {place} expects it to fail: {remedy}")
    }

    /// That a failure has not the words that were expected.
    pub fn other_words(&self) -> String {
        let words: Vec<String> = self.matches.iter().map(|words| format!("`{words}`")).collect();
        format!(
            "{}:{} expects another failure, with {}: {}",
            self.file,
            self.line,
            words.join(" and "),
            self.reason
        )
    }
}
