//! The controller as its caller sees it: single decisions in tables, runs against a small plant, and random runs.

use std::time::Duration;

use weir_autoscaler::{
    Autoscaler, CapacitySource, Decision, Direction, Limit, Observation, Policy, PolicySettings, Reason,
};
use weir_model::{GroupLag, Lag, Offset, PartitionLag, Quantity, TopicPartition, UnknownLag};

fn settings() -> PolicySettings {
    PolicySettings {
        min_replicas: 0,
        max_replicas: 50,
        drain_target: Duration::from_secs(60),
        capacity_per_replica: Some(Quantity::whole(500)),
        activation_lag: 0,
        idle_for: Duration::from_secs(120),
        scale_down_window: Duration::from_secs(60),
        consumers_per_replica: 1,
    }
}

fn scaler(settings: PolicySettings) -> Autoscaler {
    Autoscaler::new(Policy::new(settings).expect("the test's settings are sane"))
}

/// A sample with the lag and the log ends spread evenly over the partitions.
fn sample(partitions: u32, lag: u64, ends: u64) -> GroupLag {
    let share = |total: u64, index: u32| {
        let (count, index) = (u64::from(partitions), u64::from(index));
        total / count + u64::from(index < total % count)
    };
    let one = |index: u32| PartitionLag {
        partition: TopicPartition::new("orders", i32::try_from(index).expect("few partitions")),
        lag: Lag::Known(share(lag, index)),
        end: Offset::from_kafka(i64::try_from(share(ends, index)).expect("few records")),
        committed: None,
    };
    GroupLag { partitions: (0..partitions).map(one).collect() }
}

fn unknown(partitions: u32) -> GroupLag {
    let mut group = sample(partitions, 0, 0);
    group.partitions[0].lag = Lag::Unknown(UnknownLag::Unreachable("broker 2 is down".into()));
    group
}

/// Looks at a group with `lag` records of `ends` on `partitions` partitions, all replicas ready.
fn look(
    scaler: &mut Autoscaler,
    second: u64,
    partitions: u32,
    lag: u64,
    ends: u64,
    current: u32,
) -> Decision {
    let lag = sample(partitions, lag, ends);
    let now = Duration::from_secs(second);
    scaler.decide(&Observation { now, lag: &lag, partitions: Some(partitions), current, ready: current })
}

#[test]
fn the_first_sample_of_a_backlog_moves_to_the_right_number_at_once() {
    // (lag, current, partitions, replicas, reason, limit)
    let cases = [
        (300_000, 1, 12, 12, Reason::LagAboveTarget, None),
        (300_000, 0, 12, 12, Reason::ActivatedFromZero, None),
        (30_000, 1, 12, 1, Reason::WithinTarget, None),
        (30_001, 1, 12, 2, Reason::LagAboveTarget, None),
        (120_001, 1, 12, 6, Reason::LagAboveTarget, None),
        (1_000_000, 1, 12, 12, Reason::LagAboveTarget, Some(Limit::ByPartitions(12))),
        (1_000_000, 12, 12, 12, Reason::CappedByPartitions, Some(Limit::ByPartitions(12))),
        (10_000_000, 1, 100, 50, Reason::LagAboveTarget, Some(Limit::ByMax(50))),
        (10_000_000, 50, 100, 50, Reason::CappedByMax, Some(Limit::ByMax(50))),
        (1, 0, 12, 1, Reason::ActivatedFromZero, None),
        (0, 0, 12, 0, Reason::BelowActivation, None),
        (0, 3, 12, 3, Reason::Stabilizing, None),
        (300_000, 20, 12, 12, Reason::CappedByPartitions, None),
        (0, 60, 100, 50, Reason::AboveMaximum, None),
    ];
    for (lag, current, partitions, replicas, reason, limited) in cases {
        let decision = look(&mut scaler(settings()), 0, partitions, lag, lag, current);
        let case = format!("{lag} on {current} of {partitions}: {}", decision.message);
        assert_eq!((decision.replicas, decision.reason), (replicas, reason), "{case}");
        assert_eq!(decision.limited, limited, "{case}");
    }
}

#[test]
fn every_sentence_names_its_numbers() {
    let decision = look(&mut scaler(settings()), 0, 12, 240_001, 240_001, 1);
    assert_eq!(
        decision.message,
        "Lag is 240001 records, arrivals are not measured yet, a replica does 500/s (configured); draining within 60s \
         takes 9 replicas, so replicas go from 1 to 12 (rounded up to 12 so that the 12 partitions are shared evenly)."
    );
    assert_eq!((decision.inputs.lag, decision.inputs.wanted, decision.inputs.cap), (Some(240_001), 9, 12));
    let decision = look(&mut scaler(settings()), 0, 6, 1_000_000, 1_000_000, 6);
    assert_eq!(
        decision.message,
        "Lag is 1000000 records, arrivals are not measured yet, a replica does 500/s (configured); draining within \
         60s takes 34 replicas, and replicas stay at 6 (6 partitions occupy at most 6 replicas)."
    );
}

