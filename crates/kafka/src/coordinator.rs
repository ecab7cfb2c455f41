//! Which broker coordinates a group, found by asking: the brokers that do not say so.
//!
//! librdkafka could look coordinators up itself, but in 2.12.1 a call that ends by timeout before its coordinator is
//! found leaves a freed object behind, and the process aborts when the coordinator is found later (#4605, #5397).
//! Requests to a broker named by its id do not go that way. `cluster` asks; this module only remembers and chooses.

use std::{
    collections::{BTreeMap, BTreeSet, HashMap},
    sync::{Mutex, MutexGuard, PoisonError},
    time::{Duration, Instant},
};

use crate::{
    KafkaError,
    error::code,
    ffi::{code_message, code_name},
};

/// How old the list of brokers may be.
const BROKERS_AGE: Duration = Duration::from_secs(5);
/// A broker that said nothing for so long is silent.
const SILENCE: Duration = Duration::from_secs(1);
/// A silent broker is not asked about strange groups for so long.
const SILENT_FOR: Duration = Duration::from_secs(10);

/// What is known of coordinators. Shared by the clones of a cluster's handle.
///
/// A lock, because every clone reads and writes it for nanoseconds; never held across an await.
#[derive(Default)]
pub(crate) struct Coordinators(Mutex<State>);

#[derive(Default)]
struct State {
    known: HashMap<String, i32>,
    brokers: Option<(BTreeSet<i32>, Instant)>,
    silent: BTreeMap<i32, Instant>,
}

/// The brokers that one search has asked.
#[derive(Default)]
pub(crate) struct Search {
    asked: BTreeSet<i32>,
    last: Option<KafkaError>,
}

impl Search {
    pub(crate) fn refused(&mut self, broker: i32, error: Option<KafkaError>) {
        self.asked.insert(broker);
        self.last = error.or(self.last.take());
    }

    /// Why nobody answered for the group.
    pub(crate) fn refusal(self) -> KafkaError {
        let code = code::COORDINATOR_NOT_AVAILABLE;
        self.last.unwrap_or_else(|| {
            KafkaError::from_code("find the group's coordinator", code, code_name(code), code_message(code))
        })
    }
}

/// What to do next in a search.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Next {
    Ask(i32),
    /// The list of brokers is missing or old.
    Learn,
    /// Every broker was asked.
    Nobody,
}

/// What an answer says about the broker.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Verdict {
    /// The answer stands, be it an error.
    Coordinator,
    /// Another broker must be asked.
    Stranger,
}

impl Coordinators {
    pub(crate) fn next(&self, group: &str, search: &mut Search, now: Instant) -> Next {
        let mut state = self.state();
        if let Some(known) = state.known.get(group).filter(|known| !search.asked.contains(known)) {
            return Next::Ask(*known);
        }
        state.silent.retain(|_, since| now.duration_since(*since) < SILENT_FOR);
        match &state.brokers {
            Some((brokers, at)) if now.duration_since(*at) < BROKERS_AGE => {
                let fresh =
                    |broker: &&i32| !search.asked.contains(broker) && !state.silent.contains_key(broker);
                brokers.iter().find(fresh).map_or(Next::Nobody, |broker| Next::Ask(*broker))
            }
            Some(_) | None => Next::Learn,
        }
    }

    pub(crate) fn learn(&self, brokers: BTreeSet<i32>, now: Instant) {
        self.state().brokers = Some((brokers, now));
    }

    pub(crate) fn judge<T>(
        &self,
        group: &str,
        broker: i32,
        outcome: &Result<T, KafkaError>,
        asked: Instant,
        now: Instant,
    ) -> Verdict {
        let mut state = self.state();
        match outcome {
            Err(error) if error.is_wrong_coordinator() => {
                state.known.remove(group);
                return Verdict::Stranger;
            }
            Err(KafkaError::Timeout { .. } | KafkaError::Fault(_)) => {
                state.known.remove(group);
                if now.duration_since(asked) >= SILENCE {
                    state.silent.insert(broker, now);
                }
            }
            Ok(_) => {
                state.known.insert(group.to_owned(), broker);
                state.silent.remove(&broker);
            }
            // Rights are refused by any broker, and a loading coordinator is still the coordinator.
            Err(KafkaError::Broker { .. } | KafkaError::Closed | KafkaError::Client(_)) => {}
        }
        Verdict::Coordinator
    }

    fn state(&self) -> MutexGuard<'_, State> {
        // Every change is one insertion or removal, so a panic elsewhere leaves nothing half done.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn wrong() -> Result<(), KafkaError> {
        Err(KafkaError::from_code("ask", code::NOT_COORDINATOR, "NOT_COORDINATOR".to_owned(), String::new()))
    }

    fn timeout() -> Result<(), KafkaError> {
        Err(KafkaError::Timeout { operation: "ask", after: Duration::ZERO, fault: None })
    }

    #[test]
    fn brokers_are_asked_in_turn_until_one_coordinates_and_that_one_first_the_next_time() {
        let (coordinators, now) = (Coordinators::default(), Instant::now());
        let mut search = Search::default();
        assert_eq!(coordinators.next("g", &mut search, now), Next::Learn);
        coordinators.learn(BTreeSet::from([1, 2, 3]), now);
        assert_eq!(coordinators.next("g", &mut search, now), Next::Ask(1));
        assert_eq!(coordinators.judge("g", 1, &wrong(), now, now), Verdict::Stranger);
        search.refused(1, wrong().err());
        assert_eq!(coordinators.next("g", &mut search, now), Next::Ask(2));
        assert_eq!(coordinators.judge("g", 2, &Ok(()), now, now), Verdict::Coordinator);
        let later = now + BROKERS_AGE * 2;
        assert_eq!(coordinators.next("g", &mut Search::default(), later), Next::Ask(2));
    }

    #[test]
    fn a_coordinator_that_moved_is_searched_again_and_nobody_is_asked_twice() {
        let (coordinators, now) = (Coordinators::default(), Instant::now());
        coordinators.learn(BTreeSet::from([1, 2]), now);
        coordinators.judge("g", 2, &Ok(()), now, now);
        let mut search = Search::default();
        for broker in [2, 1] {
            assert_eq!(coordinators.next("g", &mut search, now), Next::Ask(broker));
            assert_eq!(coordinators.judge("g", broker, &wrong(), now, now), Verdict::Stranger);
            search.refused(broker, wrong().err());
        }
        assert_eq!(coordinators.next("g", &mut search, now), Next::Nobody);
        assert!(search.refusal().is_wrong_coordinator());
    }

    #[test]
    fn a_broker_that_stays_silent_is_left_alone_for_a_while() {
        let (coordinators, now) = (Coordinators::default(), Instant::now());
        coordinators.judge("g", 1, &Ok(()), now, now);
        assert_eq!(coordinators.judge("g", 1, &timeout(), now, now + SILENCE), Verdict::Coordinator);
        coordinators.learn(BTreeSet::from([1, 2]), now);
        assert_eq!(coordinators.next("g", &mut Search::default(), now), Next::Ask(2));
        let later = now + SILENCE + SILENT_FOR;
        coordinators.learn(BTreeSet::from([1, 2]), later);
        assert_eq!(coordinators.next("g", &mut Search::default(), later), Next::Ask(1));
    }
}
