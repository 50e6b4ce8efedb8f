//! Use at a terminal: a line editor below, the chat above it.
//!
//! The main thread is in the editor; a second one reads the connection and prints through the
//! editor's printer, which puts whole lines above what is being typed. An entered line is taken
//! off the screen again: the server sends it back, and it takes its place among everybody's.

use std::io::{self, Read, Write, stdout};
use std::net::Shutdown;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::Duration;

use nix::errno::Errno;
use nix::sys::signal::{SaFlags, SigAction, SigHandler, SigSet, Signal, kill, sigaction};
use nix::unistd::getpid;
use rustyline::completion::Completer;
use rustyline::config::{BellStyle, Config};
use rustyline::error::ReadlineError;
use rustyline::highlight::Highlighter;
use rustyline::hint::Hinter;
use rustyline::history::MemHistory;
use rustyline::validate::{ValidationContext, ValidationResult, Validator};
use rustyline::{Editor, ExternalPrinter, Helper};
use unicode_width::UnicodeWidthChar;

use super::connection::{Connection, End};
use super::delivery::Delivery;
use super::display::Lines;
use super::{Exit, Failure};
use crate::settings::reason;

/// How long somebody who leaves waits for the last lines to be taken, at most.
const LAST_LINES: Duration = Duration::from_secs(2);

/// How often the editor is interrupted until it has left, once the connection has ended.
const INTERRUPT_AGAIN: Duration = Duration::from_millis(50);

/// A conversation at a terminal.
pub(super) struct Session {
    editor: LineEditor,
    prompt: String,
    shared: Arc<Shared>,
}

type LineEditor = Editor<Enter, MemHistory>;

/// Notes that a line was entered, the moment the editor takes it: whatever is printed from then
/// on would stand between the line and the cursor.
struct Enter(Arc<Shared>);

impl Validator for Enter {
    fn validate(&self, _: &mut ValidationContext) -> rustyline::Result<ValidationResult> {
        self.0.lock().entered = true;
        Ok(ValidationResult::Valid(None))
    }
}

impl Completer for Enter {
    type Candidate = String;
}

impl Hinter for Enter {
    type Hint = String;
}

impl Highlighter for Enter {}

impl Helper for Enter {}

/// Why the editor was left.
enum Leave {
    /// Ctrl-D.
    EndOfInput,
    /// Ctrl-C.
    Interrupt,
    /// The connection has ended.
    Ended,
}

impl Session {
    /// Prepares the editor; `None` on a terminal too simple for one.
    pub(super) fn new(username: &str) -> Result<Option<Self>, Failure> {
        let config = Config::builder().bell_style(BellStyle::None).build();
        let mut editor =
            Editor::with_history(config, MemHistory::new()).map_err(|error| local(&error))?;
        if editor.create_external_printer().is_err() {
            return Ok(None);
        }
        let shared = Arc::new(Shared::default());
        editor.set_helper(Some(Enter(Arc::clone(&shared))));
        Ok(Some(Self {
            editor,
            // What is typed looks like what it will become.
            prompt: format!("{username}: "),
            shared,
        }))
    }

    /// Talks until the user leaves or the connection ends.
    pub(super) fn run(mut self, connection: Connection, timeout: Duration) -> Result<(), Failure> {
        let printer = self
            .editor
            .create_external_printer()
            .map_err(|error| local(&error))?;
        let shared = Arc::clone(&self.shared);
        // The receiver interrupts the editor by this signal, and may do so a moment before or
        // after the editor has its own handler in place.
        let ignore = SigAction::new(SigHandler::SigIgn, SaFlags::empty(), SigSet::empty());
        let original = set_interrupt(&ignore).map_err(|errno| local(&errno.into()))?;

        let outcome = thread::scope(|scope| {
            scope.spawn(|| receive(&connection, printer, &shared));
            let outcome = self.talk(&connection, &shared, timeout);
            {
                let mut state = shared.lock();
                state.left = true;
                state.entered = false;
            }
            shared.changed.notify_all();
            // The printer waits for an editor as long as there is one.
            drop(self.editor);
            if let Ok(Leave::EndOfInput) = outcome {
                // The server learns that nothing follows, takes what is on its way and closes; a
                // plain close could destroy lines it has not read yet.
                let _ = connection.stream().shutdown(Shutdown::Write);
                shared.wait_for_end(timeout.min(LAST_LINES));
            }
            // Ends the receiver's read.
            let _ = connection.stream().shutdown(Shutdown::Both);
            outcome
        });
        let _ = set_interrupt(&original);

        let mut state = shared.lock();
        match outcome? {
            Leave::Interrupt => Err(Failure::interrupted()),
            Leave::EndOfInput if state.delivery.missing() == 0 => Ok(()),
            Leave::EndOfInput => Err(Failure::new(
                Exit::Lost,
                format!(
                    "you left before {} had sent your last line back; it may not have been taken",
                    connection.server()
                ),
            )),
            Leave::Ended => {
                let end = state.end.take().unwrap_or(End::Closed);
                Err(state.delivery.explain(connection.lost(&end, state.heard)))
            }
        }
    }

