//! Controls: the proof that every requirement can fail, and fails for the right reason.
//!
//! A requirement names the personalities that break it and words that its failure must then hold.
//! `forkproof controls` puts the reference server under each of them and checks that:
//!
//! - the requirement fails, with those words: *caught*;
//! - fails with other words: the *wrong reason*;
//! - passes: *missed*;
//! - or the personality altered no call at all, so that nothing was proved: *void*.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::process::ExitCode;

use crate::catalogue::{self, Control, Controls, Level, Requirement};
use crate::cli::{Selection, complain_no_verdict, print, private_dir, program_target, select};
use crate::execution::{CHECK_LIMIT, catch_interrupts, in_parallel, run_task};
use crate::needs::Need;
use crate::personality;
use crate::verdict::Verdict;
use crate::warden::{Finding, Task, Work};

/// How much shorter than usual deadlines are: what is broken on purpose is waited for in vain
/// nearly every time.
const DEADLINES: f64 = 0.4;
/// What is missing does not come on a slow machine either; limits that a control must overrun, as
/// that of the server's end, stay short enough for it.
const SLOWEST: f64 = 1.5;
/// Controls at a time for each processor; they mostly wait.
const JOBS_PER_PROCESSOR: usize = 8;
/// A personality that trips more than this share of the catalogue says too little.
const BLUNT: f64 = 0.5;

/// The options of `forkproof controls`.
#[derive(clap::Args, Debug)]
pub struct Arguments {
    #[command(flatten)]
    selection: Selection,

    /// Put every personality against every selected requirement, and show which it trips
    #[arg(long)]
    reverse: bool,

    /// Checks at a time [default: eight for each processor]
    #[arg(short, long, value_name = "N", value_parser = clap::value_parser!(u16).range(1..))]
    jobs: Option<u16>,

    /// Make all deadlines this many times as long
    #[arg(long, value_name = "FACTOR", default_value_t = 1.0, value_parser = crate::cli::parse_scale)]
    deadline_scale: f64,
}

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
    /// The word in the matrix.
    fn word(&self) -> &'static str {
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

/// `forkproof controls`.
pub fn main(arguments: &Arguments) -> ExitCode {
    let requirements = match select(&arguments.selection) {
        Ok(selected) => selected,
        Err(status) => return status,
    };
    let bench = match Bench::new(arguments) {
        Ok(bench) => bench,
        Err(status) => return status,
    };
    if arguments.reverse { reverse(&bench, &requirements) } else { forward(&bench, &requirements) }
}

/// Where and how controls are run.
struct Bench {
    target: crate::target::Target,
    dir: tempfile::TempDir,
    slowness: f64,
    jobs: usize,
}

impl Bench {
    fn new(arguments: &Arguments) -> Result<Self, ExitCode> {
        let target = program_target(None)?;
        personality::refuse_uninterposable(&target.program).map_err(complain_no_verdict)?;
        let dir = private_dir()?;
        catch_interrupts()
            .map_err(|errno| complain_no_verdict(format!("signals: {}", errno.desc())))?;
        let processors = std::thread::available_parallelism().map_or(1, usize::from);
        Ok(Self {
            target,
            dir,
            slowness: crate::slowness::measure().min(SLOWEST)
                * DEADLINES
                * arguments.deadline_scale,
            jobs: arguments.jobs.map_or(processors * JOBS_PER_PROCESSOR, usize::from),
        })
    }

    /// Checks one requirement under one personality; none when interrupted.
    fn run(&self, requirement: &Requirement, personality: &str) -> Option<Finding> {
        if let Some(stop) = Need::first_missing(requirement.needs) {
            return Some(Finding::from_stop(stop, Default::default));
        }
        let name = format!("{}.{personality}", requirement.id.replace('/', "."));
        run_task(&Task {
            work: Work::Requirement(requirement.id.to_owned()),
            dir: self.dir.path().join(name),
            keep: false,
            slowness: self.slowness,
            limit: CHECK_LIMIT.mul_f64(self.slowness.max(1.0)),
            target: self.target.clone(),
            personality: Some(personality.to_owned()),
        })
    }
}

