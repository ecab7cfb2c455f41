//! The controller: keeps what it saw, sizes the work, and decides with a value.

use std::time::Duration;

use weir_model::{Lag, Quantity};

use crate::{
    capacity::{LearnedCapacity, Reading},
    decision::{CapacitySource, Decision, Direction, Inputs, Limit, Observation, Reason},
    explain,
    policy::{Policy, PolicySettings},
    rate::Rate,
    sizing,
    window::DownWindow,
};

/// While the capacity is unknown, replicas change at most once in this long.
const PROBE_SETTLE: Duration = Duration::from_secs(10);
/// While the capacity is unknown, less work than this is no backlog: one step down is tried.
const PROBE_CAUGHT_UP: Duration = Duration::from_secs(5);
/// Arrivals above the capacity add replicas once the backlog holds this fraction (one n-th) of what the replicas
/// drain within the target; before, a short burst would add replicas that it does not need.
const URGENT_FRACTION: u128 = 4;

/// The controller of one group. One owner, no locks; every call of [`Autoscaler::decide`] takes the next observation.
#[derive(Debug, Clone)]
pub struct Autoscaler {
    policy: Policy,
    last: Option<Reading>,
    arrivals: Rate,
    progress: Rate,
    learned: LearnedCapacity,
    /// Since when there was neither lag nor an arrival.
    quiet_since: Option<Duration>,
    /// When the replicas last changed, by us or by somebody else.
    moved_at: Option<Duration>,
    window: DownWindow,
}

/// What the work asks for, and what the bounds make of it.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Demand {
    pub(crate) arrivals: Option<Quantity>,
    pub(crate) capacity: Option<Quantity>,
    pub(crate) source: CapacitySource,
    /// Replicas that the work alone asks for.
    pub(crate) wanted: u32,
    /// The same within bounds and without wasted pods, at least 1.
    pub(crate) target: u32,
    pub(crate) floor: u32,
    pub(crate) cap: u32,
    /// Replicas that get a partition each.
    pub(crate) useful: u32,
    /// Why the capacity cannot be probed right now.
    probe: Option<Reason>,
}

impl Autoscaler {
    /// A controller that has seen nothing yet.
    #[must_use]
    pub fn new(policy: Policy) -> Self {
        Self {
            policy,
            last: None,
            arrivals: Rate::default(),
            progress: Rate::default(),
            learned: LearnedCapacity::default(),
            quiet_since: None,
            moved_at: None,
            window: DownWindow::default(),
        }
    }

    /// Replaces the policy; what was measured stays.
    pub fn set_policy(&mut self, policy: Policy) {
        self.policy = policy;
    }

    /// Records per second that one replica processes: configured, else learned, else unknown.
    #[must_use]
    pub fn capacity(&self) -> Option<Quantity> {
        self.policy.settings().capacity_per_replica.or_else(|| self.learned.per_replica())
    }

    /// Takes an observation and says how many replicas there should be.
    pub fn decide(&mut self, seen: &Observation<'_>) -> Decision {
        let reading = match read(seen) {
            Ok(reading) => reading,
            Err(why) => return self.hold_unknown(seen, &why),
        };
        self.track(&reading);
        let demand = self.demand(&reading);
        let (replicas, reason) = self.step(&reading, &demand);
        let message = explain::sentence(
            self.policy.settings(),
            &reading,
            &demand,
            replicas,
            reason,
            self.wait(&reading),
        );
        self.last = Some(Reading { current: replicas, ..reading });
        if replicas != reading.current {
            self.moved(reading.now);
        }
        Decision {
            replicas,
            direction: direction(reading.current, replicas),
            reason,
            message,
            limited: self.limit(&demand, replicas),
            inputs: Inputs {
                lag: Some(reading.lag),
                arrival_per_second: demand.arrivals,
                capacity_per_second: demand.capacity,
                capacity_source: demand.source,
                wanted: demand.wanted,
                cap: demand.cap,
                partitions: seen.partitions,
            },
        }
    }

