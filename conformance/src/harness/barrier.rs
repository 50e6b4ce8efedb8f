//! Barriers: how a client knows that the server has done what it did for it before. Where speakers
//! do not hear themselves, a witness hears them.

use std::rc::Rc;
use std::time::{Duration, Instant};

use super::client::{Client, Witness, position, wait_for};
use super::exchange::Answer;
use super::record::excerpt;
use super::world::{SERVES, WAKES};
use crate::stop::{Outcome, Step, covered_by, fail};

/// What a barrier line begins with. Barriers are part of the chat like any other line; readers of
/// lines pass over them.
pub(super) const BARRIER: &[u8] = b"=barrier ";

/// Whether a line is part of a barrier, which may come at any time where speakers do not hear
/// themselves.
pub(super) fn is_barrier(line: &[u8]) -> bool {
    line.starts_with(BARRIER)
}

impl Client {
    /// Whether this client has just said `bytes` and will not hear them itself: then the witness,
    /// a client that says nothing, has to hear them, and they are done with.
    ///
    /// Where speakers hear themselves, no. None of the requirements need know the difference.
    pub(super) fn witnessed(&mut self, bytes: &[u8]) -> Step<bool> {
        let Some(server) = self.deaf_to_itself.clone() else { return Ok(false) };
        let Some(at) = position(&self.said, bytes) else { return Ok(false) };
        self.said.drain(at..at + bytes.len());
        let patience = self.world.patience();
        let mut witness = server.client.borrow_mut();
        let Some(witness) = witness.as_mut() else { return Ok(false) };
        wait_for(&mut [self, witness], patience, |clients| {
            position(clients[1].unread(), bytes).is_some() || clients[1].ended.is_some()
        })?;
        match position(witness.unread(), bytes) {
            Some(at) => {
                let begin = witness.cursor + at;
                witness.inbox.drain(begin..begin + bytes.len());
                witness.forgotten += bytes.len();
                Ok(true)
            }
            None => fail(
                format!("another client hears {} of {}", excerpt(bytes), self.name),
                match witness.ended {
                    Some(how) => how.to_owned(),
                    None => format!("it does not within {patience:.1?}"),
                },
            ),
        }
    }

    /// How many whole lines of its own this client will not hear; they are done with.
    pub(super) fn own_lines(&mut self) -> Vec<Vec<u8>> {
        let end = self.said.iter().rposition(|&byte| byte == b'\n').map_or(0, |at| at + 1);
        let lines: Vec<u8> = self.said.drain(..end).collect();
        lines
            .split_inclusive(|&byte| byte == b'\n')
            .filter(|line| !is_barrier(line))
            .map(<[u8]>::to_vec)
            .collect()
    }

    /// Waits until the witness hears this client and this client hears the witness, which is let in
    /// first if need be.
    pub(super) fn meet_witness(&mut self, server: &Rc<Witness>, token: &[u8]) -> Step<bool> {
        /// How long after an unheard word it is said again: whoever joins may miss the first.
        const AGAIN: Duration = Duration::from_millis(10);
        if let Some(at) = position(&self.said, token) {
            self.said.drain(at..at + token.len());
        }
        let patience = self.world.patience();
        let deadline = Instant::now() + patience;
        let mut slot = server.client.borrow_mut();
        if slot.is_none() {
            let mut fresh = Self::connect(&self.world, "witness", server.address, None)?;
            if !server.key.is_empty() {
                fresh.deliver(&server.key)?;
            }
            *slot = Some(fresh);
        }
        let Some(witness) = slot.as_mut() else { return Ok(false) };
        let from_witness = witness.say_barrier();
        loop {
            let met = |clients: &[&mut Self]| {
                clients[0].find(&from_witness).is_some() && clients[1].find(token).is_some()
            };
            let over = |clients: &[&mut Self]| clients.iter().any(|client| client.ended.is_some());
            let done =
                wait_for(&mut [self, witness], AGAIN, |clients| met(clients) || over(clients))?;
            if let (Some(end), Some(_)) = (self.find(&from_witness), witness.find(token)) {
                self.cursor = end;
                return Ok(true);
            }
            if done || Instant::now() >= deadline {
                return Ok(false);
            }
            if self.find(&from_witness).is_none() {
                witness.put(&from_witness);
            }
            if witness.find(token).is_none() {
                self.put(token);
                self.said.truncate(self.said.len() - token.len());
            }
        }
    }

    /// Has the server serve this client once more, in whatever it speaks: whatever it did for it
    /// before is now done. What was heard meanwhile is passed over.
    ///
    /// On a wire of lines that is a line which nobody has said before and which comes back; else a
    /// request and its answer, on a new connection where one has no second request. Where nothing can
    /// be asked again, the connection is still open and another one is served.
    pub fn barrier(&mut self) -> Outcome {
        let world = self.world.clone();
        let served = self.let_in();
        world.step(SERVES, served)
    }

