//! Producing: an exact number of generated records, each acknowledged. One thread generates, hands records to the
//! client and serves its delivery reports; the client's own threads talk to the brokers. Called by `main`.

mod delivery;
mod encoding;
mod generator;
mod rate;
#[cfg(test)]
mod tests;

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::{Duration, Instant, SystemTime},
};

use rdkafka::{
    ClientConfig,
    error::{KafkaError, RDKafkaErrorCode},
    producer::{BaseProducer, BaseRecord, Producer},
};
use tokio::runtime::Runtime;
use weir_model::worker_config::{Acks, Compression, ProduceConfig};

use self::{
    delivery::{DeliveryContext, Progress},
    encoding::Encoder,
    generator::Generator,
    rate::Pace,
};
use crate::{
    cli::Options,
    config::Loaded,
    fault::Cause,
    observability::{RateMeter, per_second, unix_millis},
    server::{self, Heartbeat, Published},
    shutdown::{Shutdown, TERMINATED},
    termination,
};

/// Records between two looks at the clock, the stop wish and the delivery reports.
const BURST: u64 = 256;
/// Time for records in flight after SIGTERM, well below a pod's grace period of 30 s.
const STOP_DRAIN: Duration = Duration::from_secs(8);
/// A topic that was created just now may be unknown to some brokers for a moment.
const TOPIC_GRACE: Duration = Duration::from_secs(10);
const METADATA_TIMEOUT: Duration = Duration::from_secs(4);

/// How a run ended.
#[derive(Debug, PartialEq, Eq)]
enum Ending {
    Complete,
    Stopped,
    /// For good; the sentence says why.
    Failed(String),
}

impl Ending {
    fn exit_code(&self) -> i32 {
        match self {
            Self::Complete => 0,
            Self::Failed(_) => 1,
            Self::Stopped => TERMINATED,
        }
    }
}

/// Produces until the run is complete, failed or stopped; returns the exit code. The termination message is written
/// on every way out.
///
/// # Errors
/// The worker's own endpoints or signals cannot be set up.
pub(crate) fn run(
    runtime: &Runtime,
    loaded: &Loaded,
    task: &ProduceConfig,
    options: &Options,
) -> anyhow::Result<i32> {
    let progress = Arc::new(Progress::default());
    let heartbeat = Arc::new(Heartbeat::default());
    let shutdown = Shutdown::default();
    runtime.block_on(async {
        shutdown.listen()?;
        server::start(options.listen, published(&progress, &heartbeat)).await
    })?;
    let started = Instant::now();
    let run = Run { task, progress: Arc::clone(&progress), heartbeat, shutdown };
    let ending = run.execute(loaded.client.clone());
    let mut status = progress.status();
    status.finished = ending == Ending::Complete;
    status.records_per_second = per_second(status.acknowledged, started.elapsed());
    match &ending {
        Ending::Complete => {
            status.fault = String::new();
            tracing::info!(records = status.acknowledged, "The run is complete.");
        }
        Ending::Stopped => tracing::warn!(
            acknowledged = status.acknowledged,
            generated = status.generated,
            "The run was stopped before its end."
        ),
        Ending::Failed(sentence) => {
            status.fault.clone_from(sentence);
            tracing::error!("{sentence}");
        }
    }
    termination::write(&options.termination_message, &status);
    Ok(ending.exit_code())
}

fn published(progress: &Arc<Progress>, heartbeat: &Arc<Heartbeat>) -> Published {
    let mut metrics = prometheus_client::registry::Registry::with_prefix("weir_worker");
    progress.register(&mut metrics);
    let progress = Arc::clone(progress);
    Published {
        heartbeat: Arc::clone(heartbeat),
        ready: Arc::new(AtomicBool::new(true)),
        metrics,
        status: Box::new(move || {
            serde_json::to_value(progress.status()).expect("numbers and strings always serialize")
        }),
    }
}

