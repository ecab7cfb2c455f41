//! Sends administrative calls. Each returns at once; the answer is an [`super::Event`] on the handle's queue with the
//! number that the options carry. librdkafka copies every argument before it returns.

use std::{
    collections::{BTreeMap, BTreeSet},
    ffi::{CString, c_char},
    ptr,
};

use rdkafka_sys as sys;
use weir_model::TopicPartition;

use super::{ErrorText, Native, Options, Owned, c_string, refused};
use crate::{
    KafkaError,
    description::{NewTopic, OffsetSpec},
};

impl Native {
    pub(crate) fn describe_cluster(&self, options: &Options) {
        // SAFETY: handle, options and queue are valid.
        unsafe { sys::rd_kafka_DescribeCluster(self.client(), options.as_ptr(), self.queue()) }
    }

    pub(crate) fn describe_topics(
        &self,
        names: &BTreeSet<&str>,
        options: &Options,
    ) -> Result<(), KafkaError> {
        let names =
            names.iter().map(|name| c_string("a topic's name", name)).collect::<Result<Vec<_>, _>>()?;
        let mut pointers: Vec<*const c_char> = names.iter().map(|name| name.as_ptr()).collect();
        // SAFETY: the array and its strings live until after the call, which copies them; the new object is ours.
        let topics = unsafe {
            let pointer = sys::rd_kafka_TopicCollection_of_topic_names(pointers.as_mut_ptr(), pointers.len());
            Owned::new(pointer, sys::rd_kafka_TopicCollection_destroy)
        }
        .ok_or_else(|| refused("the names of topics"))?;
        // SAFETY: all four are valid.
        unsafe {
            sys::rd_kafka_DescribeTopics(self.client(), topics.as_ptr(), options.as_ptr(), self.queue());
        }
        Ok(())
    }

    pub(crate) fn describe_topic_configs(
        &self,
        names: &BTreeSet<&str>,
        options: &Options,
    ) -> Result<(), KafkaError> {
        let resources = names.iter().map(|name| topic_resource(name)).collect::<Result<Vec<_>, _>>()?;
        let mut pointers: Vec<_> = resources.iter().map(Owned::as_ptr).collect();
        // SAFETY: handle, options and queue are valid; the array and its objects live until after the call.
        unsafe {
            sys::rd_kafka_DescribeConfigs(
                self.client(),
                pointers.as_mut_ptr(),
                pointers.len(),
                options.as_ptr(),
                self.queue(),
            );
        }
        Ok(())
    }

    pub(crate) fn create_topic(&self, topic: &NewTopic, options: &Options) -> Result<(), KafkaError> {
        let name = c_string("the topic's name", &topic.name)?;
        let mut error = ErrorText::new();
        // SAFETY: name and buffer are valid; the new object is ours. −1 means the brokers' default.
        let new_topic = unsafe {
            let pointer = sys::rd_kafka_NewTopic_new(
                name.as_ptr(),
                topic.partitions.unwrap_or(-1),
                topic.replication_factor.unwrap_or(-1),
                error.as_mut_ptr(),
                error.len(),
            );
            Owned::new(pointer, sys::rd_kafka_NewTopic_destroy)
        }
        .ok_or_else(|| KafkaError::Client(error.text()))?;
        for (key, value) in &topic.config {
            let (key, value) =
                (c_string("a configuration key", key)?, c_string("a configuration value", value)?);
            // SAFETY: topic and strings are valid; the strings are copied. It always accepts (rdkafka.h).
            unsafe { sys::rd_kafka_NewTopic_set_config(new_topic.as_ptr(), key.as_ptr(), value.as_ptr()) };
        }
        let mut pointer = new_topic.as_ptr();
        // SAFETY: everything is valid, and the array of one lives until after the call.
        unsafe {
            sys::rd_kafka_CreateTopics(self.client(), &raw mut pointer, 1, options.as_ptr(), self.queue());
        }
        Ok(())
    }

    pub(crate) fn create_partitions(
        &self,
        topic: &str,
        new_total: usize,
        options: &Options,
    ) -> Result<(), KafkaError> {
        let name = c_string("the topic's name", topic)?;
        let mut error = ErrorText::new();
        // SAFETY: name and buffer are valid; the new object is ours.
        let partitions = unsafe {
            let pointer =
                sys::rd_kafka_NewPartitions_new(name.as_ptr(), new_total, error.as_mut_ptr(), error.len());
            Owned::new(pointer, sys::rd_kafka_NewPartitions_destroy)
        }
        .ok_or_else(|| KafkaError::Client(error.text()))?;
        let mut pointer = partitions.as_ptr();
        // SAFETY: everything is valid, and the array of one lives until after the call.
        unsafe {
            sys::rd_kafka_CreatePartitions(
                self.client(),
                &raw mut pointer,
                1,
                options.as_ptr(),
                self.queue(),
            );
        }
        Ok(())
    }

    pub(crate) fn alter_topic_config(
        &self,
        topic: &str,
        set: &BTreeMap<String, String>,
        delete: &BTreeSet<String>,
        options: &Options,
    ) -> Result<(), KafkaError> {
        let resource = topic_resource(topic)?;
        for (key, value) in set {
            let value = c_string("a configuration value", value)?;
            add_change(
                &resource,
                key,
                sys::rd_kafka_AlterConfigOpType_t::RD_KAFKA_ALTER_CONFIG_OP_TYPE_SET,
                Some(&value),
            )?;
        }
        for key in delete {
            add_change(
                &resource,
                key,
                sys::rd_kafka_AlterConfigOpType_t::RD_KAFKA_ALTER_CONFIG_OP_TYPE_DELETE,
                None,
            )?;
        }
        let mut pointer = resource.as_ptr();
        // SAFETY: everything is valid, and the array of one lives until after the call.
        unsafe {
            sys::rd_kafka_IncrementalAlterConfigs(
                self.client(),
                &raw mut pointer,
                1,
                options.as_ptr(),
                self.queue(),
            );
        }
        Ok(())
    }

