//! The main job in small: from `kubectl apply` to a drained backlog.

use std::time::Duration;

use anyhow::{Context, ensure};
use k8s_openapi::api::apps::v1::Deployment;
use serde_json::json;
use weir_api::ConsumerGroup;
use weir_test_support::{TestNamespace, Witness, wait};

use crate::{
    lane::cases,
    objects::{
        completed, connect, create_topic, group, handled, job, kafka_name, measured, posting, run_id,
        start_sink, until_replicas, wanted_replicas, with,
    },
};

cases![a_backlog_calls_consumers_who_handle_every_record_and_go_away_again];

const RECORDS: u64 = 20_000;

async fn a_backlog_calls_consumers_who_handle_every_record_and_go_away_again(
    ns: TestNamespace,
) -> anyhow::Result<()> {
    connect(&ns).await?;
    let (sink, url) = start_sink(&ns, "5ms").await?;
    let topic = create_topic(&ns, "orders", 6).await?.status.context("a ready topic has a status")?;
    ensure!(topic.partitions == Some(6) && topic.replication_factor == Some(3), "{topic:?}");
    let spec = with(
        posting(&url, 2),
        &json!({"autoscaling": {
            "minReplicas": 0,
            "maxReplicas": 6,
            "drainTarget": "10s",
            "capacityPerReplica": {"recordsPerSecond": "350"},
            "idleFor": "3s",
            "scaleDownWindow": "3s",
        }}),
    );
    ns.apply(&group(&ns, "billing", "orders", &spec)).await?;
    measured(&ns, "billing").await?;
    let sleeping = ns.api::<Deployment>().get("billing").await?;
    ensure!(wanted_replicas(&sleeping) == 0, "without a backlog nobody is wanted: {:?}", sleeping.spec);

    ns.apply(&job(&ns, "fill", "orders", RECORDS, &json!({}))).await?;
    let several = |d: &Deployment| wanted_replicas(d) > 1;
    let grown =
        wait::until::<Deployment>(&ns.api(), "billing", "several replicas", Duration::from_secs(60), several)
            .await?;
    ensure!(wanted_replicas(&grown) <= 6, "more consumers than partitions: {:?}", grown.spec);
    let run = run_id(&completed(&ns, "fill").await?);
    let counts = handled(&sink, &run, RECORDS).await?;
    ensure!(counts.max_sequence == Some(RECORDS - 1), "{counts:?}");
    ensure!(counts.reordered == 0, "records of one key were handled out of order: {counts:?}");
    println!("demo path in small: {counts:?}, {} replicas at first", wanted_replicas(&grown));

    until_replicas(&ns, "billing", 0).await?;
    let drained =
        wait::until::<ConsumerGroup>(&ns.api(), "billing", "no lag", Duration::from_secs(60), |group| {
            let status = group.status.clone().unwrap_or_default();
            status.lag.is_some_and(|lag| lag.valid && lag.total == Some(0)) && status.replicas == Some(0)
        })
        .await?;
    let status = drained.status.context("it was there a moment ago")?;
    ensure!(status.partitions == Some(6) && status.desired_replicas == Some(0), "{status:?}");
    let newest = status.decisions.first().context("no decision is told")?;
    ensure!(newest.to == 0 && newest.message.ends_with('.'), "{newest:?}");
    let (group_id, name) = (kafka_name(&ns, "billing"), kafka_name(&ns, "orders"));
    let lag = Witness::new(&ns.rig, &group_id)?.lag(&name)?;
    ensure!(lag == 0, "the brokers say that {lag} records are not committed");
    Ok(())
}
