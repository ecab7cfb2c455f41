//! Runs a program to its end and turns a failure into a sentence with what the program said.
//!
//! The rig, Helm and kubectl are called through here.

use anyhow::{Context, bail};
use tokio::process::Command;

/// Runs `command` and returns what it printed on standard output.
///
/// # Errors
/// The program could not be started, or ended with a code other than 0; the message holds both of its outputs.
pub async fn run(mut command: Command) -> anyhow::Result<String> {
    command.kill_on_drop(true);
    let line = format!("{:?}", command.as_std());
    let output = command.output().await.with_context(|| format!("failed to start {line}"))?;
    let stdout = String::from_utf8_lossy(&output.stdout).into_owned();
    if !output.status.success() {
        let stderr = String::from_utf8_lossy(&output.stderr);
        bail!("failed to run {line}: {}\n{stdout}{stderr}", output.status);
    }
    Ok(stdout)
}
