//! The HTTP handler: one POST per record. A 2xx answer completes the record, everything else is tried again. It
//! keeps connections alive, follows no redirects and uses no proxy.
//!
//! Headers of a request: `kafka-topic`, `kafka-partition`, `kafka-offset`, `kafka-timestamp` (milliseconds, if the
//! record has one), `kafka-attempt` (from 1), `idempotency-key: <topic>-<partition>-<offset>`, and the key: as
//! `kafka-key` if it consists of visible ASCII characters, else as `kafka-key-base64` (RFC 4648, padded). A record
//! without a value has an empty body and `kafka-tombstone: true`.

use std::{error::Error, fmt::Write as _, time::Duration};

use base64::{Engine as _, engine::general_purpose::STANDARD as BASE64};
use bytes::Bytes;
use http::{HeaderValue, Request, Response, StatusCode, Uri, header};
use http_body_util::{BodyExt, Full, Limited};
use hyper_rustls::{HttpsConnector, HttpsConnectorBuilder};
use hyper_util::{
    client::legacy::{Client, ResponseFuture, connect::HttpConnector},
    rt::{TokioExecutor, TokioTimer},
};
use weir_model::worker_config;

use super::Refusal;
use crate::consume::record::Record;

/// An answer's body is read and thrown away up to here, so that the connection can be used again.
const ANSWER_LIMIT: usize = 64 * 1024;
const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);
/// Shorter than what common servers keep idle connections for, so that they rarely close under a request.
const IDLE_TIMEOUT: Duration = Duration::from_secs(20);

#[derive(Clone)]
enum Transport {
    Plain(Client<HttpConnector, Full<Bytes>>),
    Tls(Client<HttpsConnector<HttpConnector>, Full<Bytes>>),
}

/// Posts records to one URL. Cheap to clone; clones share the connections.
#[derive(Clone)]
pub(in crate::consume) struct HttpHandler {
    uri: Uri,
    timeout: Duration,
    transport: Transport,
}

impl HttpHandler {
    pub(super) fn new(config: &worker_config::HttpHandler) -> Result<Self, String> {
        let url = &config.url;
        let uri: Uri =
            url.parse().map_err(|error| format!("The handler's URL `{url}` is not a URL: {error}."))?;
        if uri.host().is_none_or(str::is_empty) {
            return Err(format!("The handler's URL `{url}` names no host."));
        }
        let mut connector = HttpConnector::new();
        connector.set_nodelay(true);
        connector.set_connect_timeout(Some(CONNECT_TIMEOUT));
        let mut builder = Client::builder(TokioExecutor::new());
        builder.pool_timer(TokioTimer::new()).pool_idle_timeout(IDLE_TIMEOUT);
        let transport = match uri.scheme_str() {
            Some("http") => Transport::Plain(builder.build(connector)),
            Some("https") => {
                connector.enforce_http(false);
                let tls = HttpsConnectorBuilder::new()
                    .with_native_roots()
                    .map_err(|error| {
                        format!("The system's certificate authorities cannot be read: {error}.")
                    })?
                    .https_only()
                    .enable_http1()
                    .wrap_connector(connector);
                Transport::Tls(builder.build(tls))
            }
            _ => return Err(format!("The handler's URL `{url}` must begin with http:// or https://.")),
        };
        let timeout = Duration::from_millis(u64::from(config.timeout_ms));
        Ok(Self { uri, timeout, transport })
    }

    /// One attempt. May be cancelled anywhere: the record is then simply not done.
    pub(super) async fn handle(&self, record: &Record, failures: u32) -> Result<(), Refusal> {
        let request = self.request(record, failures);
        match tokio::time::timeout(self.timeout, self.exchange(request)).await {
            Ok(Ok(status)) if status.is_success() => Ok(()),
            Ok(Ok(status)) => Err(format!("The handler at {} answered {status}.", self.place())),
            Ok(Err(cause)) => Err(format!("The handler at {} cannot be used: {cause}.", self.place())),
            Err(_) => Err(format!(
                "The handler at {} did not answer within {} ms.",
                self.place(),
                self.timeout.as_millis()
            )),
        }
    }

    async fn exchange(&self, request: Request<Full<Bytes>>) -> Result<StatusCode, String> {
        let answer: ResponseFuture = match &self.transport {
            Transport::Plain(client) => client.request(request),
            Transport::Tls(client) => client.request(request),
        };
        let answer: Response<_> = answer.await.map_err(|error| with_sources(&error))?;
        let status = answer.status();
        // Only to free the connection; a body that breaks off does not change the verdict.
        let _ = Limited::new(answer.into_body(), ANSWER_LIMIT).collect().await;
        Ok(status)
    }

    fn request(&self, record: &Record, failures: u32) -> Request<Full<Bytes>> {
        let value = record.value();
        let mut request = Request::post(self.uri.clone())
            .header(header::CONTENT_TYPE, "application/octet-stream")
            .header("kafka-topic", &*record.partition.topic)
            .header("kafka-partition", record.partition.partition)
            .header("kafka-offset", record.offset.to_kafka())
            .header("kafka-attempt", failures.saturating_add(1))
            .header("idempotency-key", format!("{}-{}", record.partition, record.offset));
        if let Some(timestamp) = record.timestamp {
            request = request.header("kafka-timestamp", timestamp);
        }
        if let Some(key) = record.key() {
            let (name, key) = key_header(key);
            request = request.header(name, key);
        }
        if value.is_none() {
            request = request.header("kafka-tombstone", "true");
        }
        request
            .body(Full::new(Bytes::copy_from_slice(value.unwrap_or_default())))
            .expect("topic names, numbers and checked keys are legal header values")
    }