    /// An unknown lag moves nothing and counts in no window.
    fn hold_unknown(&mut self, seen: &Observation<'_>, why: &str) -> Decision {
        self.window.restart();
        self.learned.interrupt();
        self.quiet_since = None;
        let settings = self.policy.settings();
        let useful = seen.partitions.map(|p| sizing::useful(p, settings.consumers_per_replica));
        Decision {
            replicas: seen.current,
            direction: Direction::Hold,
            reason: Reason::LagUnknown,
            message: format!("Lag is unknown: {why}; replicas stay at {} until it is known.", seen.current),
            limited: None,
            inputs: Inputs {
                lag: None,
                arrival_per_second: self.arrivals.per_second(),
                capacity_per_second: self.capacity(),
                capacity_source: self.capacity_source(),
                wanted: seen.current,
                cap: useful.map_or(settings.max_replicas, |useful| useful.min(settings.max_replicas)),
                partitions: seen.partitions,
            },
        }
    }

    /// Keeps rates, capacity and the times of the last arrival and the last move.
    fn track(&mut self, reading: &Reading) {
        self.learned.observe(reading);
        let arrived = self.last.and_then(|last| reading.arrived_since(&last));
        let quiet = reading.lag == 0 && arrived == Some(0);
        self.quiet_since = match self.quiet_since {
            Some(since) if quiet => Some(since),
            Some(_) | None => (reading.lag == 0).then_some(reading.now),
        };
        let Some(last) = self.last else {
            self.moved(reading.now);
            return;
        };
        if last.current != reading.current {
            self.moved(reading.now);
        }
        let elapsed = reading.now.saturating_sub(last.now);
        if let Some((arrived, progressed)) = arrived.zip(reading.progressed_since(&last)) {
            self.arrivals.add(arrived, elapsed);
            self.progress.add(progressed, elapsed);
        } else {
            self.arrivals.reset();
            self.progress.reset();
            self.learned.interrupt();
        }
    }

    fn moved(&mut self, now: Duration) {
        self.moved_at = Some(now);
        self.window.restart();
    }

    fn demand(&self, reading: &Reading) -> Demand {
        let settings = self.policy.settings();
        let useful = sizing::useful(reading.partitions, settings.consumers_per_replica);
        let cap = settings.max_replicas.min(useful);
        let floor = settings.min_replicas.min(cap);
        let arrivals = self.arrivals.per_second();
        let capacity = self.capacity();
        let (wanted, probe) = match capacity {
            Some(capacity) => {
                let arrivals = arrivals.unwrap_or(Quantity::whole(0));
                (sizing::wanted(reading.lag, arrivals, capacity, settings.drain_target), None)
            }
            None => self.probe(reading, useful),
        };
        let target = sizing::balanced(wanted.max(1), useful).max(floor).min(cap);
        Demand {
            arrivals,
            capacity,
            source: self.capacity_source(),
            wanted,
            target,
            floor,
            cap,
            useful,
            probe,
        }
    }

    /// Without a capacity: double while the backlog takes too long, step down while there is none, and wait
    /// between steps so that their effect shows.
    fn probe(&self, reading: &Reading, useful: u32) -> (u32, Option<Reason>) {
        let current = reading.current;
        let arrivals = self.arrivals.per_second().unwrap_or(Quantity::whole(0));
        if reading.lag == 0 && arrivals.is_zero() {
            return (0, None);
        }
        if current == 0 {
            return (1, None);
        }
        let since = self.moved_at.map_or(Duration::ZERO, |at| reading.now.saturating_sub(at));
        if since < PROBE_SETTLE || reading.ready != current {
            return (current, Some(Reason::Settling));
        }
        let throughput = self.progress.per_second().unwrap_or(Quantity::whole(0));
        match sizing::drain_time(reading.lag, throughput) {
            None => (current, (reading.lag > 0).then_some(Reason::NoProgress)),
            Some(drain) if drain > self.policy.settings().drain_target => (current.saturating_mul(2), None),
            Some(drain) if drain <= PROBE_CAUGHT_UP => (sizing::balanced_below(current, useful), None),
            Some(_) => (current, None),
        }
    }

    /// The rules; the first that applies decides.
    fn step(&mut self, reading: &Reading, demand: &Demand) -> (u32, Reason) {
        let settings = self.policy.settings();
        let current = reading.current;
        if current > demand.cap {
            let by_partitions = demand.useful < settings.max_replicas;
            let reason = if by_partitions { Reason::CappedByPartitions } else { Reason::AboveMaximum };
            return (demand.cap, reason);
        }
        if current == 0 && settings.min_replicas == 0 {
            return if reading.lag > settings.activation_lag {
                (demand.target, Reason::ActivatedFromZero)
            } else {
                (0, Reason::BelowActivation)
            };
        }
        if settings.min_replicas == 0 && self.idle(reading) {
            return (0, Reason::ScaledToZero);
        }
        if current < demand.floor {
            let by_lag = demand.target > demand.floor;
            return (demand.target, if by_lag { Reason::LagAboveTarget } else { Reason::BelowMinimum });
        }
        if demand.target > current && urgent(settings, reading, demand) {
            return (demand.target, Reason::LagAboveTarget);
        }
        let length = settings.scale_down_window;
        self.window.push(reading.now, demand.target, length);
        if let Some(most) = self.window.smaller(current, length) {
            return (most.max(demand.floor).max(1), Reason::BacklogDrained);
        }
        (current, hold_reason(settings, current, demand))
    }

