//! A server's clients: how they come, are let in and are served, and by which of its processes.

use std::net::{Shutdown, SocketAddr};

use super::client::Client;
use super::processes::{Cluster, descends};
use super::server::Server;
use super::world::SERVES;
use crate::platform::{self, Process};
use crate::stop::{OrError, Outcome, Step, Stop, fail};
use crate::subject::{Again, Model};

impl Server {
    /// Connects to its first address, and says nothing yet.
    pub fn connect(&self, name: &str) -> Step<Client> {
        self.connect_to(name, self.address())
    }

    /// As [`connect`](Self::connect), when there is a place: who has just left takes one until its
    /// process is gone, where places are few. There it also waits for its greeting: a place is counted
    /// as taken only when the server has accepted whoever takes it.
    pub fn come(&self, name: &str) -> Step<Client> {
        self.world.act();
        self.awaits_a_place()?;
        let mut client = Client::connect(&self.world, name, self.address(), Some(&self.witness))?;
        if self.world.orders.target.manifest.wire.clients.is_some() {
            client.await_greeting()?;
        }
        Ok(client)
    }

    /// Connects to `address`, and says nothing yet.
    pub fn connect_to(&self, name: &str, address: SocketAddr) -> Step<Client> {
        self.world.act();
        Client::connect(&self.world, name, address, Some(&self.witness))
    }

    /// Connects and sends the key, and waits for nothing.
    pub fn enter(&self, name: &str) -> Step<Client> {
        self.enter_at(name, self.address())
    }

    /// As [`enter`](Self::enter), at `address`.
    pub fn enter_at(&self, name: &str, address: SocketAddr) -> Step<Client> {
        self.world.act();
        self.enter_anyhow(name, address)
    }

    pub(super) fn enter_anyhow(&self, name: &str, address: SocketAddr) -> Step<Client> {
        self.awaits_a_place()?;
        let mut client = Client::connect(&self.world, name, address, Some(&self.witness))?;
        client.key = self.key().to_vec();
        client.send_key()?;
        Ok(client)
    }

    /// A client that has been let in: the server has served it, and it is still connected.
    ///
    /// Where a connection ends with its answer, one before it was served, and this one has still to
    /// ask.
    pub fn join(&self, name: &str) -> Step<Client> {
        let joined = self.join_anyhow(name, self.address());
        self.world.step(SERVES, joined)
    }

    /// As [`join`](Self::join), at `address`.
    pub fn join_at(&self, name: &str, address: SocketAddr) -> Step<Client> {
        self.world.act();
        self.join_anyhow(name, address)
    }

    pub(super) fn join_anyhow(&self, name: &str, address: SocketAddr) -> Step<Client> {
        let before = self.living().ok();
        let mut client = self.enter_anyhow(name, address)?;
        client.let_in()?;
        self.gets_to_know()?;
        if client.wire().again() == Again::Reconnect {
            // A server that has closed its half may wait for the client's: RFC 9112, 9.6.
            client.hangs_up(Shutdown::Both);
            self.lets_go(before)?;
            client.reconnect()?;
            client.is_greeted()?;
            // It has not asked, so only its socket tells whether it is accepted yet.
            let model = self.world.orders.target.manifest.processes.model;
            if model.is_per_client() {
                self.whoever_serves(&mut client).or_else(|stop| match stop {
                    Stop::NotRun(_) => Ok(Cluster::default()),
                    other => Err(other),
                })?;
            }
        }
        Ok(client)
    }

    /// Looks who serves the first few clients, so that those are known when they have gone.
    fn gets_to_know(&self) -> Outcome {
        const FEW: usize = 12;
        if self.world.seen.borrow().len() >= FEW {
            return Ok(());
        }
        match self.processes() {
            // Where nothing tells about processes, nothing is known of them.
            Ok(_) | Err(Stop::NotRun(_)) => Ok(()),
            Err(other) => Err(other),
        }
    }

    /// Where the manifest tells how many places there are: waits, for a while, for a free one.
    fn awaits_a_place(&self) -> Outcome {
        match self.world.orders.target.manifest.wire.clients {
            Some(most) => self.lets_go(Some(self.process_count(usize::from(most.get()) - 1))),
            None => Ok(()),
        }
    }

    /// Waits, for a while, until the process of a client that has gone has gone too.
    fn lets_go(&self, before: Option<usize>) -> Outcome {
        let model = self.world.orders.target.manifest.processes.model;
        let Some(before) = before.filter(|_| model.is_per_client()) else { return Ok(()) };
        self.world
            .wait(self.world.patience(), || Ok((self.living()? <= before).then_some(())))
            .map(drop)
    }

    /// A client that has been let in, with the processes that serve it. Nobody else may join or
    /// leave meanwhile.
    pub fn join_with_cluster(&self, name: &str) -> Step<(Client, Cluster)> {
        if self.witness_is_needed() {
            self.join("first")?;
        }
        let before: Vec<i32> = descends()?.iter().map(|process| process.pid).collect();
        let mut client = self.join(name)?;
        let cluster = match self.world.orders.target.manifest.processes.model {
            model if model.is_per_client() => self.own_processes(model, &client, &before)?,
            _ => self.whoever_serves(&mut client)?,
        };
        self.world.note("check", format!("{name} is served by {cluster}"));
        Ok((client, cluster))
    }

    fn witness_is_needed(&self) -> bool {
        let wire = &self.world.orders.target.manifest.wire;
        wire.has_lines() && !wire.comes_back()
    }

