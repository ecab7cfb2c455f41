//! An exponentially weighted rate in integer arithmetic.

use std::time::Duration;

use weir_model::Quantity;

/// Time constant: after this long without events a rate has fallen to about a third. Short, because what it
/// over-reacts to on the way up is gated by the backlog and on the way down by the window.
const TIME_CONSTANT_MS: u128 = 5_000;

/// A rate in thousandths of a record per second.
#[derive(Debug, Clone, Default)]
pub(crate) struct Rate {
    thousandths: Option<u64>,
}

impl Rate {
    /// Takes `records` that were counted during `elapsed`; the first call seeds the rate.
    pub(crate) fn add(&mut self, records: u64, elapsed: Duration) {
        let Some(instant) = per_second(records, elapsed) else { return };
        let (instant, elapsed) = (i128::from(instant.thousandths()), elapsed.as_millis());
        let Some(previous) = self.thousandths else {
            self.thousandths = u64::try_from(instant).ok();
            return;
        };
        let previous = i128::from(previous);
        let elapsed = i128::try_from(elapsed).unwrap_or(i128::MAX / 2);
        let constant = i128::try_from(TIME_CONSTANT_MS).unwrap_or(i128::MAX);
        let step = (instant - previous).saturating_mul(elapsed) / elapsed.saturating_add(constant);
        // Integer division stops short of the goal; a silent stream must reach zero.
        let next = if step == 0 { instant } else { previous + step };
        self.thousandths = Some(u64::try_from(next).unwrap_or(0));
    }

    /// Forgets everything: the next call of `add` seeds anew.
    pub(crate) fn reset(&mut self) {
        self.thousandths = None;
    }

    /// The rate; `None` before the first sample.
    pub(crate) fn per_second(&self) -> Option<Quantity> {
        self.thousandths.map(Quantity::from_thousandths)
    }
}

/// `records` during `elapsed` as records per second; `None` if less than a millisecond passed.
pub(crate) fn per_second(records: u64, elapsed: Duration) -> Option<Quantity> {
    let thousandths = (u128::from(records) * 1_000_000).checked_div(elapsed.as_millis())?;
    Some(Quantity::from_thousandths(u64::try_from(thousandths).unwrap_or(u64::MAX)))
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    #[test]
    fn a_steady_stream_is_measured_exactly() {
        let mut rate = Rate::default();
        for _ in 0..10 {
            rate.add(500, SECOND);
        }
        assert_eq!(rate.per_second(), Some(Quantity::whole(500)));
    }

    #[test]
    fn a_silent_stream_decays_to_zero() {
        let mut rate = Rate::default();
        rate.add(100_000, SECOND);
        for _ in 0..200 {
            rate.add(0, SECOND);
        }
        assert_eq!(rate.per_second(), Some(Quantity::whole(0)));
    }

    #[test]
    fn no_time_means_no_sample() {
        let mut rate = Rate::default();
        rate.add(500, Duration::ZERO);
        assert_eq!(rate.per_second(), None);
    }

    #[test]
    fn a_step_is_mostly_believed_after_two_time_constants() {
        let mut rate = Rate::default();
        rate.add(0, SECOND);
        for _ in 0..10 {
            rate.add(1000, SECOND);
        }
        let now = rate.per_second().map(Quantity::thousandths);
        assert!(now > Some(800_000) && now < Some(1_000_000), "{now:?}");
    }
}
