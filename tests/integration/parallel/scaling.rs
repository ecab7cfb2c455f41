//! How many consumers: bounds, modes, who writes the number, and what an unknown lag does (nothing).

use std::time::Duration;

use anyhow::{Context, ensure};
use k8s_openapi::api::apps::v1::Deployment;
use serde_json::{Value, json};
use weir_api::ConsumerGroup;
use weir_test_support::{Stranger, TestNamespace, wait};

use crate::{
    lane::cases,
    objects::{
        PATIENCE, completed, connect, create_topic, group, job, kafka_name, measured, posting, said,
        start_sink, stays, until_replicas, wanted_replicas, with,
    },
};

cases![
    there_are_never_more_consumers_than_partitions,
    a_recommendation_is_told_and_not_carried_out,
    an_unknown_lag_moves_nobody,
    a_fixed_number_of_replicas_is_kept_and_can_be_changed,
    the_scaler_alone_owns_the_number_of_replicas,
    somebody_else_may_scale_through_the_scale_subresource,
];

/// Fills the topic `orders` with `records` before anybody consumes, and starts a sink that takes 50 ms for each.
async fn backlog(ns: &TestNamespace, partitions: i32, records: u64) -> anyhow::Result<String> {
    connect(ns).await?;
    create_topic(ns, "orders", partitions).await?;
    ns.apply(&job(ns, "fill", "orders", records, &json!({}))).await?;
    let (_, url) = start_sink(ns, "50ms").await?;
    completed(ns, "fill").await?;
    Ok(url)
}

fn hungry(mode: &str) -> Value {
    json!({
        "mode": mode, "minReplicas": 1, "maxReplicas": 10, "drainTarget": "10s",
        "capacityPerReplica": {"recordsPerSecond": "20"},
    })
}

async fn there_are_never_more_consumers_than_partitions(ns: TestNamespace) -> anyhow::Result<()> {
    let url = backlog(&ns, 2, 3_000).await?;
    let spec = with(posting(&url, 1), &json!({"autoscaling": hungry("Automatic")}));
    ns.apply(&group(&ns, "billing", "orders", &spec)).await?;
    let message =
        said::<ConsumerGroup>(&ns, "billing", "ScalingLimited", "True", "CappedByPartitions").await?;
    ensure!(message.contains("2 consumers"), "{message}");
    until_replicas(&ns, "billing", 2).await?;
    stays("2 consumers for 2 partitions", Duration::from_secs(3), async || {
        let replicas = wanted_replicas(&ns.api::<Deployment>().get("billing").await?);
        ensure!(replicas <= 2, "{replicas} consumers were wanted");
        Ok(())
    })
    .await
}

async fn a_recommendation_is_told_and_not_carried_out(ns: TestNamespace) -> anyhow::Result<()> {
    let url = backlog(&ns, 4, 3_000).await?;
    let spec = with(posting(&url, 1), &json!({"replicas": 1, "autoscaling": hungry("Recommend")}));
    ns.apply(&group(&ns, "billing", "orders", &spec)).await?;
    let told = |group: &ConsumerGroup| {
        group.status.as_ref().and_then(|status| status.recommended_replicas).is_some_and(|n| n == 4)
    };
    let group = wait::until(&ns.api(), "billing", "a recommendation of 4", PATIENCE, told).await?;
    let scaling = wait::condition(&group, "ScalingActive").context("there is no ScalingActive")?;
    ensure!(scaling["status"] == "False" && scaling["reason"] == "NotAutomatic", "{scaling}");
    let replicas = wanted_replicas(&ns.api::<Deployment>().get("billing").await?);
    ensure!(replicas == 1, "a recommendation was carried out: {replicas} replicas");
    Ok(())
}

async fn an_unknown_lag_moves_nobody(ns: TestNamespace) -> anyhow::Result<()> {
    connect(&ns).await?;
    let name = kafka_name(&ns, "orders");
    let spec = json!({
        "topics": [{"name": name}],
        "handler": {"discard": {}},
        "autoscaling": {"minReplicas": 2, "maxReplicas": 2, "scaleDownWindow": "1s"},
    });
    ns.apply(&group(&ns, "billing", "", &spec)).await?;
    let told =
        wait::until_condition::<ConsumerGroup>(&ns.api(), "billing", "LagAvailable", "False", PATIENCE)
            .await?;
    let lag = told.status.and_then(|status| status.lag);
    ensure!(
        lag.as_ref().is_none_or(|lag| !lag.valid && lag.total.is_none()),
        "an error was read as a number: {lag:?}"
    );
    until_replicas(&ns, "billing", 2).await?;
    ns.rig.kubectl(&["-n", &ns.name, "scale", "deployment", "billing", "--replicas=3"]).await?;
    stays("3 replicas", Duration::from_secs(5), async || {
        let replicas = wanted_replicas(&ns.api::<Deployment>().get("billing").await?);
        ensure!(replicas == 3, "on an unknown lag somebody was moved: {replicas} replicas");
        Ok(())
    })
    .await?;
    let stranger = Stranger::new(&ns.rig)?;
    stranger.create_topic(&name, 4, &[]).await?;
    measured(&ns, "billing").await?;
    until_replicas(&ns, "billing", 2).await?;
    stranger.delete_topic(&name).await
}

