//! What becomes of sent records: the counts, and the context that receives delivery reports. Does not send.

use std::sync::{
    Arc, Mutex, PoisonError,
    atomic::{AtomicBool, AtomicU64, Ordering},
};

use prometheus_client::{metrics::counter::Counter, registry::Registry};
use rdkafka::{
    ClientContext, Message,
    config::RDKafkaLogLevel,
    error::{KafkaError, RDKafkaErrorCode},
    message::DeliveryResult,
    producer::{NoCustomPartitioner, ProducerContext},
};
use weir_model::worker_status::ProduceStatus;

use crate::{
    client::{self, ConnectionWatch},
    fault::{Cause, Faults},
};

/// Counts of a run, shared with `/status` and `/metrics`.
#[derive(Default)]
pub(crate) struct Progress {
    pub(super) generated: Counter,
    pub(super) acknowledged: Counter,
    pub(super) failed: Counter,
    pub(super) bytes: Counter,
    pub(super) records_per_second: AtomicU64,
    pub(super) finished: AtomicBool,
    /// The sentence of the first record that was refused for good; later ones would hide the cause. Locked for a
    /// copy only.
    refusal: Mutex<Option<String>>,
    pub(super) faults: Arc<Faults>,
}

impl Progress {
    pub(super) fn register(&self, registry: &mut Registry) {
        registry.register("records_generated", "Records handed to the client", self.generated.clone());
        registry.register(
            "records_acknowledged",
            "Records that the brokers acknowledged",
            self.acknowledged.clone(),
        );
        registry.register("records_failed", "Records that the brokers refused for good", self.failed.clone());
        registry.register(
            "bytes_acknowledged",
            "Bytes of keys and values that the brokers acknowledged",
            self.bytes.clone(),
        );
    }

    /// Records whose fate is not known yet.
    pub(super) fn in_flight(&self) -> u64 {
        self.generated.get().saturating_sub(self.acknowledged.get() + self.failed.get())
    }

    /// Why records were refused for good.
    pub(super) fn refusal(&self) -> Option<String> {
        self.refusal.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    pub(super) fn status(&self) -> ProduceStatus {
        ProduceStatus {
            generated: self.generated.get(),
            acknowledged: self.acknowledged.get(),
            failed: self.failed.get(),
            bytes: self.bytes.get(),
            records_per_second: self.records_per_second.load(Ordering::Relaxed),
            finished: self.finished.load(Ordering::Relaxed),
            fault: self.faults.current(),
        }
    }

    /// Notes a record that was refused for good, by the brokers or by the client itself.
    pub(super) fn refuse(&self, sequence: usize, topic: &str, error: &KafkaError) {
        self.failed.inc();
        let mut refusal = self.refusal.lock().unwrap_or_else(PoisonError::into_inner);
        if refusal.is_none() {
            let sentence = refusal_sentence(sequence, topic, error.rdkafka_error_code());
            self.faults.set(Cause::Delivery, &sentence);
            *refusal = Some(sentence);
        }
    }
}

#[allow(clippy::wildcard_enum_match_arm, reason = "the codes are librdkafka's, some two hundred")]
fn refusal_sentence(sequence: usize, topic: &str, code: Option<RDKafkaErrorCode>) -> String {
    let (reason, advice) = match code {
        Some(RDKafkaErrorCode::MessageSizeTooLarge | RDKafkaErrorCode::InvalidMessageSize) => (
            "it is larger than the brokers or the topic allow".to_owned(),
            "Make the records smaller or raise max.message.bytes of the topic",
        ),
        Some(RDKafkaErrorCode::TopicAuthorizationFailed) => {
            ("the principal may not write to the topic".to_owned(), "Grant it the right to write")
        }
        Some(RDKafkaErrorCode::UnknownTopic | RDKafkaErrorCode::UnknownTopicOrPartition) => {
            ("the topic no longer exists".to_owned(), "Create it and start a new run")
        }
        Some(code) => (format!("the answer was {code}"), "Remove the cause and start a new run"),
        None => ("the client gave no reason".to_owned(), "Look at the log of the brokers"),
    };
    format!("The brokers refused record {sequence} for topic {topic}: {reason}. {advice}.")
}

/// Receives delivery reports; the opaque of a record is its sequence number, so nothing is allocated per record.
pub(super) struct DeliveryContext {
    progress: Arc<Progress>,
    watch: ConnectionWatch,
}

impl DeliveryContext {
    pub(super) fn new(progress: Arc<Progress>) -> Self {
        let watch = ConnectionWatch::new(Arc::clone(&progress.faults));
        Self { progress, watch }
    }
}

impl ClientContext for DeliveryContext {
    fn log(&self, level: RDKafkaLogLevel, facility: &str, message: &str) {
        client::log(level, facility, message);
    }
    fn stats_raw(&self, statistics: &[u8]) {
        self.watch.statistics(statistics);
    }
    fn error(&self, error: KafkaError, reason: &str) {
        self.watch.error(&error, reason);
    }
}

impl ProducerContext<NoCustomPartitioner> for DeliveryContext {
    type DeliveryOpaque = usize;

    #[allow(clippy::wildcard_enum_match_arm, reason = "the codes are librdkafka's, some two hundred")]
    fn delivery(&self, result: &DeliveryResult<'_>, sequence: usize) {
        match result {
            Ok(message) => {
                self.progress.acknowledged.inc();
                let bytes = message.payload_len() + message.key_len();
                self.progress.bytes.inc_by(u64::try_from(bytes).unwrap_or(u64::MAX));
            }
            Err((error, message)) => match error.rdkafka_error_code() {
                // The worker itself gave these up because it has to stop; nobody refused them.
                Some(RDKafkaErrorCode::PurgeQueue | RDKafkaErrorCode::PurgeInflight) => {}
                _ => self.progress.refuse(sequence, message.topic(), error),
            },
        }
    }
}
