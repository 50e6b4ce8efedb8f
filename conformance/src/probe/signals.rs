//! signals/ : dispositions, masks, and what fork and exec make of them.

use std::ffi::CString;
use std::os::unix::ffi::OsStrExt;
use std::path::Path;
use std::sync::atomic::{AtomicI32, Ordering};
use std::time::Duration;

use nix::errno::Errno;
use nix::poll::ppoll;
use nix::sys::signal::{
    SaFlags, SigAction, SigHandler, SigSet, SigmaskHow, Signal, kill, raise, sigaction, sigprocmask,
};
use nix::sys::time::TimeSpec;
use nix::sys::wait::{WaitStatus, waitpid};
use nix::unistd::{ForkResult, Pid, fork, setpgid};

use super::experiment::{Doing, Subject, either};
use super::model::{Measure, Probe, Value, fixed, open};

pub(super) const PROBES: &[Probe] = &[
    Probe {
        id: "signals/signal-handler-stays",
        title: "A handler that signal() installed, after its first signal",
        posix: "signal(): implementation-defined whether the disposition is reset to SIG_DFL first",
        linux: fixed(
            "stays",
            "signal(2), Portability: BSD semantics from glibc 2 on; the kernel's own signal call resets",
        ),
        freebsd: fixed(
            "stays",
            "signal(3) is made of sigaction(2): a handler normally remains installed",
        ),
        measure: signal_handler_stays,
    },
    Probe {
        id: "signals/signal-handler-is-blocked",
        title: "The signal itself while its handler from signal() runs",
        posix: "signal(): implementation-defined whether it is blocked",
        linux: fixed(
            "blocked",
            "signal(2), Portability: BSD semantics, further instances are blocked",
        ),
        freebsd: fixed(
            "blocked",
            "sigaction(2): handlers normally execute with their signal blocked",
        ),
        measure: signal_handler_is_blocked,
    },
    Probe {
        id: "signals/reset-hand-resets",
        title: "A handler with SA_RESETHAND, after its first signal",
        posix: "sigaction(), SA_RESETHAND: reset to SIG_DFL on entry to the handler",
        linux: fixed("reset to default", "sigaction(2), SA_RESETHAND"),
        freebsd: fixed("reset to default", "sigaction(2), SA_RESETHAND"),
        measure: |_| {
            install(Signal::SIGUSR1, SaFlags::SA_RESETHAND)?;
            raise(Signal::SIGUSR1).doing("raise")?;
            either(disposition(libc::SIGUSR1)? == "caught", "stays", "reset to default")
        },
    },
    Probe {
        id: "signals/pending-signals-coalesce",
        title: "How often a handler runs for five SIGUSR1 sent while it was blocked",
        posix: "XSH 2.4.1: implementation-defined whether a standard signal is delivered more than once",
        linux: fixed("1", "signal(7), Queueing and delivery semantics for standard signals"),
        freebsd: open(
            "sigaction(2): a signal is added to a set of pending signals; kernels queue what sigqueue(2) sent",
        ),
        measure: |_| {
            install(Signal::SIGUSR1, SaFlags::empty())?;
            block(Signal::SIGUSR1)?;
            for _ in 0..5 {
                kill(Pid::this(), Signal::SIGUSR1).doing("kill")?;
            }
            sigprocmask(SigmaskHow::SIG_SETMASK, Some(&SigSet::empty()), None)
                .doing("sigprocmask")?;
            Ok(i64::from(DELIVERED.load(Ordering::SeqCst)).into())
        },
    },
    Probe {
        id: "signals/sigchld-ignored-wait",
        title: "What waitpid() says of a child while SIGCHLD is ignored",
        posix: "XSH 2.4.3 and waitpid(): no zombie; blocks until all have ended, then ECHILD",
        linux: fixed("ECHILD", "wait(2), Notes: Linux 2.6 conforms to POSIX"),
        freebsd: fixed("ECHILD", "sigaction(2), SA_NOCLDWAIT: the same effect with SIG_IGN"),
        measure: |_| {
            no_reaper(|| {
                ignore(Signal::SIGCHLD)?;
                wait_for_a_child()
            })
        },
    },
    Probe {
        id: "signals/sigchld-default-wait",
        title: "What waitpid() says of a child while SIGCHLD has its default action, which ignores it",
        posix: "waitpid(): the status; SIG_DFL is not SIG_IGN here",
        linux: fixed(
            "its status",
            "wait(2), Notes: SIG_IGN results in different treatment than the default",
        ),
        freebsd: fixed("its status", "wait(2): reports the status of a terminated child"),
        measure: |_| wait_for_a_child(),
    },
    Probe {
        id: "signals/no-child-wait-signal",
        title: "SIGCHLD to a handler with SA_NOCLDWAIT",
        posix: "sigaction(), SA_NOCLDWAIT: unspecified whether SIGCHLD is generated",
        linux: fixed("sent", "sigaction(2), SA_NOCLDWAIT: on Linux a SIGCHLD signal is generated"),
        freebsd: open("sigaction(2), SA_NOCLDWAIT says nothing of it"),
        measure: |_| {
            no_reaper(|| {
                install(Signal::SIGCHLD, SaFlags::SA_NOCLDWAIT | SaFlags::SA_RESTART)?;
                match wait_for_a_child()? {
                    Value::Text(text) if text == "ECHILD" => {
                        either(DELIVERED.load(Ordering::SeqCst) > 0, "sent", "not sent")
                    }
                    other => Err(format!("waitpid with SA_NOCLDWAIT: {other}")),
                }
            })
        },
    },
    Probe {
        id: "signals/ignored-across-exec",
        title: "An ignored SIGUSR1 in the executed program",
        posix: "exec: signals set to be ignored are ignored by the new image",
        linux: fixed("ignored", "execve(2), signal(7): ignored dispositions are left unchanged"),
        freebsd: fixed("ignored", "sigaction(2): ignored signals remain ignored"),
        measure: |_| {
            ignore(Signal::SIGUSR1)?;
            Ok(after_exec()?.usr1.into())
        },
    },
    Probe {
        id: "signals/ignored-sigchld-across-exec",
        title: "An ignored SIGCHLD in the executed program",
        posix: "exec: unspecified whether SIGCHLD stays ignored or is set to SIG_DFL",
        linux: fixed(
            "ignored",
            "execve(2): POSIX leaves it unspecified; Linux leaves SIGCHLD ignored",
        ),
        freebsd: fixed(
            "default",
            "sys/kern/kern_sig.c, execsigs(): as Solaris does; sigaction(2) says otherwise",
        ),
        measure: |_| {
            ignore(Signal::SIGCHLD)?;
            Ok(after_exec()?.chld.into())
        },
    },
    Probe {
        id: "signals/caught-across-exec",
        title: "A caught SIGUSR1 in the executed program",
        posix: "exec: signals set to be caught are set to the default action",
        linux: fixed("default", "execve(2): handled signals are reset to the default"),
        freebsd: fixed("default", "sigaction(2): execve reinstates the default action"),
        measure: |_| {
            install(Signal::SIGUSR1, SaFlags::empty())?;
            Ok(after_exec()?.usr1.into())
        },
    },
    Probe {
        id: "signals/blocked-across-exec",
        title: "A blocked SIGUSR1 in the executed program",
        posix: "exec: the signal mask is inherited",
        linux: fixed("blocked", "execve(2), sigprocmask(2): the mask is preserved"),
        freebsd: fixed("blocked", "sigaction(2): the signal mask remains the same"),
        measure: |_| {
            block(Signal::SIGUSR1)?;
            Ok(after_exec()?.mask.into())
        },
    },
    Probe {
        id: "signals/pending-across-exec",
        title: "A pending SIGUSR1 in the executed program",
        posix: "exec: pending signals are kept",
        linux: fixed("pending", "signal(7): the pending set is preserved across execve(2)"),
        freebsd: open(
            "execve(2) names the signal mask among what is inherited, and not pending signals",
        ),
        measure: |_| {
            block(Signal::SIGUSR1)?;
            // In the child, as the pending set does not outlive the fork.
            let child = exec_with(|| {
                let _ = raise(Signal::SIGUSR1);
            })?;
            Ok(child.pending.into())
        },
    },
    Probe {
        id: "signals/pending-across-fork",
        title: "A pending SIGUSR1 in the forked child",
        posix: "fork: the set of pending signals is empty in the child",
        linux: fixed(
            "not pending",
            "fork(2): the child's set of pending signals is initially empty",
        ),
        freebsd: open(
            "sigaction(2): `all signals, the signal mask …` are inherited; fork(2) names no pending ones",
        ),
        measure: |_| {
            block(Signal::SIGUSR1)?;
            raise(Signal::SIGUSR1).doing("raise")?;
            let child = Subject::start(|_| Ok(pending(libc::SIGUSR1).to_owned()))?;
            Ok(child.outcome()?.into())
        },
    },
    Probe {
        id: "signals/blocked-across-fork",
        title: "A blocked SIGUSR1 in the forked child",
        posix: "fork: the child has its parent's signal mask",
        linux: fixed("blocked", "sigprocmask(2), Notes: a fork child inherits the mask"),
        freebsd: fixed("blocked", "sigaction(2): the mask is inherited by the child"),
        measure: |_| {
            block(Signal::SIGUSR1)?;
            Ok(Subject::start(|_| Ok(mask(libc::SIGUSR1).to_owned()))?.outcome()?.into())
        },
    },
    Probe {
        id: "signals/alarm-across-fork",
        title: "The parent's alarm() in the forked child",
        posix: "fork: pending alarms are cleared for the child",
        linux: fixed("none", "fork(2), alarm(2): alarms are not inherited"),
        freebsd: fixed("none", "fork(2): interval timers are cleared in the child"),
        measure: |_| {
            nix::unistd::alarm::set(1000);
            let child = Subject::start(|_| Ok(alarm().to_owned()))?;
            Ok(child.outcome()?.into())
        },
    },
    Probe {
        id: "signals/alarm-across-exec",
        title: "The alarm() of the process in the executed program",
        posix: "exec: the time left until an alarm clock signal is kept",
        linux: fixed("set", "alarm(2): alarms are preserved across execve(2)"),
        freebsd: fixed("set", "execve(2): interval timers are inherited"),
        measure: |_| {
            let child = exec_with(|| {
                nix::unistd::alarm::set(1000);
            })?;
            Ok(child.alarm.into())
        },
    },
    Probe {
        id: "signals/kill-zero",
        title: "Whom kill(0, …) reaches",
        posix: "kill(): all processes of the sender's process group, the sender too",
        linux: fixed(
            "sender, its group",
            "kill(2): every process in the process group of the caller",
        ),
        freebsd: fixed(
            "sender, its group",
            "kill(2): all processes whose group ID is the sender's",
        ),
        measure: kill_zero,
    },
    Probe {
        id: "signals/pending-at-fork",
        title: "Whether a signal that is pending at a fork ends the first ppoll() after it, of 500",
        posix: "ppoll(): the mask is replaced and the wait begun in one step, so what is pending ends it",
        linux: fixed("always", "ppoll(2); signal(7): pending until it is delivered"),
        freebsd: fixed(
            "always",
            "ppoll(2); 13.2 with libthr was seen to sleep, see sigfastblock(2)",
        ),
        measure: pending_at_fork,
    },
];

