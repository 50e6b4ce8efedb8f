//! The warden: the process around one check.
//!
//! ```text
//! runner ── warden ── check ── server under test ── its processes
//!             │          └ reaper of the server's orphans
//!             └ reaper of everything, should the check die
//! ```
//!
//! The warden is in a session of its own and reaps every orphan below it, so nothing that a server
//! forks can get away. It ends its check at the deadline, and at once when the *lifeline* ends: its
//! standard input, a pipe that only the runner holds open. So even `kill -9` of the runner leaves
//! no process behind.

use std::fs::File;
use std::io::{Read, Write};
use std::os::fd::{AsFd, OwnedFd};
use std::path::PathBuf;
use std::time::{Duration, Instant};

use nix::errno::Errno;
use nix::fcntl::OFlag;
use nix::poll::{PollFd, PollFlags, poll};
use nix::sys::signal::{
    SaFlags, SigAction, SigHandler, SigSet, SigmaskHow, Signal, kill, sigaction, sigprocmask,
};
use nix::sys::wait::{WaitPidFlag, waitpid};
use nix::unistd::{ForkResult, Pid, fork, pipe2, setsid};
use serde::{Deserialize, Serialize};

use crate::bench::{self, Figures, Measures};
use crate::catalogue;
use crate::harness::{Check, Evidence, Orders};
use crate::personality::{self, Interposition, Selected};
use crate::platform;
use crate::probe;
use crate::rehearsal;
use crate::target::Target;
use crate::target::manifest::Ends;
use crate::verdict::{Failure, Stop, Verdict};

/// How the names of the files end that servers' output goes to.
pub(crate) const OUTPUT_SUFFIX: &str = ".output";
/// How much of it is too much, in bytes.
const MOST_OUTPUT: u64 = 16 << 20;
/// How often that is looked at, in milliseconds.
const TICK: u16 = 100;

/// What the runner tells a warden.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Task {
    /// What to do.
    pub work: Work,
    /// The private directory, to be made.
    pub dir: PathBuf,
    /// Whether to leave it there.
    pub keep: bool,
    /// See [`Orders::slowness`].
    pub slowness: f64,
    /// Limit of the whole check.
    pub limit: Duration,
    /// The server under test.
    pub target: Target,
    /// The personalities to put the server under, as `forkproof as` takes them.
    #[serde(default)]
    pub personality: Option<String>,
}

/// What a check process can do.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub enum Work {
    /// Check the requirement of that id.
    Requirement(String),
    /// Measure.
    Benchmark(Measures),
    /// Measure the probe of that id.
    Probe(String),
    /// Try whether the target is as its manifest says.
    Rehearsal,
}

/// What a warden tells the runner.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Finding {
    /// The answer.
    pub verdict: Verdict,
    /// Why it isn't a pass, in one line; for failures see `failure`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
    /// What was expected and what happened.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub failure: Option<Failure>,
    /// What the check found out beside its verdict.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub note: Option<String>,
    /// What there is to show for it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub evidence: Option<Evidence>,
    /// What was measured, if that was the work.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub figures: Option<Figures>,
    /// How many of the server's calls the personality altered, if there was one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub altered_calls: Option<u64>,
    /// What a probe measured, if that was the work.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub measured: Option<probe::Value>,
}

impl Finding {
    /// A pass.
    pub fn pass() -> Self {
        Self {
            verdict: Verdict::Pass,
            reason: None,
            failure: None,
            note: None,
            evidence: None,
            figures: None,
            altered_calls: None,
            measured: None,
        }
    }

    /// A failure of the harness.
    pub fn error(reason: impl Into<String>) -> Self {
        Self { verdict: Verdict::Error, reason: Some(reason.into()), ..Self::pass() }
    }