    fn talk(
        &mut self,
        connection: &Connection,
        shared: &Shared,
        timeout: Duration,
    ) -> Result<Leave, Failure> {
        loop {
            if shared.lock().end.is_some() {
                return Ok(Leave::Ended);
            }
            let text = match self.editor.readline(&self.prompt) {
                Ok(text) => text,
                Err(ReadlineError::Eof) => return Ok(Leave::EndOfInput),
                Err(ReadlineError::Interrupted) => {
                    return Ok(match shared.lock().end {
                        Some(_) => Leave::Ended,
                        None => Leave::Interrupt,
                    });
                }
                Err(error) => return Err(local(&error)),
            };
            let taken_off = take_off_screen(&self.prompt, &text);
            shared.lock().entered = false;
            shared.changed.notify_all();
            taken_off.map_err(|error| local(&error.into()))?;

            for line in text.lines().filter(|line| !line.trim().is_empty()) {
                let line = format!("{}{line}\n", self.prompt).into_bytes();
                // Before it is sent: its echo may be quicker than this thread.
                shared.lock().delivery.sent(line.clone());
                if let Err(error) = connection.stream().write_all(&line) {
                    // The reading side learns of the end too, and knows more about it.
                    shared.wait_for_end(timeout.min(LAST_LINES));
                    shared.lock().end.get_or_insert(End::Broken(error));
                    return Ok(Leave::Ended);
                }
            }
            if !text.trim().is_empty() {
                self.editor
                    .add_history_entry(text)
                    .map_err(|error| local(&error))?;
            }
        }
    }
}

/// What the two threads share.
#[derive(Default)]
struct Shared {
    state: Mutex<State>,
    changed: Condvar,
}

#[derive(Default)]
struct State {
    /// Set by the receiver, for good.
    end: Option<End>,
    /// Whether a byte ever arrived.
    heard: bool,
    delivery: Delivery,
    /// A line was entered and is still on the screen, directly above the cursor.
    entered: bool,
    /// The editor is not in use any more.
    left: bool,
}

impl Shared {
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Waits until the receiver has seen the connection's end.
    fn wait_for_end(&self, timeout: Duration) {
        let _ = self
            .changed
            .wait_timeout_while(self.lock(), timeout, |state| state.end.is_none());
    }
}

/// Prints what arrives; at the end, gets the main thread out of the editor.
fn receive(connection: &Connection, mut printer: impl ExternalPrinter, shared: &Shared) {
    let mut lines = Lines::default();
    let mut buffer = vec![0; 64 * 1024];
    let mut show = |text: String| {
        if text.is_empty() {
            return;
        }
        drop(
            shared
                .changed
                .wait_while(shared.lock(), |state| state.entered),
        );
        // Fails only when the editor has gone: then the terminal is nobody else's.
        if printer.print(text.clone()).is_err() {
            let _ = stdout().write_all(text.as_bytes());
        }
    };
    let end = loop {
        match connection.stream().read(&mut buffer) {
            Ok(0) => break End::Closed,
            Ok(count) => {
                let bytes = &buffer[..count];
                let mut state = shared.lock();
                state.heard = true;
                state.delivery.heard(bytes);
                drop(state);
                show(lines.push(bytes));
            }
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => break End::Broken(error),
        }
    };
    show(lines.finish());
    // The printer hands over one text at a time, so when this one could be handed over, the last
    // lines are on the screen. Up and down again, it shows nothing.
    show("\x1b[A\n".to_owned());

    let mut state = shared.lock();
    state.end = Some(end);
    shared.changed.notify_all();
    // A parent may have blocked the signal.
    let mut interrupt = SigSet::empty();
    interrupt.add(Signal::SIGINT);
    let _ = interrupt.thread_unblock();
    // Again and again: it is without effect between two lines, when the editor is not reading.
    while !state.left {
        let _ = kill(getpid(), Signal::SIGINT);
        state = match shared.changed.wait_timeout(state, INTERRUPT_AGAIN) {
            Ok((state, _)) => state,
            Err(poisoned) => poisoned.into_inner().0,
        };
    }
}

/// Removes the rows that the entered text takes, directly above the cursor, if there is no doubt
/// how many they are.
fn take_off_screen(prompt: &str, text: &str) -> io::Result<()> {
    let columns = terminal_size::terminal_size().map_or(0, |(columns, _)| usize::from(columns.0));
    match rows(&format!("{prompt}{text}"), columns) {
        Some(rows) => {
            let mut stdout = stdout();
            write!(stdout, "\x1b[{rows}A\r\x1b[J")?;
            stdout.flush()
        }
        None => Ok(()),
    }
}

/// The number of rows that `text` takes on a terminal; `None` if terminals may not agree.
fn rows(text: &str, columns: usize) -> Option<usize> {
    if columns == 0 {
        return None;
    }
    let widths = || text.chars().map(UnicodeWidthChar::width);
    // Where a wide or combining character meets the edge is the terminal's affair; short of the
    // edge, it does not matter.
    if widths().all(|width| width == Some(1)) {
        return Some(text.chars().count() / columns + 1);
    }
    let total: usize = widths().sum::<Option<usize>>()?;
    (total < columns).then_some(1)
}

fn set_interrupt(action: &SigAction) -> nix::Result<SigAction> {
    // SAFETY: no handler is introduced: the action is SIG_IGN, or what was in place when the
    // session began.
    unsafe { sigaction(Signal::SIGINT, action) }
}

fn local(error: &ReadlineError) -> Failure {
    let words = match error {
        ReadlineError::Io(error) => reason(error),
        ReadlineError::Errno(errno) => Errno::desc(*errno).to_owned(),
        other => other.to_string(),
    };
    Failure::new(Exit::LocalIo, format!("cannot use the terminal: {words}"))
}
