//! One assigned partition and everything that belongs to it, and the two calls by which partitions come and go.
//! Owned by the io thread.

use std::{
    collections::VecDeque,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use rdkafka::{
    TopicPartitionList,
    consumer::{BaseConsumer, Consumer as _, RebalanceProtocol, base_consumer::PartitionQueue},
    error::{KafkaError, KafkaResult},
    message::BorrowedMessage,
};
use weir_model::{Offset, TopicPartition, worker_config::Order};

use super::{
    Job,
    lanes::Lanes,
    rebalance::Context,
    record::Record,
    tracker::{SlotId, Tracker},
};

/// Numbers every assignment of every partition, so that a completion of an earlier one is recognised and dropped.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(super) struct Epoch(pub(super) u64);

/// An assigned partition.
pub(super) struct Partition {
    pub(super) id: Arc<TopicPartition>,
    /// Where the client puts this partition's records. Dropped only when the partition is let go.
    pub(super) queue: PartitionQueue<Context>,
    /// Set by the client's thread when the queue may have become non-empty.
    signal: Arc<AtomicBool>,
    pub(super) tracker: Tracker,
    pub(super) lanes: Lanes<Job>,
    /// Records in the handler now.
    pub(super) running: usize,
    /// The latest record that was ever started.
    started: Option<SlotId>,
    /// What the brokers confirmed in this assignment.
    pub(super) committed: Option<Offset>,
    /// Being let go: see [`Partition::leave`].
    pub(super) leaving: bool,
}

impl Partition {
    /// Splits the partition's queue off the main one. Must happen before the client starts to fetch it.
    pub(super) fn split(
        consumer: &Arc<BaseConsumer<Context>>,
        topic: &str,
        partition: i32,
        order: Order,
    ) -> Option<Self> {
        let mut queue = consumer.split_partition_queue(topic, partition)?;
        let signal = Arc::new(AtomicBool::new(true));
        let (raised, io_thread) = (Arc::clone(&signal), std::thread::current());
        // Called by the client's thread under the queue's lock: a store and a wake-up, nothing that can block.
        queue.set_nonempty_callback(move || {
            raised.store(true, Ordering::Release);
            io_thread.unpark();
        });
        Some(Self {
            id: Arc::new(TopicPartition::new(topic, partition)),
            queue,
            signal,
            tracker: Tracker::default(),
            lanes: Lanes::new(order),
            running: 0,
            started: None,
            committed: None,
            leaving: false,
        })
    }

    /// Whether the queue may hold something. Asking withdraws the signal.
    pub(super) fn take_signal(&self) -> bool {
        self.signal.swap(false, Ordering::AcqRel)
    }

    /// Takes up to `limit` records from the queue and appends those that may start to `ready`. Returns how many came.
    pub(super) fn take(
        &mut self,
        epoch: Epoch,
        limit: usize,
        ready: &mut VecDeque<Job>,
        errors: &mut Vec<KafkaError>,
    ) -> usize {
        for received in 0..limit {
            match self.queue.poll(Duration::ZERO) {
                None => return received,
                Some(Ok(message)) => {
                    let record = Record::copy(&self.id, &message);
                    drop(message);
                    ready.extend(record.and_then(|record| self.enter(epoch, record)));
                }
                Some(Err(error)) => errors.push(error),
            }
        }
        // The queue was left before it was empty, so nobody will signal what is still in it.
        self.signal.store(true, Ordering::Release);
        limit
    }

    /// Takes one record that did not come through the queue.
    pub(super) fn admit(&mut self, epoch: Epoch, message: &BorrowedMessage<'_>) -> Option<Job> {
        let record = Record::copy(&self.id, message)?;
        self.enter(epoch, record)
    }

    /// Tracks a record; returns it if it may start now.
    fn enter(&mut self, epoch: Epoch, record: Record) -> Option<Job> {
        let lane = self.lanes.lane(record.key());
        let slot = self.tracker.push(record.offset);
        self.lanes.enter(lane, Job { record, epoch, slot, lane, failures: 0 })
    }

    /// A record goes to the handler.
    pub(super) fn start(&mut self, slot: SlotId) {
        self.running += 1;
        self.started = self.started.max(Some(slot));
    }

    /// Nothing new starts, except the records in between others that already did: without them the position would stay
    /// behind and the others would be processed twice.
    pub(super) fn leave(&mut self) {
        self.leaving = true;
        let started = self.started;
        self.lanes.retain_waiting(|job| Some(job.slot) < started);
    }

    /// Whether a record that did not start yet still has to, although the partition is being let go.
    pub(super) fn fills_a_gap(&self, job: &Job) -> bool {
        Some(job.slot) < self.started
    }

    /// The position to commit, if it is not committed yet.
    pub(super) fn dirty(&self) -> Option<Offset> {
        self.tracker.position().filter(|position| Some(*position) != self.committed)
    }
}

/// Starts fetching newly assigned partitions.
pub(super) fn accept(consumer: &BaseConsumer<Context>, partitions: &TopicPartitionList) -> KafkaResult<()> {
    match consumer.rebalance_protocol() {
        RebalanceProtocol::Cooperative => consumer.incremental_assign(partitions),
        RebalanceProtocol::Eager | RebalanceProtocol::None => consumer.assign(partitions),
    }
}

/// Lets partitions go, so that the group can give them to others.
pub(super) fn release(consumer: &BaseConsumer<Context>, partitions: &TopicPartitionList) -> KafkaResult<()> {
    match consumer.rebalance_protocol() {
        RebalanceProtocol::Cooperative => consumer.incremental_unassign(partitions),
        RebalanceProtocol::Eager | RebalanceProtocol::None => consumer.unassign(),
    }
}
