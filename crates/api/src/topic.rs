//! `Topic`: one topic's desired partitions, replication factor and configuration, and what may happen to its data.

use k8s_openapi::apimachinery::pkg::apis::meta::v1::Condition;
use kube::{CustomResource, KubeSchema};
use serde::{Deserialize, Serialize};

use crate::fields::{LocalReference, TextMap, never_observed, observed_generation, text_map};

/// One topic's desired partitions, replication factor and configuration.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, CustomResource, KubeSchema)]
#[serde(rename_all = "camelCase")]
#[kube(
    group = "kafka.weir.dev",
    version = "v1alpha1",
    kind = "Topic",
    plural = "topics",
    namespaced,
    category = "weir",
    doc = "One Kafka topic: its partitions, replication factor and configuration, and what may happen to its data.",
    status = "TopicStatus",
    derive = "PartialEq",
    printcolumn(name = "Topic", type_ = "string", json_path = ".status.topicName"),
    printcolumn(name = "Partitions", type_ = "integer", json_path = ".status.partitions"),
    printcolumn(name = "RF", type_ = "integer", json_path = ".status.replicationFactor"),
    printcolumn(name = "Ready", type_ = "string", json_path = ".status.conditions[?(@.type==\"Ready\")].status"),
    printcolumn(name = "Connection", type_ = "string", json_path = ".spec.connectionRef.name", priority = 1),
    printcolumn(name = "Reason", type_ = "string", json_path = ".status.conditions[?(@.type==\"Ready\")].reason", priority = 1),
    printcolumn(name = "Age", type_ = "date", json_path = ".metadata.creationTimestamp"),
    validation = ("has(self.spec.topicName) == has(oldSelf.spec.topicName) && (!has(self.spec.topicName) || self.spec.topicName == oldSelf.spec.topicName)", "topicName cannot be changed; create another Topic"),
    validation = ("self.spec.connectionRef == oldSelf.spec.connectionRef", "connectionRef cannot be changed; create another Topic"),
    validation = ("has(self.spec.topicName) || self.metadata.name.size() <= 249", "metadata.name is used as topic name and may have 249 characters; set topicName")
)]
pub struct TopicSpec {
    /// The Connection to the Kafka cluster; in this namespace.
    pub connection_ref: LocalReference,
    /// Name of the topic in Kafka. Default: `metadata.name`. Cannot be changed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 249), regex(pattern = "^[A-Za-z0-9._-]+$"))]
    pub topic_name: Option<String>,
    /// Number of partitions. Absent: the brokers' default at creation, and never changed. Kafka cannot remove partitions.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1, max = 100_000))]
    pub partitions: Option<i32>,
    /// Number of replicas of each partition. Absent: the brokers' default at creation. Weir does not change it later.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1, max = 32))]
    pub replication_factor: Option<i32>,
    /// Topic configuration; keys that are not named are left alone. A key that is removed here returns to the brokers' default.
    #[serde(default, skip_serializing_if = "TextMap::is_empty")]
    #[schemars(schema_with = "text_map")]
    pub config: TextMap,
    /// What happens to the topic and its data when this object is deleted. Default `Retain`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub deletion_policy: Option<DeletionPolicy>,
}

/// What happens to the topic when the object is deleted.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, schemars::JsonSchema)]
pub enum DeletionPolicy {
    /// The topic and its data stay.
    Retain,
    /// The topic and its data are deleted, provided that the topic is still the one that Weir created or adopted.
    Delete,
}

/// The topic as it is.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
pub struct TopicStatus {
    /// Generation of the spec that this status is about; −1 before the first visit.
    #[serde(default = "never_observed")]
    #[schemars(schema_with = "observed_generation")]
    pub observed_generation: i64,
    /// Name of the topic in Kafka.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub topic_name: Option<String>,
    /// Kafka's id of the topic (KIP-516); together with `clusterId` the topic's identity.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub topic_id: Option<String>,
    /// Id of the Kafka cluster that holds the topic.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cluster_id: Option<String>,
    /// Number of partitions.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub partitions: Option<i32>,
    /// Smallest number of replicas of a partition.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub replication_factor: Option<i32>,
    /// Configuration keys that Weir set and will reset when they leave the spec.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub managed_config_keys: Vec<String>,
    /// The topic is about to be created by us: recorded before the request, so that a lost answer does not turn our own topic into a stranger.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub pending_create: Option<bool>,
    /// `Ready`, `Reconciling`, `Stalled`, `TopicSynced`.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[x_kube(merge_strategy = kube::core::ListMerge::Map(vec!["type".into()]))]
    pub conditions: Vec<Condition>,
}

impl Default for TopicStatus {
    fn default() -> Self {
        Self {
            observed_generation: never_observed(),
            topic_name: None,
            topic_id: None,
            cluster_id: None,
            partitions: None,
            replication_factor: None,
            managed_config_keys: Vec::new(),
            pending_create: None,
            conditions: Vec::new(),
        }
    }
}

impl Topic {
    /// Name of the topic in Kafka.
    #[must_use]
    pub fn topic_name(&self) -> String {
        self.spec.topic_name.clone().or_else(|| self.metadata.name.clone()).unwrap_or_default()
    }
}
