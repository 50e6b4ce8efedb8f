//! One machine: a QEMU process, from power-on to its end.
//!
//! The base image is never written to: a machine with a disk writes to an overlay that is its own.
//! There is no network device. QEMU is in a process group of its own, which is killed as a whole,
//! and the kernel kills it when this program dies, whatever of.
//!
//! How a machine ended says nothing about the suite: see [`crate::disks`].

use std::collections::VecDeque;
use std::ffi::OsString;
use std::fs::File;
use std::io::{IsTerminal, Read, Write};
use std::os::fd::{AsRawFd, OwnedFd};
use std::os::unix::process::{CommandExt, ExitStatusExt};
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, Command, ExitStatus, Stdio};
use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender, channel};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use nix::errno::Errno;
use nix::sys::signal::{Signal, killpg};
use nix::sys::termios::{SetArg, Termios, cfmakeraw, tcgetattr, tcsetattr};
use nix::unistd::Pid;

use crate::cache::Files;
use crate::catalogue::{Architecture, FirstBoot};
use crate::error::{Error, Result};
use crate::guest;
use crate::interrupt;
use crate::platform;
use crate::typing::{KeyboardTyping, SerialTyping};

/// What is kept of a console, bytes; a guest may write without end.
const CONSOLE_LIMIT: u64 = 16 * 1024 * 1024;
/// What is kept of its end, to be shown.
const TAIL: usize = 8 * 1024;
/// What is kept of QEMU's own messages.
const STDERR_LIMIT: usize = 16 * 1024;
/// How often a machine is looked after.
const TICK: Duration = Duration::from_millis(50);
/// How long a guest that says that it has written its result may take to power off.
const POWER_OFF_LIMIT: Duration = Duration::from_secs(60);
/// What the guest's processor is made of.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Accelerator {
    /// QEMU's own emulation: everywhere, and slow.
    Tcg,
    /// The host's processor.
    Kvm,
}

impl Accelerator {
    /// As QEMU names it.
    pub fn name(self) -> &'static str {
        match self {
            Self::Tcg => "tcg",
            Self::Kvm => "kvm",
        }
    }
}

/// What a machine is made of.
#[derive(Debug, Clone)]
pub struct Machine {
    /// The image's id: its name in messages.
    pub id: String,
    /// The processor.
    pub architecture: Architecture,
    /// What it boots.
    pub files: Files,
    /// How its first boot is driven.
    pub first_boot: FirstBoot,
    /// The emulator to use instead of the system's.
    pub emulator: Option<PathBuf>,
    /// What the processor is made of.
    pub accelerator: Accelerator,
    /// Memory, MiB.
    pub memory: u32,
    /// Processors.
    pub cpus: u32,
    /// More words on the kernel's command line, where QEMU starts the kernel itself.
    pub append: Vec<String>,
    /// From power-on to the guest's first sign of life.
    pub boot_limit: Duration,
    /// From there to the machine's end.
    pub run_limit: Duration,
    /// A directory of this machine's own; see [`Disks`].
    pub dir: PathBuf,
}

/// The files in a machine's directory.
#[derive(Debug, Clone, Copy)]
pub struct Disks;

impl Disks {
    /// The job's disk.
    pub const JOB: &str = "in.tar";
    /// The result's disk.
    pub const OUT: &str = "out.tar";
    /// The seed.
    pub const SEED: &str = "seed.iso";
    /// What the machine writes to its system's disk.
    const OVERLAY: &str = "overlay.qcow2";
}

/// How a machine ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum How {
    /// QEMU ended by itself.
    Ended(ExitStatus),
    /// It was killed: no sign of life within the boot limit.
    BootLimit,
    /// It was killed: not at its end within the run limit.
    RunLimit,
}

/// What there is to say of a machine that ended.
#[derive(Debug, Clone)]
pub struct Ended {
    /// How.
    pub how: How,
    /// From power-on to the guest's first sign of life.
    pub booted: Option<Duration>,
    /// From power-on to the end.
    pub took: Duration,
    /// The end of the console.
    pub console: String,
    /// What the console tells of a kernel's panic. For the message only.
    pub panicked: Option<String>,
    /// QEMU's own messages.
    pub messages: String,
}

/// What happens on the way.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Event {
    /// The guest's script runs.
    Started(Duration),
    /// The console's newest line.
    Line(String),
}

impl Machine {
    /// The emulator, or an error that names its package.
    pub fn emulator(&self) -> Result<PathBuf> {
        match &self.emulator {
            Some(path) => Ok(path.clone()),
            None => emulator_of(self.architecture),
        }
    }

