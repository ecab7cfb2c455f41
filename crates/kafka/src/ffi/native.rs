//! One client handle of librdkafka with its main queue.

use std::time::Duration;

use rdkafka_sys as sys;

use super::{ErrorText, Event, Owned, c_string};
use crate::{Fault, KafkaError};

/// A client handle and its main queue, on which everything arrives.
///
/// It is of type consumer and has a group that it never joins: when a broker answers a read of commits with "not
/// coordinator", librdkafka 2.12.1 tells the handle's own group, and without one it follows a null pointer (#5040).
///
/// Dropping it joins librdkafka's threads and can take seconds: only the handle's own thread may do that.
pub(crate) struct Native {
    // Declared first, so that the reference to the queue goes before the handle, as rdkafka.h demands.
    queue: Owned<sys::rd_kafka_queue_t>,
    client: Owned<sys::rd_kafka_t>,
}

// SAFETY: "librdkafka is thread-safe": a handle and its queues may be used from any thread at any time (INTRODUCTION.md,
// "Threads and callbacks"); nothing in `Native` is tied to the thread that made it.
unsafe impl Send for Native {}
// SAFETY: as above; the methods below pass the pointers only to functions that take their own locks.
unsafe impl Sync for Native {}

impl Native {
    /// Makes a handle. Opens no connection before the first request.
    pub(crate) fn open(properties: &[(String, String)]) -> Result<Self, KafkaError> {
        // SAFETY: returns a new object that `rd_kafka_conf_destroy` frees.
        let conf = unsafe { Owned::new(sys::rd_kafka_conf_new(), sys::rd_kafka_conf_destroy) }
            .ok_or_else(|| super::refused("a configuration"))?;
        for (key, value) in properties {
            set(&conf, key, value)?;
        }
        // SAFETY: the configuration is valid and not yet used by a handle.
        unsafe {
            sys::rd_kafka_conf_set_events(conf.as_ptr(), sys::RD_KAFKA_EVENT_ERROR | sys::RD_KAFKA_EVENT_LOG);
        }
        let mut error = ErrorText::new();
        // SAFETY: the configuration and the buffer are valid; on success the handle owns the configuration.
        let client = unsafe {
            let pointer = sys::rd_kafka_new(
                sys::rd_kafka_type_t::RD_KAFKA_CONSUMER,
                conf.as_ptr(),
                error.as_mut_ptr(),
                error.len(),
            );
            Owned::new(pointer, destroy)
        };
        let Some(client) = client else {
            let text = error.text();
            // What librdkafka says about certificates here is about the settings: `ssl.ca.pem` cannot be read.
            let about_tls = text.contains("ssl.");
            return Err(if about_tls {
                KafkaError::Fault(Fault::Tls(text))
            } else {
                KafkaError::Client(text)
            });
        };
        std::mem::forget(conf);
        // SAFETY: the handle is valid; the call returns a counted reference that `rd_kafka_queue_destroy` gives back.
        let queue =
            unsafe { Owned::new(sys::rd_kafka_queue_get_main(client.as_ptr()), sys::rd_kafka_queue_destroy) }
                .ok_or_else(|| super::refused("a queue"))?;
        // SAFETY: the handle is valid and has `log.queue=true`; null means its main queue.
        unsafe { sys::rd_kafka_set_log_queue(client.as_ptr(), std::ptr::null_mut()) };
        Ok(Self { queue, client })
    }

    /// Waits for the next event. Blocks its thread.
    pub(crate) fn poll(&self, longest: Duration) -> Option<Event> {
        let milliseconds = i32::try_from(longest.as_millis()).unwrap_or(i32::MAX);
        // SAFETY: the queue is valid; the returned event is ours to free.
        unsafe { Event::new(sys::rd_kafka_queue_poll(self.queue.as_ptr(), milliseconds)) }
    }

    /// Ends a `poll` on another thread early; the next one if none is under way.
    pub(crate) fn wake(&self) {
        // SAFETY: the queue is valid; may be called from any thread.
        unsafe { sys::rd_kafka_queue_yield(self.queue.as_ptr()) }
    }

    pub(super) fn client(&self) -> *mut sys::rd_kafka_t {
        self.client.as_ptr()
    }

    pub(super) fn queue(&self) -> *mut sys::rd_kafka_queue_t {
        self.queue.as_ptr()
    }
}

/// Closes a handle without leaving its group, which it never joined.
unsafe extern "C" fn destroy(client: *mut sys::rd_kafka_t) {
    // SAFETY: `Owned` passes the valid handle that it owns, once; the flag is public.
    unsafe { sys::rd_kafka_destroy_flags(client, sys::RD_KAFKA_DESTROY_F_NO_CONSUMER_CLOSE) }
}

fn set(conf: &Owned<sys::rd_kafka_conf_t>, key: &str, value: &str) -> Result<(), KafkaError> {
    let name = c_string("the name of a property", key)?;
    let value = c_string(key, value)?;
    let mut error = ErrorText::new();
    // SAFETY: configuration, strings and buffer are valid during the call; librdkafka copies the strings.
    let outcome = unsafe {
        sys::rd_kafka_conf_set(conf.as_ptr(), name.as_ptr(), value.as_ptr(), error.as_mut_ptr(), error.len())
    };
    if outcome == sys::rd_kafka_conf_res_t::RD_KAFKA_CONF_OK {
        Ok(())
    } else {
        Err(KafkaError::Client(error.text()))
    }
}
