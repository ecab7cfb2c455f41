//! `Connection`: reads the Secrets, asks the cluster who it is, and publishes the handle that all others use.

mod observe;
mod status;

use std::{sync::Arc, time::Duration};

use kube::ResourceExt;
use weir_api::{Connection, Topic, condition, connection::ConnectionStatus};
use weir_model::names::{CONNECTION_FINALIZER, TOPIC_FINALIZER};

use super::verdict::{is_paused, newly_stalled, paused};
use crate::{
    catalog::Key,
    context::Context,
    kubernetes::{KubernetesError, events::Notice, now, runner::Next},
};

/// Time between two looks at a Connection that works: Secrets are read again and the brokers are asked.
const INTERVAL: Duration = Duration::from_secs(30);
/// Longest pause between attempts to reach a cluster.
const LONGEST_RETRY: Duration = Duration::from_secs(20);

/// One visit.
pub(crate) async fn reconcile(
    connection: Arc<Connection>,
    context: Arc<Context>,
) -> Result<Next, KubernetesError> {
    let before = connection.status.clone().unwrap_or_default();
    let key = Key::of(connection.as_ref());
    let needed = needed(&key, &context);
    let deleting = connection.metadata.deletion_timestamp.is_some();
    let held = connection.finalizers().iter().any(|f| f == CONNECTION_FINALIZER);
    // The API server takes no new finalizer for an object that goes already.
    if held != needed && !(needed && deleting) {
        context.applier.finalizer(connection.as_ref(), CONNECTION_FINALIZER, needed).await?;
        return Ok(Next::OnChange);
    }
    if deleting && !needed {
        return Ok(Next::OnChange);
    }
    if is_paused(connection.as_ref()) {
        let generation = connection.metadata.generation.unwrap_or_default();
        let next = ConnectionStatus {
            observed_generation: generation,
            conditions: paused(&before.conditions, generation),
            ..before
        };
        context.applier.status(connection.as_ref(), connection.status.as_ref(), &next).await?;
        return Ok(Next::OnChange);
    }
    let observed = observe::observe(&connection, &key, &context).await?;
    if blinked(&before, &observed, context.handles.misses(&key)) {
        return Ok(Next::Retry(LONGEST_RETRY));
    }
    let next = status::status(&connection, &before, &observed, &now());
    announce(&connection, &before, &next, &observed, &context).await;
    context.applier.status(connection.as_ref(), connection.status.as_ref(), &next).await?;
    match observed {
        observe::Observed::Answered { changed, .. } => {
            if changed || condition::status_of(&before.conditions, condition::READY) != Some(true) {
                let users = context.catalog(|catalog| catalog.users_of_connection(&key));
                context.triggers.visit_all(&users);
            }
            Ok(Next::After(INTERVAL))
        }
        observe::Observed::Refused { .. } | observe::Observed::Failed { .. } => {
            Ok(Next::Retry(LONGEST_RETRY))
        }
    }
}

/// Whether a Topic needs the Connection for its own deletion: `kubectl delete -f folder/` deletes both at once, and without
/// the Connection the topic in Kafka could not go.
fn needed(key: &Key, context: &Context) -> bool {
    let needs = |topic: &Topic| {
        topic.namespace().as_deref() == Some(&key.namespace)
            && topic.spec.connection_ref.name == key.name
            && topic.finalizers().iter().any(|f| f == TOPIC_FINALIZER)
    };
    context.stores().topics.find(needs).is_some()
}

/// Whether a cluster that worked missed its first answer: not worth a word before it missed a second one.
fn blinked(before: &ConnectionStatus, observed: &observe::Observed, misses: u32) -> bool {
    let worked = condition::status_of(&before.conditions, condition::READY) == Some(true);
    match observed {
        observe::Observed::Failed { error } => worked && misses < 2 && error.is_transient(),
        observe::Observed::Answered { .. } | observe::Observed::Refused { .. } => false,
    }
}

/// Events for what changed.
async fn announce(
    connection: &Connection,
    before: &ConnectionStatus,
    next: &ConnectionStatus,
    observed: &observe::Observed,
    context: &Context,
) {
    let ready = |s: &ConnectionStatus| condition::status_of(&s.conditions, condition::READY);
    let message = next.conditions.first().map(|c| c.message.clone()).unwrap_or_default();
    let known = before.cluster_id.is_some();
    match (ready(before), ready(next)) {
        (Some(true), Some(false)) => {
            context.events.publish(connection, Notice::warning("ConnectionLost", message)).await;
        }
        (Some(false) | None, Some(true)) if known => {
            context.events.publish(connection, Notice::normal("ConnectionRestored", message)).await;
        }
        (Some(false) | None, Some(true)) => {
            context.events.publish(connection, Notice::normal("Connected", message)).await;
        }
        _ => {
            if let Some(stalled) = newly_stalled(&before.conditions, &next.conditions) {
                let notice = Notice::warning("ConnectionRefused", stalled.message.clone());
                context.events.publish(connection, notice).await;
            }
        }
    }
    if let observe::Observed::Answered { rotated: true, secret_versions, .. } = observed {
        let note = format!("The credentials changed; the brokers accepted the new ones ({secret_versions}).");
        context.events.publish(connection, Notice::normal("CredentialsRotated", note)).await;
    }
}
