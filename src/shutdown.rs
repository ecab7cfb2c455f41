//! The process's one shutdown token: cancelled by SIGTERM or SIGINT. It does not stop anything itself; every task
//! watches the token. Called by `main` before anything else is started.

use std::io;

use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio_util::sync::CancellationToken;

/// Exit code after a second signal.
const IMPATIENT: i32 = 1;

/// Takes over SIGTERM and SIGINT. The first of them cancels the returned token; a second one ends the process at once,
/// for whoever does not want to wait for a graceful end.
///
/// # Errors
/// If the handlers cannot be installed.
pub(crate) fn on_signals() -> io::Result<CancellationToken> {
    let mut terminate = signal(SignalKind::terminate())?;
    let mut interrupt = signal(SignalKind::interrupt())?;
    let token = CancellationToken::new();
    let first = token.clone();
    tokio::spawn(async move {
        let name = either(&mut terminate, &mut interrupt).await;
        tracing::info!(signal = name, "Received a signal; the operator finishes what it is doing and ends.");
        first.cancel();
        let name = either(&mut terminate, &mut interrupt).await;
        tracing::warn!(signal = name, "Received a second signal; the operator ends at once.");
        std::process::exit(IMPATIENT);
    });
    Ok(token)
}

async fn either(terminate: &mut Signal, interrupt: &mut Signal) -> &'static str {
    tokio::select! {
        _ = terminate.recv() => "SIGTERM",
        _ = interrupt.recv() => "SIGINT",
    }
}

#[cfg(test)]
mod tests {
    use std::{process::Command, time::Duration};

    use super::*;

    #[tokio::test]
    async fn the_first_signal_cancels_the_token() {
        let token = on_signals().expect("handlers can be installed");
        assert!(!token.is_cancelled());
        let own = std::process::id().to_string();
        let sent = Command::new("kill").args(["-TERM", &own]).status().expect("kill exists");
        assert!(sent.success());
        tokio::time::timeout(Duration::from_secs(5), token.cancelled()).await.expect("the signal arrives");
    }
}
