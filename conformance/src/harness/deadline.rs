//! The end of a wait, in time that the machine has given.

use std::time::{Duration, Instant};

/// How much later than asked for a process that sleeps is woken on a machine that has time for it.
const USUAL: Duration = Duration::from_millis(5);
/// How many times its length a wait may last at most.
const MOST: u32 = 4;

/// The end of a wait. How slow the machine is was measured before; a moment in which it gives this
/// process no time at all, and so the server none either, puts the end off.
#[derive(Debug)]
pub(super) struct Deadline {
    end: Instant,
    last: Instant,
}

impl Deadline {
    /// `limit` from now.
    pub(super) fn after(limit: Duration) -> Self {
        let now = Instant::now();
        Self { end: now + limit, last: now + limit.saturating_mul(MOST) }
    }

    /// How long it is until then; none when it is over.
    pub(super) fn left(&self) -> Option<Duration> {
        self.end.checked_duration_since(Instant::now())
    }

    /// This process wanted to sleep for `asked`, from `begin` on, and is awake again.
    pub(super) fn slept(&mut self, asked: Duration, begin: Instant) {
        self.put_off(begin.elapsed().saturating_sub(asked));
    }

    fn put_off(&mut self, late: Duration) {
        if late > USUAL {
            self.end = (self.end + late).min(self.last);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn time_that_was_not_given_does_not_count() {
        let limit = Duration::from_secs(10);
        let mut deadline = Deadline::after(limit);
        let first = deadline.end;
        deadline.put_off(Duration::from_millis(2));
        assert_eq!(deadline.end, first, "nothing unusual");
        deadline.put_off(Duration::from_secs(3));
        assert_eq!(deadline.end, first + Duration::from_secs(3));
        deadline.put_off(Duration::from_secs(3000));
        assert_eq!(deadline.end, first + limit * 3, "not for ever");
    }
}
