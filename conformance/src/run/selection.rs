//! Which requirements a command is about: globs, levels, shards. A name that matches nothing is an
//! error, never silently ignored.

use std::collections::HashSet;

use crate::personality;
use crate::requirement::Requirement;
use crate::requirements;
use forkproof_report::Level;

/// Why a selection can't be made.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum SelectionError {
    /// A pattern that is no glob.
    BadGlob(String),
    /// A pattern that matches nothing.
    NoMatch(String),
}

impl std::fmt::Display for SelectionError {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::BadGlob(text) | Self::NoMatch(text) => f.write_str(text),
        }
    }
}

/// One of `of` equal parts of a selection, counted from 1.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Shard {
    /// Which part.
    pub part: usize,
    /// How many there are.
    pub of: usize,
}

impl std::str::FromStr for Shard {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let bad = || format!("`{text}` is no shard: write K/N with 1 ≤ K ≤ N, such as 2/3");
        let (part, of) = text.split_once('/').ok_or_else(bad)?;
        match (part.parse(), of.parse()) {
            (Ok(part), Ok(of)) if 1 <= part && part <= of => Ok(Self { part, of }),
            _ => Err(bad()),
        }
    }
}

/// What a selection is made from.
#[derive(Debug, Clone, Copy)]
pub struct Choice<'a> {
    /// The ids, each `area/name`.
    pub ids: &'a [&'static str],
    /// What one of them is, in words.
    pub noun: &'a str,
    /// The command that shows them all.
    pub shown_by: &'a str,
}

impl Choice<'_> {
    /// The ids that match any of `globs`; all when there is none.
    ///
    /// A pattern is matched against the whole id, and, when it has no slash, against the area or
    /// the name alone: `signals`, `handler-persists` and `signals/h*` all work.
    pub fn matching(&self, globs: &[String]) -> Result<HashSet<&'static str>, SelectionError> {
        if globs.is_empty() {
            return Ok(self.ids.iter().copied().collect());
        }
        let mut chosen = HashSet::new();
        for pattern in globs {
            refuse_open(pattern)?;
            let glob = |text: &str| fast_glob::glob_match(pattern, text);
            let mut matched = false;
            for &id in self.ids {
                let (area, name) = id.split_once('/').unwrap_or((id, ""));
                let part = !pattern.contains('/') && (glob(area) || glob(name));
                if glob(id) || part {
                    matched = true;
                    chosen.insert(id);
                }
            }
            if !matched {
                let hint = self.hint(pattern);
                return Err(SelectionError::NoMatch(format!(
                    "no {} matches `{pattern}`: {hint}",
                    self.noun
                )));
            }
        }
        Ok(chosen)
    }

    /// What a pattern that matches nothing may stand for, or where all are shown.
    fn hint(&self, pattern: &str) -> String {
        if personality::all().iter().any(|personality| personality.name == pattern) {
            return format!("it is a personality: `forkproof run --as {pattern}`");
        }
        self.area_like(pattern)
            .or_else(|| self.holding(pattern))
            .or_else(|| settings::did_you_mean(pattern, self.ids))
            .or_else(|| self.area_perhaps(pattern))
            .unwrap_or_else(|| format!("`{}` shows them all", self.shown_by))
    }

    /// `did you mean …?` for a pattern that is an area's name but for its case or its end, or one of
    /// everything in a misspelt area.
    fn area_like(&self, pattern: &str) -> Option<String> {
        let area = match pattern.split_once('/') {
            Some((area, "*")) => return self.nearest_area(area, "/*"),
            Some(_) => return None,
            None => pattern.to_lowercase(),
        };
        let mut areas = self.ids.iter().map(|id| forkproof_report::area(id));
        let begins = |whole: &str, part: &str| part.len() > 2 && whole.starts_with(part);
        let found = areas.find(|known| begins(known, &area) || begins(&area, known))?;
        Some(format!("did you mean `{found}`?"))
    }

    /// `did you mean …?` for a part of a few names.
    fn holding(&self, pattern: &str) -> Option<String> {
        const FEW: usize = 3;
        let pattern = pattern.to_lowercase();
        let ids: Vec<&str> = self
            .ids
            .iter()
            .copied()
            .filter(|id| pattern.len() > 3 && id.contains(&pattern))
            .collect();
        let few = (1..=FEW).contains(&ids.len());
        few.then(|| format!("did you mean `{}`?", ids.join("` or `")))
    }

    /// `did you mean …?` for a single word that is like no requirement's name.
    fn area_perhaps(&self, pattern: &str) -> Option<String> {
        if pattern.contains('/') { None } else { self.nearest_area(pattern, "") }
    }

    fn nearest_area(&self, area: &str, rest: &str) -> Option<String> {
        let areas: Vec<&str> = self.ids.iter().map(|id| forkproof_report::area(id)).collect();
        let nearest = settings::nearest(area, &areas);
        Some(format!("did you mean `{}{rest}`?", nearest.first()?))
    }
}

