//! The lag of one partition from its positions. Pure; the sampling loop gathers the positions.
//!
//! Lag is a distance of offsets: in compacted topics, and by one per transaction marker, it counts more than there is to
//! process. Positions that contradict each other are [`Lag::Unknown`], never a zero and never a wrapped number.

use weir_model::{Lag, Offset, UnknownLag, worker_config::StartFrom};

/// What is known of one partition of one group.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Positions {
    /// Last stable offset: where a reader of committed records ends.
    pub(crate) end: Result<Offset, UnknownLag>,
    /// The group's commit; `Ok(None)` if it has none.
    pub(crate) committed: Result<Option<Offset>, UnknownLag>,
    /// The oldest offset that still exists, if it is known.
    pub(crate) start: Option<Offset>,
    /// Where the log ended when the partition was first seen without a commit; matters to `Latest` only.
    pub(crate) baseline: Option<Offset>,
    /// End of the log with open transactions, if it was needed.
    pub(crate) high_watermark: Option<Offset>,
}

/// Records between the group's position and the end of the log.
pub(crate) fn partition_lag(start_from: StartFrom, positions: &Positions) -> Lag {
    let (end, committed) = match (&positions.end, &positions.committed) {
        (Ok(end), Ok(committed)) => (*end, *committed),
        (Err(why), _) | (Ok(_), Err(why)) => return Lag::Unknown(why.clone()),
    };
    let Some(position) = committed.or_else(|| first_position(start_from, positions, end)) else {
        return Lag::Unknown(UnknownLag::NotSampled);
    };
    if is_beyond_end(position, end) {
        // Readers of uncommitted records pass the last stable offset; nobody passes the high watermark.
        return match positions.high_watermark {
            Some(high) if position <= high => Lag::Known(0),
            Some(_) | None => Lag::Unknown(UnknownLag::BeyondEnd),
        };
    }
    // What retention deleted cannot be processed any more.
    let reachable =
        positions.start.filter(|start| *start <= end).map_or(position, |start| position.max(start));
    Lag::Known(end.since(reachable))
}

/// Whether a position contradicts the end of the log, so that the high watermark must be asked for.
pub(crate) fn is_beyond_end(position: Offset, end: Offset) -> bool {
    position > end
}

/// Where a partition without a commit begins.
fn first_position(start_from: StartFrom, positions: &Positions, end: Offset) -> Option<Offset> {
    match start_from {
        StartFrom::Earliest => positions.start,
        StartFrom::Latest => Some(positions.baseline.unwrap_or(end)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn offset(raw: i64) -> Offset {
        Offset::from_kafka(raw).expect("tests use real offsets")
    }

    fn positions(end: i64, committed: Option<i64>, start: Option<i64>) -> Positions {
        Positions {
            end: Ok(offset(end)),
            committed: Ok(committed.map(offset)),
            start: start.map(offset),
            baseline: None,
            high_watermark: None,
        }
    }

    #[test]
    fn every_edge_of_the_matrix_has_its_answer() {
        use StartFrom::{Earliest, Latest};
        let beyond = Lag::Unknown(UnknownLag::BeyondEnd);
        let not_sampled = Lag::Unknown(UnknownLag::NotSampled);
        for (case, start_from, positions, lag) in [
            ("a commit", Earliest, positions(100, Some(40), Some(0)), Lag::Known(60)),
            ("all processed", Latest, positions(100, Some(100), Some(0)), Lag::Known(0)),
            ("an empty log", Earliest, positions(0, None, Some(0)), Lag::Known(0)),
            (
                "no commit, earliest: deleted history does not count",
                Earliest,
                positions(100, None, Some(70)),
                Lag::Known(30),
            ),
            ("no commit, earliest, start not known yet", Earliest, positions(100, None, None), not_sampled),
            (
                "no commit, latest: not one per partition",
                Latest,
                positions(100, None, Some(0)),
                Lag::Known(0),
            ),
            ("retention passed the commit", Earliest, positions(100, Some(10), Some(60)), Lag::Known(40)),
            ("retention deleted everything", Latest, positions(100, Some(10), Some(100)), Lag::Known(0)),
            ("the commit lies beyond the end", Earliest, positions(50, Some(100), Some(0)), beyond.clone()),
            ("beyond the end of a log created anew", Latest, positions(0, Some(1), Some(0)), beyond.clone()),
            (
                "a start of an older log is not believed",
                Latest,
                positions(50, Some(20), Some(900)),
                Lag::Known(30),
            ),
            ("no commit, and the start is of an older log", Earliest, positions(50, None, Some(900)), beyond),
            (
                "largest offsets",
                Earliest,
                positions(i64::MAX, Some(0), Some(0)),
                Lag::Known(i64::MAX.unsigned_abs()),
            ),
        ] {
            assert_eq!(partition_lag(start_from, &positions), lag, "{case}");
        }
    }

    #[test]
    fn records_that_arrive_before_the_first_commit_of_a_latest_group_count() {
        let positions = Positions { baseline: Some(offset(100)), ..positions(130, None, Some(0)) };
        assert_eq!(partition_lag(StartFrom::Latest, &positions), Lag::Known(30));
    }

    #[test]
    fn a_reader_of_uncommitted_records_may_be_ahead_of_the_last_stable_offset() {
        let ahead = Positions { high_watermark: Some(offset(120)), ..positions(100, Some(110), Some(0)) };
        assert_eq!(partition_lag(StartFrom::Earliest, &ahead), Lag::Known(0));
        let lost = Positions { high_watermark: Some(offset(105)), ..ahead };
        assert_eq!(partition_lag(StartFrom::Earliest, &lost), Lag::Unknown(UnknownLag::BeyondEnd));
    }

    #[test]
    fn an_error_is_never_a_zero() {
        let why = || UnknownLag::Unreachable("the leader is down".to_owned());
        let no_end = Positions { end: Err(why()), ..positions(0, Some(5), Some(0)) };
        assert_eq!(partition_lag(StartFrom::Earliest, &no_end), Lag::Unknown(why()));
        let refused = UnknownLag::Unauthorized("no".to_owned());
        let no_commit = Positions { committed: Err(refused.clone()), ..positions(100, None, Some(0)) };
        assert_eq!(partition_lag(StartFrom::Latest, &no_commit), Lag::Unknown(refused));
    }
}
