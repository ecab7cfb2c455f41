//! Consuming: every record of the topics is handed to the handler at least once, in the asked order, and positions
//! are committed only behind completed records. One io thread owns the client and all state of partitions
//! ([`io_thread`]); handlers run on the runtime. Called by `main`.

mod assignment;
mod commit;
mod drain;
mod handler;
mod io_thread;
mod lanes;
mod rebalance;
mod record;
mod retry;
mod state;
#[cfg(test)]
mod tests;
mod tracker;

use std::{
    sync::{
        Arc,
        atomic::AtomicBool,
        mpsc::{Receiver, RecvTimeoutError, channel},
    },
    thread,
    time::{Duration, Instant},
};

use rdkafka::ClientConfig;
use tokio::runtime::{Handle, Runtime};
use weir_model::worker_config::{ConsumeConfig, Isolation, StartFrom};

use self::{
    assignment::Epoch, handler::Handler, io_thread::IoThread, lanes::Lane, record::Record, state::State,
    tracker::SlotId,
};
use crate::{
    cli::Options,
    config::Loaded,
    server::{self, Heartbeat, Published},
    shutdown::Shutdown,
};

/// After SIGTERM the process ends by then, whatever hangs: below a pod's grace period of 30 s.
const STOP_DEADLINE: Duration = Duration::from_secs(20);

/// A record on its way through the worker. It exists exactly once: in a lane, in the ready queue, in the handler, or
/// among the retries.
#[derive(Debug)]
struct Job {
    record: Record,
    epoch: Epoch,
    slot: SlotId,
    lane: Option<Lane>,
    /// Failed attempts so far.
    failures: u32,
}

/// What the parts of a consuming worker share.
#[derive(Clone, Default)]
struct Shared {
    state: Arc<State>,
    heartbeat: Arc<Heartbeat>,
    ready: Arc<AtomicBool>,
    shutdown: Shutdown,
}

/// Consumes until asked to stop; returns the exit code.
///
/// # Errors
/// The handler's settings, the worker's own endpoints or signals cannot be set up.
pub(crate) fn run(
    runtime: &Runtime,
    loaded: &Loaded,
    task: &ConsumeConfig,
    options: &Options,
) -> anyhow::Result<i32> {
    let shared = Shared::default();
    let handler = runtime.block_on(async {
        let handler = Handler::new(&task.handler).map_err(anyhow::Error::msg)?;
        shared.shutdown.listen()?;
        server::start(options.listen, published(&shared)).await?;
        anyhow::Ok(handler)
    })?;
    let client = client_config(loaded.client.clone(), task);
    let ended = start(runtime.handle(), client, task, handler, &shared);
    match await_end(&ended, &shared.shutdown) {
        Ok(()) => {
            tracing::info!("The worker has left the group.");
            Ok(0)
        }
        Err(sentence) => {
            tracing::error!("{sentence}");
            crate::termination::write_text(&options.termination_message, &sentence);
            Ok(1)
        }
    }
}

fn published(shared: &Shared) -> Published {
    let mut metrics = prometheus_client::registry::Registry::with_prefix("weir_worker");
    shared.state.register(&mut metrics);
    let state = Arc::clone(&shared.state);
    Published {
        heartbeat: Arc::clone(&shared.heartbeat),
        ready: Arc::clone(&shared.ready),
        metrics,
        status: Box::new(move || {
            serde_json::to_value(state.status()).expect("numbers and strings always serialize")
        }),
    }
}

/// The client's properties for this group.
fn client_config(mut client: ClientConfig, task: &ConsumeConfig) -> ClientConfig {
    let reset = match task.start_from {
        StartFrom::Earliest => "earliest",
        StartFrom::Latest => "latest",
    };
    let isolation = match task.isolation {
        Isolation::ReadCommitted => "read_committed",
        Isolation::ReadUncommitted => "read_uncommitted",
    };
    let fixed = [
        ("group.id", task.group_id.as_str()),
        ("auto.offset.reset", reset),
        ("isolation.level", isolation),
        ("partition.assignment.strategy", "cooperative-sticky"),
        // Positions are committed by the io thread, behind completed records only.
        ("enable.auto.commit", "false"),
        ("enable.auto.offset.store", "false"),
        ("enable.partition.eof", "false"),
        ("check.crcs", "true"),
        // Both bounds hold per partition, because partitions have queues of their own.
        ("queued.min.messages", "5000"),
        ("queued.max.messages.kbytes", "1024"),
        ("fetch.queue.backoff.ms", "20"),
        ("fetch.wait.max.ms", "100"),
        ("fetch.message.max.bytes", "1048576"),
        // New partitions of a topic are noticed within this time.
        ("topic.metadata.refresh.interval.ms", "10000"),
    ];
    for (key, value) in fixed {
        client.set(key, value);
    }
    let session = task.session_timeout_ms.max(1);
    client.set("session.timeout.ms", session.to_string());
    client.set("heartbeat.interval.ms", (session / 3).clamp(1, 3000).to_string());
    client
}

/// Starts the io thread. The channel tells how it ended; a thread that panicked just hangs up.
fn start(
    runtime: &Handle,
    client: ClientConfig,
    task: &ConsumeConfig,
    handler: Handler,
    shared: &Shared,
) -> Receiver<Result<(), String>> {
    let (report, ended) = channel();
    let (runtime, task, shared) = (runtime.clone(), task.clone(), shared.clone());
    thread::Builder::new()
        .name("io".to_owned())
        .spawn(move || {
            let outcome = IoThread::new(&runtime, &client, task, handler, shared).and_then(IoThread::run);
            // Whoever waited may have given up at its deadline.
            let _ = report.send(outcome);
        })
        .expect("a process that just started may have one more thread");
    ended
}

fn await_end(ended: &Receiver<Result<(), String>>, shutdown: &Shutdown) -> Result<(), String> {
    let mut asked: Option<Instant> = None;
    loop {
        match ended.recv_timeout(Duration::from_millis(200)) {
            Ok(outcome) => return outcome,
            Err(RecvTimeoutError::Disconnected) => {
                return Err("The thread that talks to Kafka ended unexpectedly.".to_owned());
            }
            Err(RecvTimeoutError::Timeout) => {}
        }
        if shutdown.requested() && asked.get_or_insert_with(Instant::now).elapsed() > STOP_DEADLINE {
            tracing::warn!(
                "The client did not leave the group in time; the process ends without waiting for it."
            );
            return Ok(());
        }
    }
}
