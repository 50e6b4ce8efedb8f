//! Runs a plan: a warden per check, several at a time, the exclusive ones alone and last.

use std::collections::VecDeque;
use std::io::Read;
use std::os::fd::AsFd;
use std::path::PathBuf;
use std::process::{Command, Stdio};
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc;
use std::time::{Duration, Instant};

use nix::errno::Errno;
use nix::poll::{PollFd, PollFlags, poll};
use nix::sys::signal::{SaFlags, SigAction, SigHandler, SigSet, Signal, sigaction};

use crate::baseline::{Exception, Exceptions};
use crate::catalogue::Requirement;
use crate::needs::Need;
use crate::rehearsal;
use crate::target::Target;
use crate::verdict::Verdict;
use crate::warden::{Finding, Task, Work};

/// Limit of one check on an ordinary machine. Every wait inside has a shorter one of its own.
pub(crate) const CHECK_LIMIT: Duration = Duration::from_secs(60);
/// How often a worker looks whether the run was interrupted.
const TICK: u8 = 50;

static INTERRUPTED: AtomicBool = AtomicBool::new(false);

extern "C" fn note_interrupt(_signal: libc::c_int) {
    INTERRUPTED.store(true, Ordering::Relaxed);
}

/// Makes `SIGINT`, `SIGTERM` and `SIGHUP` end a run with what there is so far. A second one ends
/// the program.
pub fn catch_interrupts() -> nix::Result<()> {
    let handler = SigHandler::Handler(note_interrupt);
    let action = SigAction::new(handler, SaFlags::SA_RESETHAND, SigSet::empty());
    for signal in [Signal::SIGINT, Signal::SIGTERM, Signal::SIGHUP] {
        // SAFETY: the handler only stores to an atomic.
        unsafe { sigaction(signal, &action) }?;
    }
    Ok(())
}

/// What is to be run, and how.
#[derive(Debug)]
pub struct Plan {
    /// The requirements, in the catalogue's order.
    pub requirements: Vec<&'static Requirement>,
    /// How often each.
    pub repeat: usize,
    /// How many checks at a time.
    pub jobs: usize,
    /// The server under test.
    pub target: Target,
    /// How much longer than usual deadlines are.
    pub slowness: f64,
    /// Where the checks' private directories are made.
    pub dir: PathBuf,
    /// Whether they stay.
    pub keep: bool,
    /// The personalities to put the server under, as `forkproof as` takes them.
    pub personality: Option<String>,
    /// What a baseline expects on this platform.
    pub exceptions: Exceptions,
}

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
    /// A check begins.
    Started(&'static Requirement),
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
    /// What came of the target's rehearsal, when that kept everything else from being run.
    pub rehearsal: Option<Finding>,
}

#[derive(Debug, Clone, Copy)]
struct Item {
    requirement: &'static Requirement,
    round: usize,
}

/// Runs `plan`; `observe` hears of every event, in this thread.
pub fn execute(plan: &Plan, mut observe: impl FnMut(&Event)) -> Execution {
    let begin = Instant::now();
    let mut records = Vec::new();
    if plan.target.rehearse {
        if let Some(finding) = rehearse(plan) {
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
                interrupted: INTERRUPTED.load(Ordering::Relaxed),
                duration: begin.elapsed(),
                rehearsal: Some(finding),
            };
        }
    }
    let alone = plan.target.is_alone();
    let mut parallel = VecDeque::new();
    let mut exclusive = VecDeque::new();
    for round in 0..plan.repeat {
        for &requirement in &plan.requirements {
            let exception = plan.exceptions.get(requirement.id);
            // Only what can be checked here takes a place in the queue.
            let stop = exception
                .and_then(Exception::skip)
                .or_else(|| plan.target.unclaimed(requirement))
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
                    exclusive.push_back(Item { requirement, round })
                }
                None => parallel.push_back(Item { requirement, round }),
            }
        }
    }
    for (queue, jobs) in [(parallel, plan.jobs), (exclusive, 1)] {
        work(plan, queue, jobs, |event| {
            observe(&event);
            if let Event::Finished(record) = event {
                records.push(*record);
            }
        });
    }
    let interrupted = INTERRUPTED.load(Ordering::Relaxed);
    Execution { records, interrupted, duration: begin.elapsed(), rehearsal: None }
}

