//! Deletion with `deletionPolicy: Delete`: the finalizer goes only after the topic is gone, and only our topic goes.

use std::sync::Arc;

use kube::ResourceExt;
use weir_api::{
    Topic, condition,
    topic::{DeletionPolicy, TopicStatus},
};
use weir_model::names::{FORCE_ORPHAN_ANNOTATION, TOPIC_FINALIZER};

use super::{
    LONGEST_RETRY,
    observe::{Observed, observe},
    plan::cluster_changed,
};
use crate::{
    catalog::Key,
    context::Context,
    controllers::verdict::{Verdict, VerdictKind, sentence},
    kubernetes::{KubernetesError, events::Notice, now, runner::Next},
};

/// One visit of an object that is being deleted.
pub(crate) async fn delete(
    topic: &Arc<Topic>,
    before: &TopicStatus,
    context: &Context,
) -> Result<Next, KubernetesError> {
    if !topic.finalizers().iter().any(|f| f == TOPIC_FINALIZER) {
        return Ok(Next::OnChange);
    }
    let name = topic.topic_name();
    let orphan = is_orphaned(topic);
    let retained = topic.spec.deletion_policy != Some(DeletionPolicy::Delete);
    let Some(id) = before.topic_id.as_deref().filter(|_| !orphan && !retained) else {
        return release(topic, format!("Topic {name} was not deleted from Kafka."), context).await;
    };
    let observed = observe(topic, context).await;
    let cluster = match &observed {
        Observed::Missing { cluster_id } => Some(cluster_id),
        Observed::Present(present) => Some(&present.cluster_id),
        Observed::NotConnected | Observed::OwnedBy(_) | Observed::Failed(_) => None,
    };
    if let Some(changed) = cluster.and_then(|cluster| cluster_changed(before, &name, cluster)) {
        return blocked(topic, before, &changed.message, context).await;
    }
    match observed {
        Observed::Missing { .. } => {
            release(topic, format!("Topic {name} is gone from Kafka."), context).await
        }
        Observed::OwnedBy(owner) => {
            release(topic, format!("Topic {name} stays, because {owner} owns it."), context).await
        }
        Observed::Present(present) if present.id != id => {
            let note = format!(
                "Topic {name} stays: it has id {}, but the one that Weir managed had id {id}.",
                present.id
            );
            release(topic, note, context).await
        }
        Observed::Present(_) => remove(topic, before, &name, context).await,
        Observed::NotConnected => {
            let why = format!("Connection {} is not connected", topic.spec.connection_ref.name);
            blocked(topic, before, &why, context).await
        }
        Observed::Failed(error) => blocked(topic, before, &error.detail(), context).await,
    }
}

/// Whether the user lets the object go without its topic.
pub(crate) fn is_orphaned(topic: &Topic) -> bool {
    topic.annotations().get(FORCE_ORPHAN_ANNOTATION).is_some_and(|v| v == "true")
}

/// Deletes the topic. Its id was compared just before; librdkafka deletes by name, which leaves a window of milliseconds.
async fn remove(
    topic: &Arc<Topic>,
    before: &TopicStatus,
    name: &str,
    context: &Context,
) -> Result<Next, KubernetesError> {
    let connection = Key::new(topic.namespace().unwrap_or_default(), &topic.spec.connection_ref.name);
    let Some(connected) = context.handles.get(&connection).filter(|_| context.leadership.is_leader()) else {
        return Ok(Next::Retry(LONGEST_RETRY));
    };
    match connected.handle.cluster.delete_topic(name).await {
        Ok(()) => {
            let note = format!("Deleted topic {name} and its data, as deletionPolicy says.");
            context.events.publish(topic.as_ref(), Notice::normal("TopicDeleted", note)).await;
            release(topic, format!("Topic {name} is gone from Kafka."), context).await
        }
        Err(error) if error.is_unknown_topic() => {
            release(topic, format!("Topic {name} is gone from Kafka."), context).await
        }
        Err(error) => {
            context.metrics.kafka_failed("delete_topic", error.category());
            blocked(topic, before, &error.detail(), context).await
        }
    }
}

async fn release(topic: &Arc<Topic>, why: String, context: &Context) -> Result<Next, KubernetesError> {
    tracing::info!(namespace = topic.namespace(), name = topic.name_any(), why, "a Topic is released");
    context.applier.finalizer(topic.as_ref(), TOPIC_FINALIZER, false).await?;
    Ok(Next::OnChange)
}

async fn blocked(
    topic: &Arc<Topic>,
    before: &TopicStatus,
    why: &str,
    context: &Context,
) -> Result<Next, KubernetesError> {
    let generation = topic.metadata.generation.unwrap_or_default();
    let message = format!(
        "Topic {} cannot be deleted from Kafka: {} Weir tries again by itself; set deletionPolicy to Retain, or the \
         annotation {FORCE_ORPHAN_ANNOTATION}: \"true\", to let this object go without the topic.",
        topic.topic_name(),
        sentence(why)
    );
    let findings = Verdict::new(VerdictKind::Failing, "DeletionBlocked", message).findings();
    let conditions = condition::conditions(&before.conditions, &findings, generation, &now());
    let next = TopicStatus { observed_generation: generation, conditions, ..before.clone() };
    context.applier.status(topic.as_ref(), topic.status.as_ref(), &next).await?;
    Ok(Next::Retry(LONGEST_RETRY))
}
