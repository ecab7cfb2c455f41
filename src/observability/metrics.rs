//! The operator's metrics, in OpenMetrics' text form, prefix `weir_`.
//!
//! Labels are bounded: kinds, results, categories, reasons. Only the series of a group carry names; there are as many
//! as there are ConsumerGroups, and [`Metrics::forget_group`] removes them with the object.

use std::{
    fmt,
    sync::{Arc, atomic::AtomicU64},
    time::Duration,
};

use prometheus_client::{
    encoding::{EncodeLabelSet, text::encode},
    metrics::{counter::Counter, family::Family, gauge::Gauge, histogram::Histogram, info::Info},
    registry::Registry,
};
use weir_model::{GroupLag, Lag};

type Number = Gauge<u64, AtomicU64>;
type Histograms<L> = Family<L, Histogram, fn() -> Histogram>;

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct KindLabel {
    kind: &'static str,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct ReconcileLabels {
    kind: &'static str,
    result: &'static str,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct ApiLabel {
    api: &'static str,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct ErrorLabels {
    api: &'static str,
    category: &'static str,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct GroupLabels {
    namespace: String,
    name: String,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct DecisionLabels {
    direction: &'static str,
    reason: &'static str,
}

/// Every series of the operator. Clones share them.
#[derive(Clone)]
pub(crate) struct Metrics {
    registry: Arc<Registry>,
    reconciles: Family<ReconcileLabels, Counter>,
    reconcile_durations: Histograms<KindLabel>,
    leader: Gauge,
    kafka_requests: Histograms<ApiLabel>,
    kafka_errors: Family<ErrorLabels, Counter>,
    group_lag: Family<GroupLabels, Number>,
    group_lag_max_partition: Family<GroupLabels, Number>,
    group_lag_valid: Family<GroupLabels, Gauge>,
    desired_replicas: Family<GroupLabels, Number>,
    current_replicas: Family<GroupLabels, Number>,
    decisions: Family<DecisionLabels, Counter>,
}

impl fmt::Debug for Metrics {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Metrics").finish_non_exhaustive()
    }
}

impl Metrics {
    /// All series, none of them with a value but `weir_build_info` and `weir_leader`.
    pub(crate) fn new() -> Self {
        let mut metrics = Self {
            registry: Arc::default(),
            reconciles: Family::default(),
            reconcile_durations: Family::new_with_constructor(latencies),
            leader: Gauge::default(),
            kafka_requests: Family::new_with_constructor(latencies),
            kafka_errors: Family::default(),
            group_lag: Family::default(),
            group_lag_max_partition: Family::default(),
            group_lag_valid: Family::default(),
            desired_replicas: Family::default(),
            current_replicas: Family::default(),
            decisions: Family::default(),
        };
        metrics.registry = Arc::new(metrics.register());
        metrics
    }

    fn register(&self) -> Registry {
        let mut registry = Registry::with_prefix("weir");
        let r = &mut registry;
        let build = Info::new(vec![("version", env!("CARGO_PKG_VERSION"))]);
        r.register("build", "Version of the operator", build);
        r.register("reconcile", "Reconciles that finished", self.reconciles.clone());
        r.register(
            "reconcile_duration_seconds",
            "Time that a reconcile took",
            self.reconcile_durations.clone(),
        );
        r.register(
            "leader",
            "Whether this process holds the lease (1) or stands by (0)",
            self.leader.clone(),
        );
        r.register(
            "kafka_request_duration_seconds",
            "Time until brokers answered a request",
            self.kafka_requests.clone(),
        );
        r.register("kafka_errors", "Requests to brokers that failed", self.kafka_errors.clone());
        r.register(
            "group_lag",
            "Records that the group has not processed; absent while unknown",
            self.group_lag.clone(),
        );
        r.register(
            "group_lag_max_partition",
            "The largest lag of a single partition; absent while unknown",
            self.group_lag_max_partition.clone(),
        );
        r.register(
            "group_lag_valid",
            "Whether the lag of the group is known (1) or not (0)",
            self.group_lag_valid.clone(),
        );
        r.register(
            "scaler_desired_replicas",
            "Replicas that the autoscaler wants",
            self.desired_replicas.clone(),
        );
        r.register(
            "scaler_current_replicas",
            "Replicas that the workload is asked to have",
            self.current_replicas.clone(),
        );
        r.register("scaler_decisions", "Decisions that changed replicas", self.decisions.clone());
        registry
    }

    /// A reconcile of `kind` ended; `result` is `ok`, `retry` or the bounded category of its error.
    pub(crate) fn reconciled(&self, kind: &'static str, result: &'static str, took: Duration) {
        self.reconciles.get_or_create(&ReconcileLabels { kind, result }).inc();
        self.reconcile_durations.get_or_create(&KindLabel { kind }).observe(took.as_secs_f64());
    }

    /// This process became the leader, or ceased to be.
    pub(crate) fn set_leader(&self, leads: bool) {
        self.leader.set(i64::from(leads));
    }

    /// Brokers answered a request (or it was given up) after `took`.
    pub(crate) fn kafka_request(&self, api: &'static str, took: Duration) {
        self.kafka_requests.get_or_create(&ApiLabel { api }).observe(took.as_secs_f64());
    }

    /// A request to brokers failed; `category` is the error's bounded category.
    pub(crate) fn kafka_failed(&self, api: &'static str, category: &'static str) {
        self.kafka_errors.get_or_create(&ErrorLabels { api, category }).inc();
    }

