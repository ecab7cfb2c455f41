//! `ConsumerGroup`: a group id, its topics, the workload that consumes, and how it scales.

use k8s_openapi::apimachinery::pkg::apis::meta::v1::{Condition, Time};
use kube::{CustomResource, KubeSchema};
use serde::{Deserialize, Serialize};

use crate::{
    fields::{
        DurationText, LocalReference, QuantityText, TextMap, TopicSelector, never_observed,
        observed_generation, text_map,
    },
    template::PodTemplate,
};

/// A group id, its topics, the workload that consumes, and how it scales.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, CustomResource, KubeSchema)]
#[serde(rename_all = "camelCase")]
#[kube(
    group = "kafka.weir.dev",
    version = "v1alpha1",
    kind = "ConsumerGroup",
    plural = "consumergroups",
    namespaced,
    category = "weir",
    doc = "Consumes topics as one Kafka consumer group and runs as many consumers as the measured lag needs.",
    status = "ConsumerGroupStatus",
    derive = "PartialEq",
    scale(spec_replicas_path = ".spec.replicas", status_replicas_path = ".status.replicas", label_selector_path = ".status.selector"),
    printcolumn(name = "Group", type_ = "string", json_path = ".status.groupId"),
    printcolumn(name = "Desired", type_ = "integer", json_path = ".status.desiredReplicas"),
    printcolumn(name = "Current", type_ = "integer", json_path = ".status.replicas"),
    printcolumn(name = "Lag", type_ = "integer", json_path = ".status.lag.total"),
    printcolumn(name = "Ready", type_ = "string", json_path = ".status.conditions[?(@.type==\"Ready\")].status"),
    printcolumn(name = "Scaling", type_ = "string", json_path = ".status.decisions[0].reason"),
    printcolumn(name = "Min", type_ = "integer", json_path = ".spec.autoscaling.minReplicas", priority = 1),
    printcolumn(name = "Max", type_ = "integer", json_path = ".spec.autoscaling.maxReplicas", priority = 1),
    printcolumn(name = "Reason", type_ = "string", json_path = ".status.conditions[?(@.type==\"Ready\")].reason", priority = 1),
    printcolumn(name = "Age", type_ = "date", json_path = ".metadata.creationTimestamp"),
    validation = ("has(self.spec.groupId) == has(oldSelf.spec.groupId) && (!has(self.spec.groupId) || self.spec.groupId == oldSelf.spec.groupId)", "groupId cannot be changed; create another ConsumerGroup"),
    validation = ("self.spec.connectionRef == oldSelf.spec.connectionRef", "connectionRef cannot be changed; create another ConsumerGroup"),
    validation = ("self.metadata.name.size() <= 52", "metadata.name may have 52 characters, because the name of the Deployment and its pods is made from it")
)]
#[x_kube(validation = (
    "!has(self.replicas) || (has(self.autoscaling) && has(self.autoscaling.mode) && self.autoscaling.mode != 'Automatic') || !has(self.autoscaling)",
    "replicas cannot be set while autoscaling.mode is Automatic; remove one of them"
))]
#[x_kube(validation = (
    "has(self.handler) || (has(self.template) && has(self.template.spec) && has(self.template.spec.containers) && self.template.spec.containers.size() > 0)",
    "say who consumes: a handler, or a template with your own container"
))]
#[x_kube(validation = (
    "!has(self.template) || !has(self.template.spec) || !has(self.template.spec.containers) || self.template.spec.containers.all(c, has(self.handler) && c.name == 'worker' ? !has(c.image) && !has(c.command) && !has(c.args) : has(c.image))",
    "containers need an image, except the one named worker beside a handler, which has neither image, command nor args"
))]
#[x_kube(validation = ("!has(self.delivery) || has(self.handler)", "delivery needs a handler; with your own image, delivery is your program's"))]
pub struct ConsumerGroupSpec {
    /// The Connection to the Kafka cluster; in this namespace.
    pub connection_ref: LocalReference,
    /// Id of the consumer group. Default: `metadata.name`. Cannot be changed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 255))]
    pub group_id: Option<String>,
    /// Topics to consume. They must exist; Weir waits for them.
    #[schemars(length(min = 1, max = 32))]
    pub topics: Vec<TopicSelector>,
    /// Where a partition without a committed offset begins.
    pub start_from: StartFrom,
    /// Whether records of open or aborted transactions are hidden. Default `ReadCommitted`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub isolation: Option<Isolation>,
    /// After this long without a heartbeat, the brokers give a consumer's partitions to others. Default `45s`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub session_timeout: Option<DurationText>,
    /// What happens to a record in Weir's own worker. Absent: `template` names your image.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub handler: Option<Handler>,
    /// Your own image, or the resources, placement and labels of Weir's worker.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub template: Option<PodTemplate>,
    /// Order, concurrency and retries of Weir's worker.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub delivery: Option<ConsumerDelivery>,
    /// Number of consumers, if Weir does not decide. Default 1.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 0, max = 10_000))]
    pub replicas: Option<i32>,
    /// How many consumers there should be. Absent: `replicas`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub autoscaling: Option<Autoscaling>,
}

