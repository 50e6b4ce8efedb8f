//! Controls: the proof that every requirement can fail, and fails for the right reason.
//!
//! A requirement names the personalities that break it and words that its failure must then hold.
//! `forkproof controls` puts a reference server under each of them, chatd or, where that does not
//! claim what the requirement takes, webd, and checks that:
//!
//! - the requirement fails, with those words: *caught*;
//! - fails with other words: the *wrong reason*;
//! - passes: *missed*;
//! - or the personality altered no call at all, so that nothing was proved: *void*.

use std::path::PathBuf;

use forkproof_host::in_parallel;
use forkproof_report::Verdict;

use crate::needs::Need;
use crate::personality;
use crate::requirement::{Control, Controls, Requirement};
use crate::run::{CHECK_DEADLINE, Finding, Pace, Subject, Task, Work, run_task, slowness};
use crate::subject::Target;

/// How much shorter than usual deadlines are at first: what is broken on purpose is waited for in
/// vain nearly every time. What was not caught with them is asked once more with those of a run.
const DEADLINES: f64 = 0.4;
/// What is missing does not come on a slow machine either; limits that a control must overrun, as
/// that of the server's end, stay short enough for it at first.
const SLOWEST: f64 = 1.5;
/// Controls at a time for each processor; they mostly wait.
const JOBS_PER_PROCESSOR: usize = 8;
/// What a control came to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Answer {
    /// The requirement failed for the right reason.
    Caught,
    /// It failed with other words.
    WrongReason(String),
    /// It passed.
    Missed,
    /// The personality altered nothing.
    Void,
    /// It cannot be checked here.
    NotRun(String),
    /// The harness failed.
    Error(String),
}

impl Answer {
    /// The word in the list.
    pub fn word(&self) -> &'static str {
        match self {
            Self::Caught => "caught",
            Self::WrongReason(_) => "wrong reason",
            Self::Missed => "missed",
            Self::Void => "void",
            Self::NotRun(_) => "not run",
            Self::Error(_) => "error",
        }
    }

    /// Judges a finding.
    fn of(finding: &Finding, control: &Control) -> Self {
        let reason = || finding.reason.clone().unwrap_or_default();
        match finding.verdict {
            Verdict::Error => return Self::Error(reason()),
            Verdict::NotRun | Verdict::Unsupported => return Self::NotRun(reason()),
            Verdict::Blocked => {
                let failure = finding.failure.clone().unwrap_or_default();
                return Self::WrongReason(format!(
                    "blocked: {} / {}",
                    failure.expected, failure.actual
                ));
            }
            Verdict::Pass | Verdict::Fail | Verdict::Xfail | Verdict::Xpass => {}
        }
        if finding.altered_calls.unwrap_or(0) == 0 {
            return Self::Void;
        }
        match &finding.failure {
            None => Self::Missed,
            Some(failure) => {
                if failure.has(control.words) {
                    Self::Caught
                } else {
                    Self::WrongReason(format!(
                        "`{}` is not in: {} / {}",
                        control.words, failure.expected, failure.actual
                    ))
                }
            }
        }
    }
}

/// Where and how controls are run.
#[derive(Debug)]
pub struct Proof {
    references: Vec<Target>,
    dir: PathBuf,
    pace: Pace,
    /// The part of [`Pace`] that `--deadline-scale` says.
    scale: f64,
    jobs: usize,
}

/// The first of `references` that claims what a requirement takes; the first of all where none does.
fn of_requirement<'t>(references: &'t [Target], requirement: &Requirement) -> Option<&'t Target> {
    let claims = |target: &&Target| target.unclaimed(requirement.claims).is_none();
    references.iter().find(claims).or_else(|| references.first())
}

/// A control and the requirement that it is of.
pub type Pair = (&'static Requirement, &'static Control);

impl Proof {
    /// Proofs with `references`, for each requirement the first that claims what it takes, in private directories below `dir`, `jobs` at a time (or as many as are
    /// usual), with deadlines `scale` times as long as usual.
    pub fn new(references: Vec<Target>, dir: PathBuf, jobs: Option<usize>, scale: f64) -> Self {
        let processors = std::thread::available_parallelism().map_or(1, usize::from);
        Self {
            references,
            dir,
            pace: Pace::new(slowness() * scale, scale),
            scale,
            jobs: jobs.unwrap_or(processors * JOBS_PER_PROCESSOR),
        }
    }

