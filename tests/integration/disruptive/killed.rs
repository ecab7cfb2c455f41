//! The operator killed in the middle of everything.

use anyhow::ensure;
use k8s_openapi::api::batch::v1::Job;
use serde_json::json;
use weir_api::{ConsumerGroup, ProducerJob};
use weir_test_support::{TestNamespace, Witness, operator, wait};

use crate::{
    lane::cases,
    objects::{
        PATIENCE, completed, connect, create_topic, group, handled, job, kafka_name, measured, posting,
        run_id, start_sink, until_replicas, with,
    },
};

cases![an_operator_killed_in_the_middle_of_a_drain_repeats_nothing_and_goes_on];

const RECORDS: u64 = 15_000;

async fn an_operator_killed_in_the_middle_of_a_drain_repeats_nothing_and_goes_on(
    ns: TestNamespace,
) -> anyhow::Result<()> {
    connect(&ns).await?;
    let (sink, url) = start_sink(&ns, "5ms").await?;
    create_topic(&ns, "orders", 6).await?;
    let spec = with(
        posting(&url, 2),
        &json!({"autoscaling": {
            "minReplicas": 0, "maxReplicas": 4, "drainTarget": "10s",
            "capacityPerReplica": {"recordsPerSecond": "350"}, "idleFor": "3s", "scaleDownWindow": "3s",
        }}),
    );
    ns.apply(&group(&ns, "billing", "orders", &spec)).await?;
    measured(&ns, "billing").await?;
    ns.apply(&job(&ns, "fill", "orders", RECORDS, &json!({"rate": {"recordsPerSecond": "2k"}}))).await?;
    let begun = |job: &ProducerJob| job.status.as_ref().and_then(|s| s.acknowledged).is_some_and(|n| n > 0);
    let begun =
        wait::until::<ProducerJob>(&ns.api(), "fill", "acknowledged records", PATIENCE, begun).await?;
    let run = run_id(&begun);
    handled(&sink, &run, 500).await?;

    operator::kill(&ns.client).await?;
    // While nobody operates, the workers work on.
    operator::await_ready(&ns.client, 1, PATIENCE).await?;
    completed(&ns, "fill").await?;
    let counts = handled(&sink, &run, RECORDS).await?;
    println!("an operator killed in the middle of a drain: {counts:?}");
    ensure!(counts.distinct == RECORDS && counts.reordered == 0, "{counts:?}");
    let written = Witness::new(&ns.rig, "none")?.records(&kafka_name(&ns, "orders"))?;
    ensure!(written == i64::try_from(RECORDS)?, "the job was repeated: {written} records");
    let jobs = ns.api::<Job>().list(&Default::default()).await?.items.len();
    ensure!(jobs == 1, "there are {jobs} Jobs");
    until_replicas(&ns, "billing", 0).await?;
    let asleep = |group: &ConsumerGroup| {
        wait::condition(group, "Ready").is_some_and(|c| c["status"] == "True" && c["reason"] == "Sleeping")
    };
    wait::until::<ConsumerGroup>(&ns.api(), "billing", "sleep", PATIENCE, asleep).await?;
    Ok(())
}
