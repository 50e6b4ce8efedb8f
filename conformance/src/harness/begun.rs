//! A request that is under way: half of it has been sent, and the server has read that.

use super::barrier::BARRIER;
use super::client::Client;
use super::server::Server;
use crate::platform;
use crate::stop::{OrError, Outcome, Step, Stop};
use crate::subject::Kind;

/// The rest of a request, and what its answer holds.
#[derive(Debug)]
pub struct Begun {
    rest: Vec<u8>,
    token: Vec<u8>,
}

impl Server {
    /// A client that has sent the first half of a request, which the server has read.
    pub fn begin(&self, name: &str) -> Step<(Client, Begun)> {
        self.world.act();
        let mut client = self.enter_anyhow(name, self.address())?;
        client.is_greeted()?;
        let (request, token) = client.whole_request()?;
        let (first, rest) = request.split_at(request.len() / 2);
        client.deliver(first)?;
        let own = client.stream.local_addr().or_error("local address")?;
        let at = client.stream.peer_addr().or_error("peer address")?;
        // A server that has not come to it has not begun; where the system does not tell, that it
        // has accepted the connection must do.
        let mut untold = false;
        let read = self.world.wait(self.world.patience(), || match platform::unread(at, own) {
            Ok(left) => Ok((left == Some(0)).then_some(())),
            Err(_) => {
                untold = true;
                Ok(Some(()))
            }
        })?;
        if untold || read.is_none() {
            self.whoever_serves(&mut client)?;
        }
        Ok((client, Begun { rest: rest.to_vec(), token }))
    }
}

impl Client {
    /// Sends the rest of a request, and waits for its answer.
    pub fn complete(&mut self, begun: &Begun) -> Outcome {
        self.deliver(&begun.rest)?;
        match self.wire().has_lines() {
            true => self.await_barrier(&begun.token),
            false => self.await_answer(&begun.token),
        }
    }

    /// A request in one piece, and what tells its answer.
    fn whole_request(&mut self) -> Step<(Vec<u8>, Vec<u8>)> {
        if self.wire().kind == Kind::Greeting {
            return Err(Stop::Unsupported(
                "it takes a request, and the server is known by its greeting alone".into(),
            ));
        }
        let word = format!("fp{}x{}", self.world.serial(), std::process::id());
        if !self.wire().has_lines() {
            return Ok((self.request(&word), word.into_bytes()));
        }
        let mut line = BARRIER.to_vec();
        line.extend_from_slice(format!("{word} of {}=\n", self.name).as_bytes());
        Ok((line.clone(), line))
    }
}
