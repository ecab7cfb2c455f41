//! The example folder: what it asks for, and how it comes and goes.

use std::{fs, time::Duration};

use anyhow::{Context, ensure};
use serde::de::DeserializeOwned;
use weir_api::{ConsumerGroup, ProducerJob, Topic};
use weir_test_support::{Rig, namespace, wait};

use crate::timeline::Goal;

/// Namespace of the example.
pub(crate) const NAMESPACE: &str = "quickstart";
/// Name of the handler's Service.
pub(crate) const HANDLER: &str = "slow-handler";
const FOLDER: &str = "examples/quickstart";
const TOPIC_TOOL: &str = "org.apache.kafka.tools.TopicCommand";

/// What the example asks for, read from its files, so that the driver has no second copy of a number.
#[derive(Debug, Clone)]
pub(crate) struct Quickstart {
    /// The topic.
    pub(crate) topic: Topic,
    /// The job that fills it.
    pub(crate) job: ProducerJob,
    /// The group that drains it.
    pub(crate) group: ConsumerGroup,
    /// What a replica can do and how fast a backlog should go.
    pub(crate) goal: Goal,
}

impl Quickstart {
    /// Reads the files.
    pub(crate) fn read() -> anyhow::Result<Self> {
        let group: ConsumerGroup = object("consumer-group.yaml")?;
        let autoscaling = group.spec.autoscaling.as_ref().context("the example must scale")?;
        let capacity =
            autoscaling.capacity_per_replica.as_ref().context("the example must name a capacity")?;
        let drain_target =
            autoscaling.drain_target.as_ref().context("the example must name a drain target")?;
        let goal = Goal {
            capacity: capacity.records_per_second.get()?.thousandths() / 1000,
            drain_target: drain_target.get()?.as_secs(),
        };
        Ok(Self { topic: object("topic.yaml")?, job: object("producer-job.yaml")?, group, goal })
    }

    /// Fewest replicas.
    pub(crate) fn min_replicas(&self) -> i32 {
        self.group.spec.autoscaling.as_ref().and_then(|autoscaling| autoscaling.min_replicas).unwrap_or(1)
    }
}

fn object<K: DeserializeOwned>(file: &str) -> anyhow::Result<K> {
    let path = Rig::checkout().join(FOLDER).join(file);
    let text = fs::read_to_string(&path).with_context(|| format!("failed to read {}", path.display()))?;
    serde_saphyr::from_str(&text).with_context(|| format!("failed to understand {}", path.display()))
}

/// The namespace with the Secret: what the comment in `connection.yaml` tells the user to do.
pub(crate) async fn create_namespace(rig: &Rig) -> anyhow::Result<()> {
    rig.kubectl(&["create", "namespace", NAMESPACE]).await?;
    rig.apply(&namespace::credentials(rig, NAMESPACE, "weir")?).await
}

/// `kubectl apply -f` the folder.
pub(crate) async fn apply(rig: &Rig) -> anyhow::Result<()> {
    print!("{}", rig.kubectl(&["apply", "-f", FOLDER]).await?);
    Ok(())
}

/// Deletes what an example of this or an earlier run left; with the Topic its data go, which is checked at the brokers.
pub(crate) async fn remove(rig: &Rig) -> anyhow::Result<()> {
    if rig.kubectl(&["get", "namespace", NAMESPACE, "--ignore-not-found", "-o", "name"]).await?.is_empty() {
        return Ok(());
    }
    // A Topic needs its Connection to go, and a run that was interrupted may have left one without the other.
    rig.apply(&namespace::credentials(rig, NAMESPACE, "weir")?).await?;
    rig.kubectl(&["apply", "-f", &format!("{FOLDER}/connection.yaml")]).await?;
    let kinds = "consumergroups,producerjobs,topics";
    rig.kubectl(&["-n", NAMESPACE, "delete", kinds, "--all", "--wait", "--timeout=60s"]).await?;
    rig.kubectl(&["delete", "namespace", NAMESPACE, "--wait", "--timeout=60s"]).await?;
    let topic = object::<Topic>("topic.yaml")?.topic_name();
    wait::eventually(
        "the deletion of the topic",
        Duration::from_secs(20),
        Duration::from_secs(1),
        async || {
            let topics = rig.kafka_tool(TOPIC_TOOL, &["--list"]).await?;
            ensure!(!topics.lines().any(|name| name == topic), "the brokers still have {topic}");
            Ok(())
        },
    )
    .await
}
