//! One round of sampling: which questions, in which order.
//!
//! Commits are read before ends, or a commit in between would lie beyond the end. A group that sleeps is not asked for
//! its commits until something is written; then its commits and, after them, its ends are read in the same round.

use std::{
    collections::{BTreeMap, BTreeSet},
    time::{Duration, Instant},
};

use futures::{StreamExt, stream};
use tracing::debug;
use weir_model::{
    Offset, TopicPartition, UnknownLag,
    worker_config::Isolation::{self, ReadCommitted, ReadUncommitted},
};

use super::{
    WatchKey, Watched,
    group::{Group, Logs},
    topics::{Topics, unknown},
};
use crate::{Cluster, KafkaError, OffsetSpec};

/// Reads of commits on their way at the same time.
const COMMITS_IN_FLIGHT: usize = 100;
/// How old the oldest offsets may be; they only grow, slowly, with retention.
const STARTS_AGE: Duration = Duration::from_secs(60);

/// The sampler's knowledge between rounds.
pub(super) struct Sampling {
    cluster: Cluster,
    topics: Topics,
    logs: Logs,
    starts_read: Option<Instant>,
    groups: BTreeMap<WatchKey, Group>,
}

impl Sampling {
    pub(super) fn new(cluster: Cluster) -> Self {
        Self {
            cluster,
            topics: Topics::default(),
            logs: Logs::default(),
            starts_read: None,
            groups: BTreeMap::new(),
        }
    }

    /// Samples every watch once and publishes.
    pub(super) async fn round(&mut self, watches: &[Watched]) {
        self.adopt(watches);
        if watches.is_empty() {
            return;
        }
        let outcome = self.read().await;
        if let Err(error) = &outcome {
            debug!(category = error.category(), %error, "lag could not be sampled");
        }
        let taken = Instant::now();
        for watch in watches {
            let Some(group) = self.groups.get_mut(&watch.key) else { continue };
            let sample = match &outcome {
                Ok(()) => group.sample(&self.topics, &self.logs, taken),
                Err(error) => {
                    group.unreachable(&self.topics, &UnknownLag::Unreachable(error.to_string()), taken)
                }
            };
            watch.sender.send_replace(Some(sample));
        }
    }

    /// Begins and ends the memories of groups with their watches.
    fn adopt(&mut self, watches: &[Watched]) {
        let wanted: BTreeMap<_, _> = watches.iter().map(|watch| (&watch.key, watch.start_from)).collect();
        self.groups.retain(|key, group| wanted.get(key).is_some_and(|from| group.starts_from(*from)));
        for (key, start_from) in wanted {
            if !self.groups.contains_key(key) {
                self.groups.insert(key.clone(), Group::new(key.clone(), start_from));
            }
        }
    }

    /// Asks the brokers; an error means that this round knows nothing.
    async fn read(&mut self) -> Result<(), KafkaError> {
        let now = Instant::now();
        self.read_topics(now).await?;
        let due = |group: &Group| group.is_due(now);
        self.read_commits(due, now).await?;
        let partitions = self.partitions();
        self.logs.ends.clear();
        self.read_ends(&partitions).await?;

        let woken: BTreeSet<WatchKey> =
            self.groups.values().filter(|g| self.is_woken(g, now)).map(|g| g.key.clone()).collect();
        if !woken.is_empty() {
            self.read_commits(|group| woken.contains(&group.key), now).await?;
            let groups = woken.iter().filter_map(|key| self.groups.get(key));
            let again: BTreeSet<_> = groups.flat_map(|group| group.partitions(&self.topics)).collect();
            self.read_ends(&again).await?;
        }
        self.read_starts(&partitions, now).await;
        self.read_high_watermarks().await;
        Ok(())
    }

    fn is_woken(&self, group: &Group, now: Instant) -> bool {
        !group.is_due(now) && group.is_woken_by(&self.topics, &self.logs)
    }

    fn partitions(&self) -> BTreeSet<TopicPartition> {
        self.groups.values().flat_map(|group| group.partitions(&self.topics)).collect()
    }

    async fn read_topics(&mut self, now: Instant) -> Result<(), KafkaError> {
        let names: BTreeSet<&str> =
            self.groups.keys().flat_map(|key| &key.topics).map(String::as_str).collect();
        let created_anew = self.topics.refresh(&self.cluster, &names, now).await?;
        if !created_anew.is_empty() {
            self.logs.starts.retain(|partition, _| !created_anew.contains(&*partition.topic));
            self.groups.values_mut().for_each(|group| group.forget(&created_anew));
        }
        Ok(())
    }

