//! From work to a number of replicas: what drains in time, how many are useful, and which counts waste no pod.

use std::time::Duration;

use weir_model::Quantity;

/// Smallest `n` with `lag / (n·capacity − arrivals) ≤ target`: the backlog's share plus what keeps arriving.
/// Zero only if there is neither lag nor an arrival.
pub(crate) fn wanted(lag: u64, arrivals: Quantity, capacity: Quantity, target: Duration) -> u32 {
    let backlog = (u128::from(lag) * 1_000_000).div_ceil(target.as_millis().max(1));
    let need = backlog + u128::from(arrivals.thousandths());
    let replicas = need.div_ceil(u128::from(capacity.thousandths()).max(1));
    u32::try_from(replicas).unwrap_or(u32::MAX)
}

/// The most replicas that get a partition each.
pub(crate) fn useful(partitions: u32, consumers_per_replica: u32) -> u32 {
    partitions.div_ceil(consumers_per_replica.max(1))
}

/// The smallest of the counts `⌈useful/share⌉` that is at least `wanted`. Any count between two of them has pods that
/// do not lower the largest share (12 partitions on 5 pods are as slow as on 4), so it would waste them.
pub(crate) fn balanced(wanted: u32, useful: u32) -> u32 {
    if wanted <= 1 || useful <= 1 {
        return wanted.min(useful);
    }
    if wanted >= useful {
        return useful;
    }
    // The largest share with ⌈useful/share⌉ ≥ wanted, that is share < useful/(wanted − 1).
    let share = useful.div_ceil(wanted - 1) - 1;
    useful.div_ceil(share.max(1))
}

/// The largest of the balanced counts below `replicas`, at least 1.
pub(crate) fn balanced_below(replicas: u32, useful: u32) -> u32 {
    if replicas <= 2 {
        return 1;
    }
    // The smallest share with ⌈useful/share⌉ ≤ replicas − 1.
    useful.div_ceil(useful.div_ceil(replicas - 1).max(1)).max(1)
}

/// How long `throughput` needs for `lag`; `None` if it never ends.
pub(crate) fn drain_time(lag: u64, throughput: Quantity) -> Option<Duration> {
    let millis = (u128::from(lag) * 1_000_000).checked_div(u128::from(throughput.thousandths()))?;
    Some(Duration::from_millis(u64::try_from(millis).unwrap_or(u64::MAX)))
}

#[cfg(test)]
mod tests {
    use super::*;

    const MINUTE: Duration = Duration::from_secs(60);

    #[test]
    fn wanted_drains_the_backlog_beside_the_arrivals() {
        let cases = [
            (0, 0, 500, 0),
            (1, 0, 500, 1),
            (30_000, 0, 500, 1),
            (30_001, 0, 500, 2),
            (300_000, 0, 500, 10),
            (0, 1000, 500, 2),
            (0, 1001, 500, 3),
            (30_000, 1000, 500, 3),
            (u64::MAX, u64::MAX, 1, u32::MAX),
        ];
        for (lag, arrivals, capacity, replicas) in cases {
            let (arrivals, capacity) = (Quantity::whole(arrivals), Quantity::whole(capacity));
            assert_eq!(wanted(lag, arrivals, capacity, MINUTE), replicas, "{lag} + {arrivals}/s");
        }
    }

    #[test]
    fn balanced_counts_are_the_published_lists() {
        let list = |useful: u32| -> Vec<u32> {
            let mut all: Vec<u32> = (1..=useful).map(|wanted| balanced(wanted, useful)).collect();
            all.dedup();
            all
        };
        assert_eq!(list(12), [1, 2, 3, 4, 6, 12]);
        assert_eq!(list(24), [1, 2, 3, 4, 5, 6, 8, 12, 24]);
        assert_eq!(list(7), [1, 2, 3, 4, 7]);
        assert_eq!(list(1), [1]);
        assert_eq!(list(126).len(), 22);
    }

    #[test]
    fn balancing_never_goes_below_what_is_wanted_nor_above_what_is_useful() {
        for useful in 1..=130 {
            for wanted in 1..=useful {
                let count = balanced(wanted, useful);
                assert!(count >= wanted && count <= useful, "{wanted} of {useful} gave {count}");
            }
        }
    }

    #[test]
    fn one_step_down_is_the_next_balanced_count() {
        let steps: Vec<u32> = [12, 11, 6, 5, 4, 3, 2, 1].map(|n| balanced_below(n, 12)).to_vec();
        assert_eq!(steps, [6, 6, 4, 4, 3, 2, 1, 1]);
    }

    #[test]
    fn several_consumers_in_a_replica_need_fewer_replicas() {
        assert_eq!(useful(12, 1), 12);
        assert_eq!(useful(12, 5), 3);
        assert_eq!(useful(1, 4), 1);
    }

    #[test]
    fn nothing_drains_without_throughput() {
        assert_eq!(drain_time(1000, Quantity::whole(0)), None);
        assert_eq!(drain_time(1000, Quantity::whole(500)), Some(Duration::from_secs(2)));
    }
}
