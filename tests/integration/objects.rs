//! What many tests apply and wait for: a Connection, topics, jobs, groups and the sink. Manifests are JSON, as a user would
//! write them; reading is typed.

use std::{fmt::Debug, time::Duration};

use anyhow::{Context, bail, ensure};
use k8s_openapi::api::{apps::v1::Deployment, core::v1::Service};
use kube::Resource;
use serde::{Serialize, de::DeserializeOwned};
use serde_json::{Value, json};
use weir_api::{Connection, ConsumerGroup, ProducerJob, Topic};
use weir_test_support::{TestNamespace, sink, sink::Sink, wait};

/// How long a change may take that happens within seconds on an idle machine.
pub(crate) const PATIENCE: Duration = Duration::from_secs(90);

/// Applies the Connection `kafka` and waits until it is ready.
pub(crate) async fn connect(ns: &TestNamespace) -> anyhow::Result<()> {
    ns.apply(&ns.connection()).await?;
    wait::until_condition::<Connection>(&ns.api(), "kafka", "Ready", "True", PATIENCE).await?;
    Ok(())
}

/// The name in Kafka of the topic or group `name` of this namespace: no other test has it.
pub(crate) fn kafka_name(ns: &TestNamespace, name: &str) -> String {
    format!("{}-{name}", ns.name)
}

/// Any object of Weir's in this namespace.
pub(crate) fn object(ns: &TestNamespace, kind: &str, name: &str, spec: &Value) -> Value {
    json!({
        "apiVersion": "kafka.weir.dev/v1alpha1",
        "kind": kind,
        "metadata": {"name": name, "namespace": ns.name},
        "spec": spec,
    })
}

/// `base` with the members of `more`, which win.
pub(crate) fn with(mut base: Value, more: &Value) -> Value {
    if let (Some(base), Some(more)) = (base.as_object_mut(), more.as_object()) {
        base.extend(more.clone());
    }
    base
}

/// A Topic object whose topic has the name [`kafka_name`] and goes with the object, unless `spec` says otherwise.
pub(crate) fn topic(ns: &TestNamespace, name: &str, spec: &Value) -> Value {
    let base = json!({
        "connectionRef": {"name": "kafka"},
        "topicName": kafka_name(ns, name),
        "deletionPolicy": "Delete",
    });
    object(ns, "Topic", name, &with(base, spec))
}

/// Applies a Topic and waits until it is ready.
pub(crate) async fn create_topic(ns: &TestNamespace, name: &str, partitions: i32) -> anyhow::Result<Topic> {
    ns.apply(&topic(ns, name, &json!({"partitions": partitions, "replicationFactor": 3}))).await?;
    wait::until_condition(&ns.api(), name, "Ready", "True", PATIENCE).await
}

/// A ProducerJob of keyed JSON records to the Topic object `topic`, unless `spec` says otherwise.
pub(crate) fn job(ns: &TestNamespace, name: &str, topic: &str, records: u64, spec: &Value) -> Value {
    let base = json!({
        "connectionRef": {"name": "kafka"},
        "topic": {"topicRef": {"name": topic}},
        "source": {"generator": {"sizeBytes": 100, "keys": {"distribution": "Uniform", "cardinality": 1000}}},
        "encoding": {"type": "Json"},
        "records": records,
    });
    object(ns, "ProducerJob", name, &with(base, spec))
}

/// Waits until a ProducerJob wrote everything.
pub(crate) async fn completed(ns: &TestNamespace, name: &str) -> anyhow::Result<ProducerJob> {
    let job: ProducerJob =
        wait::until_condition(&ns.api(), name, "Completed", "True", Duration::from_secs(150)).await?;
    let status = job.status.as_ref().context("a completed job has a status")?;
    ensure!(status.acknowledged == Some(job.spec.records), "acknowledged: {:?}", status.acknowledged);
    ensure!(status.failed == Some(0) && status.completion_time.is_some(), "{status:?}");
    Ok(job)
}

/// The run id in every record that a ProducerJob wrote.
pub(crate) fn run_id(job: &ProducerJob) -> String {
    job.status.as_ref().and_then(|status| status.run_id.clone()).unwrap_or_default()
}

/// A ConsumerGroup of the Topic object `topic` that begins with the oldest record, unless `spec` says otherwise.
pub(crate) fn group(ns: &TestNamespace, name: &str, topic: &str, spec: &Value) -> Value {
    let base = json!({
        "connectionRef": {"name": "kafka"},
        "groupId": kafka_name(ns, name),
        "topics": [{"topicRef": {"name": topic}}],
        "startFrom": {"type": "Earliest"},
        "sessionTimeout": "10s",
    });
    object(ns, "ConsumerGroup", name, &with(base, spec))
}