    /// What a stop comes to, with its evidence where that helps.
    pub fn from_stop(stop: Stop, evidence: impl FnOnce() -> Evidence) -> Self {
        let (verdict, reason, failure) = match stop {
            Stop::Fail(failure) => (Verdict::Fail, None, Some(failure)),
            Stop::Unsupported(reason) => (Verdict::Unsupported, Some(reason), None),
            Stop::NotRun(reason) => (Verdict::NotRun, Some(reason), None),
            Stop::Error(reason) => (Verdict::Error, Some(reason), None),
        };
        let evidence = matches!(verdict, Verdict::Fail | Verdict::Error).then(evidence);
        Self { verdict, reason, failure, evidence, ..Self::pass() }
    }
}

/// The warden's program. `task` is a [`Task`] in JSON; the finding goes to standard output.
pub fn main(task: &str) -> std::process::ExitCode {
    let finding = match serde_json::from_str::<Task>(task) {
        Ok(task) => match guard(&task) {
            Some(finding) => finding,
            None => return std::process::ExitCode::FAILURE, // nobody is there to be told
        },
        Err(error) => Finding::error(format!("task: {error}")),
    };
    let told = serde_json::to_vec(&finding)
        .map_err(std::io::Error::from)
        .and_then(|text| std::io::stdout().write_all(&text));
    if told.is_ok() { std::process::ExitCode::SUCCESS } else { std::process::ExitCode::FAILURE }
}

/// Runs the check below this process. None when the runner is gone.
fn guard(task: &Task) -> Option<Finding> {
    let finding = match start(task) {
        Ok((check, result)) => watch(check, result, task),
        Err(reason) => Some(Finding::error(reason)),
    };
    let left = end_descendants();
    let finding = match flood(&task.dir) {
        Some(reason) if finding.is_some() => Some(Finding::error(reason)),
        _ => finding,
    };
    let finding = finding.map(|finding| with_altered_calls(finding, task));
    if !task.keep {
        let _ = std::fs::remove_dir_all(&task.dir);
        if finding.is_none() {
            // The last warden takes the run's own directory along; the others find it not empty.
            let _ = task.dir.parent().map(std::fs::remove_dir);
        }
    }
    let finding = finding?;
    let judged =
        !matches!(task.work, Work::Probe(_)) && task.target.manifest.stop.ends == Ends::All;
    if judged && finding.verdict == Verdict::Pass && !left.is_empty() {
        let stop = Stop::Fail(Failure {
            expected: "no process of the server is left after its end".into(),
            actual: left.join(", "),
        });
        let stop = match task.work {
            Work::Rehearsal => rehearsal::as_error(stop),
            _ => stop,
        };
        return Some(Finding::from_stop(stop, Evidence::default));
    }
    Some(finding)
}

/// Adds what the personality's trace tells, now that every process has ended.
fn with_altered_calls(finding: Finding, task: &Task) -> Finding {
    if task.personality.is_none() {
        return finding;
    }
    match personality::read_trace(&task.dir.join(personality::TRACE_FILE)) {
        Ok(trace) => {
            let altered = trace.iter().map(|traced| u64::from(traced.altered_calls)).sum();
            Finding { altered_calls: Some(altered), ..finding }
        }
        Err(reason) => Finding::error(reason),
    }
}

/// Forks the check; returns its process id and where its finding comes from.
fn start(task: &Task) -> Result<(Pid, OwnedFd), String> {
    make_private_dir(&task.dir).map_err(|error| format!("{}: {error}", task.dir.display()))?;
    let words = |what: &'static str| move |errno: Errno| format!("{what}: {}", errno.desc());
    setsid().map_err(words("setsid"))?;
    platform::become_reaper()?;
    // Closed on exec: a server that outlives its check must not keep the warden waiting.
    let (result, result_end) = pipe2(OFlag::O_CLOEXEC).map_err(words("pipe"))?;
    // SAFETY: this process has one thread.
    match unsafe { fork() }.map_err(words("fork"))? {
        ForkResult::Parent { child } => Ok((child, result)),
        ForkResult::Child => {
            drop(result);
            let finding = run_check(task);
            let written = serde_json::to_vec(&finding)
                .map_err(std::io::Error::from)
                .and_then(|text| File::from(result_end).write_all(&text));
            // SAFETY: ends the process without running what its parent registered.
            unsafe { libc::_exit(i32::from(written.is_err())) }
        }
    }
}

