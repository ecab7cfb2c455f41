//! `sequence-sink`: the handler service of the quickstart and of the tests. It waits a moment per record, as a slow
//! dependency would, and counts what arrived by the records' own sequence numbers.
//!
//! `POST /records` takes one record, `GET /counts?runId=` says what arrived, `POST /fail?percent=&seconds=` refuses a share
//! for a while. It keeps everything in memory and knows nothing of Kafka or Weir. One thread serves thousands of requests
//! per second, because it only waits.

mod counts;

use std::{
    net::SocketAddr,
    sync::{Arc, Mutex, MutexGuard},
    time::{Duration, Instant},
};

use anyhow::Context;
use axum::{
    Json, Router,
    body::Bytes,
    extract::{Query, State},
    http::StatusCode,
    routing::{get, post},
};
use clap::Parser;
use serde::Deserialize;
use tokio::{net::TcpListener, signal::unix, time};

use crate::counts::{Counts, Ledger, Record, SEQUENCE_LIMIT};

/// Takes records over HTTP, waits a moment per record, and counts them by their sequence numbers.
#[derive(Debug, Parser)]
struct Arguments {
    /// Address to listen on.
    #[arg(long, env = "SINK_LISTEN", default_value = "0.0.0.0:8080")]
    listen: SocketAddr,
    /// How long a record takes, such as `5ms`.
    #[arg(long, env = "SINK_DELAY", default_value = "5ms", value_parser = weir_model::parse_duration)]
    delay: Duration,
}

/// One for all requests. The locks protect plain memory, are never held across an await, and are never contended:
/// there is one thread.
#[derive(Debug)]
struct Sink {
    delay: Duration,
    ledger: Mutex<Ledger>,
    faults: Mutex<Faults>,
}

/// Which share of the requests is refused.
#[derive(Debug, Default)]
struct Faults {
    percent: u8,
    until: Option<Instant>,
    /// Hundredths of a refusal that are due; evenly spread and reproducible, where chance would be neither.
    due: u8,
}

impl Faults {
    fn refuses(&mut self, now: Instant) -> bool {
        if self.until.is_some_and(|until| until <= now) {
            *self = Self::default();
        }
        self.due += self.percent;
        if self.due < 100 {
            return false;
        }
        self.due -= 100;
        true
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().expect("no request panics while it holds the lock")
}

#[tokio::main(flavor = "current_thread")]
async fn main() -> anyhow::Result<()> {
    let arguments = Arguments::parse();
    let sink = Arc::new(Sink { delay: arguments.delay, ledger: Mutex::default(), faults: Mutex::default() });
    let routes = Router::new()
        .route("/records", post(take))
        .route("/counts", get(counts))
        .route("/fail", post(fail))
        .route("/readyz", get(|| async { "ok\n" }))
        .with_state(sink);
    let listener = TcpListener::bind(arguments.listen).await.context("failed to listen")?;
    // As process 1 of a container a signal without a handler is ignored, and the pod would end only after its grace period.
    let mut end = unix::signal(unix::SignalKind::terminate()).context("failed to handle SIGTERM")?;
    let server = axum::serve(listener, routes);
    tokio::select! {
        served = server => served.context("failed to serve"),
        _ = end.recv() => Ok(()),
    }
}

/// A record counts when its time is over, right before the answer.
async fn take(State(sink): State<Arc<Sink>>, body: Bytes) -> Result<StatusCode, (StatusCode, String)> {
    let record: Record = serde_json::from_slice(&body).map_err(|error| {
        (StatusCode::BAD_REQUEST, format!("The body is not a record with runId and sequence: {error}.\n"))
    })?;
    if record.sequence >= SEQUENCE_LIMIT {
        let sentence = format!("Sequence number {} is not below {SEQUENCE_LIMIT}.\n", record.sequence);
        return Err((StatusCode::BAD_REQUEST, sentence));
    }
    time::sleep(sink.delay).await;
    if lock(&sink.faults).refuses(Instant::now()) {
        return Err((StatusCode::SERVICE_UNAVAILABLE, "This failure was asked for with /fail.\n".to_owned()));
    }
    lock(&sink.ledger).note(record);
    Ok(StatusCode::NO_CONTENT)
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
struct CountsQuery {
    run_id: Option<String>,
}

/// Without `runId`, all runs together.
async fn counts(State(sink): State<Arc<Sink>>, Query(query): Query<CountsQuery>) -> Json<Counts> {
    let ledger = lock(&sink.ledger);
    Json(query.run_id.map_or_else(|| ledger.all(), |run_id| ledger.counts(&run_id)))
}

#[derive(Debug, Deserialize)]
struct FailQuery {
    percent: u8,
    seconds: Option<u64>,
}

/// Refuses `percent` of the records with 503, for `seconds` or until told otherwise.
async fn fail(State(sink): State<Arc<Sink>>, Query(query): Query<FailQuery>) -> (StatusCode, &'static str) {
    if query.percent > 100 {
        return (StatusCode::BAD_REQUEST, "percent must be between 0 and 100.\n");
    }
    let until = query.seconds.map(|seconds| Instant::now() + Duration::from_secs(seconds.min(86_400)));
    *lock(&sink.faults) = Faults { percent: query.percent, until, due: 0 };
    (StatusCode::OK, "ok\n")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn refusals(faults: &mut Faults, requests: usize, now: Instant) -> usize {
        (0..requests).filter(|_| faults.refuses(now)).count()
    }

    #[test]
    fn exactly_the_share_that_was_asked_for_is_refused() {
        for percent in [0, 1, 30, 100] {
            let mut faults = Faults { percent, until: None, due: 0 };
            assert_eq!(refusals(&mut faults, 100, Instant::now()), usize::from(percent));
        }
    }

    #[test]
    fn refusals_end_with_their_time() {
        let now = Instant::now();
        let mut faults = Faults { percent: 100, until: Some(now + Duration::from_secs(1)), due: 0 };
        assert_eq!(refusals(&mut faults, 5, now), 5);
        assert_eq!(refusals(&mut faults, 5, now + Duration::from_secs(1)), 0);
    }
}
