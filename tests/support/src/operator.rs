//! The operator's pod: finding it, killing it, waiting for it, and what it costs. Costs are read from this machine's `/proc`,
//! where the rig's containers are ordinary processes.

use std::{fs, path::PathBuf, time::Duration};

use anyhow::{Context, bail};
use k8s_openapi::api::core::v1::Pod;
use kube::{
    Api, Client, ResourceExt,
    api::{DeleteParams, ListParams},
};

use crate::{helm, wait};

const SELECTOR: &str = "app.kubernetes.io/name=weir,app.kubernetes.io/component=operator";

/// The operator's pods in the order of the API server; those that are ending are left out.
///
/// # Errors
/// The API server does not answer.
pub async fn pods(client: &Client) -> anyhow::Result<Vec<Pod>> {
    let pods =
        api(client).list(&ListParams::default().labels(SELECTOR)).await.context("failed to list pods")?;
    Ok(pods.items.into_iter().filter(|pod| pod.metadata.deletion_timestamp.is_none()).collect())
}

/// Waits until `count` pods of the operator are there, all ready, and returns them.
///
/// # Errors
/// The deadline passed.
pub async fn await_ready(client: &Client, count: usize, within: Duration) -> anyhow::Result<Vec<Pod>> {
    wait::eventually("the operator's pods", within, Duration::from_millis(250), async || {
        let pods = pods(client).await?;
        let ready = pods.iter().filter(|pod| is_ready(pod)).count();
        if pods.len() != count || ready != count {
            bail!("{count} ready pods are wanted; there are {} and {ready} of them are ready", pods.len());
        }
        Ok(pods)
    })
    .await
}

/// Deletes all of the operator's pods without a grace period, as a node that dies would, and does not wait.
///
/// # Errors
/// The API server does not answer.
pub async fn kill(client: &Client) -> anyhow::Result<()> {
    for pod in pods(client).await? {
        let now = DeleteParams::default().grace_period(0);
        api(client).delete(&pod.name_any(), &now).await.context("failed to delete the operator's pod")?;
    }
    Ok(())
}

/// How often the containers of a pod were started again: a crash shows here.
#[must_use]
pub fn restarts(pod: &Pod) -> i32 {
    let statuses = pod.status.as_ref().and_then(|status| status.container_statuses.as_ref());
    statuses.into_iter().flatten().map(|status| status.restart_count).sum()
}

/// What a program of a pod has used.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Usage {
    /// Id of its process on this machine.
    pub process: u32,
    /// Resident memory in bytes.
    pub resident_bytes: u64,
    /// Processor time since its start.
    pub processor_time: Duration,
}

/// What the program `program` (the first word of its command line, without folders) of a pod has used.
///
/// # Errors
/// No such process runs on this machine.
pub fn usage(pod: &Pod, program: &str) -> anyhow::Result<Usage> {
    let uid = pod.uid().context("the pod has no uid")?;
    let process = process_of(&uid, program)?
        .with_context(|| format!("no process {program} of the pod {} runs here", pod.name_any()))?;
    let status =
        fs::read_to_string(format!("/proc/{process}/status")).context("failed to read its status")?;
    let resident = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).context("no VmRSS line")?;
    let kibibytes: u64 =
        resident.trim().trim_end_matches("kB").trim().parse().context("VmRSS is no number")?;
    let stat = fs::read_to_string(format!("/proc/{process}/stat")).context("failed to read its times")?;
    // Fields after the name in parentheses; user and system time are the 12th and 13th of them, in hundredths of a second.
    let fields = stat.rsplit(')').next().unwrap_or_default().split_whitespace().skip(11).take(2);
    let ticks: u64 = fields.filter_map(|field| field.parse::<u64>().ok()).sum();
    Ok(Usage { process, resident_bytes: kibibytes * 1024, processor_time: Duration::from_millis(ticks * 10) })
}

fn process_of(pod_uid: &str, program: &str) -> anyhow::Result<Option<u32>> {
    for entry in fs::read_dir("/proc").context("failed to list processes")? {
        let Ok(entry) = entry else { continue };
        let Some(process) = entry.file_name().to_str().and_then(|name| name.parse::<u32>().ok()) else {
            continue;
        };
        // A process may end between two reads.
        let Ok(groups) = fs::read_to_string(entry.path().join("cgroup")) else { continue };
        let Ok(line) = fs::read_to_string(entry.path().join("cmdline")) else { continue };
        let first = PathBuf::from(line.split('\0').next().unwrap_or_default());
        if groups.contains(pod_uid) && first.file_name().is_some_and(|name| name == program) {
            return Ok(Some(process));
        }
    }
    Ok(None)
}

fn is_ready(pod: &Pod) -> bool {
    let conditions = pod.status.as_ref().and_then(|status| status.conditions.as_ref());
    conditions.into_iter().flatten().any(|condition| condition.type_ == "Ready" && condition.status == "True")
}

fn api(client: &Client) -> Api<Pod> {
    Api::namespaced(client.clone(), helm::NAMESPACE)
}
