//! Remote workers: which one gets a request, and which are healthy.
//!
//! Each worker of this machine has its own view: it counts the requests that it has under way
//! itself, and asks each remote for [`Config::health_path`] in intervals. Any answer below 500
//! within the interval is health. A remote that a connection fails to is out until it has answered
//! such a question; the others never wait for it. When none is healthy all are tried: one that is
//! only busy serves still.

use std::cell::{Cell, RefCell};
use std::net::SocketAddr;
use std::rc::Rc;
use std::time::Duration;

use hyper::client::conn::http1::SendRequest;
use tokio::net::TcpStream;

use crate::config::Config;
use crate::diagnostics;
use crate::options::Balance;

/// Connections to one remote that are kept for later.
const MOST_KEPT: usize = 64;

/// A worker on another machine. `B` is the body of the requests that it gets.
pub(crate) struct Remote<B> {
    pub(crate) address: SocketAddr,
    healthy: Cell<bool>,
    active: Cell<u64>,
    kept: RefCell<Vec<SendRequest<B>>>,
}

/// A request that counts as under way, until it is dropped.
pub(crate) struct Active<B>(Rc<Remote<B>>);

impl<B> Drop for Active<B> {
    fn drop(&mut self) {
        self.0.active.set(self.0.active.get() - 1);
    }
}

impl<B> Remote<B> {
    /// Counts a request as under way.
    pub(crate) fn begin(self: &Rc<Self>) -> Active<B> {
        self.active.set(self.active.get() + 1);
        Active(Rc::clone(self))
    }

    /// Whether requests go there.
    pub(crate) fn is_healthy(&self) -> bool {
        self.healthy.get()
    }

    /// What has just been found out about its health; said, if it is news.
    pub(crate) fn set_healthy(&self, healthy: bool) {
        if self.healthy.replace(healthy) != healthy {
            let state = if healthy { "healthy again" } else { "not healthy: no requests go there" };
            diagnostics::say(&format!("remote worker {} is {state}", self.address));
        }
    }

    /// Requests under way.
    pub(crate) fn active(&self) -> u64 {
        self.active.get()
    }

    /// A connection that an earlier request left open.
    pub(crate) fn take_kept(&self) -> Option<SendRequest<B>> {
        let mut kept = self.kept.borrow_mut();
        while let Some(connection) = kept.pop() {
            if !connection.is_closed() {
                return Some(connection);
            }
        }
        None
    }

    /// Keeps a connection for a later request.
    pub(crate) fn keep(&self, connection: SendRequest<B>) {
        let mut kept = self.kept.borrow_mut();
        kept.retain(|one| !one.is_closed());
        if kept.len() < MOST_KEPT && !connection.is_closed() {
            kept.push(connection);
        }
    }
}

/// A request that this process answers, until it is dropped.
pub(crate) struct Busy(Rc<Cell<u64>>);

impl Drop for Busy {
    fn drop(&mut self) {
        self.0.set(self.0.get() - 1);
    }
}

/// Who answers a request.
pub(crate) enum Choice<B> {
    /// This process.
    Local(Busy),
    Remote(Rc<Remote<B>>),
}

/// All remote workers.
pub(crate) struct Pool<B> {
    pub(crate) remotes: Vec<Rc<Remote<B>>>,
    /// How many shares this machine has itself.
    local: usize,
    local_active: Rc<Cell<u64>>,
    balance: Balance,
    turn: Cell<usize>,
}

