//! Baselines: failures that are known, each with its reason, so that a run tells what is new.
//!
//! A baseline is a TOML file with an `[[exception]]` for each:
//!
//! ```toml
//! [[exception]]
//! id = "signals/handler-persists"     # or a glob, as `forkproof run` takes it
//! platforms = ["linux", "*-32bit"]    # names or globs of Facts::names; all when left out
//! expected = "fail"                   # or "sometimes", or "skip"
//! reason = "signal() is replaced in 2.0"
//! link = "https://bugs.example.org/17"
//! matches = "closed the connection"   # not with "skip"
//! ```
//!
//! A failure that has all the words of `matches` becomes [`Verdict::Xfail`] and fails no run; one
//! with other words stays a failure. A pass becomes [`Verdict::Xpass`], which makes the run fail,
//! since the entry is then stale, unless it says `expected = "sometimes"`. `expected = "skip"` keeps a requirement from being run at all.
//! What is unsupported here, could not be run or ended in an error stays what it is: it says
//! nothing about the failure that was expected.

use std::collections::{BTreeMap, HashSet};
use std::ops::Range;
use std::path::Path;

use forkproof_report::{Exception, Expected, Facts, Verdict, known_names};
use serde::Deserialize;
use toml::Spanned;

use super::finding::Finding;
use super::selection;
use crate::stop::Stop;

/// What a reason begins with that nobody has thought about yet. A baseline with such a reason is
/// refused, so that none gets into use unread.
pub const TODO: &str = "TODO";

/// Why a requirement is not run, if its exception says that it shall not be.
pub(super) fn skip(exception: &Exception) -> Option<Stop> {
    match exception.expected {
        Expected::Skip => Some(Stop::NotRun(format!("skipped by the baseline {exception}"))),
        Expected::Fail | Expected::Sometimes => None,
    }
}

/// Looks at what the check of the requirement `id` came to in the light of what was expected.
pub(super) fn judge(exception: &Exception, id: &str, finding: &mut Finding) {
    match (finding.verdict, &finding.failure) {
        (Verdict::Pass, _) if exception.expected == Expected::Sometimes => {}
        (Verdict::Pass, _) => {
            finding.verdict = Verdict::Xpass;
            finding.reason = Some(exception.stale(id, 1, 1));
        }
        (Verdict::Fail, Some(failure))
            if exception.matches.iter().all(|words| failure.has(words)) =>
        {
            finding.verdict = Verdict::Xfail;
            finding.reason = Some(exception.to_string());
        }
        _ => {}
    }
}

/// The exceptions that hold on one platform, by requirement.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Exceptions(BTreeMap<&'static str, Exception>);

impl Exceptions {
    /// The one that holds for the requirement `id`.
    pub fn get(&self, id: &str) -> Option<&Exception> {
        self.0.get(id)
    }
}

/// A baseline that has been read and makes sense.
#[derive(Debug, Default)]
pub struct Baseline(Vec<Entry>);

#[derive(Debug)]
struct Entry {
    exception: Exception,
    ids: HashSet<&'static str>,
    platforms: Vec<Platform>,
}

impl Entry {
    fn holds_on(&self, names: &[String]) -> bool {
        self.platforms.is_empty()
            || self
                .platforms
                .iter()
                .any(|p| names.iter().any(|name| fast_glob::glob_match(&p.0, name)))
    }

    /// Whether there is a platform on which both hold, as far as their words tell.
    fn meets(&self, other: &Self) -> bool {
        self.platforms.is_empty()
            || other.platforms.is_empty()
            || self.platforms.iter().any(|a| other.platforms.iter().any(|b| a.0 == b.0))
    }
}

/// The file's own form.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct File {
    #[serde(default)]
    exception: Vec<Spanned<RawException>>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct RawException {
    id: Ids,
    platforms: Option<Spanned<Strings>>,
    expected: Expected,
    reason: Reason,
    link: Option<Link>,
    matches: Option<Spanned<Strings>>,
}

#[derive(Deserialize)]
#[serde(try_from = "String")]
struct Ids {
    text: String,
    ids: HashSet<&'static str>,
}