/// The client's properties for this run.
fn client_config(mut client: ClientConfig, task: &ProduceConfig) -> ClientConfig {
    let acks = match task.delivery.acks {
        Acks::All => "all",
        Acks::Leader => "1",
        Acks::None => "0",
    };
    let compression = match task.delivery.compression {
        Compression::None => "none",
        Compression::Gzip => "gzip",
        Compression::Snappy => "snappy",
        Compression::Lz4 => "lz4",
        Compression::Zstd => "zstd",
    };
    // The brokers can promise to remove duplicates only of what all replicas have (KIP-98).
    let idempotent = task.delivery.idempotent && task.delivery.acks == Acks::All;
    client.set("acks", acks);
    client.set("enable.idempotence", if idempotent { "true" } else { "false" });
    client.set("compression.type", compression);
    client.set("linger.ms", task.delivery.linger_ms.to_string());
    // Java's placement of keys, so that Weir's records land where those of other producers do.
    client.set("partitioner", "murmur2_random");
    // Records wait for brokers for ever; the size of the queue is what bounds memory.
    client.set("message.timeout.ms", "0");
    client.set("queue.buffering.max.kbytes", "32768");
    client.set("queue.buffering.max.messages", "200000");
    client
}

struct Run<'a> {
    task: &'a ProduceConfig,
    progress: Arc<Progress>,
    heartbeat: Arc<Heartbeat>,
    shutdown: Shutdown,
}

type Client = BaseProducer<DeliveryContext>;

impl Run<'_> {
    fn execute(&self, client: ClientConfig) -> Ending {
        let context = DeliveryContext::new(Arc::clone(&self.progress));
        let producer: Client = match client_config(client, self.task).create_with_context(context) {
            Ok(producer) => producer,
            Err(error) => {
                return Ending::Failed(format!("The client refuses its settings: {error}."));
            }
        };
        if let Some(ending) = self.await_topic(&producer) {
            return ending;
        }
        let mut meter = Meter::start();
        let stopped = self.send_all(&producer, &mut meter);
        self.await_deliveries(&producer, &mut meter);
        self.conclude(&producer, stopped)
    }

    /// Waits until the brokers know the topic. An ending if they say that they do not, or when asked to stop.
    fn await_topic(&self, producer: &Client) -> Option<Ending> {
        let topic = self.task.topic.as_str();
        let mut unknown_since: Option<Instant> = None;
        loop {
            self.heartbeat.beat();
            if self.shutdown.requested() {
                return Some(Ending::Stopped);
            }
            match topic_state(producer, topic) {
                TopicState::Exists => {
                    self.progress.faults.clear(Cause::Topic);
                    self.progress.faults.clear(Cause::Connection);
                    return None;
                }
                TopicState::Missing => {
                    let sentence = format!("Topic {topic} does not exist. Create it and start a new run.");
                    let since = *unknown_since.get_or_insert_with(Instant::now);
                    if since.elapsed() > TOPIC_GRACE {
                        return Some(Ending::Failed(sentence));
                    }
                    self.progress.faults.set(Cause::Topic, &sentence);
                }
                TopicState::Forbidden => {
                    return Some(Ending::Failed(format!(
                        "The principal may not see topic {topic}. Grant it the rights to describe and to write."
                    )));
                }
                TopicState::Unreachable(reason) => {
                    if self.progress.faults.current().is_empty() {
                        let sentence = format!(
                            "The brokers do not answer about topic {topic}: {reason}. The worker keeps trying."
                        );
                        self.progress.faults.set(Cause::Connection, &sentence);
                    }
                }
            }
            producer.poll(Duration::from_millis(250));
        }
    }

    /// Hands every record to the client. True if it stopped before the last one.
    fn send_all(&self, producer: &Client, meter: &mut Meter) -> bool {
        let generator = Generator::new(&self.task.generator);
        let encoder = Encoder::new(self.task);
        let mut pace = Pace::new(self.task);
        let (mut key, mut value) = (Vec::with_capacity(32), Vec::with_capacity(1024));
        let mut n = 0;
        while n < self.task.records {
            if self.must_end(producer) {
                return true;
            }
            self.turn(producer, meter);
            let timestamp = unix_millis(SystemTime::now());
            let end = self.task.records.min(n + BURST);
            while n < end {
                if pace.is_bounded() {
                    let wait = pace.wait(meter.elapsed());
                    if !wait.is_zero() {
                        producer.poll(wait.min(Duration::from_millis(50)));
                        break;
                    }
                }
                let key = generator.key(n, &mut key).then_some(key.as_slice());
                encoder.encode(&generator, n, key, timestamp, &mut value);
                match self.send(producer, n, key, &value) {
                    Sent::Accepted => {
                        pace.sent(byte_count(key, &value));
                        n += 1;
                    }
                    // Delivery reports make room; serving them is the way to wait.
                    Sent::QueueFull => {
                        producer.poll(Duration::from_millis(2));
                        break;
                    }
                    Sent::Refused => return true,
                }
            }
        }
        false
    }

    fn send(&self, producer: &Client, n: u64, key: Option<&[u8]>, value: &[u8]) -> Sent {
        let sequence = usize::try_from(n).expect("a 64-bit machine counts records in usize");
        let mut record = BaseRecord::<[u8], [u8], usize>::with_opaque_to(&self.task.topic, sequence);
        record = record.payload(value);
        if let Some(key) = key {
            record = record.key(key);
        }
        match producer.send(record) {
            Ok(()) => {
                self.progress.generated.inc();
                Sent::Accepted
            }
            Err((KafkaError::MessageProduction(RDKafkaErrorCode::QueueFull), _)) => Sent::QueueFull,
            Err((error, _)) => {
                self.progress.generated.inc();
                self.progress.refuse(sequence, &self.task.topic, &error);
                Sent::Refused
            }
        }
    }

    /// Serves what is ready, publishes the rate and the pulse.
    fn turn(&self, producer: &Client, meter: &mut Meter) {
        self.heartbeat.beat();
        producer.poll(Duration::ZERO);
        if let Some(rate) = meter.due(self.progress.acknowledged.get()) {
            self.progress.records_per_second.store(rate, Ordering::Relaxed);
        }
    }

    fn must_end(&self, producer: &Client) -> bool {
        self.shutdown.requested()
            || self.progress.failed.get() > 0
            || producer.client().fatal_error().is_some()
    }

    /// Waits until the fate of every record is known: for ever while all is well, for a while once the run must end.
    fn await_deliveries(&self, producer: &Client, meter: &mut Meter) {
        let mut ending_since: Option<Instant> = None;
        while self.progress.in_flight() > 0 {
            self.turn(producer, meter);
            // Polls by the full time; short, so that the last report is noticed at once.
            producer.poll(Duration::from_millis(2));
            if self.must_end(producer) && ending_since.get_or_insert_with(Instant::now).elapsed() > STOP_DRAIN
            {
                return;
            }
        }
    }

    fn conclude(&self, producer: &Client, stopped: bool) -> Ending {
        if let Some((code, reason)) = producer.client().fatal_error() {
            return Ending::Failed(format!(
                "The client can no longer guarantee that records are written exactly once: {reason} ({code}). Start a new run."
            ));
        }
        if let Some(sentence) = self.progress.refusal() {
            return Ending::Failed(sentence);
        }
        if stopped || self.progress.acknowledged.get() < self.task.records {
            return Ending::Stopped;
        }
        self.progress.finished.store(true, Ordering::Relaxed);
        Ending::Complete
    }
}