impl<B: 'static> Pool<B> {
    /// As configured; every remote is taken for healthy until it is known not to be.
    pub(crate) fn new(config: &Config) -> Self {
        let remote = |&address: &SocketAddr| {
            Rc::new(Remote {
                address,
                healthy: Cell::new(true),
                active: Cell::new(0),
                kept: RefCell::default(),
            })
        };
        Self {
            remotes: config.remotes.iter().map(remote).collect(),
            local: config.local_shares,
            local_active: Rc::default(),
            balance: config.balance,
            turn: Cell::new(0),
        }
    }

    /// The next in turn, or the least busy: of the healthy ones, or of all when none is; without those
    /// of `tried`.
    pub(crate) fn choose(&self, tried: &[SocketAddr]) -> Option<Choice<B>> {
        let count = self.remotes.len() + self.local;
        let first = self.turn.get();
        self.turn.set((first + 1) % count.max(1));
        let none_is_healthy = self.local == 0 && !self.remotes.iter().any(|one| one.is_healthy());
        let usable = |index: &usize| match self.remotes.get(*index) {
            Some(remote) => {
                (remote.is_healthy() || none_is_healthy) && !tried.contains(&remote.address)
            }
            None => true,
        };
        let mut in_turn = (first..first + count).map(|index| index % count).filter(usable);
        let chosen = match self.balance {
            Balance::RoundRobin => in_turn.next()?,
            // Of equals, `min_by_key` takes the first, which is the next in turn.
            Balance::LeastConnections => in_turn.min_by_key(|&index| self.load(index))?,
        };
        Some(match self.remotes.get(chosen) {
            Some(remote) => Choice::Remote(Rc::clone(remote)),
            None => {
                self.local_active.set(self.local_active.get() + 1);
                Choice::Local(Busy(Rc::clone(&self.local_active)))
            }
        })
    }

    /// Requests under way at a place, in thousandths of a share.
    fn load(&self, index: usize) -> u64 {
        match self.remotes.get(index) {
            Some(remote) => remote.active.get() * 1000,
            None => self.local_active.get() * 1000 / self.local.max(1) as u64,
        }
    }
}

/// Keeps asking `remote`, for ever.
pub(crate) async fn watch_health<B: 'static>(
    remote: Rc<Remote<B>>,
    path: String,
    interval: Duration,
) {
    let mut ticks = tokio::time::interval(interval);
    ticks.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    loop {
        ticks.tick().await;
        let limit = interval.max(Duration::from_millis(500));
        let answered = tokio::time::timeout(limit, ask(remote.address, &path)).await;
        remote.set_healthy(matches!(answered, Ok(Ok(status)) if status < 500));
    }
}

async fn ask(address: SocketAddr, path: &str) -> Result<u16, Box<dyn std::error::Error>> {
    let stream = hyper_util::rt::TokioIo::new(TcpStream::connect(address).await?);
    let (mut sender, connection) = hyper::client::conn::http1::handshake(stream).await?;
    let request = hyper::Request::head(path)
        .header(hyper::header::HOST, address.to_string())
        .header(hyper::header::USER_AGENT, "webd health check")
        .header(hyper::header::CONNECTION, "close")
        .body(String::new())?;
    tokio::task::spawn_local(connection);
    Ok(sender.send_request(request).await?.status().as_u16())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pool(balance: Balance, local: usize) -> Pool<()> {
        let remote = |port: u16| {
            Rc::new(Remote {
                address: ([192, 0, 2, 1], port).into(),
                healthy: Cell::new(true),
                active: Cell::new(0),
                kept: RefCell::default(),
            })
        };
        Pool {
            remotes: vec![remote(1), remote(2), remote(3)],
            local,
            local_active: Rc::default(),
            balance,
            turn: Cell::new(0),
        }
    }

    fn ports(pool: &Pool<()>, count: usize) -> Vec<u16> {
        (0..count)
            .map(|_| match pool.choose(&[]) {
                Some(Choice::Remote(remote)) => remote.address.port(),
                Some(Choice::Local(_)) => 0,
                None => u16::MAX,
            })
            .collect()
    }

    #[test]
    fn in_turn_without_the_unhealthy() {
        let pool = pool(Balance::RoundRobin, 1);
        assert_eq!(ports(&pool, 5), [1, 2, 3, 0, 1]);
        pool.remotes[2].healthy.set(false);
        assert_eq!(ports(&pool, 3), [2, 0, 0]);
    }

    #[test]
    fn to_the_least_busy() {
        let pool = pool(Balance::LeastConnections, 0);
        let busy = [pool.remotes[0].begin(), pool.remotes[1].begin()];
        assert_eq!(ports(&pool, 2), [3, 3]);
        let _third = pool.remotes[2].begin();
        drop(busy);
        assert_eq!(ports(&pool, 2), [1, 1]);
    }

    #[test]
    fn all_are_tried_when_none_is_healthy() {
        let pool = pool(Balance::RoundRobin, 0);
        for remote in &pool.remotes {
            remote.healthy.set(false);
        }
        assert_eq!(ports(&pool, 3), [1, 2, 3]);
        let all: Vec<SocketAddr> = pool.remotes.iter().map(|remote| remote.address).collect();
        assert!(pool.choose(&all).is_none());
    }
}
