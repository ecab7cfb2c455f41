//! How many consumers there should be right now.
//!
//! A pure controller: observations go in, decisions with their reasons come out. It reads no clock (time is a
//! [`std::time::Duration`] since any epoch of the caller), does no I/O and computes in integers only, so that a
//! simulator reproduces every decision bit for bit. It does not know Kubernetes or Kafka; the operator's `scaling`
//! module feeds it lag samples and carries its decisions to `/scale`.
//!
//! The order of a decision: an unknown lag holds; bounds are corrected; an idle group goes to zero; a backlog that the
//! replicas cannot drain in time adds replicas at once; replicas leave only after a whole window agreed.

mod autoscaler;
mod capacity;
mod decision;
mod explain;
mod policy;
mod rate;
mod sizing;
mod window;

pub use autoscaler::Autoscaler;
pub use decision::{CapacitySource, Decision, Direction, Inputs, Limit, Observation, Reason};
pub use policy::{Policy, PolicyError, PolicySettings};
