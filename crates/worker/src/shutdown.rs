//! The wish to stop: SIGTERM or SIGINT. The first asks the rooms to finish what they hold, the second ends the
//! process at once. Knows nothing of what is being finished.

use std::{
    io,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
};

use tokio::signal::unix::{SignalKind, signal};

/// Exit code of a process that SIGTERM ended, by the shells' convention (128 + 15).
pub(crate) const TERMINATED: i32 = 143;

/// Shared by everybody who has to notice; cheap to clone and to ask.
#[derive(Debug, Clone, Default)]
pub(crate) struct Shutdown {
    requested: Arc<AtomicBool>,
}

impl Shutdown {
    /// Whether the worker was asked to stop.
    pub(crate) fn requested(&self) -> bool {
        self.requested.load(Ordering::Acquire)
    }

    /// Asks the worker to stop.
    pub(crate) fn request(&self) {
        self.requested.store(true, Ordering::Release);
    }

    /// Listens for signals until the process ends. Call it inside a runtime.
    pub(crate) fn listen(&self) -> io::Result<()> {
        let mut terminate = signal(SignalKind::terminate())?;
        let mut interrupt = signal(SignalKind::interrupt())?;
        let shutdown = self.clone();
        tokio::spawn(async move {
            loop {
                tokio::select! {
                    _ = terminate.recv() => {}
                    _ = interrupt.recv() => {}
                }
                if shutdown.requested() {
                    tracing::warn!("A second signal arrived; the worker ends at once.");
                    std::process::exit(TERMINATED);
                }
                tracing::info!("The worker was asked to stop; it finishes what it holds.");
                shutdown.request();
            }
        });
        Ok(())
    }
}
