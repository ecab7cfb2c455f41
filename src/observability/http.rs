//! The operator's own HTTP endpoints: `/livez`, `/readyz`, `/metrics`, and `POST /loglevel` from within the pod.
//!
//! Liveness says that the process's tasks run; it depends on neither the API server nor Kafka. Started before
//! everything else, so that a slow start can be seen.

use std::{
    io,
    net::SocketAddr,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::{Duration, Instant},
};

use axum::{
    Router,
    extract::{ConnectInfo, State},
    http::{StatusCode, header},
    response::{IntoResponse, Response},
    routing::{get, post},
};
use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;

use super::{logging::LogLevel, metrics::Metrics, readiness::Readiness};

const TICK: Duration = Duration::from_secs(1);
/// A tick that is this late means that tasks no longer run.
const STUCK: Duration = Duration::from_secs(15);
const OPENMETRICS: &str = "application/openmetrics-text; version=1.0.0; charset=utf-8";

/// What the endpoints tell about.
#[derive(Debug, Clone)]
pub(crate) struct Endpoints {
    /// Served by `/metrics`.
    pub(crate) metrics: Metrics,
    /// Served by `/readyz`.
    pub(crate) readiness: Readiness,
    /// Changed by `POST /loglevel`; `None` refuses.
    pub(crate) log_level: Option<LogLevel>,
}

/// A bound port that is not served yet.
#[derive(Debug)]
pub(crate) struct Server {
    listener: TcpListener,
}

impl Server {
    /// Binds `address`; port 0 takes any free one.
    ///
    /// # Errors
    /// If the address cannot be bound.
    pub(crate) async fn bind(address: SocketAddr) -> io::Result<Self> {
        Ok(Self { listener: TcpListener::bind(address).await? })
    }

    /// Serves until `stop`. The probes should be the last to stop, after the lease was released.
    ///
    /// # Errors
    /// If the listener breaks.
    pub(crate) async fn serve(self, endpoints: Endpoints, stop: CancellationToken) -> io::Result<()> {
        let watchdog = Watchdog::start(stop.clone());
        let router = router(endpoints, watchdog).into_make_service_with_connect_info::<SocketAddr>();
        axum::serve(self.listener, router).with_graceful_shutdown(stop.cancelled_owned()).await
    }
}

fn router(endpoints: Endpoints, watchdog: Watchdog) -> Router {
    let metrics = endpoints.metrics;
    let readiness = endpoints.readiness;
    Router::new()
        .route("/livez", get(async move || livez(&watchdog)))
        .route("/readyz", get(async move || readyz(&readiness)))
        .route("/metrics", get(async move || serve_metrics(&metrics)))
        .route("/loglevel", post(set_log_level).with_state(endpoints.log_level))
}

fn livez(watchdog: &Watchdog) -> Response {
    let age = watchdog.age();
    if age < STUCK {
        return "ok\n".into_response();
    }
    let text = format!("The watchdog's last tick is {} s old; tasks do not run any more.\n", age.as_secs());
    (StatusCode::INTERNAL_SERVER_ERROR, text).into_response()
}

fn readyz(readiness: &Readiness) -> Response {
    match readiness.closed() {
        Some(closed) if closed.is_empty() => "ok\n".into_response(),
        Some(closed) => (StatusCode::SERVICE_UNAVAILABLE, format!("Waiting for: {}.\n", closed.join(", ")))
            .into_response(),
        None => (StatusCode::SERVICE_UNAVAILABLE, "The operator is starting.\n").into_response(),
    }
}

fn serve_metrics(metrics: &Metrics) -> Response {
    match metrics.encode() {
        Ok(text) => ([(header::CONTENT_TYPE, OPENMETRICS)], text).into_response(),
        Err(error) => (StatusCode::INTERNAL_SERVER_ERROR, format!("{error}\n")).into_response(),
    }
}

/// The body is a filter such as `debug`. Only from the pod itself (`kubectl port-forward` counts as such): whoever may
/// reach the metrics may not therefore flood the logs.
async fn set_log_level(
    State(log_level): State<Option<LogLevel>>,
    ConnectInfo(peer): ConnectInfo<SocketAddr>,
    filter: String,
) -> Response {
    if !peer.ip().to_canonical().is_loopback() {
        let text = "The log level can be changed from within the pod only; use kubectl port-forward.\n";
        return (StatusCode::FORBIDDEN, text).into_response();
    }
    let Some(log_level) = log_level else {
        return (StatusCode::NOT_FOUND, "The log level of this process is fixed.\n").into_response();
    };
    match log_level.set(filter.trim()) {
        Ok(()) => "ok\n".into_response(),
        Err(error) => (StatusCode::BAD_REQUEST, format!("{error}\n")).into_response(),
    }
}

