//! What goes into the controller and what comes out of it.

use std::time::Duration;

use weir_model::{GroupLag, Quantity};

/// What was seen of one group and its workload at one moment.
#[derive(Debug, Clone, Copy)]
pub struct Observation<'a> {
    /// Monotonic time since the caller's epoch; never goes back from one observation to the next.
    pub now: Duration,
    /// The sample of the group's lag.
    pub lag: &'a GroupLag,
    /// Partitions of all topics of the group; `None` while unknown.
    pub partitions: Option<u32>,
    /// Replicas that the workload is asked to have now.
    pub current: u32,
    /// Replicas of the workload that are ready.
    pub ready: u32,
}

/// Which way the replicas go.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Direction {
    /// More replicas than now.
    Up,
    /// Fewer replicas than now.
    Down,
    /// As many as now.
    Hold,
}

impl Direction {
    /// The name for metrics and conditions.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Up => "Up",
            Self::Down => "Down",
            Self::Hold => "Hold",
        }
    }
}

/// Why a decision was taken; bounded, so that it may be a metric label and a condition reason.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Reason {
    /// The lag or the partition count is not known: nothing moves.
    LagUnknown,
    /// The replicas cannot drain the backlog within the target.
    LagAboveTarget,
    /// A sleeping group has work again.
    ActivatedFromZero,
    /// A sleeping group has no more lag than it may sleep with.
    BelowActivation,
    /// No lag and no arrivals for long enough.
    ScaledToZero,
    /// Fewer replicas sufficed during the whole window.
    BacklogDrained,
    /// The replicas drain what there is within the target.
    WithinTarget,
    /// Fewer replicas would do, but the window has not agreed yet.
    Stabilizing,
    /// Capacity is unknown and the replicas have not settled long enough to measure it.
    Settling,
    /// There is lag but no committed progress to size by.
    NoProgress,
    /// More replicas are wanted than there are partitions to share.
    CappedByPartitions,
    /// More replicas are wanted than the policy allows.
    CappedByMax,
    /// The workload had fewer replicas than the minimum.
    BelowMinimum,
    /// The workload had more replicas than the maximum.
    AboveMaximum,
}

impl Reason {
    /// The name for metrics and conditions.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::LagUnknown => "LagUnknown",
            Self::LagAboveTarget => "LagAboveTarget",
            Self::ActivatedFromZero => "ActivatedFromZero",
            Self::BelowActivation => "BelowActivation",
            Self::ScaledToZero => "ScaledToZero",
            Self::BacklogDrained => "BacklogDrained",
            Self::WithinTarget => "WithinTarget",
            Self::Stabilizing => "Stabilizing",
            Self::Settling => "Settling",
            Self::NoProgress => "NoProgress",
            Self::CappedByPartitions => "CappedByPartitions",
            Self::CappedByMax => "CappedByMax",
            Self::BelowMinimum => "BelowMinimum",
            Self::AboveMaximum => "AboveMaximum",
        }
    }
}

/// Which bound changed the number that was wanted.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Limit {
    /// Partitions bound the useful replicas to this many.
    ByPartitions(u32),
    /// The policy allows this many.
    ByMax(u32),
    /// The policy wants at least this many.
    ByMin(u32),
}

/// Where the capacity of a replica comes from.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum CapacitySource {
    /// From the policy.
    Configured,
    /// From windows in which every replica was busy.
    Learned,
    /// Not known.
    None,
}

impl CapacitySource {
    /// The name for status and messages.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Configured => "Configured",
            Self::Learned => "Learned",
            Self::None => "None",
        }
    }
}

/// The numbers that a decision was computed from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Inputs {
    /// Records not processed yet; `None` if unknown.
    pub lag: Option<u64>,
    /// Records that arrive per second; `None` before two samples.
    pub arrival_per_second: Option<Quantity>,
    /// Records that one replica processes per second; `None` if unknown.
    pub capacity_per_second: Option<Quantity>,
    /// Where the capacity comes from.
    pub capacity_source: CapacitySource,
    /// Replicas that the work alone asks for, before any bound; the current count while unknown.
    pub wanted: u32,
    /// The most replicas that are allowed and useful.
    pub cap: u32,
    /// Partitions of the group's topics; `None` if unknown.
    pub partitions: Option<u32>,
}

/// What the workload shall have, and why.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Decision {
    /// Replicas from now on.
    pub replicas: u32,
    /// Compared with the current count.
    pub direction: Direction,
    /// Why, in one word.
    pub reason: Reason,
    /// Why, in one full sentence with the numbers.
    pub message: String,
    /// The bound that changed the wanted number, if one did.
    pub limited: Option<Limit>,
    /// The numbers behind it.
    pub inputs: Inputs,
}
