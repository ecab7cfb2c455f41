//! What a consuming worker publishes: counters for `/metrics` and the document of `/status`. Written by the io
//! thread, read by the server.

use std::sync::{
    Arc,
    atomic::{AtomicI64, AtomicU64, Ordering},
};

use prometheus_client::{
    metrics::{counter::Counter, gauge::Gauge, histogram::Histogram},
    registry::{Registry, Unit},
};
use weir_model::worker_status::ConsumeStatus;

use crate::fault::Faults;

/// Handler latencies that are told apart, in seconds: from a local call to a slow dependency.
const LATENCIES: [f64; 13] =
    [0.0001, 0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 1.0, 5.0, 30.0];

/// Counters of one consuming worker.
pub(crate) struct State {
    pub(super) received: Counter,
    pub(super) completed: Counter,
    pub(super) retried: Counter,
    /// Completions of partitions that were let go meanwhile.
    pub(super) stale: Counter,
    pub(super) commits: Counter,
    pub(super) in_flight: Gauge<i64, AtomicI64>,
    pub(super) waiting: Gauge<i64, AtomicI64>,
    pub(super) assigned: Gauge<i64, AtomicI64>,
    pub(super) latency: Histogram,
    pub(super) records_per_second: AtomicU64,
    pub(super) faults: Arc<Faults>,
}

impl Default for State {
    fn default() -> Self {
        Self {
            received: Counter::default(),
            completed: Counter::default(),
            retried: Counter::default(),
            stale: Counter::default(),
            commits: Counter::default(),
            in_flight: Gauge::default(),
            waiting: Gauge::default(),
            assigned: Gauge::default(),
            latency: Histogram::new(LATENCIES),
            records_per_second: AtomicU64::new(0),
            faults: Arc::default(),
        }
    }
}

impl State {
    pub(super) fn register(&self, registry: &mut Registry) {
        registry.register("records_received", "Records taken from the brokers", self.received.clone());
        registry.register("records_completed", "Records that the handler completed", self.completed.clone());
        registry.register(
            "records_retried",
            "Attempts that failed and are or were tried again",
            self.retried.clone(),
        );
        registry.register(
            "records_stale",
            "Attempts that ended after their partition was let go",
            self.stale.clone(),
        );
        registry.register("commits", "Commits that the brokers confirmed", self.commits.clone());
        registry.register("records_in_flight", "Records in the handler now", self.in_flight.clone());
        registry.register("records_waiting", "Records that wait for another attempt", self.waiting.clone());
        registry.register("partitions_assigned", "Partitions that this member owns", self.assigned.clone());
        registry.register_with_unit(
            "handler_latency",
            "Time of one attempt in the handler",
            Unit::Seconds,
            self.latency.clone(),
        );
    }

    pub(super) fn status(&self) -> ConsumeStatus {
        let count = |gauge: &Gauge<i64, AtomicI64>| u64::try_from(gauge.get()).unwrap_or(0);
        ConsumeStatus {
            assigned: u32::try_from(self.assigned.get()).unwrap_or(0),
            received: self.received.get(),
            completed: self.completed.get(),
            retried: self.retried.get(),
            waiting: count(&self.waiting),
            records_per_second: self.records_per_second.load(Ordering::Relaxed),
            fault: self.faults.current(),
        }
    }
}

/// A count for a gauge.
pub(super) fn gauge_value(count: usize) -> i64 {
    i64::try_from(count).unwrap_or(i64::MAX)
}
