//! Clients that come, ask and leave, several at a time and one after the other, so that a server is at
//! work while something is done to it.

use super::client::{Client, wait_for};
use super::exchange::Answer;
use super::record::excerpt;
use super::server::Server;
use crate::stop::{Outcome, Step, Stop, fail};

/// The clients that are under way, and how many have been served.
#[derive(Debug)]
pub struct Load<'s> {
    server: &'s Server,
    /// What is done to the server meanwhile, for the failure.
    during: &'s str,
    at_once: usize,
    under_way: Vec<(Client, Vec<u8>)>,
    served: usize,
}

impl Server {
    /// A load of `at_once` clients at a time, or as many as the server serves, while `during`.
    pub fn load<'s>(&'s self, at_once: usize, during: &'s str) -> Load<'s> {
        let most = self.world.orders.target.manifest.wire.clients;
        let at_once = most.map_or(at_once, |most| at_once.min(usize::from(most.get())));
        Load { server: self, during, at_once, under_way: Vec::new(), served: 0 }
    }
}

impl Load<'_> {
    /// How many clients have been served.
    pub fn served(&self) -> usize {
        self.served
    }

    /// Lets new clients come in the places of those that have left, and waits until one more is
    /// served. Fails when one is not.
    pub fn go_on(&mut self) -> Outcome {
        self.server.world.act();
        while self.under_way.len() < self.at_once {
            let name = format!("client {}", self.served + self.under_way.len() + 1);
            let come = self.server.enter_anyhow(&name, self.server.address());
            let come = come.and_then(|mut client| Ok((client.start_barrier()?, client)));
            match come {
                Ok((token, client)) => self.under_way.push((client, token)),
                Err(Stop::Fail(failure)) => return self.lost(&name, &failure.actual),
                Err(other) => return Err(other),
            }
        }
        self.take_answers()
    }

    /// Waits for those that are under way.
    pub fn finish(&mut self) -> Outcome {
        while !self.under_way.is_empty() {
            self.take_answers()?;
        }
        Ok(())
    }

    fn take_answers(&mut self) -> Outcome {
        let patience = self.server.world.patience();
        let tokens: Vec<Vec<u8>> = self.under_way.iter().map(|(_, token)| token.clone()).collect();
        let mut clients: Vec<&mut Client> =
            self.under_way.iter_mut().map(|(client, _)| client).collect();
        let over = |client: &Client, token: &[u8]| {
            client.ended.is_some() || client.answer(token) != Answer::Missing
        };
        wait_for(&mut clients, patience, |clients| {
            clients.iter().zip(&tokens).any(|(client, token)| over(client, token))
        })?;
        let (done, left): (Vec<_>, Vec<_>) = std::mem::take(&mut self.under_way)
            .into_iter()
            .partition(|(client, token)| over(client, token));
        self.under_way = left;
        if done.is_empty() {
            return self.lost("a client", &format!("no answer within {patience:.1?}"));
        }
        for (client, token) in done {
            match (client.answer(&token), client.ended) {
                (Answer::Right(_), _) => self.served += 1,
                (Answer::Wrong(what), _) => return self.lost(&client.name, &what),
                (Answer::Missing, how) => {
                    let heard = match client.unread() {
                        [] => "nothing".to_owned(),
                        bytes => excerpt(bytes),
                    };
                    let how = how.unwrap_or("it is silent");
                    return self.lost(&client.name, &format!("{how}; it said {heard}"));
                }
            }
        }
        Ok(())
    }

    fn lost<T>(&self, name: &str, what: &str) -> Step<T> {
        fail(
            format!("every client is answered {}", self.during),
            format!("{name} is not, after {} that were: {what}", self.served),
        )
    }
}
