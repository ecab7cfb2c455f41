//! Reads answers. Every value is copied out; nothing borrowed from librdkafka leaves a function.

use std::collections::BTreeMap;

use rdkafka_sys as sys;
use weir_model::{Offset, TopicPartition};

use super::{Event, code, lent, text};
use crate::{
    KafkaError,
    description::{
        Broker, ClusterDescription, ConfigEntry, ConfigSource, GroupDescription, GroupMember, GroupState,
        PartitionDescription, TopicDescription,
    },
};

/// One result per item of a request that asked for several.
pub(crate) type PerItem<K, V> = BTreeMap<K, Result<V, KafkaError>>;

/// Lends the array of results of an answer of kind `$kind`; empty if the event is of another kind.
macro_rules! results {
    ($event:expr, $result_of:ident, $array_of:ident) => {{
        // SAFETY: the event is valid; a result of another kind is null; the array lives as long as the event.
        unsafe {
            let result = sys::$result_of($event.as_ptr());
            if result.is_null() {
                &[][..]
            } else {
                let mut count = 0;
                let array = sys::$array_of(result, &raw mut count);
                lent(array, count)
            }
        }
    }};
}

impl Event {
    pub(crate) fn cluster(&self) -> Option<ClusterDescription> {
        let nodes =
            results!(self, rd_kafka_event_DescribeCluster_result, rd_kafka_DescribeCluster_result_nodes);
        // SAFETY: the event is valid, and what it lends lives as long as the event; null is handled.
        unsafe {
            let result = sys::rd_kafka_event_DescribeCluster_result(self.as_ptr());
            if result.is_null() {
                return None;
            }
            let controller = sys::rd_kafka_DescribeCluster_result_controller(result);
            let mut brokers: Vec<_> = nodes.iter().map(|node| broker(*node)).collect();
            brokers.sort_by_key(|broker| broker.id);
            Some(ClusterDescription {
                cluster_id: text(sys::rd_kafka_DescribeCluster_result_cluster_id(result)),
                brokers,
                controller: node_id(controller),
            })
        }
    }

    pub(crate) fn topics(&self, operation: &'static str) -> PerItem<String, TopicDescription> {
        let topics =
            results!(self, rd_kafka_event_DescribeTopics_result, rd_kafka_DescribeTopics_result_topics);
        // SAFETY: each pointer is a valid description that lives as long as the event.
        topics.iter().map(|topic| unsafe { topic_description(operation, *topic) }).collect()
    }

    pub(crate) fn topic_configs(&self, operation: &'static str) -> PerItem<String, Vec<ConfigEntry>> {
        let resources =
            results!(self, rd_kafka_event_DescribeConfigs_result, rd_kafka_DescribeConfigs_result_resources);
        // SAFETY: each pointer is a valid resource that lives as long as the event.
        resources.iter().map(|resource| unsafe { topic_config(operation, *resource) }).collect()
    }

    pub(crate) fn created_topic(&self, operation: &'static str) -> Result<(), KafkaError> {
        let topics = results!(self, rd_kafka_event_CreateTopics_result, rd_kafka_CreateTopics_result_topics);
        // SAFETY: each pointer is a valid result that lives as long as the event.
        topics.iter().try_for_each(|topic| unsafe { topic_result(operation, *topic) })
    }

    pub(crate) fn created_partitions(&self, operation: &'static str) -> Result<(), KafkaError> {
        let topics =
            results!(self, rd_kafka_event_CreatePartitions_result, rd_kafka_CreatePartitions_result_topics);
        // SAFETY: as above.
        topics.iter().try_for_each(|topic| unsafe { topic_result(operation, *topic) })
    }

    pub(crate) fn deleted_topic(&self, operation: &'static str) -> Result<(), KafkaError> {
        let topics = results!(self, rd_kafka_event_DeleteTopics_result, rd_kafka_DeleteTopics_result_topics);
        // SAFETY: as above.
        topics.iter().try_for_each(|topic| unsafe { topic_result(operation, *topic) })
    }

    pub(crate) fn altered_config(&self, operation: &'static str) -> Result<(), KafkaError> {
        let resources = results!(
            self,
            rd_kafka_event_IncrementalAlterConfigs_result,
            rd_kafka_IncrementalAlterConfigs_result_resources
        );
        // SAFETY: each pointer is a valid resource that lives as long as the event.
        resources.iter().try_for_each(|resource| unsafe {
            let code = code::rd_kafka_ConfigResource_error(*resource);
            outcome(operation, code, || text(sys::rd_kafka_ConfigResource_error_string(*resource)))
        })
    }

