//! The four controllers. Each observes (I/O), plans (pure), acts (I/O) and writes a status (pure); siblings never import
//! each other and share only what stands in `verdict` and `pod`.

pub(crate) mod connection;
pub(crate) mod consumer_group;
pub(crate) mod pod;
pub(crate) mod producer_job;
pub(crate) mod topic;
pub(crate) mod verdict;
