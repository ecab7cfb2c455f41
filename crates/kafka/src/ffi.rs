//! The only unsafe code of Weir: a client handle, its events, requests and answers, wrapped so that nothing unsafe and
//! no pointer leaves this folder.
//!
//! Blocking calls are [`Native::poll`] and dropping a [`Native`]; both belong on the handle's own thread (`service`).
//! No callback is ever registered with librdkafka: everything arrives as events on one queue, so nothing can unwind
//! into C. Error codes cross the border as plain integers, because a broker newer than the bindings may send codes
//! that their enumeration does not have.

mod answer;
mod code;
mod event;
mod native;
mod options;
mod request;

pub(crate) use code::{message as code_message, name as code_name};
pub(crate) use event::{Event, EventKind};
pub(crate) use native::Native;
pub(crate) use options::{AdminCall, Options};

use std::{
    ffi::{CStr, CString, c_char},
    ptr::NonNull,
};

use crate::KafkaError;

/// Owner of one object of librdkafka, freed on drop.
struct Owned<T> {
    pointer: NonNull<T>,
    destroy: unsafe extern "C" fn(*mut T),
}

impl<T> Owned<T> {
    /// Takes over `pointer`; `None` if it is null.
    ///
    /// # Safety
    /// `pointer` is null, or valid, owned by the caller, and freed by `destroy`.
    unsafe fn new(pointer: *mut T, destroy: unsafe extern "C" fn(*mut T)) -> Option<Self> {
        NonNull::new(pointer).map(|pointer| Self { pointer, destroy })
    }

    fn as_ptr(&self) -> *mut T {
        self.pointer.as_ptr()
    }
}

impl<T> Drop for Owned<T> {
    fn drop(&mut self) {
        // SAFETY: `new` promised that the pointer is ours and that `destroy` frees it; this runs once.
        unsafe { (self.destroy)(self.pointer.as_ptr()) }
    }
}

/// A buffer for librdkafka's error texts.
struct ErrorText([c_char; 512]);

impl ErrorText {
    fn new() -> Self {
        Self([0; 512])
    }

    fn as_mut_ptr(&mut self) -> *mut c_char {
        self.0.as_mut_ptr()
    }

    fn len(&self) -> usize {
        self.0.len()
    }

    fn text(&self) -> String {
        // SAFETY: the buffer began as zeros and librdkafka terminates what it writes (snprintf), so a zero is inside.
        unsafe { text(self.0.as_ptr()) }
    }
}

/// Copies a C string; null is the empty text, bytes that are not UTF-8 become U+FFFD.
///
/// # Safety
/// `pointer` is null or points to a string that is terminated and stays valid during the call.
unsafe fn text(pointer: *const c_char) -> String {
    if pointer.is_null() {
        return String::new();
    }
    // SAFETY: not null, and the caller promises the rest.
    unsafe { CStr::from_ptr(pointer) }.to_string_lossy().into_owned()
}

/// Views an array of pointers that librdkafka lent; empty if the array is null.
///
/// # Safety
/// `array` is null or holds `count` pointers that stay valid for `'a`.
unsafe fn lent<'a, T>(array: *mut *const T, count: usize) -> &'a [*const T] {
    if array.is_null() || count == 0 {
        return &[];
    }
    // SAFETY: not null, and the caller promises the length and the lifetime.
    unsafe { std::slice::from_raw_parts(array.cast_const(), count) }
}

/// Makes a C string; a zero byte inside is an error that names the thing and not its value.
fn c_string(what: &str, value: &str) -> Result<CString, KafkaError> {
    CString::new(value).map_err(|_| KafkaError::Client(format!("{what} contains a zero byte")))
}

/// What `new` functions of librdkafka mean by null.
fn refused(what: &str) -> KafkaError {
    KafkaError::Client(format!("librdkafka refused {what}"))
}
