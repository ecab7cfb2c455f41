//! One runner for all kinds: takes triggers, calls a reconcile per object, never two at a time for one object, and
//! turns failures into pauses.
//!
//! Triggers come from watches, from the catalog and from the lag plane alike; the reconcile never learns which. Runs on
//! the leader only.

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use futures::StreamExt;
use kube::{
    ResourceExt,
    runtime::{
        controller::{Action, Config, ReconcileRequest, applier},
        reflector::{ObjectRef, Store},
    },
};
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;
use tracing::Instrument;

use super::{
    KubernetesError,
    backoff::{Backoff, jittered},
    watch::Watched,
};
use crate::observability::metrics::Metrics;

/// Reconciles of one kind that may run at the same time.
const CONCURRENCY: u16 = 32;
/// A whole reconcile may take this long; every call in it is bounded on its own, this is the last resort.
const RECONCILE_TIMEOUT: Duration = Duration::from_secs(120);

/// When an object wants to be visited again without a trigger.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Next {
    /// After this time, ± 10 %: something outside of Kubernetes may have changed.
    After(Duration),
    /// Only when something changes.
    OnChange,
    /// Something that recovers by itself is in the way: with growing pauses, at most this long.
    Retry(Duration),
}

/// Asks for a visit of an object; cheap to clone.
///
/// The channel has no bound: the scheduler behind it drains it at once and folds requests for the same object, so it
/// never holds more than what one burst of watch events brings.
#[derive(Debug)]
pub(crate) struct Trigger<K: Watched> {
    sender: mpsc::UnboundedSender<ObjectRef<K>>,
}

impl<K: Watched> Clone for Trigger<K> {
    fn clone(&self) -> Self {
        Self { sender: self.sender.clone() }
    }
}

impl<K: Watched> Trigger<K> {
    /// A trigger and the end that the runner takes.
    pub(crate) fn new() -> (Self, mpsc::UnboundedReceiver<ObjectRef<K>>) {
        let (sender, receiver) = mpsc::unbounded_channel();
        (Self { sender }, receiver)
    }

    /// Asks for a visit. On a standby nobody listens yet: the runner visits everything when it starts.
    pub(crate) fn visit(&self, object: ObjectRef<K>) {
        let _standby = self.sender.send(object);
    }

    /// Asks for a visit of an object by name.
    pub(crate) fn visit_named(&self, namespace: &str, name: &str) {
        self.visit(ObjectRef::new(name).within(namespace));
    }
}

/// Runs the controller of one kind until `stop`; reconciles that have begun are finished.
pub(crate) async fn run<K, C, F>(
    kind: &'static str,
    context: Arc<C>,
    store: Store<K>,
    mut triggers: mpsc::UnboundedReceiver<ObjectRef<K>>,
    metrics: Metrics,
    stop: CancellationToken,
    reconcile: impl Fn(Arc<K>, Arc<C>) -> F + Send + Sync + 'static,
) where
    K: Watched,
    C: Send + Sync + 'static,
    F: Future<Output = Result<Next, KubernetesError>> + Send + 'static,
{
    while triggers.try_recv().is_ok() {}
    let everything: Vec<_> = store.state().iter().map(|o| ObjectRef::from_obj(o.as_ref())).collect();
    let later = futures::stream::unfold(triggers, |mut t| async move { t.recv().await.map(|o| (o, t)) });
    let queue = futures::stream::iter(everything)
        .chain(later)
        .map(|object| Ok::<_, std::convert::Infallible>(ReconcileRequest::from(object)))
        .take_until(stop.cancelled_owned());
    let backoff = Arc::new(Backoff::default());
    let counted = backoff.clone();
    let visit = move |object: Arc<K>, context: Arc<C>| {
        let (backoff, metrics) = (backoff.clone(), metrics.clone());
        let work = reconcile(object.clone(), context);
        Box::pin(async move { visit(kind, object.as_ref(), work, &backoff, &metrics).await })
    };
    let on_error = move |object: Arc<K>, _: &KubernetesError, _: Arc<C>| {
        Action::requeue(counted.failed(&object.uid().unwrap_or_default(), Instant::now()))
    };
    let config = Config::default().concurrency(CONCURRENCY);
    applier(visit, on_error, context, store, Box::pin(queue), config).for_each(|_| async {}).await;
}

async fn visit<K: Watched>(
    kind: &'static str,
    object: &K,
    work: impl Future<Output = Result<Next, KubernetesError>>,
    backoff: &Backoff,
    metrics: &Metrics,
) -> Result<Action, KubernetesError> {
    let uid = object.uid().unwrap_or_default();
    let started = Instant::now();
    let span = tracing::info_span!(
        "reconcile",
        kind,
        namespace = object.namespace(),
        name = object.name_any(),
        generation = object.meta().generation
    );
    let result = match tokio::time::timeout(RECONCILE_TIMEOUT, work.instrument(span.clone())).await {
        Ok(result) => result,
        Err(_) => Err(KubernetesError::Timeout { action: "finish a reconcile" }),
    };
    let (outcome, action) = match result {
        Ok(Next::After(pause)) => {
            backoff.clear(&uid);
            ("ok", Ok(Action::requeue(jittered(pause))))
        }
        Ok(Next::OnChange) => {
            backoff.clear(&uid);
            ("ok", Ok(Action::await_change()))
        }
        Ok(Next::Retry(longest)) => {
            ("retry", Ok(Action::requeue(backoff.failed(&uid, Instant::now()).min(longest))))
        }
        Err(error) => {
            let server = error.server_message().unwrap_or_default();
            span.in_scope(|| tracing::warn!(%error, server, "a reconcile failed and is tried again"));
            (error.category(), Err(error))
        }
    };
    metrics.reconciled(kind, outcome, started.elapsed());
    action
}
