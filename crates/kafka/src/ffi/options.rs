//! Options of one administrative call: its number, its time and its flags.

use std::{ptr, time::Duration};

use rdkafka_sys as sys;
use sys::rd_kafka_admin_op_t as op;
use weir_model::worker_config::Isolation;

use super::{ErrorText, Native, Owned};
use crate::KafkaError;

/// Which call the options are for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum AdminCall {
    DescribeCluster,
    DescribeTopics,
    DescribeConfigs,
    CreateTopic {
        validate_only: bool,
    },
    CreatePartitions {
        validate_only: bool,
    },
    AlterConfig {
        validate_only: bool,
    },
    DeleteTopic,
    ListOffsets(Isolation),
    /// Of the group's coordinator, by the broker's id. Never without it: see `coordinator`.
    GroupOffsets {
        coordinator: i32,
    },
    /// As `GroupOffsets`.
    DescribeGroup {
        coordinator: i32,
    },
}

impl AdminCall {
    /// What the call does, to follow "failed to".
    pub(crate) fn operation(self) -> &'static str {
        match self {
            Self::DescribeCluster => "describe the cluster",
            Self::DescribeTopics => "describe topics",
            Self::DescribeConfigs => "describe the configuration of topics",
            Self::CreateTopic { .. } => "create the topic",
            Self::CreatePartitions { .. } => "add partitions to the topic",
            Self::AlterConfig { .. } => "change the topic's configuration",
            Self::DeleteTopic => "delete the topic",
            Self::ListOffsets(_) => "list offsets",
            Self::GroupOffsets { .. } => "read the group's committed offsets",
            Self::DescribeGroup { .. } => "describe the group",
        }
    }

    fn native(self) -> op {
        match self {
            Self::DescribeCluster => op::RD_KAFKA_ADMIN_OP_DESCRIBECLUSTER,
            Self::DescribeTopics => op::RD_KAFKA_ADMIN_OP_DESCRIBETOPICS,
            Self::DescribeConfigs => op::RD_KAFKA_ADMIN_OP_DESCRIBECONFIGS,
            Self::CreateTopic { .. } => op::RD_KAFKA_ADMIN_OP_CREATETOPICS,
            Self::CreatePartitions { .. } => op::RD_KAFKA_ADMIN_OP_CREATEPARTITIONS,
            Self::AlterConfig { .. } => op::RD_KAFKA_ADMIN_OP_INCREMENTALALTERCONFIGS,
            Self::DeleteTopic => op::RD_KAFKA_ADMIN_OP_DELETETOPICS,
            Self::ListOffsets(_) => op::RD_KAFKA_ADMIN_OP_LISTOFFSETS,
            Self::GroupOffsets { .. } => op::RD_KAFKA_ADMIN_OP_LISTCONSUMERGROUPOFFSETS,
            Self::DescribeGroup { .. } => op::RD_KAFKA_ADMIN_OP_DESCRIBECONSUMERGROUPS,
        }
    }

    /// Whether brokers may take time to carry the call out, and must be told how much.
    fn has_effect(self) -> bool {
        match self {
            Self::CreateTopic { .. } | Self::CreatePartitions { .. } | Self::DeleteTopic => true,
            Self::DescribeCluster
            | Self::DescribeTopics
            | Self::DescribeConfigs
            | Self::AlterConfig { .. }
            | Self::ListOffsets(_)
            | Self::GroupOffsets { .. }
            | Self::DescribeGroup { .. } => false,
        }
    }
}

/// Owner of the options of one call.
pub(crate) struct Options(Owned<sys::rd_kafka_AdminOptions_t>);

