//! Composition root of `weir operator`: probes first, then watches, then the lease, then the controllers.

use std::{sync::Arc, time::Duration};

use anyhow::Context as _;
use kube::{
    Client, ResourceExt,
    runtime::reflector::{ObjectRef, Store},
};
use tokio::sync::mpsc::UnboundedReceiver;
use tokio_util::sync::CancellationToken;
use weir_api::{Connection, ConsumerGroup, ProducerJob, Topic};
use weir_model::names::{CONNECTION_FINALIZER, TOPIC_FINALIZER};

use crate::{
    catalog::{Key, User},
    cli::OperatorArguments,
    context::{Context, Settings, Stores, Triggers},
    controllers::{connection, consumer_group, pod, producer_job, topic},
    kubernetes::{
        apply::Applier,
        events::Events,
        runner::{self, Trigger},
        watch::{Change, ManagedFields, Scope, Watched, watch},
    },
    leadership::{Leadership, LeaseSettings},
    observability::{
        http::{Endpoints, Server},
        logging,
        metrics::Metrics,
        readiness::{Gate, Readiness},
    },
    scaling::Scaling,
    shutdown,
    workers::Workers,
};

/// A leader that is silent for this long is replaced.
const LEASE_DURATION: Duration = Duration::from_secs(15);

/// Time to finish what was begun when the operator is told to end; shorter than the pod's grace period.
const DRAIN: Duration = Duration::from_secs(10);

/// Runs until SIGTERM, or until the lease is lost, which is an error.
pub(crate) async fn run(arguments: OperatorArguments) -> anyhow::Result<()> {
    let log_level = logging::init(&arguments.log)?;
    let stop = shutdown::on_signals()?;
    let (metrics, readiness) = (Metrics::new(), Readiness::default());
    let caches = readiness.gate("caches");
    let endpoints =
        Endpoints { metrics: metrics.clone(), readiness: readiness.clone(), log_level: Some(log_level) };
    let server = Server::bind(arguments.listen)
        .await
        .with_context(|| format!("failed to listen on {}", arguments.listen))?;
    let released = CancellationToken::new();
    let probes = tokio::spawn(server.serve(endpoints, released.clone()));

    let client = Client::try_default().await.context("failed to find the API server")?;
    let release = CancellationToken::new();
    let (leadership, lease) =
        Leadership::spawn(client.clone(), lease_settings(&arguments), metrics.clone(), release.clone());
    let (triggers, queues) = queues();
    let context = Arc::new(Context::new(
        settings(&arguments),
        Arc::new(Applier::new(client.clone())),
        Events::new(client.clone(), arguments.identity.clone()),
        metrics,
        triggers,
        leadership.clone(),
        Scaling::new(),
        Workers::new(),
    ));
    context.set_stores(watches(&client, &arguments.watch_namespace, &context));

    let controllers = tokio::spawn(lead(context.clone(), queues, caches, stop.clone()));
    tokio::select! {
        biased;
        () = stop.cancelled() => {}
        // Nothing is finished any more: another operator may be at it already.
        () = leadership.lost().cancelled() => anyhow::bail!("the lease was lost"),
    }
    context.scaling.stop();
    if tokio::time::timeout(DRAIN, controllers).await.is_err() {
        tracing::warn!("not every reconcile could be finished in time");
    }
    release.cancel();
    lease.await.context("the lease's task panicked")?.context("failed to keep the lease")?;
    released.cancel();
    probes.await.context("the probes' task panicked")?.context("failed to serve the probes")
}

fn settings(arguments: &OperatorArguments) -> Settings {
    Settings {
        allow_plaintext: arguments.allow_plaintext,
        worker_image: arguments.worker_image.clone(),
        worker_image_pull_policy: arguments.worker_image_pull_policy.clone(),
        resync: arguments.resync,
    }
}

fn lease_settings(arguments: &OperatorArguments) -> LeaseSettings {
    LeaseSettings {
        namespace: arguments.namespace.clone(),
        name: arguments.lease_name.clone(),
        identity: arguments.identity.clone(),
        duration: LEASE_DURATION,
    }
}

/// The ends of the triggers that the runners take.
struct Queues {
    connections: UnboundedReceiver<ObjectRef<Connection>>,
    topics: UnboundedReceiver<ObjectRef<Topic>>,
    jobs: UnboundedReceiver<ObjectRef<ProducerJob>>,
    groups: UnboundedReceiver<ObjectRef<ConsumerGroup>>,
}

fn queues() -> (Triggers, Queues) {
    let (connections, connection_queue) = Trigger::new();
    let (topics, topic_queue) = Trigger::new();
    let (jobs, job_queue) = Trigger::new();
    let (groups, group_queue) = Trigger::new();
    (
        Triggers { connections, topics, jobs, groups },
        Queues { connections: connection_queue, topics: topic_queue, jobs: job_queue, groups: group_queue },
    )
}

/// Waits for warm caches and the lease, then runs the four controllers until `stop`.
async fn lead(context: Arc<Context>, queues: Queues, caches: Gate, stop: CancellationToken) {
    let stores = context.stores();
    let begin = async {
        synced("connections", &stores.connections).await;
        synced("topics", &stores.topics).await;
        synced("producerjobs", &stores.jobs).await;
        synced("consumergroups", &stores.groups).await;
        synced("deployments", &stores.deployments).await;
        synced("jobs", &stores.batch_jobs).await;
        synced("pods", &stores.pods).await;
        caches.open();
        context.leadership.acquired().await;
    };
    if stop.run_until_cancelled(begin).await.is_none() {
        return;
    }
    tracing::info!("this operator leads");
    let metrics = context.metrics.clone();
    tokio::join!(
        runner::run(
            "Connection",
            context.clone(),
            stores.connections.clone(),
            queues.connections,
            metrics.clone(),
            stop.clone(),
            connection::reconcile
        ),
        runner::run(
            "Topic",
            context.clone(),
            stores.topics.clone(),
            queues.topics,
            metrics.clone(),
            stop.clone(),
            topic::reconcile
        ),
        runner::run(
            "ProducerJob",
            context.clone(),
            stores.jobs.clone(),
            queues.jobs,
            metrics.clone(),
            stop.clone(),
            producer_job::reconcile
        ),
        runner::run(
            "ConsumerGroup",
            context.clone(),
            stores.groups.clone(),
            queues.groups,
            metrics,
            stop,
            consumer_group::reconcile
        ),
    );
}

