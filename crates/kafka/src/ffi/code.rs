//! Error codes as integers. The bindings declare them as a Rust enumeration, for which an unknown number would be
//! undefined behaviour; the same C functions are therefore declared here once more with `int`, which is what a C
//! enumeration is on every platform that librdkafka supports.

use std::ffi::{c_char, c_int};

use rdkafka_sys as sys;

unsafe extern "C" {
    pub(super) fn rd_kafka_event_error(event: *mut sys::rd_kafka_event_t) -> c_int;
    pub(super) fn rd_kafka_error_code(error: *const sys::rd_kafka_error_t) -> c_int;
    pub(super) fn rd_kafka_topic_result_error(result: *const sys::rd_kafka_topic_result_t) -> c_int;
    pub(super) fn rd_kafka_ConfigResource_error(resource: *const sys::rd_kafka_ConfigResource_t) -> c_int;
    pub(super) fn rd_kafka_ConfigEntry_source(entry: *const sys::rd_kafka_ConfigEntry_t) -> c_int;
    pub(super) fn rd_kafka_ConsumerGroupDescription_state(
        group: *const sys::rd_kafka_ConsumerGroupDescription_t,
    ) -> c_int;
    fn rd_kafka_err2name(code: c_int) -> *const c_char;
    fn rd_kafka_err2str(code: c_int) -> *const c_char;
}

/// The code's name, such as `INVALID_CONFIG`; a number librdkafka does not know is printed.
pub(crate) fn name(code: i32) -> String {
    // SAFETY: takes any number; returns a constant or a buffer of this thread, valid until its next call on this thread.
    unsafe { super::text(rd_kafka_err2name(code)) }
}

/// librdkafka's own sentence for the code.
pub(crate) fn message(code: i32) -> String {
    // SAFETY: as in `name`.
    unsafe { super::text(rd_kafka_err2str(code)) }
}

/// The error of one partition of a list.
///
/// # Safety
/// `partition` points to a valid element of a partition list.
pub(super) unsafe fn of_partition(partition: *const sys::rd_kafka_topic_partition_t) -> i32 {
    // SAFETY: the field is inside the valid element; read as the integer that C wrote, never as the enumeration.
    unsafe { (&raw const (*partition).err).cast::<c_int>().read() }
}
