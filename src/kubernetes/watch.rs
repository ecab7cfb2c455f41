//! Watches into stores: one task per kind keeps a store current and tells the controllers which objects were touched.
//!
//! Runs on every replica, leader or not, so that a standby is warm. An object that cannot be decoded is logged and left
//! as it was; it stalls nobody else.

use std::fmt::Debug;

use futures::{StreamExt, pin_mut};
use kube::{
    Api, Client, Resource,
    core::{NamespaceResourceScope, error_boundary::DeserializeGuard},
    runtime::{
        WatchStreamExt,
        reflector::{ObjectRef, Store, store},
        watcher::{self, Event},
    },
};
use serde::de::DeserializeOwned;

/// What happened to an object of the watched kind.
pub(crate) enum Change<'a, K> {
    /// It exists and looks like this.
    Applied(&'a K),
    /// It is gone; this is the last that was seen of it.
    Deleted(&'a K),
}

/// A kind that can be watched.
pub(crate) trait Watched:
    Resource<DynamicType = (), Scope = NamespaceResourceScope>
    + Clone
    + Debug
    + DeserializeOwned
    + Send
    + Sync
    + 'static
{
}
impl<K> Watched for K where
    K: Resource<DynamicType = (), Scope = NamespaceResourceScope>
        + Clone
        + Debug
        + DeserializeOwned
        + Send
        + Sync
        + 'static
{
}

/// What is watched of a kind: one namespace, or all if the name is empty.
#[derive(Clone, Copy)]
pub(crate) struct Scope<'a> {
    pub(crate) client: &'a Client,
    pub(crate) namespace: &'a str,
}

impl Scope<'_> {
    fn api<K: Resource<DynamicType = (), Scope = NamespaceResourceScope>>(self) -> Api<K> {
        if self.namespace.is_empty() {
            Api::all(self.client.clone())
        } else {
            Api::namespaced(self.client.clone(), self.namespace)
        }
    }
}

/// Whether the field managers of an object are kept in the store. They are most of an object's size.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum ManagedFields {
    /// Needed: somebody reads who owns a field.
    Keep,
    /// Dropped.
    Drop,
}

/// Starts a watch and returns its store. `on_change` is called for every change, after the store has it; it must not block.
pub(crate) fn watch<K: Watched>(
    scope: Scope<'_>,
    labels: Option<&str>,
    managed_fields: ManagedFields,
    mut on_change: impl FnMut(Change<'_, K>) + Send + 'static,
) -> Store<K> {
    let (reader, mut writer) = store::<K>();
    let seen = reader.clone();
    let mut config = watcher::Config::default();
    if let Some(labels) = labels {
        config = config.labels(labels);
    }
    let api: Api<DeserializeGuard<K>> = scope.api();
    tokio::spawn(async move {
        let stream = watcher::watcher(api, config).default_backoff();
        pin_mut!(stream);
        let mut before: Vec<std::sync::Arc<K>> = Vec::new();
        while let Some(event) = stream.next().await {
            let event = match event {
                Ok(event) => event,
                Err(error) => {
                    tracing::warn!(kind = %K::kind(&()), %error, "the watch was interrupted and starts again");
                    continue;
                }
            };
            let Some(event) = decode(event, managed_fields) else { continue };
            if matches!(event, Event::Init) {
                before = seen.state();
            }
            writer.apply_watcher_event(&event);
            match &event {
                Event::Apply(object) => on_change(Change::Applied(object)),
                Event::Delete(object) => on_change(Change::Deleted(object)),
                Event::Init | Event::InitApply(_) => {}
                Event::InitDone => {
                    for gone in before.drain(..).filter(|o| is_gone(&seen, o.as_ref())) {
                        on_change(Change::Deleted(&gone));
                    }
                    for object in seen.state() {
                        on_change(Change::Applied(&object));
                    }
                }
            }
        }
    });
    reader
}

/// Whether the object that bore this uid is no longer in the store.
fn is_gone<K: Watched>(store: &Store<K>, object: &K) -> bool {
    store.get(&ObjectRef::from_obj(object)).is_none_or(|now| now.meta().uid != object.meta().uid)
}

fn decode<K: Watched>(event: Event<DeserializeGuard<K>>, managed_fields: ManagedFields) -> Option<Event<K>> {
    let open = |guard: DeserializeGuard<K>| match guard.0 {
        Ok(mut object) => {
            if managed_fields == ManagedFields::Drop {
                object.meta_mut().managed_fields = None;
            }
            Some(object)
        }
        Err(invalid) => {
            tracing::error!(
                kind = %K::kind(&()),
                namespace = invalid.metadata.namespace,
                name = invalid.metadata.name,
                error = invalid.error,
                "an object cannot be read and is left as it is"
            );
            None
        }
    };
    match event {
        Event::Apply(guard) => open(guard).map(Event::Apply),
        Event::Delete(guard) => open(guard).map(Event::Delete),
        Event::InitApply(guard) => open(guard).map(Event::InitApply),
        Event::Init => Some(Event::Init),
        Event::InitDone => Some(Event::InitDone),
    }
}
