//! Starting a server: between what it is to be told and what it says.

use std::ffi::OsString;
use std::net::TcpStream;
use std::os::fd::AsRawFd;
use std::os::unix::process::CommandExt;
use std::path::PathBuf;
use std::process::{Command, Stdio};
use std::rc::Rc;
use std::time::Instant;

use nix::errno::Errno;
use nix::sys::signal::{
    SaFlags, SigAction, SigHandler, SigSet, SigmaskHow, sigaction, sigprocmask,
};
use nix::sys::stat::umask;

use super::invocation::Invocation;
use super::listen::is_free;
use super::ready::Spawned;
use crate::harness::options::Options;
use crate::harness::prepare::{run_before, write_file};
use crate::harness::processes::descends;
use crate::harness::server::Launched;
use crate::harness::world::World;
use crate::personality::{self, Interposition, SELECTION, Selected, TRACE_FILE};
use crate::platform;
use crate::stop::{OrError, Outcome, Step, Stop};

/// How the names of the files end that servers' output goes to.
pub const OUTPUT_SUFFIX: &str = ".output";

pub fn launch(world: &Rc<World>, options: Options) -> Step<Launched> {
    /// Ports are chosen and then bound; somebody else may come between.
    const TRIES: usize = 3;
    let mut tries = 0;
    loop {
        tries += 1;
        let invocation = Invocation::new(world, &options)?;
        let chosen_port = invocation.chosen_port;
        let launched = spawn(world, &options, invocation)?;
        let lost = launched.server.is_none()
            && chosen_port.is_some_and(|port| !is_free(port))
            && tries < TRIES;
        if !lost {
            return Ok(launched);
        }
        world.note("check", "the port was taken meanwhile; tries another");
    }
}

fn spawn(world: &Rc<World>, options: &Options, mut invocation: Invocation) -> Step<Launched> {
    let target = &world.orders.target;
    let dir = &world.orders.kept;
    let number = invocation.number;
    if let (Some(port), Some(at)) = (target.manifest.launch.port, invocation.address) {
        let handed = options.handed.is_some();
        let alone = !handed && world.servers.borrow().iter().all(|server| server.over.get());
        if alone && TcpStream::connect(at).is_ok() {
            return Err(Stop::NotRun(format!("port {port} is in use by another program")));
        }
    }
    let output = dir.join(format!("server-{number}{}", OUTPUT_SUFFIX));
    let output_file = std::fs::OpenOptions::new()
        .append(true)
        .create_new(true)
        .open(&output)
        .or_error("server's output")?;
    if let Some(user) = invocation.run_as {
        // What it opens as /dev/stderr is this file.
        let _ = std::os::unix::fs::fchown(&output_file, Some(user.id), Some(user.group));
    }
    let mut command = match options.handed.as_ref().is_some_and(|handed| handed.is_meant) {
        _ if options.unknown_child => with_an_unknown_child(&invocation),
        false => Command::new(&invocation.program),
        true => knowing_its_own_id(&invocation),
    };
    command.args(&invocation.arguments);
    if let Some(handed) = &options.handed {
        command.env("LISTEN_FDS", "1");
        if !handed.is_meant {
            command.env("LISTEN_PID", std::process::id().to_string());
        }
    }
    if let Some(address) = &options.notify {
        command.env("NOTIFY_SOCKET", address);
    }
    command.current_dir(&invocation.directory);
    command.envs(invocation.environment.iter().cloned());
    command.envs(world.orders.environment.iter().cloned());
    command.envs(interposed(world, options, &invocation)?);
    command.stdin(Stdio::null());
    command.stdout(match &options.output_to {
        Some(sink) => sink.try_clone().or_error("standard output")?.into(),
        None => Stdio::from(output_file.try_clone().or_error("server's output")?),
    });
    command.stderr(match &options.messages_to {
        Some(sink) => sink.try_clone().or_error("standard error")?.into(),
        None => Stdio::from(output_file),
    });
    for words in &invocation.prepare {
        run_before(words, &invocation.dir, invocation.run_as)?;
    }
    leave_pid_file(world, &invocation)?;
    if let Some(group) = &options.group {
        platform::start_in_group(&mut command, group).map_err(Stop::NotRun)?;
    }
    between_fork_and_exec(&mut command, options, &invocation);
    let shown = command_line(world, &invocation);
    // What is there already is not this server's.
    let before: Vec<i32> = descends().unwrap_or_default().iter().map(|p| p.pid).collect();
    let begin = Instant::now();
    world.note("check", format!("starts server {number}: {shown}"));
    if options.as_process_1 {
        platform::unshare_processes().map_err(Stop::NotRun)?;
    }
    let child = command.spawn().or_error(target.program.display())?;
    // The server alone has the other end now, so that its closing it is seen.
    drop(invocation.ready_end.take());
    drop(invocation.taken.take());
    // From here on the process is known by its number; `reap` waits for it.
    let launcher = child.id() as i32;
    drop(child);
    let ready_limit = world.scaled(target.manifest.ready.limit.duration());
    let command = shown;
    Spawned { world: world.clone(), launcher, before, begin, output, ready_limit, command }
        .follow(&invocation)
}

