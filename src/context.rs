//! What every controller is given: the stores, the handles to Kafka, the catalog, the triggers and the writer.

use std::{
    collections::BTreeSet,
    sync::{Arc, OnceLock, RwLock},
    time::Duration,
};

use k8s_openapi::api::{apps::v1::Deployment, batch::v1::Job, core::v1::Pod};
use kube::runtime::reflector::Store;
use weir_api::{Connection, ConsumerGroup, ProducerJob, Topic};

use crate::{
    catalog::{Catalog, Key, User},
    handles::Handles,
    kubernetes::{apply::Applier, events::Events, runner::Trigger, watch::Watched},
    leadership::Leadership,
    observability::metrics::Metrics,
    scaling::{Scaling, Tools},
    workers::Workers,
};

/// Settings of the operator that controllers need.
#[derive(Debug, Clone)]
pub(crate) struct Settings {
    /// Whether a Connection may do without TLS.
    pub(crate) allow_plaintext: bool,
    /// Image with `weir-worker`.
    pub(crate) worker_image: String,
    /// Its pull policy.
    pub(crate) worker_image_pull_policy: String,
    /// Time between two looks at a topic that nobody touched.
    pub(crate) resync: Duration,
}

/// Everything that is watched.
pub(crate) struct Stores {
    pub(crate) connections: Store<Connection>,
    pub(crate) topics: Store<Topic>,
    pub(crate) jobs: Store<ProducerJob>,
    pub(crate) groups: Store<ConsumerGroup>,
    /// Children of groups.
    pub(crate) deployments: Store<Deployment>,
    /// Children of producer jobs.
    pub(crate) batch_jobs: Store<Job>,
    /// Pods of both.
    pub(crate) pods: Store<Pod>,
}

/// Asks for visits, by kind.
#[derive(Clone)]
pub(crate) struct Triggers {
    pub(crate) connections: Trigger<Connection>,
    pub(crate) topics: Trigger<Topic>,
    pub(crate) jobs: Trigger<ProducerJob>,
    pub(crate) groups: Trigger<ConsumerGroup>,
}

impl Triggers {
    /// Asks for a visit of everybody whom a change concerns.
    pub(crate) fn visit_all(&self, users: &BTreeSet<User>) {
        for user in users {
            match user {
                User::Topic(key) => self.topics.visit_named(&key.namespace, &key.name),
                User::Job(key) => self.jobs.visit_named(&key.namespace, &key.name),
                User::Group(key) => self.groups.visit_named(&key.namespace, &key.name),
            }
        }
    }
}

/// What every controller is given.
pub(crate) struct Context {
    pub(crate) settings: Settings,
    pub(crate) applier: Arc<Applier>,
    pub(crate) events: Events,
    pub(crate) metrics: Metrics,
    pub(crate) handles: Handles,
    pub(crate) triggers: Triggers,
    pub(crate) leadership: Leadership,
    pub(crate) scaling: Scaling,
    /// For the `/status` of workers.
    pub(crate) workers: Workers,
    /// Protects synchronous look-ups and updates by the watches; nobody waits while holding it.
    pub(crate) catalog: RwLock<Catalog>,
    /// Set once, right after the watches began.
    stores: OnceLock<Stores>,
}

impl Context {
    /// A context whose stores are to be set by [`Context::set_stores`].
    #[expect(clippy::too_many_arguments, reason = "called once, by the composition root")]
    pub(crate) fn new(
        settings: Settings,
        applier: Arc<Applier>,
        events: Events,
        metrics: Metrics,
        triggers: Triggers,
        leadership: Leadership,
        scaling: Scaling,
        workers: Workers,
    ) -> Self {
        Self {
            settings,
            applier,
            events,
            metrics,
            handles: Handles::default(),
            triggers,
            leadership,
            scaling,
            workers,
            catalog: RwLock::default(),
            stores: OnceLock::new(),
        }
    }

    /// Completes the context.
    pub(crate) fn set_stores(&self, stores: Stores) {
        assert!(self.stores.set(stores).is_ok(), "the stores are set once");
    }

    /// The stores.
    pub(crate) fn stores(&self) -> &Stores {
        self.stores.get().expect("controllers run only after the stores are set")
    }

    /// The stores, if they are set: a watch may bring its first object before.
    pub(crate) fn try_stores(&self) -> Option<&Stores> {
        self.stores.get()
    }

    /// An object by key, as it was last seen.
    pub(crate) fn find<K: Watched>(&self, store: &Store<K>, key: &Key) -> Option<Arc<K>> {
        key.find(store)
    }

    /// What the scaling of groups works with.
    pub(crate) fn scaling_tools(&self) -> Tools {
        Tools {
            deployments: self.stores().deployments.clone(),
            groups: self.stores().groups.clone(),
            applier: self.applier.clone(),
            events: self.events.clone(),
            metrics: self.metrics.clone(),
            leadership: self.leadership.clone(),
            trigger: self.triggers.groups.clone(),
        }
    }

    /// Reads the catalog.
    pub(crate) fn catalog<T>(&self, read: impl FnOnce(&Catalog) -> T) -> T {
        read(&self.catalog.read().expect("no holder can panic"))
    }

    /// Changes the catalog.
    pub(crate) fn update_catalog<T>(&self, change: impl FnOnce(&mut Catalog) -> T) -> T {
        change(&mut self.catalog.write().expect("no holder can panic"))
    }
}