/// FreeBSD's libthr blocks signals around fork by a word that the kernel looks at, sigfastblock(2).
fn pending_at_fork(_: &Path) -> Measure {
    const ROUNDS: usize = 500;
    install(Signal::SIGUSR1, SaFlags::empty())?;
    block(Signal::SIGUSR1)?;
    let long = TimeSpec::from(Duration::from_secs(1));
    for _ in 0..ROUNDS {
        raise(Signal::SIGUSR1).doing("raise")?;
        // SAFETY: the child ends at once.
        match unsafe { fork() }.doing("fork")? {
            // SAFETY: nothing of the parent's is run.
            ForkResult::Child => unsafe { libc::_exit(0) },
            ForkResult::Parent { child } => {
                let slept = ppoll(&mut [], Some(long), Some(SigSet::empty())) == Ok(0);
                while waitpid(child, None) == Err(Errno::EINTR) {}
                if slept {
                    return Ok("not always".into());
                }
            }
        }
    }
    Ok("always".into())
}

static DELIVERED: AtomicI32 = AtomicI32::new(0);
static BLOCKED_INSIDE: AtomicI32 = AtomicI32::new(-1);

extern "C" fn count(_: libc::c_int) {
    DELIVERED.fetch_add(1, Ordering::SeqCst);
}

