//! Events of Kubernetes: transitions, in full sentences. A failure to publish is logged and never fails a reconcile.

use kube::{
    Client, Resource,
    runtime::events::{Event, EventType, Recorder, Reporter},
};

/// Publishes events; shared, because repeats are folded per recorder.
#[derive(Clone)]
pub(crate) struct Events {
    recorder: Recorder,
}

/// One event to publish.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Notice {
    /// Whether a person must act.
    pub(crate) warning: bool,
    /// One word in CamelCase, from the documented list.
    pub(crate) reason: &'static str,
    /// A full sentence.
    pub(crate) note: String,
}

impl Notice {
    /// Something happened as it should.
    pub(crate) fn normal(reason: &'static str, note: impl Into<String>) -> Self {
        Self { warning: false, reason, note: note.into() }
    }
    /// Somebody must act.
    pub(crate) fn warning(reason: &'static str, note: impl Into<String>) -> Self {
        Self { warning: true, reason, note: note.into() }
    }
}

impl Events {
    /// Events in the name of this operator pod.
    pub(crate) fn new(client: Client, instance: String) -> Self {
        let reporter = Reporter { controller: "weir".to_owned(), instance: Some(instance) };
        Self { recorder: Recorder::new(client, reporter) }
    }

    /// Publishes a notice about an object.
    pub(crate) async fn publish<K>(&self, object: &K, notice: Notice)
    where
        K: Resource<DynamicType = ()>,
    {
        let event = Event {
            type_: if notice.warning { EventType::Warning } else { EventType::Normal },
            reason: notice.reason.to_owned(),
            note: Some(notice.note.chars().take(1000).collect()),
            action: notice.reason.to_owned(),
            secondary: None,
        };
        let reference = object.object_ref(&());
        let publish = self.recorder.publish(&event, &reference);
        match tokio::time::timeout(super::REQUEST_TIMEOUT, publish).await {
            Ok(Ok(())) => {}
            Ok(Err(error)) => tracing::warn!(%error, reason = notice.reason, "failed to publish an event"),
            Err(_) => tracing::warn!(reason = notice.reason, "failed to publish an event in time"),
        }
    }
}
