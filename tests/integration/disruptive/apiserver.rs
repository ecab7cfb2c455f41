//! The API server restarted.

use anyhow::ensure;
use serde_json::json;
use weir_test_support::{TestNamespace, operator, rig::Fault};

use crate::{
    lane::cases,
    objects::{
        PATIENCE, completed, connect, create_topic, group, handled, job, measured, posting, run_id,
        start_sink, until_replicas, with,
    },
};

cases![the_operator_recovers_from_a_restart_of_the_api_server];

async fn the_operator_recovers_from_a_restart_of_the_api_server(ns: TestNamespace) -> anyhow::Result<()> {
    const RECORDS: u64 = 4_000;
    connect(&ns).await?;
    let (sink, url) = start_sink(&ns, "2ms").await?;
    create_topic(&ns, "orders", 4).await?;
    let spec = with(
        posting(&url, 1),
        &json!({"autoscaling": {
            "minReplicas": 0, "maxReplicas": 4, "drainTarget": "5s", "idleFor": "2s", "scaleDownWindow": "2s",
            "capacityPerReplica": {"recordsPerSecond": "300"},
        }}),
    );
    ns.apply(&group(&ns, "billing", "orders", &spec)).await?;
    measured(&ns, "billing").await?;
    ns.apply(&job(&ns, "fill", "orders", RECORDS, &json!({}))).await?;
    ns.rig.apiserver(Fault::Restart).await?;
    let run = run_id(&completed(&ns, "fill").await?);
    let counts = handled(&sink, &run, RECORDS).await?;
    ensure!(counts.distinct == RECORDS, "{counts:?}");
    // The watches work: a new object is seen, and the group goes to sleep.
    create_topic(&ns, "payments", 1).await?;
    until_replicas(&ns, "billing", 0).await?;
    let pod = operator::await_ready(&ns.client, 1, PATIENCE).await?.remove(0);
    println!("the API server restarted: {counts:?}, {} restarts of the operator", operator::restarts(&pod));
    Ok(())
}