/// Waits for the first complete list of a kind. Missing definitions or rights delay it; the watch keeps trying and logs why.
async fn synced<K: Watched>(kind: &str, store: &Store<K>) {
    let wait = store.wait_until_ready();
    if tokio::time::timeout(Duration::from_secs(10), store.wait_until_ready()).await.is_err() {
        tracing::warn!(kind, "still waiting for the API server to list this kind");
        if wait.await.is_err() {
            std::future::pending::<()>().await;
        }
    }
}

/// Starts all watches. They feed the catalog and ask for visits; they run on a standby too.
fn watches(client: &Client, namespace: &str, context: &Arc<Context>) -> Stores {
    let scope = Scope { client, namespace };
    let weirs = Some(pod::SELECTOR);
    Stores {
        connections: watch(scope, None, ManagedFields::Drop, on_connection(context.clone())),
        topics: watch(scope, None, ManagedFields::Drop, on_topic(context.clone())),
        jobs: watch(scope, None, ManagedFields::Drop, on_job(context.clone())),
        groups: watch(scope, None, ManagedFields::Drop, on_group(context.clone())),
        deployments: watch(scope, weirs, ManagedFields::Keep, on_child(context.clone())),
        batch_jobs: watch(scope, weirs, ManagedFields::Drop, on_child(context.clone())),
        pods: watch(scope, weirs, ManagedFields::Drop, on_child(context.clone())),
    }
}

fn on_connection(context: Arc<Context>) -> impl FnMut(Change<'_, Connection>) + Send + 'static {
    move |change| match change {
        Change::Applied(connection) => {
            context.update_catalog(|catalog| catalog.apply_connection(connection));
            context.triggers.connections.visit(ObjectRef::from_obj(connection));
        }
        Change::Deleted(connection) => {
            let users = context.update_catalog(|catalog| catalog.delete_connection(connection));
            context.handles.forget(&Key::of(connection));
            context.triggers.visit_all(&users);
        }
    }
}

fn on_topic(context: Arc<Context>) -> impl FnMut(Change<'_, Topic>) + Send + 'static {
    move |change| match change {
        Change::Applied(topic) => {
            let users = context.update_catalog(|catalog| catalog.apply_topic(topic));
            context.triggers.topics.visit(ObjectRef::from_obj(topic));
            context.triggers.visit_all(&users);
            hold_connection(topic, &context);
        }
        Change::Deleted(topic) => {
            let users = context.update_catalog(|catalog| catalog.delete_topic(topic));
            context.triggers.visit_all(&users);
            let namespace = topic.namespace().unwrap_or_default();
            context.triggers.connections.visit_named(&namespace, &topic.spec.connection_ref.name);
        }
    }
}

/// A Topic that is to be deleted in Kafka holds its Connection: the first such Topic is a reason to look.
fn hold_connection(topic: &Topic, context: &Context) {
    if !topic.finalizers().iter().any(|f| f == TOPIC_FINALIZER) {
        return;
    }
    let connection = Key::new(topic.namespace().unwrap_or_default(), &topic.spec.connection_ref.name);
    let found = context.try_stores().and_then(|stores| context.find(&stores.connections, &connection));
    if found.is_some_and(|c| !c.finalizers().iter().any(|f| f == CONNECTION_FINALIZER)) {
        context.triggers.connections.visit_named(&connection.namespace, &connection.name);
    }
}

fn on_job(context: Arc<Context>) -> impl FnMut(Change<'_, ProducerJob>) + Send + 'static {
    move |change| match change {
        Change::Applied(job) => {
            context.update_catalog(|catalog| catalog.apply_job(job));
            context.triggers.jobs.visit(ObjectRef::from_obj(job));
        }
        Change::Deleted(job) => context.update_catalog(|catalog| catalog.delete_job(job)),
    }
}

fn on_group(context: Arc<Context>) -> impl FnMut(Change<'_, ConsumerGroup>) + Send + 'static {
    move |change| match change {
        Change::Applied(group) => {
            context.update_catalog(|catalog| catalog.apply_group(group));
            context.triggers.groups.visit(ObjectRef::from_obj(group));
        }
        Change::Deleted(group) => {
            let key = Key::of(group);
            let successors = context.update_catalog(|catalog| catalog.delete_group(group));
            context.scaling.forget(&key);
            context.metrics.forget_group(&key.namespace, &key.name);
            context.triggers.visit_all(&successors);
        }
    }
}

/// A child's change is a reason to visit its owner.
fn on_child<K: Watched>(context: Arc<Context>) -> impl FnMut(Change<'_, K>) + Send + 'static {
    move |change| {
        let (Change::Applied(child) | Change::Deleted(child)) = change;
        match pod::served(child) {
            Some(User::Group(key)) => context.triggers.groups.visit_named(&key.namespace, &key.name),
            Some(User::Job(key)) => context.triggers.jobs.visit_named(&key.namespace, &key.name),
            Some(User::Topic(_)) | None => {}
        }
    }
}
