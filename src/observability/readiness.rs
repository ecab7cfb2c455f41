//! Readiness: a set of named gates, all of which must be open. Leadership and the health of brokers are no gates: a
//! standby is ready, and a broker's outage belongs into the status of its Connection.
//!
//! The composition root creates the gates before the probes are served; each gate's owner opens it.

use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

/// All gates of the process.
#[derive(Debug, Clone, Default)]
pub(crate) struct Readiness {
    /// Name → whether it is open. A lock, because gates are opened from many tasks once and read by the probe;
    /// it is held for one look-up.
    gates: Arc<Mutex<BTreeMap<String, bool>>>,
}

/// One thing that must be true before the operator counts as ready.
#[derive(Debug, Clone)]
pub(crate) struct Gate {
    name: String,
    readiness: Readiness,
}

impl Readiness {
    /// Adds a closed gate.
    pub(crate) fn gate(&self, name: impl Into<String>) -> Gate {
        let name = name.into();
        self.lock().insert(name.clone(), false);
        Gate { name, readiness: self.clone() }
    }

    /// Names of the gates that are still closed; `None` if no gate exists yet, which is not ready either.
    pub(crate) fn closed(&self) -> Option<Vec<String>> {
        let gates = self.lock();
        (!gates.is_empty())
            .then(|| gates.iter().filter(|(_, open)| !**open).map(|(name, _)| name.clone()).collect())
    }

    fn lock(&self) -> MutexGuard<'_, BTreeMap<String, bool>> {
        // A map of flags has no state in between, so a panic of another holder does not matter.
        self.gates.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Gate {
    /// Opens the gate for good.
    pub(crate) fn open(&self) {
        if self.readiness.lock().insert(self.name.clone(), true) == Some(false) {
            tracing::info!(gate = self.name, "A readiness gate opened.");
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_is_ready_before_the_first_gate_exists() {
        assert_eq!(Readiness::default().closed(), None);
    }

    #[test]
    fn readiness_lists_the_gates_that_are_closed() {
        let readiness = Readiness::default();
        let (crds, caches) = (readiness.gate("crds"), readiness.gate("caches"));
        assert_eq!(readiness.closed(), Some(vec!["caches".to_owned(), "crds".to_owned()]));
        crds.open();
        assert_eq!(readiness.closed(), Some(vec!["caches".to_owned()]));
        caches.open();
        assert_eq!(readiness.closed(), Some(vec![]));
    }
}