    pub(crate) fn delete_topic(&self, topic: &str, options: &Options) -> Result<(), KafkaError> {
        let name = c_string("the topic's name", topic)?;
        // SAFETY: the name is valid and copied; the new object is ours.
        let topic = unsafe {
            Owned::new(sys::rd_kafka_DeleteTopic_new(name.as_ptr()), sys::rd_kafka_DeleteTopic_destroy)
        }
        .ok_or_else(|| refused("the topic's name"))?;
        let mut pointer = topic.as_ptr();
        // SAFETY: everything is valid, and the array of one lives until after the call.
        unsafe {
            sys::rd_kafka_DeleteTopics(self.client(), &raw mut pointer, 1, options.as_ptr(), self.queue());
        }
        Ok(())
    }

    pub(crate) fn list_offsets(
        &self,
        partitions: &[TopicPartition],
        spec: OffsetSpec,
        options: &Options,
    ) -> Result<(), KafkaError> {
        let spec = match spec {
            OffsetSpec::Earliest => sys::rd_kafka_OffsetSpec_t::RD_KAFKA_OFFSET_SPEC_EARLIEST,
            OffsetSpec::Latest => sys::rd_kafka_OffsetSpec_t::RD_KAFKA_OFFSET_SPEC_LATEST,
        };
        let capacity = i32::try_from(partitions.len()).map_err(|_| refused("so many partitions"))?;
        // SAFETY: the new list is ours.
        let list = unsafe {
            Owned::new(
                sys::rd_kafka_topic_partition_list_new(capacity),
                sys::rd_kafka_topic_partition_list_destroy,
            )
        }
        .ok_or_else(|| refused("a list of partitions"))?;
        for partition in partitions {
            let topic = c_string("a topic's name", &partition.topic)?;
            // SAFETY: list and name are valid, the name is copied; the returned element is valid until the next call
            // on the list, and only its own field is written.
            unsafe {
                let element = sys::rd_kafka_topic_partition_list_add(
                    list.as_ptr(),
                    topic.as_ptr(),
                    partition.partition,
                );
                (*element).offset = i64::from(spec as i32);
            }
        }
        // SAFETY: all four are valid.
        unsafe {
            sys::rd_kafka_ListOffsets(self.client(), list.as_ptr(), options.as_ptr(), self.queue());
        }
        Ok(())
    }

    pub(crate) fn group_offsets(&self, group: &str, options: &Options) -> Result<(), KafkaError> {
        let group = c_string("the group's id", group)?;
        // SAFETY: the id is valid and copied; null asks for every partition; the new object is ours.
        let request = unsafe {
            Owned::new(
                sys::rd_kafka_ListConsumerGroupOffsets_new(group.as_ptr(), ptr::null()),
                sys::rd_kafka_ListConsumerGroupOffsets_destroy,
            )
        }
        .ok_or_else(|| refused("the group's id"))?;
        let mut pointer = request.as_ptr();
        // SAFETY: everything is valid, and the array of one lives until after the call.
        unsafe {
            sys::rd_kafka_ListConsumerGroupOffsets(
                self.client(),
                &raw mut pointer,
                1,
                options.as_ptr(),
                self.queue(),
            );
        }
        Ok(())
    }

    pub(crate) fn describe_group(&self, group: &str, options: &Options) -> Result<(), KafkaError> {
        let group = c_string("the group's id", group)?;
        let mut pointer = group.as_ptr();
        // SAFETY: everything is valid, and the array of one lives until after the call.
        unsafe {
            sys::rd_kafka_DescribeConsumerGroups(
                self.client(),
                &raw mut pointer,
                1,
                options.as_ptr(),
                self.queue(),
            );
        }
        Ok(())
    }
}

type Resource = Owned<sys::rd_kafka_ConfigResource_t>;

fn topic_resource(topic: &str) -> Result<Resource, KafkaError> {
    let name = c_string("the topic's name", topic)?;
    // SAFETY: the name is valid and copied; the new object is ours.
    unsafe {
        let pointer = sys::rd_kafka_ConfigResource_new(
            sys::rd_kafka_ResourceType_t::RD_KAFKA_RESOURCE_TOPIC,
            name.as_ptr(),
        );
        Owned::new(pointer, sys::rd_kafka_ConfigResource_destroy)
    }
    .ok_or_else(|| refused("the topic's name"))
}

fn add_change(
    resource: &Resource,
    key: &str,
    change: sys::rd_kafka_AlterConfigOpType_t,
    value: Option<&CString>,
) -> Result<(), KafkaError> {
    let name = c_string("a configuration key", key)?;
    let value = value.map_or(ptr::null(), |value| value.as_ptr());
    // SAFETY: the resource and the strings are valid (null stands for no value); an error object is ours to free.
    let error = unsafe {
        let pointer = sys::rd_kafka_ConfigResource_add_incremental_config(
            resource.as_ptr(),
            name.as_ptr(),
            change,
            value,
        );
        Owned::new(pointer, sys::rd_kafka_error_destroy)
    };
    match error {
        None => Ok(()),
        // SAFETY: the error is valid while it is owned here.
        Some(error) => {
            Err(KafkaError::Client(unsafe { super::text(sys::rd_kafka_error_string(error.as_ptr())) }))
        }
    }
}
