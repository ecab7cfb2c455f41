//! The four custom resources of Weir: what users write (`spec`) and what Weir answers (`status`).
//!
//! This crate defines shapes, CEL rules, printer columns and conditions, and turns them into manifests. It contains
//! no client, no Kafka and no clock. The operator, the tests and the command-line plugin use it.

#![allow(unreachable_pub, reason = "kube's derive repeats each struct inside a function")]
#![allow(clippy::duplicated_attributes, reason = "each printer column repeats the names of its settings")]

pub mod condition;
pub mod connection;
pub mod consumer_group;
pub mod fields;
pub mod manifest;
pub mod producer_job;
pub mod reference;
pub mod template;
pub mod topic;

pub use connection::Connection;
pub use consumer_group::ConsumerGroup;
pub use producer_job::ProducerJob;
pub use topic::Topic;