/// Refuses a pattern that has a bracket without its other half, which would match nothing.
pub(super) fn refuse_open(pattern: &str) -> Result<(), SelectionError> {
    let count = |c| pattern.matches(c).count();
    for (open, close) in [('[', ']'), ('{', '}')] {
        if count(open) != count(close) {
            return Err(SelectionError::BadGlob(format!(
                "`{pattern}` is no glob: a `{open}` or `{close}` is missing"
            )));
        }
    }
    Ok(())
}

fn ids() -> Vec<&'static str> {
    requirements::all().map(|requirement| requirement.id).collect()
}

fn catalogue<'a>(ids: &'a [&'static str]) -> Choice<'a> {
    Choice { ids, noun: "requirement", shown_by: "forkproof list" }
}

/// The requirements whose ids match any of `globs` (see [`Choice::matching`]), of at least `level`,
/// in the catalogue's order.
pub fn select(
    globs: &[String],
    level: Option<Level>,
) -> Result<Vec<&'static Requirement>, SelectionError> {
    let ids = ids();
    let chosen = catalogue(&ids).matching(globs)?;
    Ok(requirements::all()
        .filter(|requirement| chosen.contains(requirement.id))
        .filter(|requirement| level.is_none_or(|level| requirement.level <= level))
        .collect())
}

/// One part of a selection. Dealt out like cards, so that the parts take about equally long.
pub fn shard(all: Vec<&'static Requirement>, shard: Option<Shard>) -> Vec<&'static Requirement> {
    match shard {
        None => all,
        Some(Shard { part, of }) => all
            .into_iter()
            .enumerate()
            .filter(|(at, _)| at % of == part - 1)
            .map(|(_, r)| r)
            .collect(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use rstest::rstest;

    fn ids(globs: &[&str]) -> Vec<&'static str> {
        let globs: Vec<String> = globs.iter().map(ToString::to_string).collect();
        select(&globs, None).unwrap().iter().map(|requirement| requirement.id).collect()
    }

    #[rstest]
    #[case("signals/handler-persists")]
    #[case("handler-persists")]
    #[case("handler-pers*")]
    #[case("*/handler-persists")]
    fn patterns_for_one(#[case] pattern: &str) {
        assert_eq!(ids(&[pattern]), ["signals/handler-persists"]);
    }

    #[test]
    fn an_area_by_its_name() {
        assert_eq!(ids(&["signals"]), ids(&["signals/*"]));
        assert!(ids(&["auth", "signals"]).len() > ids(&["auth"]).len());
    }

    #[rstest]
    #[case("hander-persists", "did you mean `signals/handler-persists`?")]
    #[case("xyzzy", "forkproof list")]
    #[case("signal/*", "did you mean `signals/*`?")]
    #[case("SIGNALS", "did you mean `signals`?")]
    #[case("signal", "did you mean `signals`?")]
    #[case("Process", "did you mean `processes`?")]
    #[case("persists", "did you mean `signals/handler-persists`?")]
    #[case("sysv-signals", "it is a personality: `forkproof run --as sysv-signals`")]
    fn a_pattern_without_a_match_is_an_error(#[case] pattern: &str, #[case] words: &str) {
        let error = select(&[pattern.to_owned()], None).unwrap_err();
        assert!(matches!(error, SelectionError::NoMatch(_)));
        assert!(error.to_string().contains(words), "{error}");
    }

    #[test]
    fn shards_are_a_partition() {
        let all = select(&[], None).unwrap();
        let mut joined: Vec<&str> = (1..=3)
            .flat_map(|part| shard(all.clone(), Some(Shard { part, of: 3 })))
            .map(|requirement| requirement.id)
            .collect();
        let mut expected: Vec<&str> = all.iter().map(|requirement| requirement.id).collect();
        joined.sort_unstable();
        expected.sort_unstable();
        assert_eq!(joined, expected);
    }

    #[rstest]
    #[case("0/3")]
    #[case("4/3")]
    #[case("1")]
    #[case("a/b")]
    fn no_shards(#[case] text: &str) {
        assert!(text.parse::<Shard>().unwrap_err().contains("K/N"));
    }
}