#[test]
fn a_step_of_300k_records_goes_from_one_to_twelve_in_one_action_and_back_in_another() {
    let mut scaler = scaler(PolicySettings { min_replicas: 1, ..settings() });
    let (mut current, mut processed, mut actions) = (1, 0, Vec::new());
    for second in 0..300_u64 {
        // The records appear between second 30 and 31; each replica processes 500 a second.
        let written = if second > 30 { 300_000 } else { 0 };
        processed = written.min(if second > 31 { processed + 500 * u64::from(current) } else { 0 });
        let decision = look(&mut scaler, second, 12, written - processed, written, current);
        if decision.replicas != current {
            current = decision.replicas;
            actions.push((second, current));
        }
    }
    assert_eq!(actions.first(), Some(&(31, 12)));
    assert_eq!(actions.last().map(|(_, replicas)| *replicas), Some(1));
    assert_eq!(actions.len(), 2, "{actions:?}");
}

#[test]
fn an_unknown_lag_moves_nothing_and_says_why() {
    let mut scaler = scaler(settings());
    for current in [0, 1, 7, 60] {
        let lag = unknown(12);
        let seen =
            Observation { now: Duration::ZERO, lag: &lag, partitions: Some(12), current, ready: current };
        let decision = scaler.decide(&seen);
        assert_eq!((decision.replicas, decision.direction), (current, Direction::Hold));
        assert_eq!((decision.reason, decision.inputs.lag), (Reason::LagUnknown, None));
        assert!(decision.message.contains("broker 2 is down"), "{}", decision.message);
    }
}

#[test]
fn an_unknown_number_of_partitions_moves_nothing() {
    let lag = sample(12, 1_000_000, 1_000_000);
    for partitions in [None, Some(0)] {
        let seen = Observation { now: Duration::ZERO, lag: &lag, partitions, current: 2, ready: 2 };
        let decision = scaler(settings()).decide(&seen);
        assert_eq!((decision.replicas, decision.reason), (2, Reason::LagUnknown));
    }
    let nothing = GroupLag { partitions: vec![] };
    let seen = Observation { now: Duration::ZERO, lag: &nothing, partitions: Some(12), current: 2, ready: 2 };
    assert_eq!(scaler(settings()).decide(&seen).reason, Reason::LagUnknown);
}

#[test]
fn replicas_leave_in_one_action_after_a_whole_quiet_window() {
    let mut scaler = scaler(PolicySettings { min_replicas: 1, ..settings() });
    let mut actions = Vec::new();
    let mut current = 12;
    for second in 0..200 {
        let decision = look(&mut scaler, second, 12, 0, 300_000, current);
        if decision.replicas != current {
            actions.push((second, decision.replicas, decision.reason));
            current = decision.replicas;
        }
    }
    assert_eq!(actions, [(60, 1, Reason::BacklogDrained)]);
}

#[test]
fn one_unknown_sample_starts_the_window_over() {
    let mut scaler = scaler(PolicySettings { min_replicas: 1, ..settings() });
    for second in 0..=110 {
        if second == 50 {
            let lag = unknown(12);
            let now = Duration::from_secs(50);
            scaler.decide(&Observation { now, lag: &lag, partitions: Some(12), current: 12, ready: 12 });
            continue;
        }
        assert_eq!(
            look(&mut scaler, second, 12, 0, 300_000, 12).direction,
            Direction::Hold,
            "second {second}"
        );
    }
    assert_eq!(look(&mut scaler, 111, 12, 0, 300_000, 12).replicas, 1);
}

#[test]
fn a_change_by_somebody_else_starts_the_window_over() {
    let mut scaler = scaler(PolicySettings { min_replicas: 1, ..settings() });
    for second in 0..50 {
        look(&mut scaler, second, 12, 0, 0, 12);
    }
    for second in 50..110 {
        assert_eq!(look(&mut scaler, second, 12, 0, 0, 6).direction, Direction::Hold, "second {second}");
    }
    assert_eq!(look(&mut scaler, 110, 12, 0, 0, 6).replicas, 1);
}

#[test]
fn an_idle_group_sleeps_only_after_its_idle_time() {
    let mut scaler = scaler(PolicySettings { scale_down_window: Duration::from_secs(300), ..settings() });
    let ends = |second: u64| if second < 30 { 1000 + second } else { 1030 };
    for second in 0..150 {
        let decision = look(&mut scaler, second, 12, 0, ends(second), 1);
        assert_eq!(decision.replicas, 1, "second {second}: {}", decision.message);
    }
    let decision = look(&mut scaler, 150, 12, 0, ends(150), 1);
    assert_eq!((decision.replicas, decision.reason), (0, Reason::ScaledToZero), "{}", decision.message);
    assert_eq!(look(&mut scaler, 151, 12, 0, ends(151), 0).reason, Reason::BelowActivation);
    assert_eq!(look(&mut scaler, 152, 12, 1, 1031, 0).reason, Reason::ActivatedFromZero);
}

