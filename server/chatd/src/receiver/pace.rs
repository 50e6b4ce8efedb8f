//! How much a client may say in a second: what is above it waits in the network, not here.

use std::time::{Duration, Instant};

/// A bucket that holds a second's worth and is refilled all the time.
#[derive(Debug)]
pub(super) struct Pace {
    /// Bytes a second; none without a limit.
    rate: Option<u64>,
    /// When the bucket will be full again, if nothing is taken from it any more.
    full_at: Instant,
}

impl Pace {
    pub(super) fn new(rate: Option<u64>) -> Self {
        Self { rate, full_at: Instant::now() }
    }

    /// Takes `count` bytes out, even if there are fewer in it.
    pub(super) fn take(&mut self, count: usize, now: Instant) {
        if let Some(rate) = self.rate {
            let worth = Duration::from_secs_f64(count as f64 / rate as f64);
            self.full_at = self.full_at.max(now) + worth;
        }
    }

    /// How long to wait until there is something in it.
    pub(super) fn pause(&self, now: Instant) -> Option<Duration> {
        self.full_at.checked_duration_since(now)?.checked_sub(Duration::from_secs(1))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_second_is_free() {
        let now = Instant::now();
        let mut pace = Pace::new(Some(1000));
        pace.take(900, now);
        assert_eq!(pace.pause(now), None);
        pace.take(600, now);
        let pause = pace.pause(now).unwrap();
        assert!((0.49..0.51).contains(&pause.as_secs_f64()), "{pause:?}");
        assert_eq!(pace.pause(now + Duration::from_millis(501)), None);
        let mut unlimited = Pace::new(None);
        unlimited.take(usize::MAX, now);
        assert_eq!(unlimited.pause(now), None);
    }
}
