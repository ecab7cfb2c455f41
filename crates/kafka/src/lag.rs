//! Samples the lag of all watched groups of one cluster: one task and one handle, whatever the number of groups.
//!
//! Publishes what it measured and decides nothing. Errors are values of partitions; a sample is published every
//! interval, also when nothing could be read. `arithmetic` computes, `sampling` asks, `topics` knows the partitions.

mod arithmetic;
mod group;
mod sampling;
mod topics;

use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::{Duration, Instant},
};

use tokio::{
    sync::{Notify, watch},
    task::JoinHandle,
    time::MissedTickBehavior,
};
use weir_model::{GroupLag, Offset, worker_config::StartFrom};

use self::sampling::Sampling;
use crate::Cluster;

/// Time for one call of a sample; short, because the next sample follows.
const CALL_TIMEOUT: Duration = Duration::from_secs(3);

/// A group whose lag is wanted.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct GroupWatch {
    /// The group's id.
    pub group_id: String,
    /// Topics that it consumes, by exact name.
    pub topics: Vec<String>,
    /// Where partitions without a commit begin.
    pub start_from: StartFrom,
}

/// The lag of one group at one moment.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct GroupSample {
    /// When the sample was complete; also when it holds nothing but unknowns.
    pub taken: Instant,
    /// Lag of every partition of every topic. A topic whose partitions are not known stands as one unknown
    /// partition 0, so that it is never mistaken for a topic without lag.
    pub lag: GroupLag,
    /// How many partitions each topic has; only topics that are known to exist.
    pub partition_count: BTreeMap<String, u32>,
}

impl GroupSample {
    /// Sum of the committed offsets that are known. Its growth is what the group completed, except that a partition's
    /// first commit adds all offsets before it.
    #[must_use]
    pub fn committed_sum(&self) -> u64 {
        self.lag.partitions.iter().filter_map(|p| p.committed).map(|o| o.since(Offset::ZERO)).sum()
    }

    /// Partitions of all known topics: no more members than this can have work.
    #[must_use]
    pub fn partitions(&self) -> u32 {
        self.partition_count.values().sum()
    }
}

/// What makes two watches the same.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
struct WatchKey {
    group_id: String,
    /// Sorted and without duplicates.
    topics: Vec<String>,
}

#[derive(Clone)]
struct Watched {
    key: WatchKey,
    start_from: StartFrom,
    sender: watch::Sender<Option<GroupSample>>,
}

/// The watches that callers and the task share.
///
/// A lock, because [`LagSampler::watch`] must not wait and watches must not be lost; held for the time of a look-up.
#[derive(Default)]
struct Watches {
    entries: Mutex<BTreeMap<WatchKey, Watched>>,
    added: Notify,
}

impl Watches {
    fn entries(&self) -> MutexGuard<'_, BTreeMap<WatchKey, Watched>> {
        // Every change is one insertion or removal, so a panic elsewhere leaves nothing half done.
        self.entries.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Forgets watches that nobody receives any more and returns the others.
    fn open(&self) -> Vec<Watched> {
        let mut entries = self.entries();
        entries.retain(|_, watched| !watched.sender.is_closed());
        entries.values().cloned().collect()
    }
}

/// The sampling task of one cluster. Dropping it ends the task; receivers then see their channel closed.
pub struct LagSampler {
    watches: Arc<Watches>,
    task: JoinHandle<()>,
}

impl std::fmt::Debug for LagSampler {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("LagSampler").field("watches", &self.watches.entries().len()).finish_non_exhaustive()
    }
}

impl LagSampler {
    /// Starts the task on the current Tokio runtime. It asks the brokers nothing while nothing is watched.
    #[must_use]
    pub fn start(cluster: Cluster, interval: Duration) -> Self {
        let watches = Arc::new(Watches::default());
        let task = tokio::spawn(run(cluster.with_timeout(CALL_TIMEOUT), watches.clone(), interval));
        Self { watches, task }
    }

    /// Watches a group until every receiver is dropped. The first sample follows at once. Watching the same group and
    /// topics again joins the present watch, or replaces it if `start_from` differs.
    #[must_use]
    pub fn watch(&self, watch: GroupWatch) -> watch::Receiver<Option<GroupSample>> {
        let mut topics = watch.topics;
        topics.sort();
        topics.dedup();
        let key = WatchKey { group_id: watch.group_id, topics };
        let mut entries = self.watches.entries();
        if let Some(present) = entries.get(&key).filter(|present| present.start_from == watch.start_from) {
            return present.sender.subscribe();
        }
        let (sender, receiver) = watch::channel(None);
        entries.insert(key.clone(), Watched { key, start_from: watch.start_from, sender });
        drop(entries);
        self.watches.added.notify_one();
        receiver
    }
}

impl Drop for LagSampler {
    fn drop(&mut self) {
        self.task.abort(); // safe at every await: a sample is published whole or not at all
    }
}

async fn run(cluster: Cluster, watches: Arc<Watches>, interval: Duration) {
    let mut sampling = Sampling::new(cluster);
    let mut ticks = tokio::time::interval(interval);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        tokio::select! {
            biased; // a tick serves new watches too, so it goes first
            _ = ticks.tick() => {}
            () = watches.added.notified() => {}
        }
        sampling.round(&watches.open()).await;
    }
}