extern "C" fn note_mask(signal: libc::c_int) {
    BLOCKED_INSIDE.store(i32::from(mask(signal) == "blocked"), Ordering::SeqCst);
}

fn install(signal: Signal, flags: SaFlags) -> Result<(), String> {
    act(signal, SigHandler::Handler(count), flags)
}

fn ignore(signal: Signal) -> Result<(), String> {
    act(signal, SigHandler::SigIgn, SaFlags::empty())
}

fn act(signal: Signal, handler: SigHandler, flags: SaFlags) -> Result<(), String> {
    // SAFETY: the handlers of this file only touch atomics and make system calls.
    unsafe { sigaction(signal, &SigAction::new(handler, flags, SigSet::empty())) }
        .map(drop)
        .doing("sigaction")
}

fn block(signal: Signal) -> Result<(), String> {
    let mut set = SigSet::empty();
    set.add(signal);
    sigprocmask(SigmaskHow::SIG_BLOCK, Some(&set), None).doing("sigprocmask")
}

/// `default`, `ignored` or `caught`.
fn disposition(signal: libc::c_int) -> Result<&'static str, String> {
    // SAFETY: all-zero bytes are a valid sigaction.
    let mut action: libc::sigaction = unsafe { std::mem::zeroed() };
    // SAFETY: asks only; the kernel writes to `action`.
    Errno::result(unsafe { libc::sigaction(signal, std::ptr::null(), &raw mut action) })
        .doing("sigaction")?;
    Ok(match action.sa_sigaction {
        libc::SIG_DFL => "default",
        libc::SIG_IGN => "ignored",
        _ => "caught",
    })
}

