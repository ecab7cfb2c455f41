//! What the sampler remembers of one group between samples, and the sample it makes of that. No I/O, no clock.

use std::{
    collections::{BTreeMap, BTreeSet},
    time::{Duration, Instant},
};

use weir_model::{GroupLag, Lag, Offset, PartitionLag, TopicPartition, UnknownLag, worker_config::StartFrom};

use super::{
    GroupSample, WatchKey,
    arithmetic::{Positions, is_beyond_end, partition_lag},
    topics::{Topics, unknown},
};
use crate::KafkaError;

/// How long the commits of a group that processed everything are believed, while nothing is written.
const ASLEEP_FOR: Duration = Duration::from_secs(60);

pub(super) type Commits = BTreeMap<TopicPartition, Result<Option<Offset>, UnknownLag>>;
pub(super) type Ends = BTreeMap<TopicPartition, Result<Offset, UnknownLag>>;

/// What is known of the logs of all watched partitions.
#[derive(Default)]
pub(super) struct Logs {
    /// Last stable offsets, of this sample.
    pub(super) ends: Ends,
    /// Oldest offsets, up to a minute old.
    pub(super) starts: BTreeMap<TopicPartition, Offset>,
    /// High watermarks, where they were needed.
    pub(super) high_watermarks: BTreeMap<TopicPartition, Offset>,
}

/// One group's memory.
pub(super) struct Group {
    pub(super) key: WatchKey,
    start_from: StartFrom,
    /// The last answer, and when it came.
    commits: Option<(Result<Commits, UnknownLag>, Instant)>,
    /// Ends of the last sample.
    ends: Ends,
    /// Where logs ended when they were first seen without a commit.
    baselines: BTreeMap<TopicPartition, Offset>,
    /// Nothing moved between the last two samples, and nothing is left to process.
    asleep: bool,
    changed: bool,
}

impl Group {
    pub(super) fn new(key: WatchKey, start_from: StartFrom) -> Self {
        Self {
            key,
            start_from,
            commits: None,
            ends: BTreeMap::new(),
            baselines: BTreeMap::new(),
            asleep: false,
            changed: true,
        }
    }

    pub(super) fn starts_from(&self, start_from: StartFrom) -> bool {
        self.start_from == start_from
    }

    /// Whether the commits must be read before the ends.
    pub(super) fn is_due(&self, now: Instant) -> bool {
        match &self.commits {
            Some((Ok(_), read)) => !self.asleep || now.duration_since(*read) >= ASLEEP_FOR,
            Some((Err(_), _)) | None => true,
        }
    }

    /// Whether something was written to a sleeping group's topics, so that its old commits are not believed any more.
    pub(super) fn is_woken_by(&self, topics: &Topics, logs: &Logs) -> bool {
        self.asleep && self.partitions(topics).iter().any(|p| self.ends.get(p) != logs.ends.get(p))
    }

    /// Every known partition of the group's topics.
    pub(super) fn partitions(&self, topics: &Topics) -> BTreeSet<TopicPartition> {
        let known = self.key.topics.iter().filter_map(|topic| topics.partitions(topic).ok());
        known.flatten().cloned().collect()
    }

    /// Takes in an answer about commits, of the group's own topics only.
    pub(super) fn learn_commits(
        &mut self,
        answer: &Result<BTreeMap<TopicPartition, Result<Option<Offset>, KafkaError>>, KafkaError>,
        now: Instant,
    ) {
        let commits = match answer {
            Err(error) => Err(unknown(error, &self.key.topics.join(", "))),
            Ok(offsets) => Ok(offsets
                .iter()
                .filter(|(partition, _)| self.key.topics.iter().any(|topic| **topic == *partition.topic))
                .map(|(partition, offset)| {
                    let offset = offset.as_ref().copied().map_err(|error| unknown(error, &partition.topic));
                    (partition.clone(), offset)
                })
                .collect()),
        };
        self.changed = self.commits.as_ref().is_none_or(|(before, _)| *before != commits);
        self.commits = Some((commits, now));
    }

