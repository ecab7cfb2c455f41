//! `Topic`: makes the topic in Kafka what the spec says, without ever touching a topic that is not ours or losing data.

mod act;
mod delete;
mod observe;
mod plan;
mod status;

use std::{sync::Arc, time::Duration};

use kube::ResourceExt;
use weir_api::{
    Topic,
    topic::{DeletionPolicy, TopicStatus},
};
use weir_model::names::TOPIC_FINALIZER;

use super::verdict::{is_paused, newly_stalled, paused};
use crate::{
    context::Context,
    kubernetes::{KubernetesError, events::Notice, now, runner::Next},
};

/// Longest pause between attempts.
const LONGEST_RETRY: Duration = Duration::from_secs(30);

/// One visit.
pub(crate) async fn reconcile(topic: Arc<Topic>, context: Arc<Context>) -> Result<Next, KubernetesError> {
    let before = topic.status.clone().unwrap_or_default();
    // Letting an object go without touching Kafka is what a paused one may do.
    let leaving = topic.metadata.deletion_timestamp.is_some() && delete::is_orphaned(&topic);
    if is_paused(topic.as_ref()) && !leaving {
        let generation = topic.metadata.generation.unwrap_or_default();
        let conditions = paused(&before.conditions, generation);
        let next = TopicStatus { observed_generation: generation, conditions, ..before };
        context.applier.status(topic.as_ref(), topic.status.as_ref(), &next).await?;
        return Ok(Next::OnChange);
    }
    if topic.metadata.deletion_timestamp.is_some() {
        return delete::delete(&topic, &before, &context).await;
    }
    let deletes = topic.spec.deletion_policy == Some(DeletionPolicy::Delete);
    let guarded = topic.finalizers().iter().any(|f| f == TOPIC_FINALIZER);
    if deletes != guarded {
        context.applier.finalizer(topic.as_ref(), TOPIC_FINALIZER, deletes).await?;
        return Ok(Next::OnChange);
    }
    // Observe (asks the brokers), plan (pure), act (changes Kafka), then say what is so now.
    let observed = observe::observe(&topic, &context).await;
    let plan = plan::plan(&topic, &before, &observed);
    let outcome = act::act(&topic, &before, &plan, &context).await?;
    let next = status::status(&topic, &before, &observed, &plan, &outcome, &now());
    for notice in outcome.notices.iter().cloned() {
        context.events.publish(topic.as_ref(), notice).await;
    }
    if let Some(stalled) = newly_stalled(&before.conditions, &next.conditions) {
        let notice = Notice::warning("TopicStalled", stalled.message.clone());
        context.events.publish(topic.as_ref(), notice).await;
    }
    context.applier.status(topic.as_ref(), topic.status.as_ref(), &next).await?;
    Ok(status::next_visit(&plan, &outcome, context.settings.resync, LONGEST_RETRY))
}
