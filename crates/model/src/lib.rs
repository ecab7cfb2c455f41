//! The words that every part of Weir shares: partitions, offsets, lag, quantities, durations, and the
//! documents that travel between the operator and its workers.
//!
//! This crate depends on serde only. It knows neither Kubernetes nor Kafka clients, reads no clock and does no I/O.

pub mod lag;
pub mod names;
pub mod offset;
pub mod units;
pub mod worker_config;
pub mod worker_status;

pub use lag::{GroupLag, Lag, PartitionLag, UnknownLag};
pub use offset::{Offset, TopicPartition};
pub use units::{Quantity, UnitError, parse_duration};