    /// Forgets positions in topics that were created anew.
    pub(super) fn forget(&mut self, topics: &BTreeSet<String>) {
        self.baselines.retain(|partition, _| !topics.contains(&*partition.topic));
    }

    /// Partitions whose commit contradicts the end of the log.
    pub(super) fn beyond_end(&self, topics: &Topics, logs: &Logs) -> Vec<TopicPartition> {
        let contradicts =
            |partition: &TopicPartition| match (self.committed(partition), logs.ends.get(partition)) {
                (Ok(Some(committed)), Some(Ok(end))) => is_beyond_end(committed, *end),
                _ => false,
            };
        self.partitions(topics).into_iter().filter(contradicts).collect()
    }

    /// Makes the sample, and remembers what the next one needs.
    pub(super) fn sample(&mut self, topics: &Topics, logs: &Logs, taken: Instant) -> GroupSample {
        let partitions = self.partitions(topics);
        self.ends.retain(|partition, _| partitions.contains(partition));
        self.baselines.retain(|partition, _| partitions.contains(partition));
        let mut moved = std::mem::take(&mut self.changed);
        let mut sample = GroupSample {
            taken,
            lag: GroupLag { partitions: Vec::with_capacity(partitions.len()) },
            partition_count: BTreeMap::new(),
        };
        for topic in self.key.topics.clone() {
            match topics.partitions(&topic) {
                Err(why) => sample.lag.partitions.push(unmeasured(TopicPartition::new(topic, 0), &why)),
                Ok(partitions) => {
                    let count = u32::try_from(partitions.len()).unwrap_or(u32::MAX);
                    sample.partition_count.insert(topic, count);
                    for partition in partitions {
                        let (lag, end_moved) = self.measure(partition, logs);
                        moved |= end_moved;
                        sample.lag.partitions.push(lag);
                    }
                }
            }
        }
        self.asleep = !moved && sample.lag.total() == Lag::Known(0);
        sample
    }

    fn measure(&mut self, partition: &TopicPartition, logs: &Logs) -> (PartitionLag, bool) {
        let end = logs.ends.get(partition).cloned().unwrap_or(Err(UnknownLag::NotSampled));
        let committed = self.committed(partition);
        match (&committed, &end) {
            (Ok(None), Ok(end)) => {
                self.baselines.entry(partition.clone()).or_insert(*end);
            }
            (Ok(Some(_)), _) => {
                self.baselines.remove(partition);
            }
            (Ok(None) | Err(_), _) => {}
        }
        let positions = Positions {
            end,
            committed,
            start: logs.starts.get(partition).copied(),
            baseline: self.baselines.get(partition).copied(),
            high_watermark: logs.high_watermarks.get(partition).copied(),
        };
        let measured = PartitionLag {
            partition: partition.clone(),
            lag: partition_lag(self.start_from, &positions),
            end: positions.end.as_ref().ok().copied(),
            committed: positions.committed.ok().flatten(),
        };
        let moved = self.ends.insert(partition.clone(), positions.end.clone()) != Some(positions.end);
        (measured, moved)
    }

    fn committed(&self, partition: &TopicPartition) -> Result<Option<Offset>, UnknownLag> {
        match &self.commits {
            None => Err(UnknownLag::NotSampled),
            Some((Err(why), _)) => Err(why.clone()),
            Some((Ok(commits), _)) => commits.get(partition).cloned().unwrap_or(Ok(None)),
        }
    }

    /// The sample of a moment at which nothing could be read.
    pub(super) fn unreachable(&mut self, topics: &Topics, why: &UnknownLag, taken: Instant) -> GroupSample {
        self.asleep = false;
        let mut lag = GroupLag { partitions: Vec::new() };
        let mut partition_count = BTreeMap::new();
        for topic in &self.key.topics {
            match topics.partitions(topic) {
                Ok(partitions) => {
                    lag.partitions.extend(partitions.iter().map(|p| unmeasured(p.clone(), why)));
                    partition_count
                        .insert(topic.clone(), u32::try_from(partitions.len()).unwrap_or(u32::MAX));
                }
                Err(_) => lag.partitions.push(unmeasured(TopicPartition::new(topic.as_str(), 0), why)),
            }
        }
        GroupSample { taken, lag, partition_count }
    }
}