    /// The offset of each partition; `None` where librdkafka gave neither an offset nor an error, which is how it
    /// reports the partitions of a leader that did not answer.
    pub(crate) fn offsets(&self, operation: &'static str) -> PerItem<TopicPartition, Option<Offset>> {
        let infos = results!(self, rd_kafka_event_ListOffsets_result, rd_kafka_ListOffsets_result_infos);
        let mut topics = Interned::default();
        // SAFETY: each pointer is a valid info, and its partition lives as long as the event.
        let read = |info: &*const sys::rd_kafka_ListOffsetsResultInfo_t| unsafe {
            let partition = sys::rd_kafka_ListOffsetsResultInfo_topic_partition(*info);
            topics.position(operation, partition)
        };
        infos.iter().map(read).collect()
    }

    /// The committed offset of each partition that the group knows; `None` where there is none.
    pub(crate) fn group_offsets(&self, operation: &'static str) -> PerItem<TopicPartition, Option<Offset>> {
        let groups = results!(
            self,
            rd_kafka_event_ListConsumerGroupOffsets_result,
            rd_kafka_ListConsumerGroupOffsets_result_groups
        );
        let mut topics = Interned::default();
        let mut offsets = BTreeMap::new();
        for group in groups {
            // SAFETY: the pointer is a valid result whose partitions live as long as the event.
            for partition in unsafe { elements(sys::rd_kafka_group_result_partitions(*group)) } {
                // SAFETY: a reference to a valid element is a valid pointer.
                let (partition, offset) = unsafe { topics.position(operation, partition) };
                offsets.insert(partition, offset);
            }
        }
        offsets
    }

    pub(crate) fn group(&self, operation: &'static str) -> Option<Result<GroupDescription, KafkaError>> {
        let groups = results!(
            self,
            rd_kafka_event_DescribeConsumerGroups_result,
            rd_kafka_DescribeConsumerGroups_result_groups
        );
        // SAFETY: the pointer is a valid description that lives as long as the event.
        groups.first().map(|group| unsafe { group_description(operation, *group) })
    }
}

/// Shares one copy of each topic's name among its partitions.
#[derive(Default)]
struct Interned(Option<std::sync::Arc<str>>);

impl Interned {
    /// Names the partition of a list's element. Elements come grouped by topic, so remembering the last is enough.
    ///
    /// # Safety
    /// `element` points to a valid element of a partition list.
    unsafe fn partition(&mut self, element: *const sys::rd_kafka_topic_partition_t) -> TopicPartition {
        // SAFETY: the element and its name are valid.
        let (name, partition) = unsafe { (text((*element).topic), (*element).partition) };
        let topic = match &self.0 {
            Some(last) if **last == *name => last.clone(),
            Some(_) | None => self.0.insert(name.into()).clone(),
        };
        TopicPartition { topic, partition }
    }

    /// Partition and offset of a list's element.
    ///
    /// # Safety
    /// As `partition`.
    unsafe fn position(
        &mut self,
        operation: &'static str,
        element: *const sys::rd_kafka_topic_partition_t,
    ) -> (TopicPartition, Result<Option<Offset>, KafkaError>) {
        // SAFETY: the element is valid.
        let (code, offset) = unsafe { (code::of_partition(element), (*element).offset) };
        let offset = outcome(operation, code, String::new).map(|()| Offset::from_kafka(offset));
        // SAFETY: as above.
        (unsafe { self.partition(element) }, offset)
    }
}

/// Lends the elements of a partition list.
///
/// # Safety
/// `list` is null or a valid list that lives for `'a`.
unsafe fn elements<'a>(
    list: *const sys::rd_kafka_topic_partition_list_t,
) -> impl Iterator<Item = *const sys::rd_kafka_topic_partition_t> + 'a {
    // SAFETY: not followed if null; `cnt` elements lie one after another.
    let (first, count) = match unsafe { list.as_ref() } {
        Some(list) => (list.elems.cast_const(), usize::try_from(list.cnt).unwrap_or(0)),
        None => (std::ptr::null(), 0),
    };
    // `wrapping_add` stays inside the array, because the index stays below its length.
    (0..count).map(move |index| first.wrapping_add(index))
}

/// Turns a code and the text that came with it into a result; an empty text is replaced by librdkafka's own.
fn outcome(operation: &'static str, code: i32, words: impl FnOnce() -> String) -> Result<(), KafkaError> {
    if code == 0 {
        return Ok(());
    }
    let words = words();
    let message = if words.is_empty() { code::message(code) } else { words };
    Err(KafkaError::from_code(operation, code, code::name(code), message))
}

