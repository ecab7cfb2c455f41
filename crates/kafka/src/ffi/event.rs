//! One event of a queue: a log line, an error of the connection, or the answer to a call.

use std::{
    ffi::{c_char, c_int},
    ptr,
};

use rdkafka_sys as sys;

use super::{Owned, code, text};

/// Owner of an event. Answers are read through the methods in `answer`.
pub(crate) struct Event(Owned<sys::rd_kafka_event_t>);

// SAFETY: an event belongs to whoever polled it and holds no reference to that thread; librdkafka's own consumers of
// events hand them between threads the same way.
unsafe impl Send for Event {}

/// What an event is.
pub(crate) enum EventKind {
    /// A log line, with syslog's level.
    Log {
        /// 0 (emergency) to 7 (debug).
        level: i32,
        /// librdkafka's name of the occasion.
        facility: String,
        /// The line.
        line: String,
    },
    /// The connection has a fault.
    Error {
        /// librdkafka's code.
        code: i32,
        /// What happened.
        text: String,
    },
    /// The answer to the call with this number.
    Answer {
        /// As given to [`super::Options`].
        call: usize,
    },
}

impl Event {
    /// Takes over an event; `None` if it is null.
    ///
    /// # Safety
    /// `pointer` is null or an event that the caller owns.
    pub(super) unsafe fn new(pointer: *mut sys::rd_kafka_event_t) -> Option<Self> {
        // SAFETY: as promised by the caller.
        unsafe { Owned::new(pointer, sys::rd_kafka_event_destroy) }.map(Self)
    }

    pub(crate) fn kind(&self) -> EventKind {
        // SAFETY: the event is valid.
        let kind = unsafe { sys::rd_kafka_event_type(self.as_ptr()) };
        match kind {
            sys::RD_KAFKA_EVENT_LOG => self.log(),
            sys::RD_KAFKA_EVENT_ERROR => {
                let (code, text) = self.error();
                EventKind::Error { code, text }
            }
            // SAFETY: the event is valid; the opaque of an answer is the number that we gave, never a pointer.
            _ => EventKind::Answer { call: unsafe { sys::rd_kafka_event_opaque(self.as_ptr()) }.addr() },
        }
    }

    /// Code (0 for none) and text of the event's error.
    pub(crate) fn error(&self) -> (i32, String) {
        // SAFETY: the event is valid, and the text stays so as long as the event.
        unsafe {
            let code = code::rd_kafka_event_error(self.as_ptr());
            (code, text(sys::rd_kafka_event_error_string(self.as_ptr())))
        }
    }

    fn log(&self) -> EventKind {
        let (mut facility, mut line): (*const c_char, *const c_char) = (ptr::null(), ptr::null());
        let mut level: c_int = 7;
        // SAFETY: the event and the three places are valid; the texts stay valid as long as the event.
        unsafe {
            sys::rd_kafka_event_log(self.as_ptr(), &raw mut facility, &raw mut line, &raw mut level);
            EventKind::Log { level, facility: text(facility), line: text(line) }
        }
    }

    pub(super) fn as_ptr(&self) -> *mut sys::rd_kafka_event_t {
        self.0.as_ptr()
    }
}
