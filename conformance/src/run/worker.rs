//! What goes on below a warden: a check, a rehearsal, a benchmark or a probe, in a process of its own.

use std::os::fd::AsRawFd;

use forkproof_report::{Evidence, Failure, Verdict};
use nix::errno::Errno;
use nix::sys::resource::{Resource, getrlimit, setrlimit};
use nix::sys::signal::{
    SaFlags, SigAction, SigHandler, SigSet, SigmaskHow, Signal, sigaction, sigprocmask,
};
use nix::unistd::setsid;

use super::finding::{Finding, Product};
use super::rehearsal;
use super::task::{Subject, Task, Work};
use crate::harness::{Check, Orders, enter_surroundings};
use crate::personality::{self, Interposition, Selected};
use crate::stop::{OrError, Step, Stop};
use crate::subject::Ends;
use crate::{bench, platform, probe, requirements, survey};

/// The name of the directory that a check's servers have, in the check's own.
const SERVERS: &str = "dir";

/// Does what `task` says, in this process, which is its own.
pub(super) fn work(task: &Task) -> Finding {
    prepare()
        .and_then(|()| match &task.work {
            Work::Probe(id) => {
                // It tells limits and dispositions as they are, and has no server to finish.
                let value = probe::measure(id, &task.dir).map_err(Stop::Error)?;
                Ok(Finding { product: Some(Product::Fact(value)), ..Finding::pass() })
            }
            Work::Sink(measurement) => {
                default_dispositions();
                let sample = bench::measure_sink(measurement, &task.dir, task.slowness);
                let product = Some(Product::Sample(sample.map_err(Stop::Error)?));
                Ok(Finding { product, ..Finding::pass() })
            }
            Work::Web(measurement, subject) => {
                let mut check = set_up(task, subject)?;
                let sample = bench::measure_web(&mut check, measurement)?;
                Ok(Finding { product: Some(Product::Web(sample)), ..Finding::pass() })
            }
            Work::Disturbed(measurement, subject) => {
                let mut check = set_up(task, subject)?;
                let sample = bench::measure_disturbed(&mut check, measurement)?;
                Ok(Finding { product: Some(Product::Disturbed(sample)), ..Finding::pass() })
            }
            Work::Survey(command) => {
                default_dispositions();
                let survey = survey::explore(command, &task.dir, task.slowness);
                let product = Some(Product::Survey(Box::new(survey.map_err(Stop::Error)?)));
                Ok(Finding { product, ..Finding::pass() })
            }
            Work::Requirement(_, subject)
            | Work::Rehearsal(subject)
            | Work::Benchmark(_, subject) => Ok(with_server(task, subject)),
        })
        .unwrap_or_else(|stop| Finding::from_stop(stop, Evidence::default))
}

/// A process group and a mask of its own, and none of the warden's descriptors.
fn prepare() -> Step<()> {
    // A group and a session of its own: a server that signals its group hits this check at most.
    setsid().map_err(Errno::desc).or_error("setsid")?;
    platform::become_reaper().map_err(Stop::Error)?;
    // The lifeline is the warden's.
    let null = std::fs::File::open("/dev/null").or_error("/dev/null")?;
    // SAFETY: both are open; descriptor 0 belongs to nobody's `OwnedFd`.
    Errno::result(unsafe { libc::dup2(null.as_raw_fd(), 0) }).or_error("dup2")?;
    // The check starts from a known mask.
    let _ = sigprocmask(SigmaskHow::SIG_SETMASK, Some(&SigSet::empty()), None);
    Ok(())
}

fn with_server(task: &Task, subject: &Subject) -> Finding {
    let mut check = match set_up(task, subject) {
        Ok(check) => check,
        Err(stop) => return Finding::from_stop(stop, Evidence::default),
    };
    let outcome = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| {
        let product = act(&mut check, &task.work)?;
        check.finish()?;
        Ok(Finding { product, note: check.remarks(), ..Finding::pass() })
    }));
    let stop = match outcome {
        Ok(Ok(finding)) => return finding,
        Ok(Err(stop)) if matches!(task.work, Work::Rehearsal(_)) => rehearsal::as_error(stop),
        // What it is about is not covered by another one.
        Ok(Err(Stop::Fail(failure) | Stop::Blocked(failure))) if own(&failure, &task.work) => {
            Stop::Fail(Failure { covered_by: None, ..failure })
        }
        Ok(Err(stop)) => stop,
        Err(panic) => {
            let words = panic
                .downcast_ref::<String>()
                .map(String::as_str)
                .or_else(|| panic.downcast_ref::<&str>().copied())
                .unwrap_or("no message");
            Stop::Error(format!("the check panicked: {words}"))
        }
    };
    let stop = match stop {
        Stop::Fail(failure) => Stop::Fail(check.with_cause(failure)),
        Stop::Blocked(failure) => Stop::Blocked(check.with_cause(failure)),
        other => other,
    };
    Finding::from_stop(stop, || check.evidence())
}

/// Whether the requirement that `failure` names is the one that is checked.
fn own(failure: &Failure, work: &Work) -> bool {
    matches!((work, &failure.covered_by), (Work::Requirement(id, _), Some(named)) if id == named)
}

/// What a server finds, and whoever watches it.
fn set_up(task: &Task, subject: &Subject) -> Step<Check> {
    suffices()?;
    default_dispositions();
    survive_signals().or_error("sigaction")?;
    let environment = match &subject.personality {
        None => Vec::new(),
        Some(text) => Selected::parse_list(text)
            .and_then(|selected| Interposition::new(&task.dir, &selected))
            .map_err(Stop::Error)?
            .environment(),
    };
    let dir = task.dir.join(SERVERS);
    std::fs::create_dir(&dir).or_error(dir.display())?;
    enter_surroundings(&subject.target, &task.dir, &dir)?;
    Ok(Check::new(Orders {
        kept: task.dir.clone(),
        dir,
        slowness: task.slowness,
        target: subject.target.clone(),
        environment,
    }))
}