/// # Safety
/// `result` is valid.
unsafe fn topic_result(
    operation: &'static str,
    result: *const sys::rd_kafka_topic_result_t,
) -> Result<(), KafkaError> {
    // SAFETY: the result is valid, and its text lives as long.
    unsafe {
        let code = code::rd_kafka_topic_result_error(result);
        outcome(operation, code, || text(sys::rd_kafka_topic_result_error_string(result)))
    }
}

/// # Safety
/// `error` is null (no error) or valid.
unsafe fn error_object(
    operation: &'static str,
    error: *const sys::rd_kafka_error_t,
) -> Result<(), KafkaError> {
    if error.is_null() {
        return Ok(());
    }
    // SAFETY: the error is valid, and its text lives as long.
    unsafe {
        let code = code::rd_kafka_error_code(error);
        outcome(operation, code, || text(sys::rd_kafka_error_string(error)))
    }
}

/// # Safety
/// `node` is null or valid.
unsafe fn node_id(node: *const sys::rd_kafka_Node_t) -> Option<i32> {
    if node.is_null() {
        return None;
    }
    // SAFETY: the node is valid.
    let id = unsafe { sys::rd_kafka_Node_id(node) };
    (id >= 0).then_some(id)
}

/// # Safety
/// `node` is valid.
unsafe fn broker(node: *const sys::rd_kafka_Node_t) -> Broker {
    // SAFETY: the node is valid, and its text lives as long.
    unsafe {
        Broker {
            id: sys::rd_kafka_Node_id(node),
            host: text(sys::rd_kafka_Node_host(node)),
            port: sys::rd_kafka_Node_port(node),
        }
    }
}

/// # Safety
/// `topic` is valid.
unsafe fn topic_description(
    operation: &'static str,
    topic: *const sys::rd_kafka_TopicDescription_t,
) -> (String, Result<TopicDescription, KafkaError>) {
    // SAFETY: the description is valid, and what it lends lives as long.
    unsafe {
        let name = text(sys::rd_kafka_TopicDescription_name(topic));
        if let Err(error) = error_object(operation, sys::rd_kafka_TopicDescription_error(topic)) {
            return (name, Err(error));
        }
        let id = sys::rd_kafka_TopicDescription_topic_id(topic);
        let mut count = 0;
        let partitions = sys::rd_kafka_TopicDescription_partitions(topic, &raw mut count);
        let mut partitions: Vec<_> =
            lent(partitions, count).iter().map(|partition| partition_description(*partition)).collect();
        partitions.sort_by_key(|partition| partition.id);
        let description = TopicDescription {
            name: name.clone(),
            id: topic_id(
                sys::rd_kafka_Uuid_most_significant_bits(id),
                sys::rd_kafka_Uuid_least_significant_bits(id),
            ),
            internal: sys::rd_kafka_TopicDescription_is_internal(topic) != 0,
            partitions,
        };
        (name, Ok(description))
    }
}

/// # Safety
/// `partition` is valid.
unsafe fn partition_description(
    partition: *const sys::rd_kafka_TopicPartitionInfo_t,
) -> PartitionDescription {
    // SAFETY: the partition is valid, and what it lends lives as long.
    unsafe {
        let ids = |nodes: &[*const sys::rd_kafka_Node_t]| {
            nodes.iter().filter_map(|node| node_id(*node)).collect::<Vec<_>>()
        };
        let mut count = 0;
        let replicas = sys::rd_kafka_TopicPartitionInfo_replicas(partition, &raw mut count);
        let replicas = ids(lent(replicas, count));
        let isr = sys::rd_kafka_TopicPartitionInfo_isr(partition, &raw mut count);
        let isr = ids(lent(isr, count));
        PartitionDescription {
            id: sys::rd_kafka_TopicPartitionInfo_partition(partition),
            leader: node_id(sys::rd_kafka_TopicPartitionInfo_leader(partition)),
            replicas,
            isr,
        }
    }
}

/// # Safety
/// `resource` is valid.
unsafe fn topic_config(
    operation: &'static str,
    resource: *const sys::rd_kafka_ConfigResource_t,
) -> (String, Result<Vec<ConfigEntry>, KafkaError>) {
    // SAFETY: the resource is valid, and what it lends lives as long.
    unsafe {
        let name = text(sys::rd_kafka_ConfigResource_name(resource));
        let code = code::rd_kafka_ConfigResource_error(resource);
        let words = || text(sys::rd_kafka_ConfigResource_error_string(resource));
        if let Err(error) = outcome(operation, code, words) {
            return (name, Err(error));
        }
        let mut count = 0;
        let entries = sys::rd_kafka_ConfigResource_configs(resource, &raw mut count);
        let mut entries: Vec<_> = lent(entries, count).iter().map(|entry| config_entry(*entry)).collect();
        entries.sort_by(|one, other| one.name.cmp(&other.name));
        (name, Ok(entries))
    }
}