    /// Makes the overlay, if there is a disk to boot.
    fn overlay(&self) -> Result<Option<PathBuf>> {
        let (base, format) = match &self.files {
            Files::Disk { path, format } => (path, format),
            Files::Kernel { root: Some((path, format)), .. } => (path, format),
            Files::Kernel { root: None, .. } => return Ok(None),
        };
        let base = base.canonicalize().map_err(|error| Error::io("open", base, error))?;
        let overlay = self.dir.join(Disks::OVERLAY);
        let output = Command::new(program("qemu-img")?)
            .args(["create", "-q", "-f", "qcow2", "-F", format.name(), "-b"])
            .args([&base, &overlay])
            .output()
            .map_err(|error| Error::io("run", Path::new("qemu-img"), error))?;
        if output.status.success() {
            return Ok(Some(overlay));
        }
        Err(Error::QemuFailed {
            id: self.id.clone(),
            why: format!("qemu-img: {}", String::from_utf8_lossy(&output.stderr).trim()),
        })
    }

    /// QEMU's command line; `console` is its option for the serial port.
    fn command(&self, console: &[&str]) -> Result<Command> {
        let mut command = Command::new(self.emulator()?);
        let accelerator = match self.accelerator {
            Accelerator::Tcg => "tcg,thread=multi",
            Accelerator::Kvm => "kvm",
        };
        command
            .args(["-name", &self.id, "-machine", "q35", "-accel", accelerator])
            .args(["-no-user-config", "-nic", "none", "-no-reboot"])
            .args(["-m", &self.memory.to_string(), "-smp", &self.cpus.to_string()])
            .args(["-device", "virtio-rng-pci", "-display", "none"])
            .args(console);
        if self.accelerator == Accelerator::Kvm {
            command.args(["-cpu", "host"]);
        }
        if let Files::Kernel { kernel, initrd, root } = &self.files {
            // panic=-1: reboot at once, which -no-reboot makes the machine's end.
            let mut words = "console=ttyS0 panic=-1 quiet".to_owned();
            if root.is_some() {
                words.push_str(" root=LABEL=");
                words.push_str(crate::build::ROOT_LABEL);
            }
            for word in &self.append {
                words.push(' ');
                words.push_str(word);
            }
            command.arg("-kernel").arg(kernel).arg("-initrd").arg(initrd).args(["-append", &words]);
        }
        if let Some(overlay) = self.overlay()? {
            command.args(drive(&overlay, "qcow2", false));
        }
        command.args(drive(&self.dir.join(Disks::JOB), "raw", true));
        command.args(drive(&self.dir.join(Disks::OUT), "raw", false));
        if self.first_boot != FirstBoot::Agent {
            command.args(drive(&self.dir.join(Disks::SEED), "raw", true));
        }
        Ok(command)
    }

    /// Runs it to its end. The console goes to `console`, a bounded part of it; `stamp` is what the
    /// guest's sign of life must hold.
    pub fn run(&self, stamp: &str, console: &Path, watch: &mut dyn FnMut(Event)) -> Result<Ended> {
        // Signals: Ctrl-C is the terminal's, and there is none.
        let mut command = self.command(&[
            "-monitor",
            "none",
            "-chardev",
            "stdio,id=console,signal=off",
            "-serial",
            "chardev:console",
        ])?;
        let log = File::create(console).map_err(|error| Error::io("write", console, error))?;
        command
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .process_group(0);
        let begin = Instant::now();
        let keyboard = self.keyboard(&mut command)?;
        let mut process = Process::start(&self.id, command)?;
        let (tell, told) = channel();
        for (stream, readable) in process.streams() {
            let tell = tell.clone();
            std::thread::spawn(move || pump(stream, readable, &tell));
        }
        drop(tell);
        let input = process.child.stdin.take();
        let typist = match &self.first_boot {
            FirstBoot::SerialLogin(login) => input.map(|to| (SerialTyping::new(login), to)),
            // An end of file on its console means nothing to the other guests.
            _ => None,
        };
        let mut keyboard = keyboard.map(|(typing, _)| typing);
        let mut console = Console::new(log, console, stamp, typist);
        let (how, booted) =
            self.attend(&mut process, &told, &mut console, &mut keyboard, begin, watch)?;
        // Whatever it left, in its process group, goes; then the pipes end.
        process.kill();
        let mut messages = Vec::new();
        for chunk in told {
            console.take(chunk, &mut messages)?;
        }
        console.finish()?;
        Ok(Ended {
            how,
            booted,
            took: begin.elapsed(),
            console: console.end(),
            panicked: console.panicked.clone(),
            messages: String::from_utf8_lossy(&[console.messages, messages].concat())
                .trim()
                .to_owned(),
        })
    }