/// Tries the target's manifest; what came of it, unless all went well.
fn rehearse(plan: &Plan) -> Option<Finding> {
    if let Some(stop) = plan.target.surroundings_missing() {
        return Some(Finding::from_stop(stop, Default::default));
    }
    let limit = plan.target.manifest.ready.limit.duration()
        + plan.target.manifest.stop.limit.duration()
        + CHECK_LIMIT;
    let finding = run_task(&Task {
        work: Work::Rehearsal,
        dir: plan.dir.join("rehearsal"),
        keep: plan.keep,
        slowness: plan.slowness,
        limit: limit.mul_f64(plan.slowness),
        target: plan.target.clone(),
        personality: None,
    });
    let finding = finding.filter(|finding| finding.verdict != Verdict::Pass)?;
    let in_words = |why: String| match finding.verdict {
        Verdict::Error => rehearsal::in_words(&plan.target.name, &why),
        _ => why,
    };
    Some(Finding { reason: finding.reason.map(in_words), ..finding })
}

/// Works off `queue` with `jobs` threads.
fn work(plan: &Plan, queue: VecDeque<Item>, jobs: usize, observe: impl FnMut(Event)) {
    in_parallel(
        queue,
        jobs,
        |item, tell| {
            tell(Event::Started(item.requirement));
            if let Some(record) = check(plan, item) {
                tell(Event::Finished(Box::new(record)));
            }
        },
        observe,
    );
}

/// Does `job` with every item, `jobs` at a time; what the jobs tell is observed in this thread, in
/// the order in which it comes. After an interruption no further job is begun.
pub(crate) fn in_parallel<T: Send, R: Send>(
    queue: VecDeque<T>,
    jobs: usize,
    job: impl Fn(T, &dyn Fn(R)) + Sync,
    mut observe: impl FnMut(R),
) {
    let queue = Mutex::new(queue);
    let (tell, told) = mpsc::channel();
    std::thread::scope(|scope| {
        for _ in 0..jobs.max(1) {
            let (queue, tell, job) = (&queue, tell.clone(), &job);
            scope.spawn(move || {
                while !INTERRUPTED.load(Ordering::Relaxed) {
                    let item = match queue.lock() {
                        Ok(mut queue) => queue.pop_front(),
                        Err(_) => None,
                    };
                    let Some(item) = item else { break };
                    job(item, &|answer| {
                        let _ = tell.send(answer);
                    });
                }
            });
        }
        drop(tell);
        for answer in told {
            observe(answer);
        }
    });
}

