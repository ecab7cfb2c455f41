//! The sentence that goes with a decision: the numbers it was computed from, and what it waits for.

use std::time::Duration;

use weir_model::Quantity;

use crate::{
    autoscaler::Demand,
    capacity::Reading,
    decision::{CapacitySource, Reason},
    policy::PolicySettings,
};

/// What is left to wait for before replicas may leave.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Wait {
    /// Until the window is covered.
    pub(crate) window: Duration,
    /// Until the group may sleep; `None` if it may not or is not quiet.
    pub(crate) idle: Option<Duration>,
}

/// One full sentence.
pub(crate) fn sentence(
    policy: &PolicySettings,
    reading: &Reading,
    demand: &Demand,
    replicas: u32,
    reason: Reason,
    wait: Wait,
) -> String {
    let state = state(reading, demand);
    let current = reading.current;
    let target = seconds(policy.drain_target);
    let bounds = bounds(policy, reading, demand);
    match reason {
        Reason::LagUnknown => format!("{state}; replicas stay at {current}."),
        Reason::LagAboveTarget | Reason::ActivatedFromZero => {
            let need = need(demand, &target);
            format!("{state}; {need}, so replicas go from {current} to {replicas}{bounds}.")
        }
        Reason::BelowActivation => format!(
            "{state}; a sleeping group wakes above a lag of {}, so replicas stay at 0.",
            policy.activation_lag
        ),
        Reason::ScaledToZero => format!(
            "Lag is {} records; there was neither work nor an arrival for {}, so replicas go from {current} to 0.",
            reading.lag,
            seconds(policy.idle_for)
        ),
        Reason::BacklogDrained => format!(
            "{state}; {replicas} of {current} replicas sufficed for {}, so replicas go from {current} to {replicas}{bounds}.",
            seconds(policy.scale_down_window)
        ),
        Reason::WithinTarget => format!(
            "{state}; {current} replicas drain that within {target}, so they stay{}{bounds}.",
            sleep(wait)
        ),
        Reason::Stabilizing => format!(
            "{state}; {} of {current} replicas would do, which must hold for {} before they leave (at least {} to go){bounds}.",
            demand.target,
            seconds(policy.scale_down_window),
            seconds(wait.window)
        ),
        Reason::Settling => format!(
            "{state}; {} of {current} replicas are ready, and their effect is measured before the next step.",
            reading.ready
        ),
        Reason::NoProgress => format!(
            "{state}; the {current} replicas committed no progress lately, so their number cannot be judged and stays. Look at their logs."
        ),
        Reason::CappedByPartitions | Reason::CappedByMax if replicas == current => {
            let need = need(demand, &target);
            format!("{state}; {need}, and replicas stay at {current}{bounds}.")
        }
        Reason::CappedByPartitions | Reason::CappedByMax | Reason::AboveMaximum => format!(
            "{state}; {current} replicas are more than the {replicas} that can be used, so replicas go from {current} to {replicas}: {}.",
            cap_words(policy, reading, demand)
        ),
        Reason::BelowMinimum => {
            format!(
                "{state}; {current} replicas are fewer than minReplicas {}, so replicas go to {replicas}{bounds}.",
                policy.min_replicas
            )
        }
    }
}

fn state(reading: &Reading, demand: &Demand) -> String {
    let arrivals = demand.arrivals.map_or_else(
        || "arrivals are not measured yet".to_owned(),
        |rate| match rate.thousandths() {
            0 => "nothing arrives".to_owned(),
            1..1000 => "fewer than 1/s arrive".to_owned(),
            _ => format!("{}/s arrive", pace(rate)),
        },
    );
    let source = match demand.source {
        CapacitySource::Learned => "learned",
        CapacitySource::Configured => "configured",
        CapacitySource::None => "unknown",
    };
    let capacity = demand.capacity.map_or_else(
        || "what a replica does is not known yet".to_owned(),
        |rate| format!("a replica does {}/s ({source})", pace(rate)),
    );
    format!("Lag is {} records, {arrivals}, {capacity}", reading.lag)
}

fn need(demand: &Demand, target: &str) -> String {
    if demand.capacity.is_some() {
        format!("draining within {target} takes {}", count(demand.wanted))
    } else {
        format!("to learn how to drain within {target}, {} are tried", count(demand.wanted))
    }
}

/// What the bounds made of the wanted number; empty if they changed nothing.
fn bounds(policy: &PolicySettings, reading: &Reading, demand: &Demand) -> String {
    if policy.min_replicas > demand.cap {
        return format!(
            " (minReplicas {} cannot be met: {})",
            policy.min_replicas,
            cap_words(policy, reading, demand)
        );
    }
    if demand.wanted > demand.cap {
        return format!(" ({})", cap_words(policy, reading, demand));
    }
    if demand.wanted < demand.floor {
        return format!(" (minReplicas is {})", policy.min_replicas);
    }
    if demand.target > demand.wanted.max(1) {
        return format!(
            " (rounded up to {} so that the {} partitions are shared evenly)",
            demand.target, reading.partitions
        );
    }
    String::new()
}

fn cap_words(policy: &PolicySettings, reading: &Reading, demand: &Demand) -> String {
    if demand.useful < policy.max_replicas {
        format!("{} partitions occupy at most {}", reading.partitions, count(demand.useful))
    } else {
        format!("maxReplicas is {}", policy.max_replicas)
    }
}

fn sleep(wait: Wait) -> String {
    wait.idle
        .map_or_else(String::new, |left| format!(" for at least {} more before they sleep", seconds(left)))
}

fn count(replicas: u32) -> String {
    if replicas == 1 { "1 replica".to_owned() } else { format!("{replicas} replicas") }
}

/// A rate for people: whole records from ten on.
fn pace(rate: Quantity) -> String {
    let thousandths = rate.thousandths();
    if thousandths >= 10_000 {
        (thousandths.saturating_add(500) / 1000).to_string()
    } else {
        rate.to_string()
    }
}

fn seconds(duration: Duration) -> String {
    if duration.subsec_millis() == 0 {
        format!("{}s", duration.as_secs())
    } else {
        format!("{}.{:03}s", duration.as_secs(), duration.subsec_millis())
    }
}
