//! Who consumes: Weir's worker with its handlers, or the user's own image; and what happens when they fail.

use std::time::Duration;

use anyhow::{Context, ensure};
use k8s_openapi::api::{apps::v1::Deployment, core::v1::Pod};
use kube::{
    ResourceExt,
    api::{ListParams, LogParams},
};
use serde_json::{Value, json};
use tokio::process::Command;
use weir_api::ConsumerGroup;
use weir_test_support::{TestNamespace, Witness, operator, program, wait};

use crate::{
    lane::cases,
    objects::{
        PATIENCE, completed, connect, create_topic, group, handled, job, kafka_name, measured, posting,
        run_id, said, start_sink, with,
    },
};

cases![
    a_consumer_killed_in_mid_batch_loses_nothing,
    a_handler_that_fails_for_a_while_loses_nothing,
    the_log_handler_writes_every_record_and_discard_none,
    your_own_image_is_told_where_kafka_is,
    a_crashing_image_is_told_and_forgotten_once_it_is_right,
    an_image_that_cannot_be_had_is_told_and_forgotten_once_it_can,
];

const RECORDS: u64 = 8_000;

/// The pods of a group.
async fn pods(ns: &TestNamespace, group: &str) -> anyhow::Result<Vec<Pod>> {
    let selector = format!("kafka.weir.dev/kind=consumergroup,kafka.weir.dev/name={group}");
    Ok(ns.api::<Pod>().list(&ListParams::default().labels(&selector)).await?.items)
}

async fn a_consumer_killed_in_mid_batch_loses_nothing(ns: TestNamespace) -> anyhow::Result<()> {
    connect(&ns).await?;
    let (sink, url) = start_sink(&ns, "5ms").await?;
    create_topic(&ns, "orders", 4).await?;
    ns.apply(&group(&ns, "billing", "orders", &with(posting(&url, 4), &json!({"replicas": 2})))).await?;
    measured(&ns, "billing").await?;
    ns.apply(&job(&ns, "fill", "orders", RECORDS, &json!({}))).await?;
    let run = run_id(&completed(&ns, "fill").await?);
    handled(&sink, &run, 500).await?;
    let victims = pods(&ns, "billing").await?;
    let victim = victims.first().context("the group has no pods")?;
    let process = operator::usage(victim, "weir-worker")?.process.to_string();
    let mut kill = Command::new("kill");
    kill.args(["-KILL", &process]);
    program::run(kill).await?;
    let counts = handled(&sink, &run, RECORDS).await?;
    println!("a consumer killed in mid-batch: {counts:?}");
    ensure!(counts.distinct == RECORDS, "{counts:?}");
    // At most what the dead consumer had taken and not committed comes again: a second's work.
    ensure!(counts.duplicated < RECORDS / 2, "too much was repeated: {counts:?}");
    let again = |pod: &Pod| operator::restarts(pod) == 1;
    wait::until(&ns.api(), &victim.name_any(), "one restart", PATIENCE, again).await?;
    Ok(())
}

async fn a_handler_that_fails_for_a_while_loses_nothing(ns: TestNamespace) -> anyhow::Result<()> {
    connect(&ns).await?;
    let (sink, url) = start_sink(&ns, "1ms").await?;
    create_topic(&ns, "orders", 4).await?;
    sink.fail(100, Some(4)).await?;
    ns.apply(&group(&ns, "billing", "orders", &posting(&url, 8))).await?;
    ns.apply(&job(&ns, "fill", "orders", RECORDS, &json!({}))).await?;
    let run = run_id(&completed(&ns, "fill").await?);
    handled(&sink, &run, 1_000).await?;
    sink.fail(30, Some(2)).await?;
    let counts = handled(&sink, &run, RECORDS).await?;
    ensure!(counts.distinct == RECORDS && counts.reordered == 0, "{counts:?}");
    ensure!(counts.duplicated == 0, "a refused record was counted, or handled twice: {counts:?}");
    Ok(())
}

async fn the_log_handler_writes_every_record_and_discard_none(ns: TestNamespace) -> anyhow::Result<()> {
    connect(&ns).await?;
    create_topic(&ns, "orders", 2).await?;
    ns.apply(&job(&ns, "fill", "orders", 300, &json!({}))).await?;
    for handler in ["log", "discard"] {
        let spec = json!({"handler": {handler: {}}});
        ns.apply(&group(&ns, handler, "orders", &spec)).await?;
    }
    completed(&ns, "fill").await?;
    for handler in ["log", "discard"] {
        let witness = Witness::new(&ns.rig, &kafka_name(&ns, handler))?;
        let drained = async || {
            let lag = witness.lag(&kafka_name(&ns, "orders"))?;
            ensure!(lag == 0, "the lag is {lag}");
            Ok(())
        };
        wait::eventually("everything to be committed", PATIENCE, Duration::from_millis(300), drained).await?;
        let pod = pods(&ns, handler).await?.into_iter().next().context("the group has no pod")?;
        let log = ns.api::<Pod>().logs(&pod.name_any(), &LogParams::default()).await?;
        let lines =
            log.lines().filter(|line| line.contains("\"offset\"") && line.contains("sequence")).count();
        ensure!(
            lines == if handler == "log" { 300 } else { 0 },
            "{handler} wrote {lines} records:\n{log:.2000}"
        );
    }
    Ok(())
}

