//! `ProducerJob`: a source, an encoding, a topic, a rate and a delivery guarantee; runs to an exact count.

use k8s_openapi::apimachinery::pkg::apis::meta::v1::{Condition, Time};
use kube::{CustomResource, KubeSchema};
use serde::{Deserialize, Serialize};

use crate::{
    fields::{
        DurationText, LocalReference, QuantityText, TopicSelector, never_observed, observed_generation,
    },
    template::PodTemplate,
};

/// A source, an encoding, a topic, a rate and a delivery guarantee.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, CustomResource, KubeSchema)]
#[serde(rename_all = "camelCase")]
#[kube(
    group = "kafka.weir.dev",
    version = "v1alpha1",
    kind = "ProducerJob",
    plural = "producerjobs",
    namespaced,
    category = "weir",
    doc = "Writes an exact number of records to a topic and says how many the brokers acknowledged.",
    status = "ProducerJobStatus",
    derive = "PartialEq",
    printcolumn(name = "Records", type_ = "integer", json_path = ".spec.records"),
    printcolumn(name = "Acknowledged", type_ = "integer", json_path = ".status.acknowledged"),
    printcolumn(name = "Rate", type_ = "integer", json_path = ".status.recordsPerSecond"),
    printcolumn(name = "Ready", type_ = "string", json_path = ".status.conditions[?(@.type==\"Ready\")].status"),
    printcolumn(name = "Completed", type_ = "string", json_path = ".status.conditions[?(@.type==\"Completed\")].status"),
    printcolumn(name = "Reason", type_ = "string", json_path = ".status.conditions[?(@.type==\"Ready\")].reason", priority = 1),
    printcolumn(name = "Age", type_ = "date", json_path = ".metadata.creationTimestamp"),
    validation = ("self.spec == oldSelf.spec", "a ProducerJob cannot be changed; create another one"),
    validation = ("self.metadata.name.size() <= 52", "metadata.name may have 52 characters, because the name of the Job and its pods is made from it")
)]
pub struct ProducerJobSpec {
    /// The Connection to the Kafka cluster; in this namespace.
    pub connection_ref: LocalReference,
    /// Where the records go. The topic must exist; Weir waits for it.
    pub topic: TopicSelector,
    /// Where the records come from.
    pub source: Source,
    /// How a record becomes bytes.
    pub encoding: Encoding,
    /// Exact number of records to have acknowledged.
    #[schemars(range(min = 1, max = 1_000_000_000_000_i64))]
    pub records: i64,
    /// Upper bounds of the speed. Absent: as fast as the brokers acknowledge.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub rate: Option<Rate>,
    /// Guarantee and batching.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub delivery: Option<ProducerDelivery>,
    /// Resources, placement and labels of the pod. Its only container is `worker`, without an image.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[x_kube(validation = (
        "!has(self.spec) || !has(self.spec.containers) || self.spec.containers.all(c, c.name == 'worker' && !has(c.image) && !has(c.command) && !has(c.args))",
        "the only container is named worker and has neither image, command nor args"
    ))]
    pub template: Option<PodTemplate>,
}

/// Where the records come from.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
pub struct Source {
    /// Records made up from a seed: record n has the same key and payload on every run.
    pub generator: Generator,
}

/// Made-up records.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
pub struct Generator {
    /// Size of a value in bytes, reached by padding; a value whose fixed part is longer is not cut.
    #[schemars(range(min = 8, max = 1_000_000))]
    pub size_bytes: i32,
    /// How keys are drawn. Absent: records have no key.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub keys: Option<Keys>,
    /// Seed of the pseudo-random sequence. Default 0.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 0))]
    pub seed: Option<i64>,
}

/// How keys are drawn.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
#[x_kube(validation = ("(self.distribution == 'None') != has(self.cardinality)", "cardinality is required, except for distribution None, which does not allow it"))]
pub struct Keys {
    /// Which key a record gets.
    pub distribution: KeyDistribution,
    /// How many distinct keys.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1))]
    pub cardinality: Option<i64>,
}

/// Which key a record gets.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, schemars::JsonSchema)]
pub enum KeyDistribution {
    /// Each key is equally likely.
    Uniform,
    /// One key after the other.
    Sequential,
    /// No key.
    None,
}

/// How a record becomes bytes.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
pub struct Encoding {
    /// The encoding.
    #[serde(rename = "type")]
    pub type_: EncodingType,
}

/// Encodings.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, schemars::JsonSchema)]
pub enum EncodingType {
    /// A JSON object with `runId`, `sequence`, `timestamp`, `key` and `payload`.
    Json,
    /// The sequence number in 8 bytes, big-endian, then pseudo-random bytes.
    Raw,
}

/// Upper bounds of the speed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
pub struct Rate {
    /// Records per second, such as `0.5` or `20k`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub records_per_second: Option<QuantityText>,
    /// Bytes (key and value) per second, such as `1Mi`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub bytes_per_second: Option<QuantityText>,
}

/// Guarantee and batching.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
#[x_kube(validation = (
    "!has(self.acks) || self.acks == 'All' || (has(self.idempotent) && !self.idempotent)",
    "idempotent delivery needs acks All; set idempotent to false for weaker acks"
))]
pub struct ProducerDelivery {
    /// Which replicas must have a record before it counts. Default `All`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub acks: Option<Acks>,
    /// Whether the brokers remove duplicates that retries would make (KIP-98). Default true.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub idempotent: Option<bool>,
    /// Compression of batches. Default `None`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub compression: Option<Compression>,
    /// How long a batch may wait for more records. Default `5ms`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub linger: Option<DurationText>,
}

/// Which replicas must have a record.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, schemars::JsonSchema)]
pub enum Acks {
    /// All in-sync replicas.
    All,
    /// The partition's leader.
    Leader,
    /// None: a record counts when it was handed to the network.
    None,
}

/// Compression of record batches.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, schemars::JsonSchema)]
#[allow(missing_docs, reason = "the names are Kafka's")]
pub enum Compression {
    None,
    Gzip,
    Snappy,
    Lz4,
    Zstd,
}

/// How far the run is.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
pub struct ProducerJobStatus {
    /// Generation of the spec that this status is about; −1 before the first visit.
    #[serde(default = "never_observed")]
    #[schemars(schema_with = "observed_generation")]
    pub observed_generation: i64,
    /// Identity of the run; part of every record that it wrote.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub run_id: Option<String>,
    /// Records that were made.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub generated: Option<i64>,
    /// Records that the brokers acknowledged.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub acknowledged: Option<i64>,
    /// Records that the brokers refused for good.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub failed: Option<i64>,
    /// Bytes (key and value) of acknowledged records.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub bytes: Option<i64>,
    /// Acknowledged records per second; over the whole run once it ended.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub records_per_second: Option<i64>,
    /// When the pod began.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub start_time: Option<Time>,
    /// When the last record was acknowledged.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub completion_time: Option<Time>,
    /// `Ready`, `Reconciling`, `Stalled`, `Completed`.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[x_kube(merge_strategy = kube::core::ListMerge::Map(vec!["type".into()]))]
    pub conditions: Vec<Condition>,
}

impl Default for ProducerJobStatus {
    fn default() -> Self {
        Self {
            observed_generation: never_observed(),
            run_id: None,
            generated: None,
            acknowledged: None,
            failed: None,
            bytes: None,
            records_per_second: None,
            start_time: None,
            completion_time: None,
            conditions: Vec::new(),
        }
    }
}