    /// A sample of a group. An unknown lag removes the number, because a stale one would look like a measurement.
    pub(crate) fn group_sampled(&self, namespace: &str, name: &str, lag: &GroupLag) {
        let labels = group(namespace, name);
        let (total, valid) = match lag.total() {
            Lag::Known(total) => (Some(total), 1),
            Lag::Unknown(_) | Lag::NotApplicable => (None, 0),
        };
        self.group_lag_valid.get_or_create(&labels).set(valid);
        set_or_remove(&self.group_lag, &labels, total);
        set_or_remove(&self.group_lag_max_partition, &labels, lag.max());
    }

    /// What the autoscaler wants for a group and what its workload is asked to have.
    pub(crate) fn group_replicas(&self, namespace: &str, name: &str, desired: u32, current: u32) {
        let labels = group(namespace, name);
        self.desired_replicas.get_or_create(&labels).set(u64::from(desired));
        self.current_replicas.get_or_create(&labels).set(u64::from(current));
    }

    /// A decision changed the replicas of some group.
    pub(crate) fn scaler_decided(&self, direction: &'static str, reason: &'static str) {
        self.decisions.get_or_create(&DecisionLabels { direction, reason }).inc();
    }

    /// Removes the series of a group that no longer exists.
    pub(crate) fn forget_group(&self, namespace: &str, name: &str) {
        let labels = group(namespace, name);
        self.group_lag.remove(&labels);
        self.group_lag_max_partition.remove(&labels);
        self.group_lag_valid.remove(&labels);
        self.desired_replicas.remove(&labels);
        self.current_replicas.remove(&labels);
    }

    /// All series in OpenMetrics' text form.
    ///
    /// # Errors
    /// If a series cannot be written as text.
    pub(crate) fn encode(&self) -> Result<String, fmt::Error> {
        let mut text = String::new();
        encode(&mut text, &self.registry)?;
        Ok(text)
    }
}

fn group(namespace: &str, name: &str) -> GroupLabels {
    GroupLabels { namespace: namespace.to_owned(), name: name.to_owned() }
}

fn set_or_remove(family: &Family<GroupLabels, Number>, labels: &GroupLabels, value: Option<u64>) {
    match value {
        Some(value) => {
            family.get_or_create(labels).set(value);
        }
        None => {
            family.remove(labels);
        }
    }
}

/// From a millisecond (a lookup in a cache) to half a minute (the bound of a reconcile).
fn latencies() -> Histogram {
    Histogram::new([0.001, 0.005, 0.025, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0])
}

#[cfg(test)]
mod tests {
    use weir_model::{PartitionLag, TopicPartition, UnknownLag};

    use super::*;

    fn sample(lag: Lag) -> GroupLag {
        let partition = TopicPartition::new("orders", 0);
        GroupLag { partitions: vec![PartitionLag { partition, lag, end: None, committed: None }] }
    }

    fn text(metrics: &Metrics) -> String {
        metrics.encode().expect("metrics are text")
    }

    #[test]
    fn every_series_has_the_prefix_and_the_documented_labels() {
        let metrics = Metrics::new();
        metrics.reconciled("Topic", "retry", Duration::from_millis(3));
        metrics.set_leader(true);
        metrics.kafka_request("DescribeTopics", Duration::from_millis(30));
        metrics.kafka_failed("DescribeTopics", "timeout");
        metrics.group_sampled("shop", "billing", &sample(Lag::Known(42)));
        metrics.group_replicas("shop", "billing", 12, 1);
        metrics.scaler_decided("Up", "LagAboveTarget");
        let text = text(&metrics);
        for line in [
            "weir_build_info{version=\"0.1.0\"} 1",
            "weir_reconcile_total{kind=\"Topic\",result=\"retry\"} 1",
            "weir_reconcile_duration_seconds_bucket{le=\"0.005\",kind=\"Topic\"} 1",
            "weir_leader 1",
            "weir_kafka_request_duration_seconds_count{api=\"DescribeTopics\"} 1",
            "weir_kafka_errors_total{api=\"DescribeTopics\",category=\"timeout\"} 1",
            "weir_group_lag{namespace=\"shop\",name=\"billing\"} 42",
            "weir_group_lag_max_partition{namespace=\"shop\",name=\"billing\"} 42",
            "weir_group_lag_valid{namespace=\"shop\",name=\"billing\"} 1",
            "weir_scaler_desired_replicas{namespace=\"shop\",name=\"billing\"} 12",
            "weir_scaler_current_replicas{namespace=\"shop\",name=\"billing\"} 1",
            "weir_scaler_decisions_total{direction=\"Up\",reason=\"LagAboveTarget\"} 1",
        ] {
            assert!(text.lines().any(|l| l == line), "{line} is missing in\n{text}");
        }
    }

    #[test]
    fn an_unknown_lag_is_absent_rather_than_zero_or_stale() {
        let metrics = Metrics::new();
        metrics.group_sampled("shop", "billing", &sample(Lag::Known(42)));
        metrics.group_sampled("shop", "billing", &sample(Lag::Unknown(UnknownLag::NotSampled)));
        let text = text(&metrics);
        assert!(!text.contains("weir_group_lag{"), "{text}");
        assert!(text.contains("weir_group_lag_valid{namespace=\"shop\",name=\"billing\"} 0"), "{text}");
    }

    #[test]
    fn a_deleted_group_leaves_no_series_behind() {
        let metrics = Metrics::new();
        metrics.group_sampled("shop", "billing", &sample(Lag::Known(42)));
        metrics.group_replicas("shop", "billing", 12, 1);
        metrics.forget_group("shop", "billing");
        assert!(!text(&metrics).contains("billing"));
    }
}
