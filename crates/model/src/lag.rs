//! Lag: how many records a group still has to process. An error is never a zero.

use std::fmt;

use crate::TopicPartition;

/// Why a lag is not known.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum UnknownLag {
    /// No sample was taken yet.
    NotSampled,
    /// The brokers, or the leader of the partition, could not be reached.
    Unreachable(String),
    /// The topic does not exist (any more).
    TopicMissing(String),
    /// The principal may not read the offsets.
    Unauthorized(String),
    /// The committed offset lies beyond the log's end: the topic was truncated or re-created.
    BeyondEnd,
}

impl fmt::Display for UnknownLag {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NotSampled => f.write_str("no sample was taken yet"),
            Self::Unreachable(why) => write!(f, "the brokers did not answer: {why}"),
            Self::TopicMissing(topic) => write!(f, "topic {topic} does not exist"),
            Self::Unauthorized(why) => write!(f, "the brokers refused to tell: {why}"),
            Self::BeyondEnd => f.write_str(
                "a committed offset lies beyond the end of the log; the topic was truncated or created anew",
            ),
        }
    }
}

/// The lag of one partition or of a whole group, in records.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Lag {
    /// Measured: this many records are not processed yet.
    Known(u64),
    /// Could not be measured. Never to be read as zero.
    Unknown(UnknownLag),
    /// There is nothing to measure (no partition).
    NotApplicable,
}

impl Lag {
    /// The number, if it is known.
    #[must_use]
    pub fn known(&self) -> Option<u64> {
        match self {
            Self::Known(records) => Some(*records),
            Self::Unknown(_) | Self::NotApplicable => None,
        }
    }
}

/// The lag of one partition, with the positions that it was computed from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PartitionLag {
    /// Which partition.
    pub partition: TopicPartition,
    /// Records that are not processed yet.
    pub lag: Lag,
    /// End of the log (last stable offset), when the broker told it.
    pub end: Option<crate::Offset>,
    /// Position that the group has committed; `None` if it never committed (then `startFrom` decides).
    pub committed: Option<crate::Offset>,
}

/// One sample of a whole group.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct GroupLag {
    /// One entry per partition of every topic of the group, sorted.
    pub partitions: Vec<PartitionLag>,
}

impl GroupLag {
    /// The sum over all partitions; unknown as soon as one partition is unknown.
    #[must_use]
    pub fn total(&self) -> Lag {
        if self.partitions.is_empty() {
            return Lag::NotApplicable;
        }
        let mut sum = 0_u64;
        for partition in &self.partitions {
            match &partition.lag {
                Lag::Known(records) => sum = sum.saturating_add(*records),
                Lag::Unknown(why) => return Lag::Unknown(why.clone()),
                Lag::NotApplicable => {}
            }
        }
        Lag::Known(sum)
    }

    /// The largest lag of a single partition, if every partition is known.
    #[must_use]
    pub fn max(&self) -> Option<u64> {
        self.total().known()?;
        self.partitions.iter().filter_map(|p| p.lag.known()).max()
    }

    /// Sum of the log ends that are known: what producers have written so far.
    #[must_use]
    pub fn end_sum(&self) -> u64 {
        self.partitions.iter().filter_map(|p| p.end).map(|o| o.since(crate::Offset::ZERO)).sum()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn lag(partition: i32, lag: Lag) -> PartitionLag {
        PartitionLag { partition: TopicPartition::new("t", partition), lag, end: None, committed: None }
    }

    #[test]
    fn one_unknown_partition_makes_the_total_unknown() {
        let group =
            GroupLag { partitions: vec![lag(0, Lag::Known(5)), lag(1, Lag::Unknown(UnknownLag::BeyondEnd))] };
        assert_eq!(group.total(), Lag::Unknown(UnknownLag::BeyondEnd));
        assert_eq!(group.max(), None);
    }

    #[test]
    fn a_group_without_partitions_has_no_lag_rather_than_zero() {
        assert_eq!(GroupLag { partitions: vec![] }.total(), Lag::NotApplicable);
    }

    #[test]
    fn the_total_is_the_sum() {
        let group = GroupLag { partitions: vec![lag(0, Lag::Known(5)), lag(1, Lag::Known(7))] };
        assert_eq!(group.total(), Lag::Known(12));
        assert_eq!(group.max(), Some(7));
    }
}