/// A task that ticks; as long as it does, the runtime's timers and workers are alive.
#[derive(Debug, Clone)]
struct Watchdog {
    epoch: Instant,
    /// Milliseconds since the epoch.
    last: Arc<AtomicU64>,
}

impl Watchdog {
    fn start(stop: CancellationToken) -> Self {
        let watchdog = Self { epoch: Instant::now(), last: Arc::default() };
        let ticking = watchdog.clone();
        tokio::spawn(stop.run_until_cancelled_owned(async move {
            loop {
                tokio::time::sleep(TICK).await;
                ticking.last.store(ticking.elapsed_ms(), Ordering::Relaxed);
            }
        }));
        watchdog
    }

    fn elapsed_ms(&self) -> u64 {
        u64::try_from(self.epoch.elapsed().as_millis()).unwrap_or(u64::MAX)
    }

    fn age(&self) -> Duration {
        Duration::from_millis(self.elapsed_ms().saturating_sub(self.last.load(Ordering::Relaxed)))
    }
}

#[cfg(test)]
mod tests {
    use tokio::{
        io::{AsyncReadExt, AsyncWriteExt},
        net::TcpStream,
    };

    use super::*;

    /// Serves on a free port until the token is cancelled.
    async fn serve(readiness: Readiness) -> (SocketAddr, CancellationToken) {
        let stop = CancellationToken::new();
        let server = Server::bind(SocketAddr::from(([127, 0, 0, 1], 0))).await.expect("a free port");
        let address = server.listener.local_addr().expect("the listener is bound");
        let endpoints = Endpoints { metrics: Metrics::new(), readiness, log_level: None };
        tokio::spawn(server.serve(endpoints, stop.clone()));
        (address, stop)
    }

    /// Status code and body.
    async fn ask(address: SocketAddr, request: &str) -> (u16, String) {
        let mut stream = TcpStream::connect(address).await.expect("the server listens");
        let text =
            format!("{request} HTTP/1.1\r\nhost: weir\r\ncontent-length: 0\r\nconnection: close\r\n\r\n");
        stream.write_all(text.as_bytes()).await.expect("the server reads");
        let mut answer = String::new();
        stream.read_to_string(&mut answer).await.expect("the server answers in text");
        let status = answer.split(' ').nth(1).and_then(|code| code.parse().ok()).expect("a status code");
        let body = answer.split_once("\r\n\r\n").expect("a body").1;
        (status, body.to_owned())
    }

    #[tokio::test]
    async fn the_process_is_alive_before_it_is_ready_and_says_what_it_waits_for() {
        let readiness = Readiness::default();
        let (address, _stop) = serve(readiness.clone()).await;
        assert_eq!(ask(address, "GET /livez").await.0, 200);
        assert_eq!(ask(address, "GET /readyz").await, (503, "The operator is starting.\n".to_owned()));
        let gates = [readiness.gate("crds"), readiness.gate("caches")];
        assert_eq!(ask(address, "GET /readyz").await, (503, "Waiting for: caches, crds.\n".to_owned()));
        gates.iter().for_each(super::super::readiness::Gate::open);
        assert_eq!(ask(address, "GET /readyz").await, (200, "ok\n".to_owned()));
    }

    #[tokio::test]
    async fn metrics_are_served() {
        let (address, _stop) = serve(Readiness::default()).await;
        let (status, body) = ask(address, "GET /metrics").await;
        assert_eq!(status, 200);
        assert!(body.contains("weir_leader 0") && body.ends_with("# EOF\n"), "{body}");
    }

    #[tokio::test]
    async fn a_fixed_log_level_is_refused_politely() {
        let (address, _stop) = serve(Readiness::default()).await;
        assert_eq!(ask(address, "POST /loglevel").await.0, 404);
        assert_eq!(ask(address, "GET /loglevel").await.0, 405);
    }

    #[test]
    fn a_late_tick_is_not_alive() {
        let Some(epoch) = Instant::now().checked_sub(STUCK) else { return };
        let watchdog = Watchdog { epoch, last: Arc::default() };
        assert_eq!(livez(&watchdog).status(), StatusCode::INTERNAL_SERVER_ERROR);
        watchdog.last.store(watchdog.elapsed_ms(), Ordering::Relaxed);
        assert_eq!(livez(&watchdog).status(), StatusCode::OK);
    }
}
