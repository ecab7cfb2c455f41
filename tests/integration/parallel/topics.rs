//! Topics, checked with Kafka's own tools.

use anyhow::{Context, ensure};
use serde_json::json;
use weir_api::Topic;
use weir_test_support::{Stranger, TestNamespace, Witness, wait};

use crate::{
    lane::cases,
    objects::{PATIENCE, connect, create_topic, kafka_name, said, topic},
};

cases![
    a_topic_is_created_grown_and_configured_and_keys_of_strangers_survive,
    a_retained_topic_outlives_its_object_and_a_deleted_one_goes,
    a_wish_for_fewer_partitions_stalls_and_can_be_corrected,
    an_unknown_configuration_key_stalls_and_the_last_good_state_stays,
    a_replication_factor_above_the_broker_count_stalls_and_can_be_corrected,
    a_paused_topic_is_left_alone_until_it_is_resumed,
    a_topic_whose_connection_is_broken_can_be_let_go_by_annotation,
];

const CONFIG_COMMAND: &str = "kafka.admin.ConfigCommand";

async fn a_topic_is_created_grown_and_configured_and_keys_of_strangers_survive(
    ns: TestNamespace,
) -> anyhow::Result<()> {
    connect(&ns).await?;
    let name = kafka_name(&ns, "orders");
    let first = json!({"partitions": 2, "replicationFactor": 3, "config": {"retention.ms": "3600000", "cleanup.policy": "delete"}});
    ns.apply(&topic(&ns, "orders", &first)).await?;
    said::<Topic>(&ns, "orders", "Ready", "True", "Synced").await?;
    let described = ns.rig.describe_topic(&name).await?;
    for part in ["PartitionCount: 2", "ReplicationFactor: 3", "retention.ms=3600000"] {
        ensure!(described.contains(part), "{part} is missing in {described}");
    }
    let stranger = ["--alter", "--entity-type", "topics", "--entity-name", &name];
    ns.rig
        .kafka_tool(CONFIG_COMMAND, &[&stranger[..], &["--add-config", "max.message.bytes=70000"]].concat())
        .await?;
    let second = json!({"partitions": 4, "replicationFactor": 3, "config": {"retention.ms": "7200000"}});
    ns.apply(&topic(&ns, "orders", &second)).await?;
    let grown = wait::until::<Topic>(&ns.api(), "orders", "4 partitions", PATIENCE, |t| {
        t.status
            .as_ref()
            .is_some_and(|s| s.partitions == Some(4) && s.managed_config_keys == ["retention.ms"])
    })
    .await?;
    let id = grown.status.and_then(|s| s.topic_id).context("a synced topic has an id")?;
    let described = ns.rig.describe_topic(&name).await?;
    for part in ["PartitionCount: 4", "retention.ms=7200000", "max.message.bytes=70000", &id] {
        ensure!(described.contains(part), "{part} is missing in {described}");
    }
    ensure!(!described.contains("cleanup.policy"), "cleanup.policy was not reset: {described}");
    Ok(())
}

async fn a_retained_topic_outlives_its_object_and_a_deleted_one_goes(
    ns: TestNamespace,
) -> anyhow::Result<()> {
    connect(&ns).await?;
    for (name, policy) in [("kept", "Retain"), ("gone", "Delete")] {
        let spec = json!({"partitions": 1, "replicationFactor": 1, "deletionPolicy": policy});
        ns.apply(&topic(&ns, name, &spec)).await?;
        said::<Topic>(&ns, name, "Ready", "True", "Synced").await?;
    }
    for name in ["kept", "gone"] {
        ns.api::<Topic>().delete(name, &Default::default()).await?;
        wait::until_gone::<Topic>(&ns.api(), name, PATIENCE).await?;
    }
    let listed = ns.rig.kafka_tool("org.apache.kafka.tools.TopicCommand", &["--list"]).await?;
    let listed: Vec<_> = listed.lines().map(str::trim).collect();
    ensure!(listed.contains(&kafka_name(&ns, "kept").as_str()), "the retained topic is gone");
    ensure!(!listed.contains(&kafka_name(&ns, "gone").as_str()), "the deleted topic is still there");
    Stranger::new(&ns.rig)?.delete_topic(&kafka_name(&ns, "kept")).await
}

async fn a_wish_for_fewer_partitions_stalls_and_can_be_corrected(ns: TestNamespace) -> anyhow::Result<()> {
    connect(&ns).await?;
    create_topic(&ns, "orders", 3).await?;
    ns.apply(&topic(&ns, "orders", &json!({"partitions": 2, "replicationFactor": 3}))).await?;
    let message = said::<Topic>(&ns, "orders", "Ready", "False", "PartitionsCannotShrink").await?;
    ensure!(message.contains("3 partitions") && message.contains("says 2"), "{message}");
    said::<Topic>(&ns, "orders", "Stalled", "True", "PartitionsCannotShrink").await?;
    create_topic(&ns, "orders", 3).await?;
    let partitions = Witness::new(&ns.rig, "none")?.partitions(&kafka_name(&ns, "orders"))?;
    ensure!(partitions.len() == 3, "{partitions:?}");
    Ok(())
}

