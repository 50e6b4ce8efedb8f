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
use super::history::History;
use super::keys::{Key, PASTE_END};
use super::look::Look;
use settings::reason;

/// To the left edge, and clear from there to the end of the screen: after the terminal was made
/// narrower, the row may have been broken into several.
const TAKE_OFF: &str = "\r\x1b[J";

/// Tells the terminal to say where it pastes (xterm's "bracketed paste mode"), and no more.
const PASTE_MODE: &str = "\x1b[?2004h";
const NO_PASTE_MODE: &str = "\x1b[?2004l";
/// No more is pasted at a time, bytes.
const LONGEST_PASTE: usize = 64 * 1024;

/// A user at a terminal.
pub(super) struct Terminal {
    mode: RawMode,
    prefix: String,
    /// Bytes of a key that is not complete yet.
    keys: Vec<u8>,
    input: Input,
    history: History,
    lines: Lines,
    look: Look,
    /// What was pasted so far, while the terminal pastes.
    paste: Option<Vec<u8>>,
    /// Lines that were pasted and wait for a yes.
    pasted: Vec<String>,
    /// What is looked for in what was entered before, and how many hits are passed over.
    search: Option<(String, usize)>,
    /// The user said goodbye: there is no typed line any more.
    left: bool,
}

impl Terminal {
    /// Puts the terminal into the mode for editing until the value is dropped.
    pub(super) fn open(username: &str, look: Look) -> Result<Self, Errno> {
        let terminal = Self {
            mode: RawMode::enter()?,
            prefix: format!("{username}: "),
            keys: Vec::new(),
            input: Input::default(),
            history: History::default(),
            lines: Lines::default(),
            look,
            paste: None,
            pasted: Vec::new(),
            search: None,
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
        let asked = self.question();
        let prefix = asked.as_deref().unwrap_or(&self.prefix);
        let prefix = if prefix.width() + 8 < columns { prefix } else { "> " };
        // The last column stays free: with a character there, terminals disagree on where the
        // cursor is.
        let room = columns.saturating_sub(prefix.width() + 1).max(1);
        let (text, cursor) = window(&self.input, room);
        screen.push_str(prefix);
        screen.push_str(&text);
        screen.push('\r');
        screen.push_str(&format!("\x1b[{}C", prefix.width() + cursor));
    }

    /// What stands before the typed line in place of the name, if something is asked or looked for.
    fn question(&self) -> Option<String> {
        match (&self.search, self.pasted.len()) {
            (Some((text, _)), _) => Some(format!("look for `{text}`: ")),
            (None, 0) => None,
            (None, count) => Some(format!("send {count} lines? (y/n) ")),
        }
    }

    /// Takes what the terminal pastes from `self.keys`. Returns whether that is all of it.
    fn take_paste(&mut self) -> bool {
        let Some(paste) = &mut self.paste else { return true };
        let end = memchr::memmem::find(&self.keys, PASTE_END);
        // The end may be cut in two.
        let kept = self.keys.len().saturating_sub(PASTE_END.len() - 1);
        let taken: Vec<u8> = self.keys.drain(..end.unwrap_or(kept)).collect();
        let room = LONGEST_PASTE.saturating_sub(paste.len());
        paste.extend(taken.into_iter().take(room));
        if end.is_none() {
            return false;
        }
        self.keys.drain(..PASTE_END.len());
        let text = String::from_utf8_lossy(&self.paste.take().unwrap_or_default()).into_owned();
        self.pasted_text(&text);
        true
    }

    /// One line is as if it had been typed. Several are sent by nobody who has not said so: they may
    /// be what is meant for another window.
    fn pasted_text(&mut self, text: &str) {
        let text = text.replace("\r\n", "\n").replace('\r', "\n");
        let mut lines = text.split('\n').map(|line| -> String {
            line.chars()
                .map(|c| if c == '\t' { ' ' } else { c })
                .filter(|c| !c.is_control())
                .collect()
        });
        let first = lines.next().unwrap_or_default();
        for character in first.chars() {
            self.input.handle(InputRequest::InsertChar(character));
        }
        let rest: Vec<String> = lines.filter(|line| !line.trim().is_empty()).collect();
        if !rest.is_empty() {
            self.pasted = std::iter::once(self.input.value_and_reset()).chain(rest).collect();
            self.pasted.retain(|line| !line.trim().is_empty());
        }
    }

    /// A key while there is a question whether pasted lines are to be sent. Those are never commands.
    fn answer(&mut self, key: Key, send: &mut dyn FnMut(Vec<u8>)) {
        match key {
            Key::Edit(InputRequest::InsertChar('y' | 'Y')) => {
                for line in std::mem::take(&mut self.pasted) {
                    send(format!("{}{line}\n", self.prefix).into_bytes());
                    self.history.add(line);
                }
            }
            Key::None => {}
            _ => self.pasted.clear(),
        }
    }

    /// A key while something is looked for; returns whether it was for that.
    fn look(&mut self, key: Key) -> bool {
        let Some((text, skipped)) = &mut self.search else {
            if key == Key::Search {
                self.search = Some((String::new(), 0));
                return true;
            }
            return false;
        };
        match key {
            Key::Edit(InputRequest::InsertChar(character)) => {
                text.push(character);
                *skipped = 0;
            }
            Key::Edit(InputRequest::DeletePrevChar) => {
                text.pop();
                *skipped = 0;
            }
            Key::Search => *skipped += 1,
            Key::Leave => {
                self.search = None;
                self.input.reset();
                return true;
            }
            // The line that was found is the one being written from here on.
            _ => {
                self.search = None;
                return false;
            }
        }
        let found = self.history.find(text, *skipped).unwrap_or_default();
        self.input = Input::new(found.to_owned());
        true
    }

    /// Does what a key says; returns whether the conversation goes on.
    fn press(&mut self, key: Key, send: &mut dyn FnMut(Vec<u8>)) -> Result<bool, Failure> {
        let always = matches!(key, Key::Interrupt | Key::Suspend | Key::ClearScreen);
        if !self.pasted.is_empty() && !always {
            self.answer(key, send);
            return Ok(true);
        }
        if !always && self.look(key) {
            return Ok(true);
        }
        match key {
            Key::Edit(request) => {
                self.input.handle(request);
            }
            Key::Paste => self.paste = Some(Vec::new()),
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
            Key::Search | Key::Leave | Key::None => {}
        }
        Ok(true)
    }

    /// Says something of this program's own.
    pub(super) fn tell(&self, words: &str) -> Result<(), Failure> {
        self.print(&format!("* {}\n", settings::printable(words))).map_err(unusable)
    }

    /// Whether the user has said goodbye.
    pub(super) fn has_left(&self) -> bool {
        self.left
    }

    /// Gives the terminal back. What was typed and not sent stays on the screen.
    pub(super) fn leave(&mut self) {
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
        while self.take_paste() {
            let Some((key, length)) = Key::first(&self.keys) else { break };
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
        self.print_if_any(&self.look.of(&lines))
    }

    fn finish(&mut self) -> Result<(), Failure> {
        let rest = self.lines.finish();
        self.print_if_any(&self.look.of(&rest))
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
        let off = NO_PASTE_MODE.as_bytes();
        // SAFETY: bytes and their number; the call is async-signal-safe.
        unsafe { libc::write(libc::STDOUT_FILENO, off.as_ptr().cast(), off.len()) };
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
        let _ = write(PASTE_MODE);
        Ok(Self { original })
    }

    fn leave(&self) {
        let _ = write(NO_PASTE_MODE);
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
}
