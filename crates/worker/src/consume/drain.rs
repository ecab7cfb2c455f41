//! Letting go: of partitions that the group takes back, and of everything when the worker stops. In both cases
//! records in the handler get some time, positions of completed records are committed, and nothing else is.

use std::{
    sync::atomic::Ordering,
    time::{Duration, Instant},
};

use rdkafka::{TopicPartitionList, consumer::Consumer as _};

use super::{
    assignment::{self, Epoch, Partition},
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
        let leaving = self.leaving(partitions);
        self.withdraw(&leaving);
        if lost {
            self.ready.retain(|job| !leaving.contains(&job.epoch));
        } else if !leaving.is_empty() {
            let deadline = Instant::now() + REVOKE_DRAIN;
            while self.is_busy(&leaving) && Instant::now() < deadline {
                self.shared.heartbeat.beat();
                self.start_ready();
                if !self.take_attempts() {
                    self.sleep(NAP);
                }
            }
            self.ready.retain(|job| !leaving.contains(&job.epoch));
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

    fn leaving(&self, partitions: &TopicPartitionList) -> Vec<Epoch> {
        let elements = partitions.elements();
        let is_leaving = |partition: &Partition| {
            elements
                .iter()
                .any(|e| *partition.id.topic == *e.topic() && partition.id.partition == e.partition())
        };
        self.partitions.iter().filter(|(_, p)| is_leaving(p)).map(|(epoch, _)| *epoch).collect()
    }

    /// Takes back what these partitions queued, except what fills gaps between records that already started.
    fn withdraw(&mut self, leaving: &[Epoch]) {
        let partitions = &mut self.partitions;
        self.ready.retain(|job| {
            !leaving.contains(&job.epoch) || partitions.get(&job.epoch).is_some_and(|p| p.fills_a_gap(job))
        });
        self.retries.retain(|job| !leaving.contains(&job.epoch));
        for epoch in leaving {
            if let Some(partition) = partitions.get_mut(epoch) {
                partition.leave();
            }
        }
    }

    /// Whether records of these partitions are in the handler or about to be.
    fn is_busy(&self, epochs: &[Epoch]) -> bool {
        epochs.iter().any(|epoch| self.partitions.get(epoch).is_some_and(|p| p.running > 0))
            || self.ready.iter().any(|job| epochs.contains(&job.epoch))
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
        let mut all: Vec<Epoch> = self.partitions.keys().copied().collect();
        self.withdraw(&all);
        let deadline = Instant::now() + STOP_DRAIN;
        while self.is_busy(&all) && Instant::now() < deadline {
            self.shared.heartbeat.beat();
            self.serve_client(Duration::ZERO);
            // The group may give partitions even now; nothing of them is taken.
            all = self.partitions.keys().copied().collect();
            self.start_ready();
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
