//! Pauses between attempts, one counter per object: doubled from one second to a minute, with jitter.
//!
//! kube's runtime has no such thing (kube#1916); a fixed pause would make a thousand broken objects knock at once.

use std::{
    collections::HashMap,
    hash::{BuildHasher, RandomState},
    sync::Mutex,
    time::{Duration, Instant},
};

const FIRST: Duration = Duration::from_secs(1);
const LONGEST: Duration = Duration::from_secs(60);

/// Counters of consecutive failures.
#[derive(Debug, Default)]
pub(crate) struct Backoff {
    /// Protects a short look-up that never waits; the error policy that uses it is synchronous.
    failures: Mutex<HashMap<String, Failures>>,
}

#[derive(Debug, Clone, Copy)]
struct Failures {
    count: u32,
    /// Before this moment a further failure is the same one: unrelated events must not inflate the counter.
    until: Instant,
}

impl Backoff {
    /// Counts a failure and says how long to wait.
    pub(crate) fn failed(&self, uid: &str, now: Instant) -> Duration {
        let mut failures = self.failures.lock().expect("no holder of the lock can panic");
        let entry = failures.entry(uid.to_owned()).or_insert(Failures { count: 0, until: now });
        if now < entry.until {
            return entry.until - now;
        }
        let pause = jittered(pause(entry.count));
        *entry = Failures { count: entry.count.saturating_add(1), until: now + pause };
        pause
    }

    /// Forgets the failures of an object that succeeded or went away.
    pub(crate) fn clear(&self, uid: &str) {
        self.failures.lock().expect("no holder of the lock can panic").remove(uid);
    }
}

fn pause(failures: u32) -> Duration {
    FIRST.saturating_mul(2_u32.saturating_pow(failures.min(16))).min(LONGEST)
}

/// ± 10 %, so that objects that failed together do not return together.
pub(crate) fn jittered(base: Duration) -> Duration {
    let random = RandomState::new().hash_one(base) % 201;
    let thousandths = u32::try_from(900 + random).expect("between 900 and 1100");
    base.saturating_mul(thousandths) / 1000
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pauses_double_up_to_a_minute() {
        let seconds: Vec<u64> = (0..9).map(|n| pause(n).as_secs()).collect();
        assert_eq!(seconds, [1, 2, 4, 8, 16, 32, 60, 60, 60]);
    }

    #[test]
    fn a_second_event_within_the_pause_does_not_inflate_the_counter() {
        let backoff = Backoff::default();
        let now = Instant::now();
        let first = backoff.failed("a", now);
        let again = backoff.failed("a", now + Duration::from_millis(100));
        assert_eq!(again, first - Duration::from_millis(100));
        let next = backoff.failed("a", now + first);
        assert!(next >= Duration::from_millis(1800), "{next:?}");
    }

    #[test]
    fn success_forgets() {
        let backoff = Backoff::default();
        let now = Instant::now();
        for n in 0..5 {
            backoff.failed("a", now + Duration::from_secs(100 * n));
        }
        backoff.clear("a");
        assert!(backoff.failed("a", now + Duration::from_secs(1000)) <= Duration::from_millis(1100));
    }
}
