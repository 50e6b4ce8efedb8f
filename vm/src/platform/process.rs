//! Programs that are run: tools to their end, machines until somebody has enough.
//!
//! No shell starts them. None outlives this program: each is killed with the value that stands for
//! it, and by the kernel when this program dies, whatever of.

use std::io::{self, Read};
use std::os::unix::process::{CommandExt, ExitStatusExt};
use std::path::Path;
use std::process::{Child, ChildStdout, Command, ExitStatus, Stdio};
use std::sync::{Arc, Mutex, MutexGuard};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use nix::errno::Errno;
use nix::sys::signal::{Signal, killpg};
use nix::unistd::Pid;

use super::interrupt;
use crate::error::{Error, Result};

/// What is kept of each stream of a tool, bytes: checksums are text of less than that.
pub(crate) const SAID_LIMIT: usize = 4 << 20;
/// How often a tool is looked after.
const TICK: Duration = Duration::from_millis(20);
/// How long a tool may take to end that is asked to.
const GRACE: Duration = Duration::from_secs(1);

/// A child that does not outlive this value.
pub(crate) struct Process {
    /// For its streams.
    pub(crate) child: Child,
    over: bool,
}

impl Process {
    /// Starts it.
    pub(crate) fn start(command: &mut Command) -> io::Result<Self> {
        let parent = std::process::id() as i32;
        // SAFETY: between fork and exec only async-signal-safe calls are made: prctl or procctl,
        // and getppid; an error is made from a number.
        unsafe { command.pre_exec(move || die_with_parent(parent)) };
        Ok(Self { child: command.spawn()?, over: false })
    }

    /// How it ended, once it has.
    pub(crate) fn ended(&mut self) -> Result<Option<ExitStatus>> {
        // While it is not waited for, its id is nobody else's, and neither is its group's.
        let status = self
            .child
            .try_wait()
            .map_err(|error| Error::io("wait for", Path::new("a process"), error))?;
        self.over |= status.is_some();
        Ok(status)
    }

    /// Waits for its end, as the one that the terminal belongs to: Ctrl-C is its own business.
    pub(crate) fn wait_for_terminal(&mut self) -> Result<ExitStatus> {
        let status = self.child.wait();
        self.over = true;
        status.map_err(|error| Error::io("wait for", Path::new("a process"), error))
    }

    /// Signals it, and its process group if it has one of its own.
    fn signal(&self, signal: Signal) {
        let id = Pid::from_raw(self.child.id() as i32);
        if killpg(id, signal).is_err() && !self.over {
            let _ = nix::sys::signal::kill(id, signal);
        }
    }

    /// Ends it and whatever is left in its process group.
    pub(crate) fn kill(&mut self) {
        self.signal(Signal::SIGKILL);
        if !self.over {
            let _ = self.child.wait();
            self.over = true;
        }
    }

    /// Waits for its end; `meanwhile` is called now and then. An interruption, or an error of
    /// `meanwhile`, asks it to end, so that it can clean up, and soon kills it.
    pub(crate) fn wait(&mut self, meanwhile: &mut dyn FnMut() -> Result<()>) -> Result<ExitStatus> {
        let mut given_up: Option<(Error, Instant)> = None;
        loop {
            if let Some(status) = self.ended()? {
                return given_up.map_or(Ok(status), |(error, _)| Err(error));
            }
            match &given_up {
                None => {
                    if let Err(error) = interrupt::check().and_then(|()| meanwhile()) {
                        self.signal(Signal::SIGTERM);
                        given_up = Some((error, Instant::now()));
                    }
                }
                Some((_, since)) if since.elapsed() > GRACE => self.kill(),
                Some(_) => {}
            }
            std::thread::sleep(TICK);
        }
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        if !self.over {
            self.kill();
        }
    }
}

/// What a tool that ended has said, a bounded part of it.
pub(crate) struct Said {
    pub(crate) status: ExitStatus,
    pub(crate) output: Vec<u8>,
    /// Its standard error.
    pub(crate) errors: String,
}

/// A tool at work, whose output the caller reads.
pub(crate) struct Tool {
    process: Process,
    errors: Kept,
}

/// Starts a tool for its output.
pub(crate) fn start_tool(command: &mut Command) -> Result<(Tool, ChildStdout)> {
    let program = command.get_program().to_owned();
    let cannot = |error| Error::io("run", Path::new(&program), error);
    command.process_group(0).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut process = Process::start(command).map_err(cannot)?;
    let (output, errors) = (process.child.stdout.take(), process.child.stderr.take());
    match (output, errors) {
        (Some(output), Some(errors)) => Ok((Tool { process, errors: Kept::of(errors) }, output)),
        _ => Err(cannot(io::ErrorKind::BrokenPipe.into())),
    }
}