/// Where a partition without a committed offset begins.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
pub struct StartFrom {
    /// The place.
    #[serde(rename = "type")]
    pub type_: StartFromType,
}

/// Where a partition without a committed offset begins.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, schemars::JsonSchema)]
pub enum StartFromType {
    /// With the oldest record that still exists.
    Earliest,
    /// With the next record to be written.
    Latest,
}

/// Which records a consumer sees.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, schemars::JsonSchema)]
pub enum Isolation {
    /// Only records outside transactions and of committed ones.
    ReadCommitted,
    /// All records.
    ReadUncommitted,
}

/// What happens to a record in Weir's own worker. Exactly one member is set.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
#[x_kube(validation = (
    "(has(self.http) ? 1 : 0) + (has(self.log) ? 1 : 0) + (has(self.discard) ? 1 : 0) == 1",
    "set exactly one of http, log and discard"
))]
pub struct Handler {
    /// POST it to a URL. Only a 2xx answer completes a record; anything else is tried again, with growing pauses, until it succeeds.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub http: Option<HttpHandler>,
    /// Write one line per record to the worker's log.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub log: Option<Empty>,
    /// Do nothing with it: for measuring.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub discard: Option<Empty>,
}

/// No settings.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, KubeSchema)]
pub struct Empty {}

/// An HTTP endpoint that takes records.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
pub struct HttpHandler {
    /// `http://` or `https://`.
    #[schemars(length(min = 8, max = 2048), regex(pattern = "^https?://[^\\s/?#]+([/?][^\\s#]*)?$"))]
    pub url: String,
    /// Time for one attempt. Default `10s`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub timeout: Option<DurationText>,
}

/// Order, concurrency and retries of Weir's worker. Positions are committed only after processing: at least once.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
pub struct ConsumerDelivery {
    /// Which records are processed one after another. Default `Key`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub order: Option<Order>,
    /// How many records one worker processes at a time.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub concurrency: Option<Concurrency>,
    /// How much is taken from the brokers ahead of processing.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub in_flight: Option<InFlight>,
    /// When processed positions are committed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub commit: Option<Commit>,
    /// Pauses between attempts. A record is tried until it succeeds; it is never dropped.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub retries: Option<Retries>,
}

/// Which records are processed one after another.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, schemars::JsonSchema)]
pub enum Order {
    /// Those with the same key; records without a key in parallel.
    Key,
    /// Those of one partition.
    Partition,
    /// None: all in parallel.
    None,
}

/// How many records one worker processes at a time.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
pub struct Concurrency {
    /// Upper bound. Default 256.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1, max = 10_000))]
    pub max: Option<i32>,
}

/// How much is taken from the brokers ahead of processing.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
pub struct InFlight {
    /// Records per partition that are taken but not processed. Default 500.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1, max = 100_000))]
    pub records: Option<i32>,
}

/// When processed positions are committed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
pub struct Commit {
    /// Time between commits; only positions whose records are processed are committed. Default `1s`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub interval: Option<DurationText>,
}

/// Pauses between attempts: doubled each time, with jitter.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
pub struct Retries {
    /// First pause. Default `100ms`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub initial_backoff: Option<DurationText>,
    /// Longest pause. Default `30s`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub max_backoff: Option<DurationText>,
}