impl TryFrom<String> for Ids {
    type Error = selection::SelectionError;

    fn try_from(text: String) -> Result<Self, Self::Error> {
        let selected = selection::select(std::slice::from_ref(&text), None)?;
        Ok(Self { ids: selected.iter().map(|requirement| requirement.id).collect(), text })
    }
}

#[derive(Debug)]
struct Platform(String);

impl TryFrom<String> for Platform {
    type Error = String;

    fn try_from(text: String) -> Result<Self, String> {
        selection::refuse_open(&text).map_err(|error| error.to_string())?;
        let known = known_names();
        // Any release may follow: the list of names has none.
        let released = text.split_once('-').is_some_and(|(system, release)| {
            release.starts_with(|c: char| c.is_ascii_digit())
                && release.chars().all(|c| match c {
                    // Of a range; as a second dash it would never match.
                    '-' => release.contains('['),
                    c => c.is_ascii_digit() || ".*?[]".contains(c),
                })
                && known.iter().any(|name| fast_glob::glob_match(system, name))
        });
        if released || known.iter().any(|name| fast_glob::glob_match(&text, name)) {
            return Ok(Self(text));
        }
        let names: Vec<&str> = known.iter().map(String::as_str).collect();
        let hint = settings::did_you_mean(&text, &names)
            .unwrap_or_else(|| "`forkproof baseline --help` tells the names".to_owned());
        Err(format!("no platform is called `{text}`: {hint}"))
    }
}

#[derive(Deserialize)]
#[serde(try_from = "String")]
struct Reason(String);

impl TryFrom<String> for Reason {
    type Error = &'static str;

    fn try_from(text: String) -> Result<Self, Self::Error> {
        // Reports show it in one line.
        let text = text.split_whitespace().collect::<Vec<_>>().join(" ");
        if text.is_empty() {
            Err("the reason is blank: say why this is expected")
        } else if text.starts_with(TODO) {
            Err("the reason still begins with TODO: say why this is expected")
        } else if text.chars().any(char::is_control) {
            Err("the reason holds a control character")
        } else {
            Ok(Self(text))
        }
    }
}

#[derive(Deserialize)]
#[serde(try_from = "String")]
struct Link(String);

impl TryFrom<String> for Link {
    type Error = String;

    fn try_from(text: String) -> Result<Self, String> {
        let address = text.strip_prefix("https://").or_else(|| text.strip_prefix("http://"));
        let good = |c: char| c.is_ascii_graphic() && !"<>\"`".contains(c);
        match address {
            Some(address) if !address.is_empty() && address.chars().all(good) => Ok(Self(text)),
            _ => Err(format!("`{}` is no link: write https://…", text.escape_default())),
        }
    }
}

struct Words(String);

impl TryFrom<String> for Words {
    type Error = &'static str;

    fn try_from(text: String) -> Result<Self, Self::Error> {
        if text.split('|').any(|words| words.trim().is_empty()) {
            Err("blank words stand in every failure: write words that only this one has")
        } else {
            Ok(Self(text))
        }
    }
}

/// A list of strings, or one string where a list of one would be the same. (Not an untagged enum:
/// its errors tell no cause.) Each knows where it stands if it is one of a list; what is in them is
/// looked at afterwards, since the error of an element would tell the line of its list.
struct Strings(Vec<(Option<Range<usize>>, String)>);

impl<'de> Deserialize<'de> for Strings {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Visitor;

        impl<'de> serde::de::Visitor<'de> for Visitor {
            type Value = Strings;

            fn expecting(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                f.write_str("a string or a list of strings")
            }

            fn visit_str<E>(self, text: &str) -> Result<Strings, E> {
                Ok(Strings(vec![(None, text.to_owned())]))
            }

            fn visit_seq<A>(self, mut list: A) -> Result<Strings, A::Error>
            where
                A: serde::de::SeqAccess<'de>,
            {
                let mut all = Vec::new();
                while let Some(one) = list.next_element::<Spanned<String>>()? {
                    all.push((Some(one.span()), one.into_inner()));
                }
                if all.is_empty() {
                    return Err(serde::de::Error::custom(
                        "an empty list: name one, or leave it out",
                    ));
                }
                Ok(Strings(all))
            }
        }

