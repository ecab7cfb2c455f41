//! The `sequence-sink` in the cluster: its answers, read through the API server's service proxy, so that the reader needs no
//! route to pods.

use anyhow::Context;
use http::Request;
use kube::Client;
use serde::{Deserialize, Serialize};

/// What the sink counted; see its own `Counts`.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct SinkCounts {
    /// Records, repetitions included.
    pub total: u64,
    /// Different sequence numbers.
    pub distinct: u64,
    /// Records whose sequence number had arrived before.
    pub duplicated: u64,
    /// Records that came for the first time after a later one of the same key.
    pub reordered: u64,
    /// The highest sequence number, if any record arrived.
    pub max_sequence: Option<u64>,
}

/// A sink behind a Service.
#[derive(Clone)]
pub struct Sink {
    client: Client,
    namespace: String,
    service: String,
}

impl Sink {
    /// The sink behind `service`, whose first port is 80.
    #[must_use]
    pub fn new(client: Client, namespace: &str, service: &str) -> Self {
        Self { client, namespace: namespace.to_owned(), service: service.to_owned() }
    }

    /// What arrived: of one run of a ProducerJob, or of all.
    ///
    /// # Errors
    /// The sink does not answer.
    pub async fn counts(&self, run_id: Option<&str>) -> anyhow::Result<SinkCounts> {
        let query = run_id.map(|id| format!("?runId={id}")).unwrap_or_default();
        let request = Request::get(self.path(&format!("counts{query}"))).body(Vec::new())?;
        self.client.request(request).await.context("failed to ask the sink for its counts")
    }

    /// Has the sink refuse `percent` of the records with 503 for `seconds`, or until the next call.
    ///
    /// # Errors
    /// The sink does not answer.
    pub async fn fail(&self, percent: u8, seconds: Option<u64>) -> anyhow::Result<()> {
        let seconds = seconds.map(|seconds| format!("&seconds={seconds}")).unwrap_or_default();
        let request =
            Request::post(self.path(&format!("fail?percent={percent}{seconds}"))).body(Vec::new())?;
        self.client.request_text(request).await.context("failed to have the sink fail")?;
        Ok(())
    }

    fn path(&self, rest: &str) -> String {
        format!("/api/v1/namespaces/{}/services/{}:80/proxy/{rest}", self.namespace, self.service)
    }
}

/// The Deployment and Service `sink` for a test, as JSON to apply: each record takes `delay`, such as `5ms`.
#[must_use]
pub fn manifest(namespace: &str, delay: &str) -> serde_json::Value {
    let labels = serde_json::json!({"app": "sink"});
    let container = serde_json::json!({
        "name": "sink",
        "image": "localhost/weir-sequence-sink:dev",
        "imagePullPolicy": "IfNotPresent",
        "env": [{"name": "SINK_DELAY", "value": delay}],
        "readinessProbe": {"httpGet": {"path": "/readyz", "port": 8080}, "periodSeconds": 1},
    });
    serde_json::json!({"apiVersion": "v1", "kind": "List", "items": [
        {
            "apiVersion": "apps/v1",
            "kind": "Deployment",
            "metadata": {"name": "sink", "namespace": namespace},
            "spec": {
                "selector": {"matchLabels": labels},
                "template": {
                    "metadata": {"labels": labels},
                    "spec": {"containers": [container], "terminationGracePeriodSeconds": 1, "dnsPolicy": "Default"},
                },
            },
        },
        {
            "apiVersion": "v1",
            "kind": "Service",
            "metadata": {"name": "sink", "namespace": namespace},
            "spec": {"selector": labels, "ports": [{"port": 80, "targetPort": 8080}]},
        },
    ]})
}