/// The check itself, in its own process.
fn run_check(task: &Task) -> Finding {
    // A group and a session of its own: a server that signals its group hits this check at most.
    if let Err(errno) = setsid() {
        return Finding::error(format!("setsid: {}", errno.desc()));
    }
    if let Err(reason) = platform::become_reaper() {
        return Finding::error(reason);
    }
    // The lifeline is the warden's.
    if let Err(error) = replace_stdin() {
        return Finding::error(format!("/dev/null: {error}"));
    }
    // The server must find no descriptor of ours, and the check starts from a known mask.
    let _ = sigprocmask(SigmaskHow::SIG_SETMASK, Some(&SigSet::empty()), None);
    if !matches!(task.work, Work::Probe(_)) {
        // A probe tells limits and dispositions as they are.
        raise_descriptor_limit();
        default_dispositions();
        if let Err(errno) = survive_signals() {
            return Finding::error(format!("sigaction: {}", errno.desc()));
        }
    }
    let environment = match &task.personality {
        None => Vec::new(),
        Some(text) => {
            let interposition = Selected::parse_list(text)
                .and_then(|selected| Interposition::new(&task.dir, &selected));
            match interposition {
                Ok(interposition) => interposition.environment(),
                Err(reason) => return Finding::error(reason),
            }
        }
    };
    let orders = Orders {
        dir: task.dir.clone(),
        slowness: task.slowness,
        target: task.target.clone(),
        environment,
    };
    if !matches!(task.work, Work::Probe(_)) {
        if let Err(stop) = crate::harness::enter_surroundings(&orders.target, &orders.dir) {
            return Finding::from_stop(stop, Default::default);
        }
    }
    let mut check = Check::new(orders);
    let outcome = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| {
        let mut finding = Finding::pass();
        match &task.work {
            Work::Probe(id) => {
                // No server, so nothing to finish.
                finding.measured = Some(probe::measure(id, &task.dir).map_err(Stop::Error)?);
                return Ok(finding);
            }
            Work::Requirement(id) => {
                let requirement = catalogue::find(id)
                    .ok_or_else(|| Stop::Error(format!("no requirement {id}")))?;
                (requirement.check)(&mut check)?;
            }
            Work::Rehearsal => rehearsal::rehearse(&mut check)?,
            Work::Benchmark(measures) => {
                finding.figures = Some(bench::measure(&mut check, measures)?);
            }
        }
        check.finish()?;
        finding.note = check.remarks();
        Ok(finding)
    }));
    let stop = match outcome {
        Ok(Ok(finding)) => return finding,
        Ok(Err(stop)) if matches!(task.work, Work::Rehearsal) => rehearsal::as_error(stop),
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
    Finding::from_stop(stop, || check.evidence())
}

/// Makes a directory that no other user may enter.
fn make_private_dir(path: &std::path::Path) -> std::io::Result<()> {
    use std::os::unix::fs::DirBuilderExt;
    std::fs::DirBuilder::new().mode(0o700).create(path)
}