/// Runs one check. None when the run was interrupted meanwhile.
fn check(plan: &Plan, item: Item) -> Option<Record> {
    let begin = Instant::now();
    let name = match plan.repeat {
        1 => item.requirement.id.replace('/', "."),
        _ => format!("{}.{}", item.requirement.id.replace('/', "."), item.round + 1),
    };
    let dir = plan.dir.join(name);
    let task = Task {
        work: Work::Requirement(item.requirement.id.to_owned()),
        dir: dir.clone(),
        keep: plan.keep,
        slowness: plan.slowness,
        limit: CHECK_LIMIT.mul_f64(plan.slowness),
        target: plan.target.clone(),
        personality: plan.personality.clone(),
    };
    let mut finding = run_task(&task)?;
    let exception = plan.exceptions.get(item.requirement.id);
    if let Some(exception) = exception {
        exception.judge(item.requirement.id, &mut finding);
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

/// Runs one task under a warden; none when the run was interrupted meanwhile.
pub(crate) fn run_task(task: &Task) -> Option<Finding> {
    match run_warden(task) {
        Ok(Some(text)) => Some(serde_json::from_slice(&text).unwrap_or_else(|error| {
            Finding::error(format!("the warden gave no finding: {error}"))
        })),
        Ok(None) => None,
        Err(error) => Some(Finding::error(format!("the warden cannot be run: {error}"))),
    }
}

/// Runs a warden to its end; none when the run was interrupted.
fn run_warden(task: &Task) -> std::io::Result<Option<Vec<u8>>> {
    // Whoever started this program may ignore it, and then no child can be waited for.
    // SAFETY: no handler is installed.
    unsafe { nix::sys::signal::signal(Signal::SIGCHLD, SigHandler::SigDfl) }?;
    let mut warden = Command::new(std::env::current_exe()?)
        .arg("__check")
        .arg(serde_json::to_string(task)?)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()?;
    let (Some(lifeline), Some(mut output)) = (warden.stdin.take(), warden.stdout.take()) else {
        return Err(std::io::Error::other("no pipe to the warden"));
    };
    let mut text = Vec::new();
    let complete = loop {
        if INTERRUPTED.load(Ordering::Relaxed) {
            break false;
        }
        let mut ready = [PollFd::new(output.as_fd(), PollFlags::POLLIN)];
        match poll(&mut ready, TICK) {
            Ok(0) | Err(Errno::EINTR) => continue,
            Ok(_) => {}
            Err(errno) => return Err(errno.into()),
        }
        let mut buffer = [0; 16 * 1024];
        match output.read(&mut buffer)? {
            0 => break true,
            count => text.extend_from_slice(&buffer[..count]),
        }
    };
    // Without its lifeline the warden ends everything and then itself.
    drop(lifeline);
    warden.wait()?;
    Ok(complete.then_some(text))
}

/// What a run as a whole came to.
#[derive(Debug, Clone, Copy, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Conclusion {
    /// Every requirement that was checked holds, or fails as the baseline expects.
    Conformant,
    /// A requirement failed, or the baseline expects a failure in vain.
    NotConformant,
    /// Nothing failed, but not everything that was to be checked was.
    NoVerdict,
}

impl Execution {
    /// Decides, here and nowhere else, what the findings mean for the whole.
    pub fn conclusion(&self) -> Conclusion {
        let any = |verdict| self.records.iter().any(|r| r.finding.verdict == verdict);
        let failed = self.records.iter().any(|record| match record.finding.verdict {
            // Informative requirements are reported, and never fail a run.
            Verdict::Fail => record.requirement.level != crate::catalogue::Level::May,
            // Here it is the baseline that is wrong, whatever the requirement's level.
            Verdict::Xpass => true,
            Verdict::Pass
            | Verdict::Unsupported
            | Verdict::NotRun
            | Verdict::Error
            | Verdict::Xfail => false,
        });
        if self.interrupted {
            Conclusion::NoVerdict
        } else if failed {
            Conclusion::NotConformant
        } else if any(Verdict::Error) || !(any(Verdict::Pass) || any(Verdict::Xfail)) {
            Conclusion::NoVerdict
        } else {
            Conclusion::Conformant
        }
    }
}

#[cfg(test)]
mod tests {
    use rstest::rstest;

    use super::*;
    use crate::catalogue::{self, Level};

    #[rstest]
    #[case(&[(Verdict::Pass, Level::Must)], Conclusion::Conformant)]
    #[case(&[(Verdict::Pass, Level::Must), (Verdict::NotRun, Level::Must)], Conclusion::Conformant)]
    #[case(&[(Verdict::Pass, Level::Must), (Verdict::Fail, Level::Should)], Conclusion::NotConformant)]
    #[case(&[(Verdict::Pass, Level::Must), (Verdict::Fail, Level::May)], Conclusion::Conformant)]
    #[case(&[(Verdict::Pass, Level::Must), (Verdict::Xfail, Level::Must)], Conclusion::Conformant)]
    #[case(&[(Verdict::Xfail, Level::Must)], Conclusion::Conformant)]
    #[case(&[(Verdict::Pass, Level::Must), (Verdict::Xpass, Level::Must)], Conclusion::NotConformant)]
    // The baseline is stale whatever the level.
    #[case(&[(Verdict::Pass, Level::Must), (Verdict::Xpass, Level::May)], Conclusion::NotConformant)]
    #[case(&[(Verdict::Xfail, Level::Must), (Verdict::Error, Level::Must)], Conclusion::NoVerdict)]
    #[case(&[(Verdict::NotRun, Level::Must)], Conclusion::NoVerdict)]
    #[case(&[], Conclusion::NoVerdict)]
    fn what_findings_mean_for_the_whole(
        #[case] findings: &[(Verdict, Level)],
        #[case] expected: Conclusion,
    ) {
        let records = findings
            .iter()
            .map(|&(verdict, level)| Record {
                requirement: catalogue::all().find(|r| r.level == level).unwrap(),
                round: 0,
                finding: Finding { verdict, ..Finding::pass() },
                duration: Duration::ZERO,
                dir: None,
                exception: None,
            })
            .collect();
        let mut execution =
            Execution { records, interrupted: false, duration: Duration::ZERO, rehearsal: None };
        assert_eq!(execution.conclusion(), expected);
        execution.interrupted = true;
        assert_eq!(execution.conclusion(), Conclusion::NoVerdict);
    }
}
