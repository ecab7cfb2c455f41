//! Offsets and partitions. Arithmetic on them is checked or saturating, never `as`.

use std::{fmt, sync::Arc};

/// A position in a partition: the number of the next record to read or to be written. Never negative;
/// Kafka's negative sentinels (−1 "no offset", −1001 "invalid") are expressed as `Option` or errors.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Offset(u64);

impl Offset {
    /// The first offset that a partition can have.
    pub const ZERO: Self = Self(0);

    /// Takes Kafka's signed number; `None` for its sentinels.
    #[must_use]
    pub fn from_kafka(raw: i64) -> Option<Self> {
        u64::try_from(raw).ok().map(Self)
    }

    /// The number as Kafka's protocol writes it.
    #[must_use]
    pub fn to_kafka(self) -> i64 {
        i64::try_from(self.0).unwrap_or(i64::MAX)
    }

    /// The offset right after this one.
    #[must_use]
    pub fn next(self) -> Self {
        Self(self.0.saturating_add(1))
    }

    /// How many offsets lie between `earlier` and this one; zero if `earlier` is later.
    #[must_use]
    pub fn since(self, earlier: Self) -> u64 {
        self.0.saturating_sub(earlier.0)
    }
}

impl fmt::Display for Offset {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// One partition of one topic.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct TopicPartition {
    /// The topic's name; shared, because one topic has many partitions.
    pub topic: Arc<str>,
    /// The partition's number, from 0.
    pub partition: i32,
}

impl TopicPartition {
    /// Names a partition.
    pub fn new(topic: impl Into<Arc<str>>, partition: i32) -> Self {
        Self { topic: topic.into(), partition }
    }
}

impl fmt::Display for TopicPartition {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}-{}", self.topic, self.partition)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn kafkas_sentinels_are_not_offsets() {
        assert_eq!(Offset::from_kafka(-1), None);
        assert_eq!(Offset::from_kafka(-1001), None);
        assert_eq!(Offset::from_kafka(7).map(Offset::to_kafka), Some(7));
    }

    #[test]
    fn the_distance_to_a_later_offset_is_zero_and_not_huge() {
        let (low, high) = (Offset::from_kafka(3), Offset::from_kafka(10));
        let (Some(low), Some(high)) = (low, high) else { panic!("both are valid") };
        assert_eq!(high.since(low), 7);
        assert_eq!(low.since(high), 0);
    }
}
