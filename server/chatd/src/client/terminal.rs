//! Use at a terminal: one row with the line being typed, and the chat above it.
//!
//! The row is taken off before anything else is printed, and drawn again below it. An entered
//! line is taken off for good: the server sends it back, and it takes its place among everybody's.

use std::io::{self, Write, stdin, stdout};
use std::os::fd::AsFd;
use std::sync::OnceLock;

use nix::errno::Errno;
use nix::sys::signal::{SaFlags, SigAction, SigHandler, SigSet, Signal, raise, sigaction};
use nix::sys::termios::{
    InputFlags, LocalFlags, SetArg, SpecialCharacterIndices, Termios, tcgetattr, tcsetattr,
};
use tui_input::{Input, InputRequest};
use unicode_width::{UnicodeWidthChar, UnicodeWidthStr};

use super::conversation::User;
use super::display::{Lines, Output};
use super::failure::{Exit, Failure};
use super::keys::Key;
use settings::reason;

/// To the left edge, and clear from there to the end of the screen: after the terminal was made
/// narrower, the row may have been broken into several.
const TAKE_OFF: &str = "\r\x1b[J";

/// Entered lines that can be brought back.
const HISTORY: usize = 1000;

/// A user at a terminal.
pub(super) struct Terminal {
    mode: RawMode,
    prefix: String,
    /// Bytes of a key that is not complete yet.
    keys: Vec<u8>,
    input: Input,
    history: History,
    lines: Lines,
    /// The user said goodbye: there is no typed line any more.
    left: bool,
}

impl Terminal {
    /// Puts the terminal into the mode for editing until the value is dropped.
    pub(super) fn open(username: &str) -> Result<Self, Errno> {
        let terminal = Self {
            mode: RawMode::enter()?,
            prefix: format!("{username}: "),
            keys: Vec::new(),
            input: Input::default(),
            history: History::default(),
            lines: Lines::default(),
            left: false,
        };
        // A terminal that takes no prompt will be noticed at the first line.
        let _ = terminal.print("");
        Ok(terminal)
    }

    /// Prints above the typed line, which is drawn again.
    fn print(&self, above: &str) -> io::Result<()> {
        if self.left {
            return write(above);
        }
        let mut screen = format!("{TAKE_OFF}{above}");
        self.draw(&mut screen);
        write(&screen)
    }

    fn print_if_any(&self, above: &str) -> Result<(), Failure> {
        if above.is_empty() { Ok(()) } else { self.print(above).map_err(unusable) }
    }

    /// Draws the part of the typed line around the cursor.
    fn draw(&self, screen: &mut String) {
        let columns = terminal_size::terminal_size().map_or(80, |(width, _)| usize::from(width.0));
        let prefix = if self.prefix.width() + 8 < columns { self.prefix.as_str() } else { "> " };
        // The last column stays free: with a character there, terminals disagree on where the
        // cursor is.
        let room = columns.saturating_sub(prefix.width() + 1).max(1);
        let (text, cursor) = window(&self.input, room);
        screen.push_str(prefix);
        screen.push_str(&text);
        screen.push('\r');
        screen.push_str(&format!("\x1b[{}C", prefix.width() + cursor));
    }

    /// Does what a key says; returns whether the conversation goes on.
    fn press(&mut self, key: Key, send: &mut dyn FnMut(Vec<u8>)) -> Result<bool, Failure> {
        match key {
            Key::Edit(request) => {
                self.input.handle(request);
            }
            Key::Enter => {
                let text = self.input.value_and_reset();
                if text.trim().is_empty() {
                    return Ok(true);
                }
                self.history.add(text.clone());
                match Entered::from(text.as_str()) {
                    Entered::Line(line) => send(format!("{}{line}\n", self.prefix).into_bytes()),
                    Entered::Help => self.print(HELP).map_err(unusable)?,
                    Entered::Quit => {
                        self.leave();
                        return Ok(false);
                    }
                    Entered::Unknown(word) => self
                        .print(&format!(
                            "* unknown command {word}; /help tells the known ones, and /{word} \
                             sends it\n"
                        ))
                        .map_err(unusable)?,
                }
            }
            Key::Older => self.history.older(&mut self.input),
            Key::Newer => self.history.newer(&mut self.input),
            Key::EndOfInput if self.input.value().is_empty() => {
                // Keys are not read any more, so Ctrl-C has to work as a signal again.
                self.leave();
                return Ok(false);
            }
            Key::EndOfInput => {
                self.input.handle(InputRequest::DeleteNextChar);
            }
            Key::Interrupt => return Err(Failure::interrupted()),
            Key::Suspend => self.suspend().map_err(|errno| unusable(errno.into()))?,
            Key::ClearScreen => write("\x1b[H\x1b[2J").map_err(unusable)?,
            Key::None => {}
        }
        Ok(true)
    }

