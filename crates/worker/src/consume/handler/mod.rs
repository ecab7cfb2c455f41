//! Handlers: what happens to a record. They run on the runtime's threads, know nothing of partitions, order or
//! offsets to commit, and report every attempt back to the io thread.

mod discard;
mod http;
mod log;
#[cfg(test)]
pub(super) mod probe;

use std::{
    sync::{Arc, mpsc::SyncSender},
    thread::Thread,
    time::{Duration, Instant},
};

use tokio::sync::mpsc;
use weir_model::worker_config;

use super::{Job, record::Record};

/// Why an attempt failed, as a full sentence without coordinates, so that equal causes read equal.
pub(super) type Refusal = String;

/// One finished attempt.
#[derive(Debug)]
pub(super) struct Attempt {
    pub(super) job: Job,
    pub(super) outcome: Result<(), Refusal>,
    pub(super) latency: Duration,
}

/// A handler that is ready to take records.
pub(super) enum Handler {
    Http(Box<http::HttpHandler>),
    Log,
    Discard,
    #[cfg(test)]
    Probe(probe::Probe),
}

impl Handler {
    /// # Errors
    /// The settings cannot work: a sentence.
    pub(super) fn new(config: &worker_config::Handler) -> Result<Self, String> {
        match config {
            worker_config::Handler::Http(config) => {
                http::HttpHandler::new(config).map(|http| Self::Http(Box::new(http)))
            }
            worker_config::Handler::Log => Ok(Self::Log),
            worker_config::Handler::Discard => Ok(Self::Discard),
        }
    }
}

/// The way back to the io thread. Bounded by the permits: the io thread starts at most as many jobs as the channel
/// holds, so sending never waits.
#[derive(Clone)]
pub(super) struct Completions {
    pub(super) channel: SyncSender<Vec<Attempt>>,
    pub(super) io_thread: Thread,
}

impl Completions {
    fn send(&self, attempts: Vec<Attempt>) {
        // An io thread that is gone has no use for completions.
        if self.channel.send(attempts).is_ok() {
            self.io_thread.unpark();
        }
    }
}

/// Takes batches of jobs until the io thread hangs up. Ends with the runtime; cancelling loses only attempts whose
/// records are not committed.
pub(super) async fn run(handler: Arc<Handler>, mut jobs: mpsc::Receiver<Vec<Job>>, completions: Completions) {
    while let Some(batch) = jobs.recv().await {
        match &*handler {
            Handler::Log => completions.send(at_once(batch, log::handle)),
            Handler::Discard => completions.send(at_once(batch, discard::handle)),
            Handler::Http(http) => {
                for job in batch {
                    let (http, completions) = (http.clone(), completions.clone());
                    tokio::spawn(async move {
                        let start = Instant::now();
                        let outcome = http.handle(&job.record, job.failures).await;
                        completions.send(vec![Attempt { job, outcome, latency: start.elapsed() }]);
                    });
                }
            }
            #[cfg(test)]
            Handler::Probe(probe) => {
                for job in batch {
                    let (probe, completions) = (probe.clone(), completions.clone());
                    tokio::spawn(async move {
                        let outcome = probe.handle(&job.record).await;
                        completions.send(vec![Attempt { job, outcome, latency: Duration::ZERO }]);
                    });
                }
            }
        }
    }
}

/// Handlers that never wait take a whole batch in one go.
fn at_once(batch: Vec<Job>, handle: impl Fn(&Record)) -> Vec<Attempt> {
    let start = Instant::now();
    for job in &batch {
        handle(&job.record);
    }
    let count = u32::try_from(batch.len()).unwrap_or(u32::MAX).max(1);
    let latency = start.elapsed() / count;
    batch.into_iter().map(|job| Attempt { job, outcome: Ok(()), latency }).collect()
}
