//! Records that wait for another attempt: how long, and whose turn it is. Pure: time and randomness are passed in.

use std::{
    cmp::{Ordering, Reverse},
    collections::BinaryHeap,
    time::{Duration, Instant},
};

/// Exponential backoff with full jitter (Brooker 2015, "Exponential Backoff And Jitter").
#[derive(Debug, Clone, Copy)]
pub(super) struct Backoff {
    initial: Duration,
    max: Duration,
}

impl Backoff {
    pub(super) fn new(initial: Duration, max: Duration) -> Self {
        let initial = initial.max(Duration::from_millis(1));
        Self { initial, max: max.max(initial) }
    }

    /// The wait after `failures` failed attempts (from 1): a random time up to `initial * 2^(failures - 1)`, at most
    /// `max`. `random` is uniform over all 64-bit numbers.
    pub(super) fn delay(self, failures: u32, random: u64) -> Duration {
        let doublings = failures.saturating_sub(1).min(31);
        let ceiling = self.initial.saturating_mul(1 << doublings).min(self.max);
        let nanos = (ceiling.as_nanos() * u128::from(random)) >> 64;
        Duration::from_nanos(u64::try_from(nanos).unwrap_or(u64::MAX))
    }
}

#[derive(Debug)]
struct Waiting<T> {
    due: Instant,
    /// Arrival, so that equal times keep their order.
    number: u64,
    item: T,
}

impl<T> PartialEq for Waiting<T> {
    fn eq(&self, other: &Self) -> bool {
        self.cmp(other) == Ordering::Equal
    }
}
impl<T> Eq for Waiting<T> {}
impl<T> PartialOrd for Waiting<T> {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}
impl<T> Ord for Waiting<T> {
    fn cmp(&self, other: &Self) -> Ordering {
        (self.due, self.number).cmp(&(other.due, other.number))
    }
}

/// Everything that waits, the earliest first.
#[derive(Debug)]
pub(super) struct Retries<T> {
    heap: BinaryHeap<Reverse<Waiting<T>>>,
    arrivals: u64,
}

impl<T> Default for Retries<T> {
    fn default() -> Self {
        Self { heap: BinaryHeap::new(), arrivals: 0 }
    }
}

impl<T> Retries<T> {
    pub(super) fn push(&mut self, due: Instant, item: T) {
        self.arrivals += 1;
        self.heap.push(Reverse(Waiting { due, number: self.arrivals, item }));
    }

    /// Takes the earliest if it is due at `now`.
    pub(super) fn pop_due(&mut self, now: Instant) -> Option<T> {
        if self.next_due()? > now {
            return None;
        }
        self.heap.pop().map(|Reverse(waiting)| waiting.item)
    }

    pub(super) fn next_due(&self) -> Option<Instant> {
        self.heap.peek().map(|Reverse(waiting)| waiting.due)
    }

    pub(super) fn retain(&mut self, mut keep: impl FnMut(&T) -> bool) {
        self.heap.retain(|Reverse(waiting)| keep(&waiting.item));
    }

    pub(super) fn len(&self) -> usize {
        self.heap.len()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_earliest_comes_first_and_only_when_due() {
        let start = Instant::now();
        let at = |millis| start + Duration::from_millis(millis);
        let mut retries = Retries::default();
        for (due, item) in [(30, 'c'), (10, 'a'), (20, 'b'), (10, 'A')] {
            retries.push(at(due), item);
        }
        assert_eq!(retries.pop_due(at(5)), None);
        assert_eq!(retries.pop_due(at(15)), Some('a'));
        assert_eq!(retries.pop_due(at(15)), Some('A'));
        assert_eq!(retries.pop_due(at(15)), None);
        retries.retain(|item| *item != 'b');
        assert_eq!(retries.next_due(), Some(at(30)));
        assert_eq!((retries.pop_due(at(30)), retries.len()), (Some('c'), 0));
    }

    #[test]
    fn the_ceiling_doubles_up_to_the_maximum() {
        let backoff = Backoff::new(Duration::from_millis(100), Duration::from_secs(1));
        let almost = |failures| backoff.delay(failures, u64::MAX).as_millis();
        assert_eq!([1, 2, 3, 4, 5, 40].map(almost), [99, 199, 399, 799, 999, 999]);
        assert_eq!(backoff.delay(3, 0), Duration::ZERO);
        assert_eq!(backoff.delay(2, u64::MAX / 2).as_millis(), 99);
    }
}
