//! What the tests and the demo share: the rig, the cluster's objects, and witnesses that do not trust Weir.
//!
//! Nothing here decides what is right: a test asserts, this crate fetches, waits and cleans up. It uses Weir's API types to
//! read objects, and rdkafka (never Weir's own Kafka code) to read what the brokers say.

pub mod helm;
pub mod kafka;
pub mod kstatus;
pub mod kubectl;
pub mod namespace;
pub mod operator;
pub mod program;
pub mod rig;
pub mod sink;
pub mod stranger;
pub mod wait;

pub use kafka::Witness;
pub use namespace::{TestNamespace, in_namespace};
pub use rig::Rig;
pub use stranger::Stranger;
