//! Two observers that run beside the driver: a watch of the consumers' Deployment, and a thread that asks the brokers for the
//! lag. Neither asks Weir. Both stop when they are dropped.

use std::{
    sync::{Arc, Mutex, mpsc},
    thread,
    time::Duration,
};

use futures::{StreamExt, pin_mut};
use jiff::Timestamp;
use k8s_openapi::api::apps::v1::Deployment;
use kube::{
    Api, Client,
    runtime::{WatchStreamExt, watcher},
};
use tokio::task::JoinHandle;
use weir_model::names::{KIND_LABEL, NAME_LABEL};
use weir_test_support::{Rig, Witness};

use crate::timeline::{LagSample, ReplicaChange};

/// A list that one observer appends to and the driver reads. The lock protects the list, for the length of a copy; a channel
/// would need the driver to keep the same list.
#[derive(Debug, Default)]
pub(crate) struct History<T>(Arc<Mutex<Vec<T>>>);

impl<T: Copy> History<T> {
    fn shared(&self) -> Self {
        Self(Arc::clone(&self.0))
    }

    fn push(&self, entry: T) {
        self.0.lock().expect("no holder of the lock panics").push(entry);
    }

    /// Everything so far.
    pub(crate) fn all(&self) -> Vec<T> {
        self.0.lock().expect("no holder of the lock panics").clone()
    }

    /// The newest entry.
    pub(crate) fn latest(&self) -> Option<T> {
        self.0.lock().expect("no holder of the lock panics").last().copied()
    }
}

/// Notes every change of the wanted and ready replicas of a ConsumerGroup's Deployment.
pub(crate) struct ReplicaWatch {
    /// The changes.
    pub(crate) history: History<ReplicaChange>,
    task: JoinHandle<()>,
}

impl ReplicaWatch {
    /// Begins to watch. The Deployment need not exist yet.
    pub(crate) fn start(client: Client, namespace: &str, group: &str) -> Self {
        let history = History::default();
        let noted: History<ReplicaChange> = history.shared();
        let api: Api<Deployment> = Api::namespaced(client, namespace);
        let labels = format!("{KIND_LABEL}=consumergroup,{NAME_LABEL}={group}");
        let task = tokio::spawn(async move {
            let changes = watcher(api, watcher::Config::default().labels(&labels)).default_backoff();
            let changes = changes.applied_objects();
            pin_mut!(changes);
            while let Some(change) = changes.next().await {
                let Ok(deployment) = change else { continue };
                let change = ReplicaChange {
                    at: Timestamp::now().as_millisecond(),
                    wanted: deployment.spec.as_ref().and_then(|spec| spec.replicas).unwrap_or(1),
                    ready: deployment.status.as_ref().and_then(|status| status.ready_replicas).unwrap_or(0),
                };
                if noted
                    .latest()
                    .is_none_or(|last| (last.wanted, last.ready) != (change.wanted, change.ready))
                {
                    noted.push(change);
                }
            }
        });
        Self { history, task }
    }
}

impl Drop for ReplicaWatch {
    fn drop(&mut self) {
        self.task.abort();
    }
}

/// Asks the brokers twice a second for the topic's ends and the group's commits.
pub(crate) struct LagWatch {
    /// The samples.
    pub(crate) history: History<LagSample>,
    _stop: mpsc::Sender<()>,
}

impl LagWatch {
    /// Begins to ask. Neither the topic nor the group need exist yet.
    pub(crate) fn start(rig: &Rig, topic: &str, group: &str) -> anyhow::Result<Self> {
        let witness = Witness::new(rig, group)?;
        let history = History::default();
        let noted: History<LagSample> = history.shared();
        let (stop, stopped) = mpsc::channel::<()>();
        let topic = topic.to_owned();
        thread::spawn(move || {
            while stopped.recv_timeout(Duration::from_millis(500)) == Err(mpsc::RecvTimeoutError::Timeout) {
                // No answer is no sample: an error never means zero.
                if let Ok(sample) = sample(&witness, &topic) {
                    noted.push(sample);
                }
            }
        });
        Ok(Self { history, _stop: stop })
    }
}

fn sample(witness: &Witness, topic: &str) -> anyhow::Result<LagSample> {
    let lag = witness.lag(topic)?;
    let produced = witness.records(topic)?;
    Ok(LagSample { at: Timestamp::now().as_millisecond(), produced, lag })
}