    /// Reads the commits of the groups that `wanted` picks, side by side. Fails only if the brokers answered none.
    async fn read_commits(
        &mut self,
        wanted: impl Fn(&Group) -> bool,
        now: Instant,
    ) -> Result<(), KafkaError> {
        let ids: BTreeSet<String> = self
            .groups
            .values()
            .filter(|group| wanted(group))
            .map(|group| group.key.group_id.clone())
            .collect();
        let cluster = &self.cluster;
        let answers: BTreeMap<String, _> = stream::iter(ids)
            .map(|id| async move {
                let offsets = cluster.group_offsets(&id).await;
                (id, offsets)
            })
            .buffer_unordered(COMMITS_IN_FLIGHT)
            .collect()
            .await;
        let silent =
            |answer: &Result<_, KafkaError>| answer.as_ref().is_err_and(|error| error.code().is_none());
        if !answers.is_empty() && answers.values().all(silent) {
            return answers.into_values().find_map(Result::err).map_or(Ok(()), Err);
        }
        for group in self.groups.values_mut().filter(|group| wanted(group)) {
            if let Some(answer) = answers.get(&group.key.group_id) {
                group.learn_commits(answer, now);
            }
        }
        Ok(())
    }

    async fn read_ends(&mut self, partitions: &BTreeSet<TopicPartition>) -> Result<(), KafkaError> {
        for (partition, end) in self.list(partitions, OffsetSpec::Latest, ReadCommitted).await? {
            let end = end.map_err(|error| {
                if error.is_unknown_topic() {
                    self.topics.doubt(&partition.topic);
                }
                unknown(&error, &partition.topic)
            });
            self.logs.ends.insert(partition, end);
        }
        Ok(())
    }

    /// Reads the oldest offsets when they are old, missing, or contradict the ends. A failure leaves the old ones:
    /// `arithmetic` knows what to do without them.
    async fn read_starts(&mut self, partitions: &BTreeSet<TopicPartition>, now: Instant) {
        let logs = &self.logs;
        let all = self.starts_read.is_none_or(|read| now.duration_since(read) >= STARTS_AGE);
        let doubtful =
            |partition: &&TopicPartition| match (logs.starts.get(*partition), logs.ends.get(*partition)) {
                (Some(start), Some(Ok(end))) => start > end,
                (None, Some(Ok(_))) => true,
                (_, Some(Err(_)) | None) => false,
            };
        let wanted: BTreeSet<_> = partitions.iter().filter(|p| all || doubtful(p)).cloned().collect();
        let starts = self.list_known(&wanted, OffsetSpec::Earliest).await;
        if all && (!starts.is_empty() || wanted.is_empty()) {
            self.starts_read = Some(now);
        }
        self.logs.starts.retain(|partition, _| partitions.contains(partition));
        self.logs.starts.extend(starts);
    }

    async fn read_high_watermarks(&mut self) {
        let beyond =
            self.groups.values().flat_map(|group| group.beyond_end(&self.topics, &self.logs)).collect();
        self.logs.high_watermarks = self.list_known(&beyond, OffsetSpec::Latest).await;
    }

    /// Offsets of the partitions for which the brokers gave one.
    async fn list_known(
        &self,
        partitions: &BTreeSet<TopicPartition>,
        spec: OffsetSpec,
    ) -> BTreeMap<TopicPartition, Offset> {
        match self.list(partitions, spec, ReadUncommitted).await {
            Ok(offsets) => offsets
                .into_iter()
                .filter_map(|(partition, offset)| Some((partition, offset.ok()?)))
                .collect(),
            Err(error) => {
                debug!(category = error.category(), %error, "offsets could not be read");
                BTreeMap::new()
            }
        }
    }

    async fn list(
        &self,
        partitions: &BTreeSet<TopicPartition>,
        spec: OffsetSpec,
        isolation: Isolation,
    ) -> Result<crate::cluster::PerItem<TopicPartition, Offset>, KafkaError> {
        let partitions: Vec<_> = partitions.iter().cloned().collect();
        self.cluster.list_offsets(&partitions, spec, isolation).await
    }
}
