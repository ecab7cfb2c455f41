//! What a worker tells: the document of its `/status` and, in short, of its termination message.

use serde::{Deserialize, Serialize};

/// Progress of a producing worker. Also the whole termination message of one that ended (≤ 4096 bytes).
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct ProduceStatus {
    /// Records handed to the client.
    pub generated: u64,
    /// Records that the brokers acknowledged.
    pub acknowledged: u64,
    /// Records that the brokers refused for good.
    pub failed: u64,
    /// Bytes (key and value) of acknowledged records.
    pub bytes: u64,
    /// Acknowledged records per second over the last seconds (or over the whole run once it ended).
    pub records_per_second: u64,
    /// Whether every record was acknowledged and the run is over.
    pub finished: bool,
    /// The last fault, as a sentence; empty when all is well.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub fault: String,
}

/// State of a consuming worker.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct ConsumeStatus {
    /// Partitions that this member owns.
    pub assigned: u32,
    /// Records taken from the brokers.
    pub received: u64,
    /// Records that the handler completed.
    pub completed: u64,
    /// Attempts that failed and are (or were) tried again.
    pub retried: u64,
    /// Records that wait for another attempt now.
    pub waiting: u64,
    /// Completed records per second over the last seconds.
    pub records_per_second: u64,
    /// The last fault, as a sentence; empty when all is well.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub fault: String,
}