    fn attend(
        &self,
        process: &mut Process,
        told: &Receiver<Chunk>,
        console: &mut Console<'_>,
        keyboard: &mut Option<KeyboardTyping>,
        begin: Instant,
        watch: &mut dyn FnMut(Event),
    ) -> Result<(How, Option<Duration>)> {
        let mut booted = None;
        let mut deadline = begin + self.boot_limit;
        let mut closing = false;
        loop {
            interrupt::check()?;
            match told.recv_timeout(TICK) {
                Ok(chunk) => {
                    let mut messages = std::mem::take(&mut console.messages);
                    console.take(chunk, &mut messages)?;
                    console.messages = messages;
                    if let Some(line) = console.newest.take() {
                        watch(Event::Line(line));
                    }
                }
                // Both pipes have ended, and so has QEMU, or it is about to.
                Err(RecvTimeoutError::Disconnected) => std::thread::sleep(TICK),
                Err(RecvTimeoutError::Timeout) => {}
            }
            if let Some(keyboard) = keyboard.as_mut().filter(|_| !console.started) {
                keyboard.advance(Instant::now());
            }
            if console.started && booted.is_none() {
                booted = Some(begin.elapsed());
                deadline = Instant::now() + self.run_limit;
                watch(Event::Started(begin.elapsed()));
            }
            if console.written && !closing {
                closing = true;
                deadline = deadline.min(Instant::now() + POWER_OFF_LIMIT);
            }
            if let Some(status) = process.ended()? {
                return Ok((How::Ended(status), booted));
            }
            if Instant::now() >= deadline {
                let how = if booted.is_some() { How::RunLimit } else { How::BootLimit };
                return Ok((how, booted));
            }
        }
    }

    /// Gives QEMU the keyboard's line, where keys have to be pressed: the typing, and QEMU's end,
    /// which has to stay open until QEMU runs.
    fn keyboard(&self, command: &mut Command) -> Result<Option<(KeyboardTyping, OwnedFd)>> {
        let FirstBoot::Keyboard(login) = &self.first_boot else { return Ok(None) };
        let (typing, descriptor) = KeyboardTyping::new(login)
            .map_err(|error| Error::io("make a pair of sockets for", Path::new("QEMU"), error))?;
        command.args(KeyboardTyping::options(&descriptor));
        let number = descriptor.as_raw_fd();
        // SAFETY: between fork and exec only fcntl(2) is called, on a descriptor that is open there.
        unsafe {
            command.pre_exec(move || {
                Errno::result(libc::fcntl(number, libc::F_SETFD, 0))?;
                Ok(())
            });
        }
        Ok(Some((typing, descriptor)))
    }

    /// Runs it with this program's terminal as its console, to its end. `stamp` is as for
    /// [`Machine::run`].
    pub fn run_on_terminal(&self, stamp: &str) -> Result<()> {
        let mut command = self.command(&["-serial", "mon:stdio"])?;
        let keyboard = self.keyboard(&mut command)?;
        let serial = match &self.first_boot {
            FirstBoot::SerialLogin(login) => Some(SerialTyping::new(login)),
            _ => None,
        };
        // In this process group, which is the terminal's. Where a login has to be typed, the console
        // passes through here; otherwise the terminal is QEMU's.
        let typed = serial.is_some() || keyboard.is_some();
        if typed {
            command.stdin(Stdio::piped()).stdout(Stdio::piped());
        } else {
            command.stdin(Stdio::inherit());
        }
        let mut process = Process::start(&self.id, command)?;
        let keyboard = keyboard.map(|(typing, _)| typing);
        let status = if typed {
            relay(&mut process, serial, keyboard, &format!("{} {stamp}", guest::STARTED))?
        } else {
            process.child.wait().map_err(|error| Error::io("wait for", &self.dir, error))?
        };
        process.over = true;
        if status.success() {
            return Ok(());
        }
        Err(Error::QemuFailed { id: self.id.clone(), why: status_words(status) })
    }
}

impl Ended {
    /// "its kernel panicked", with its own words: they are long gone from the console's end.
    fn panic_words(&self) -> String {
        let line = self.panicked.as_deref().unwrap_or_default();
        let from = line.find("Kernel panic").or_else(|| line.find("panic: ")).unwrap_or(0);
        format!("its kernel panicked (`{}`)", &line[from..])
    }