    /// Runs every control of `requirements`; tells each answer to `observe`, and returns how many
    /// there are to run, which are more than were told if the run was interrupted.
    pub fn forward(
        &self,
        requirements: &[&'static Requirement],
        mut observe: impl FnMut(Pair, Answer),
    ) -> usize {
        let pairs: Vec<Pair> = requirements
            .iter()
            .flat_map(|&requirement| match requirement.controls {
                Controls::By(controls) => controls.iter().map(|c| (requirement, c)).collect(),
                Controls::None(_) => Vec::new(),
            })
            .collect();
        let total = pairs.len();
        let (alone, beside): (Vec<Pair>, Vec<Pair>) =
            pairs.into_iter().partition(|(requirement, _)| requirement.exclusive);
        for (pairs, jobs) in [(beside, self.jobs), (alone, 1)] {
            in_parallel(
                pairs,
                jobs,
                |(requirement, control), tell| {
                    if let Some(answer) = self.answer(requirement, control) {
                        tell(((requirement, control), answer));
                    }
                },
                |(pair, answer)| observe(pair, answer),
            );
        }
        total
    }

    /// Puts every personality against each of `requirements`; as [`forward`](Self::forward), with
    /// what each check came to.
    pub fn reverse(
        &self,
        requirements: &[&'static Requirement],
        mut observe: impl FnMut(&'static str, &'static Requirement, Verdict),
    ) -> usize {
        let pairs: Vec<(&'static str, &'static Requirement)> = personality::all()
            .iter()
            .flat_map(|personality| requirements.iter().map(|&r| (personality.name, r)))
            .collect();
        let total = pairs.len();
        in_parallel(
            pairs,
            self.jobs,
            |(personality, requirement), tell| {
                if let Some(finding) = self.run(requirement, personality, self.short()) {
                    tell((personality, requirement, finding.verdict));
                }
            },
            |(personality, requirement, verdict)| observe(personality, requirement, verdict),
        );
        total
    }

    /// Runs one control; none when interrupted.
    fn answer(&self, requirement: &Requirement, control: &Control) -> Option<Answer> {
        if let Some((_, why)) = control.harmless.filter(|(os, _)| *os == std::env::consts::OS) {
            return Some(Answer::NotRun(format!(
                "{} breaks nothing here: {why}",
                control.personality
            )));
        }
        let ask = |slowness| {
            let finding = self.run(requirement, control.personality, slowness)?;
            Some(Answer::of(&finding, control))
        };
        match ask(self.short())? {
            answer @ (Answer::Caught | Answer::NotRun(_)) => Some(answer),
            // It may have been too slow for that.
            _ => ask(self.pace.slowness()),
        }
    }

    fn short(&self) -> f64 {
        self.pace.slowness().min(SLOWEST * self.scale) * DEADLINES
    }

    /// Checks one requirement under one personality, with deadlines `slowness` times as long as on a
    /// fast machine; none when interrupted.
    fn run(&self, requirement: &Requirement, personality: &str, slowness: f64) -> Option<Finding> {
        let target = of_requirement(&self.references, requirement)?;
        let unclaimed = target.unclaimed(requirement.claims);
        if let Some(stop) = Need::first_missing(requirement.needs).or(unclaimed) {
            return Some(Finding::from_stop(stop, Default::default));
        }
        let subject = Subject { target: target.clone(), personality: Some(personality.to_owned()) };
        run_task(&Task {
            work: Work::Requirement(requirement.id.to_owned(), subject),
            dir: self.dir.join(format!("{}.{personality}", requirement.id.replace('/', "."))),
            keep: false,
            slowness,
            limit: CHECK_DEADLINE.mul_f64(slowness.max(1.0)),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::requirement::by;
    use crate::requirements;
    use crate::stop::Stop;
    use forkproof_report::Failure;

    const CONTROL: Control = by("sysv-signals", "the right words");

    fn finding(verdict: Verdict, actual: Option<&str>, altered_calls: u64) -> Finding {
        Finding {
            verdict,
            failure: actual.map(|actual| Failure::new("something", actual)),
            altered_calls: Some(altered_calls),
            ..Finding::pass()
        }
    }

    #[test]
    fn only_the_right_words_of_a_control_that_took_effect_count() {
        let caught = finding(Verdict::Fail, Some("with the right words in it"), 3);
        assert_eq!(Answer::of(&caught, &CONTROL), Answer::Caught);
        let other = finding(Verdict::Fail, Some("something else"), 3);
        assert!(matches!(Answer::of(&other, &CONTROL), Answer::WrongReason(_)));
        assert_eq!(Answer::of(&finding(Verdict::Pass, None, 3), &CONTROL), Answer::Missed);
        let void = finding(Verdict::Fail, Some("with the right words in it"), 0);
        assert_eq!(Answer::of(&void, &CONTROL), Answer::Void);
        let error = Finding::from_stop(Stop::Error("no disk".into()), Default::default);
        assert_eq!(Answer::of(&error, &CONTROL), Answer::Error("no disk".into()));
    }

    #[test]
    fn every_control_names_a_personality_and_words() {
        for requirement in requirements::all() {
            match requirement.controls {
                Controls::By(controls) => {
                    assert!(!controls.is_empty(), "{}", requirement.id);
                    for control in controls {
                        let parsed = personality::Selected::parse_list(control.personality);
                        assert!(parsed.is_ok(), "{}: {parsed:?}", requirement.id);
                        assert!(control.words.len() > 3, "{}", requirement.id);
                    }
                }
                Controls::None(why) => assert!(why.len() > 15, "{}", requirement.id),
            }
        }
    }
}
