//! Who has a place: strangers, whose key has not come yet, and clients, who have shown it.
//!
//! The two are counted apart, so that strangers take no place of a client's. When strangers need
//! more places than there are, the oldest gives up its own: whoever has the key sends it at once,
//! and an old stranger is most likely one that never will. It is the oldest of the address that
//! holds the most places, so one address harms no other.

use std::collections::HashMap;
use std::net::{IpAddr, Ipv6Addr, SocketAddr};

use nix::unistd::Pid;

/// How many places there are.
#[derive(Debug, Clone, Copy)]
pub(super) struct Limits {
    /// For clients.
    pub(super) clients: usize,
    /// For strangers.
    pub(super) pending: usize,
    /// For strangers of one address.
    pub(super) pending_per_address: usize,
}

/// What the receiver in a place is doing.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Standing {
    /// It waits for the key.
    Pending,
    /// It was told to give up its place.
    Evicted,
    /// It serves a client.
    Admitted,
}

/// A receiver that is alive or not yet reaped.
#[derive(Debug, Clone, Copy)]
pub(super) struct Place {
    pub(super) peer: SocketAddr,
    pub(super) standing: Standing,
    /// Grows from place to place.
    number: u64,
}

/// All places that are taken.
#[derive(Debug)]
pub(super) struct Places {
    limits: Limits,
    taken: HashMap<Pid, Place>,
    next: u64,
}

impl Places {
    pub(super) fn new(limits: Limits) -> Self {
        Self { limits, taken: HashMap::new(), next: 0 }
    }

    /// Whether no further client may be served.
    pub(super) fn full(&self) -> bool {
        self.admitted() >= self.limits.clients
    }

    /// The stranger that has to go so that one from `peer` can be tried.
    pub(super) fn in_the_way_of(&self, peer: SocketAddr) -> Option<Pid> {
        let mut held: HashMap<IpAddr, usize> = HashMap::new();
        for place in self.pending() {
            *held.entry(origin(place.peer)).or_default() += 1;
        }
        let own = origin(peer);
        let from = if held.get(&own).is_some_and(|&own| own >= self.limits.pending_per_address) {
            own
        } else if held.values().sum::<usize>() >= self.limits.pending {
            *held.iter().max_by_key(|&(_, count)| count)?.0
        } else {
            return None;
        };
        self.taken
            .iter()
            .filter(|(_, place)| place.standing == Standing::Pending && origin(place.peer) == from)
            .min_by_key(|(_, place)| place.number)
            .map(|(&pid, _)| pid)
    }

    /// Gives a place to a stranger.
    pub(super) fn take(&mut self, pid: Pid, peer: SocketAddr) {
        self.next += 1;
        let place = Place { peer, standing: Standing::Pending, number: self.next };
        self.taken.insert(pid, place);
    }

    pub(super) fn evict(&mut self, pid: Pid) {
        if let Some(place) = self.taken.get_mut(&pid) {
            place.standing = Standing::Evicted;
        }
    }

    /// Makes a stranger a client. Returns its peer when it is one too many: several strangers may
    /// show the key at the same time.
    pub(super) fn admit(&mut self, pid: Pid) -> Option<SocketAddr> {
        let full = self.full();
        let place = self.taken.get_mut(&pid)?;
        place.standing = Standing::Admitted;
        full.then_some(place.peer)
    }

    pub(super) fn free(&mut self, pid: Pid) -> Option<Place> {
        self.taken.remove(&pid)
    }

    pub(super) fn pids(&self) -> impl Iterator<Item = Pid> + '_ {
        self.taken.keys().copied()
    }

    pub(super) fn len(&self) -> usize {
        self.taken.len()
    }

    pub(super) fn is_empty(&self) -> bool {
        self.taken.is_empty()
    }

    fn admitted(&self) -> usize {
        self.taken.values().filter(|place| place.standing == Standing::Admitted).count()
    }

    fn pending(&self) -> impl Iterator<Item = &Place> {
        self.taken.values().filter(|place| place.standing == Standing::Pending)
    }
}

/// What counts as one address: for IPv6 the network of 64 bits, since whoever has one address of
/// it can have them all (RFC 4291, 2.5.4; RFC 8981).
fn origin(peer: SocketAddr) -> IpAddr {
    match peer.ip() {
        IpAddr::V6(v6) => {
            let network = u128::from(v6) & (u128::MAX << 64);
            IpAddr::V6(Ipv6Addr::from(network))
        }
        v4 => v4,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use rstest::rstest;

    fn places(taken: &[&str]) -> Places {
        let limits = Limits { clients: 2, pending: 6, pending_per_address: 3 };
        let mut places = Places::new(limits);
        for (number, peer) in (1..).zip(taken) {
            places.take(Pid::from_raw(number), peer.parse().unwrap());
        }
        places
    }

    const A: &str = "192.0.2.1:1";
    const B: &str = "192.0.2.2:1";
    const C: &str = "192.0.2.3:1";

    #[rstest]
    #[case::room(&[A, A], A, None)]
    #[case::own_share_used_up(&[B, A, A, A], A, Some(2))]
    #[case::others_are_unharmed(&[A, A, A], B, None)]
    #[case::all_taken(&[B, A, A, C, A, B], C, Some(2))]
    #[case::one_ipv6_network(&["[2001:db8::1]:1", "[2001:db8::2]:1", "[2001:db8::3]:1"], "[2001:db8::4]:1", Some(1))]
    #[case::several_ipv6_networks(&["[2001:db8:0:1::1]:1", "[2001:db8:0:2::1]:1", "[2001:db8:0:3::1]:1"], "[2001:db8:0:4::1]:1", None)]
    fn who_goes(#[case] taken: &[&str], #[case] peer: &str, #[case] goes: Option<i32>) {
        let places = places(taken);
        assert_eq!(places.in_the_way_of(peer.parse().unwrap()), goes.map(Pid::from_raw));
    }

    #[test]
    fn clients_and_strangers_are_counted_apart() {
        let mut places = places(&[A, A, A, B]);
        for pid in 1..=2 {
            assert!(!places.full());
            assert_eq!(places.admit(Pid::from_raw(pid)), None);
        }
        assert!(places.full());
        assert_eq!(places.in_the_way_of(A.parse().unwrap()), None);
        assert_eq!(places.admit(Pid::from_raw(3)), Some(A.parse().unwrap()));
        places.free(Pid::from_raw(1));
        places.free(Pid::from_raw(2));
        assert!(!places.full());
        places.evict(Pid::from_raw(4));
        assert_eq!(places.len(), 2);
        assert_eq!(places.in_the_way_of(B.parse().unwrap()), None);
    }
}