async fn an_unknown_configuration_key_stalls_and_the_last_good_state_stays(
    ns: TestNamespace,
) -> anyhow::Result<()> {
    connect(&ns).await?;
    let name = kafka_name(&ns, "orders");
    let spec = |config| json!({"partitions": 1, "replicationFactor": 3, "config": config});
    ns.apply(&topic(&ns, "orders", &spec(json!({"retention.ms": "3600000"})))).await?;
    said::<Topic>(&ns, "orders", "Ready", "True", "Synced").await?;
    ns.apply(&topic(&ns, "orders", &spec(json!({"retention.ms": "3600000", "no.such.key": "1"})))).await?;
    let message = said::<Topic>(&ns, "orders", "Ready", "False", "InvalidConfig").await?;
    ensure!(message.contains("no.such.key"), "the message does not name the key: {message}");
    let described = ns.rig.describe_topic(&name).await?;
    ensure!(described.contains("retention.ms=3600000"), "{described}");
    ns.apply(&topic(&ns, "orders", &spec(json!({"retention.ms": "7200000"})))).await?;
    said::<Topic>(&ns, "orders", "Ready", "True", "Synced").await?;

    // The same at creation: nothing is created, and nothing of the intent stays.
    ns.apply(&topic(&ns, "wrong", &spec(json!({"retention.ms": "soon"})))).await?;
    let message = said::<Topic>(&ns, "wrong", "Ready", "False", "InvalidConfig").await?;
    ensure!(message.contains("retention.ms"), "{message}");
    let partitions = Witness::new(&ns.rig, "none")?.partitions(&kafka_name(&ns, "wrong"))?;
    ensure!(partitions.is_empty(), "a topic was created: {partitions:?}");
    Ok(())
}

async fn a_replication_factor_above_the_broker_count_stalls_and_can_be_corrected(
    ns: TestNamespace,
) -> anyhow::Result<()> {
    connect(&ns).await?;
    ns.apply(&topic(&ns, "orders", &json!({"partitions": 1, "replicationFactor": 4}))).await?;
    let message = said::<Topic>(&ns, "orders", "Ready", "False", "InsufficientBrokers").await?;
    ensure!(message.contains('4'), "{message}");
    create_topic(&ns, "orders", 1).await?;
    Ok(())
}

async fn a_paused_topic_is_left_alone_until_it_is_resumed(ns: TestNamespace) -> anyhow::Result<()> {
    connect(&ns).await?;
    let mut paused = topic(&ns, "orders", &json!({"partitions": 1, "replicationFactor": 3}));
    paused["metadata"]["annotations"] = json!({"kafka.weir.dev/paused": "true"});
    ns.apply(&paused).await?;
    said::<Topic>(&ns, "orders", "Paused", "True", "Paused").await?;
    let witness = Witness::new(&ns.rig, "none")?;
    ensure!(witness.partitions(&kafka_name(&ns, "orders"))?.is_empty(), "a paused object created a topic");
    create_topic(&ns, "orders", 1).await?;
    let resumed = ns.api::<Topic>().get("orders").await?;
    ensure!(wait::condition(&resumed, "Paused").is_none(), "{:?}", resumed.status);

    paused["spec"]["partitions"] = json!(2);
    ns.apply(&paused).await?;
    said::<Topic>(&ns, "orders", "Paused", "True", "Paused").await?;
    ensure!(witness.partitions(&kafka_name(&ns, "orders"))?.len() == 1, "a paused object grew a topic");
    create_topic(&ns, "orders", 2).await?;
    Ok(())
}

async fn a_topic_whose_connection_is_broken_can_be_let_go_by_annotation(
    ns: TestNamespace,
) -> anyhow::Result<()> {
    connect(&ns).await?;
    create_topic(&ns, "orders", 1).await?;
    let mut nowhere = ns.connection();
    nowhere["spec"]["bootstrapServers"] = json!(["no-such-host.invalid:9093"]);
    ns.apply(&nowhere).await?;
    said::<weir_api::Connection>(&ns, "kafka", "Ready", "False", "HostNotFound").await?;
    // The former handle still works, so that only a Connection that is not there at all blocks a deletion.
    let orphan = json!({"metadata": {"annotations": {"kafka.weir.dev/force-orphan": "true"}}});
    ns.api::<Topic>().patch("orders", &Default::default(), &kube::api::Patch::Merge(&orphan)).await?;
    ns.api::<Topic>().delete("orders", &Default::default()).await?;
    wait::until_gone::<Topic>(&ns.api(), "orders", PATIENCE).await?;
    let name = kafka_name(&ns, "orders");
    let partitions = Witness::new(&ns.rig, "none")?.partitions(&name)?;
    ensure!(partitions.len() == 1, "a topic that was to be orphaned is gone");
    Stranger::new(&ns.rig)?.delete_topic(&name).await
}