    /// The URL without its query, which may hold a token.
    fn place(&self) -> String {
        let scheme = self.uri.scheme_str().unwrap_or_default();
        let authority =
            self.uri.authority().map_or("", |a| a.as_str().rsplit('@').next().unwrap_or_default());
        format!("{scheme}://{authority}{}", self.uri.path())
    }
}

fn key_header(key: &[u8]) -> (&'static str, HeaderValue) {
    if !key.is_empty() && key.iter().all(u8::is_ascii_graphic) {
        ("kafka-key", HeaderValue::from_bytes(key).expect("visible ASCII is legal in a header"))
    } else {
        let encoded = BASE64.encode(key);
        ("kafka-key-base64", HeaderValue::try_from(encoded).expect("base64 is legal in a header"))
    }
}

/// The error with its causes; the outermost of hyper's says only "client error".
fn with_sources(error: &dyn Error) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        write!(text, ": {error}").expect("writing to a String cannot fail");
        cause = error.source();
    }
    text
}

#[cfg(test)]
mod tests {
    use std::sync::{Arc, Mutex};

    use axum::{Router, extract::State, http::HeaderMap, routing::post};
    use weir_model::{Offset, TopicPartition};

    use super::*;

    type Seen = Arc<Mutex<Vec<(HeaderMap, Bytes)>>>;

    async fn serve(status: StatusCode) -> (String, Seen) {
        let seen = Seen::default();
        let answer = move |State(seen): State<Seen>, headers: HeaderMap, body: Bytes| async move {
            seen.lock().expect("no test panics here").push((headers, body));
            status
        };
        let router = Router::new().route("/r", post(answer)).with_state(Arc::clone(&seen));
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.expect("a port is free");
        let address = listener.local_addr().expect("it is bound");
        tokio::spawn(async move { axum::serve(listener, router).await });
        (format!("http://{address}/r?token=secret"), seen)
    }

    fn handler(url: &str) -> HttpHandler {
        let config = worker_config::HttpHandler { url: url.to_owned(), timeout_ms: 2000 };
        HttpHandler::new(&config).expect("the URL is good")
    }

    fn record(key: Option<&[u8]>, value: Option<&[u8]>) -> Record {
        let partition = Arc::new(TopicPartition::new("orders", 3));
        Record::new(&partition, Offset::from_kafka(17).expect("positive"), Some(5), key, value)
    }

    #[tokio::test]
    async fn a_record_arrives_with_its_coordinates_and_bytes() {
        let (url, seen) = serve(StatusCode::NO_CONTENT).await;
        let handler = handler(&url);
        assert_eq!(handler.handle(&record(Some(b"k-1"), Some(b"\x00v")), 1).await, Ok(()));
        assert_eq!(handler.handle(&record(Some(b"k \xff"), None), 0).await, Ok(()));
        let seen = seen.lock().expect("no test panics here");
        let header = |i: usize, name: &str| seen[i].0.get(name).map(|v: &HeaderValue| v.as_bytes().to_vec());
        assert_eq!(header(0, "kafka-topic").as_deref(), Some(b"orders".as_slice()));
        assert_eq!(header(0, "idempotency-key").as_deref(), Some(b"orders-3-17".as_slice()));
        assert_eq!(header(0, "kafka-key").as_deref(), Some(b"k-1".as_slice()));
        assert_eq!(header(0, "kafka-attempt").as_deref(), Some(b"2".as_slice()));
        assert_eq!(seen[0].1.as_ref(), b"\x00v");
        assert_eq!(header(1, "kafka-key"), None);
        assert_eq!(header(1, "kafka-key-base64").as_deref(), Some(b"ayD/".as_slice()));
        assert_eq!(header(1, "kafka-tombstone").as_deref(), Some(b"true".as_slice()));
    }

    #[tokio::test]
    async fn every_other_answer_is_a_refusal_that_names_it_but_no_token() {
        let (url, _) = serve(StatusCode::IM_A_TEAPOT).await;
        let refusal = handler(&url).handle(&record(None, Some(b"v")), 0).await.expect_err("418 is no 2xx");
        assert!(refusal.contains("418") && !refusal.contains("secret"), "{refusal}");
        let refusal =
            handler("http://127.0.0.1:1/").handle(&record(None, None), 0).await.expect_err("nobody is there");
        assert!(refusal.contains("refused"), "{refusal}");
    }

    #[test]
    fn urls_that_cannot_work_are_refused_with_a_sentence() {
        for url in ["ftp://a/", "not a url", "/path"] {
            let config = worker_config::HttpHandler { url: url.to_owned(), timeout_ms: 1 };
            assert!(HttpHandler::new(&config).is_err_and(|sentence| sentence.contains(url)));
        }
    }
}
