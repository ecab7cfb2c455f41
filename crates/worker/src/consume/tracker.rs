//! Which received records of one partition are done, and up to where the group may commit. Pure. The io thread
//! owns one per assigned partition.

use std::collections::VecDeque;

use weir_model::Offset;

/// Names a record in its tracker; valid until the tracker is dropped. Ordered like the offsets.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct SlotId(u64);

#[derive(Debug)]
struct Slot {
    offset: Offset,
    done: bool,
}

/// A ring of slots, one per received record and not per offset, so that gaps (compaction, transaction markers)
/// cost nothing.
#[derive(Debug, Default)]
pub(super) struct Tracker {
    slots: VecDeque<Slot>,
    /// Id of the first slot in the ring.
    first: u64,
    /// Right after the last record that left the ring at the front.
    position: Option<Offset>,
}

impl Tracker {
    /// A record was received.
    pub(super) fn push(&mut self, offset: Offset) -> SlotId {
        let id = self.first + length(&self.slots);
        self.slots.push_back(Slot { offset, done: false });
        SlotId(id)
    }

    /// A record is done. Done twice is done once.
    pub(super) fn complete(&mut self, SlotId(id): SlotId) {
        let Some(index) = id.checked_sub(self.first).and_then(|index| usize::try_from(index).ok()) else {
            return;
        };
        if let Some(slot) = self.slots.get_mut(index) {
            slot.done = true;
        }
        while let Some(slot) = self.slots.pop_front_if(|slot| slot.done) {
            self.position = Some(slot.offset.next());
            self.first += 1;
        }
    }

    /// What may be committed: every received record below it is done. `None` until the first is.
    pub(super) fn position(&self) -> Option<Offset> {
        self.position
    }

    /// Received records at or after the position.
    pub(super) fn len(&self) -> usize {
        self.slots.len()
    }
}

fn length(slots: &VecDeque<Slot>) -> u64 {
    u64::try_from(slots.len()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn offset(raw: i64) -> Offset {
        Offset::from_kafka(raw).expect("not negative")
    }

    #[test]
    fn the_position_waits_for_the_first_record_that_is_not_done() {
        let mut tracker = Tracker::default();
        let slots: Vec<_> = [10, 11, 15].map(|o| tracker.push(offset(o))).into();
        assert_eq!(tracker.position(), None);
        tracker.complete(slots[1]);
        assert_eq!((tracker.position(), tracker.len()), (None, 3));
        tracker.complete(slots[0]);
        assert_eq!((tracker.position(), tracker.len()), (Some(offset(12)), 1));
        tracker.complete(slots[0]);
        tracker.complete(slots[2]);
        assert_eq!((tracker.position(), tracker.len()), (Some(offset(16)), 0));
    }

    /// Compares with the obvious model on random arrivals, gaps and completions.
    #[test]
    fn the_ring_agrees_with_a_naive_model() {
        let mut random = 12345_u64;
        let mut next = move |bound: u64| {
            random = random.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            (random >> 33) % bound
        };
        for _ in 0..50 {
            let mut tracker = Tracker::default();
            let mut model: Vec<(Offset, SlotId, bool)> = Vec::new();
            let mut last = 0;
            for _ in 0..400 {
                if next(2) == 0 {
                    last += 1 + i64::try_from(next(3)).expect("small");
                    model.push((offset(last), tracker.push(offset(last)), false));
                } else if !model.is_empty() {
                    let back = usize::try_from(next(20)).expect("small").min(model.len() - 1);
                    let index = model.len() - 1 - back;
                    model[index].2 = true;
                    tracker.complete(model[index].1);
                }
                let done = model.iter().take_while(|(_, _, done)| *done).count();
                let position = done.checked_sub(1).map(|i| model[i].0.next());
                assert_eq!(tracker.position(), position);
                assert_eq!(tracker.len(), model.len() - done);
            }
        }
    }
}
