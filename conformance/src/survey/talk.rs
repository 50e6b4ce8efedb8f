//! What a server says first and what it answers, found out by trying.

use std::io::{ErrorKind, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::time::{Duration, Instant};

use serde::{Deserialize, Serialize};

/// What a server was found to speak.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Spoken {
    /// What it says first: what two greetings have in common.
    pub greeting: Option<Vec<u8>>,
    /// How it answers; none when it answers nothing that was tried.
    pub answer: Option<Answer>,
}

/// How a server answers.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum Answer {
    /// What one client says, others hear; whether it hears itself, and whether a NUL ends a message.
    Chat { echo: bool, nul: bool },
    /// What is said comes back.
    Echo,
    /// HTTP, with the status of `GET /`; whether a connection can be asked again.
    Http { status: u16, again: bool },
    /// A line has an answer: what is always the same of it, or the word of the request; and whether a
    /// connection can be asked again, as far as it stays open.
    Line { crlf: bool, response: Vec<u8>, holds_token: bool, again: Option<bool> },
}

/// How long a server may take for an answer that may never come.
const A_MOMENT: Duration = Duration::from_millis(700);

/// One connection that is listened to.
struct Line {
    stream: TcpStream,
    ended: bool,
}

impl Line {
    fn open(at: SocketAddr) -> std::io::Result<Self> {
        let stream = TcpStream::connect_timeout(&at, Duration::from_secs(5))?;
        stream.set_nodelay(true)?;
        Ok(Self { stream, ended: false })
    }

    /// All that comes until nothing has come for `quiet`, or `enough` holds.
    fn hear(&mut self, quiet: Duration, enough: impl Fn(&[u8]) -> bool) -> Vec<u8> {
        const MOST: usize = 1 << 20;
        let mut heard = Vec::new();
        let mut buffer = [0; 16 * 1024];
        let mut last = Instant::now();
        while !self.ended && !enough(&heard) && heard.len() < MOST {
            let Some(left) = quiet.checked_sub(last.elapsed()).filter(|left| !left.is_zero())
            else {
                break;
            };
            let _ = self.stream.set_read_timeout(Some(left));
            match self.stream.read(&mut buffer) {
                Ok(0) => self.ended = true,
                Ok(count) => {
                    heard.extend_from_slice(&buffer[..count]);
                    last = Instant::now();
                }
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(error)
                    if matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut) => {}
                Err(_) => self.ended = true,
            }
        }
        heard
    }

    fn say(&mut self, bytes: &[u8]) {
        if self.stream.write_all(bytes).is_err() {
            self.ended = true;
        }
    }
}

/// Finds out what the server at `at` speaks. `slowness` lengthens what is waited for.
pub(super) fn talk(at: SocketAddr, slowness: f64) -> std::io::Result<Spoken> {
    let quiet = A_MOMENT.mul_f64(slowness.clamp(1.0, 10.0));
    let first = Line::open(at)?.hear(quiet, |_| false);
    let greeting = match first.is_empty() {
        true => None,
        false => {
            let second = Line::open(at)?.hear(quiet, |heard| heard.len() >= first.len());
            Some(common(&first, &second)).filter(|common| !common.is_empty())
        }
    };
    let greeted = || -> std::io::Result<Line> {
        let mut line = Line::open(at)?;
        if let Some(greeting) = &greeting {
            line.hear(quiet, |heard| heard.len() > greeting.len() && heard.ends_with(b"\n"));
        }
        Ok(line)
    };
    for crlf in [false, true] {
        if let Some(answer) = to_a_line(&greeted, crlf, quiet)? {
            return Ok(Spoken { greeting, answer: Some(answer) });
        }
    }
    Ok(Spoken { answer: to_get(at, quiet)?, greeting })
}

/// How many clients are served at a time, if that is fewer than `most`: so many are in and say nothing,
/// and one more has no answer.
pub(super) fn places(
    at: SocketAddr,
    spoken: &Spoken,
    most: u16,
    slowness: f64,
) -> std::io::Result<Option<u16>> {
    let quiet = A_MOMENT.mul_f64(slowness.clamp(1.0, 10.0));
    let Some(answer) = &spoken.answer else { return Ok(None) };
    let request = match answer {
        Answer::Http { .. } => get(at, "close"),
        Answer::Line { crlf: true, .. } => "fp4d6w\r\n".into(),
        _ => "fp4d6w\n".into(),
    };
    let mut silent = Vec::new();
    while silent.len() < usize::from(most) {
        let mut line = Line::open(at)?;
        if let Some(greeting) = &spoken.greeting {
            line.hear(quiet, |heard| heard.len() >= greeting.len());
        }
        line.say(request.as_bytes());
        if line.hear(quiet * 3, |heard| heard.ends_with(b"\n")).is_empty() {
            return Ok(Some(silent.len() as u16));
        }
        drop(line);
        // One by one where it matters, then in larger steps.
        for _ in 0..(silent.len() / 8).max(1) {
            silent.push(Line::open(at)?);
        }
    }
    Ok(None)
}

