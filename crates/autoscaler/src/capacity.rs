//! What one replica processes, learned only while every replica was busy.
//!
//! Throughput of replicas that wait for work says nothing about what they could do, so a sample needs: the same
//! replicas, all ready, for a while; a backlog of many seconds of work at both ends; and backlog on so many partitions
//! that no replica can have been without.

use std::{collections::VecDeque, time::Duration};

use weir_model::Quantity;

use crate::{rate::per_second, sizing::drain_time};

/// Replicas must have been the same and ready for this long before a sample begins (joining takes a while).
const SETTLE: Duration = Duration::from_secs(5);
/// Length of a sample.
const SAMPLE: Duration = Duration::from_secs(5);
/// A backlog counts as such if it is more than this much work; below, it may be what awaits the next commit.
const BACKLOG: Duration = Duration::from_secs(10);
/// Samples before the capacity is believed.
const ENOUGH: usize = 3;
/// Samples that are kept.
const KEPT: usize = 40;
/// Samples older than this are forgotten.
const MAX_AGE: Duration = Duration::from_secs(24 * 3600);

/// Sums of one known sample of a group.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Reading {
    pub(crate) now: Duration,
    /// Records not processed yet.
    pub(crate) lag: u64,
    /// Sum of the log ends; `None` if one is not known.
    pub(crate) ends: Option<u64>,
    /// Partitions in the sample.
    pub(crate) measured: usize,
    /// Partitions with lag.
    pub(crate) lagging: usize,
    /// Partitions of the group's topics.
    pub(crate) partitions: u32,
    pub(crate) current: u32,
    pub(crate) ready: u32,
}

impl Reading {
    /// Records that arrived since `earlier`; `None` if that cannot be told (an end fell, partitions came or went).
    pub(crate) fn arrived_since(&self, earlier: &Self) -> Option<u64> {
        if self.measured != earlier.measured {
            return None;
        }
        self.ends?.checked_sub(earlier.ends?)
    }

    /// Records whose processing was committed since `earlier`: what arrived less what the lag grew by.
    pub(crate) fn progressed_since(&self, earlier: &Self) -> Option<u64> {
        let before = earlier.lag.checked_add(self.arrived_since(earlier)?)?;
        Some(before.saturating_sub(self.lag))
    }

    /// Whether no replica can have been without backlog: fewer partitions are idle than each replica surely owns.
    fn every_replica_has_backlog(&self) -> bool {
        let idle = self.measured.saturating_sub(self.lagging);
        let owned = self.measured / usize::try_from(self.current.max(1)).unwrap_or(usize::MAX);
        self.lag > 0 && idle < owned.max(1)
    }
}

/// The learned capacity of one replica.
#[derive(Debug, Clone, Default)]
pub(crate) struct LearnedCapacity {
    steady: Option<(Duration, u32)>,
    begin: Option<Reading>,
    samples: VecDeque<(Duration, u64)>,
}

impl LearnedCapacity {
    /// Discards the sample under way; what was learned stays.
    pub(crate) fn interrupt(&mut self) {
        self.begin = None;
    }

    /// Takes a known reading.
    pub(crate) fn observe(&mut self, reading: &Reading) {
        while self.samples.front().is_some_and(|(at, _)| reading.now.saturating_sub(*at) > MAX_AGE) {
            self.samples.pop_front();
        }
        if !self.settled(reading) || !reading.every_replica_has_backlog() {
            self.begin = None;
            return;
        }
        let Some(begin) = self.begin else {
            self.begin = Some(*reading);
            return;
        };
        let elapsed = reading.now.saturating_sub(begin.now);
        if elapsed < SAMPLE {
            return;
        }
        self.begin = Some(*reading);
        if let Some(sample) = saturated_throughput(&begin, reading, elapsed) {
            self.samples.push_back((reading.now, sample.thousandths() / u64::from(reading.current)));
            if self.samples.len() > KEPT {
                self.samples.pop_front();
            }
        }
    }

    /// The upper quartile of the samples, in records per second; `None` before there are enough.
    pub(crate) fn per_replica(&self) -> Option<Quantity> {
        if self.samples.len() < ENOUGH {
            return None;
        }
        let mut sorted: Vec<u64> = self.samples.iter().map(|(_, rate)| *rate).collect();
        sorted.sort_unstable();
        let quartile = sorted.get((sorted.len() * 3).div_ceil(4) - 1).copied()?;
        (quartile > 0).then(|| Quantity::from_thousandths(quartile))
    }

    fn settled(&mut self, reading: &Reading) -> bool {
        if reading.current == 0 || reading.ready != reading.current {
            self.steady = None;
            return false;
        }
        let (since, replicas) = *self.steady.get_or_insert((reading.now, reading.current));
        if replicas != reading.current {
            self.steady = Some((reading.now, reading.current));
            return false;
        }
        reading.now.saturating_sub(since) >= SETTLE
    }
}

/// Throughput between two readings, if the backlog was real at both. Standing still is not a capacity.
fn saturated_throughput(begin: &Reading, end: &Reading, elapsed: Duration) -> Option<Quantity> {
    let progress = end.progressed_since(begin).filter(|records| *records > 0)?;
    let throughput = per_second(progress, elapsed)?;
    let least = begin.lag.min(end.lag);
    (drain_time(least, throughput)? >= BACKLOG).then_some(throughput)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn reading(second: u64, lag: u64, current: u32, lagging: usize) -> Reading {
        Reading {
            now: Duration::from_secs(second),
            lag,
            ends: Some(1_000_000),
            measured: 12,
            lagging,
            partitions: 12,
            current,
            ready: current,
        }
    }

    #[test]
    fn capacity_is_learned_per_replica_while_all_are_busy() {
        let mut learned = LearnedCapacity::default();
        for second in 0..=20 {
            learned.observe(&reading(second, 100_000 - second * 1000, 2, 12));
        }
        assert_eq!(learned.per_replica(), Some(Quantity::whole(500)));
    }

    #[test]
    fn throughput_without_backlog_is_not_a_capacity() {
        let mut learned = LearnedCapacity::default();
        for second in 0..=60 {
            let mut now = reading(second, 400, 2, 12);
            now.ends = Some(second * 100);
            learned.observe(&now);
        }
        assert_eq!(learned.per_replica(), None);
    }

    #[test]
    fn a_replica_that_may_have_been_idle_spoils_the_sample() {
        let mut learned = LearnedCapacity::default();
        for second in 0..=60 {
            learned.observe(&reading(second, 1_000_000 - second * 1000, 12, 11));
        }
        assert_eq!(learned.per_replica(), None);
    }

    #[test]
    fn a_stalled_group_teaches_nothing() {
        let mut learned = LearnedCapacity::default();
        for second in 0..=60 {
            learned.observe(&reading(second, 100_000, 2, 12));
        }
        assert_eq!(learned.per_replica(), None);
    }

    #[test]
    fn replicas_that_are_not_all_ready_teach_nothing() {
        let mut learned = LearnedCapacity::default();
        for second in 0..=60 {
            let now = Reading { ready: 1, ..reading(second, 100_000 - second * 1000, 2, 12) };
            learned.observe(&now);
        }
        assert_eq!(learned.per_replica(), None);
    }

    #[test]
    fn samples_age_out_after_a_day() {
        let mut learned = LearnedCapacity::default();
        for second in 0..=20 {
            learned.observe(&reading(second, 100_000 - second * 1000, 2, 12));
        }
        learned.observe(&reading(25 * 3600, 0, 2, 0));
        assert_eq!(learned.per_replica(), None);
    }
}
