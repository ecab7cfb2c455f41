//! The document that the operator writes and a worker reads: `config.json` in an immutable ConfigMap named by content.
//!
//! It holds what was asked for, never what was observed (partition counts, limits): workers learn those themselves.
//! Credentials never enter it; it only says which files of the credentials folder exist.

use serde::{Deserialize, Serialize};

/// Version of the document. A worker refuses a version that it does not know.
pub const CONFIG_VERSION: u32 = 1;

/// The whole document.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct WorkerConfig {
    /// Always [`CONFIG_VERSION`].
    pub version: u32,
    /// Namespace and name of the object that this worker serves; for logs and record provenance.
    pub namespace: String,
    /// See `namespace`.
    pub name: String,
    /// How to reach the brokers.
    pub connection: ConnectionConfig,
    /// What to do.
    pub task: Task,
}

/// What a worker does.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum Task {
    /// Write records to a topic, then end.
    Produce(ProduceConfig),
    /// Consume as a member of a group until told to stop.
    Consume(ConsumeConfig),
}

/// How to reach and authenticate to the brokers. Secrets are files in
/// [`crate::names::WORKER_CREDENTIALS_FOLDER`]: `ca.crt`, `username`, `password`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct ConnectionConfig {
    /// `host:port` of the first brokers to ask.
    pub bootstrap_servers: Vec<String>,
    /// Whether connections are encrypted; brokers' certificates and host names are then always verified.
    pub tls: bool,
    /// Whether `ca.crt` replaces the system's certificate authorities.
    pub ca_file: bool,
    /// Mechanism of authentication; absent for none. Then `username` and `password` exist.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub sasl: Option<SaslMechanism>,
}

/// SASL mechanisms that librdkafka and this release support.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum SaslMechanism {
    /// SCRAM-SHA-512 (RFC 5802).
    ScramSha512,
    /// SCRAM-SHA-256 (RFC 7677).
    ScramSha256,
    /// PLAIN (RFC 4616); safe over TLS only.
    Plain,
}

/// A run of a producer job.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct ProduceConfig {
    /// Topic to write to. It must exist.
    pub topic: String,
    /// Exact number of records to have acknowledged.
    pub records: u64,
    /// Identity of the run, part of every generated record.
    pub run_id: String,
    /// What the records contain.
    pub generator: GeneratorConfig,
    /// How a record becomes bytes.
    pub encoding: Encoding,
    /// Upper bound in thousandths of a record per second; absent = as fast as the brokers acknowledge.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub records_per_second_thousandths: Option<u64>,
    /// Upper bound in bytes (key and value) per second.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub bytes_per_second: Option<u64>,
    /// Guarantee and batching.
    pub delivery: ProduceDelivery,
}

/// Generated records, reproducible from the seed: record n is the same on every run.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct GeneratorConfig {
    /// Size of the value in bytes, at least what the encoding's fixed part needs (the rest is padding).
    pub size_bytes: u32,
    /// How keys are drawn.
    pub keys: KeyConfig,
    /// Seed of the pseudo-random sequence.
    pub seed: u64,
}

/// How keys are drawn. A key is the text `key-<number>`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", rename_all_fields = "camelCase")]
pub enum KeyConfig {
    /// Records have no key.
    None,
    /// Number of record n is n modulo `cardinality`.
    Sequential {
        /// How many distinct keys.
        cardinality: u64,
    },
    /// Each of `cardinality` keys is equally likely.
    Uniform {
        /// How many distinct keys.
        cardinality: u64,
    },
}

/// How a generated record becomes bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum Encoding {
    /// `{"runId": "...", "sequence": n, "timestamp": milliseconds, "key": "..." | null, "payload": "..."}`.
    Json,
    /// The sequence number as 8 bytes, big-endian, then pseudo-random bytes up to the size.
    Raw,
}

/// How sure the producer must be.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct ProduceDelivery {
    /// Which replicas must have a record before it counts.
    pub acks: Acks,
    /// Whether the brokers remove duplicates of retries (KIP-98).
    pub idempotent: bool,
    /// Compression of batches.
    pub compression: Compression,
    /// How long a batch may wait for more records, in milliseconds.
    pub linger_ms: u32,
}

/// Which replicas must have a record before it counts as acknowledged.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum Acks {
    /// All in-sync replicas.
    All,
    /// The partition's leader.
    Leader,
    /// Nobody: a record counts when it was handed to the socket.
    None,
}

/// Compression of record batches.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[allow(missing_docs, reason = "the names are Kafka's")]
pub enum Compression {
    None,
    Gzip,
    Snappy,
    Lz4,
    Zstd,
}

/// Membership in a consumer group.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct ConsumeConfig {
    /// The group's id.
    pub group_id: String,
    /// Topics to subscribe to, by exact name.
    pub topics: Vec<String>,
    /// Where a partition without a committed offset begins.
    pub start_from: StartFrom,
    /// Whether records of open or aborted transactions are hidden.
    pub isolation: Isolation,
    /// After this long without a heartbeat the brokers give a member's partitions to others, in milliseconds.
    pub session_timeout_ms: u32,
    /// What happens to a record.
    pub handler: Handler,
    /// Which records may be processed at the same time.
    pub order: Order,
    /// Records in processing at the same time, in the whole worker.
    pub max_concurrency: u32,
    /// Received, not yet committed records per partition.
    pub in_flight_records: u32,
    /// Time between commits of processed positions, in milliseconds.
    pub commit_interval_ms: u32,
    /// Backoff between attempts for a record that the handler did not take, in milliseconds.
    pub retry_initial_backoff_ms: u32,
    /// Upper bound of that backoff, in milliseconds.
    pub retry_max_backoff_ms: u32,
}

/// Where a partition without a committed offset begins.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum StartFrom {
    /// With the oldest record that still exists.
    Earliest,
    /// With the next record to be written.
    Latest,
}

/// Which records a consumer sees (KIP-98).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum Isolation {
    /// Only records outside transactions and of committed ones.
    ReadCommitted,
    /// All records.
    ReadUncommitted,
}

/// What happens to a record.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum Handler {
    /// POST it to a URL; a 2xx answer completes it.
    Http(HttpHandler),
    /// Write one log line per record.
    Log,
    /// Nothing: for measuring.
    Discard,
}

/// An HTTP endpoint that takes records.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct HttpHandler {
    /// `http://` or `https://`.
    pub url: String,
    /// Time for one attempt, in milliseconds.
    pub timeout_ms: u32,
}

/// Which records may be processed at the same time.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum Order {
    /// Records of one key one after another, others in parallel.
    Key,
    /// Records of one partition one after another.
    Partition,
    /// All records in parallel.
    None,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_names_of_enumerated_values_are_the_ones_of_the_api() {
        for (value, text) in [(Order::Key, "Key"), (Order::Partition, "Partition"), (Order::None, "None")] {
            assert_eq!(format!("{value:?}"), text);
        }
    }
}
