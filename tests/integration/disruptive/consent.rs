//! Clear text, refused and then allowed by the administrator: an upgrade with Helm in between.

use anyhow::ensure;
use serde_json::json;
use weir_api::{Connection, Topic};
use weir_test_support::{TestNamespace, helm, operator, wait};

use crate::{
    lane::cases,
    objects::{PATIENCE, said, topic},
    parallel::connections::plaintext,
};

cases![clear_text_works_as_soon_as_the_administrator_allows_it];

async fn clear_text_works_as_soon_as_the_administrator_allows_it(ns: TestNamespace) -> anyhow::Result<()> {
    ns.apply(&plaintext(&ns)).await?;
    said::<Connection>(&ns, "plain", "Ready", "False", "PlaintextNotAllowed").await?;
    helm::install(&ns.rig, &["policy.allowPlaintext=true"]).await?;
    let outcome = works(&ns).await;
    helm::install(&ns.rig, &[]).await?;
    operator::await_ready(&ns.client, 1, PATIENCE).await?;
    outcome?;
    said::<Connection>(&ns, "plain", "Ready", "False", "PlaintextNotAllowed").await.map(drop)
}

async fn works(ns: &TestNamespace) -> anyhow::Result<()> {
    said::<Connection>(ns, "plain", "Ready", "True", "Connected").await?;
    let message = said::<Connection>(ns, "plain", "InsecureTransport", "True", "Plaintext").await?;
    ensure!(message.contains("clear text"), "{message}");
    let spec = json!({"connectionRef": {"name": "plain"}, "partitions": 1, "replicationFactor": 3});
    ns.apply(&topic(ns, "orders", &spec)).await?;
    said::<Topic>(ns, "orders", "Ready", "True", "Synced").await?;
    ns.api::<Topic>().delete("orders", &Default::default()).await?;
    wait::until_gone::<Topic>(&ns.api(), "orders", PATIENCE).await
}
