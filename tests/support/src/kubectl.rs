//! `kubectl` against the rig, for what a user would type: applying files and reading logs and descriptions.

use anyhow::Context;
use serde::Serialize;
use tokio::io::AsyncWriteExt;

use crate::{program, rig::Rig};

impl Rig {
    /// Runs `kubectl` and returns what it printed.
    ///
    /// # Errors
    /// kubectl failed; the message holds what it said.
    pub async fn kubectl(&self, arguments: &[&str]) -> anyhow::Result<String> {
        let mut command = self.command("kubectl");
        command.args(arguments);
        program::run(command).await
    }

    /// `kubectl apply -f -` with one object, given as anything that serializes to its JSON.
    ///
    /// # Errors
    /// The API server refused the object; the message holds its words.
    pub async fn apply(&self, object: &impl Serialize) -> anyhow::Result<()> {
        let text = serde_json::to_vec(object).context("failed to write the object as JSON")?;
        let mut command = self.command("kubectl");
        command.args(["apply", "--server-side", "--field-manager=test", "--force-conflicts", "-f", "-"]);
        command.stdin(std::process::Stdio::piped()).stdout(std::process::Stdio::piped());
        command.stderr(std::process::Stdio::piped()).kill_on_drop(true);
        let mut child = command.spawn().context("failed to start kubectl")?;
        let mut stdin = child.stdin.take().context("kubectl has no standard input")?;
        stdin.write_all(&text).await.context("failed to hand the object to kubectl")?;
        drop(stdin);
        let output = child.wait_with_output().await.context("failed to wait for kubectl")?;
        anyhow::ensure!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        Ok(())
    }
}