/// How many consumers there should be.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
#[x_kube(validation = ("!has(self.minReplicas) || self.minReplicas <= self.maxReplicas", "minReplicas must not exceed maxReplicas"))]
pub struct Autoscaling {
    /// `Automatic` (default), `Recommend` or `External`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub mode: Option<AutoscalingMode>,
    /// Lower bound. Default 1; 0 lets the consumers go away while there is nothing to do.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 0, max = 10_000))]
    pub min_replicas: Option<i32>,
    /// Upper bound. More consumers than partitions are never started.
    #[schemars(range(min = 1, max = 10_000))]
    pub max_replicas: i32,
    /// In what time a backlog should be gone. Default `60s`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub drain_target: Option<DurationText>,
    /// What one consumer can do. Absent: learned while there is a backlog.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub capacity_per_replica: Option<Capacity>,
    /// A group at zero is started when its lag exceeds this many records. Default 0.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 0))]
    pub activation_lag: Option<i64>,
    /// How long there must be nothing to do before the last consumer goes. Default `5m`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub idle_for: Option<DurationText>,
    /// How long fewer consumers must have been enough before some go. Default `5m`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub scale_down_window: Option<DurationText>,
    /// How many consumers (members of the group) one pod runs. Default 1.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1, max = 1000))]
    pub consumers_per_replica: Option<i32>,
}

/// Who decides.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, schemars::JsonSchema)]
pub enum AutoscalingMode {
    /// Weir decides and scales.
    Automatic,
    /// Weir decides and says so in status; `replicas` counts.
    Recommend,
    /// Somebody else (a person, an HPA) writes `replicas` through `/scale`.
    External,
}

/// What one consumer can do.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
pub struct Capacity {
    /// Records per second.
    pub records_per_second: QuantityText,
}

/// The group as it is.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
pub struct ConsumerGroupStatus {
    /// Generation of the spec that this status is about; −1 before the first visit.
    #[serde(default = "never_observed")]
    #[schemars(schema_with = "observed_generation")]
    pub observed_generation: i64,
    /// Id of the consumer group in Kafka.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub group_id: Option<String>,
    /// Running pods; what `/scale` shows.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub replicas: Option<i32>,
    /// Pods that are ready.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ready_replicas: Option<i32>,
    /// Label selector of the pods; what `/scale` shows.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub selector: Option<String>,
    /// How many consumers there should be.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub desired_replicas: Option<i32>,
    /// How many consumers Weir would run, with `autoscaling.mode: Recommend`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub recommended_replicas: Option<i32>,
    /// Names of the topics in Kafka.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub topics: Vec<String>,
    /// Partitions of all topics.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub partitions: Option<i32>,
    /// What is not processed yet; written with every decision and at most once a minute otherwise, in two significant digits.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub lag: Option<LagStatus>,
    /// When `lag` was written.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub lag_time: Option<Time>,
    /// The last decisions, newest first.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 3))]
    pub decisions: Vec<DecisionStatus>,
    /// The settings that were left out of the spec and the values that are in effect.
    #[serde(default, skip_serializing_if = "TextMap::is_empty")]
    #[schemars(schema_with = "text_map")]
    pub effective: TextMap,
    /// `Ready`, `Reconciling`, `Stalled`, `WorkloadReady`, `LagAvailable`, `ScalingActive`, `ScalingLimited`, `Paused`.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[x_kube(merge_strategy = kube::core::ListMerge::Map(vec!["type".into()]))]
    pub conditions: Vec<Condition>,
}

/// What is not processed yet, in records.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
pub struct LagStatus {
    /// Over all partitions; absent while unknown.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub total: Option<i64>,
    /// Of the partition with most; absent while unknown.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub max: Option<i64>,
    /// Whether every partition could be measured.
    pub valid: bool,
}

/// One decision about the number of consumers.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
pub struct DecisionStatus {
    /// When.
    pub time: Time,
    /// Number of consumers before.
    pub from: i32,
    /// Number of consumers after.
    pub to: i32,
    /// Why, in one word.
    pub reason: String,
    /// Why, in one sentence with the numbers.
    pub message: String,
}

impl Default for ConsumerGroupStatus {
    fn default() -> Self {
        Self {
            observed_generation: never_observed(),
            group_id: None,
            replicas: None,
            ready_replicas: None,
            selector: None,
            desired_replicas: None,
            recommended_replicas: None,
            topics: Vec::new(),
            partitions: None,
            lag: None,
            lag_time: None,
            decisions: Vec::new(),
            effective: TextMap::new(),
            conditions: Vec::new(),
        }
    }
}

impl ConsumerGroup {
    /// Id of the consumer group in Kafka.
    #[must_use]
    pub fn group_id(&self) -> String {
        self.spec.group_id.clone().or_else(|| self.metadata.name.clone()).unwrap_or_default()
    }
}
