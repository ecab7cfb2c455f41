//! The thread that serves one handle: it hands answers to the calls that wait for them, remembers the connection's
//! fault, and at the end closes the handle, which may take seconds.
//!
//! Decides nothing about requests; `cluster` makes them.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, MutexGuard, PoisonError, mpsc},
    thread,
    time::{Duration, Instant},
};

use tokio::sync::oneshot;
use tracing::{debug, trace, warn};

use crate::{
    Fault, KafkaError,
    error::code,
    ffi::{Event, EventKind, Native, code_message, code_name},
};

/// How long the thread sleeps at most when nothing happens.
const LONGEST_SLEEP: Duration = Duration::from_secs(1);
/// A connection that answered this recently is not given up because one of its brokers fails.
const HEALTHY_FOR: Duration = Duration::from_secs(10);
/// A telling fault gives way to a vaguer one when it is older than this.
const FAULT_FADES_AFTER: Duration = Duration::from_secs(60);
/// A close that takes longer is worth a line in the log.
const SLOW_CLOSE: Duration = Duration::from_secs(5);

type Outcome = Result<Event, KafkaError>;

/// What callers and the thread share.
///
/// A lock, because both sides touch it for nanoseconds: callers add and remove their call, the thread takes it out.
/// A channel would make removing an abandoned call a message that can be late. Never held across an await or a call
/// into librdkafka.
#[derive(Default)]
pub(crate) struct Board(Mutex<State>);

#[derive(Default)]
struct State {
    /// Number of the last call; numbers are never used again, so a late answer cannot meet a stranger's call.
    last_call: usize,
    waiting: HashMap<usize, oneshot::Sender<Outcome>>,
    fault: Option<(Fault, Instant)>,
    last_answer: Option<Instant>,
}

/// A call that waits. Dropping it abandons the call: a late answer is freed by the thread.
pub(crate) struct PendingCall {
    board: Arc<Board>,
    pub(crate) number: usize,
    pub(crate) answer: oneshot::Receiver<Outcome>,
}

impl Drop for PendingCall {
    fn drop(&mut self) {
        self.board.state().waiting.remove(&self.number);
    }
}

impl Board {
    /// Registers a call under a new number.
    pub(crate) fn open(self: &Arc<Self>) -> PendingCall {
        let (sender, answer) = oneshot::channel();
        let mut state = self.state();
        state.last_call = state.last_call.wrapping_add(1).max(1); // 0 is the opaque of events that answer nothing
        let number = state.last_call;
        state.waiting.insert(number, sender);
        drop(state);
        PendingCall { board: self.clone(), number, answer }
    }

    /// The last fault since the last answer.
    pub(crate) fn fault(&self) -> Option<Fault> {
        self.state().fault.as_ref().map(|(fault, _)| fault.clone())
    }

    /// How many calls wait; for tests.
    #[cfg(test)]
    pub(crate) fn waiting(&self) -> usize {
        self.state().waiting.len()
    }

