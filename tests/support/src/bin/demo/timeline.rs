//! What happened when, and the figures that follow: pure, so that the arithmetic behind `target/demo.json` can be tested.
//!
//! All times are milliseconds since 1970 by this machine's clock, which the brokers and the API server share.

use serde::Serialize;

/// The Deployment's number of replicas from some moment on.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct ReplicaChange {
    /// When the watch reported it.
    pub(crate) at: i64,
    /// Wanted replicas.
    pub(crate) wanted: i32,
    /// Ready replicas.
    pub(crate) ready: i32,
}

/// The number of records that the witness saw, and how many of them the group had not committed.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct LagSample {
    /// When the answers were complete.
    pub(crate) at: i64,
    /// Records in the topic.
    pub(crate) produced: i64,
    /// Records that are not committed.
    pub(crate) lag: i64,
}

/// Everything that was observed in a run.
#[derive(Debug, Default)]
pub(crate) struct Timeline {
    /// When `kubectl apply` was called.
    pub(crate) applied: i64,
    /// When the Topic became ready.
    pub(crate) topic_ready: Option<i64>,
    /// Changes of the Deployment in the order of time.
    pub(crate) replicas: Vec<ReplicaChange>,
    /// Samples of the witness in the order of time.
    pub(crate) lags: Vec<LagSample>,
    /// When the brokers appended each record, sorted.
    pub(crate) appended: Vec<i64>,
}

/// What one replica can do and how fast a backlog should go, from the ConsumerGroup's spec.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Goal {
    /// Records per second of one replica.
    pub(crate) capacity: u64,
    /// Seconds.
    pub(crate) drain_target: u64,
}

/// `target/demo.json`. Absent figures are things that did not happen.
#[derive(Debug, Clone, Serialize, PartialEq)]
pub(crate) struct Report {
    /// From `kubectl apply` to the Topic's Ready=True.
    pub(crate) topic_ready_s: Option<f64>,
    /// Sum of next minus first offsets, from the brokers.
    pub(crate) records_produced: i64,
    /// Different sequence numbers that the handler received.
    pub(crate) records_handled: i64,
    /// Produced and never handled.
    pub(crate) lost: i64,
    /// Handled again.
    pub(crate) duplicated: i64,
    /// Highest sampled lag.
    pub(crate) lag_peak: i64,
    /// Partitions of the topic.
    pub(crate) partitions: i32,
    /// Wanted replicas when the first record was appended.
    pub(crate) replicas_start: i32,
    /// Most replicas that were ready at the same time.
    pub(crate) replicas_peak: i32,
    /// Wanted replicas at the end.
    pub(crate) replicas_end: i32,
    /// From the appending of the record that was too much for the running replicas to more wanted replicas.
    pub(crate) reaction_s: Option<f64>,
    /// From the appending of the first record to a lag of 0.
    pub(crate) drained_s: Option<f64>,
}

impl Timeline {
    /// Wanted replicas at `at`; 0 while there is no Deployment.
    pub(crate) fn wanted_at(&self, at: i64) -> i32 {
        self.replicas.iter().rev().find(|change| change.at <= at).map_or(0, |change| change.wanted)
    }

    /// When the brokers appended the first record.
    pub(crate) fn first_appended(&self) -> Option<i64> {
        self.appended.first().copied()
    }

    /// From the record that pushed the lag above what the replicas at the start drain in time, to more wanted replicas. What
    /// was consumed meanwhile is not subtracted, so the figure is never too good.
    pub(crate) fn reaction_ms(&self, goal: Goal) -> Option<i64> {
        let start = self.wanted_at(self.first_appended()?);
        let drained_in_time = u64::try_from(start).unwrap_or(0) * goal.capacity * goal.drain_target;
        let crossing = *self.appended.get(usize::try_from(drained_in_time).ok()?)?;
        let change = self.replicas.iter().find(|change| change.at >= crossing && change.wanted > start)?;
        Some(change.at - crossing)
    }

    /// From the first appended record to the first sample without lag that saw all `records`.
    pub(crate) fn drained_ms(&self, records: i64) -> Option<i64> {
        let first = self.first_appended()?;
        let drained = self.lags.iter().find(|sample| sample.produced >= records && sample.lag == 0)?;
        Some(drained.at - first)
    }

    /// The figures, with `handled` different and `duplicated` repeated records as counted by the handler.
    pub(crate) fn report(&self, goal: Goal, partitions: i32, handled: i64, duplicated: i64) -> Report {
        let records_produced = i64::try_from(self.appended.len()).expect("fewer than 2^63 records");
        Report {
            topic_ready_s: self.topic_ready.map(|at| seconds(at - self.applied)),
            records_produced,
            records_handled: handled,
            lost: records_produced - handled,
            duplicated,
            lag_peak: self.lags.iter().map(|sample| sample.lag).max().unwrap_or(0),
            partitions,
            replicas_start: self.first_appended().map_or(0, |at| self.wanted_at(at)),
            replicas_peak: self.replicas.iter().map(|change| change.ready).max().unwrap_or(0),
            replicas_end: self.replicas.last().map_or(0, |change| change.wanted),
            reaction_s: self.reaction_ms(goal).map(seconds),
            drained_s: self.drained_ms(records_produced).map(seconds),
        }
    }
}

/// Seconds with one hundredth's precision, for people and JSON.
pub(crate) fn seconds(milliseconds: i64) -> f64 {
    let hundredths = i32::try_from(milliseconds / 10).unwrap_or(i32::MAX);
    f64::from(hundredths) / 100.0
}

#[cfg(test)]
mod tests {
    use super::*;

    const GOAL: Goal = Goal { capacity: 100, drain_target: 1 };

    fn change(at: i64, wanted: i32) -> ReplicaChange {
        ReplicaChange { at, wanted, ready: 0 }
    }

    #[test]
    fn from_zero_the_first_record_is_already_too_much() {
        let timeline = Timeline {
            replicas: vec![change(500, 0), change(2700, 12), change(9000, 0)],
            appended: vec![2000; 300],
            ..Timeline::default()
        };
        assert_eq!(timeline.reaction_ms(GOAL), Some(700));
        assert_eq!(timeline.report(GOAL, 12, 300, 0).replicas_start, 0);
    }

    #[test]
    fn running_replicas_are_credited_with_what_they_drain_in_time() {
        let timeline = Timeline {
            replicas: vec![change(0, 2), change(900, 4)],
            appended: (0..300).map(|n| n * 2).collect(),
            ..Timeline::default()
        };
        assert_eq!(timeline.reaction_ms(GOAL), Some(500), "record 200 came at 400");
    }

    #[test]
    fn no_reaction_is_not_a_reaction_of_zero() {
        let timeline =
            Timeline { replicas: vec![change(0, 0)], appended: vec![10, 20], ..Timeline::default() };
        assert_eq!(timeline.reaction_ms(GOAL), None);
    }

    #[test]
    fn a_lag_of_zero_before_everything_was_produced_is_not_drained() {
        let sample = |at, produced, lag| LagSample { at, produced, lag };
        let timeline = Timeline {
            appended: vec![1000, 3000],
            lags: vec![sample(900, 0, 0), sample(2000, 1, 0), sample(4000, 2, 1), sample(5000, 2, 0)],
            ..Timeline::default()
        };
        assert_eq!(timeline.drained_ms(2), Some(4000));
        let report = timeline.report(GOAL, 1, 2, 0);
        assert_eq!((report.lag_peak, report.lost, report.drained_s), (1, 0, Some(4.0)));
    }
}