        deserializer.deserialize_any(Visitor)
    }
}

/// Makes what it should be of each string; an error comes with the offset to blame.
fn each<T>(list: Option<Spanned<Strings>>) -> Result<Vec<T>, (usize, String)>
where
    T: TryFrom<String, Error: std::fmt::Display>,
{
    let Some(list) = list else { return Ok(Vec::new()) };
    let begin = list.span().start;
    let strings = list.into_inner().0.into_iter();
    strings
        .map(|(span, text)| {
            let offset = span.map_or(begin, |span| span.start);
            T::try_from(text).map_err(|error| (offset, error.to_string()))
        })
        .collect()
}

impl Baseline {
    /// Reads a file; the error is one line that names the file, the line and what would be right.
    pub fn read(path: &Path) -> Result<Self, String> {
        let text = settings::read_text(path).map_err(|error| error.to_string())?;
        Self::parse(&text, &path.display().to_string())
    }

    pub(super) fn parse(text: &str, origin: &str) -> Result<Self, String> {
        let file: File = settings::parse(text, origin).map_err(|error| error.to_string())?;
        let mut entries: Vec<Entry> = Vec::new();
        for spanned in file.exception {
            let line = settings::line_at(text.as_bytes(), spanned.span().start);
            let raw = spanned.into_inner();
            let wrong = |what: &str| Err(format!("{origin}:{line}: {what}"));
            let at_offset = |(offset, what)| {
                format!("{origin}:{}: {what}", settings::line_at(text.as_bytes(), offset))
            };
            let platforms = each(raw.platforms).map_err(at_offset)?;
            let matches: Vec<Words> = each(raw.matches).map_err(at_offset)?;
            match (raw.expected, matches.is_empty()) {
                (Expected::Fail | Expected::Sometimes, true) => {
                    return wrong(
                        "missing key `matches`: without words of the failure any other would be \
                         taken for it",
                    );
                }
                (Expected::Skip, false) => {
                    return wrong(
                        "`matches` with expected = \"skip\": what is not run has no words",
                    );
                }
                _ => {}
            }
            entries.push(Entry {
                exception: Exception {
                    file: origin.to_owned(),
                    line,
                    id: raw.id.text,
                    expected: raw.expected,
                    reason: raw.reason.0,
                    link: raw.link.map(|link| link.0),
                    matches: matches.into_iter().map(|words| words.0).collect(),
                },
                ids: raw.id.ids,
                platforms,
            });
        }
        let baseline = Self(entries);
        baseline.refuse_doubles(Entry::meets)?;
        Ok(baseline)
    }

    /// An error if two entries name one requirement and `both` says that they hold together.
    fn refuse_doubles(&self, both: impl Fn(&Entry, &Entry) -> bool) -> Result<(), String> {
        for (at, second) in self.0.iter().enumerate() {
            for first in &self.0[..at] {
                let shared = first.ids.intersection(&second.ids).min();
                if let Some(id) = shared.filter(|_| both(first, second)) {
                    let (file, line) = (&second.exception.file, second.exception.line);
                    return Err(format!(
                        "{file}:{line}: `{id}` has an entry for the same platform at line {} \
                         already: keep one of them",
                        first.exception.line
                    ));
                }
            }
        }
        Ok(())
    }

