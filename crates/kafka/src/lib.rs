//! Everything that Weir does through librdkafka outside of moving records: settings of connections, administration,
//! offsets, and the sampling of lag.
//!
//! This is the only crate with `unsafe`, and only below `ffi`. It knows no Kubernetes and decides nothing: it asks
//! brokers and returns what they said, errors included.

pub mod cluster;
pub mod description;
pub mod error;
pub mod lag;
pub mod settings;

mod coordinator;
#[allow(unsafe_code, reason = "the rest of Weir reaches librdkafka through this module and stays safe")]
mod ffi;
mod service;

pub use cluster::Cluster;
pub use description::{
    Broker, ClusterDescription, ConfigEntry, ConfigSource, GroupDescription, GroupMember, GroupState,
    NewTopic, OffsetSpec, PartitionDescription, TopicDescription,
};
pub use error::{Fault, KafkaError};
pub use lag::{GroupSample, GroupWatch, LagSampler};
pub use settings::{ConnectionSettings, Password, Sasl, SettingsError, Tls};
