//! Tests that do not disturb each other: each has a namespace, topics and groups of its own.

mod admission;
pub(crate) mod connections;
mod demo_path;
mod jobs;
mod ownership;
mod scaling;
mod topics;
mod workloads;

use crate::lane::Case;

/// All tests of the lane; the longest first, so that none of them is left alone at the end.
pub(crate) fn cases() -> Vec<Case> {
    [
        demo_path::cases(),
        workloads::cases(),
        connections::cases(),
        scaling::cases(),
        jobs::cases(),
        ownership::cases(),
        topics::cases(),
        admission::cases(),
    ]
    .into_iter()
    .flatten()
    .collect()
}