    fn state(&self) -> MutexGuard<'_, State> {
        // The state is consistent after every statement, so a panic elsewhere leaves nothing half done.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn answer(&self, call: usize, event: Event, now: Instant) {
        let (code, text) = event.error();
        let mut state = self.state();
        if code >= 0 {
            // A broker answered, be it with a refusal: the connection works.
            state.fault = None;
            state.last_answer = Some(now);
        }
        let waiting = state.waiting.remove(&call);
        drop(state);
        let outcome = if code == 0 {
            Ok(event)
        } else {
            let message = if text.is_empty() { code_message(code) } else { text };
            Err(KafkaError::from_code("complete the request", code, code_name(code), message))
        };
        // An abandoned call has no receiver; its event is freed here.
        if let Some(sender) = waiting {
            drop(sender.send(outcome));
        }
    }

    /// Remembers a fault; one that no waiting can cure ends the calls that wait, unless the connection was well just now.
    fn fail(&self, fault: &Fault, now: Instant) {
        let mut state = self.state();
        let healthy = state.last_answer.is_some_and(|at| now.duration_since(at) < HEALTHY_FOR);
        let replaces = match &state.fault {
            None => true,
            Some((old, since)) => {
                fault.rank() >= old.rank() || now.duration_since(*since) > FAULT_FADES_AFTER
            }
        };
        if replaces {
            state.fault = Some((fault.clone(), now));
        }
        let hopeless = match fault {
            Fault::Authentication(_) | Fault::Tls(_) => !healthy,
            // Other bootstrap brokers may still have an address or come up.
            Fault::Resolve(_) | Fault::Transport(_) | Fault::AllBrokersDown => false,
        };
        let ended = if hopeless { std::mem::take(&mut state.waiting) } else { HashMap::new() };
        drop(state);
        for sender in ended.into_values() {
            drop(sender.send(Err(KafkaError::Fault(fault.clone()))));
        }
    }

    fn close(&self) {
        let ended = std::mem::take(&mut self.state().waiting);
        for sender in ended.into_values() {
            drop(sender.send(Err(KafkaError::Closed)));
        }
    }
}

/// The handle and its thread. Dropping it returns at once; the thread closes the handle.
pub(crate) struct Service {
    native: Option<Arc<Native>>,
    board: Arc<Board>,
    close: mpsc::Sender<Arc<Native>>,
}

impl Service {
    /// Starts the thread.
    pub(crate) fn start(native: Native, client_id: &str) -> Result<Self, KafkaError> {
        let native = Arc::new(native);
        let board = Arc::new(Board::default());
        let (close, closing) = mpsc::channel();
        let thread = ServingThread { native: native.clone(), board: board.clone(), closing };
        let name = client_id.to_owned();
        thread::Builder::new()
            .name("weir-kafka".to_owned())
            .spawn(move || thread.run(&name))
            .map_err(|error| KafkaError::Client(format!("the handle's thread could not start: {error}")))?;
        Ok(Self { native: Some(native), board, close })
    }

    pub(crate) fn native(&self) -> Result<&Native, KafkaError> {
        self.native.as_deref().ok_or(KafkaError::Closed)
    }

    pub(crate) fn board(&self) -> &Arc<Board> {
        &self.board
    }
}

impl Drop for Service {
    /// Gives this side's reference to the thread, which thereby holds the last one. If the wake-up comes before the
    /// reference, the thread notices at its next turn, a second later.
    fn drop(&mut self) {
        if let Some(native) = self.native.take() {
            native.wake();
            // If the thread is gone (it panicked), the reference comes back and this drop closes the handle itself.
            drop(self.close.send(native));
        }
    }
}

struct ServingThread {
    native: Arc<Native>,
    board: Arc<Board>,
    closing: mpsc::Receiver<Arc<Native>>,
}

impl ServingThread {
    fn run(self, client_id: &str) {
        loop {
            if let Some(event) = self.native.poll(LONGEST_SLEEP) {
                self.serve(event, client_id);
            }
            match self.closing.try_recv() {
                Ok(other_side) => {
                    drop(other_side);
                    break;
                }
                Err(mpsc::TryRecvError::Disconnected) => break,
                Err(mpsc::TryRecvError::Empty) => {}
            }
        }
        self.board.close();
        while let Some(event) = self.native.poll(Duration::ZERO) {
            self.serve(event, client_id);
        }
        let began = Instant::now();
        drop(self.native); // joins librdkafka's threads
        let took = began.elapsed();
        if took > SLOW_CLOSE {
            warn!(client_id, seconds = took.as_secs(), "closing a Kafka handle was slow");
        } else {
            debug!(client_id, "closed a Kafka handle");
        }
    }