impl Tool {
    /// Waits for its end.
    pub(crate) fn finish(mut self, meanwhile: &mut dyn FnMut() -> Result<()>) -> Result<Said> {
        let status = self.process.wait(meanwhile)?;
        // A child of its own may still hold the stream.
        self.process.kill();
        let errors = String::from_utf8_lossy(&self.errors.all()).trim().to_owned();
        Ok(Said { status, output: Vec::new(), errors })
    }
}

/// Runs a tool to its end, without input; see [`Process::wait`]. `meanwhile` is shown the output
/// so far.
pub(crate) fn tool(
    command: &mut Command,
    meanwhile: &mut dyn FnMut(&[u8]) -> Result<()>,
) -> Result<Said> {
    let (tool, output) = start_tool(command.stdin(Stdio::null()))?;
    let output = Kept::of(output);
    let said = tool.finish(&mut || meanwhile(&output.so_far()))?;
    Ok(Said { output: output.all(), ..said })
}

/// The beginning of a stream, which is read to its end.
struct Kept {
    bytes: Arc<Mutex<Vec<u8>>>,
    reader: JoinHandle<()>,
}

impl Kept {
    fn of(mut stream: impl Read + Send + 'static) -> Self {
        let bytes = Arc::new(Mutex::new(Vec::new()));
        let kept = Arc::clone(&bytes);
        let reader = std::thread::spawn(move || {
            let mut buffer = [0; 16 * 1024];
            while let Ok(count @ 1..) = stream.read(&mut buffer) {
                let mut kept = locked(&kept);
                let room = (SAID_LIMIT + 1).saturating_sub(kept.len());
                kept.extend_from_slice(&buffer[..count.min(room)]);
            }
        });
        Self { bytes, reader }
    }

    fn so_far(&self) -> MutexGuard<'_, Vec<u8>> {
        locked(&self.bytes)
    }

    fn all(self) -> Vec<u8> {
        let _ = self.reader.join();
        std::mem::take(&mut *locked(&self.bytes))
    }
}

fn locked(bytes: &Mutex<Vec<u8>>) -> MutexGuard<'_, Vec<u8>> {
    bytes.lock().unwrap_or_else(std::sync::PoisonError::into_inner)
}

/// "it ended with status 1", "it was killed by SIGKILL".
pub(crate) fn say_how_it_ended(status: ExitStatus) -> String {
    match (status.code(), status.signal()) {
        (Some(code), _) => format!("it ended with status {code}"),
        (None, Some(signal)) => match Signal::try_from(signal) {
            Ok(signal) => format!("it was killed by {signal}"),
            Err(_) => format!("it was killed by signal {signal}"),
        },
        (None, None) => "it ended".into(),
    }
}

/// Makes the kernel kill this process when its parent dies: even `kill -9` of forkproof leaves no
/// machine behind. To be called in the child between fork and exec, of which it survives the latter;
/// `parent` is the process that forked.
///
/// Linux means the parent's thread: the one that starts a machine waits for its end.
fn die_with_parent(parent: i32) -> std::io::Result<()> {
    request_death_signal()?;
    // It may have died before the request.
    if nix::unistd::getppid().as_raw() != parent {
        return Err(std::io::Error::from_raw_os_error(libc::ESRCH));
    }
    Ok(())
}

/// prctl(2), `PR_SET_PDEATHSIG`.
#[cfg(target_os = "linux")]
fn request_death_signal() -> nix::Result<()> {
    // SAFETY: the request takes a signal and touches no memory.
    Errno::result(unsafe { libc::prctl(libc::PR_SET_PDEATHSIG, libc::SIGKILL as libc::c_ulong) })
        .map(drop)
}

/// procctl(2), `PROC_PDEATHSIG_CTL`: for the calling process the id is 0; "cleared for the child of
/// a fork", and by an exec only of a set-user-ID program.
#[cfg(target_os = "freebsd")]
fn request_death_signal() -> nix::Result<()> {
    let mut signal: libc::c_int = libc::SIGKILL;
    // SAFETY: the request reads one int through the pointer.
    Errno::result(unsafe {
        libc::procctl(libc::P_PID, 0, libc::PROC_PDEATHSIG_CTL, (&raw mut signal).cast())
    })
    .map(drop)
}