fn act(check: &mut Check, work: &Work) -> Step<Option<Product>> {
    match work {
        Work::Requirement(id, _) => {
            let requirement = requirements::find(id)
                .ok_or_else(|| Stop::Error(format!("no requirement {id}")))?;
            (requirement.check)(check)?;
        }
        Work::Rehearsal(_) => return Ok(Some(Product::Manners(rehearsal::rehearse(check)?))),
        Work::Benchmark(measures, _) => {
            return Ok(Some(Product::Figures(bench::measure(check, measures)?)));
        }
        Work::Web(..) | Work::Disturbed(..) | Work::Sink(_) | Work::Probe(_) | Work::Survey(_) => {}
    }
    Ok(None)
}

/// The last word, now that every process below the warden has ended: `left` are those that it had to
/// kill.
pub(super) fn conclude(task: &Task, finding: Finding, left: &[String]) -> Finding {
    let Some(subject) = task.work.subject() else { return finding };
    let finding = match (&subject.personality, task.dir.join(personality::TRACE_FILE)) {
        (None, _) => finding,
        (Some(text), trace) => match personality::read_trace(&trace) {
            Ok(trace) => {
                // What the check itself put its server under proves nothing.
                let own = Selected::parse_list(text).unwrap_or_default();
                let is_own = |name: &str| own.iter().any(|own| own.personality.name == name);
                let altered = trace
                    .iter()
                    .filter(|traced| is_own(traced.name))
                    .map(|traced| u64::from(traced.altered_calls))
                    .sum();
                Finding { altered_calls: Some(altered), ..finding }
            }
            Err(reason) => return Finding::error(reason),
        },
    };
    let ends = match &finding.product {
        Some(Product::Manners(manners)) => manners.ends,
        _ => subject.target.ends(),
    };
    let all_must_end = ends == Ends::All;
    if !all_must_end || finding.verdict != Verdict::Pass || left.is_empty() {
        return finding;
    }
    let stop =
        Stop::Fail(Failure::new("no process of the server is left after its end", left.join(", ")));
    let stop = match task.work {
        Work::Rehearsal(_) => rehearsal::as_error(stop),
        _ => stop,
    };
    Finding::from_stop(stop, Evidence::default)
}

/// Whoever started this program may ignore signals (nohup, a shell's `&`, a CI system), and that
/// would be passed on to the server. What a server inherits is for the checks to say.
fn default_dispositions() {
    let default = SigAction::new(SigHandler::SigDfl, SaFlags::empty(), SigSet::empty());
    for signal in Signal::iterator() {
        // What cannot be set is SIGKILL's and SIGSTOP's. SIGPIPE is ignored by every Rust program,
        // and back at its default in what it executes.
        if !matches!(signal, Signal::SIGKILL | Signal::SIGSTOP | Signal::SIGPIPE) {
            // SAFETY: no handler is installed.
            let _ = unsafe { sigaction(signal, &default) };
        }
    }
}

/// Keeps a server that signals its launcher's process group from ending the check. Handlers, not
/// ignored dispositions: those would be passed on to the server.
fn survive_signals() -> nix::Result<()> {
    extern "C" fn pass(_signal: libc::c_int) {}
    let action = SigAction::new(SigHandler::Handler(pass), SaFlags::SA_RESTART, SigSet::empty());
    for signal in
        [Signal::SIGHUP, Signal::SIGINT, Signal::SIGTERM, Signal::SIGUSR1, Signal::SIGUSR2]
    {
        // SAFETY: the handler does nothing.
        unsafe { sigaction(signal, &action) }?;
    }
    Ok(())
}

/// What the checks take at most of this process's own surroundings: hundreds of clients are as many
/// descriptors, and twice as many processes of the server.
const DESCRIPTORS: u64 = 1024;
const PROCESSES: u64 = 512;

/// Whether this process may have as many descriptors and processes as checks take. What is missing
/// is no fault of the server's.
fn suffices() -> Step<()> {
    let (soft, hard) = getrlimit(Resource::RLIMIT_NOFILE).or_error("RLIMIT_NOFILE")?;
    // Common soft limits are 256 and 1024.
    let wanted = hard.min(4096);
    if soft < wanted {
        setrlimit(Resource::RLIMIT_NOFILE, wanted, hard).or_error("RLIMIT_NOFILE")?;
    }
    let (processes, _) = getrlimit(Resource::RLIMIT_NPROC).or_error("RLIMIT_NPROC")?;
    #[allow(clippy::unnecessary_cast, reason = "rlim_t is signed on some systems")]
    let (descriptors, processes) = (wanted as u64, processes as u64);
    if descriptors < DESCRIPTORS {
        return Err(Stop::Error(format!(
            "this process may have {descriptors} descriptors, and checks take {DESCRIPTORS}: raise \
             the limit, with `ulimit -n {DESCRIPTORS}`"
        )));
    }
    // Root's processes are not counted.
    if nix::unistd::geteuid().is_root() || processes >= 1 << 31 {
        return Ok(());
    }
    let used = platform::processes_of_user().unwrap_or(0);
    let left = processes.saturating_sub(used);
    if left < PROCESSES {
        return Err(Stop::Error(format!(
            "this user may have {left} processes more, and checks take {PROCESSES}: raise the \
             limit, with `ulimit -u {}`",
            used + PROCESSES
        )));
    }
    Ok(())
}