#[test]
fn a_group_never_sleeps_while_it_has_lag_or_a_minimum() {
    let mut with_lag = scaler(settings());
    let mut with_minimum = scaler(PolicySettings { min_replicas: 1, ..settings() });
    for second in 0..600 {
        assert_eq!(look(&mut with_lag, second, 12, 1, 1000, 1).replicas, 1);
        assert_eq!(look(&mut with_minimum, second, 12, 0, 1000, 1).replicas, 1);
    }
}

#[test]
fn a_sleeping_group_wakes_above_its_activation_lag_only() {
    for (lag, replicas) in [(0, 0), (100, 0), (101, 1), (60_001, 3)] {
        let mut scaler = scaler(PolicySettings { activation_lag: 100, ..settings() });
        assert_eq!(look(&mut scaler, 0, 12, lag, lag, 0).replicas, replicas, "{lag}");
    }
}

#[test]
fn bounds_are_corrected_at_once_and_the_partitions_win_over_the_minimum() {
    let mut low = scaler(PolicySettings { min_replicas: 5, ..settings() });
    let decision = look(&mut low, 0, 12, 0, 0, 2);
    assert_eq!((decision.replicas, decision.reason), (5, Reason::BelowMinimum));
    assert_eq!(decision.limited, Some(Limit::ByMin(5)));
    let mut narrow = scaler(PolicySettings { min_replicas: 5, ..settings() });
    let decision = look(&mut narrow, 0, 3, 0, 0, 0);
    assert_eq!((decision.replicas, decision.limited), (3, Some(Limit::ByPartitions(3))));
    assert!(decision.message.contains("minReplicas 5 cannot be met"), "{}", decision.message);
}

#[test]
fn several_consumers_in_a_replica_lower_the_useful_replicas() {
    let mut scaler = scaler(PolicySettings { consumers_per_replica: 4, ..settings() });
    let decision = look(&mut scaler, 0, 12, 1_000_000, 1_000_000, 1);
    assert_eq!((decision.replicas, decision.limited), (3, Some(Limit::ByPartitions(3))));
}

#[test]
fn a_steady_stream_is_held_by_its_rate_although_the_lag_is_zero() {
    let mut scaler = scaler(PolicySettings { min_replicas: 1, ..settings() });
    for second in 0..600 {
        let decision = look(&mut scaler, second, 12, 0, second * 1400, 3);
        assert_eq!(decision.replicas, 3, "second {second}: {}", decision.message);
    }
}

#[test]
fn a_short_burst_that_drains_in_time_adds_nothing() {
    let mut scaler = scaler(PolicySettings { min_replicas: 1, ..settings() });
    for second in 0..60_u64 {
        let written = if second >= 20 { 6000 } else { 0 };
        let lag = if second >= 20 { 6000_u64.saturating_sub((second - 20) * 500) } else { 0 };
        let decision = look(&mut scaler, second, 12, lag, written, 1);
        assert_eq!(decision.replicas, 1, "second {second}: {}", decision.message);
    }
}

#[test]
fn a_shrinking_log_or_new_partitions_re_seed_the_rate() {
    let mut scaler = scaler(PolicySettings { min_replicas: 1, ..settings() });
    for second in 0..10 {
        look(&mut scaler, second, 12, 0, second * 500, 1);
    }
    let truncated = look(&mut scaler, 10, 12, 0, 0, 1);
    assert_eq!(truncated.inputs.arrival_per_second, None);
    look(&mut scaler, 11, 12, 0, 500, 1);
    let grown = look(&mut scaler, 12, 24, 0, 1_000_000, 1);
    assert_eq!(grown.inputs.arrival_per_second, None);
}

/// Runs a plant whose replicas each do `capacity` records per second, without configured capacity.
fn run_cold(capacity: u64, backlog: u64, seconds: u64) -> (Vec<u32>, Autoscaler, u64) {
    let mut scaler = scaler(PolicySettings { min_replicas: 1, capacity_per_replica: None, ..settings() });
    let (mut lag, mut current, mut actions) = (backlog, 1, Vec::new());
    for second in 0..seconds {
        let decision = look(&mut scaler, second, 12, lag, backlog, current);
        lag = lag.saturating_sub(capacity * u64::from(current));
        if decision.replicas != current {
            current = decision.replicas;
            actions.push(current);
        }
    }
    (actions, scaler, lag)
}

