//! What the owner of a group asks of its scaling, checked once. It does not parse text: the operator maps the spec.

use std::{fmt, time::Duration};

use weir_model::Quantity;

/// The settings as they were asked for. Only a [`Policy`] made from them travels on.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PolicySettings {
    /// Fewest replicas; 0 lets an idle group sleep.
    pub min_replicas: u32,
    /// Most replicas, at least 1 and at least `min_replicas`.
    pub max_replicas: u32,
    /// A backlog shall be drained within this time, at least a second.
    pub drain_target: Duration,
    /// What one replica processes, in records per second; `None` lets the controller learn it.
    pub capacity_per_replica: Option<Quantity>,
    /// A sleeping group wakes when its lag exceeds this many records.
    pub activation_lag: u64,
    /// A group with `min_replicas` 0 goes to sleep after this long without lag and without arrivals.
    pub idle_for: Duration,
    /// Replicas leave only to the largest number that was wanted during this long.
    pub scale_down_window: Duration,
    /// How many group members run in one replica, at least 1.
    pub consumers_per_replica: u32,
}

/// Settings that make sense together.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Policy(PolicySettings);

impl Policy {
    /// Checks the settings.
    ///
    /// # Errors
    /// A sentence that names the field, its value and what is allowed.
    pub fn new(settings: PolicySettings) -> Result<Self, PolicyError> {
        let s = &settings;
        if s.max_replicas == 0 {
            return Err(PolicyError("maxReplicas is 0; it must be at least 1.".into()));
        }
        if s.min_replicas > s.max_replicas {
            return Err(PolicyError(format!(
                "minReplicas {} is above maxReplicas {}; raise maxReplicas or lower minReplicas.",
                s.min_replicas, s.max_replicas
            )));
        }
        if s.drain_target < Duration::from_secs(1) {
            return Err(PolicyError(format!(
                "drainTarget is {} ms; it must be at least 1s.",
                s.drain_target.as_millis()
            )));
        }
        if s.capacity_per_replica.is_some_and(Quantity::is_zero) {
            return Err(PolicyError(
                "capacityPerReplica is 0 records per second; give a positive rate or leave it out to have it learned."
                    .into(),
            ));
        }
        if s.consumers_per_replica == 0 {
            return Err(PolicyError("consumersPerReplica is 0; it must be at least 1.".into()));
        }
        Ok(Self(settings))
    }

    /// The settings that were checked.
    #[must_use]
    pub fn settings(&self) -> &PolicySettings {
        &self.0
    }
}

/// Settings that contradict each other; the text is a full sentence for the user.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PolicyError(String);

impl fmt::Display for PolicyError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::error::Error for PolicyError {}

#[cfg(test)]
mod tests {
    use super::*;

    fn sane() -> PolicySettings {
        PolicySettings {
            min_replicas: 0,
            max_replicas: 12,
            drain_target: Duration::from_secs(60),
            capacity_per_replica: None,
            activation_lag: 0,
            idle_for: Duration::from_secs(300),
            scale_down_window: Duration::from_secs(300),
            consumers_per_replica: 1,
        }
    }

    #[test]
    fn sane_settings_are_taken_as_they_are() {
        let policy = Policy::new(sane()).expect("the settings are sane");
        assert_eq!(policy.settings(), &sane());
    }

    #[test]
    fn every_nonsense_is_refused_with_the_field_in_the_sentence() {
        let cases = [
            ("maxReplicas", PolicySettings { max_replicas: 0, ..sane() }),
            ("minReplicas", PolicySettings { min_replicas: 13, ..sane() }),
            ("drainTarget", PolicySettings { drain_target: Duration::from_millis(999), ..sane() }),
            (
                "capacityPerReplica",
                PolicySettings { capacity_per_replica: Some(Quantity::whole(0)), ..sane() },
            ),
            ("consumersPerReplica", PolicySettings { consumers_per_replica: 0, ..sane() }),
        ];
        for (field, settings) in cases {
            let error = Policy::new(settings).expect_err(field).to_string();
            assert!(error.starts_with(field) && error.ends_with('.'), "{error}");
        }
    }
}
