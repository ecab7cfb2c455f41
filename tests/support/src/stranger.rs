//! Somebody else who creates and deletes topics behind Weir's back: rdkafka's administration client as super user.

use std::time::Duration;

use anyhow::{Context, anyhow};
use rdkafka::{
    ClientConfig,
    admin::{AdminClient, AdminOptions, NewTopic, TopicReplication},
    client::DefaultClientContext,
};

use crate::rig::Rig;

/// An administrator who knows nothing of Weir.
pub struct Stranger {
    admin: AdminClient<DefaultClientContext>,
}

impl Stranger {
    /// Somebody with all rights on the rig's brokers.
    ///
    /// # Errors
    /// librdkafka refused the configuration.
    pub fn new(rig: &Rig) -> anyhow::Result<Self> {
        let mut config = ClientConfig::new();
        let admin = config
            .set("bootstrap.servers", &rig.kafka.plain)
            .create()
            .context("failed to make an administration client")?;
        Ok(Self { admin })
    }

    /// Creates a topic with three replicas per partition.
    ///
    /// # Errors
    /// The brokers refused.
    pub async fn create_topic(
        &self,
        name: &str,
        partitions: i32,
        config: &[(&str, &str)],
    ) -> anyhow::Result<()> {
        let new = NewTopic::new(name, partitions, TopicReplication::Fixed(3));
        let new = config.iter().fold(new, |new, (key, value)| new.set(key, value));
        let results = self.admin.create_topics([&new], &options()).await?;
        first(results, "create")
    }

    /// Deletes a topic.
    ///
    /// # Errors
    /// The brokers refused, or there is no such topic.
    pub async fn delete_topic(&self, name: &str) -> anyhow::Result<()> {
        let results = self.admin.delete_topics(&[name], &options()).await?;
        first(results, "delete")
    }
}

fn options() -> AdminOptions {
    let patience = Duration::from_secs(20);
    AdminOptions::new().operation_timeout(Some(patience)).request_timeout(Some(patience))
}

fn first(results: Vec<rdkafka::admin::TopicResult>, verb: &str) -> anyhow::Result<()> {
    match results.into_iter().next().with_context(|| format!("no answer to {verb} a topic"))? {
        Ok(_) => Ok(()),
        Err((name, code)) => Err(anyhow!("failed to {verb} topic {name}: {code}")),
    }
}
