//! How the operator is seen from outside: logs, metrics, probes. Nothing here decides anything.
//!
//! The composition root sets these up first, hands [`metrics::Metrics`] and [`readiness::Gate`]s to whoever has
//! something to tell, and starts [`http::Server`] before any other task.

pub(crate) mod http;
pub(crate) mod logging;
pub(crate) mod metrics;
pub(crate) mod readiness;