    /// The processes that have come with a client.
    fn own_processes(&self, model: Model, client: &Client, before: &[i32]) -> Step<Cluster> {
        let came = || -> Step<Vec<Process>> {
            let mut fresh = descends()?;
            fresh.retain(|p| !before.contains(&p.pid) && p.state != platform::State::Zombie);
            Ok(fresh)
        };
        // Where a connection is served before it has asked, its process may be under way.
        let fresh = self.world.wait(self.world.patience(), || {
            let fresh = came()?;
            let has_child = fresh.iter().any(|process| process.parent == self.daemon());
            Ok((has_child || model == Model::Clusters).then_some(fresh))
        })?;
        let mut fresh = fresh.unwrap_or_default();
        // Where more have come than a client brings, a helper for all may be among them. It may have
        // the connection open for a moment, as everything has that was forked beside it.
        let usual = self.world.orders.target.measured.per_client;
        if model != Model::Clusters && fresh.len() > usual {
            self.world.wait(self.world.patience() / 10, || {
                fresh = came()?;
                let others = self.leave_helpers_out(client, &mut fresh);
                if fresh.len() > usual {
                    return Ok(None);
                }
                for helper in others {
                    let note = format!("process {helper} has come too, for all clients");
                    self.world.note("check", note);
                }
                Ok(Some(()))
            })?;
        }
        let head = fresh.iter().find(|process| process.parent == self.daemon());
        let sender = match model {
            Model::Clusters => {
                head.and_then(|head| fresh.iter().find(|process| process.parent == head.pid))
            }
            _ => head,
        };
        let as_many = model != Model::Clusters || fresh.len() == 2;
        match (head, sender) {
            (Some(head), Some(sender)) if as_many => Ok(Cluster {
                receiver: head.pid,
                sender: sender.pid,
                others: fresh.iter().map(|process| process.pid).collect(),
            }),
            _ => fail(
                match model {
                    Model::Clusters => {
                        "a client is served by a child of the daemon, the receiver, and a child of \
                         that, the sender"
                    }
                    _ => "a client is served by a process of its own, a child of the daemon",
                },
                format!("{} brought {} processes", client.name, fresh.len()),
            ),
        }
    }

    /// Keeps a client's processes, which are those that hold its connection, with their ancestors and
    /// descendants. Others the server happened to start meanwhile, for all clients; returns their ids.
    fn leave_helpers_out(&self, client: &Client, fresh: &mut Vec<Process>) -> Vec<i32> {
        let ends = (client.stream.peer_addr(), client.stream.local_addr());
        let (Ok(at), Ok(own)) = ends else { return Vec::new() };
        // What cannot be told of is the client's.
        let holds = |pid| platform::serves(pid, at, own).unwrap_or(true);
        let serve: Vec<i32> = fresh.iter().map(|p| p.pid).filter(|&pid| holds(pid)).collect();
        if serve.is_empty() {
            return Vec::new();
        }
        let line_of = |process: &Process| -> Vec<i32> {
            let parent = |pid: &i32| fresh.iter().find(|p| p.pid == *pid).map(|p| p.parent);
            std::iter::successors(Some(process.pid), parent).take(fresh.len()).collect()
        };
        let lines: Vec<Vec<i32>> = fresh.iter().map(line_of).collect();
        let belongs = |pid: i32| {
            lines.iter().any(|line| {
                let serves = |pid: &i32| serve.contains(pid);
                // Below one that serves, or above.
                (line[0] == pid && line.iter().any(serves))
                    || (serves(&line[0]) && line.contains(&pid))
            })
        };
        let all: Vec<i32> = fresh.iter().map(|process| process.pid).collect();
        fresh.retain(|process| belongs(process.pid));
        all.into_iter().filter(|&pid| !belongs(pid)).collect()
    }

    /// The process that has the other end of a client's connection open, found through the socket.
    pub(super) fn whoever_serves(&self, client: &mut Client) -> Step<Cluster> {
        let expected =
            format!("a process of the server has the connection of {} open", client.name);
        let own = client.stream.local_addr().or_error("local address")?;
        // A connection that was reset has no peer.
        let Ok(at) = client.stream.peer_addr() else {
            client.pump();
            return fail(expected, client.ended.unwrap_or("it is not connected"));
        };
        let (mut untold, mut master) = (None, None);
        let has_workers = self.world.orders.target.manifest.processes.model == Model::Workers;
        let found = self.world.wait(self.world.patience(), || {
            for process in descends()? {
                match platform::serves(process.pid, at, own) {
                    // A master may accept, and hand the connection on.
                    Ok(true) if has_workers && process.pid == self.daemon() => {
                        master = Some(process.pid);
                    }
                    Ok(true) => return Ok(Some(Some(process.pid))),
                    Ok(false) => {}
                    // Of one that has ended meanwhile there is nothing to tell.
                    Err(_) if self.process(process.pid)?.is_none() => {}
                    Err(reason) => untold = Some(reason),
                }
            }
            client.pump();
            Ok(client.ended.map(|_| None))
        })?;
        match (found.flatten().or(master), client.ended, untold) {
            (Some(pid), _, _) => Ok(Cluster { receiver: pid, sender: pid, others: vec![pid] }),
            (None, Some(how), _) => fail(expected, how),
            (None, None, Some(reason)) => Err(Stop::NotRun(reason)),
            (None, None, None) => fail(expected, "none of its processes has"),
        }
    }
}
