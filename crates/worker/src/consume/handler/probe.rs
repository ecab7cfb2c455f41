//! A handler for tests: it notes what it completed and answers as the test says.

use std::sync::{Arc, Mutex, PoisonError};

use tokio::sync::Semaphore;

use super::Refusal;
use crate::consume::record::Record;

/// What the test wants to happen to an attempt.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::consume) enum Verdict {
    Complete,
    Refuse,
    /// Completes when the test opens the gate.
    Hang,
}

/// One completed record: partition, offset, key, and the sequence number in the value.
pub(in crate::consume) type Completed = (i32, u64, String, u64);

#[derive(Clone)]
pub(in crate::consume) struct Probe {
    judge: Arc<dyn Fn(&Record) -> Verdict + Send + Sync>,
    completed: Arc<Mutex<Vec<Completed>>>,
    gate: Arc<Semaphore>,
    pause: std::time::Duration,
}

impl Probe {
    pub(in crate::consume) fn new(
        pause: std::time::Duration,
        judge: impl Fn(&Record) -> Verdict + Send + Sync + 'static,
    ) -> Self {
        let gate = Arc::new(Semaphore::new(0));
        Self { judge: Arc::new(judge), completed: Arc::default(), gate, pause }
    }

    pub(in crate::consume) fn open_gate(&self) {
        self.gate.add_permits(Semaphore::MAX_PERMITS / 2);
    }

    pub(in crate::consume) fn completed(&self) -> Vec<Completed> {
        self.completed.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    pub(super) async fn handle(&self, record: &Record) -> Result<(), Refusal> {
        let verdict = (self.judge)(record);
        tokio::time::sleep(self.pause).await;
        match verdict {
            Verdict::Refuse => return Err("The test refuses this record.".to_owned()),
            Verdict::Hang => {
                let _permit = self.gate.acquire().await;
            }
            Verdict::Complete => {}
        }
        let text = |bytes: Option<&[u8]>| String::from_utf8_lossy(bytes.unwrap_or_default()).into_owned();
        let sequence = text(record.value()).parse().expect("the test wrote numbers");
        let offset = u64::try_from(record.offset.to_kafka()).expect("offsets are not negative");
        let entry = (record.partition.partition, offset, text(record.key()), sequence);
        self.completed.lock().unwrap_or_else(PoisonError::into_inner).push(entry);
        Ok(())
    }
}
