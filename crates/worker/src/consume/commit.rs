//! Committing: which positions, and when. Only positions below which every record is done ever get here.
//!
//! The answer to an asynchronous commit never reaches a user of rdkafka 0.39 (librdkafka raises the event only if a
//! commit callback was configured, which the wrapper does not do). So a thread of its own commits synchronously and
//! passes the answer on; the io thread never waits for it, except when it lets partitions go.

use std::{
    collections::BTreeMap,
    sync::{
        Arc,
        mpsc::{Receiver, SyncSender, sync_channel},
    },
    thread::{self, Thread},
    time::{Duration, Instant},
};

use rdkafka::{
    Offset as ClientOffset, TopicPartitionList,
    consumer::{BaseConsumer, CommitMode, Consumer as _},
    error::{KafkaError, KafkaResult, RDKafkaErrorCode},
};
use weir_model::Offset;

use super::{
    assignment::{Epoch, Partition},
    rebalance::Context,
};

/// The timing of commits. At most one is under way, so that an older position never arrives after a newer one.
pub(super) struct Committer {
    interval: Duration,
    next: Instant,
    /// Positions of the commit that is under way.
    sent: Option<Vec<(Epoch, Offset)>>,
    /// Wakes the committing thread. Holds one wish; there is never a second.
    wishes: SyncSender<()>,
    answers: Receiver<KafkaResult<()>>,
}

/// How a commit ended.
#[derive(Debug)]
pub(super) enum Answer {
    /// The brokers confirmed these positions.
    Committed(Vec<(Epoch, Offset)>),
    /// They stay dirty.
    Failed(KafkaError),
}

impl Committer {
    /// Starts the committing thread; it ends when the committer is dropped.
    pub(super) fn start(
        consumer: &Arc<BaseConsumer<Context>>,
        io_thread: Thread,
        interval: Duration,
        now: Instant,
    ) -> Self {
        let (wishes, wished) = sync_channel(1);
        let (answer, answers) = sync_channel(1);
        let consumer = Arc::clone(consumer);
        thread::Builder::new()
            .name("commit".to_owned())
            .spawn(move || {
                while wished.recv().is_ok() {
                    if answer.send(consumer.commit_consumer_state(CommitMode::Sync)).is_err() {
                        return;
                    }
                    io_thread.unpark();
                }
            })
            .expect("a process that just started may have one more thread");
        let interval = interval.max(Duration::from_millis(50));
        Self { interval, next: now + interval, sent: None, wishes, answers }
    }

    pub(super) fn is_due(&self, now: Instant) -> bool {
        self.sent.is_none() && now >= self.next
    }

    pub(super) fn is_under_way(&self) -> bool {
        self.sent.is_some()
    }

    /// Takes the answer, if there is one.
    pub(super) fn take_answer(&mut self) -> Option<Answer> {
        let outcome = self.answers.try_recv().ok()?;
        let sent = self.sent.take().unwrap_or_default();
        Some(match outcome {
            Ok(()) => Answer::Committed(sent),
            Err(error) => Answer::Failed(error),
        })
    }

    /// Sends the dirty positions, unless a commit is under way.
    ///
    /// # Errors
    /// The client did not take them; they stay dirty.
    pub(super) fn send(
        &mut self,
        consumer: &BaseConsumer<Context>,
        partitions: &BTreeMap<Epoch, Partition>,
        now: Instant,
    ) -> KafkaResult<()> {
        self.next = now + self.interval;
        let mut offsets = TopicPartitionList::new();
        let mut sent = Vec::new();
        for (epoch, partition) in partitions {
            let Some(position) = partition.dirty() else { continue };
            let raw = ClientOffset::Offset(position.to_kafka());
            offsets.add_partition_offset(&partition.id.topic, partition.id.partition, raw)?;
            sent.push((*epoch, position));
        }
        if sent.is_empty() || self.is_under_way() {
            return Ok(());
        }
        // Storing is the fence: the client keeps only positions of partitions that it owns, and commits only those.
        match consumer.store_offsets(&offsets) {
            Ok(()) | Err(KafkaError::StoreOffset(RDKafkaErrorCode::State)) => {}
            Err(error) => return Err(error),
        }
        self.wishes.try_send(()).expect("the committing thread lives and has no other wish");
        self.sent = Some(sent);
        Ok(())
    }
}

/// Whether a failed commit means no more than "nothing was stored".
pub(super) fn is_empty_commit(error: &KafkaError) -> bool {
    error.rdkafka_error_code() == Some(RDKafkaErrorCode::NoOffset)
}
