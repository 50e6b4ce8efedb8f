//! Runs a plan: a warden per check, several at a time, the exclusive ones alone and last.

use std::path::PathBuf;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use forkproof_host::{in_parallel, interrupt};
use forkproof_report::{Conclusion, Exception, Level, Verdict};

use super::baseline;
use super::deadlines::{CHECK_DEADLINE, Pace};
use super::finding::{Finding, Manners, Product};
use super::plan::Plan;
use super::rehearsal;
use super::runner::run_task;
use super::task::{Subject, Task, Work};
use crate::harness::{is_alone, surroundings_missing};
use crate::needs::Need;
use crate::requirement::Requirement;

/// One check that has been run.
#[derive(Debug)]
pub struct Record {
    /// Its requirement.
    pub requirement: &'static Requirement,
    /// Which repetition, from 0.
    pub round: usize,
    /// What it came to.
    pub finding: Finding,
    /// How long it took.
    pub duration: Duration,
    /// Its directory, if it was kept.
    pub dir: Option<PathBuf>,
    /// What the baseline expects of it, if that names it.
    pub exception: Option<Exception>,
}

/// What a run tells while it goes on.
#[derive(Debug)]
pub enum Event {
    /// A check begins, in that repetition, from 0.
    Started(&'static Requirement, usize),
    /// A check is over.
    Finished(Box<Record>),
}

/// Everything that a run came to.
#[derive(Debug)]
pub struct Execution {
    /// The checks, in the order in which they ended.
    pub records: Vec<Record>,
    /// Whether it was ended before its time.
    pub interrupted: bool,
    /// How long it took.
    pub duration: Duration,
    /// The greatest factor of deadlines that was used.
    pub slowness: f64,
    /// What came of the target's rehearsal, when that kept everything else from being run.
    pub rehearsal: Option<Finding>,
}

#[derive(Debug, Clone, Copy)]
struct Item {
    requirement: &'static Requirement,
    round: usize,
}

/// Runs `plan`; `observe` hears of every event, in this thread. What the rehearsal has found out about
/// the target stands in the plan then.
pub fn execute(plan: &mut Plan, mut observe: impl FnMut(&Event)) -> Execution {
    let begin = Instant::now();
    let mut records = Vec::new();
    let missing = surroundings_missing(&plan.target);
    if plan.target.rehearse || missing.is_some() {
        let rehearsed = match missing {
            Some(stop) => Err(Box::new(Finding::from_stop(stop, Default::default))),
            None => rehearse(plan),
        };
        if let Ok(manners) = &rehearsed {
            plan.target.measured = manners.measured;
            plan.target.manifest.stop.ends = Some(manners.ends);
        }
        if let Err(finding) = rehearsed {
            let error = |requirement| Record {
                requirement,
                round: 0,
                finding: Finding {
                    verdict: finding.verdict,
                    reason: finding.reason.clone(),
                    ..Finding::pass()
                },
                duration: Duration::ZERO,
                dir: None,
                // Nothing was checked, so nothing is to be said about what was expected.
                exception: None,
            };
            return Execution {
                records: plan.requirements.iter().copied().map(error).collect(),
                interrupted: interrupt::requested(),
                duration: begin.elapsed(),
                slowness: plan.slowness,
                rehearsal: Some(*finding),
            };
        }
    }
    let plan = &*plan;
    let alone = is_alone(&plan.target);
    let mut parallel = Vec::new();
    let mut exclusive = Vec::new();
    for round in 0..plan.repeat {
        for &requirement in &plan.requirements {
            let exception = plan.exceptions.get(requirement.id);
            // Only what can be checked here takes a place in the queue.
            let stop = exception
                .and_then(baseline::skip)
                .or_else(|| plan.target.unclaimed(requirement.claims))
                .or_else(|| Need::first_missing(requirement.needs));
            match stop {
                Some(stop) => {
                    let record = Record {
                        requirement,
                        round,
                        finding: Finding::from_stop(stop, Default::default),
                        duration: Duration::ZERO,
                        dir: None,
                        exception: exception.cloned(),
                    };
                    let event = Event::Finished(Box::new(record));
                    observe(&event);
                    if let Event::Finished(record) = event {
                        records.push(*record);
                    }
                }
                None if requirement.exclusive || alone => {
                    exclusive.push(Item { requirement, round })
                }
                None => parallel.push(Item { requirement, round }),
            }
        }
    }
    let failed = AtomicUsize::new(0);
    let pace = Pace::new(plan.slowness, plan.scale);
    for (queue, jobs) in [(parallel, plan.jobs), (exclusive, 1)] {
        work(plan, &pace, queue, jobs, &failed, |event| {
            observe(&event);
            if let Event::Finished(record) = event {
                records.push(*record);
            }
        });
    }
    unblock(&mut records);
    let interrupted = interrupt::requested();
    Execution {
        records,
        interrupted,
        duration: begin.elapsed(),
        slowness: pace.greatest(),
        rehearsal: None,
    }
}

/// What is blocked by a step that holds where it is looked at for itself has failed: the server does
/// it then, and not here.
fn unblock(records: &mut [Record]) {
    let holds = |records: &[Record], id: &str| {
        let mut of = records.iter().filter(|record| record.requirement.id == id).peekable();
        of.peek().is_some() && of.all(|record| record.finding.verdict.holds())
    };
    for at in 0..records.len() {
        let finding = &records[at].finding;
        let step = finding.failure.as_ref().and_then(|failure| failure.covered_by.as_deref());
        let blocked = finding.verdict == Verdict::Blocked;
        if !blocked || !step.is_some_and(|step| holds(records, step)) {
            continue;
        }
        let record = &mut records[at];
        record.finding.verdict = Verdict::Fail;
        if let Some(exception) = &record.exception {
            baseline::judge(exception, record.requirement.id, &mut record.finding);
        }
    }
}

/// Tries the target's manifest; what has come of it, if not all went well.
fn rehearse(plan: &Plan) -> Result<Manners, Box<Finding>> {
    let limit = plan.target.manifest.ready.limit.duration()
        + plan.target.manifest.stop.limit.duration()
        + CHECK_DEADLINE;
    let finding = run_task(&Task {
        work: Work::Rehearsal(Subject { target: plan.target.clone(), personality: None }),
        dir: plan.dir.join("rehearsal"),
        keep: plan.keep,
        slowness: plan.slowness,
        limit: limit.mul_f64(plan.slowness),
    });
    // Without one the run was interrupted, and nothing more is begun.
    let Some(finding) = finding else {
        return Ok(Manners { measured: plan.target.measured, ends: plan.target.ends() });
    };
    if let (Verdict::Pass, Some(Product::Manners(manners))) = (finding.verdict, &finding.product) {
        return Ok(*manners);
    }
    let in_words = |why: String| match finding.verdict {
        Verdict::Error => rehearsal::in_words(&plan.target.name, &why),
        _ => why,
    };
    Err(Box::new(Finding { reason: finding.reason.map(in_words), ..finding }))
}

/// Works off `queue` with `jobs` threads.
fn work(
    plan: &Plan,
    pace: &Pace,
    queue: Vec<Item>,
    jobs: usize,
    failed: &AtomicUsize,
    observe: impl FnMut(Event),
) {
    in_parallel(
        queue,
        jobs,
        |item, tell| {
            if plan.max_fail.is_some_and(|most| failed.load(Ordering::Relaxed) >= most) {
                return;
            }
            tell(Event::Started(item.requirement, item.round));
            if let Some(record) = check(plan, pace, item) {
                // What is informative fails no run, and ends none.
                let weighs = record.requirement.level != Level::May
                    || record.finding.verdict != Verdict::Fail;
                if weighs && record.finding.verdict.is_trouble() {
                    failed.fetch_add(1, Ordering::Relaxed);
                }
                tell(Event::Finished(Box::new(record)));
            }
        },
        observe,
    );
}

/// Runs one check. None when the run was interrupted meanwhile.
fn check(plan: &Plan, pace: &Pace, item: Item) -> Option<Record> {
    let begin = Instant::now();
    let mut name = match plan.repeat {
        1 => item.requirement.id.replace('/', "."),
        _ => format!("{}.{}", item.requirement.id.replace('/', "."), item.round + 1),
    };
    let mut dir = PathBuf::new();
    let asked = ask_fairly(
        || pace.slowness(),
        |slowness| {
            dir = plan.dir.join(&name);
            name.push_str(".again");
            run_task(&Task {
                work: Work::Requirement(
                    item.requirement.id.to_owned(),
                    Subject { target: plan.target.clone(), personality: plan.personality.clone() },
                ),
                dir: dir.clone(),
                keep: plan.keep,
                slowness,
                limit: CHECK_DEADLINE.mul_f64(slowness),
            })
        },
    );
    let mut finding = asked?;
    let exception = plan.exceptions.get(item.requirement.id);
    if let Some(exception) = exception {
        baseline::judge(exception, item.requirement.id, &mut finding);
    }
    Some(Record {
        requirement: item.requirement,
        round: item.round,
        finding,
        duration: begin.elapsed(),
        dir: plan.keep.then_some(dir),
        exception: exception.cloned(),
    })
}

/// What a check finds, by `ask` with the factor of its deadlines.
///
/// They are as long as the machine is slow when the check begins. What goes wrong by them while the
/// machine becomes much slower is asked once more, with those of then: a server that has no processor
/// looks like one that hangs. What the first answer was, stands in the note.
fn ask_fairly(
    slowness: impl Fn() -> f64,
    mut ask: impl FnMut(f64) -> Option<Finding>,
) -> Option<Finding> {
    /// How much slower a machine may become during a check that is to count.
    const MUCH: f64 = 1.5;
    let before = slowness();
    let first = ask(before)?;
    if !matches!(first.verdict, Verdict::Fail | Verdict::Error | Verdict::Blocked) {
        return Some(first);
    }
    let times = slowness() / before;
    if times < MUCH {
        return Some(first);
    }
    let second = ask(slowness())?;
    let words = first.failure.map(|failure| failure.actual).or(first.reason).unwrap_or_default();
    let mut note =
        format!("run twice: the machine became {times:.1} times slower, and at first: {words}");
    if let Some(of_second) = &second.note {
        note = format!("{of_second}; {note}");
    }
    Some(Finding { note: Some(note), ..second })
}

impl Execution {
    /// What it means for the whole.
    pub fn conclusion(&self) -> Conclusion {
        let verdicts: Vec<_> = self
            .records
            .iter()
            .map(|record| (record.finding.verdict, record.requirement.level))
            .collect();
        Conclusion::of(&verdicts, self.interrupted)
    }
}

#[cfg(test)]
mod tests {
    use forkproof_report::Failure;