    /// As [`barrier`](Self::barrier), for whoever says himself what a failure means.
    pub(super) fn let_in(&mut self) -> Outcome {
        if !self.wire().has_lines() {
            return self.is_answered();
        }
        self.is_greeted()?;
        let token = self.say_barrier();
        self.await_barrier(&token)
    }

    /// The first half of a [`barrier`](Self::barrier) on a new connection; returns what to wait for.
    pub fn start_barrier(&mut self) -> Step<Vec<u8>> {
        if !self.wire().has_lines() {
            return self.ask();
        }
        self.await_greeting()?;
        Ok(self.say_barrier())
    }

    pub(super) fn say_barrier(&mut self) -> Vec<u8> {
        let mut token = BARRIER.to_vec();
        token.extend_from_slice(format!("{} of {}=\n", self.world.serial(), self.name).as_bytes());
        self.put(&token);
        token
    }

    /// The second half.
    pub(super) fn await_barrier(&mut self, token: &[u8]) -> Outcome {
        let patience = self.world.patience();
        if let Some(server) = self.deaf_to_itself.clone() {
            return match self.meet_witness(&server, token)? {
                true => Ok(()),
                false => fail(
                    format!("{} is let in, hears others and is heard", self.name),
                    match self.ended {
                        Some(how) => how.to_owned(),
                        None => format!("not both within {patience:.1?}"),
                    },
                ),
            };
        }
        wait_for(&mut [self], patience, |clients| {
            clients[0].find(token).is_some() || clients[0].ended.is_some()
        })?;
        match self.find(token) {
            Some(end) => {
                self.cursor = end;
                Ok(())
            }
            None => self.not_served(token, patience),
        }
    }

    /// That this client did not hear `token`, and whether it does once it says something more: then
    /// nothing was lost but a wake-up.
    fn not_served(&mut self, token: &[u8], patience: Duration) -> Outcome {
        let expected = format!("{} is let in and hears what it says", self.name);
        if let Some(how) = self.ended {
            return fail(expected, format!("{how} (after {} bytes)", self.inbox.len()));
        }
        let had = self.inbox.len() - self.cursor;
        let heard = excerpt(&self.inbox[self.cursor..]);
        let actual = format!(
            "{} does not hear it within {patience:.1?}; so far it heard {heard}",
            self.name
        );
        let failed = fail(expected.clone(), actual);
        self.say_barrier();
        let a_moment = self.world.scaled(Duration::from_secs(2));
        wait_for(&mut [self], a_moment, |clients| {
            clients[0].find(token).is_some() || clients[0].ended.is_some()
        })?;
        if self.find(token).is_none() {
            let more = self.inbox.len() - self.cursor - had;
            if !(1..token.len()).contains(&had) || more == 0 {
                return failed;
            }
            return fail(
                expected,
                format!(
                    "{} hears {had} of the {} bytes within {patience:.1?}, and {more} more when \
                     something else is said: a read or a write was cut short and not gone on with",
                    self.name,
                    token.len()
                ),
            );
        }
        fail(
            expected,
            format!(
                "{} hears it only when something more is said: nothing within {patience:.1?} \
                 without further traffic",
                self.name
            ),
        )
        .map_err(|stop| covered_by(stop, WAKES))
    }

    /// As [`barrier`](Self::barrier), but returns the whole lines that were heard meanwhile.
    pub fn lines_until_barrier(&mut self) -> Step<Vec<Vec<u8>>> {
        self.world.act();
        let begin = self.cursor;
        self.barrier()?;
        let lines = self.inbox[begin..self.cursor].split_inclusive(|&byte| byte == b'\n');
        Ok(lines.filter(|line| !is_barrier(line)).map(<[u8]>::to_vec).collect())
    }

    /// Whether this client is let in: it hears the barrier that it started, or is closed.
    pub fn is_let_in(&mut self, token: &[u8]) -> Step<bool> {
        self.world.act();
        let patience = self.world.patience();
        if let Some(server) = self.deaf_to_itself.clone() {
            return self.meet_witness(&server, token);
        }
        if !self.wire().has_lines() {
            self.wait_for_answer(token)?;
            return match (self.answer(token), self.ended) {
                (Answer::Right(end), _) => {
                    self.take_answer(end);
                    Ok(true)
                }
                (Answer::Wrong(_), _) | (Answer::Missing, Some(_)) => Ok(false),
                (Answer::Missing, None) => fail(
                    format!("{} is answered or closed", self.name),
                    format!("neither within {patience:.1?}: it is left connected to nobody"),
                ),
            };
        }
        wait_for(&mut [self], patience, |clients| {
            clients[0].find(token).is_some() || clients[0].ended.is_some()
        })?;
        if self.find(token).is_none() && self.ended.is_none() {
            return fail(
                format!("{} is let in or closed", self.name),
                format!("neither within {patience:.1?}: it is left connected to nobody"),
            );
        }
        Ok(self.find(token).is_some())
    }
}
