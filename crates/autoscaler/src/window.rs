//! The largest number of replicas that was wanted during a sliding window, and whether the window is complete.

use std::{collections::VecDeque, time::Duration};

/// Observations further apart than this leave a hole in a window.
pub(crate) const MAX_GAP: Duration = Duration::from_secs(30);

/// A sliding maximum; holds only entries that can still become the maximum.
#[derive(Debug, Clone, Default)]
pub(crate) struct DownWindow {
    covered_since: Option<Duration>,
    last: Option<Duration>,
    maxima: VecDeque<(Duration, u32)>,
    /// Since when the complete window would have allowed a smaller number than the one in force.
    ripe_since: Option<Duration>,
}

impl DownWindow {
    /// Starts over: nothing that was seen so far counts.
    pub(crate) fn restart(&mut self) {
        self.covered_since = None;
        self.last = None;
        self.ripe_since = None;
        self.maxima.clear();
    }

    /// Takes what is wanted at `now`.
    pub(crate) fn push(&mut self, now: Duration, wanted: u32, length: Duration) {
        if self.last.is_some_and(|last| now.saturating_sub(last) > MAX_GAP) {
            self.restart();
        }
        self.covered_since.get_or_insert(now);
        self.last = Some(now);
        while self.maxima.back().is_some_and(|(_, earlier)| *earlier <= wanted) {
            self.maxima.pop_back();
        }
        self.maxima.push_back((now, wanted));
        while self.maxima.front().is_some_and(|(at, _)| now.saturating_sub(*at) > length) {
            self.maxima.pop_front();
        }
    }

    /// The number below `current` to go to now, if the whole window agreed. While the maximum only stands in the older
    /// half of the window it is about to fall, so the move waits for it (half a window at most): one action, not a stair.
    pub(crate) fn smaller(&mut self, current: u32, length: Duration) -> Option<u32> {
        let Some(most) = self.agreed(length).filter(|most| *most < current) else {
            self.ripe_since = None;
            return None;
        };
        let now = self.last?;
        let since = *self.ripe_since.get_or_insert(now);
        let recent = self.maxima.iter().find(|(at, _)| now.saturating_sub(*at) <= length / 2);
        let falling = recent.is_some_and(|(_, recent)| *recent < most);
        (!falling || now.saturating_sub(since) >= length / 2).then_some(most)
    }

    /// The maximum, once known samples cover the whole window up to the last push.
    fn agreed(&self, length: Duration) -> Option<u32> {
        self.remaining(length)
            .is_some_and(|left| left.is_zero())
            .then(|| self.maxima.front())?
            .map(|(_, n)| *n)
    }

    /// How long until the window is covered; `None` before the first push.
    pub(crate) fn remaining(&self, length: Duration) -> Option<Duration> {
        let covered = self.last?.saturating_sub(self.covered_since?);
        Some(length.saturating_sub(covered))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const LENGTH: Duration = Duration::from_secs(60);

    fn at(seconds: u64) -> Duration {
        Duration::from_secs(seconds)
    }

    #[test]
    fn nothing_is_agreed_before_the_window_is_covered() {
        let mut window = DownWindow::default();
        for second in 0..60 {
            window.push(at(second), 3, LENGTH);
            assert_eq!(window.agreed(LENGTH), None, "second {second}");
        }
        window.push(at(60), 3, LENGTH);
        assert_eq!(window.agreed(LENGTH), Some(3));
    }

    #[test]
    fn the_largest_wish_of_the_window_counts_until_it_is_older() {
        let mut window = DownWindow::default();
        for second in 0..=140 {
            window.push(at(second), if second == 70 { 9 } else { 2 }, LENGTH);
            let expected = if second < 60 {
                None
            } else if (70..=130).contains(&second) {
                Some(9)
            } else {
                Some(2)
            };
            assert_eq!(window.agreed(LENGTH), expected, "second {second}");
        }
    }

    #[test]
    fn a_falling_maximum_is_awaited_so_that_one_move_suffices() {
        let mut window = DownWindow::default();
        let moves: Vec<(u64, u32)> = (0..200)
            .filter_map(|second| {
                let wanted = 12_u32.saturating_sub(u32::try_from(second).expect("few seconds")).max(1);
                window.push(at(second), wanted, LENGTH);
                window.smaller(12, LENGTH).map(|n| (second, n))
            })
            .collect();
        assert_eq!(moves.first(), Some(&(71, 1)));
    }

    #[test]
    fn a_maximum_that_falls_for_ever_is_awaited_for_half_a_window() {
        let mut window = DownWindow::default();
        let first = (0..400).find_map(|second| {
            let wanted = 400 - u32::try_from(second).expect("few seconds");
            window.push(at(second), wanted, LENGTH);
            window.smaller(400, LENGTH).map(|n| (second, n))
        });
        assert_eq!(first, Some((91, 400 - 31)));
    }

    #[test]
    fn a_hole_in_the_samples_starts_the_window_over() {
        let mut window = DownWindow::default();
        window.push(at(0), 1, LENGTH);
        window.push(at(61), 1, LENGTH);
        assert_eq!(window.agreed(LENGTH), None);
        assert_eq!(window.remaining(LENGTH), Some(LENGTH));
    }
}
