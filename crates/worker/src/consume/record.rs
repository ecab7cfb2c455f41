//! A consumed record, copied out of the client's memory so that a slow handler does not pin a whole fetch response.
//! Headers are not read yet: the wrapper panics on names that are not UTF-8.

use std::{ops::Range, sync::Arc};

use rdkafka::{Message, message::BorrowedMessage};
use weir_model::{Offset, TopicPartition};

/// One record. Key and value share one allocation.
#[derive(Debug, Clone)]
pub(crate) struct Record {
    pub(crate) partition: Arc<TopicPartition>,
    pub(crate) offset: Offset,
    /// Milliseconds since 1970, if the record has a timestamp.
    pub(crate) timestamp: Option<i64>,
    data: Box<[u8]>,
    key: Option<Range<usize>>,
    value: Option<Range<usize>>,
}

impl Record {
    /// Copies a record that the client received; `None` for an offset that Kafka cannot have.
    pub(super) fn copy(partition: &Arc<TopicPartition>, message: &BorrowedMessage<'_>) -> Option<Self> {
        Some(Self::new(
            partition,
            Offset::from_kafka(message.offset())?,
            message.timestamp().to_millis(),
            message.key(),
            message.payload(),
        ))
    }

    pub(super) fn new(
        partition: &Arc<TopicPartition>,
        offset: Offset,
        timestamp: Option<i64>,
        key: Option<&[u8]>,
        value: Option<&[u8]>,
    ) -> Self {
        let mut data = Vec::with_capacity(key.map_or(0, <[u8]>::len) + value.map_or(0, <[u8]>::len));
        let mut append = |part: &[u8]| {
            let start = data.len();
            data.extend_from_slice(part);
            start..data.len()
        };
        let key = key.map(&mut append);
        let value = value.map(&mut append);
        Self {
            partition: Arc::clone(partition),
            offset,
            timestamp,
            data: data.into_boxed_slice(),
            key,
            value,
        }
    }

    pub(crate) fn key(&self) -> Option<&[u8]> {
        self.key.clone().map(|range| &self.data[range])
    }

    /// `None` is a tombstone.
    pub(crate) fn value(&self) -> Option<&[u8]> {
        self.value.clone().map(|range| &self.data[range])
    }
}