impl Options {
    /// Prepares call number `call`, which librdkafka ends after `timeout`.
    pub(crate) fn new(
        native: &Native,
        kind: AdminCall,
        call: usize,
        timeout: Duration,
    ) -> Result<Self, KafkaError> {
        // SAFETY: the handle is valid; the new object is ours.
        let options = unsafe {
            let pointer = sys::rd_kafka_AdminOptions_new(native.client(), kind.native());
            Owned::new(pointer, sys::rd_kafka_AdminOptions_destroy)
        };
        let options = Self(options.ok_or_else(|| super::refused("the options of a call"))?);
        options.set_times(kind, timeout);
        match kind {
            AdminCall::CreateTopic { validate_only }
            | AdminCall::CreatePartitions { validate_only }
            | AdminCall::AlterConfig { validate_only } => options.set_validate_only(validate_only)?,
            AdminCall::ListOffsets(isolation) => options.set_isolation(isolation),
            AdminCall::GroupOffsets { coordinator } | AdminCall::DescribeGroup { coordinator } => {
                options.set_broker(coordinator)?;
            }
            AdminCall::DescribeCluster
            | AdminCall::DescribeTopics
            | AdminCall::DescribeConfigs
            | AdminCall::DeleteTopic => {}
        }
        // SAFETY: the options are valid; the opaque is a number in a pointer's clothes and never followed.
        unsafe {
            sys::rd_kafka_AdminOptions_set_opaque(options.as_ptr(), ptr::without_provenance_mut(call));
        }
        Ok(options)
    }

    pub(super) fn as_ptr(&self) -> *mut sys::rd_kafka_AdminOptions_t {
        self.0.as_ptr()
    }

    fn set_times(&self, kind: AdminCall, timeout: Duration) {
        let milliseconds = i32::try_from(timeout.as_millis()).unwrap_or(i32::MAX).clamp(1, 3_600_000);
        // SAFETY: the options are valid; without a buffer no text is written. A refusal leaves the default, and the
        // caller bounds the call by its own clock besides.
        unsafe {
            sys::rd_kafka_AdminOptions_set_request_timeout(self.as_ptr(), milliseconds, ptr::null_mut(), 0);
            if kind.has_effect() {
                sys::rd_kafka_AdminOptions_set_operation_timeout(
                    self.as_ptr(),
                    milliseconds,
                    ptr::null_mut(),
                    0,
                );
            }
        }
    }

    /// A refusal is an error: without the flag the call would have its effect.
    fn set_validate_only(&self, validate_only: bool) -> Result<(), KafkaError> {
        let mut error = ErrorText::new();
        // SAFETY: the options and the buffer are valid.
        let outcome = unsafe {
            sys::rd_kafka_AdminOptions_set_validate_only(
                self.as_ptr(),
                i32::from(validate_only),
                error.as_mut_ptr(),
                error.len(),
            )
        };
        if outcome == sys::rd_kafka_resp_err_t::RD_KAFKA_RESP_ERR_NO_ERROR {
            Ok(())
        } else {
            Err(KafkaError::Client(error.text()))
        }
    }

    /// A refusal is an error: without a broker librdkafka would look for the coordinator itself.
    fn set_broker(&self, broker: i32) -> Result<(), KafkaError> {
        let mut error = ErrorText::new();
        // SAFETY: the options and the buffer are valid.
        let outcome = unsafe {
            sys::rd_kafka_AdminOptions_set_broker(self.as_ptr(), broker, error.as_mut_ptr(), error.len())
        };
        if outcome == sys::rd_kafka_resp_err_t::RD_KAFKA_RESP_ERR_NO_ERROR {
            Ok(())
        } else {
            Err(KafkaError::Client(error.text()))
        }
    }

    fn set_isolation(&self, isolation: Isolation) {
        let level = match isolation {
            Isolation::ReadCommitted => {
                sys::rd_kafka_IsolationLevel_t::RD_KAFKA_ISOLATION_LEVEL_READ_COMMITTED
            }
            Isolation::ReadUncommitted => {
                sys::rd_kafka_IsolationLevel_t::RD_KAFKA_ISOLATION_LEVEL_READ_UNCOMMITTED
            }
        };
        // SAFETY: the options are valid; an error object, if any, is ours to free.
        unsafe {
            let error = sys::rd_kafka_AdminOptions_set_isolation_level(self.as_ptr(), level);
            drop(Owned::new(error, sys::rd_kafka_error_destroy));
        }
    }
}