fn replace_stdin() -> std::io::Result<()> {
    let null = File::open("/dev/null")?;
    // SAFETY: both are open; descriptor 0 belongs to nobody's `OwnedFd`.
    Errno::result(unsafe { libc::dup2(std::os::fd::AsRawFd::as_raw_fd(&null), 0) })?;
    Ok(())
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

/// Hundreds of clients need as many descriptors; common soft limits are 256 and 1024.
fn raise_descriptor_limit() {
    use nix::sys::resource::{Resource, getrlimit, setrlimit};
    if let Ok((soft, hard)) = getrlimit(Resource::RLIMIT_NOFILE) {
        let wanted = hard.min(4096);
        if soft < wanted {
            let _ = setrlimit(Resource::RLIMIT_NOFILE, wanted, hard);
        }
    }
}

/// Waits for the finding, the deadline, or the end of the runner (then: none).
fn watch(check: Pid, result: OwnedFd, task: &Task) -> Option<Finding> {
    let deadline = Instant::now() + task.limit;
    let mut result = File::from(result);
    let lifeline = std::io::stdin();
    let mut text = Vec::new();
    loop {
        let left = deadline.saturating_duration_since(Instant::now());
        if left.is_zero() {
            let mut evidence = Evidence::default();
            if let Ok(table) = platform::process_table() {
                for process in platform::descendants(&table, std::process::id() as i32) {
                    evidence.processes.push(format!(
                        "{} {} {}",
                        process.pid,
                        process.name,
                        process.state.word()
                    ));
                }
            }
            let reason = format!("the check was not over after {:.0} s", task.limit.as_secs_f64());
            return Some(Finding { evidence: Some(evidence), ..Finding::error(reason) });
        }
        let mut ready = [
            PollFd::new(result.as_fd(), PollFlags::POLLIN),
            PollFd::new(lifeline.as_fd(), PollFlags::POLLIN),
        ];
        if let Some(reason) = flood(&task.dir) {
            return Some(Finding::error(reason));
        }
        let milliseconds = u16::try_from(left.as_millis() + 1).unwrap_or(u16::MAX);
        match poll(&mut ready, milliseconds.min(TICK)) {
            Ok(_) | Err(Errno::EINTR) => {}
            Err(errno) => return Some(Finding::error(format!("poll: {}", errno.desc()))),
        }
        let spoke = |fd: &PollFd| fd.revents().is_some_and(|events| !events.is_empty());
        let (has_result, runner_is_gone) = (spoke(&ready[0]), spoke(&ready[1]));
        if runner_is_gone {
            return None;
        }
        if !has_result {
            continue;
        }
        let mut buffer = [0; 16 * 1024];
        match result.read(&mut buffer) {
            Ok(0) => {
                let status = nix::sys::wait::waitpid(check, None);
                return Some(serde_json::from_slice(&text).unwrap_or_else(|_| {
                    Finding::error(format!("the check died without a finding: {status:?}"))
                }));
            }
            Ok(count) => text.extend_from_slice(&buffer[..count]),
            Err(error) if error.kind() == std::io::ErrorKind::Interrupted => {}
            Err(error) => return Some(Finding::error(format!("result: {error}"))),
        }
    }
}

/// What is wrong with the amount of output that the servers have written, if anything: it goes to
/// files, and a server that floods them would fill the disk.
fn flood(dir: &std::path::Path) -> Option<String> {
    for entry in std::fs::read_dir(dir).ok()?.flatten() {
        let name = entry.file_name();
        let is_output = name.to_str().is_some_and(|name| name.ends_with(OUTPUT_SUFFIX));
        let length = || entry.metadata().map_or(0, |metadata| metadata.len());
        if is_output && length() > MOST_OUTPUT {
            // What is there is no use to anybody, and the server may still be writing.
            let _ = File::options().write(true).open(entry.path()).and_then(|f| f.set_len(0));
            return Some(format!(
                "the server floods its output: more than {} MiB on standard output and standard error",
                MOST_OUTPUT >> 20
            ));
        }
    }
    None
}

/// Kills and reaps everything below this process. Returns what there was, in words.
///
/// Each round kills the children there are; their children become ours by then, until `wait` says
/// that there are none.
fn end_descendants() -> Vec<String> {
    let mut met = Vec::new();
    loop {
        match waitpid(None, Some(WaitPidFlag::WNOHANG)) {
            Err(Errno::ECHILD) => return met,
            Ok(status) if status.pid().is_some() => continue,
            _ => {}
        }
        let table = platform::process_table().unwrap_or_default();
        for process in platform::descendants(&table, std::process::id() as i32) {
            let words = format!("{} {} ({})", process.name, process.pid, process.state.word());
            if !met.iter().any(|known: &String| known.contains(&format!(" {} ", process.pid))) {
                met.push(words);
            }
            let _ = kill(Pid::from_raw(process.pid), Signal::SIGKILL);
        }
        // Killed processes take a moment to end.
        std::thread::sleep(Duration::from_millis(1));
    }
}