/// `blocked` or `not blocked`. Safe in a handler.
fn mask(signal: libc::c_int) -> &'static str {
    // SAFETY: all-zero bytes are a valid sigset_t.
    let mut set: libc::sigset_t = unsafe { std::mem::zeroed() };
    // SAFETY: asks only; `set` is written, then read.
    let member = unsafe {
        libc::sigprocmask(libc::SIG_BLOCK, std::ptr::null(), &raw mut set);
        libc::sigismember(&raw const set, signal)
    };
    if member == 1 { "blocked" } else { "not blocked" }
}

/// `pending` or `not pending`.
fn pending(signal: libc::c_int) -> &'static str {
    // SAFETY: all-zero bytes are a valid sigset_t.
    let mut set: libc::sigset_t = unsafe { std::mem::zeroed() };
    // SAFETY: `set` is written, then read.
    let member = unsafe {
        libc::sigpending(&raw mut set);
        libc::sigismember(&raw const set, signal)
    };
    if member == 1 { "pending" } else { "not pending" }
}

fn alarm() -> &'static str {
    if nix::unistd::alarm::cancel().is_some() { "set" } else { "none" }
}

/// What a program found when it was executed.
struct Inherited {
    usr1: String,
    chld: String,
    mask: String,
    pending: String,
    alarm: String,
}

/// Prints what [`exec_with`] reads: the executed half of the probes about exec.
pub fn state_after_exec() -> Result<String, String> {
    // In front the mark of a result, see `Subject`.
    Ok(format!(
        "+{};{};{};{};{}",
        disposition(libc::SIGUSR1)?,
        disposition(libc::SIGCHLD)?,
        mask(libc::SIGUSR1),
        pending(libc::SIGUSR1),
        alarm()
    ))
}

fn after_exec() -> Result<Inherited, String> {
    exec_with(|| {})
}