/// A group of the user's own container.
fn own(ns: &TestNamespace, container: &Value) -> Value {
    let container = with(json!({"name": "app", "imagePullPolicy": "IfNotPresent"}), container);
    group(ns, "own", "orders", &json!({"template": {"spec": {"containers": [container]}}}))
}

async fn your_own_image_is_told_where_kafka_is(ns: TestNamespace) -> anyhow::Result<()> {
    connect(&ns).await?;
    create_topic(&ns, "orders", 2).await?;
    let env = json!([{"name": "MINE", "value": "1"}, {"name": "KAFKA_GROUP_ID", "value": "not-mine-to-say"}]);
    ns.apply(&own(&ns, &json!({"image": "localhost/weir-sequence-sink:dev", "env": env}))).await?;
    said::<ConsumerGroup>(&ns, "own", "Ready", "True", "Consuming").await?;
    let deployment = serde_json::to_value(ns.api::<Deployment>().get("own").await?)?;
    let env = deployment.pointer("/spec/template/spec/containers/0/env").cloned().unwrap_or_default();
    let value = |name: &str| {
        let found = env.as_array().into_iter().flatten().find(|variable| variable["name"] == name);
        found.and_then(|variable| variable["value"].as_str()).unwrap_or_default().to_owned()
    };
    let expected = [
        ("KAFKA_BOOTSTRAP_SERVERS", ns.rig.kafka.sasl_ssl.clone()),
        ("KAFKA_SECURITY_PROTOCOL", "SASL_SSL".to_owned()),
        ("KAFKA_SASL_MECHANISM", "SCRAM-SHA-512".to_owned()),
        ("KAFKA_GROUP_ID", kafka_name(&ns, "own")),
        ("KAFKA_TOPICS", kafka_name(&ns, "orders")),
        ("KAFKA_AUTO_OFFSET_RESET", "earliest".to_owned()),
        ("KAFKA_ISOLATION_LEVEL", "read_committed".to_owned()),
        ("KAFKA_SESSION_TIMEOUT_MS", "10000".to_owned()),
        ("MINE", "1".to_owned()),
    ];
    for (name, wanted) in expected {
        ensure!(value(name) == wanted, "{name} is {:?} instead of {wanted:?}", value(name));
    }
    let text = env.to_string();
    ensure!(!text.contains(ns.rig.password("weir")?), "a password stands in the Deployment");
    ensure!(text.contains("KAFKA_SASL_PASSWORD") && text.contains("secretKeyRef"), "{text}");
    // What the program in the container finds.
    let pod = pods(&ns, "own").await?.into_iter().next().context("the group has no pod")?;
    let process = operator::usage(&pod, "program")?.process;
    let environment = std::fs::read_to_string(format!("/proc/{process}/environ"))?;
    for part in [
        format!("KAFKA_SASL_PASSWORD={}", ns.rig.password("weir")?),
        format!("KAFKA_GROUP_ID={}", kafka_name(&ns, "own")),
    ] {
        ensure!(environment.split('\0').any(|variable| variable == part), "the program does not find {part}");
    }
    let authority = std::fs::read_to_string(format!("/proc/{process}/root/etc/weir/credentials/ca.crt"))?;
    ensure!(authority == ns.rig.ca_pem()?, "the authority's file is another one");
    Ok(())
}

async fn a_crashing_image_is_told_and_forgotten_once_it_is_right(ns: TestNamespace) -> anyhow::Result<()> {
    connect(&ns).await?;
    create_topic(&ns, "orders", 2).await?;
    let image = json!({"image": "localhost/weir-sequence-sink:dev"});
    ns.apply(&own(&ns, &with(image.clone(), &json!({"args": ["--no-such-option"]})))).await?;
    let message = said::<ConsumerGroup>(&ns, "own", "WorkloadReady", "False", "Crashing").await?;
    ensure!(message.contains("exit code 2") && message.contains("kubectl logs"), "{message}");
    said::<ConsumerGroup>(&ns, "own", "Ready", "False", "Crashing").await?;
    ns.apply(&own(&ns, &image)).await?;
    said::<ConsumerGroup>(&ns, "own", "Ready", "True", "Consuming").await?;
    said::<ConsumerGroup>(&ns, "own", "WorkloadReady", "True", "Ready").await?;
    Ok(())
}

async fn an_image_that_cannot_be_had_is_told_and_forgotten_once_it_can(
    ns: TestNamespace,
) -> anyhow::Result<()> {
    connect(&ns).await?;
    create_topic(&ns, "orders", 2).await?;
    let absent = json!({"image": "localhost/no-such-image:1", "imagePullPolicy": "Never"});
    ns.apply(&own(&ns, &absent)).await?;
    let message = said::<ConsumerGroup>(&ns, "own", "WorkloadReady", "False", "ImageUnavailable").await?;
    ensure!(message.contains("localhost/no-such-image:1"), "{message}");
    ns.apply(&own(&ns, &json!({"image": "localhost/weir-sequence-sink:dev"}))).await?;
    said::<ConsumerGroup>(&ns, "own", "Ready", "True", "Consuming").await?;
    said::<ConsumerGroup>(&ns, "own", "WorkloadReady", "True", "Ready").await?;
    Ok(())
}