/// # Safety
/// `entry` is valid.
unsafe fn config_entry(entry: *const sys::rd_kafka_ConfigEntry_t) -> ConfigEntry {
    // SAFETY: the entry is valid, and its texts live as long.
    unsafe {
        let value = sys::rd_kafka_ConfigEntry_value(entry);
        ConfigEntry {
            name: text(sys::rd_kafka_ConfigEntry_name(entry)),
            value: (!value.is_null()).then(|| text(value)),
            // Numbers of rd_kafka_ConfigSource_t.
            source: match code::rd_kafka_ConfigEntry_source(entry) {
                1 => ConfigSource::DynamicTopic,
                2 => ConfigSource::DynamicBroker,
                3 => ConfigSource::DynamicDefaultBroker,
                4 => ConfigSource::StaticBroker,
                5 => ConfigSource::Default,
                _ => ConfigSource::Other,
            },
            read_only: sys::rd_kafka_ConfigEntry_is_read_only(entry) == 1,
            sensitive: sys::rd_kafka_ConfigEntry_is_sensitive(entry) == 1,
        }
    }
}

/// # Safety
/// `group` is valid.
unsafe fn group_description(
    operation: &'static str,
    group: *const sys::rd_kafka_ConsumerGroupDescription_t,
) -> Result<GroupDescription, KafkaError> {
    // SAFETY: the description is valid, and what it lends lives as long; the index stays below the count.
    unsafe {
        error_object(operation, sys::rd_kafka_ConsumerGroupDescription_error(group))?;
        let members = (0..sys::rd_kafka_ConsumerGroupDescription_member_count(group))
            .map(|index| group_member(sys::rd_kafka_ConsumerGroupDescription_member(group, index)))
            .collect();
        Ok(GroupDescription {
            // Numbers of rd_kafka_consumer_group_state_t.
            state: match code::rd_kafka_ConsumerGroupDescription_state(group) {
                1 => GroupState::PreparingRebalance,
                2 => GroupState::CompletingRebalance,
                3 => GroupState::Stable,
                4 => GroupState::Dead,
                5 => GroupState::Empty,
                _ => GroupState::Unknown,
            },
            assignor: text(sys::rd_kafka_ConsumerGroupDescription_partition_assignor(group)),
            members,
        })
    }
}

/// # Safety
/// `member` is valid.
unsafe fn group_member(member: *const sys::rd_kafka_MemberDescription_t) -> GroupMember {
    // SAFETY: the member is valid, and what it lends lives as long; a missing assignment is null.
    unsafe {
        let assignment = sys::rd_kafka_MemberDescription_assignment(member);
        let list = if assignment.is_null() {
            std::ptr::null()
        } else {
            sys::rd_kafka_MemberAssignment_partitions(assignment)
        };
        let mut topics = Interned::default();
        GroupMember {
            client_id: text(sys::rd_kafka_MemberDescription_client_id(member)),
            member_id: text(sys::rd_kafka_MemberDescription_consumer_id(member)),
            host: text(sys::rd_kafka_MemberDescription_host(member)),
            partitions: elements(list).map(|element| topics.partition(element)).collect(),
        }
    }
}

/// A topic's id as Kafka's `Uuid.toString` prints it: URL-safe base64 of 16 bytes, without padding. (librdkafka's own
/// function uses the other alphabet.)
fn topic_id(most_significant: i64, least_significant: i64) -> String {
    const ALPHABET: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";
    let mut bits = [most_significant.to_be_bytes(), least_significant.to_be_bytes()].concat();
    bits.extend_from_slice(&[0, 0]); // 18 bytes are 24 digits, of which the first 22 matter
    let digits = bits.chunks_exact(3).flat_map(|chunk| {
        let group = u32::from(chunk[0]) << 16 | u32::from(chunk[1]) << 8 | u32::from(chunk[2]);
        [18, 12, 6, 0].map(|shift| char::from(ALPHABET[usize::from((group >> shift & 63).to_le_bytes()[0])]))
    });
    digits.take(22).collect()
}

#[cfg(test)]
mod tests {
    use super::topic_id;

    #[test]
    fn topic_ids_print_as_kafka_prints_them() {
        // From Kafka's own UuidTest and constants: Uuid.ZERO_UUID, Uuid.METADATA_TOPIC_ID (0, 1).
        assert_eq!(topic_id(0, 0), "AAAAAAAAAAAAAAAAAAAAAA");
        assert_eq!(topic_id(0, 1), "AAAAAAAAAAAAAAAAAAAAAQ");
        assert_eq!(topic_id(-1, -1), "_____________________w");
    }
}