fn forward(bench: &Bench, requirements: &[&'static Requirement]) -> ExitCode {
    let begin = std::time::Instant::now();
    let pairs: Vec<(&'static Requirement, &'static Control)> = requirements
        .iter()
        .flat_map(|&requirement| match requirement.controls {
            Controls::By(controls) => controls.iter().map(|c| (requirement, c)).collect(),
            Controls::None(_) => Vec::new(),
        })
        .collect();
    let mut counts: BTreeMap<&str, usize> = BTreeMap::new();
    let mut seen = 0;
    let total = pairs.len();
    in_parallel(
        pairs.into(),
        bench.jobs,
        |(requirement, control), tell| {
            if let Some(finding) = bench.run(requirement, control.personality) {
                tell((requirement, control, Answer::of(&finding, control)));
            }
        },
        |(requirement, control, answer)| {
            seen += 1;
            *counts.entry(answer.word()).or_default() += 1;
            let mut line =
                format!("{:<13}{:<46} × {}", answer.word(), requirement.id, control.personality);
            match &answer {
                Answer::WrongReason(why) | Answer::NotRun(why) | Answer::Error(why) => {
                    let _ = write!(line, "\n    {why}");
                }
                Answer::Missed => {
                    let _ = write!(line, "\n    it should have failed with: {}", control.words);
                }
                Answer::Caught | Answer::Void => {}
            }
            let _ = print(&format!("{line}\n"));
        },
    );
    let mut text = String::new();
    for requirement in requirements {
        if let Controls::None(why) = requirement.controls {
            // Writing to a String cannot fail.
            let _ = writeln!(text, "no control   {:<46} {why}", requirement.id);
        }
    }
    let counted: Vec<String> =
        counts.iter().map(|(word, count)| format!("{count} {word}")).collect();
    let controlled = requirements.iter().filter(|r| matches!(r.controls, Controls::By(_))).count();
    let _ = writeln!(
        text,
        "\n{} of {} requirements have controls: {} of {total} controls run, {}  ({:.1} s)",
        controlled,
        requirements.len(),
        seen,
        counted.join(", "),
        begin.elapsed().as_secs_f64()
    );
    let _ = print(&text);
    let count = |word: &str| counts.get(word).copied().unwrap_or(0);
    if count("missed") + count("void") + count("wrong reason") > 0 {
        ExitCode::from(1)
    } else if count("error") > 0 || seen < total || count("caught") == 0 {
        ExitCode::from(3)
    } else {
        ExitCode::SUCCESS
    }
}

fn reverse(bench: &Bench, requirements: &[&'static Requirement]) -> ExitCode {
    let pairs: Vec<(&'static str, &'static Requirement)> = personality::all()
        .iter()
        .flat_map(|personality| requirements.iter().map(|&r| (personality.name, r)))
        .collect();
    let total = pairs.len();
    let mut tripped: BTreeMap<&str, Vec<&str>> = BTreeMap::new();
    let mut checked: BTreeMap<&str, usize> = BTreeMap::new();
    let mut seen = 0;
    in_parallel(
        pairs.into(),
        bench.jobs,
        |(personality, requirement), tell| {
            if let Some(finding) = bench.run(requirement, personality) {
                tell((personality, requirement, finding));
            }
        },
        |(personality, requirement, finding)| {
            seen += 1;
            match finding.verdict {
                Verdict::Fail => tripped.entry(personality).or_default().push(requirement.id),
                Verdict::Pass => {}
                _ => return,
            }
            *checked.entry(personality).or_default() += 1;
        },
    );
    let mut text = String::new();
    for personality in personality::all() {
        let mut ids = tripped.remove(personality.name).unwrap_or_default();
        ids.sort_unstable();
        let of = checked.get(personality.name).copied().unwrap_or(0);
        let share = ids.len() as f64 / of.max(1) as f64;
        let blunt = if share > BLUNT { ", blunt" } else { "" };
        let _ = writeln!(text, "{}: {} of {of}{blunt}", personality.name, ids.len());
        for id in ids {
            let _ = writeln!(text, "    {id}");
        }
    }
    let _ = print(&text);
    if seen == total { ExitCode::SUCCESS } else { ExitCode::from(3) }
}

/// Why a requirement that a server must or should meet has no control, in the words of its entry;
/// for the tests.
pub fn uncontrolled() -> Vec<(&'static str, &'static str)> {
    catalogue::all()
        .filter(|requirement| requirement.level != Level::May)
        .filter_map(|requirement| match requirement.controls {
            Controls::None(why) => Some((requirement.id, why)),
            Controls::By(_) => None,
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::verdict::{Failure, Stop};

    const CONTROL: Control = Control { personality: "sysv-signals", words: "the right words" };

    fn finding(verdict: Verdict, actual: Option<&str>, altered_calls: u64) -> Finding {
        Finding {
            verdict,
            failure: actual
                .map(|actual| Failure { expected: "something".into(), actual: actual.into() }),
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
        for requirement in catalogue::all() {
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
