//! Letting go: of partitions that the group takes back, and of everything when the worker stops. In both cases
//! records in the handler get some time, positions of completed records are committed, and nothing else is.

use std::{
    sync::atomic::Ordering,
    time::{Duration, Instant},
};

use rdkafka::{TopicPartitionList, consumer::Consumer as _};

use super::{
    assignment::{self, Epoch},
    io_thread::IoThread,
    rebalance::Note,
};

/// Short, because all partitions of the member stand still meanwhile.
const REVOKE_DRAIN: Duration = Duration::from_secs(2);
const REVOKE_COMMIT: Duration = Duration::from_secs(2);
/// Below a pod's grace period of 30 s, together with the other two.
const STOP_DRAIN: Duration = Duration::from_secs(8);
const STOP_COMMIT: Duration = Duration::from_secs(3);
const STOP_CLOSE: Duration = Duration::from_secs(3);
const NAP: Duration = Duration::from_millis(10);

impl IoThread {
    /// Lets partitions go. Of lost ones nothing is committed: they already belong to others.
    pub(super) fn revoke(&mut self, partitions: &TopicPartitionList, lost: bool) {
        let leaving = self.mark_leaving(partitions);
        self.ready.retain(|job| !leaving.contains(&job.epoch));
        self.retries.retain(|job| !leaving.contains(&job.epoch));
        if !lost && !leaving.is_empty() {
            let deadline = Instant::now() + REVOKE_DRAIN;
            while self.any_running(&leaving) && Instant::now() < deadline {
                self.shared.heartbeat.beat();
                if !self.take_attempts() {
                    self.sleep(NAP);
                }
                self.start_ready();
            }
            self.commit_all(REVOKE_COMMIT);
        }
        for epoch in &leaving {
            self.partitions.remove(epoch);
        }
        if let Err(error) = assignment::release(&self.consumer, partitions) {
            tracing::warn!("The client did not let partitions go: {error}.");
        }
        tracing::info!(
            removed = partitions.count(),
            owned = self.partitions.len(),
            lost,
            "Partitions were revoked."
        );
    }

    fn mark_leaving(&mut self, partitions: &TopicPartitionList) -> Vec<Epoch> {
        let elements = partitions.elements();
        let mut leaving = Vec::new();
        for (epoch, partition) in &mut self.partitions {
            if elements
                .iter()
                .any(|e| *partition.id.topic == *e.topic() && partition.id.partition == e.partition())
            {
                partition.leaving = true;
                partition.lanes.drop_waiting();
                leaving.push(*epoch);
            }
        }
        leaving
    }

    fn any_running(&self, epochs: &[Epoch]) -> bool {
        epochs.iter().any(|epoch| self.partitions.get(epoch).is_some_and(|p| p.running > 0))
    }

    /// Commits every completed position and waits for the answer, for at most `limit`. A refused commit is repeated:
    /// in the middle of a rebalance the group's coordinator takes none for a moment.
    fn commit_all(&mut self, limit: Duration) {
        let deadline = Instant::now() + limit;
        // One that is under way is an older position, and its answer must not be taken for ours.
        self.await_commit(deadline);
        while self.partitions.values().any(|p| p.dirty().is_some()) && Instant::now() < deadline {
            self.commit(Instant::now());
            self.await_commit(deadline);
            if self.partitions.values().any(|p| p.dirty().is_some()) {
                std::thread::park_timeout(NAP);
            }
        }
    }

    /// Other events of the client wait meanwhile; they are served by the next turn.
    fn await_commit(&mut self, deadline: Instant) {
        loop {
            self.take_commit();
            if !self.committer.is_under_way() || Instant::now() >= deadline {
                return;
            }
            self.shared.heartbeat.beat();
            std::thread::park_timeout(NAP);
        }
    }

    /// Finishes what is in the handler, commits, leaves the group. Bounded in every step.
    pub(super) fn stop(mut self) {
        self.shared.ready.store(false, Ordering::Relaxed);
        self.stopping = true;
        self.ready.clear();
        self.retries.retain(|_| false);
        for partition in self.partitions.values_mut() {
            partition.lanes.drop_waiting();
        }
        let deadline = Instant::now() + STOP_DRAIN;
        while self.running > 0 && Instant::now() < deadline {
            self.shared.heartbeat.beat();
            self.serve_client(Duration::ZERO);
            if !self.take_attempts() {
                self.sleep(NAP);
            }
        }
        if self.running > 0 {
            tracing::warn!(
                records = self.running,
                "Records are still in the handler; they are not committed and will be processed again."
            );
        }
        self.commit_all(STOP_COMMIT);
        self.close();
    }

    fn close(self) {
        let Self { consumer, partitions, committer, shared, .. } = self;
        consumer.context().close();
        // Queue objects keep the client alive, and so does the committing thread.
        drop((partitions, committer));
        while let Some(note) = consumer.context().take_note() {
            let outcome = match &note {
                Note::Assigned(partitions) => assignment::accept(&consumer, partitions),
                Note::Revoked(partitions) | Note::Lost(partitions) => {
                    assignment::release(&consumer, partitions)
                }
            };
            if let Err(error) = outcome {
                tracing::debug!("The client answered while closing: {error}.");
            }
        }
        let deadline = Instant::now() + STOP_CLOSE;
        if let Err(error) = consumer.close_queue() {
            tracing::warn!("The client cannot be closed: {error}.");
        }
        while !consumer.closed() && Instant::now() < deadline {
            shared.heartbeat.beat();
            let _ = consumer.poll(NAP);
        }
        if !consumer.closed() {
            tracing::warn!(
                "The group did not confirm the departure in time; it will notice by the session timeout."
            );
            // Dropping it would wait for brokers that do not answer.
            std::mem::forget(consumer);
        }
    }
}