/// The variables that put the server under the personalities that the check wants, beside those of
/// the run.
fn interposed(
    world: &World,
    options: &Options,
    invocation: &Invocation,
) -> Step<Vec<(OsString, OsString)>> {
    if options.under.is_empty() {
        return Ok(Vec::new());
    }
    let cannot = |reason: String| {
        Stop::Unsupported(format!("no library can be put before the server: {reason}"))
    };
    personality::refuse_uninterposable(&invocation.program).map_err(cannot)?;
    let wanted = options.under.join(",");
    let selected = Selected::parse_list(&wanted).map_err(Stop::Error)?;
    world.note("check", format!("puts the next server under {wanted}"));
    let counted_in = |trace: PathBuf| world.interposed.borrow_mut().push((wanted.clone(), trace));
    let of_the_run = world.orders.environment.iter().find(|(name, _)| name == SELECTION);
    if let Some((name, first)) = of_the_run {
        let mut both = first.clone();
        both.push(",");
        both.push(&wanted);
        counted_in(world.orders.kept.join(TRACE_FILE));
        return Ok(vec![(name.clone(), both)]);
    }
    // A directory for each server: an earlier one may still count in its own.
    let place = world.orders.kept.join(format!("surroundings-{}", invocation.number));
    std::fs::create_dir_all(&place).or_error(place.display())?;
    counted_in(place.join(TRACE_FILE));
    Ok(Interposition::new(&place, &selected).map_err(cannot)?.environment())
}