    /// Gives the terminal back. What was typed and not sent stays on the screen.
    fn leave(&mut self) {
        if !self.left {
            let mut screen = TAKE_OFF.to_owned();
            if !self.input.value().is_empty() {
                self.draw(&mut screen);
                screen.push('\n');
            }
            let _ = write(&screen);
            self.mode.leave();
            self.left = true;
        }
    }

    /// Stops, as Ctrl-Z does in other programs.
    fn suspend(&mut self) -> Result<(), Errno> {
        let _ = write(TAKE_OFF);
        self.mode.leave();
        raise(Signal::SIGTSTP)?;
        // Here the shell has brought the program back to the foreground.
        self.mode = RawMode::enter()?;
        Ok(())
    }
}

impl User for Terminal {
    fn read(&mut self, send: &mut dyn FnMut(Vec<u8>)) -> Result<bool, Failure> {
        let mut buffer = [0; 4096];
        let count = match nix::unistd::read(stdin(), &mut buffer) {
            // The terminal was hung up.
            Ok(0) | Err(Errno::EIO) => return Ok(false),
            Ok(count) => count,
            Err(Errno::EINTR | Errno::EAGAIN) => return Ok(true),
            Err(errno) => return Err(unusable(errno.into())),
        };
        self.keys.extend_from_slice(&buffer[..count]);
        while let Some((key, length)) = Key::first(&self.keys) {
            self.keys.drain(..length);
            if !self.press(key, send)? {
                return Ok(false);
            }
        }
        self.print("").map_err(unusable)?;
        Ok(true)
    }

    fn show(&mut self, bytes: &[u8]) -> Result<(), Failure> {
        let lines = self.lines.push(bytes);
        self.print_if_any(&lines)
    }

    fn finish(&mut self) -> Result<(), Failure> {
        let rest = self.lines.finish();
        self.print_if_any(&rest)
    }

    fn output(&self) -> Option<&Output> {
        None
    }

    fn reader_gone(&mut self) {}

    fn saw_the_chat(&self) -> bool {
        self.left
    }
}

impl Drop for Terminal {
    fn drop(&mut self) {
        self.leave();
    }
}

/// The terminal's mode before it was changed, for [`restore_and_end`].
static ORIGINAL: OnceLock<libc::termios> = OnceLock::new();

/// Makes the signals that end a program from outside give the terminal back first.
fn restore_at_fatal_signals() -> Result<(), Errno> {
    // Reset when it is delivered, so that the handler's raise ends the program as the signal does.
    let action = SigAction::new(
        SigHandler::Handler(restore_and_end),
        SaFlags::SA_RESETHAND,
        SigSet::empty(),
    );
    for signal in [Signal::SIGHUP, Signal::SIGINT, Signal::SIGQUIT, Signal::SIGTERM] {
        // SAFETY: the handler calls async-signal-safe functions only (POSIX.1-2024, 2.4.3).
        let before = unsafe { sigaction(signal, &action) }?;
        if matches!(before.handler(), SigHandler::SigIgn) {
            // As nohup(1) left it.
            // SAFETY: no handler is installed.
            unsafe { sigaction(signal, &before) }?;
        }
    }
    Ok(())
}

extern "C" fn restore_and_end(signal: libc::c_int) {
    if let Some(original) = ORIGINAL.get() {
        // SAFETY: a structure that tcgetattr filled; the call is async-signal-safe.
        unsafe { libc::tcsetattr(libc::STDIN_FILENO, libc::TCSANOW, original) };
    }
    // Blocked while it is handled, and pending until then.
    // SAFETY: raise is async-signal-safe and takes a signal's number.
    unsafe { libc::raise(signal) };
}

/// The terminal's mode in which keys arrive as they are pressed. Output is processed as ever.
struct RawMode {
    original: Termios,
}

impl RawMode {
    fn enter() -> Result<Self, Errno> {
        let original = tcgetattr(stdin().as_fd())?;
        let mut raw = original.clone();
        // Ctrl-C and Ctrl-Z arrive as keys, so that the mode can be restored first.
        raw.local_flags
            .remove(LocalFlags::ICANON | LocalFlags::ECHO | LocalFlags::ISIG | LocalFlags::IEXTEN);
        raw.input_flags.remove(InputFlags::ICRNL | InputFlags::INLCR | InputFlags::IXON);
        raw.control_chars[SpecialCharacterIndices::VMIN as usize] = 1;
        raw.control_chars[SpecialCharacterIndices::VTIME as usize] = 0;
        let _ = ORIGINAL.set(original.clone().into());
        restore_at_fatal_signals()?;
        tcsetattr(stdin().as_fd(), SetArg::TCSADRAIN, &raw)?;
        Ok(Self { original })
    }

