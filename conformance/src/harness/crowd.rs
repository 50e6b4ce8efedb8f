//! Many clients at once, pumped together, so that none of them holds the others up unless a check
//! wants that.

use std::collections::HashMap;
use std::time::Duration;

use super::barrier::is_barrier;
use super::client::{Client, wait_for};
use super::record::excerpt;
use super::server::Server;
use super::world::SERVES;
use crate::stop::{Outcome, Step, Stop, fail};
use crate::subject::{Again, Claim};

/// Clients that have all been let in and have heard the same last line.
#[derive(Debug)]
pub struct Crowd {
    /// The clients.
    pub clients: Vec<Client>,
}

impl Server {
    /// Many clients that have been let in, all at once.
    pub fn crowd(&self, size: usize) -> Step<Crowd> {
        self.world.needs_clients(size)?;
        let joined = Crowd::join(self, size);
        self.world.step(SERVES, joined)
    }
}

impl Crowd {
    fn join(server: &Server, size: usize) -> Step<Self> {
        // One after the other: what a client says while many others join may be further back in
        // the log than its replay begins, and then it does not hear itself.
        let closes = server.world.orders.target.manifest.wire.again() == Again::Reconnect;
        let clients = (0..size)
            .map(|number| {
                let name = format!("client-{number}");
                // Where a connection ends with its answer one is enough to show that there are any.
                if !closes || number == 0 {
                    return server.join(&name);
                }
                let mut client = server.enter_anyhow(&name, server.address())?;
                client.is_greeted().map(|()| client)
            })
            .collect::<Result<_, _>>()?;
        let mut crowd = Self { clients };
        crowd.level()?;
        Ok(crowd)
    }

    /// Brings every client to the same point: one says a line, and all wait for it.
    pub fn level(&mut self) -> Outcome {
        let Some(first) = self.clients.first_mut() else { return Ok(()) };
        let patience = first.world.patience();
        let claims = first.world.orders.target.claims();
        if !claims.contains(&Claim::Broadcast) || !claims.contains(&Claim::Echo) {
            // Each was served when it joined; what was said meanwhile is passed over.
            if !claims.contains(&Claim::Again) {
                return Ok(());
            }
            for client in &mut self.clients {
                client.barrier()?;
                client.pass_all();
            }
            return Ok(());
        }
        let token = first.say_barrier();
        let all = self
            .wait(patience, |clients| clients.iter().all(|client| client.find(&token).is_some()))?;
        if !all {
            let deaf: Vec<&str> = self
                .clients
                .iter()
                .filter(|client| client.find(&token).is_none())
                .map(|client| client.name.as_str())
                .collect();
            return fail(
                "every client hears a line that one of them says",
                format!(
                    "after {patience:.1?} without further traffic {} have not heard it",
                    deaf.join(", ")
                ),
            );
        }
        for client in &mut self.clients {
            if let Some(end) = client.find(&token) {
                client.pass_to(end);
            }
        }
        Ok(())
    }

    /// Sends and receives for all until `done`.
    pub fn wait(
        &mut self,
        limit: Duration,
        done: impl FnMut(&[&mut Client]) -> bool,
    ) -> Step<bool> {
        let mut clients: Vec<&mut Client> = self.clients.iter_mut().collect();
        wait_for(&mut clients, limit, done)
    }

    /// Every client hears exactly `all` more lines, less its own number in `own`; returns them per
    /// client.
    ///
    /// Patience starts anew whenever anyone hears something: a long conversation may take its time,
    /// silence may not.
    fn hear_lines(&mut self, all: usize, own: &[usize]) -> Step<Vec<Vec<Vec<u8>>>> {
        let Some(first) = self.clients.first() else { return Ok(Vec::new()) };
        let patience = first.world.patience();
        let complete = |client: &Client, own: usize| client.unread_lines() + own >= all;
        loop {
            let before: usize = self.clients.iter().map(Client::received).sum();
            let unsent_before: usize =
                self.clients.iter().map(|c| usize::from(!c.all_sent())).sum();
            let all = self.wait(patience, |clients| {
                clients
                    .iter()
                    .zip(own)
                    .all(|(client, &own)| complete(client, own) || client.is_over().is_some())
            })?;
            let progress = self.clients.iter().map(Client::received).sum::<usize>() != before
                || self.clients.iter().map(|c| usize::from(!c.all_sent())).sum::<usize>()
                    != unsent_before;
            if all || !progress {
                break;
            }
        }
        let mut heard = Vec::with_capacity(self.clients.len());
        for (client, own) in self.clients.iter_mut().zip(own) {
            let count = all - own;
            let lines: Vec<Vec<u8>> = client
                .unread()
                .split_inclusive(|&byte| byte == b'\n')
                .filter(|line| !is_barrier(line))
                .map(<[u8]>::to_vec)
                .collect();
            let whole = lines.iter().filter(|line| line.ends_with(b"\n")).count();
            if whole != count || lines.len() != count {
                let then = client.is_over().map(|how| format!("; then {how}")).unwrap_or_default();
                let heard = match lines.as_slice() {
                    [] => "none of them".to_owned(),
                    [.., last] if last.ends_with(b"\n") => {
                        format!("{whole}, the last of which is {}", excerpt(last))
                    }
                    [.., rest] => format!("{whole}, and a part of another: {}", excerpt(rest)),
                };
                return fail(
                    format!("{} hears exactly {count} lines", client.name),
                    format!("it hears {heard}{then}"),
                );
            }
            client.pass_all();
            heard.push(lines);
        }
        Ok(heard)
    }

    /// Every client hears every one of `expected` once, and all hear them in the same order.
    /// `expected` holds whole lines with their newlines.
    pub fn hear_everything_in_one_order(&mut self, expected: &[Vec<u8>]) -> Outcome {
        let own: Vec<Vec<Vec<u8>>> = self.clients.iter_mut().map(Client::own_lines).collect();
        let less: Vec<usize> = own.iter().map(Vec::len).collect();
        let heard = self.hear_lines(expected.len(), &less)?;
        let mut wanted: HashMap<&[u8], isize> = HashMap::new();
        for line in expected {
            *wanted.entry(line).or_default() += 1;
        }
        for ((client, lines), own) in self.clients.iter().zip(&heard).zip(&own) {
            let mut count = wanted.clone();
            for line in own {
                *count.entry(line).or_default() -= 1;
            }
            for line in lines {
                match count.get_mut(line.as_slice()) {
                    Some(left) if *left > 0 => *left -= 1,
                    Some(_) => {
                        return fail(
                            format!("{} hears every line once", client.name),
                            format!("it hears {} again", excerpt(line)),
                        );
                    }
                    None => {
                        return fail(
                            format!("{} hears only what was said", client.name),
                            format!("it hears {}", excerpt(line)),
                        );
                    }
                }
            }
        }
        if heard.is_empty() {
            return Err(Stop::Error("a crowd of nobody".into()));
        }
        for number in 1..self.clients.len() {
            // Only of what both hear can the order be compared.
            let others = |of: usize, than: usize| -> Vec<&Vec<u8>> {
                heard[of].iter().filter(|line| !own[than].contains(line)).collect()
            };
            let (firsts, lines) = (others(0, number), others(number, 0));
            if let Some(at) = (0..lines.len().min(firsts.len())).find(|&at| lines[at] != firsts[at])
            {
                return fail(
                    "all clients hear the lines in the same order",
                    format!(
                        "line {at} is {} for {} and {} for {}",
                        excerpt(firsts[at]),
                        self.clients[0].name,
                        excerpt(lines[at]),
                        self.clients[number].name
                    ),
                );
            }
        }
        Ok(())
    }
}
