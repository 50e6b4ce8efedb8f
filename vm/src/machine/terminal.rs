//! A machine with this program's terminal as its console.

use std::io::{IsTerminal, Read, Write};
use std::path::Path;
use std::process::{ExitStatus, Stdio};
use std::sync::mpsc::RecvTimeoutError;
use std::sync::{Arc, Mutex};
use std::time::Instant;

use nix::sys::termios::{SetArg, Termios, cfmakeraw, tcgetattr, tcsetattr};

use super::command::Machine;
use super::console::streams;
use super::keyboard::KeyboardTyping;
use super::run::TICK;
use super::serial::SerialTyping;
use crate::catalogue::FirstBoot;
use crate::error::{Error, Result};
use crate::guest;
use crate::platform::{self, Process};

impl Machine {
    /// Runs it with this program's terminal as its console, to its end. `stamp` is as for
    /// [`Machine::run`].
    pub(crate) fn run_on_terminal(&self, stamp: &str) -> Result<()> {
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
        let mut process = self.start(&mut command)?;
        let keyboard = keyboard.map(|(typing, _)| typing);
        let status = if typed {
            relay(&mut process, serial, keyboard, &format!("{} {stamp}", guest::STARTED))?
        } else {
            process.wait_for_terminal()?
        };
        if status.success() {
            return Ok(());
        }
        Err(Error::qemu_failed(&self.id, platform::say_how_it_ended(status)))
    }
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
    let told = streams(&mut process.child);
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
        platform::check()?;
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
