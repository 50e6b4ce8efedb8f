//! A machine from power-on to its end, with nobody at its console.

use std::fs::File;
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::{Command, Stdio};
use std::sync::mpsc::{Receiver, RecvTimeoutError};
use std::time::{Duration, Instant};

use settings::reason;

use super::command::Machine;
use super::console::{Chunk, Console, streams};
use super::keyboard::KeyboardTyping;
use super::outcome::{Ended, How};
use super::serial::SerialTyping;
use crate::catalogue::FirstBoot;
use crate::error::{Error, Result};
use crate::platform::{self, Process};

/// How often a machine is looked after.
pub(super) const TICK: Duration = Duration::from_millis(50);
/// How long a guest that says that it has written its result may take to power off.
const POWER_OFF_LIMIT: Duration = Duration::from_secs(60);

/// What happens on the way.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Event {
    /// The guest's script runs.
    Started(Duration),
    /// The console's newest line.
    Line(String),
}

impl Machine {
    /// Runs it to its end. The console goes to `console`, a bounded part of it; `stamp` is what the
    /// guest's sign of life must hold.
    pub(crate) fn run(
        &self,
        stamp: &str,
        console: &Path,
        watch: &mut dyn FnMut(Event),
    ) -> Result<Ended> {
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
        let mut process = self.start(&mut command)?;
        let told = streams(&mut process.child);
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
        for chunk in told {
            console.take(chunk)?;
        }
        console.finish()?;
        Ok(Ended {
            how,
            booted,
            took: begin.elapsed(),
            console: console.end(),
            messages: String::from_utf8_lossy(&console.messages).trim().to_owned(),
            panicked: console.panicked,
        })
    }

    /// Starts QEMU.
    pub(super) fn start(&self, command: &mut Command) -> Result<Process> {
        Process::start(command).map_err(|error| {
            let program = Path::new(command.get_program()).display();
            Error::qemu_failed(&self.id, format!("{program}: {}", reason(&error)))
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
        let mut told_at = begin;
        loop {
            platform::check()?;
            match told.recv_timeout(TICK) {
                Ok(chunk) => console.take(chunk)?,
                // Both pipes have ended, and so has QEMU, or it is about to.
                Err(RecvTimeoutError::Disconnected) => std::thread::sleep(TICK),
                Err(RecvTimeoutError::Timeout) => {}
            }
            if let Some(keyboard) = keyboard.as_mut().filter(|_| !console.started) {
                keyboard.advance(Instant::now());
            }
            // Now and then: a guest may write lines faster than they can be shown.
            if told_at.elapsed() >= TICK {
                if let Some(line) = console.newest.take() {
                    watch(Event::Line(line));
                    told_at = Instant::now();
                }
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
}