    fn idle(&self, reading: &Reading) -> bool {
        let quiet = self.quiet_since.map_or(Duration::ZERO, |since| reading.now.saturating_sub(since));
        !quiet.is_zero() && quiet >= self.policy.settings().idle_for
    }

    /// What a decision to hold waits for: the rest of the window, or of the idle time when all that is left is sleep.
    fn wait(&self, reading: &Reading) -> explain::Wait {
        let settings = self.policy.settings();
        explain::Wait {
            window: self.window.remaining(settings.scale_down_window).unwrap_or(settings.scale_down_window),
            idle: (settings.min_replicas == 0 && reading.current > 0)
                .then_some(self.quiet_since)
                .flatten()
                .map(|since| settings.idle_for.saturating_sub(reading.now.saturating_sub(since))),
        }
    }

    fn limit(&self, demand: &Demand, replicas: u32) -> Option<Limit> {
        let settings = self.policy.settings();
        if replicas == 0 {
            return None;
        }
        if demand.wanted.max(settings.min_replicas) > demand.cap {
            return Some(if demand.useful < settings.max_replicas {
                Limit::ByPartitions(demand.cap)
            } else {
                Limit::ByMax(demand.cap)
            });
        }
        (demand.wanted < demand.floor).then_some(Limit::ByMin(demand.floor))
    }

    fn capacity_source(&self) -> CapacitySource {
        if self.policy.settings().capacity_per_replica.is_some() {
            CapacitySource::Configured
        } else if self.learned.per_replica().is_some() {
            CapacitySource::Learned
        } else {
            CapacitySource::None
        }
    }
}

/// Turns an observation into sums, or says why they are not known.
fn read(seen: &Observation<'_>) -> Result<Reading, String> {
    let lag = match seen.lag.total() {
        Lag::Known(lag) => lag,
        Lag::Unknown(why) => return Err(why.to_string()),
        Lag::NotApplicable => return Err("the group has no partition that could be measured".into()),
    };
    let partitions = seen
        .partitions
        .filter(|count| *count > 0)
        .ok_or("the number of partitions is not known".to_owned())?;
    let measured = &seen.lag.partitions;
    let ends_known = measured.iter().all(|partition| partition.end.is_some());
    Ok(Reading {
        now: seen.now,
        lag,
        ends: ends_known.then(|| seen.lag.end_sum()),
        measured: measured.len(),
        lagging: measured.iter().filter(|partition| partition.lag.known().is_some_and(|lag| lag > 0)).count(),
        partitions,
        current: seen.current,
        ready: seen.ready,
    })
}

/// Whether the backlog is worth a move up now; see [`URGENT_FRACTION`].
fn urgent(settings: &PolicySettings, reading: &Reading, demand: &Demand) -> bool {
    let Some(capacity) = demand.capacity else { return true };
    let target = settings.drain_target.as_millis();
    let drained = u128::from(reading.current) * u128::from(capacity.thousandths());
    let backlog = u128::from(reading.lag) * 1_000_000 * URGENT_FRACTION;
    backlog > drained.saturating_mul(target)
}

fn hold_reason(settings: &PolicySettings, current: u32, demand: &Demand) -> Reason {
    if let Some(reason) = demand.probe {
        return reason;
    }
    if demand.wanted > demand.cap && current == demand.cap {
        let by_partitions = demand.useful < settings.max_replicas;
        return if by_partitions { Reason::CappedByPartitions } else { Reason::CappedByMax };
    }
    if demand.target < current { Reason::Stabilizing } else { Reason::WithinTarget }
}

fn direction(current: u32, replicas: u32) -> Direction {
    match replicas.cmp(&current) {
        std::cmp::Ordering::Greater => Direction::Up,
        std::cmp::Ordering::Less => Direction::Down,
        std::cmp::Ordering::Equal => Direction::Hold,
    }
}