    /// Why there is no result, as an error about the image `id`; `nothing` is what the result's
    /// disk says.
    pub fn without_result(&self, id: &str, nothing: String) -> Error {
        let id = id.to_owned();
        let console = self.console.clone();
        let seconds = |limit: &str| format!("{limit} {} s", self.took.as_secs());
        match self.how {
            How::Ended(status) if !status.success() => {
                let mut why = status_words(status);
                if !self.messages.is_empty() {
                    why = format!("{why}: {}", self.messages.replace('\n', " | "));
                }
                Error::QemuFailed { id, why }
            }
            How::Ended(_) if self.panicked.is_some() && self.booted.is_none() => {
                Error::NotBooted { id, why: self.panic_words(), console }
            }
            How::Ended(_) if self.panicked.is_some() => {
                Error::NoResult { id, why: self.panic_words(), console }
            }
            How::Ended(_) if self.booted.is_none() => Error::NotBooted {
                id,
                why: "the machine ended before the guest's script ran".into(),
                console,
            },
            How::Ended(_) => Error::NoResult { id, why: nothing, console },
            How::BootLimit => Error::NotBooted {
                id,
                why: format!(
                    "no sign of the guest's script within the boot limit, after{}",
                    seconds("")
                ),
                console,
            },
            How::RunLimit => Error::NoResult {
                id,
                why: format!("not at its end within the limit, after{}; {nothing}", seconds("")),
                console,
            },
        }
    }
}

/// "ended with status 1", "was killed by SIGKILL".
fn status_words(status: ExitStatus) -> String {
    match (status.code(), status.signal()) {
        (Some(code), _) => format!("it ended with status {code}"),
        (None, Some(signal)) => match Signal::try_from(signal) {
            Ok(signal) => format!("it was killed by {signal}"),
            Err(_) => format!("it was killed by signal {signal}"),
        },
        (None, None) => "it ended".into(),
    }
}

/// The system's emulator, or an error that names its package.
pub(crate) fn emulator_of(architecture: Architecture) -> Result<PathBuf> {
    program(match architecture {
        Architecture::X86_64 => "qemu-system-x86_64",
        Architecture::I686 => "qemu-system-i386",
    })
}

/// A program of `PATH`, or an error that names its package.
pub(crate) fn program(name: &str) -> Result<PathBuf> {
    // FreeBSD's and Debian's system programs are not on every user's PATH.
    let path = std::env::var_os("PATH").unwrap_or_default();
    let places = ["/usr/local/sbin", "/usr/sbin", "/sbin"].map(PathBuf::from);
    std::env::split_paths(&path)
        .chain(places)
        .map(|dir| dir.join(name))
        .find(|path| {
            nix::unistd::access(path, nix::unistd::AccessFlags::X_OK).is_ok() && path.is_file()
        })
        .ok_or_else(|| {
            let install = platform::how_to_install(name);
            if name.starts_with("qemu") {
                Error::QemuMissing { program: name.into(), install }
            } else {
                Error::ToolMissing { program: name.into(), install }
            }
        })
}

/// A disk, on virtio: what every guest has a driver for. A full host is the guest's error, where
/// QEMU would otherwise wait for space.
fn drive(path: &Path, format: &str, read_only: bool) -> [OsString; 2] {
    let mut words = OsString::from(format!(
        "if=virtio,format={format},werror=report,rerror=report,readonly={},file=",
        if read_only { "on" } else { "off" }
    ));
    // QEMU's options end at a comma unless it is doubled.
    use std::os::unix::ffi::{OsStrExt, OsStringExt};
    let mut name = Vec::new();
    for &byte in path.as_os_str().as_bytes() {
        name.push(byte);
        if byte == b',' {
            name.push(b',');
        }
    }
    words.push(OsString::from_vec(name));
    ["-drive".into(), words]
}

