//! What the scaling of a group saw and decided. Plain values.

use std::collections::VecDeque;

use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use weir_autoscaler::{Decision, Limit};
use weir_model::{GroupLag, Lag};

/// Moves that are remembered.
const REMEMBERED: usize = 3;

/// The state of one group's scaling.
#[derive(Debug, Clone, Default)]
pub(crate) struct View {
    /// The last sample; `None` before the first one.
    pub(crate) lag: Option<LagView>,
    /// The last decision, also one to hold.
    pub(crate) decision: Option<Decision>,
    /// The last changes of the number of replicas, newest first.
    pub(crate) moves: VecDeque<Move>,
    /// Why replicas could not be set, if so.
    pub(crate) failure: Option<String>,
}

/// A sample in short.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct LagView {
    pub(crate) total: Lag,
    pub(crate) max: Option<u64>,
    pub(crate) partitions: Option<u32>,
    /// Unknown, but only for a moment: one broker blinked. Nothing is decided on it, and nothing is said about it.
    pub(crate) blink: bool,
}

/// One change of the number of replicas.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Move {
    pub(crate) time: Time,
    pub(crate) from: u32,
    pub(crate) to: u32,
    pub(crate) reason: &'static str,
    pub(crate) message: String,
}

impl LagView {
    /// Shortens a sample.
    pub(crate) fn of(lag: &GroupLag, partitions: Option<u32>, blink: bool) -> Self {
        Self { total: lag.total(), max: lag.max(), partitions, blink }
    }

    /// Whether every partition is known.
    pub(crate) fn valid(&self) -> bool {
        matches!(self.total, Lag::Known(_))
    }
}

impl View {
    /// Remembers a change.
    pub(crate) fn moved(&mut self, change: Move) {
        self.moves.push_front(change);
        self.moves.truncate(REMEMBERED);
    }

    /// What of this a status shows right away: a change of it is worth a visit of the controller.
    pub(crate) fn headline(&self) -> (usize, Option<bool>, Option<Limit>, bool, Option<Move>) {
        (
            self.moves.len(),
            self.lag.as_ref().map(|lag| lag.valid() || lag.blink),
            self.decision.as_ref().and_then(|d| d.limited),
            self.failure.is_some(),
            self.moves.front().cloned(),
        )
    }
}
