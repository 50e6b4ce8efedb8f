//! What a client expects to hear, compared line by line or byte by byte.

use std::time::{Duration, Instant};

use super::barrier::{BARRIER, is_barrier};
use super::client::{Client, line_of, wait_for};
use super::record::excerpt;
use crate::stop::{Outcome, Step, fail};

impl Client {
    /// Expects `text` as the next line.
    pub fn hears(&mut self, text: &str) -> Outcome {
        self.hears_all(&[text])
    }

    /// Expects these lines, in this order, with none between them.
    pub fn hears_all(&mut self, lines: &[impl AsRef<str>]) -> Outcome {
        self.world.act();
        for (index, expected) in lines.iter().enumerate() {
            let expected = expected.as_ref();
            let name = self.name.clone();
            let wanted = || format!("{name} hears {expected:?} ({} of {})", index + 1, lines.len());
            if self.witnessed(&line_of(expected))? {
                continue;
            }
            let Some(line) = self.next_line(self.world.patience())? else {
                let rest = excerpt(&self.inbox[self.cursor..]);
                return fail(
                    wanted(),
                    match self.ended {
                        Some(how) => how.to_owned(),
                        None => format!(
                            "nothing after {:.1?} without further traffic; unread: {rest}",
                            self.world.patience()
                        ),
                    },
                );
            };
            if line != expected.as_bytes() {
                return fail(wanted(), format!("it hears {}", excerpt(&line)));
            }
        }
        Ok(())
    }

    /// The next line without its newline; none when it doesn't come within `limit`.
    pub fn next_line(&mut self, limit: Duration) -> Step<Option<Vec<u8>>> {
        loop {
            wait_for(&mut [self], limit, |clients| {
                clients[0].unread().contains(&b'\n') || clients[0].ended.is_some()
            })?;
            let Some(length) = self.unread().iter().position(|&byte| byte == b'\n') else {
                return Ok(None);
            };
            let line = self.unread()[..length].to_vec();
            self.cursor += length + 1;
            if !line.starts_with(BARRIER) {
                return Ok(Some(line));
            }
        }
    }

    /// Expects exactly these bytes next, after any barriers of others.
    pub fn hears_bytes(&mut self, expected: &[u8]) -> Outcome {
        self.world.act();
        let patience = self.world.patience();
        if self.witnessed(expected)? {
            return Ok(());
        }
        while !expected.starts_with(BARRIER) {
            wait_for(&mut [self], patience, |clients| {
                let unread = clients[0].unread();
                let undecided = unread.len() < BARRIER.len() && unread.len() < expected.len();
                let barrier = unread.starts_with(BARRIER);
                clients[0].ended.is_some() || !undecided && (!barrier || unread.contains(&b'\n'))
            })?;
            let barrier = self.unread().starts_with(BARRIER);
            match self.unread().iter().position(|&byte| byte == b'\n') {
                Some(end) if barrier => self.cursor += end + 1,
                _ => break,
            }
        }
        wait_for(&mut [self], patience, |clients| {
            clients[0].unread().len() >= expected.len() || clients[0].ended.is_some()
        })?;
        let unread = self.unread();
        let count = unread.len().min(expected.len());
        if unread[..count] != expected[..count] {
            let at = (0..count).find(|&at| unread[at] != expected[at]).unwrap_or(count);
            return fail(
                format!("{} hears {}", self.name, excerpt(expected)),
                format!("byte {at} is {:#04x}, not {:#04x}", unread[at], expected[at]),
            );
        }
        if count < expected.len() {
            return fail(
                format!("{} hears {}", self.name, excerpt(expected)),
                match self.ended {
                    Some(how) => format!("{how} after {count} of them"),
                    None => format!("only {count} of the bytes come within {patience:.1?}"),
                },
            );
        }
        self.cursor += expected.len();
        Ok(())
    }

    /// Expects the server to close the connection, and returns what came before.
    pub fn hears_end(&mut self) -> Step<Vec<u8>> {
        self.world.act();
        let patience = self.world.patience();
        wait_for(&mut [self], patience, |clients| clients[0].ended.is_some())?;
        if self.ended.is_none() {
            return fail(
                format!("the server closes the connection of {}", self.name),
                format!("it is still open after {patience:.1?}"),
            );
        }
        let rest = self.unread().to_vec();
        self.cursor = self.inbox.len();
        Ok(rest)
    }

    /// Whatever the server sends first; nothing if it closes the connection instead. Fails when it
    /// does neither.
    pub fn hears_first(&mut self) -> Step<Vec<u8>> {
        self.world.act();
        let patience = self.world.patience();
        wait_for(&mut [self], patience, |clients| {
            !clients[0].unread().is_empty() || clients[0].ended.is_some()
        })?;
        if self.unread().is_empty() && self.ended.is_none() {
            return fail(
                format!("the server closes the connection of {}", self.name),
                format!("it is still open after {patience:.1?}"),
            );
        }
        let heard = self.unread().to_vec();
        self.pass_all();
        Ok(heard)
    }

    /// How long until the server closes the connection, at most `limit`.
    pub fn time_to_end(&mut self, limit: Duration) -> Step<Option<Duration>> {
        self.world.act();
        let begin = Instant::now();
        wait_for(&mut [self], limit, |clients| clients[0].ended.is_some())?;
        Ok(self.ended.map(|_| begin.elapsed()))
    }

    /// Everything received and not looked at, as it is right now.
    pub fn heard_so_far(&mut self) -> &[u8] {
        self.pump();
        self.unread()
    }

    /// Whether the connection has ended, as far as is known right now.
    pub fn has_ended(&mut self) -> bool {
        self.pump();
        self.ended.is_some()
    }

    /// How many whole lines these are, barriers aside.
    pub(super) fn unread_lines(&self) -> usize {
        let unread = self.unread();
        if self.deaf_to_itself.is_none() {
            return unread.iter().filter(|&&byte| byte == b'\n').count();
        }
        let lines = unread.split_inclusive(|&byte| byte == b'\n');
        lines.filter(|line| line.ends_with(b"\n") && !is_barrier(line)).count()
    }
}
