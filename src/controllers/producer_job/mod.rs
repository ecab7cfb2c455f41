//! `ProducerJob`: one Kubernetes Job with `weir-worker produce`; live counts while it runs, final counts when it ended.

mod observe;
mod plan;
mod status;
mod workload;

use std::{sync::Arc, time::Duration};

use weir_api::{ProducerJob, condition, producer_job::ProducerJobStatus};

use super::verdict::{is_paused, newly_stalled, paused};
use crate::{
    context::Context,
    kubernetes::{KubernetesError, events::Notice, now, runner::Next},
};

/// Time between two looks at a running job's counts.
const PROGRESS_INTERVAL: Duration = Duration::from_secs(2);
/// Longest pause between looks at what is missing.
const LONGEST_RETRY: Duration = Duration::from_secs(20);

/// One visit.
pub(crate) async fn reconcile(job: Arc<ProducerJob>, context: Arc<Context>) -> Result<Next, KubernetesError> {
    let before = job.status.clone().unwrap_or_default();
    if job.metadata.deletion_timestamp.is_some() || status::is_over(&before) {
        return Ok(Next::OnChange);
    }
    if is_paused(job.as_ref()) {
        let generation = job.metadata.generation.unwrap_or_default();
        let conditions = paused(&before.conditions, generation);
        let next = ProducerJobStatus { observed_generation: generation, conditions, ..before };
        context.applier.status(job.as_ref(), job.status.as_ref(), &next).await?;
        return Ok(Next::OnChange);
    }
    let observed = observe::observe(&job, &context).await?;
    let mut plan = plan::plan(&job, &before, &observed);
    if let plan::Plan::Start(workload) = &plan {
        match start(&job, workload, &context).await {
            Err(error) if error.is_invalid() => plan = plan::Plan::refused(&error),
            done => done?,
        }
    }
    let next = status::status(&job, &before, &observed, &plan, &now());
    announce(&job, &before, &next, &context).await;
    context.applier.status(job.as_ref(), job.status.as_ref(), &next).await?;
    Ok(match plan {
        plan::Plan::Start(_) | plan::Plan::Running => Next::After(PROGRESS_INTERVAL),
        plan::Plan::Wait(_) => Next::Retry(LONGEST_RETRY),
        plan::Plan::Ended => Next::OnChange,
    })
}

async fn start(
    job: &ProducerJob,
    workload: &workload::Workload,
    context: &Context,
) -> Result<(), KubernetesError> {
    context.applier.child(&workload.config_map, None, "apply the worker's ConfigMap").await?;
    context.applier.child(&workload.job, None, "apply the Job").await?;
    let note = format!("Started a Job that writes {} records to topic {}.", job.spec.records, workload.topic);
    context.events.publish(job, Notice::normal("JobStarted", note)).await;
    Ok(())
}

async fn announce(
    job: &ProducerJob,
    before: &ProducerJobStatus,
    next: &ProducerJobStatus,
    context: &Context,
) {
    let completed = |s: &ProducerJobStatus| condition::status_of(&s.conditions, condition::COMPLETED);
    if completed(before) != Some(true) && completed(next) == Some(true) {
        let message = next.conditions.first().map(|c| c.message.clone()).unwrap_or_default();
        context.events.publish(job, Notice::normal("JobCompleted", message)).await;
    } else if let Some(stalled) = newly_stalled(&before.conditions, &next.conditions) {
        context.events.publish(job, Notice::warning("JobStalled", stalled.message.clone())).await;
    }
}
