//! The last fault of each cause, as sentences for `/status` and the log. Decides nothing: who reports a fault also
//! says when it is over. Used by both rooms.

use std::{
    sync::{Mutex, MutexGuard, PoisonError},
    time::{Duration, Instant},
};

/// What a fault concerns, the most basic first: that is also the order in which `/status` prefers them.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Cause {
    /// Brokers, TLS, credentials.
    Connection,
    /// The topics: missing, not permitted.
    Topic,
    /// Committing positions.
    Commit,
    /// The handler of consumed records.
    Handler,
    /// A record that the brokers refused.
    Delivery,
}

const CAUSES: usize = 5;
/// The same cause is logged at most this often, however often it is reported.
const LOG_INTERVAL: Duration = Duration::from_secs(1);

#[derive(Default)]
struct Slot {
    sentence: String,
    logged: Option<Instant>,
}

/// The faults that exist now. The lock protects the sentences; it is held for a copy and never while calling out,
/// and reports are rare, so a channel would only add a thread.
#[derive(Default)]
pub(crate) struct Faults {
    slots: Mutex<[Slot; CAUSES]>,
}

impl Faults {
    /// Reports a fault, a full sentence. A repeated sentence is not logged again.
    pub(crate) fn set(&self, cause: Cause, sentence: &str) {
        let mut slots = self.lock();
        let slot = &mut slots[cause as usize];
        if slot.sentence == sentence {
            return;
        }
        sentence.clone_into(&mut slot.sentence);
        let now = Instant::now();
        if slot.logged.is_none_or(|last| now.duration_since(last) >= LOG_INTERVAL) {
            slot.logged = Some(now);
            drop(slots);
            tracing::warn!("{sentence}");
        }
    }

    /// The cause is gone.
    pub(crate) fn clear(&self, cause: Cause) {
        let mut slots = self.lock();
        if !slots[cause as usize].sentence.is_empty() {
            slots[cause as usize].sentence.clear();
            drop(slots);
            tracing::info!("The fault of cause {cause:?} is over.");
        }
    }

    /// The most basic fault that exists now; empty when all is well.
    pub(crate) fn current(&self) -> String {
        self.lock().iter().map(|slot| &slot.sentence).find(|s| !s.is_empty()).cloned().unwrap_or_default()
    }

    fn lock(&self) -> MutexGuard<'_, [Slot; CAUSES]> {
        // A panic elsewhere leaves at worst half a sentence behind.
        self.slots.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_most_basic_fault_is_shown_until_it_is_over() {
        let faults = Faults::default();
        assert_eq!(faults.current(), "");
        faults.set(Cause::Handler, "The handler is away.");
        faults.set(Cause::Connection, "The brokers are away.");
        assert_eq!(faults.current(), "The brokers are away.");
        faults.clear(Cause::Connection);
        assert_eq!(faults.current(), "The handler is away.");
        faults.clear(Cause::Handler);
        assert_eq!(faults.current(), "");
    }
}
