//! Whose topic it is: strangers' topics, and several objects for one topic.

use anyhow::ensure;
use serde_json::json;
use weir_api::Topic;
use weir_test_support::{Stranger, TestNamespace, Witness, wait};

use crate::{
    lane::cases,
    objects::{PATIENCE, connect, create_topic, kafka_name, said, topic},
};

cases![
    a_stranger_s_topic_is_adopted_only_if_it_matches,
    a_topic_that_was_replaced_behind_our_back_is_not_deleted,
    a_topic_that_was_deleted_behind_our_back_is_not_created_empty,
    a_topic_survives_the_deletion_of_its_first_owner,
    a_namespace_with_topics_to_delete_goes_with_them,
];

async fn a_stranger_s_topic_is_adopted_only_if_it_matches(ns: TestNamespace) -> anyhow::Result<()> {
    connect(&ns).await?;
    let name = kafka_name(&ns, "orders");
    let stranger = Stranger::new(&ns.rig)?;
    stranger.create_topic(&name, 2, &[("retention.ms", "3600000")]).await?;
    let spec = json!({"partitions": 3, "config": {"retention.ms": "1"}, "deletionPolicy": "Retain"});
    ns.apply(&topic(&ns, "orders", &spec)).await?;
    let message = said::<Topic>(&ns, "orders", "Ready", "False", "TopicExists").await?;
    for part in ["2 partitions", "says 3", "retention.ms"] {
        ensure!(message.contains(part), "{part} is missing in {message}");
    }
    ensure!(Witness::new(&ns.rig, "none")?.partitions(&name)?.len() == 2, "a stranger's topic was changed");
    let matching =
        json!({"partitions": 2, "config": {"retention.ms": "3600000"}, "deletionPolicy": "Retain"});
    ns.apply(&topic(&ns, "orders", &matching)).await?;
    said::<Topic>(&ns, "orders", "Ready", "True", "Synced").await?;
    stranger.delete_topic(&name).await
}

async fn a_topic_that_was_replaced_behind_our_back_is_not_deleted(ns: TestNamespace) -> anyhow::Result<()> {
    connect(&ns).await?;
    create_topic(&ns, "orders", 1).await?;
    let name = kafka_name(&ns, "orders");
    let stranger = Stranger::new(&ns.rig)?;
    stranger.delete_topic(&name).await?;
    let again = async || stranger.create_topic(&name, 5, &[]).await;
    wait::eventually("the topic's name to be free", PATIENCE, std::time::Duration::from_millis(300), again)
        .await?;
    ask_for_a_visit(&ns, "orders").await?;
    said::<Topic>(&ns, "orders", "Ready", "False", "TopicReplaced").await?;
    ns.api::<Topic>().delete("orders", &Default::default()).await?;
    wait::until_gone::<Topic>(&ns.api(), "orders", PATIENCE).await?;
    ensure!(Witness::new(&ns.rig, "none")?.partitions(&name)?.len() == 5, "a stranger's topic was deleted");
    stranger.delete_topic(&name).await
}

async fn a_topic_that_was_deleted_behind_our_back_is_not_created_empty(
    ns: TestNamespace,
) -> anyhow::Result<()> {
    connect(&ns).await?;
    create_topic(&ns, "orders", 1).await?;
    let name = kafka_name(&ns, "orders");
    Stranger::new(&ns.rig)?.delete_topic(&name).await?;
    ask_for_a_visit(&ns, "orders").await?;
    let message = said::<Topic>(&ns, "orders", "Ready", "False", "TopicLost").await?;
    ensure!(message.contains(&name), "{message}");
    ensure!(Witness::new(&ns.rig, "none")?.partitions(&name)?.is_empty(), "an empty topic was created");
    Ok(())
}

async fn a_topic_survives_the_deletion_of_its_first_owner(ns: TestNamespace) -> anyhow::Result<()> {
    connect(&ns).await?;
    let name = kafka_name(&ns, "orders");
    let spec = |policy| json!({"topicName": name, "partitions": 2, "replicationFactor": 3, "deletionPolicy": policy});
    ns.apply(&topic(&ns, "older", &spec("Retain"))).await?;
    said::<Topic>(&ns, "older", "Ready", "True", "Synced").await?;
    // Age is told in seconds.
    let older = ns.api::<Topic>().get("older").await?.metadata.creation_timestamp;
    let now_is_later = async || {
        let now = k8s_openapi::jiff::Timestamp::now();
        ensure!(older.as_ref().is_some_and(|t| now.as_second() > t.0.as_second()), "the second is not over");
        Ok(())
    };
    wait::eventually("the next second", PATIENCE, std::time::Duration::from_millis(100), now_is_later)
        .await?;
    ns.apply(&topic(&ns, "younger", &spec("Delete"))).await?;
    let message = said::<Topic>(&ns, "younger", "Ready", "False", "TopicConflict").await?;
    ensure!(message.contains("older"), "{message}");
    // A claimant's deletion does not touch the owner's topic.
    ns.apply(&topic(&ns, "youngest", &spec("Delete"))).await?;
    said::<Topic>(&ns, "youngest", "Ready", "False", "TopicConflict").await?;
    ns.api::<Topic>().delete("youngest", &Default::default()).await?;
    wait::until_gone::<Topic>(&ns.api(), "youngest", PATIENCE).await?;
    ns.api::<Topic>().delete("older", &Default::default()).await?;
    said::<Topic>(&ns, "younger", "Ready", "True", "Synced").await?;
    let partitions = Witness::new(&ns.rig, "none")?.partitions(&name)?;
    ensure!(partitions.len() == 2, "{partitions:?}");
    Ok(())
}

async fn a_namespace_with_topics_to_delete_goes_with_them(ns: TestNamespace) -> anyhow::Result<()> {
    let inner = TestNamespace::create(ns.rig.clone(), "it-inner").await?;
    connect(&inner).await?;
    create_topic(&inner, "orders", 1).await?;
    create_topic(&inner, "payments", 1).await?;
    inner.delete().await?;
    let namespaces = kube::Api::<k8s_openapi::api::core::v1::Namespace>::all(ns.client.clone());
    wait::until_gone(&namespaces, &inner.name, PATIENCE).await?;
    let witness = Witness::new(&ns.rig, "none")?;
    for name in ["orders", "payments"] {
        ensure!(witness.partitions(&kafka_name(&inner, name))?.is_empty(), "topic {name} is left");
    }
    Ok(())
}

/// A new value of the annotation asks for a look now instead of at the next resync.
async fn ask_for_a_visit(ns: &TestNamespace, name: &str) -> anyhow::Result<()> {
    let now = k8s_openapi::jiff::Timestamp::now().to_string();
    let patch = json!({"metadata": {"annotations": {"kafka.weir.dev/reconcile-at": now}}});
    ns.api::<Topic>().patch(name, &Default::default(), &kube::api::Patch::Merge(&patch)).await?;
    Ok(())
}
