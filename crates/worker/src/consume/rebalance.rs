//! The consumer's context: it only notes what the group decided. The io thread takes the notes after each poll and acts
//! on them, so that all state of partitions stays on that thread and no work happens inside a callback.

use std::{
    collections::VecDeque,
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicBool, Ordering},
    },
};

use rdkafka::{
    ClientContext, TopicPartitionList,
    config::RDKafkaLogLevel,
    consumer::{BaseConsumer, Consumer as _, ConsumerContext},
    error::KafkaError,
    types::RDKafkaRespErr,
};

use crate::{
    client::{self, ConnectionWatch},
    fault::Faults,
};

/// What happened while the main queue was polled.
#[derive(Debug)]
pub(super) enum Note {
    /// The group gave these partitions to this member. They start when the io thread says so.
    Assigned(TopicPartitionList),
    /// The group wants these partitions back; everything stands still until the io thread lets them go.
    Revoked(TopicPartitionList),
    /// These partitions already belong to others: nothing may be committed for them.
    Lost(TopicPartitionList),
}

/// Context of the consumer.
pub(super) struct Context {
    watch: ConnectionWatch,
    /// Only the io thread polls, and only its polls call back; the lock exists because the trait wants `Sync`.
    notes: Mutex<VecDeque<Note>>,
    /// While closing there is nobody left to act on notes: partitions are let go inside the callback.
    closing: AtomicBool,
}

impl Context {
    pub(super) fn new(faults: Arc<Faults>) -> Self {
        Self {
            watch: ConnectionWatch::new(faults),
            notes: Mutex::new(VecDeque::new()),
            closing: AtomicBool::new(false),
        }
    }

    pub(super) fn take_note(&self) -> Option<Note> {
        self.notes.lock().unwrap_or_else(PoisonError::into_inner).pop_front()
    }

    pub(super) fn close(&self) {
        self.closing.store(true, Ordering::Release);
    }

    fn note(&self, note: Note) {
        self.notes.lock().unwrap_or_else(PoisonError::into_inner).push_back(note);
    }
}

impl ClientContext for Context {
    fn log(&self, level: RDKafkaLogLevel, facility: &str, message: &str) {
        client::log(level, facility, message);
    }
    fn stats_raw(&self, statistics: &[u8]) {
        self.watch.statistics(statistics);
    }
    fn error(&self, error: KafkaError, reason: &str) {
        self.watch.error(&error, reason);
    }
}

impl ConsumerContext for Context {
    fn rebalance(
        &self,
        consumer: &BaseConsumer<Self>,
        event: RDKafkaRespErr,
        partitions: &mut TopicPartitionList,
    ) {
        if event == RDKafkaRespErr::RD_KAFKA_RESP_ERR__ASSIGN_PARTITIONS {
            self.note(Note::Assigned(partitions.clone()));
        } else if self.closing.load(Ordering::Acquire) {
            // The close goes on either way; an error here only says that the client is already gone.
            let _ = super::assignment::release(consumer, partitions);
        } else if consumer.assignment_lost() {
            self.note(Note::Lost(partitions.clone()));
        } else {
            self.note(Note::Revoked(partitions.clone()));
        }
    }
}