/// Stands between this program's terminal and a machine to which somebody has to log in: types that,
/// and lets everything else pass. Keys are pressed until the console shows `sign`.
fn relay(
    process: &mut Process,
    mut serial: Option<SerialTyping>,
    mut keyboard: Option<KeyboardTyping>,
    sign: &str,
) -> Result<ExitStatus> {
    let terminal = |error| Error::io("use", Path::new("the terminal"), error);
    let _raw = RawTerminal::enter().map_err(|errno| terminal(errno.into()))?;
    let input = Arc::new(Mutex::new(process.child.stdin.take()));
    let (tell, told) = channel();
    for (stream, readable) in process.streams() {
        let tell = tell.clone();
        std::thread::spawn(move || pump(stream, readable, &tell));
    }
    drop(tell);
    // It ends with this program: nothing else ends a read of a terminal.
    std::thread::spawn({
        let input = Arc::clone(&input);
        move || {
            let mut buffer = [0; 1024];
            while let Ok(count @ 1..) = std::io::stdin().read(&mut buffer) {
                let Ok(mut input) = input.lock() else { return };
                let Some(to) = input.as_mut() else { return };
                if to.write_all(&buffer[..count]).and_then(|()| to.flush()).is_err() {
                    return;
                }
            }
        }
    });
    let mut shown = Vec::new();
    loop {
        interrupt::check()?;
        match told.recv_timeout(TICK) {
            Ok(chunk) => {
                let mut output = std::io::stdout().lock();
                output.write_all(&chunk.bytes).and_then(|()| output.flush()).map_err(terminal)?;
                if keyboard.is_some() {
                    shown.extend_from_slice(&chunk.bytes);
                    if shown.windows(sign.len()).any(|window| window == sign.as_bytes()) {
                        keyboard = None;
                    }
                    let excess = shown.len().saturating_sub(sign.len());
                    shown.drain(..excess);
                }
                if let (Some(serial), Ok(mut input)) = (&mut serial, input.lock()) {
                    if let Some(to) = input.as_mut() {
                        serial.read(&chunk.bytes, to);
                    }
                }
            }
            Err(RecvTimeoutError::Disconnected) => std::thread::sleep(TICK),
            Err(RecvTimeoutError::Timeout) => {}
        }
        if let Some(keyboard) = &mut keyboard {
            keyboard.advance(Instant::now());
        }
        if let Some(status) = process.ended()? {
            let mut output = std::io::stdout().lock();
            for chunk in told {
                output.write_all(&chunk.bytes).map_err(terminal)?;
            }
            output.flush().map_err(terminal)?;
            return Ok(status);
        }
    }
}

/// The terminal without echo, lines and signals, as QEMU would have it; as it was at the end of this
/// value.
struct RawTerminal(Option<Termios>);

impl RawTerminal {
    fn enter() -> nix::Result<Self> {
        let input = std::io::stdin();
        if !input.is_terminal() {
            return Ok(Self(None));
        }
        let before = tcgetattr(&input)?;
        let mut raw = before.clone();
        cfmakeraw(&mut raw);
        tcsetattr(&input, SetArg::TCSANOW, &raw)?;
        Ok(Self(Some(before)))
    }
}

impl Drop for RawTerminal {
    fn drop(&mut self) {
        if let Some(before) = &self.0 {
            let _ = tcsetattr(std::io::stdin(), SetArg::TCSANOW, before);
        }
    }
}

/// A child that does not outlive this value.
struct Process {
    child: Child,
    over: bool,
}

impl Process {
    fn start(id: &str, mut command: Command) -> Result<Self> {
        let parent = std::process::id() as i32;
        // SAFETY: between fork and exec only async-signal-safe calls are made: prctl or procctl,
        // and getppid; an error is made from a number.
        unsafe { command.pre_exec(move || platform::die_with_parent(parent)) };
        let child = command.spawn().map_err(|error| Error::QemuFailed {
            id: id.to_owned(),
            why: format!("{}: {error}", Path::new(command.get_program()).display()),
        })?;
        Ok(Self { child, over: false })
    }

    fn streams(&mut self) -> Vec<(Stream, Box<dyn Read + Send>)> {
        let mut streams: Vec<(Stream, Box<dyn Read + Send>)> = Vec::new();
        if let Some(output) = self.child.stdout.take() {
            streams.push((Stream::Console, Box::new(output)));
        }
        if let Some(errors) = self.child.stderr.take() {
            streams.push((Stream::Messages, Box::new(errors)));
        }
        streams
    }

    fn ended(&mut self) -> Result<Option<ExitStatus>> {
        // While it is not waited for, its id is nobody else's, and neither is its group's.
        self.child.try_wait().map_err(|error| Error::io("wait for", Path::new("QEMU"), error))
    }

