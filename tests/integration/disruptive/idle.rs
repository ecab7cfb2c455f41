//! What a converged set of objects costs: no writes, hardly any processor time, little memory.

use std::{
    fs::File,
    io::{BufRead, BufReader, Seek, SeekFrom},
    time::Duration,
};

use anyhow::{Context, ensure};
use serde_json::{Value, json};
use weir_test_support::{TestNamespace, operator};

use crate::{
    lane::cases,
    objects::{PATIENCE, completed, connect, create_topic, group, job, measured},
};

cases![a_converged_set_of_objects_is_left_alone_and_costs_next_to_nothing];

/// Longer than the pause after which a Connection is asked again, and than what follows a job's end.
const SETTLING: Duration = Duration::from_secs(12);
const QUIET: Duration = Duration::from_secs(20);
const MOST_MEMORY: u64 = 60 * 1000 * 1000;

async fn a_converged_set_of_objects_is_left_alone_and_costs_next_to_nothing(
    ns: TestNamespace,
) -> anyhow::Result<()> {
    connect(&ns).await?;
    create_topic(&ns, "orders", 6).await?;
    ns.apply(&job(&ns, "fill", "orders", 1_000, &json!({}))).await?;
    let automatic = json!({"handler": {"discard": {}}, "autoscaling": {"minReplicas": 1, "maxReplicas": 6}});
    ns.apply(&group(&ns, "automatic", "orders", &automatic)).await?;
    ns.apply(&group(&ns, "fixed", "orders", &json!({"handler": {"log": {}}, "replicas": 1}))).await?;
    completed(&ns, "fill").await?;
    for name in ["automatic", "fixed"] {
        measured(&ns, name).await?;
    }
    // What is to come after convergence has no event of its own: it must only not go on.
    tokio::time::sleep(SETTLING).await;
    let pod = operator::await_ready(&ns.client, 1, PATIENCE).await?.remove(0);
    let mut audit = File::open(&ns.rig.audit_log).context("failed to open the audit log")?;
    audit.seek(SeekFrom::End(0))?;
    let before = operator::usage(&pod, "weir")?;
    tokio::time::sleep(QUIET).await;
    let after = operator::usage(&pod, "weir")?;
    let used = after.processor_time.saturating_sub(before.processor_time);
    let share = used.as_secs_f64() / QUIET.as_secs_f64();
    println!(
        "the idle operator takes {:.1} MB and {:.2} % of a core",
        after.resident_bytes as f64 / 1e6,
        share * 100.0
    );
    let mut writes = Vec::new();
    for line in BufReader::new(audit).lines() {
        // The last line may be half written.
        let Ok(request) = serde_json::from_str::<Value>(&line?) else { continue };
        if is_write_of_the_operator(&request) {
            writes.push(format!("{} {}", request["verb"], request["requestURI"]));
        }
    }
    ensure!(writes.is_empty(), "{} writes in {QUIET:?} without a reason: {writes:#?}", writes.len());
    ensure!(after.resident_bytes < MOST_MEMORY, "the operator takes {} bytes", after.resident_bytes);
    ensure!(share < 0.05, "the idle operator takes {:.1} % of a core", share * 100.0);
    Ok(())
}

fn is_write_of_the_operator(request: &Value) -> bool {
    let text = |pointer: &str| request.pointer(pointer).and_then(Value::as_str).unwrap_or_default();
    let writes = ["create", "update", "patch", "delete", "deletecollection"].contains(&text("/verb"));
    let served = text("/objectRef/namespace");
    writes
        && text("/user/username") == "system:serviceaccount:weir-system:weir"
        && text("/objectRef/resource") != "leases"
        && (served.starts_with("it-") || served == "weir-system")
}