/// `spec.handler` and `spec.delivery` of a group that posts to `url`, `concurrency` records at a time.
pub(crate) fn posting(url: &str, concurrency: u32) -> Value {
    json!({
        "handler": {"http": {"url": url}},
        "delivery": {"concurrency": {"max": concurrency}, "retries": {"maxBackoff": "1s"}},
    })
}

/// Starts the sink and returns it with the address that workers post to.
pub(crate) async fn start_sink(ns: &TestNamespace, delay: &str) -> anyhow::Result<(Sink, String)> {
    ns.apply(&sink::manifest(&ns.name, delay)).await?;
    let ready = |d: &Deployment| d.status.as_ref().and_then(|s| s.ready_replicas) == Some(1);
    wait::until::<Deployment>(&ns.api(), "sink", "a ready pod", PATIENCE, ready).await?;
    let service = ns.api::<Service>().get("sink").await?;
    let address = service.spec.and_then(|spec| spec.cluster_ip).context("the Service has no address")?;
    Ok((Sink::new(ns.client.clone(), &ns.name, "sink"), format!("http://{address}/records")))
}

/// Waits until the sink has seen `distinct` records of a run.
pub(crate) async fn handled(sink: &Sink, run_id: &str, distinct: u64) -> anyhow::Result<sink::SinkCounts> {
    let what = format!("{distinct} records at the sink");
    wait::eventually(&what, Duration::from_secs(150), Duration::from_millis(250), async || {
        let counts = sink.counts(Some(run_id)).await?;
        ensure!(counts.distinct >= distinct, "the sink has seen {counts:?}");
        Ok(counts)
    })
    .await
}

/// Waits until the condition `type_` has `status` and `reason` for the current generation, and returns its message.
pub(crate) async fn said<K>(
    ns: &TestNamespace,
    name: &str,
    type_: &str,
    status: &str,
    reason: &str,
) -> anyhow::Result<String>
where
    K: Resource<DynamicType = (), Scope = k8s_openapi::NamespaceResourceScope>
        + Clone
        + Debug
        + Serialize
        + DeserializeOwned
        + Send
        + 'static,
{
    let what = format!("{type_}={status} with reason {reason}");
    let object = wait::until::<K>(&ns.api(), name, &what, PATIENCE, |object| {
        wait::condition(object, type_).is_some_and(|found| {
            found["status"] == status
                && found["reason"] == reason
                && found["observedGeneration"].as_i64() == object.meta().generation
        })
    })
    .await?;
    let condition = wait::condition(&object, type_).context("it was there a moment ago")?;
    Ok(condition["message"].as_str().unwrap_or_default().to_owned())
}

/// Waits until a group's Deployment is asked for `replicas`.
pub(crate) async fn until_replicas(ns: &TestNamespace, name: &str, replicas: i32) -> anyhow::Result<()> {
    let what = format!("{replicas} replicas");
    wait::until::<Deployment>(&ns.api(), name, &what, PATIENCE, |d| wanted_replicas(d) == replicas).await?;
    Ok(())
}

/// The replicas that a Deployment is asked for.
pub(crate) fn wanted_replicas(deployment: &Deployment) -> i32 {
    deployment.spec.as_ref().and_then(|spec| spec.replicas).unwrap_or(1)
}

/// Waits until a group is ready and measures its lag.
pub(crate) async fn measured(ns: &TestNamespace, name: &str) -> anyhow::Result<ConsumerGroup> {
    wait::until::<ConsumerGroup>(&ns.api(), name, "Ready=True and LagAvailable=True", PATIENCE, |group| {
        ["Ready", "LagAvailable"]
            .iter()
            .all(|type_| wait::condition(group, type_).is_some_and(|c| c["status"] == "True"))
    })
    .await
}

/// Checks again and again that something stays true: for what must not happen there is no event to wait for.
pub(crate) async fn stays(
    what: &str,
    duration: Duration,
    mut check: impl AsyncFnMut() -> anyhow::Result<()>,
) -> anyhow::Result<()> {
    let end = tokio::time::Instant::now() + duration;
    while tokio::time::Instant::now() < end {
        if let Err(error) = check().await {
            bail!("{what} did not hold for {duration:?}: {error:#}");
        }
        tokio::time::sleep(Duration::from_millis(500)).await;
    }
    Ok(())
}