enum Sent {
    Accepted,
    QueueFull,
    Refused,
}

fn byte_count(key: Option<&[u8]>, value: &[u8]) -> u64 {
    u64::try_from(key.map_or(0, <[u8]>::len) + value.len()).unwrap_or(u64::MAX)
}

enum TopicState {
    Exists,
    Missing,
    Forbidden,
    Unreachable(String),
}

#[allow(clippy::wildcard_enum_match_arm, reason = "the codes are librdkafka's, some two hundred")]
fn topic_state(producer: &Client, topic: &str) -> TopicState {
    let metadata = match producer.client().fetch_metadata(Some(topic), METADATA_TIMEOUT) {
        Ok(metadata) => metadata,
        Err(error) => return TopicState::Unreachable(error.to_string()),
    };
    let Some(found) = metadata.topics().iter().find(|t| t.name() == topic) else {
        return TopicState::Missing;
    };
    match found.error().map(RDKafkaErrorCode::from) {
        None if found.partitions().is_empty() => TopicState::Missing,
        None => TopicState::Exists,
        Some(RDKafkaErrorCode::UnknownTopic | RDKafkaErrorCode::UnknownTopicOrPartition) => {
            TopicState::Missing
        }
        Some(RDKafkaErrorCode::TopicAuthorizationFailed) => TopicState::Forbidden,
        Some(code) => TopicState::Unreachable(code.to_string()),
    }
}

/// Samples the rate about once per second.
struct Meter {
    start: Instant,
    last: Duration,
    rate: RateMeter,
}

impl Meter {
    fn start() -> Self {
        Self { start: Instant::now(), last: Duration::ZERO, rate: RateMeter::starting_at_zero() }
    }

    fn elapsed(&self) -> Duration {
        self.start.elapsed()
    }

    fn due(&mut self, count: u64) -> Option<u64> {
        let now = self.elapsed();
        if now.saturating_sub(self.last) < Duration::from_secs(1) {
            return None;
        }
        self.last = now;
        Some(self.rate.sample(now, count))
    }
}
