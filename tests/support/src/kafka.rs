//! What the brokers themselves say: offsets, records and timestamps, read with rdkafka through the plain listener. Independent
//! of Weir's own Kafka code, and a super user.
//!
//! Calls block for a few milliseconds; from async code they belong on `spawn_blocking` when something else must go on.

use std::{
    collections::BTreeMap,
    time::{Duration, Instant},
};

use anyhow::{Context, bail};
use rdkafka::{
    ClientConfig, Message, Offset, TopicPartitionList,
    consumer::{BaseConsumer, Consumer},
};

use crate::rig::Rig;

const TIMEOUT: Duration = Duration::from_secs(10);

/// A consumer that never joins a group; it only asks.
pub struct Witness {
    consumer: BaseConsumer,
    group: String,
}

/// A record as the brokers keep it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct WitnessedRecord {
    /// Partition.
    pub partition: i32,
    /// Offset in the partition.
    pub offset: i64,
    /// The record's timestamp in milliseconds since 1970: the time of appending for a topic with
    /// `message.timestamp.type=LogAppendTime`, else the producer's.
    pub timestamp: i64,
    /// Key.
    pub key: Option<Vec<u8>>,
    /// Value.
    pub value: Vec<u8>,
}

/// First and next offset of a partition.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Bounds {
    /// Offset of the oldest record that exists.
    pub begin: i64,
    /// Offset that the next record will get.
    pub end: i64,
}

impl Witness {
    /// A witness whose questions about committed offsets are about `group`.
    ///
    /// # Errors
    /// librdkafka refused the configuration.
    pub fn new(rig: &Rig, group: &str) -> anyhow::Result<Self> {
        let consumer = ClientConfig::new()
            .set("bootstrap.servers", &rig.kafka.plain)
            .set("group.id", group)
            .set("enable.auto.commit", "false")
            .set("allow.auto.create.topics", "false")
            .set("enable.partition.eof", "false")
            // Stops prefetching early: a witness reads one partition after the other.
            .set("queued.max.messages.kbytes", "16384")
            .create()
            .context("failed to make a consumer")?;
        Ok(Self { consumer, group: group.to_owned() })
    }

    /// The partitions of a topic; none if it does not exist.
    ///
    /// # Errors
    /// The brokers do not answer.
    pub fn partitions(&self, topic: &str) -> anyhow::Result<Vec<i32>> {
        let metadata =
            self.consumer.fetch_metadata(Some(topic), TIMEOUT).context("failed to fetch metadata")?;
        let found = metadata.topics().iter().find(|found| found.name() == topic && found.error().is_none());
        Ok(found.map(|topic| topic.partitions().iter().map(|p| p.id()).collect()).unwrap_or_default())
    }

    /// First and next offset of every partition of a topic.
    ///
    /// # Errors
    /// The brokers do not answer.
    pub fn bounds(&self, topic: &str) -> anyhow::Result<BTreeMap<i32, Bounds>> {
        let partitions = self.partitions(topic)?;
        let bounds = partitions.into_iter().map(|partition| {
            let (begin, end) = self
                .consumer
                .fetch_watermarks(topic, partition, TIMEOUT)
                .with_context(|| format!("failed to fetch the offsets of {topic}-{partition}"))?;
            Ok((partition, Bounds { begin, end }))
        });
        bounds.collect()
    }

    /// How many records lie in a topic: the sum of next minus first offsets. Exact for a topic without compaction and
    /// transactions.
    ///
    /// # Errors
    /// The brokers do not answer.
    pub fn records(&self, topic: &str) -> anyhow::Result<i64> {
        Ok(self.bounds(topic)?.values().map(|bounds| bounds.end - bounds.begin).sum())
    }

    /// The group's committed offsets in a topic; partitions without one are absent.
    ///
    /// # Errors
    /// The brokers do not answer.
    pub fn committed(&self, topic: &str) -> anyhow::Result<BTreeMap<i32, i64>> {
        let mut wanted = TopicPartitionList::new();
        for partition in self.partitions(topic)? {
            wanted.add_partition(topic, partition);
        }
        let found = self
            .consumer
            .committed_offsets(wanted, TIMEOUT)
            .with_context(|| format!("failed to fetch the committed offsets of {}", self.group))?;
        let elements = found.elements();
        let known = elements.iter().filter_map(|element| match element.offset() {
            Offset::Offset(offset) => Some((element.partition(), offset)),
            Offset::Beginning | Offset::End | Offset::Stored | Offset::Invalid | Offset::OffsetTail(_) => {
                None
            }
        });
        Ok(known.collect())
    }

    /// Records of a topic that the group has not committed; a partition without a committed offset counts whole. Commits are
    /// read before ends, so the lag is never too small.
    ///
    /// # Errors
    /// The brokers do not answer.
    pub fn lag(&self, topic: &str) -> anyhow::Result<i64> {
        let committed = self.committed(topic)?;
        let bounds = self.bounds(topic)?;
        let lags = bounds.iter().map(|(partition, bounds)| {
            let position = committed.get(partition).copied().unwrap_or(bounds.begin).max(bounds.begin);
            (bounds.end - position).max(0)
        });
        Ok(lags.sum())
    }

    /// Reads every record that lies in a topic now, partition by partition, and hands each to `take`.
    ///
    /// # Errors
    /// The brokers do not answer within `within`.
    pub fn read_all(
        &self,
        topic: &str,
        within: Duration,
        mut take: impl FnMut(WitnessedRecord),
    ) -> anyhow::Result<()> {
        let deadline = Instant::now() + within;
        let bounds = self.bounds(topic)?;
        let mut missing: BTreeMap<i32, i64> = bounds
            .iter()
            .filter(|(_, b)| b.end > b.begin)
            .map(|(partition, b)| (*partition, b.end))
            .collect();
        let mut assignment = TopicPartitionList::new();
        for partition in missing.keys() {
            let begin = Offset::Offset(bounds[partition].begin);
            assignment.add_partition_offset(topic, *partition, begin).context("failed to assign")?;
        }
        self.consumer.assign(&assignment).context("failed to assign")?;
        while !missing.is_empty() {
            if Instant::now() > deadline {
                bail!(
                    "failed to read {topic} within {within:?}: partitions {:?} are not read",
                    missing.keys()
                );
            }
            let Some(message) = self.consumer.poll(Duration::from_millis(500)) else { continue };
            let message = message.with_context(|| format!("failed to read {topic}"))?;
            let next = message.offset() + 1;
            take(WitnessedRecord {
                partition: message.partition(),
                offset: message.offset(),
                timestamp: message.timestamp().to_millis().unwrap_or(-1),
                key: message.key().map(<[u8]>::to_vec),
                value: message.payload().unwrap_or_default().to_vec(),
            });
            if missing.get(&message.partition()).is_some_and(|end| next >= *end) {
                missing.remove(&message.partition());
            }
        }
        self.consumer.unassign().context("failed to end reading")?;
        Ok(())
    }
}
