//! Asks the brokers about one topic.

use std::{collections::BTreeMap, time::Instant};

use weir_api::Topic;
use weir_kafka::{ConfigSource, KafkaError, TopicDescription};

use crate::{catalog::Key, context::Context, handles::Handle};

/// What a visit found.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Observed {
    /// The Connection leads nowhere yet.
    NotConnected,
    /// Another, older Topic object owns the topic.
    OwnedBy(Key),
    /// The brokers could not be asked.
    Failed(KafkaError),
    /// There is no such topic.
    Missing { cluster_id: String },
    /// The topic as it is.
    Present(Present),
}

/// The topic as it is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Present {
    pub(crate) cluster_id: String,
    pub(crate) id: String,
    pub(crate) partitions: i32,
    /// Smallest number of replicas of a partition.
    pub(crate) replication_factor: i32,
    /// Whether every partition has a leader.
    pub(crate) online: bool,
    /// Values set on the topic itself, not inherited ones.
    pub(crate) config: BTreeMap<String, String>,
}

/// Asks the brokers.
pub(crate) async fn observe(topic: &Topic, context: &Context) -> Observed {
    let key = Key::of(topic);
    let connection = Key::new(key.namespace.clone(), &topic.spec.connection_ref.name);
    let name = topic.topic_name();
    let owner = context.catalog(|catalog| catalog.topic_owner(&connection, &name));
    if let Some(owner) = owner.filter(|owner| *owner != key) {
        return Observed::OwnedBy(owner);
    }
    let Some(connected) = context.handles.get(&connection) else { return Observed::NotConnected };
    let started = Instant::now();
    let described = describe(&connected.handle, &name).await;
    context.metrics.kafka_request("describe_topic", started.elapsed());
    described.unwrap_or_else(|error| {
        context.metrics.kafka_failed("describe_topic", error.category());
        Observed::Failed(error)
    })
}

/// Describes one topic, with the values that are set on it.
pub(crate) async fn describe(handle: &Handle, name: &str) -> Result<Observed, KafkaError> {
    let names = [name.to_owned()];
    let cluster_id = handle.cluster_id.clone();
    let description = match handle.cluster.describe_topics(&names).await?.remove(name) {
        Some(Ok(description)) => description,
        Some(Err(error)) if error.is_unknown_topic() => return Ok(Observed::Missing { cluster_id }),
        Some(Err(error)) => return Err(error),
        None => return Ok(Observed::Missing { cluster_id }),
    };
    let config = match handle.cluster.describe_topic_configs(&names).await?.remove(name) {
        Some(Ok(entries)) => entries
            .into_iter()
            .filter(|entry| entry.source == ConfigSource::DynamicTopic)
            .filter_map(|entry| entry.value.map(|value| (entry.name, value)))
            .collect(),
        Some(Err(error)) if error.is_unknown_topic() => return Ok(Observed::Missing { cluster_id }),
        Some(Err(error)) => return Err(error),
        None => return Ok(Observed::Missing { cluster_id }),
    };
    Ok(Observed::Present(present(&description, cluster_id, config)))
}

fn present(description: &TopicDescription, cluster_id: String, config: BTreeMap<String, String>) -> Present {
    let replicas = description.partitions.iter().map(|p| p.replicas.len()).min().unwrap_or_default();
    Present {
        cluster_id,
        id: description.id.clone(),
        partitions: i32::try_from(description.partitions.len()).unwrap_or(i32::MAX),
        replication_factor: i32::try_from(replicas).unwrap_or(i32::MAX),
        online: description.partitions.iter().all(|p| p.leader.is_some()),
        config,
    }
}