fn unmeasured(partition: TopicPartition, why: &UnknownLag) -> PartitionLag {
    PartitionLag { partition, lag: Lag::Unknown(why.clone()), end: None, committed: None }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn offset(raw: i64) -> Offset {
        Offset::from_kafka(raw).expect("tests use real offsets")
    }

    fn partition(number: i32) -> TopicPartition {
        TopicPartition::new("orders", number)
    }

    fn group() -> Group {
        let key = WatchKey { group_id: "billing".to_owned(), topics: vec!["orders".to_owned()] };
        Group::new(key, StartFrom::Latest)
    }

    fn logs(end: i64) -> Logs {
        Logs { ends: [(partition(0), Ok(offset(end)))].into(), ..Logs::default() }
    }

    fn commits(
        committed: i64,
    ) -> Result<BTreeMap<TopicPartition, Result<Option<Offset>, KafkaError>>, KafkaError> {
        let foreign = TopicPartition::new("other", 0);
        Ok([(partition(0), Ok(Some(offset(committed)))), (foreign, Ok(Some(offset(7))))].into())
    }

    #[test]
    fn a_group_sleeps_when_nothing_moves_and_wakes_when_something_is_written() {
        let (mut group, now) = (group(), Instant::now());
        let topics = Topics::of(&[("orders", 1)], now);
        for round in 0..2 {
            assert!(group.is_due(now), "round {round}");
            group.learn_commits(&commits(10), now);
            assert_eq!(group.sample(&topics, &logs(10), now).lag.total(), Lag::Known(0));
        }
        assert!(!group.is_due(now) && !group.is_woken_by(&topics, &logs(10)));
        assert!(group.is_woken_by(&topics, &logs(11)));
        assert!(group.is_due(now + ASLEEP_FOR), "commits are read now and then all the same");
    }

    #[test]
    fn a_group_with_lag_never_sleeps() {
        let (mut group, now) = (group(), Instant::now());
        let topics = Topics::of(&[("orders", 1)], now);
        for _ in 0..3 {
            group.learn_commits(&commits(10), now);
            assert_eq!(group.sample(&topics, &logs(15), now).lag.total(), Lag::Known(5));
        }
        assert!(group.is_due(now));
    }

    #[test]
    fn a_latest_group_counts_from_where_its_topic_first_ended_until_it_commits() {
        let (mut group, now) = (group(), Instant::now());
        let topics = Topics::of(&[("orders", 1)], now);
        group.learn_commits(&Ok(BTreeMap::new()), now);
        assert_eq!(group.sample(&topics, &logs(100), now).lag.total(), Lag::Known(0));
        assert_eq!(group.sample(&topics, &logs(130), now).lag.total(), Lag::Known(30));
        group.forget(&BTreeSet::from(["orders".to_owned()]));
        assert_eq!(group.sample(&topics, &logs(3), now).lag.total(), Lag::Known(0), "a topic created anew");
    }

    #[test]
    fn an_unreadable_commit_leaves_every_partition_unknown_and_is_asked_again() {
        let (mut group, now) = (group(), Instant::now());
        let topics = Topics::of(&[("orders", 2)], now);
        let refused = KafkaError::from_code("read", 30, "GROUP".to_owned(), "no".to_owned());
        group.learn_commits(&Err(refused), now);
        let sample = group.sample(&topics, &logs(10), now);
        assert_eq!(sample.lag.total(), Lag::Unknown(UnknownLag::Unauthorized("no".to_owned())));
        assert_eq!((sample.lag.partitions.len(), sample.partitions()), (2, 2));
        assert!(group.is_due(now));
    }
}
