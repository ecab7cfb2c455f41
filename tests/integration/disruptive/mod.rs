//! Tests that disturb everybody: they run alone, one after the other.

mod apiserver;
mod brokers;
mod consent;
mod idle;
mod killed;

use crate::lane::Case;

/// All tests of the lane.
pub(crate) fn cases() -> Vec<Case> {
    [idle::cases(), killed::cases(), brokers::cases(), apiserver::cases(), consent::cases()]
        .into_iter()
        .flatten()
        .collect()
}