/// A command that executes the server's program with `LISTEN_PID` in its environment: nobody knows a
/// process's number before it is there.
fn knowing_its_own_id(invocation: &Invocation) -> Command {
    let mut command = Command::new("/bin/sh");
    command.args(["-c", r#"LISTEN_PID=$$; export LISTEN_PID; exec "$0" "$@""#]);
    command.arg(&invocation.program);
    command
}

/// A command that becomes the server's program when it has a child.
fn with_an_unknown_child(invocation: &Invocation) -> Command {
    let mut command = Command::new("/bin/sh");
    command.args(["-c", r#"sleep 3600 </dev/null >/dev/null 2>&1 & exec "$0" "$@""#]);
    command.arg(&invocation.program);
    command
}

/// The command line as a shell takes it, without keys.
fn command_line(world: &World, invocation: &Invocation) -> String {
    let key = String::from_utf8_lossy(&invocation.key).into_owned();
    let words = std::iter::once(invocation.program.as_os_str())
        .chain(invocation.arguments.iter().map(std::ffi::OsString::as_os_str))
        .map(|word| word.to_string_lossy().into_owned());
    let line = shell_words::join(words);
    let line = if key.is_empty() { line } else { line.replace(&key, "KEY") };
    let line = line.replace(&world.orders.dir.display().to_string(), "DIR");
    line.replace(&world.orders.kept.display().to_string(), "DIR/..")
}

/// Puts into the pid file what an earlier server has left there.
fn leave_pid_file(world: &World, invocation: &Invocation) -> Outcome {
    let Some(text) = &invocation.left_in_pid_file else { return Ok(()) };
    let path = &invocation.pid_file;
    world.as_owner_of(path, || write_file(path, text.as_bytes(), 0o644))?.or_error(path.display())
}

/// Sets up what the process of `command` is to find, between fork and exec.
fn between_fork_and_exec(command: &mut Command, options: &Options, invocation: &Invocation) {
    let ready_end = invocation.ready_end.as_ref().map(|end| end.as_raw_fd());
    let in_child = options.clone();
    let run_as = invocation.run_as;
    let inherited: Vec<i32> = options.inherited.iter().map(|one| one.as_raw_fd()).collect();
    let groups: Vec<_> = options.groups.iter().map(|&id| nix::unistd::Gid::from_raw(id)).collect();
    // SAFETY: between fork and exec the closure makes system calls only; it allocates nothing.
    unsafe {
        command.pre_exec(move || {
            if let Some(ready_end) = ready_end {
                libc::fcntl(ready_end, libc::F_SETFD, 0);
            }
            for &descriptor in &inherited {
                libc::fcntl(descriptor, libc::F_SETFD, 0);
            }
            if in_child.as_process_1 {
                platform::mount_own_processes()?;
            }
            if let Some(handed) = &in_child.handed {
                hand_over(handed.socket.as_raw_fd())?;
            }
            if let Some(last) = in_child.descriptors_above {
                leave_open(last)?;
            }
            if let Some(mask) = in_child.umask {
                umask(mask);
            }
            for &(resource, value) in &in_child.limits {
                nix::sys::resource::setrlimit(resource, value as _, value as _)?;
            }
            if in_child.without_ipv6 {
                platform::deny_ipv6_sockets()?;
            }
            if let Some((from, to)) = in_child.untouchable {
                platform::forbid_descriptors(from, to)?;
            }
            for &signal in &in_child.ignored {
                let ignore = SigAction::new(SigHandler::SigIgn, SaFlags::empty(), SigSet::empty());
                sigaction(signal, &ignore)?;
            }
            if !groups.is_empty() {
                nix::unistd::setgroups(&groups)?;
            }
            if let Some(user) = run_as {
                user.become_it()?;
            }
            if in_child.all_blocked {
                sigprocmask(SigmaskHow::SIG_SETMASK, Some(&SigSet::all()), None)?;
            }
            if in_child.without_standard_descriptors {
                for descriptor in 0..=2 {
                    libc::close(descriptor);
                }
            }
            Ok(())
        });
    }
}

/// Replaces every descriptor up to `last` that would be closed by exec, by one that stays open.
/// Between fork and exec: system calls only.
fn leave_open(last: i32) -> nix::Result<()> {
    // SAFETY: the path is a string that ends in NUL.
    let null = Errno::result(unsafe { libc::open(c"/dev/null".as_ptr(), libc::O_RDWR) })?;
    for descriptor in 3..=last {
        // SAFETY: F_GETFD takes no further argument.
        let flags = Errno::result(unsafe { libc::fcntl(descriptor, libc::F_GETFD) })?;
        if flags & libc::FD_CLOEXEC != 0 {
            // SAFETY: what `descriptor` was is used no more in this process, which is about to
            // become another program.
            Errno::result(unsafe { libc::dup2(null, descriptor) })?;
        }
    }
    // SAFETY: nobody else has it.
    Errno::result(unsafe { libc::close(null) }).map(drop)
}

/// Makes a listening socket descriptor 3, open over exec. Between fork and exec: system calls only.
fn hand_over(socket: i32) -> nix::Result<()> {
    /// `SD_LISTEN_FDS_START` of sd_listen_fds(3).
    const FIRST: i32 = 3;
    if socket == FIRST {
        // SAFETY: a descriptor that is open and a number.
        return Errno::result(unsafe { libc::fcntl(socket, libc::F_SETFD, 0) }).map(drop);
    }
    // SAFETY: what descriptor 3 was is used no more in this process, which is about to become another
    // program.
    Errno::result(unsafe { libc::dup2(socket, FIRST) }).map(drop)
}
