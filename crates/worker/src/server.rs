//! `/livez`, `/readyz`, `/metrics` and `/status`. Shows what the rooms publish and decides nothing else than
//! whether a heartbeat is too old.

use std::{
    io,
    net::SocketAddr,
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    time::{Duration, Instant},
};

use axum::{
    Router,
    extract::State,
    http::{StatusCode, header},
    response::IntoResponse,
    routing::get,
};
use prometheus_client::{encoding::text::encode, registry::Registry};
use tokio::net::TcpListener;

/// A thread that does not turn for this long is dead or stuck for good.
const STALE: Duration = Duration::from_secs(10);

/// The pulse of the thread that talks to Kafka.
#[derive(Debug)]
pub(crate) struct Heartbeat {
    start: Instant,
    /// Milliseconds from `start` to the last turn.
    last: AtomicU64,
}

impl Default for Heartbeat {
    fn default() -> Self {
        Self { start: Instant::now(), last: AtomicU64::new(0) }
    }
}

impl Heartbeat {
    /// The thread turned.
    pub(crate) fn beat(&self) {
        self.last.store(millis(self.start.elapsed()), Ordering::Relaxed);
    }

    fn is_stale(&self, elapsed: Duration) -> bool {
        let last = Duration::from_millis(self.last.load(Ordering::Relaxed));
        elapsed.saturating_sub(last) > STALE
    }
}

fn millis(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}

/// What a room publishes.
pub(crate) struct Published {
    pub(crate) heartbeat: Arc<Heartbeat>,
    pub(crate) ready: Arc<AtomicBool>,
    pub(crate) metrics: Registry,
    /// The document of `/status`.
    pub(crate) status: Box<dyn Fn() -> serde_json::Value + Send + Sync>,
}

/// Binds the address and answers in the background until the process ends.
///
/// # Errors
/// The address cannot be bound.
pub(crate) async fn start(address: SocketAddr, published: Published) -> io::Result<()> {
    let listener = TcpListener::bind(address).await?;
    let router = Router::new()
        .route("/livez", get(livez))
        .route("/readyz", get(readyz))
        .route("/metrics", get(metrics))
        .route("/status", get(status))
        .with_state(Arc::new(published));
    tokio::spawn(async move {
        if let Err(error) = axum::serve(listener, router).await {
            tracing::error!("The worker's own endpoints ended: {error}.");
        }
    });
    Ok(())
}

async fn livez(State(published): State<Arc<Published>>) -> (StatusCode, &'static str) {
    if published.heartbeat.is_stale(published.heartbeat.start.elapsed()) {
        (StatusCode::SERVICE_UNAVAILABLE, "The thread that talks to Kafka has not turned for 10 seconds.\n")
    } else {
        (StatusCode::OK, "ok\n")
    }
}

async fn readyz(State(published): State<Arc<Published>>) -> (StatusCode, &'static str) {
    if published.ready.load(Ordering::Relaxed) {
        (StatusCode::OK, "ok\n")
    } else {
        (StatusCode::SERVICE_UNAVAILABLE, "The worker is starting or stopping.\n")
    }
}

async fn metrics(State(published): State<Arc<Published>>) -> impl IntoResponse {
    let mut text = String::new();
    encode(&mut text, &published.metrics).expect("writing to a String cannot fail");
    ([(header::CONTENT_TYPE, "application/openmetrics-text; version=1.0.0; charset=utf-8")], text)
}

async fn status(State(published): State<Arc<Published>>) -> axum::Json<serde_json::Value> {
    axum::Json((published.status)())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_heart_that_stood_still_for_ten_seconds_is_stale() {
        let heartbeat = Heartbeat::default();
        heartbeat.beat();
        assert!(!heartbeat.is_stale(Duration::from_secs(9)));
        assert!(heartbeat.is_stale(Duration::from_secs(11)));
    }
}
