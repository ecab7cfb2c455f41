//! Brokers that restart, and brokers that are all gone for a while.

use std::time::{Duration, Instant};

use anyhow::{Context, ensure};
use k8s_openapi::api::apps::v1::Deployment;
use serde_json::json;
use weir_api::{Connection, ConsumerGroup, ProducerJob, Topic};
use weir_test_support::{TestNamespace, Witness, operator, rig::Fault, wait};

use crate::{
    lane::cases,
    objects::{
        PATIENCE, completed, connect, create_topic, group, handled, job, kafka_name, measured, posting,
        run_id, said, start_sink, wanted_replicas, with,
    },
};

cases![
    a_broker_restarted_while_records_flow_costs_none_of_them,
    an_outage_of_all_brokers_moves_nobody_and_ends_by_itself,
];

async fn a_broker_restarted_while_records_flow_costs_none_of_them(ns: TestNamespace) -> anyhow::Result<()> {
    const RECORDS: u64 = 20_000;
    connect(&ns).await?;
    let (sink, url) = start_sink(&ns, "1ms").await?;
    create_topic(&ns, "orders", 6).await?;
    ns.apply(&group(&ns, "billing", "orders", &with(posting(&url, 8), &json!({"replicas": 2})))).await?;
    measured(&ns, "billing").await?;
    ns.apply(&job(&ns, "fill", "orders", RECORDS, &json!({"rate": {"recordsPerSecond": "2k"}}))).await?;
    let run = begun(&ns).await?;
    handled(&sink, &run, 2_000).await?;
    ns.rig.broker(Fault::Restart, 2).await?;
    completed(&ns, "fill").await?;
    let counts = handled(&sink, &run, RECORDS).await?;
    println!("a broker restarted: {counts:?}");
    ensure!(counts.distinct == RECORDS, "{counts:?}");
    let written = ns.rig.written_records(&kafka_name(&ns, "orders")).await?;
    ensure!(written == i64::try_from(RECORDS)?, "GetOffsetShell counts {written} records");
    Ok(())
}

/// The outage lasts until every object said what is to be said, and at least 20 s; with `WEIR_LONG` at least two minutes.
async fn an_outage_of_all_brokers_moves_nobody_and_ends_by_itself(ns: TestNamespace) -> anyhow::Result<()> {
    const RECORDS: u64 = 3_000;
    let long = std::env::var_os("WEIR_LONG").is_some();
    let shortest = Duration::from_secs(if long { 120 } else { 20 });
    connect(&ns).await?;
    let (sink, url) = start_sink(&ns, "1ms").await?;
    create_topic(&ns, "orders", 4).await?;
    let spec = with(
        posting(&url, 8),
        &json!({"autoscaling": {
            "minReplicas": 2, "maxReplicas": 4, "scaleDownWindow": "1s", "idleFor": "1s",
            "capacityPerReplica": {"recordsPerSecond": "500"},
        }}),
    );
    ns.apply(&group(&ns, "billing", "orders", &spec)).await?;
    measured(&ns, "billing").await?;
    ns.apply(&job(&ns, "fill", "orders", RECORDS, &json!({"rate": {"recordsPerSecond": "200"}}))).await?;
    let run = begun(&ns).await?;
    handled(&sink, &run, 100).await?;
    let deployment = ns.api::<Deployment>().get("billing").await?;
    let replicas = wanted_replicas(&deployment);
    let restarts =
        operator::await_ready(&ns.client, 1, PATIENCE).await?.iter().map(operator::restarts).sum::<i32>();

    let outage = async {
        let began = Instant::now();
        for broker in 1..=3 {
            ns.rig.broker(Fault::Kill, broker).await?;
        }
        said::<ConsumerGroup>(&ns, "billing", "LagAvailable", "False", "LagUnknown").await?;
        let told =
            wait::until_condition::<Connection>(&ns.api(), "kafka", "Ready", "False", PATIENCE).await?;
        let reason = wait::condition(&told, "Ready").context("it was there a moment ago")?;
        ensure!(reason["reason"] == "Unreachable", "{reason}");
        println!("all brokers gone: told after {:?}", began.elapsed());
        tokio::time::sleep(shortest.saturating_sub(began.elapsed())).await;
        let topic = ns.api::<Topic>().get("orders").await?;
        let ready = wait::condition(&topic, "Ready").context("the topic has no condition")?;
        ensure!(ready["status"] == "True", "one blink of the brokers, and every topic is rewritten: {ready}");
        let now = wanted_replicas(&ns.api::<Deployment>().get("billing").await?);
        ensure!(now == replicas, "on an unknown lag {replicas} consumers became {now}");
        anyhow::Ok(())
    };
    let outcome = outage.await;
    // Whatever happened: the next test needs brokers.
    ns.rig.repair().await?;
    outcome?;
    wait::until_condition::<Connection>(&ns.api(), "kafka", "Ready", "True", PATIENCE).await?;
    measured(&ns, "billing").await?;
    completed(&ns, "fill").await?;
    let counts = handled(&sink, &run, RECORDS).await?;
    println!("all brokers gone and back: {counts:?}");
    let written = Witness::new(&ns.rig, "none")?.records(&kafka_name(&ns, "orders"))?;
    ensure!(written == i64::try_from(RECORDS)?, "{written} records instead of {RECORDS} were written");
    let after =
        operator::await_ready(&ns.client, 1, PATIENCE).await?.iter().map(operator::restarts).sum::<i32>();
    ensure!(after == restarts, "the operator was restarted {} times", after - restarts);
    Ok(())
}

/// Waits until the job `fill` has written something; its run id.
async fn begun(ns: &TestNamespace) -> anyhow::Result<String> {
    let some = |job: &ProducerJob| job.status.as_ref().and_then(|s| s.acknowledged).is_some_and(|n| n > 0);
    let job = wait::until::<ProducerJob>(&ns.api(), "fill", "acknowledged records", PATIENCE, some).await?;
    Ok(run_id(&job))
}