/// Forks, prepares, executes this program and reads what it found.
fn exec_with(prepare: impl FnOnce()) -> Result<Inherited, String> {
    let program = std::env::current_exe().doing("this program")?;
    let program =
        CString::new(program.as_os_str().as_bytes()).map_err(|error| error.to_string())?;
    let subject = Subject::start(|line| {
        line.result_on_stdout()?;
        prepare();
        let arguments = [c"forkproof", c"__probe", c"signal-state"];
        Err(match nix::unistd::execv(&program, &arguments) {
            Ok(never) => match never {},
            Err(errno) => format!("exec: {errno:?}"),
        })
    })?;
    let text = subject.outcome()?;
    match text.trim_end().split(';').collect::<Vec<_>>()[..] {
        [usr1, chld, mask, pending, alarm] => Ok(Inherited {
            usr1: usr1.into(),
            chld: chld.into(),
            mask: mask.into(),
            pending: pending.into(),
            alarm: alarm.into(),
        }),
        _ => Err(format!("the executed program said `{text}`")),
    }
}

/// Measures in a process that orphans do not go to. FreeBSD gives children that nobody wants to wait
/// for to the next reaper (procctl(2)), and to one that is their parent they come back.
fn no_reaper(measure: impl FnOnce() -> Measure) -> Measure {
    let subject = Subject::start(|_| Ok(measure()?.to_string()))?;
    Ok(subject.outcome()?.into())
}

/// Forks a child that ends with status 3 and says what became of it.
fn wait_for_a_child() -> Measure {
    // SAFETY: this process has one thread.
    let child = match unsafe { fork() }.doing("fork")? {
        ForkResult::Parent { child } => child,
        // SAFETY: ends the process without running what its parent registered.
        ForkResult::Child => unsafe { libc::_exit(3) },
    };
    match waitpid(child, None) {
        Ok(WaitStatus::Exited(_, 3)) => Ok("its status".into()),
        Ok(status) => Err(format!("unexpected status {status:?}")),
        Err(errno) => Ok(format!("{errno:?}").into()),
    }
}

fn signal_handler_stays(_: &Path) -> Measure {
    // SAFETY: the handler only touches an atomic.
    unsafe { nix::sys::signal::signal(Signal::SIGUSR1, SigHandler::Handler(count)) }
        .doing("signal")?;
    raise(Signal::SIGUSR1).doing("raise")?;
    if disposition(libc::SIGUSR1)? != "caught" {
        return Ok("reset to default".into());
    }
    raise(Signal::SIGUSR1).doing("raise")?;
    either(DELIVERED.load(Ordering::SeqCst) == 2, "stays", "stays, but is not called again")
}

fn signal_handler_is_blocked(_: &Path) -> Measure {
    // SAFETY: the handler only asks for the mask and touches an atomic.
    unsafe { nix::sys::signal::signal(Signal::SIGUSR1, SigHandler::Handler(note_mask)) }
        .doing("signal")?;
    raise(Signal::SIGUSR1).doing("raise")?;
    match BLOCKED_INSIDE.load(Ordering::SeqCst) {
        1 => Ok("blocked".into()),
        0 => Ok("not blocked".into()),
        _ => Err("the handler did not run".into()),
    }
}

fn kill_zero(_: &Path) -> Measure {
    block(Signal::SIGUSR1)?;
    let listener = |own_group: bool| {
        Subject::start(move |line| {
            if own_group {
                setpgid(Pid::from_raw(0), Pid::from_raw(0)).doing("setpgid")?;
            }
            line.say()?;
            line.hear()?;
            Ok(pending(libc::SIGUSR1).to_owned())
        })
    };
    let (mut member, mut stranger) = (listener(false)?, listener(true)?);
    member.hear()?;
    stranger.hear()?;
    kill(Pid::from_raw(0), Signal::SIGUSR1).doing("kill")?;
    member.say()?;
    stranger.say()?;
    let mut reached = Vec::new();
    for (name, state) in [
        ("sender", pending(libc::SIGUSR1).to_owned()),
        ("its group", member.outcome()?),
        ("its children in other groups", stranger.outcome()?),
    ] {
        if state == "pending" {
            reached.push(name.to_owned());
        }
    }
    Ok(Value::List(reached))
}
