//! What one address may have: connections at a time, and requests a second.
//!
//! Each worker counts for itself. The system gives connections to the workers in turn, so an
//! address that opens many meets the limit of each; one that opens few can get up to a worker's
//! limit on each worker. An IPv6 address counts as its /64: a host has all of that.

use std::cell::RefCell;
use std::collections::HashMap;
use std::net::{IpAddr, Ipv6Addr};
use std::num::NonZeroU32;
use std::rc::Rc;

use governor::clock::MonotonicClock;
use governor::middleware::NoOpMiddleware;
use governor::state::keyed::HashMapStateStore;
use governor::{Quota, RateLimiter};

type Rates = RateLimiter<
    IpAddr,
    HashMapStateStore<IpAddr>,
    MonotonicClock,
    NoOpMiddleware<std::time::Instant>,
>;

/// The limits of a worker.
pub(crate) struct Limits {
    per_address: Option<u32>,
    connections: RefCell<HashMap<IpAddr, u32>>,
    rates: Option<Rates>,
}

/// A connection that counts, until it is dropped.
pub(crate) struct Admission {
    limits: Rc<Limits>,
    address: IpAddr,
}

impl Limits {
    /// `rate` is requests a second, and how many may come at once.
    pub(crate) fn new(per_address: Option<u32>, rate: Option<(u32, u32)>) -> Rc<Self> {
        let rates = rate.and_then(|(rate, burst)| {
            let quota = Quota::per_second(NonZeroU32::new(rate)?);
            let quota = quota.allow_burst(NonZeroU32::new(burst)?);
            Some(Rates::new(quota, HashMapStateStore::default(), MonotonicClock))
        });
        Rc::new(Self { per_address, connections: RefCell::default(), rates })
    }

    /// Counts a connection of `address`; `None` if it has too many already.
    pub(crate) fn admit(self: &Rc<Self>, address: IpAddr) -> Option<Admission> {
        let address = of_one_host(address);
        if let Some(most) = self.per_address {
            let mut connections = self.connections.borrow_mut();
            let count = connections.entry(address).or_default();
            if *count >= most {
                return None;
            }
            *count += 1;
        }
        Some(Admission { limits: Rc::clone(self), address })
    }

    /// Forgets addresses whose rate no longer matters.
    pub(crate) fn tidy(&self) {
        if let Some(rates) = &self.rates {
            rates.retain_recent();
            rates.shrink_to_fit();
        }
    }
}

impl Admission {
    /// Counts a request: false if there are too many.
    pub(crate) fn request(&self) -> bool {
        self.limits.rates.as_ref().is_none_or(|rates| rates.check_key(&self.address).is_ok())
    }
}

impl Drop for Admission {
    fn drop(&mut self) {
        let mut connections = self.limits.connections.borrow_mut();
        if let Some(count) = connections.get_mut(&self.address) {
            *count -= 1;
            if *count == 0 {
                connections.remove(&self.address);
            }
        }
    }
}

fn of_one_host(address: IpAddr) -> IpAddr {
    match address.to_canonical() {
        IpAddr::V6(v6) => IpAddr::V6(Ipv6Addr::from_bits(v6.to_bits() & !u128::from(u64::MAX))),
        v4 => v4,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_has_its_connections_and_no_more() {
        let limits = Limits::new(Some(2), None);
        let [a, b, other] =
            ["2001:db8::1", "2001:db8::2", "192.0.2.1"].map(|a| a.parse::<IpAddr>().unwrap());
        let first = limits.admit(a).unwrap();
        let _second = limits.admit(b).unwrap();
        assert!(limits.admit(a).is_none());
        assert!(limits.admit(other).is_some());
        drop(first);
        assert!(limits.admit(b).is_some());
    }
}
