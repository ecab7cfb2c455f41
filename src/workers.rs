//! Asks running workers how far they are, over HTTP in the cluster's network. An answer that does not come is no answer:
//! nothing is assumed from it.

use std::{net::SocketAddr, time::Duration};

use http_body_util::{BodyExt, Empty, Limited};
use hyper_util::{
    client::legacy::{Client, connect::HttpConnector},
    rt::TokioExecutor,
};
use serde::de::DeserializeOwned;

/// The worker's answer may take this long; a busy one is asked again at the next visit.
const TIMEOUT: Duration = Duration::from_secs(2);
/// No honest answer is longer, in bytes.
const LONGEST_ANSWER: usize = 64 * 1024;

/// The client for workers' `/status`.
pub(crate) struct Workers {
    client: Client<HttpConnector, Empty<&'static [u8]>>,
}

impl Workers {
    /// A client without connections yet.
    pub(crate) fn new() -> Self {
        Self { client: Client::builder(TokioExecutor::new()).build_http() }
    }

    /// The document at `/status`; `None` if the worker does not answer in time or not with such a document.
    pub(crate) async fn status<T: DeserializeOwned>(&self, worker: SocketAddr) -> Option<T> {
        let uri = format!("http://{worker}/status").parse().ok()?;
        let answer = async {
            let response = self.client.get(uri).await.ok()?;
            let body = Limited::new(response.into_body(), LONGEST_ANSWER).collect().await.ok()?;
            serde_json::from_slice(&body.to_bytes()).ok()
        };
        tokio::time::timeout(TIMEOUT, answer).await.ok().flatten()
    }
}