    /// What holds on a platform; an error if two entries hold for one requirement there.
    pub fn holding(&self, platform: &Facts) -> Result<Exceptions, String> {
        let names = platform.names();
        self.refuse_doubles(|a, b| a.holds_on(&names) && b.holds_on(&names))?;
        let holding = self.0.iter().filter(|entry| entry.holds_on(&names));
        Ok(Exceptions(
            holding
                .flat_map(|entry| entry.ids.iter().map(|&id| (id, entry.exception.clone())))
                .collect(),
        ))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use forkproof_report::Failure;
    use rstest::rstest;

    fn finding(verdict: Verdict) -> Finding {
        let failure = Failure::new("bob hears it", "he was cut off");
        let failed = verdict == Verdict::Fail;
        Finding { verdict, failure: failed.then_some(failure), ..Finding::pass() }
    }

    fn expecting(matches: &[&str]) -> Exception {
        Exception {
            file: "base.toml".into(),
            line: 3,
            id: "auth/exact-key".into(),
            expected: Expected::Fail,
            reason: "known".into(),
            link: None,
            matches: matches.iter().map(ToString::to_string).collect(),
        }
    }

    #[rstest]
    #[case(Verdict::Pass, &["cut off"], Verdict::Xpass)]
    #[case(Verdict::Fail, &["cut off"], Verdict::Xfail)]
    #[case(Verdict::Fail, &["bob hears"], Verdict::Xfail)]
    #[case(Verdict::Fail, &["torn|cut off"], Verdict::Xfail)]
    #[case(Verdict::Fail, &["bob|alice", "cut off"], Verdict::Xfail)]
    #[case(Verdict::Fail, &["alice", "cut off"], Verdict::Fail)]
    #[case(Verdict::Fail, &["torn"], Verdict::Fail)]
    // What says nothing about the failure is no reason to call the entry stale.
    #[case(Verdict::Unsupported, &["cut off"], Verdict::Unsupported)]
    #[case(Verdict::NotRun, &["cut off"], Verdict::NotRun)]
    #[case(Verdict::Error, &["cut off"], Verdict::Error)]
    fn a_finding_is_judged(
        #[case] found: Verdict,
        #[case] matches: &[&str],
        #[case] judged: Verdict,
    ) {
        let mut finding = finding(found);
        judge(&expecting(matches), "auth/exact-key", &mut finding);
        assert_eq!(finding.verdict, judged);
        assert_eq!(finding.reason.is_some(), judged != found, "what was changed has a reason");
    }

    #[rstest]
    #[case(Verdict::Pass, "cut off", Verdict::Pass)]
    #[case(Verdict::Fail, "cut off", Verdict::Xfail)]
    #[case(Verdict::Fail, "torn", Verdict::Fail)]
    fn what_fails_now_and_then_may_pass(
        #[case] found: Verdict,
        #[case] matches: &str,
        #[case] judged: Verdict,
    ) {
        let mut finding = finding(found);
        let exception = Exception { expected: Expected::Sometimes, ..expecting(&[matches]) };
        judge(&exception, "auth/exact-key", &mut finding);
        assert_eq!(finding.verdict, judged);
    }

    #[rstest]
    #[case("linux", true)]
    #[case("free*", true)]
    #[case("freebsd-15", true)]
    #[case("linux-6.*", true)]
    #[case("*-14.[0-3]", true)]
    #[case("{linux,freebsd}-32bit", true)]
    #[case("kali", true)]
    #[case("ubuntu-24.04", true)]
    #[case("", false)]
    #[case("Linux", false)]
    #[case("linux-", false)]
    #[case("freebsd-14-3", false)]
    #[case("linux-sixth", false)]
    #[case("minix-3", false)]
    fn platforms_have_known_names(#[case] text: &str, #[case] known: bool) {
        let platform = Platform::try_from(text.to_owned());
        assert_eq!(platform.is_ok(), known, "{platform:?}");
    }

    /// Whatever it holds, a mistake in it is one harmless line that names the file.
    #[test]
    fn fuzz() {
        const TOKENS: &[&[u8]] =
            &[b"[[exception]]\n", b"*", b"[", b"\"\"", b"matches = ", b"|", b"linux-"];
        let corpus = concat!(env!("CARGO_MANIFEST_DIR"), "/fuzz/baseline");
        forkproof_fuzz::fuzz(std::path::Path::new(corpus), TOKENS, |bytes| {
            let Ok(text) = std::str::from_utf8(bytes) else { return };
            if let Err(why) = Baseline::parse(text, "x.toml") {
                assert!(why.starts_with("x.toml:"), "{why}");
                assert!(!why.contains(char::is_control), "{}", why.escape_debug());
            }
        });
    }
}