async fn a_fixed_number_of_replicas_is_kept_and_can_be_changed(ns: TestNamespace) -> anyhow::Result<()> {
    connect(&ns).await?;
    create_topic(&ns, "orders", 4).await?;
    let fixed = |replicas: i32| {
        group(&ns, "billing", "orders", &json!({"handler": {"discard": {}}, "replicas": replicas}))
    };
    ns.apply(&fixed(2)).await?;
    measured(&ns, "billing").await?;
    until_replicas(&ns, "billing", 2).await?;
    ns.apply(&fixed(3)).await?;
    until_replicas(&ns, "billing", 3).await?;
    ns.rig.kubectl(&["-n", &ns.name, "scale", "deployment", "billing", "--replicas=1"]).await?;
    until_replicas(&ns, "billing", 3).await
}

async fn the_scaler_alone_owns_the_number_of_replicas(ns: TestNamespace) -> anyhow::Result<()> {
    connect(&ns).await?;
    create_topic(&ns, "orders", 4).await?;
    let spec = json!({"handler": {"discard": {}}, "autoscaling": {"minReplicas": 2, "maxReplicas": 4}});
    ns.apply(&group(&ns, "billing", "orders", &spec)).await?;
    let owners = |deployment: &Deployment| {
        let fields = deployment.metadata.managed_fields.clone().unwrap_or_default();
        let owns = fields.into_iter().filter(|entry| {
            entry.fields_v1.as_ref().is_some_and(|f| f.0.pointer("/f:spec/f:replicas").is_some())
        });
        owns.filter_map(|entry| entry.manager).collect::<Vec<_>>()
    };
    let alone = |deployment: &Deployment| owners(deployment) == ["weir-scaler"];
    let deployment =
        wait::until(&ns.api(), "billing", "weir-scaler to own replicas", PATIENCE, alone).await?;
    ensure!(wanted_replicas(&deployment) == 2, "the handover changed the number: {:?}", deployment.spec);
    let ready = |d: &Deployment| d.status.as_ref().and_then(|s| s.ready_replicas) == Some(2);
    wait::until(&ns.api(), "billing", "2 ready replicas", PATIENCE, ready).await?;
    // A changed template must not bring the number back to the template's.
    let changed =
        with(spec, &json!({"sessionTimeout": "12s", "autoscaling": {"minReplicas": 2, "maxReplicas": 3}}));
    ns.apply(&group(&ns, "billing", "orders", &changed)).await?;
    let generation = deployment.metadata.generation;
    let rolled = |d: &Deployment| {
        d.metadata.generation > generation && alone(d) && wanted_replicas(d) == 2 && ready(d)
    };
    wait::until(&ns.api(), "billing", "a rollout with 2 replicas", PATIENCE, rolled).await?;
    Ok(())
}

async fn somebody_else_may_scale_through_the_scale_subresource(ns: TestNamespace) -> anyhow::Result<()> {
    connect(&ns).await?;
    create_topic(&ns, "orders", 4).await?;
    let spec = json!({
        "handler": {"discard": {}}, "replicas": 1,
        "autoscaling": {"mode": "External", "maxReplicas": 4},
    });
    ns.apply(&group(&ns, "billing", "orders", &spec)).await?;
    until_replicas(&ns, "billing", 1).await?;
    ns.rig.kubectl(&["-n", &ns.name, "scale", "consumergroup", "billing", "--replicas=2"]).await?;
    until_replicas(&ns, "billing", 2).await?;
    let shown = |group: &ConsumerGroup| group.status.as_ref().and_then(|s| s.replicas) == Some(2);
    wait::until(&ns.api(), "billing", "2 replicas in status", PATIENCE, shown).await?;
    let arguments = ["-n", &ns.name, "get", "consumergroup", "billing", "--subresource=scale", "-o", "json"];
    let scale: Value = serde_json::from_str(&ns.rig.kubectl(&arguments).await?)?;
    ensure!(scale["spec"]["replicas"] == 2 && scale["status"]["replicas"] == 2, "{scale}");
    let selector = scale["status"]["selector"].as_str().unwrap_or_default();
    let pods = ns.rig.kubectl(&["-n", &ns.name, "get", "pods", "-l", selector, "-o", "name"]).await?;
    ensure!(pods.lines().count() == 2, "the selector {selector} finds {pods}");
    Ok(())
}
