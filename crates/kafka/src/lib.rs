//! Everything that Weir does through librdkafka outside of moving records: settings of connections, administration,
//! offsets, and the sampling of lag.
//!
//! This is the only crate with `unsafe`, and only below `ffi`. It knows no Kubernetes and decides nothing: it asks
//! brokers and returns what they said, errors included.

pub mod settings;

pub use settings::{ConnectionSettings, Password, Sasl, SettingsError, Tls};