#[test]
fn without_a_capacity_the_replicas_double_until_it_is_learned() {
    let (actions, scaler, _) = run_cold(500, 300_000, 60);
    assert_eq!(actions, [2, 4, 12]);
    assert_eq!(scaler.capacity(), Some(Quantity::whole(500)));
    let (actions, _, lag) = run_cold(500, 300_000, 400);
    assert_eq!(lag, 0);
    assert_eq!(actions.last(), Some(&1));
}

#[test]
fn a_stalled_group_of_unknown_capacity_is_not_multiplied() {
    let (actions, scaler, _) = run_cold(0, 300_000, 600);
    assert_eq!(actions, []);
    assert_eq!(scaler.capacity(), None);
}

#[test]
fn the_source_of_the_capacity_is_told() {
    let configured = look(&mut scaler(settings()), 0, 12, 0, 0, 1);
    assert_eq!(configured.inputs.capacity_source, CapacitySource::Configured);
    let cold = look(&mut scaler(PolicySettings { capacity_per_replica: None, ..settings() }), 0, 12, 5, 5, 0);
    assert_eq!((cold.inputs.capacity_source, cold.replicas), (CapacitySource::None, 1));
}

#[test]
fn a_new_policy_counts_from_the_next_decision_on() {
    let mut scaler = scaler(settings());
    assert_eq!(look(&mut scaler, 0, 12, 300_000, 300_000, 1).replicas, 12);
    let narrower = PolicySettings { max_replicas: 4, ..settings() };
    scaler.set_policy(Policy::new(narrower).expect("the settings are sane"));
    let decision = look(&mut scaler, 1, 12, 300_000, 300_000, 12);
    assert_eq!((decision.replicas, decision.reason), (4, Reason::AboveMaximum));
}

/// A reproducible pseudo-random sequence (Knuth's MMIX constants).
struct Dice(u64);

impl Dice {
    fn below(&mut self, bound: u64) -> u64 {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (self.0 >> 33) % bound
    }

    fn small(&mut self, bound: u64) -> u32 {
        u32::try_from(self.below(bound)).expect("the bound is small")
    }
}

fn random_settings(dice: &mut Dice) -> PolicySettings {
    let max_replicas = 1 + dice.small(40);
    PolicySettings {
        min_replicas: dice.small(u64::from(max_replicas) + 1),
        max_replicas,
        drain_target: Duration::from_secs(1 + dice.below(300)),
        capacity_per_replica: (dice.below(3) > 0)
            .then(|| Quantity::from_thousandths(1 + dice.below(2_000_000))),
        activation_lag: dice.below(100),
        idle_for: Duration::from_secs(dice.below(60)),
        scale_down_window: Duration::from_secs(dice.below(60)),
        consumers_per_replica: 1 + dice.small(4),
    }
}

#[test]
fn random_runs_never_pass_the_cap_never_move_on_unknown_and_never_leave_the_bounds() {
    let mut dice = Dice(42);
    for run in 0..300 {
        let policy = random_settings(&mut dice);
        let (mut scaler, partitions) = (scaler(policy.clone()), 1 + dice.small(60));
        let (mut now, mut current, mut ends) = (Duration::ZERO, dice.small(50), 0);
        for _ in 0..200 {
            now += Duration::from_millis(dice.below(3000));
            ends += dice.below(100_000) * dice.below(2);
            let known = dice.below(5) > 0;
            let records = dice.below(ends + 1);
            let lag = if known { sample(partitions, records, ends) } else { unknown(partitions) };
            let ready = dice.small(u64::from(current) + 1);
            let decision =
                scaler.decide(&Observation { now, lag: &lag, partitions: Some(partitions), current, ready });
            let cap = policy.max_replicas.min(partitions.div_ceil(policy.consumers_per_replica));
            let case = format!("run {run}: {policy:?} on {partitions}: {decision:?}");
            if known {
                assert!(decision.replicas <= cap, "above the cap in {case}");
                assert!(decision.replicas >= policy.min_replicas.min(cap), "below the minimum in {case}");
            } else {
                assert_eq!(decision.replicas, current, "moved on unknown in {case}");
            }
            assert_eq!(decision.direction == Direction::Hold, decision.replicas == current, "{case}");
            assert!(decision.message.ends_with('.'), "{case}");
            current = decision.replicas;
        }
    }
}

#[test]
fn more_lag_never_means_fewer_replicas() {
    let mut dice = Dice(7);
    for _ in 0..2000 {
        let policy = random_settings(&mut dice);
        let (partitions, current) = (1 + dice.small(60), dice.small(50));
        let less = dice.below(1_000_000);
        let more = less + dice.below(1_000_000);
        let replicas =
            |lag: u64| look(&mut scaler(policy.clone()), 0, partitions, lag, lag, current).replicas;
        assert!(replicas(less) <= replicas(more), "{policy:?} on {partitions}, {current}: {less} and {more}");
    }
}
