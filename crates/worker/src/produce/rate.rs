//! The schedule of a producer: how many records or bytes may be sent by now. Pure: time is passed in. It spaces
//! records evenly, does not wait for acknowledgements, and after a stall catches up by a tenth of a second at most,
//! so that the configured rate stays an upper bound.

use std::time::Duration;

use weir_model::worker_config::ProduceConfig;

/// What may be caught up after a stall.
const CATCH_UP_NANOS: i128 = 100_000_000;
const NANOS_PER_SECOND: i128 = 1_000_000_000;

/// A token bucket that may go into debt: an amount is granted while the level is not negative and then subtracted,
/// so the average is exact and a record larger than the bucket still passes.
///
/// The level counts thousandths of a unit times nanoseconds, which makes a fractional rate exact.
#[derive(Debug)]
pub(super) struct Bucket {
    thousandths_per_second: i128,
    level: i128,
    last: Duration,
}

impl Bucket {
    /// `thousandths_per_second` must be positive.
    pub(super) fn new(thousandths_per_second: u64) -> Self {
        Self {
            thousandths_per_second: i128::from(thousandths_per_second.max(1)),
            level: 0,
            last: Duration::ZERO,
        }
    }

    /// How long to wait from `now` until an amount will be granted; zero if it is granted now.
    fn wait(&mut self, now: Duration) -> Duration {
        let elapsed = now.saturating_sub(self.last);
        self.last = self.last.max(now);
        let earned = self.thousandths_per_second * nanos(elapsed);
        let depth = self.thousandths_per_second * CATCH_UP_NANOS;
        self.level = (self.level + earned).min(depth);
        if self.level >= 0 {
            return Duration::ZERO;
        }
        let missing = -self.level;
        let wait = (missing + self.thousandths_per_second - 1) / self.thousandths_per_second;
        Duration::from_nanos(u64::try_from(wait).unwrap_or(u64::MAX))
    }

    fn spend(&mut self, units: u64) {
        self.level -= i128::from(units) * 1000 * NANOS_PER_SECOND;
    }
}

fn nanos(duration: Duration) -> i128 {
    i128::try_from(duration.as_nanos()).unwrap_or(i128::MAX)
}

/// Both bounds of a run; absent ones never wait.
#[derive(Debug)]
pub(super) struct Pace {
    records: Option<Bucket>,
    bytes: Option<Bucket>,
}

impl Pace {
    pub(super) fn new(config: &ProduceConfig) -> Self {
        Self {
            records: config.records_per_second_thousandths.map(Bucket::new),
            bytes: config.bytes_per_second.map(|bytes| Bucket::new(bytes.saturating_mul(1000))),
        }
    }

    /// Whether there is any bound, so that an unbounded run need not read the clock.
    pub(super) fn is_bounded(&self) -> bool {
        self.records.is_some() || self.bytes.is_some()
    }

    /// How long to wait from `now` (since the start) until the next record is due; zero if it is due.
    pub(super) fn wait(&mut self, now: Duration) -> Duration {
        let wait = |bucket: &mut Option<Bucket>| bucket.as_mut().map_or(Duration::ZERO, |b| b.wait(now));
        wait(&mut self.records).max(wait(&mut self.bytes))
    }

    /// One record of `bytes` (key and value) was sent.
    pub(super) fn sent(&mut self, bytes: u64) {
        if let Some(bucket) = &mut self.records {
            bucket.spend(1);
        }
        if let Some(bucket) = &mut self.bytes {
            bucket.spend(bytes);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Sends as soon as the bucket allows, from zero to `until`; returns when.
    fn departures(thousandths: u64, units: u64, until: Duration) -> Vec<Duration> {
        let mut bucket = Bucket::new(thousandths);
        let mut now = Duration::ZERO;
        let mut departures = Vec::new();
        while now < until {
            let wait = bucket.wait(now);
            if wait.is_zero() {
                bucket.spend(units);
                departures.push(now);
            } else {
                now += wait;
            }
        }
        departures
    }

    #[test]
    fn half_a_record_per_second_is_one_every_two_seconds() {
        let seconds: Vec<u64> =
            departures(500, 1, Duration::from_secs(10)).iter().map(Duration::as_secs).collect();
        assert_eq!(seconds, [0, 2, 4, 6, 8]);
    }

    #[test]
    fn a_thousand_per_second_leave_evenly_spaced() {
        let departures = departures(1_000_000, 1, Duration::from_secs(3));
        assert_eq!(departures.len(), 3000);
        for pair in departures.windows(2) {
            assert_eq!(pair[1] - pair[0], Duration::from_millis(1));
        }
    }

    #[test]
    fn records_larger_than_the_bucket_pass_at_the_average_rate() {
        let departures = departures(1_000_000, 5_000, Duration::from_secs(50));
        assert_eq!(departures.len(), 10, "1000 bytes per second carry ten records of 5000 bytes in 50 s");
    }

    #[test]
    fn a_stall_is_caught_up_by_a_tenth_of_a_second_only() {
        let mut bucket = Bucket::new(1_000_000);
        let mut burst = 0;
        while bucket.wait(Duration::from_secs(60)).is_zero() {
            bucket.spend(1);
            burst += 1;
        }
        assert_eq!(burst, 101);
    }
}
