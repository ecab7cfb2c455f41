//! What brokers tell about clusters, topics and groups, and what can be asked of them. Plain values; no behaviour.

use std::collections::BTreeMap;

use weir_model::TopicPartition;

/// A cluster as one of its brokers describes it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ClusterDescription {
    /// The cluster's identity; never changes.
    pub cluster_id: String,
    /// Live brokers, by id.
    pub brokers: Vec<Broker>,
    /// The broker that answers for the controller, if one is known.
    pub controller: Option<i32>,
}

/// One broker, at the address that it advertises to this client.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Broker {
    /// Its node id.
    pub id: i32,
    /// Advertised host.
    pub host: String,
    /// Advertised port.
    pub port: u16,
}

/// One topic.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TopicDescription {
    /// Its name.
    pub name: String,
    /// Its identity as Kafka's tools print it (URL-safe base64); a topic created anew has another one.
    pub id: String,
    /// Whether it belongs to the brokers, such as `__consumer_offsets`.
    pub internal: bool,
    /// Its partitions, by number.
    pub partitions: Vec<PartitionDescription>,
}

/// One partition of a topic.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PartitionDescription {
    /// Its number, from 0.
    pub id: i32,
    /// The broker that leads it; `None` while it is offline.
    pub leader: Option<i32>,
    /// The brokers that hold it, preferred leader first.
    pub replicas: Vec<i32>,
    /// Those of them that are in sync.
    pub isr: Vec<i32>,
}

/// One configuration key of a topic.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ConfigEntry {
    /// The key.
    pub name: String,
    /// The effective value; `None` if the brokers keep it secret.
    pub value: Option<String>,
    /// Where the value comes from.
    pub source: ConfigSource,
    /// Whether it cannot be changed.
    pub read_only: bool,
    /// Whether the brokers hide the value.
    pub sensitive: bool,
}

/// Where a configuration value comes from.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum ConfigSource {
    /// Set on the topic itself: the only source that altering the topic changes.
    DynamicTopic,
    /// Set at run time on one broker.
    DynamicBroker,
    /// Set at run time for all brokers.
    DynamicDefaultBroker,
    /// From a broker's configuration file.
    StaticBroker,
    /// Kafka's own default.
    Default,
    /// None of these.
    Other,
}

/// A topic to create.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NewTopic {
    /// Its name.
    pub name: String,
    /// How many partitions; `None` takes the brokers' default.
    pub partitions: Option<i32>,
    /// How many copies of each partition; `None` takes the brokers' default.
    pub replication_factor: Option<i32>,
    /// Configuration that differs from the brokers' defaults.
    pub config: BTreeMap<String, String>,
}

/// Which end of a partition's log.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum OffsetSpec {
    /// The oldest record that still exists.
    Earliest,
    /// One past the newest record.
    Latest,
}

/// A consumer group.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct GroupDescription {
    /// What the group is doing.
    pub state: GroupState,
    /// How partitions are shared out; empty unless the group is stable.
    pub assignor: String,
    /// Its members.
    pub members: Vec<GroupMember>,
}

/// What a group is doing.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum GroupState {
    /// Members are joining.
    PreparingRebalance,
    /// Members wait for their partitions.
    CompletingRebalance,
    /// Every member has its partitions.
    Stable,
    /// The group does not exist (any more).
    Dead,
    /// No members, but committed offsets.
    Empty,
    /// A state that librdkafka does not know.
    Unknown,
}

/// One member of a group.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct GroupMember {
    /// The `client.id` that the member was configured with.
    pub client_id: String,
    /// The id that the coordinator gave it.
    pub member_id: String,
    /// Where it connects from, as the coordinator prints it, such as `/10.0.0.7`.
    pub host: String,
    /// What it owns now.
    pub partitions: Vec<TopicPartition>,
}