    fn leave(&self) {
        let _ = tcsetattr(stdin().as_fd(), SetArg::TCSADRAIN, &self.original);
    }
}

/// What `/help` shows.
const HELP: &str = "\
* /help  tell this
* /quit  leave, as Ctrl-D does
* //TEXT send a line that begins with /
";

/// What a line that was entered asks for.
enum Entered<'a> {
    /// To be sent.
    Line(&'a str),
    Help,
    Quit,
    /// A command that there isn't. It is not sent: it may be a command of another program, with
    /// what is meant for nobody here.
    Unknown(&'a str),
}

impl<'a> From<&'a str> for Entered<'a> {
    fn from(text: &'a str) -> Self {
        match text.strip_prefix('/') {
            None => Self::Line(text),
            Some(escaped) if escaped.starts_with('/') => Self::Line(escaped),
            Some(_) => match text.split_whitespace().next().unwrap_or(text) {
                "/help" => Self::Help,
                "/quit" => Self::Quit,
                word => Self::Unknown(word),
            },
        }
    }
}

/// The lines that were entered.
#[derive(Default)]
struct History {
    lines: Vec<String>,
    /// How many steps back the user is; 0 is the line being written.
    back: usize,
    /// The line being written, while older ones are looked at.
    draft: String,
}

impl History {
    fn add(&mut self, line: String) {
        self.back = 0;
        if self.lines.last() != Some(&line) {
            self.lines.push(line);
        }
        let excess = self.lines.len().saturating_sub(HISTORY);
        self.lines.drain(..excess);
    }

    fn older(&mut self, input: &mut Input) {
        if self.back == self.lines.len() {
            return;
        }
        if self.back == 0 {
            input.value().clone_into(&mut self.draft);
        }
        self.back += 1;
        self.show(input);
    }

    fn newer(&mut self, input: &mut Input) {
        if self.back > 0 {
            self.back -= 1;
            self.show(input);
        }
    }

    fn show(&self, input: &mut Input) {
        let line = match self.back {
            0 => &self.draft,
            back => &self.lines[self.lines.len() - back],
        };
        *input = Input::new(line.clone());
    }
}

/// The part of the line that fits into `room` columns with the cursor in it, and the cursor's
/// column there.
fn window(input: &Input, room: usize) -> (String, usize) {
    let scroll = input.visual_scroll(room);
    let mut column = 0;
    let mut start = None;
    let mut text = String::new();
    for character in input.value().chars() {
        let width = character.width().unwrap_or(0);
        if column >= scroll {
            let start = *start.get_or_insert(column);
            if column + width > start + room {
                break;
            }
            text.push(character);
        }
        column += width;
    }
    let start = start.unwrap_or(column);
    (text, input.visual_cursor().saturating_sub(start))
}

fn write(text: &str) -> io::Result<()> {
    let mut stdout = stdout();
    stdout.write_all(text.as_bytes())?;
    stdout.flush()
}

fn unusable(error: io::Error) -> Failure {
    let message = format!("cannot use the terminal: {}", reason(&error));
    Failure::new(Exit::LocalIo, message)
}

#[cfg(test)]
mod tests {
    use rstest::rstest;

    use super::*;

    #[rstest]
    #[case::fits("hello", 5, 10, "hello", 5)]
    #[case::end_of_a_long_line("abcdefghij", 10, 4, "ghij", 4)]
    #[case::start_of_a_long_line("abcdefghij", 0, 4, "abcd", 0)]
    #[case::wide_characters("你好你好", 4, 4, "你好", 4)]
    fn windows(
        #[case] value: &str,
        #[case] cursor: usize,
        #[case] room: usize,
        #[case] text: &str,
        #[case] column: usize,
    ) {
        let input = Input::new(value.to_owned()).with_cursor(cursor);
        assert_eq!(window(&input, room), (text.to_owned(), column));
    }

    #[test]
    fn history_goes_back_and_returns_to_the_draft() {
        let mut history = History::default();
        for line in ["one", "two", "two"] {
            history.add(line.to_owned());
        }
        let mut input = Input::new("draft".to_owned());
        let mut seen = Vec::new();
        for older in [true, true, true, false, false, false] {
            if older {
                history.older(&mut input)
            } else {
                history.newer(&mut input)
            }
            seen.push(input.value().to_owned());
        }
        assert_eq!(seen, ["two", "one", "one", "two", "draft", "draft"]);
    }
}
