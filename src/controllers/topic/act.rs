//! Carries a plan out. After any error the next visit describes the topic and decides again; nothing is assumed.

use kube::ResourceExt;
use weir_api::{Topic, topic::TopicStatus};
use weir_kafka::{KafkaError, NewTopic};

use super::{
    observe::{Observed, Present, describe},
    plan::{Changes, Plan},
};
use crate::{
    catalog::Key,
    context::Context,
    handles::Handle,
    kubernetes::{KubernetesError, events::Notice},
};

/// What came of a plan.
#[derive(Debug, Default)]
pub(crate) struct Outcome {
    /// The topic after the changes, where it was seen again.
    pub(crate) present: Option<Present>,
    /// Whether a creation was sent and its result is not visible yet.
    pub(crate) creating: bool,
    /// What the brokers refused.
    pub(crate) errors: Vec<KafkaError>,
    /// Events to publish.
    pub(crate) notices: Vec<Notice>,
}

/// Carries the plan out.
pub(crate) async fn act(
    topic: &Topic,
    before: &TopicStatus,
    plan: &Plan,
    context: &Context,
) -> Result<Outcome, KubernetesError> {
    let connection = Key::new(topic.namespace().unwrap_or_default(), &topic.spec.connection_ref.name);
    let Some(connected) = context.handles.get(&connection) else {
        return Ok(Outcome::default());
    };
    match plan {
        Plan::Keep | Plan::Wait(_) => Ok(Outcome::default()),
        Plan::Create => create(topic, before, &connected.handle, context).await,
        Plan::Change(changes) => Ok(change(topic, changes, &connected.handle, context).await),
    }
}

async fn create(
    topic: &Topic,
    before: &TopicStatus,
    handle: &Handle,
    context: &Context,
) -> Result<Outcome, KubernetesError> {
    let name = topic.topic_name();
    let new = NewTopic {
        name: name.clone(),
        partitions: topic.spec.partitions,
        replication_factor: topic.spec.replication_factor,
        config: topic.spec.config.clone(),
    };
    // Asked first without effect: an impossible wish must not leave the intent behind.
    if let Err(error) = handle.cluster.create_topic(&new, true).await
        && !error.is_topic_exists()
    {
        return Ok(refused(error, context));
    }
    if before.pending_create != Some(true) {
        let intent = TopicStatus { pending_create: Some(true), ..before.clone() };
        context.applier.status(topic, topic.status.as_ref(), &intent).await?;
    }
    if let Err(error) = handle.cluster.create_topic(&new, false).await
        && !error.is_topic_exists()
    {
        return Ok(Outcome { creating: error.is_transient(), ..refused(error, context) });
    }
    let mut outcome = Outcome { creating: true, ..Outcome::default() };
    // Created means committed by the controller; the brokers learn of it a moment later.
    for _ in 0..20 {
        if let Ok(Observed::Present(present)) = describe(handle, &name).await
            && present.online
        {
            let note = format!(
                "Created topic {name} with {} partitions and replication factor {}.",
                present.partitions, present.replication_factor
            );
            outcome.notices.push(Notice::normal("TopicCreated", note));
            outcome.present = Some(present);
            outcome.creating = false;
            break;
        }
        tokio::time::sleep(std::time::Duration::from_millis(100)).await;
    }
    Ok(outcome)
}

fn refused(error: KafkaError, context: &Context) -> Outcome {
    context.metrics.kafka_failed("create_topic", error.category());
    Outcome { errors: vec![error], ..Outcome::default() }
}

async fn change(topic: &Topic, changes: &Changes, handle: &Handle, context: &Context) -> Outcome {
    let name = topic.topic_name();
    let mut outcome = Outcome::default();
    if changes.adopt {
        let note = format!("Topic {name} existed already and matches the spec; it is managed from now on.");
        outcome.notices.push(Notice::normal("TopicAdopted", note));
    }
    if !changes.set.is_empty() || !changes.reset.is_empty() {
        match handle.cluster.alter_topic_config(&name, &changes.set, &changes.reset, false).await {
            Ok(()) => outcome.notices.push(Notice::normal("TopicUpdated", configured(&name, changes))),
            Err(error) => outcome.errors.push(error),
        }
    }
    if let Some(partitions) = changes.grow_to {
        match handle.cluster.create_partitions(&name, partitions, false).await {
            Ok(()) => {
                let note = format!("Topic {name} grew to {partitions} partitions.");
                outcome.notices.push(Notice::normal("PartitionsIncreased", note));
            }
            Err(error) => outcome.errors.push(error),
        }
    }
    for error in &outcome.errors {
        context.metrics.kafka_failed("alter_topic", error.category());
    }
    if !changes.is_empty()
        && let Ok(Observed::Present(present)) = describe(handle, &name).await
    {
        outcome.present = Some(present);
    }
    outcome
}

fn configured(name: &str, changes: &Changes) -> String {
    let mut parts: Vec<String> = changes.set.iter().map(|(k, v)| format!("{k} set to {v}")).collect();
    parts.extend(changes.reset.iter().map(|k| format!("{k} returned to the brokers' default")));
    format!("Topic {name}: {}.", parts.join(", "))
}