    fn kill(&mut self) {
        if !self.over {
            // The group may live on when its first process has been waited for.
            let _ = killpg(Pid::from_raw(self.child.id() as i32), Signal::SIGKILL);
            let _ = self.child.kill();
            let _ = self.child.wait();
            self.over = true;
        }
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        self.kill();
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Stream {
    Console,
    Messages,
}

struct Chunk {
    stream: Stream,
    bytes: Vec<u8>,
}

/// Reads until the end. The channel is unbounded, but what takes from it is faster than a guest.
fn pump(stream: Stream, mut readable: impl Read, tell: &Sender<Chunk>) {
    let mut buffer = vec![0; 64 * 1024];
    loop {
        match readable.read(&mut buffer) {
            Ok(0) => return,
            Ok(count) => {
                if tell.send(Chunk { stream, bytes: buffer[..count].to_vec() }).is_err() {
                    return;
                }
            }
            Err(error) if error.kind() == std::io::ErrorKind::Interrupted => {}
            Err(_) => return,
        }
    }
}

/// What comes from a guest's serial port. It may be anything, and any amount of it.
struct Console<'a> {
    log: File,
    path: &'a Path,
    logged: u64,
    left_out: u64,
    tail: VecDeque<u8>,
    line: Vec<u8>,
    newest: Option<String>,
    sign_of_life: String,
    sign_of_result: String,
    started: bool,
    written: bool,
    /// The line with which the kernel says so.
    panicked: Option<String>,
    typist: Option<(SerialTyping, ChildStdin)>,
    messages: Vec<u8>,
}

impl<'a> Console<'a> {
    fn new(
        log: File,
        path: &'a Path,
        stamp: &str,
        typist: Option<(SerialTyping, ChildStdin)>,
    ) -> Self {
        Self {
            log,
            path,
            logged: 0,
            left_out: 0,
            tail: VecDeque::new(),
            line: Vec::new(),
            newest: None,
            sign_of_life: format!("{} {stamp}", guest::STARTED),
            sign_of_result: format!("{} {stamp}", guest::WRITTEN),
            started: false,
            written: false,
            panicked: None,
            typist,
            messages: Vec::new(),
        }
    }

    fn take(&mut self, chunk: Chunk, messages: &mut Vec<u8>) -> Result<()> {
        match chunk.stream {
            Stream::Messages => {
                let room = STDERR_LIMIT.saturating_sub(messages.len());
                messages.extend(chunk.bytes.iter().take(room));
                Ok(())
            }
            Stream::Console => self.output(&chunk.bytes),
        }
    }

    fn output(&mut self, bytes: &[u8]) -> Result<()> {
        let room = usize::try_from(CONSOLE_LIMIT - self.logged).unwrap_or(usize::MAX);
        let kept = &bytes[..bytes.len().min(room)];
        self.log.write_all(kept).map_err(|error| Error::io("write", self.path, error))?;
        self.logged += kept.len() as u64;
        self.left_out += (bytes.len() - kept.len()) as u64;
        self.tail.extend(&bytes[bytes.len().saturating_sub(TAIL)..]);
        self.tail.drain(..self.tail.len().saturating_sub(TAIL));
        for &byte in bytes {
            if byte == b'\n' {
                self.whole_line();
            } else if self.line.len() < 4096 {
                self.line.push(byte);
            }
        }
        if let Some((typist, to)) = &mut self.typist {
            typist.read(bytes, to);
        }
        Ok(())
    }

    fn whole_line(&mut self) {
        let line = String::from_utf8_lossy(&self.line).trim().to_owned();
        self.line.clear();
        self.started |= line.ends_with(&self.sign_of_life);
        self.written |= line.ends_with(&self.sign_of_result);
        // Linux's and FreeBSD's words.
        if line.contains("Kernel panic - not syncing") || line.starts_with("panic: ") {
            self.panicked.get_or_insert_with(|| line.clone());
        }
        if !line.is_empty() {
            self.newest = Some(line);
        }
    }

    /// The end of the log says what was left out before it.
    fn finish(&mut self) -> Result<()> {
        if self.left_out == 0 {
            return Ok(());
        }
        let note = format!(
            "\n[forkproof: {} more bytes are left out; the console's end follows]\n",
            self.left_out
        );
        self.log
            .write_all(note.as_bytes())
            .and_then(|()| self.log.write_all(self.tail.make_contiguous()))
            .map_err(|error| Error::io("write", self.path, error))
    }

    /// The last lines.
    fn end(&self) -> String {
        let bytes: Vec<u8> = self.tail.iter().copied().collect();
        let text = String::from_utf8_lossy(&bytes).into_owned();
        let lines: Vec<&str> = text.lines().filter(|line| !line.trim().is_empty()).collect();
        lines[lines.len().saturating_sub(6)..].join("\n")
    }
}