    use super::*;
    use crate::requirements;

    fn record(id: &str, verdict: Verdict, covered_by: Option<&str>) -> Record {
        let covered_by = covered_by.map(str::to_owned);
        let failure = Failure { covered_by, ..Failure::new("it is let in", "it is not") };
        Record {
            requirement: requirements::find(id).unwrap(),
            round: 0,
            finding: Finding { verdict, failure: Some(failure), ..Finding::pass() },
            duration: Duration::ZERO,
            dir: None,
            exception: None,
        }
    }

    /// A server that has no processor looks like one that hangs; but a second answer is for that alone.
    #[test]
    fn what_goes_wrong_while_the_machine_becomes_much_slower_is_asked_once_more() {
        let failure = || Finding {
            verdict: Verdict::Fail,
            failure: Some(Failure::new("it answers", "nothing after 10 s")),
            ..Finding::pass()
        };
        // What the machine is before, after, and then; the answers; with what they were asked.
        let asked = |paces: &[f64], answers: &[Finding]| {
            let (mut paces, mut answers) = (paces.iter(), answers.iter());
            let paces = std::cell::RefCell::new(&mut paces);
            let mut with = Vec::new();
            let finding = ask_fairly(
                || *paces.borrow_mut().next().unwrap(),
                |slowness| {
                    with.push(slowness);
                    answers.next().cloned()
                },
            );
            (finding, with)
        };
        let (finding, with) = asked(&[2.0, 4.0, 5.0], &[failure(), Finding::pass()]);
        let finding = finding.unwrap();
        assert_eq!((finding.verdict, with), (Verdict::Pass, vec![2.0, 5.0]));
        let note = finding.note.unwrap();
        assert!(note.contains("2.0 times slower") && note.contains("nothing after 10 s"), "{note}");

        let too_slow = Finding::error("this machine is too slow");
        let (finding, with) = asked(&[1.0, 1.5, 1.5], &[too_slow, failure()]);
        assert_eq!((finding.unwrap().verdict, with.len()), (Verdict::Fail, 2), "it may fail again");

        let (finding, with) = asked(&[2.0, 2.9], &[failure(), Finding::pass()]);
        assert_eq!((finding.unwrap().verdict, with.len()), (Verdict::Fail, 1), "hardly slower");
        let (_, with) = asked(&[1.0, 9.0], &[Finding::pass()]);
        assert_eq!(with.len(), 1, "nothing went wrong");
        let (finding, _) = asked(&[1.0, 9.0, 9.0], &[failure()]);
        assert!(finding.is_none(), "interrupted");
    }

    /// Else a server that lets two clients in and not sixty-four would have no verdict.
    #[test]
    fn what_a_passing_step_blocks_has_failed() {
        const STEP: &str = "delivery/everyone-hears-everything-2";
        let judged = |step: Verdict| {
            let blocked = record("processes/idle-is-idle", Verdict::Blocked, Some(STEP));
            let mut records = vec![blocked, record(STEP, step, None)];
            unblock(&mut records);
            records[0].finding.verdict
        };
        assert_eq!(judged(Verdict::Pass), Verdict::Fail);
        assert_eq!(judged(Verdict::Fail), Verdict::Blocked);
        let mut alone = [record("processes/idle-is-idle", Verdict::Blocked, Some(STEP))];
        unblock(&mut alone);
        assert_eq!(alone[0].finding.verdict, Verdict::Blocked, "nobody has looked at the step");
    }
}
