//! From samples to replicas: one task per group takes each sample, asks the autoscaler, and writes through `/scale`.
//!
//! It never writes anything else, never on an unknown lag, and only on the leader. What it saw and decided is a
//! [`View`] that the ConsumerGroup controller turns into a status.

mod group;
mod view;

use std::{
    collections::HashMap,
    sync::{Arc, Mutex},
    time::Instant,
};

use k8s_openapi::api::apps::v1::Deployment;
use kube::runtime::reflector::Store;
use tokio::{sync::watch, task::JoinHandle};
use weir_api::ConsumerGroup;
use weir_autoscaler::Policy;
use weir_kafka::GroupWatch;

pub(crate) use view::{LagView, Move, View};

use crate::{
    catalog::Key,
    handles::Handle,
    kubernetes::{apply::Applier, events::Events, runner::Trigger},
    leadership::Leadership,
    observability::metrics::Metrics,
};

/// What is to be done about one group.
#[derive(Clone)]
pub(crate) struct GroupScaling {
    /// Where the lag is measured; `None` until the Connection works.
    pub(crate) handle: Option<Arc<Handle>>,
    /// What is measured; `None` until every topic can be named.
    pub(crate) watch: Option<GroupWatch>,
    /// Who decides.
    pub(crate) mode: Mode,
}

/// What the tasks read, write and tell with.
#[derive(Clone)]
pub(crate) struct Tools {
    pub(crate) deployments: Store<Deployment>,
    pub(crate) groups: Store<ConsumerGroup>,
    pub(crate) applier: Arc<Applier>,
    pub(crate) events: Events,
    pub(crate) metrics: Metrics,
    pub(crate) leadership: Leadership,
    /// Asks for a visit of the group when its status has news.
    pub(crate) trigger: Trigger<ConsumerGroup>,
}

/// Who decides.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Mode {
    /// The autoscaler.
    Automatic(Policy),
    /// The autoscaler says what it would do; the spec counts.
    Recommend(Policy, u32),
    /// The spec.
    Fixed(u32),
}

impl Mode {
    fn policy(&self) -> Option<&Policy> {
        match self {
            Self::Automatic(policy) | Self::Recommend(policy, _) => Some(policy),
            Self::Fixed(_) => None,
        }
    }
}

/// All groups.
pub(crate) struct Scaling {
    /// Protects short look-ups; nobody waits while holding it.
    groups: Mutex<HashMap<Key, Group>>,
    /// Epoch of the autoscaler's time.
    epoch: Instant,
}

struct Group {
    settings: watch::Sender<GroupScaling>,
    view: watch::Receiver<View>,
    task: JoinHandle<()>,
}

impl Drop for Group {
    fn drop(&mut self) {
        self.task.abort();
    }
}

impl Scaling {
    /// Nothing to scale yet.
    pub(crate) fn new() -> Self {
        Self { groups: Mutex::default(), epoch: Instant::now() }
    }

    /// Begins or changes the scaling of a group.
    pub(crate) fn ensure(&self, key: &Key, wanted: GroupScaling, tools: Tools) {
        let mut groups = self.groups.lock().expect("no holder can panic");
        if let Some(group) = groups.get(key).filter(|group| !group.task.is_finished()) {
            group.settings.send_if_modified(|current| {
                let changed = !same(current, &wanted);
                if changed {
                    *current = wanted.clone();
                }
                changed
            });
            return;
        }
        let (settings, receiver) = watch::channel(wanted);
        let (publish, view) = watch::channel(View::default());
        let task = tokio::spawn(group::run(key.clone(), receiver, publish, tools, self.epoch));
        groups.insert(key.clone(), Group { settings, view, task });
    }

    /// What is known about a group.
    pub(crate) fn view(&self, key: &Key) -> View {
        let groups = self.groups.lock().expect("no holder can panic");
        groups.get(key).map(|group| group.view.borrow().clone()).unwrap_or_default()
    }

    /// Ends the scaling of a group.
    pub(crate) fn forget(&self, key: &Key) {
        self.groups.lock().expect("no holder can panic").remove(key);
    }

    /// Ends all scaling: nothing is written any more.
    pub(crate) fn stop(&self) {
        self.groups.lock().expect("no holder can panic").clear();
    }
}

fn same(a: &GroupScaling, b: &GroupScaling) -> bool {
    let handles = match (&a.handle, &b.handle) {
        (Some(a), Some(b)) => Arc::ptr_eq(a, b),
        (None, None) => true,
        (Some(_), None) | (None, Some(_)) => false,
    };
    handles && a.watch == b.watch && a.mode == b.mode
}
