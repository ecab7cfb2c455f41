//! Order: which records may be processed at the same time. A lane holds records that must be processed one after
//! another; a record without a lane starts at once. Pure. The io thread owns one set per assigned partition.

use std::{
    collections::{HashMap, VecDeque, hash_map::Entry, hash_map::RandomState},
    hash::BuildHasher,
};

use weir_model::worker_config::Order;

/// A lane: the hash of a key. Two keys with one hash share a lane, which costs parallelism and never order.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(super) struct Lane(u64);

/// The lanes of one partition. A lane exists while one of its records is being processed or waits.
#[derive(Debug)]
pub(super) struct Lanes<T> {
    order: Order,
    hasher: RandomState,
    /// Records behind the one that is being processed.
    busy: HashMap<Lane, VecDeque<T>>,
}

impl<T> Lanes<T> {
    pub(super) fn new(order: Order) -> Self {
        Self { order, hasher: RandomState::new(), busy: HashMap::new() }
    }

    /// The lane of a record with this key; `None` if nothing has to wait for it.
    pub(super) fn lane(&self, key: Option<&[u8]>) -> Option<Lane> {
        match self.order {
            Order::Key => key.map(|key| Lane(self.hasher.hash_one(key))),
            Order::Partition => Some(Lane(0)),
            Order::None => None,
        }
    }

    /// Returns the item if it may start now, else keeps it behind the others of its lane.
    pub(super) fn enter(&mut self, lane: Option<Lane>, item: T) -> Option<T> {
        let Some(lane) = lane else { return Some(item) };
        match self.busy.entry(lane) {
            Entry::Vacant(free) => {
                free.insert(VecDeque::new());
                Some(item)
            }
            Entry::Occupied(mut waiting) => {
                waiting.get_mut().push_back(item);
                None
            }
        }
    }

    /// The lane's record is done; returns the next one, which starts now.
    pub(super) fn leave(&mut self, lane: Option<Lane>) -> Option<T> {
        let Entry::Occupied(mut waiting) = self.busy.entry(lane?) else { return None };
        let next = waiting.get_mut().pop_front();
        if next.is_none() {
            waiting.remove();
        }
        next
    }

    /// Forgets what waits and is not worth keeping; lanes in processing stay busy.
    pub(super) fn retain_waiting(&mut self, mut keep: impl FnMut(&T) -> bool) {
        for waiting in self.busy.values_mut() {
            waiting.retain(&mut keep);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn records_of_one_key_go_one_after_another_and_others_pass() {
        let mut lanes = Lanes::new(Order::Key);
        let (a, b) = (lanes.lane(Some(b"a")), lanes.lane(Some(b"b")));
        assert_eq!(lanes.enter(a, 1), Some(1));
        assert_eq!(lanes.enter(a, 2), None);
        assert_eq!(lanes.enter(a, 3), None);
        assert_eq!(lanes.enter(b, 4), Some(4));
        assert_eq!(lanes.leave(a), Some(2));
        assert_eq!(lanes.leave(a), Some(3));
        assert_eq!(lanes.leave(a), None);
        assert_eq!(lanes.enter(a, 5), Some(5), "an empty lane is free again");
        assert_eq!(lanes.leave(b), None);
    }

    #[test]
    fn records_without_a_key_wait_for_nobody() {
        let mut lanes = Lanes::new(Order::Key);
        let none = lanes.lane(None);
        assert_eq!(lanes.enter(none, 1), Some(1));
        assert_eq!(lanes.enter(none, 2), Some(2));
        assert_eq!(lanes.leave(none), None);
        assert!(Lanes::<u8>::new(Order::None).lane(Some(b"a")).is_none());
    }

    #[test]
    fn partition_order_is_a_single_lane() {
        let mut lanes = Lanes::new(Order::Partition);
        let (a, none) = (lanes.lane(Some(b"a")), lanes.lane(None));
        assert_eq!(lanes.enter(a, 1), Some(1));
        assert_eq!(lanes.enter(none, 2), None);
        assert_eq!(lanes.enter(none, 3), None);
        lanes.retain_waiting(|item| *item > 2);
        assert_eq!(lanes.leave(a), Some(3));
        assert_eq!(lanes.leave(a), None);
    }
}
