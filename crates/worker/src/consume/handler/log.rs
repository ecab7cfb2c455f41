//! The handler that writes one log line per record: topic, partition, offset, key and value.

use std::borrow::Cow;

use crate::consume::record::Record;

/// Bytes of a key or value that a line shows.
const SHOWN: usize = 1024;

pub(super) fn handle(record: &Record) {
    tracing::info!(
        topic = &*record.partition.topic,
        partition = record.partition.partition,
        offset = record.offset.to_kafka(),
        key = record.key().map(shown).as_deref(),
        value = record.value().map(shown).as_deref(),
        "record"
    );
}

/// The beginning as text; bytes that are not UTF-8 become replacement characters.
fn shown(bytes: &[u8]) -> Cow<'_, str> {
    String::from_utf8_lossy(&bytes[..bytes.len().min(SHOWN)])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_shows_at_most_one_kibibyte_and_survives_any_bytes() {
        assert_eq!(shown(&[b'a'; 5000]).len(), SHOWN);
        assert_eq!(shown(b"a\xffb"), "a\u{fffd}b");
    }
}