/// `GET /`.
fn get(at: SocketAddr, connection: &str) -> String {
    format!("GET / HTTP/1.1\r\nHost: {at}\r\nConnection: {connection}\r\n\r\n")
}

/// What comes of a line that one of two clients says.
fn to_a_line(
    greeted: &dyn Fn() -> std::io::Result<Line>,
    crlf: bool,
    quiet: Duration,
) -> std::io::Result<Option<Answer>> {
    let ending = if crlf { "\r\n" } else { "\n" };
    let ask = |line: &mut Line, word: &str| -> Vec<u8> {
        let said = format!("{word}{ending}");
        line.say(said.as_bytes());
        line.hear(quiet, |heard| heard.ends_with(b"\n"))
    };
    let (mut speaker, mut other) = (greeted()?, greeted()?);
    let word = "fp1a7x";
    let heard = ask(&mut speaker, word);
    let by_other = other.hear(quiet / 2, |heard| heard.len() > word.len());
    let holds = |bytes: &[u8], word: &str| {
        bytes.windows(word.len()).any(|window| window == word.as_bytes())
    };
    if holds(&by_other, word) {
        let nul = by_other.ends_with(b"\0");
        return Ok(Some(Answer::Chat { echo: holds(&heard, word), nul }));
    }
    if heard == format!("{word}{ending}").as_bytes() {
        return Ok(Some(Answer::Echo));
    }
    if heard.is_empty() || heard.starts_with(b"HTTP/") || heard.starts_with(b"<") {
        return Ok(None);
    }
    let again = match speaker.ended {
        true => None,
        false => Some(!ask(&mut speaker, "fp2b8y").is_empty()),
    };
    let word = "fp3c9z";
    let second = ask(&mut greeted()?, word);
    let holds_token = holds(&second, word);
    let response = match holds_token {
        true => Vec::new(),
        false => common(&heard, &second),
    };
    let is_known = holds_token || !response.is_empty();
    Ok(is_known.then_some(Answer::Line { crlf, response, holds_token, again }))
}

/// What comes of `GET /`.
fn to_get(at: SocketAddr, quiet: Duration) -> std::io::Result<Option<Answer>> {
    let request = get(at, "keep-alive");
    let mut line = Line::open(at)?;
    line.say(request.as_bytes());
    let heard = line.hear(quiet * 2, |_| false);
    let status = |heard: &[u8]| -> Option<u16> {
        let text = String::from_utf8_lossy(heard.strip_prefix(b"HTTP/1.")?).into_owned();
        text.split_ascii_whitespace().nth(1)?.parse().ok()
    };
    let Some(status_of_first) = status(&heard) else { return Ok(None) };
    let again = !line.ended && {
        line.say(request.as_bytes());
        status(&line.hear(quiet * 2, |heard| heard.len() > 12)).is_some()
    };
    Ok(Some(Answer::Http { status: status_of_first, again }))
}

/// What two texts begin with, up to the end of the line, and no more than tells them from others.
fn common(first: &[u8], second: &[u8]) -> Vec<u8> {
    const MOST: usize = 40;
    let same = first.iter().zip(second).take_while(|(a, b)| a == b);
    let same: Vec<u8> = same
        .map(|(byte, _)| *byte)
        .take_while(|byte| *byte != b'\r' && *byte != b'\n')
        .take(MOST)
        .collect();
    // A number that may be another one tomorrow is no part of it.
    let words =
        same.len() < first.len().min(MOST) && !matches!(first.get(same.len()), Some(b'\r' | b'\n'));
    match (words, same.iter().rposition(|byte| *byte == b' ')) {
        (true, Some(end)) => same[..end].to_vec(),
        _ => same,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_greetings_have_in_common_is_whole_words() {
        assert_eq!(common(b"220 host FTP\r\n", b"220 host FTP\r\n"), b"220 host FTP");
        assert_eq!(common(b"220 at 10:01:17\r\n", b"220 at 10:01:18\r\n"), b"220 at");
        assert_eq!(common(b"abc", b"xyz"), b"");
    }
}