    fn serve(&self, event: Event, client_id: &str) {
        match event.kind() {
            EventKind::Answer { call } => self.board.answer(call, event, Instant::now()),
            EventKind::Error { code, text } => {
                debug!(client_id, code = code_name(code), text, "Kafka client error");
                if let Some(fault) = Fault::from_code(code, &text) {
                    self.board.fail(&fault, Instant::now());
                } else if code != code::TIMED_OUT {
                    warn!(client_id, code = code_name(code), text, "Kafka client error");
                }
            }
            EventKind::Log { level, facility, line } => {
                if facility == "FAIL" {
                    self.board.fail(&closed_connection(&line), Instant::now());
                }
                match level {
                    ..=4 => warn!(client_id, facility, line, "librdkafka"),
                    5..=6 => debug!(client_id, facility, line, "librdkafka"),
                    _ => trace!(client_id, facility, line, "librdkafka"),
                }
            }
        }
    }
}

/// Reads the log line of a connection that failed. When the broker closes it, librdkafka raises no error.
fn closed_connection(line: &str) -> Fault {
    let words = line.split_once("]: ").map_or(line, |(_thread, words)| words);
    let hint = if words.contains("Disconnected") && words.contains("APIVERSION_QUERY") {
        "; a listener that closes new connections usually expects TLS where there is none, or the reverse"
    } else {
        ""
    };
    Fault::Transport(format!("{words}{hint}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn authentication() -> Fault {
        Fault::Authentication("wrong".to_owned())
    }

    #[test]
    fn an_abandoned_call_leaves_nothing_behind() {
        let board = Arc::new(Board::default());
        let call = board.open();
        assert_eq!(board.waiting(), 1);
        drop(call);
        assert_eq!(board.waiting(), 0);
    }

    #[test]
    fn a_refused_password_ends_waiting_calls_at_once() {
        let board = Arc::new(Board::default());
        let mut call = board.open();
        board.fail(&Fault::AllBrokersDown, Instant::now());
        assert!(call.answer.try_recv().is_err(), "brokers may come up again");
        board.fail(&authentication(), Instant::now());
        let outcome = call.answer.try_recv().expect("the call has ended");
        assert_eq!(outcome.err(), Some(KafkaError::Fault(authentication())));
    }

    #[test]
    fn one_bad_broker_does_not_end_calls_of_a_connection_that_just_answered() {
        let board = Arc::new(Board::default());
        let now = Instant::now();
        board.state().last_answer = Some(now);
        let mut call = board.open();
        board.fail(&authentication(), now + Duration::from_secs(1));
        assert!(call.answer.try_recv().is_err());
        assert_eq!(board.fault(), Some(authentication()));
    }

    #[test]
    fn a_vague_fault_does_not_hide_a_telling_one_until_it_has_faded() {
        let board = Board::default();
        let now = Instant::now();
        board.fail(&authentication(), now);
        board.fail(&Fault::AllBrokersDown, now + Duration::from_secs(1));
        assert_eq!(board.fault(), Some(authentication()));
        board.fail(&Fault::AllBrokersDown, now + FAULT_FADES_AFTER + Duration::from_secs(1));
        assert_eq!(board.fault(), Some(Fault::AllBrokersDown));
    }

    #[test]
    fn a_listener_that_hangs_up_at_once_gives_a_hint_about_tls() {
        let hung_up =
            "[thrd:h:1/bootstrap]: h:1/bootstrap: Disconnected (after 0ms in state APIVERSION_QUERY)";
        let Fault::Transport(text) = closed_connection(hung_up) else { panic!("a broken connection") };
        assert!(text.starts_with("h:1/bootstrap: Disconnected") && text.contains("TLS"), "{text}");
    }

    #[test]
    fn closing_ends_the_calls_that_wait() {
        let board = Arc::new(Board::default());
        let mut call = board.open();
        board.close();
        assert_eq!(call.answer.try_recv().expect("the call has ended").err(), Some(KafkaError::Closed));
    }
}
