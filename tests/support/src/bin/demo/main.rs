//! `demo`: the driver of `make demo`. Installs Weir on a running rig, applies `examples/quickstart/` as a user would, prints
//! what happens, and measures it with witnesses that do not trust Weir: the brokers, the handler and a watch.
//!
//! Writes `target/demo.json`. Ends with a code other than 0 when anything did not happen. The rig and the images are up
//! before (see `tests/support/demo.sh`).
#![allow(clippy::print_stdout, reason = "it speaks to people")]

mod quickstart;
mod run;
mod table;
mod timeline;
mod witness;

use std::{env, fs, process::ExitCode};

use anyhow::{Context, bail};
use jiff::Timestamp;
use weir_test_support::{Rig, TestNamespace, helm, operator};

use crate::{quickstart::Quickstart, timeline::Report};

#[tokio::main]
async fn main() -> ExitCode {
    match install_and_demonstrate().await {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            println!("\n{error:#}");
            ExitCode::FAILURE
        }
    }
}

async fn install_and_demonstrate() -> anyhow::Result<()> {
    let keep = env::var("KEEP").is_ok_and(|value| !value.is_empty());
    let rig = Rig::find()?;
    let client = rig.client().await?;
    let quickstart = Quickstart::read()?;

    install(&rig).await?;
    // After the installation: only with an operator can the Topic of an earlier run go.
    quickstart::remove(&rig).await?;
    quickstart::create_namespace(&rig).await?;

    let outcome = demonstrate(&rig, &client, &quickstart).await;
    if outcome.is_err() {
        let namespace = TestNamespace {
            rig: rig.clone(),
            client: client.clone(),
            name: quickstart::NAMESPACE.to_owned(),
        };
        println!("{}", namespace.dump().await);
    }
    if !keep {
        println!("\nRemoving the example and the operator.");
        quickstart::remove(&rig).await?;
        helm::uninstall(&rig).await?;
    }
    outcome
}

async fn install(rig: &Rig) -> anyhow::Result<()> {
    let began = Timestamp::now().as_millisecond();
    println!("Installing Weir with Helm from charts/weir (image {}).", helm::image());
    helm::install(rig, &[]).await?;
    println!("Weir is ready after {} s.", timeline::seconds(Timestamp::now().as_millisecond() - began));
    Ok(())
}

async fn demonstrate(rig: &Rig, client: &kube::Client, quickstart: &Quickstart) -> anyhow::Result<()> {
    let (report, complaints) = run::run(rig, client, quickstart).await?;
    write(&report)?;
    table::summary(&report);
    for pod in operator::pods(client).await? {
        let usage = operator::usage(&pod, "weir")?;
        println!(
            "  {:<18} {:>11} MB   resident memory; {:.1} s of processor time, {} restarts",
            "operator",
            usage.resident_bytes / 1_000_000,
            usage.processor_time.as_secs_f64(),
            operator::restarts(&pod)
        );
    }
    if complaints.is_empty() {
        println!("\nEverything happened. The figures are in target/demo.json.");
        return Ok(());
    }
    bail!("What did not happen:\n- {}", complaints.join("\n- "))
}

fn write(report: &Report) -> anyhow::Result<()> {
    let folder = Rig::checkout().join("target");
    fs::create_dir_all(&folder).context("failed to make the folder target")?;
    let text = serde_json::to_string_pretty(report).context("failed to write the figures as JSON")? + "\n";
    fs::write(folder.join("demo.json"), text).context("failed to write target/demo.json")
}
