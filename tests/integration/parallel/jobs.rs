//! ProducerJobs: exact counts, checked with Kafka's own tools.

use std::{collections::BTreeSet, time::Duration};

use anyhow::{Context, ensure};
use k8s_openapi::api::batch::v1::Job;
use kube::api::DeleteParams;
use serde_json::{Value, json};
use weir_api::ProducerJob;
use weir_test_support::{Stranger, TestNamespace, Witness, wait};

use crate::{
    lane::cases,
    objects::{PATIENCE, completed, connect, create_topic, job, kafka_name, run_id, said},
};

cases![
    a_raw_job_writes_exactly_what_it_says,
    a_json_job_numbers_every_record_once_and_keeps_its_rate,
    a_job_waits_for_a_topic_that_does_not_exist_and_starts_by_itself,
    a_job_waits_for_a_topic_object_that_does_not_exist_and_starts_by_itself,
    a_job_that_was_deleted_half_way_is_lost_and_not_begun_anew,
];

async fn a_raw_job_writes_exactly_what_it_says(ns: TestNamespace) -> anyhow::Result<()> {
    connect(&ns).await?;
    create_topic(&ns, "orders", 3).await?;
    ns.apply(&job(&ns, "fill", "orders", 12_345, &json!({"encoding": {"type": "Raw"}}))).await?;
    let done = completed(&ns, "fill").await?;
    let status = done.status.context("a completed job has a status")?;
    ensure!(status.generated == Some(12_345) && status.start_time.is_some(), "{status:?}");
    let written = ns.rig.written_records(&kafka_name(&ns, "orders")).await?;
    ensure!(written == 12_345, "GetOffsetShell counts {written} records");
    let jobs = ns.api::<Job>().list(&Default::default()).await?;
    ensure!(jobs.items.len() == 1, "{} Jobs were made", jobs.items.len());
    Ok(())
}

async fn a_json_job_numbers_every_record_once_and_keeps_its_rate(ns: TestNamespace) -> anyhow::Result<()> {
    connect(&ns).await?;
    create_topic(&ns, "orders", 3).await?;
    let spec = json!({
        "rate": {"recordsPerSecond": "100"},
        "source": {"generator": {"sizeBytes": 200, "keys": {"distribution": "Sequential", "cardinality": 7}}},
        "delivery": {"compression": "Lz4", "linger": "1ms"},
    });
    ns.apply(&job(&ns, "fill", "orders", 400, &spec)).await?;
    let run = run_id(&completed(&ns, "fill").await?);
    let (mut sequences, mut keys, mut times) = (BTreeSet::new(), BTreeSet::new(), BTreeSet::new());
    let mut wrong = Vec::new();
    Witness::new(&ns.rig, "none")?.read_all(&kafka_name(&ns, "orders"), PATIENCE, |record| {
        let value: Value = serde_json::from_slice(&record.value).unwrap_or_default();
        if value["runId"] != run.as_str() || !sequences.insert(value["sequence"].as_u64()) {
            wrong.push(value);
        }
        keys.insert(record.key);
        times.insert(record.timestamp);
    })?;
    ensure!(wrong.is_empty(), "records of another run, or twice: {wrong:?}");
    let expected: BTreeSet<_> = (0..400_u64).map(Some).collect();
    ensure!(sequences == expected && keys.len() == 7, "{} numbers, {} keys", sequences.len(), keys.len());
    let took = times.last().zip(times.first()).map(|(last, first)| last - first).unwrap_or_default();
    // 400 records at 100 per second: the last one is due 3.99 s after the first; a burst of a tenth is allowed.
    ensure!((3_500..8_000).contains(&took), "400 records at 100 per second took {took} ms");
    Ok(())
}

async fn a_job_waits_for_a_topic_that_does_not_exist_and_starts_by_itself(
    ns: TestNamespace,
) -> anyhow::Result<()> {
    connect(&ns).await?;
    let name = kafka_name(&ns, "orders");
    ns.apply(&job(&ns, "fill", "", 100, &json!({"topic": {"name": name}}))).await?;
    let message = said::<ProducerJob>(&ns, "fill", "Ready", "False", "TopicMissing").await?;
    ensure!(message.contains(&name) && message.contains("by itself"), "{message}");
    said::<ProducerJob>(&ns, "fill", "Stalled", "True", "TopicMissing").await?;
    let stranger = Stranger::new(&ns.rig)?;
    stranger.create_topic(&name, 1, &[]).await?;
    completed(&ns, "fill").await?;
    let written = Witness::new(&ns.rig, "none")?.records(&name)?;
    ensure!(written == 100, "{written} records were written");
    stranger.delete_topic(&name).await
}

async fn a_job_waits_for_a_topic_object_that_does_not_exist_and_starts_by_itself(
    ns: TestNamespace,
) -> anyhow::Result<()> {
    connect(&ns).await?;
    ns.apply(&job(&ns, "fill", "orders", 100, &json!({}))).await?;
    let message = said::<ProducerJob>(&ns, "fill", "Ready", "False", "TopicMissing").await?;
    ensure!(message.contains("Topic object orders"), "{message}");
    create_topic(&ns, "orders", 1).await?;
    completed(&ns, "fill").await?;
    Ok(())
}

async fn a_job_that_was_deleted_half_way_is_lost_and_not_begun_anew(ns: TestNamespace) -> anyhow::Result<()> {
    connect(&ns).await?;
    create_topic(&ns, "orders", 1).await?;
    ns.apply(&job(&ns, "fill", "orders", 100_000, &json!({"rate": {"recordsPerSecond": "50"}}))).await?;
    let some = |job: &ProducerJob| job.status.as_ref().and_then(|s| s.acknowledged).is_some_and(|n| n > 0);
    wait::until::<ProducerJob>(&ns.api(), "fill", "acknowledged records", PATIENCE, some).await?;
    ns.api::<Job>().delete("fill", &DeleteParams::background()).await?;
    let message = said::<ProducerJob>(&ns, "fill", "Ready", "False", "JobLost").await?;
    ensure!(message.contains("create another ProducerJob"), "{message}");
    said::<ProducerJob>(&ns, "fill", "Stalled", "True", "JobLost").await?;
    wait::until_gone::<Job>(&ns.api(), "fill", PATIENCE).await?;
    crate::objects::stays("no Job", Duration::from_secs(3), async || {
        ensure!(ns.api::<Job>().get_opt("fill").await?.is_none(), "the Job was begun anew");
        Ok(())
    })
    .await
}
