//! Conditions and their types, written the same way by every kind.
//!
//! The contract: `Ready`, `Reconciling` and `Stalled` follow kstatus. `Reconciling` and `Stalled` are present only while
//! they are true, and never both. `lastTransitionTime` moves only when `status` flips.

use k8s_openapi::apimachinery::pkg::apis::meta::v1::{Condition, Time};

/// The object does its job.
pub const READY: &str = "Ready";
/// Weir is working on it; present only while true.
pub const RECONCILING: &str = "Reconciling";
/// Weir cannot go on before the spec or something that it depends on changes; present only while true.
pub const STALLED: &str = "Stalled";
/// Connection: the brokers answer.
pub const CONNECTED: &str = "Connected";
/// Connection: the brokers accept who we are.
pub const AUTHENTICATED: &str = "Authenticated";
/// Connection: records and passwords travel in clear text.
pub const INSECURE_TRANSPORT: &str = "InsecureTransport";
/// Topic: the topic in Kafka is what the spec says.
pub const TOPIC_SYNCED: &str = "TopicSynced";
/// ProducerJob: every record was acknowledged.
pub const COMPLETED: &str = "Completed";
/// ConsumerGroup: the pods run and are ready.
pub const WORKLOAD_READY: &str = "WorkloadReady";
/// ConsumerGroup: the lag of every partition is known.
pub const LAG_AVAILABLE: &str = "LagAvailable";
/// ConsumerGroup: Weir decides how many consumers there are.
pub const SCALING_ACTIVE: &str = "ScalingActive";
/// ConsumerGroup: a bound keeps the number of consumers from what the lag would need.
pub const SCALING_LIMITED: &str = "ScalingLimited";
/// The object is paused by annotation; present only while true.
pub const PAUSED: &str = "Paused";

/// What is to be said about one condition.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Finding {
    /// One of this module's types.
    pub type_: &'static str,
    /// `Some(true)`, `Some(false)`, or `None` for "Unknown".
    pub status: Option<bool>,
    /// One word in CamelCase, from a documented list.
    pub reason: &'static str,
    /// A full sentence.
    pub message: String,
}

impl Finding {
    /// A condition that holds.
    pub fn yes(type_: &'static str, reason: &'static str, message: impl Into<String>) -> Self {
        Self { type_, status: Some(true), reason, message: message.into() }
    }
    /// A condition that does not hold.
    pub fn no(type_: &'static str, reason: &'static str, message: impl Into<String>) -> Self {
        Self { type_, status: Some(false), reason, message: message.into() }
    }
    /// A condition that cannot be told.
    pub fn unknown(type_: &'static str, reason: &'static str, message: impl Into<String>) -> Self {
        Self { type_, status: None, reason, message: message.into() }
    }
}

/// The conditions after a visit: exactly `findings`, in their order, where a condition whose status did not flip keeps its
/// `lastTransitionTime`. Types that are not found any more disappear.
#[must_use]
pub fn conditions(
    previous: &[Condition],
    findings: &[Finding],
    generation: i64,
    now: &Time,
) -> Vec<Condition> {
    findings
        .iter()
        .map(|finding| {
            let status = match finding.status {
                Some(true) => "True",
                Some(false) => "False",
                None => "Unknown",
            };
            let since = previous
                .iter()
                .find(|c| c.type_ == finding.type_ && c.status == status)
                .map_or_else(|| now.clone(), |c| c.last_transition_time.clone());
            Condition {
                type_: finding.type_.to_owned(),
                status: status.to_owned(),
                reason: finding.reason.to_owned(),
                message: finding.message.chars().take(1024).collect(),
                observed_generation: Some(generation),
                last_transition_time: since,
            }
        })
        .collect()
}

/// Status of a condition: `Some(true)`, `Some(false)`, or `None` if it is unknown or absent.
#[must_use]
pub fn status_of(conditions: &[Condition], type_: &str) -> Option<bool> {
    match conditions.iter().find(|c| c.type_ == type_)?.status.as_str() {
        "True" => Some(true),
        "False" => Some(false),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use k8s_openapi::jiff::Timestamp;

    use super::*;

    fn at(second: i64) -> Time {
        Time(Timestamp::from_second(second).expect("in range"))
    }

    #[test]
    fn the_time_of_transition_moves_only_when_the_status_flips() {
        let first = conditions(&[], &[Finding::no(READY, "Waiting", "a")], 1, &at(1));
        let second = conditions(&first, &[Finding::no(READY, "StillWaiting", "b")], 2, &at(2));
        assert_eq!(second[0].last_transition_time, at(1));
        assert_eq!(second[0].observed_generation, Some(2));
        let third = conditions(&second, &[Finding::yes(READY, "Done", "c")], 2, &at(3));
        assert_eq!(third[0].last_transition_time, at(3));
    }

    #[test]
    fn what_is_no_longer_found_disappears() {
        let first = conditions(&[], &[Finding::yes(STALLED, "Broken", "a")], 1, &at(1));
        assert!(conditions(&first, &[], 1, &at(2)).is_empty());
    }

    #[test]
    fn unknown_is_not_false() {
        let c = conditions(&[], &[Finding::unknown(READY, "Starting", "a")], 1, &at(1));
        assert_eq!(status_of(&c, READY), None);
        assert_eq!(c[0].status, "Unknown");
    }
}
