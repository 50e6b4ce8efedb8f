//! How a server says that it listens: words in its output, or lines on a descriptor.

use std::ffi::OsString;
use std::fs::File;
use std::io::Read;
use std::net::SocketAddr;
use std::os::fd::{AsFd, OwnedFd};
use std::time::Instant;

use nix::errno::Errno;
use nix::poll::{PollFd, PollFlags, poll};

use super::words::fill;
use crate::stop::{Step, Stop, fail};
use crate::subject::{Template, Values};

/// An address and port, with the scope as a number or as an interface's name (RFC 4007, 11).
pub(super) fn address(text: &str) -> Option<SocketAddr> {
    let plain = || -> Option<SocketAddr> {
        let (before, rest) = text.split_once('%')?;
        let (name, after) = rest.split_once(']')?;
        let index = nix::net::if_::if_nametoindex(name).ok()?;
        format!("{before}%{index}]{after}").parse().ok()
    };
    text.parse().ok().or_else(plain)
}

/// What a ready line tells.
#[derive(Debug, PartialEq)]
pub(super) enum Said {
    Nothing,
    Port(u16),
    Address(SocketAddr),
}

/// Where `words` end in `line`, not as a part of longer words: `ready` is not in `already`.
fn word_in(line: &str, words: &str, whole: bool) -> Option<usize> {
    let is_letter = |c: Option<char>| c.is_some_and(char::is_alphanumeric);
    line.match_indices(words).map(|(at, _)| (at, at + words.len())).find_map(|(at, end)| {
        let begins = !is_letter(line[..at].chars().next_back()) || !is_letter(words.chars().next());
        let ends = !is_letter(line[end..].chars().next()) || !is_letter(words.chars().next_back());
        (begins && (ends || !whole)).then_some(end)
    })
}

/// What `line` tells, if it is the one.
pub(super) fn said_in(template: &Template, line: &str) -> Step<Option<Said>> {
    const MARK: &str = "\u{1}";
    let values: Values<'_> = ["port", "address"].map(|name| (name, OsString::from(MARK))).into();
    let text = fill(template, &values)?.to_string_lossy().into_owned();
    let Some((before, after)) = text.split_once(MARK) else {
        let found = word_in(line, &text, true);
        return Ok(found.map(|_| Said::Nothing));
    };
    let Some(begin) = word_in(line, before, false) else { return Ok(None) };
    let rest = &line[begin..];
    let end = match after {
        "" => rest.find(char::is_whitespace).unwrap_or(rest.len()),
        after => match rest.find(after) {
            Some(end) => end,
            None => return Ok(None),
        },
    };
    let word = &rest[..end];
    let said = if template.mentions("port") {
        word.parse().ok().filter(|port| *port != 0).map(Said::Port)
    } else {
        address(word).map(Said::Address)
    };
    match said {
        Some(said) => Ok(Some(said)),
        None => Err(Stop::Error(format!(
            "the target's ready line says `{}` where its {} should be: {}",
            word.escape_debug(),
            if template.mentions("port") { "port" } else { "address" },
            line.escape_debug()
        ))),
    }
}

/// Reads what the server writes to its ready descriptor, until it is closed.
pub(super) fn read_announcement(ready: OwnedFd, deadline: Instant) -> Step<String> {
    let mut ready = File::from(ready);
    let mut text = Vec::new();
    loop {
        let left = deadline.saturating_duration_since(Instant::now());
        let milliseconds = u16::try_from(left.as_millis()).unwrap_or(u16::MAX);
        let mut fds = [PollFd::new(ready.as_fd(), PollFlags::POLLIN)];
        match poll(&mut fds, milliseconds) {
            Ok(0) => {
                return fail(
                    "the server says that it listens, or ends",
                    "it does neither within its time",
                );
            }
            Err(Errno::EINTR) => continue,
            Err(errno) => return Err(Stop::Error(format!("poll: {}", errno.desc()))),
            Ok(_) => {}
        }
        let mut buffer = [0; 1024];
        match ready.read(&mut buffer) {
            Ok(0) => return Ok(String::from_utf8_lossy(&text).into_owned()),
            Ok(count) => text.extend_from_slice(&buffer[..count]),
            Err(error) => return Err(Stop::Error(format!("ready pipe: {error}"))),
        }
    }
}

#[cfg(test)]
mod tests {
    use rstest::rstest;

    use super::*;

    fn template(text: &str) -> Template {
        Template::try_from(text.to_owned()).unwrap()
    }

    #[rstest]
    #[case("ready", "I am ready now", Some(Said::Nothing))]
    #[case("ready", "not yet", None)]
    #[case("ready", "Address already in use", None)]
    #[case("ready", "readying", None)]
    #[case("port {port}", "listening on port 7722", Some(Said::Port(7722)))]
    #[case("port {port}", "listening on port 7722 of all", Some(Said::Port(7722)))]
    #[case("({port})", "at (80) now", Some(Said::Port(80)))]
    #[case("({port})", "at (80", None)]
    #[case("on {address}", "on 127.0.0.1:80", Some(Said::Address(([127, 0, 0, 1], 80).into())))]
    fn ready_lines_are_read(#[case] text: &str, #[case] line: &str, #[case] said: Option<Said>) {
        assert_eq!(said_in(&template(text), line).unwrap(), said);
    }

    #[rstest]
    #[case("port {port}", "port none", "`none` where its port should be")]
    #[case("port {port}", "port 0", "`0` where its port should be")]
    #[case("port {port}", "port 70000", "`70000` where its port should be")]
    #[case("on {address}", "on 7722", "`7722` where its address should be")]
    fn ready_lines_that_are_wrong_say_so(
        #[case] text: &str,
        #[case] line: &str,
        #[case] words: &str,
    ) {
        match said_in(&template(text), line) {
            Err(Stop::Error(message)) => assert!(message.contains(words), "{message}"),
            other => panic!("{other:?}"),
        }
    }
}
