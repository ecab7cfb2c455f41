//! Counts what arrived, by the sequence numbers in the records and nothing else: a witness that does not trust Weir.
//!
//! No I/O, no clock. The program's request handlers call it.

use std::collections::HashMap;

use serde::{Deserialize, Serialize};

/// Sequence numbers from here on are refused, so that one wrong record cannot make the bitmap eat the memory.
pub(crate) const SEQUENCE_LIMIT: u64 = 1 << 30;

/// The part of a record (`weir_model::worker_config::Encoding::Json`) that is counted.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Record {
    /// Which run wrote it.
    pub(crate) run_id: String,
    /// Its number in that run, from 0.
    pub(crate) sequence: u64,
    /// Its key, if it has one.
    #[serde(default)]
    pub(crate) key: Option<String>,
}

/// What arrived of one run.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Counts {
    /// Records, repetitions included.
    pub(crate) total: u64,
    /// Different sequence numbers.
    pub(crate) distinct: u64,
    /// Records whose sequence number had arrived before.
    pub(crate) duplicated: u64,
    /// Records that came for the first time after a later one of the same key.
    pub(crate) reordered: u64,
    /// The highest sequence number, if any record arrived.
    pub(crate) max_sequence: Option<u64>,
}

/// What arrived, by run.
#[derive(Debug, Default)]
pub(crate) struct Ledger {
    runs: HashMap<String, Run>,
}

#[derive(Debug, Default)]
struct Run {
    counts: Counts,
    seen: Vec<u64>,
    latest_of_key: HashMap<String, u64>,
}

impl Ledger {
    /// Notes one record. The sequence number must be below [`SEQUENCE_LIMIT`].
    pub(crate) fn note(&mut self, record: Record) {
        match self.runs.get_mut(&record.run_id) {
            Some(run) => run.note(record.sequence, record.key),
            None => self.runs.entry(record.run_id).or_default().note(record.sequence, record.key),
        }
    }

    /// What arrived of `run_id`; zeros if nothing did.
    pub(crate) fn counts(&self, run_id: &str) -> Counts {
        self.runs.get(run_id).map(|run| run.counts).unwrap_or_default()
    }

    /// What arrived of all runs together; the highest sequence number is the highest of any run.
    pub(crate) fn all(&self) -> Counts {
        self.runs.values().fold(Counts::default(), |sum, run| Counts {
            total: sum.total + run.counts.total,
            distinct: sum.distinct + run.counts.distinct,
            duplicated: sum.duplicated + run.counts.duplicated,
            reordered: sum.reordered + run.counts.reordered,
            max_sequence: sum.max_sequence.max(run.counts.max_sequence),
        })
    }
}

impl Run {
    fn note(&mut self, sequence: u64, key: Option<String>) {
        self.counts.total += 1;
        if !self.mark(sequence) {
            self.counts.duplicated += 1;
            return;
        }
        self.counts.distinct += 1;
        self.counts.max_sequence = self.counts.max_sequence.max(Some(sequence));
        let Some(key) = key else { return };
        match self.latest_of_key.get_mut(&key) {
            Some(latest) if *latest > sequence => self.counts.reordered += 1,
            Some(latest) => *latest = sequence,
            None => {
                self.latest_of_key.insert(key, sequence);
            }
        }
    }

    /// Sets the bit of `sequence`; false if it was set.
    fn mark(&mut self, sequence: u64) -> bool {
        let word = usize::try_from(sequence / 64).expect("the limit keeps it below 2^24");
        let bit = 1 << (sequence % 64);
        if self.seen.len() <= word {
            self.seen.resize(word + 1, 0);
        }
        let fresh = self.seen[word] & bit == 0;
        self.seen[word] |= bit;
        fresh
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ledger(arrivals: &[(&str, u64, Option<&str>)]) -> Ledger {
        let mut ledger = Ledger::default();
        for (run_id, sequence, key) in arrivals {
            ledger.note(Record {
                run_id: (*run_id).to_owned(),
                sequence: *sequence,
                key: key.map(str::to_owned),
            });
        }
        ledger
    }

    #[test]
    fn a_repeated_sequence_number_is_a_duplicate_and_no_new_record() {
        let counts = ledger(&[("a", 0, None), ("a", 200, None), ("a", 200, None)]).counts("a");
        let expected = Counts { total: 3, distinct: 2, duplicated: 1, reordered: 0, max_sequence: Some(200) };
        assert_eq!(counts, expected);
    }

    #[test]
    fn runs_are_counted_apart_and_can_be_added_up() {
        let ledger = ledger(&[("a", 0, None), ("b", 0, None), ("b", 7, None)]);
        assert_eq!((ledger.counts("a").distinct, ledger.counts("b").distinct), (1, 2));
        assert_eq!(ledger.counts("c"), Counts::default());
        assert_eq!((ledger.all().distinct, ledger.all().max_sequence), (3, Some(7)));
    }

    #[test]
    fn order_is_checked_within_a_key_and_repetitions_do_not_count_against_it() {
        let arrivals = [
            ("a", 1, Some("x")),
            ("a", 0, Some("y")),
            ("a", 3, Some("x")),
            ("a", 1, Some("x")),
            ("a", 2, Some("x")),
        ];
        assert_eq!(ledger(&arrivals).counts("a").reordered, 1);
    }
}
