//! What a visit of a ProducerJob says. Pure.

use k8s_openapi::{api::batch::v1::Job, apimachinery::pkg::apis::meta::v1::Time};
use kube::ResourceExt;
use weir_api::{
    ProducerJob,
    condition::{self, Finding},
    producer_job::ProducerJobStatus,
};
use weir_model::worker_status::ProduceStatus;

use super::{
    observe::{JobState, Observed},
    plan::Plan,
};
use crate::controllers::verdict::{Verdict, VerdictKind};

/// Whether the run is over, so that nothing will change any more.
pub(crate) fn is_over(status: &ProducerJobStatus) -> bool {
    let completed = condition::status_of(&status.conditions, condition::COMPLETED);
    let failed = status.conditions.iter().any(|c| c.type_ == condition::COMPLETED && c.reason == "Failed");
    completed == Some(true) || failed
}

/// The status after a visit.
pub(crate) fn status(
    job: &ProducerJob,
    before: &ProducerJobStatus,
    observed: &Observed,
    plan: &Plan,
    now: &Time,
) -> ProducerJobStatus {
    let generation = job.metadata.generation.unwrap_or_default();
    let mut next = ProducerJobStatus { observed_generation: generation, run_id: job.uid(), ..before.clone() };
    if let Some(progress) = &observed.progress {
        count(&mut next, progress);
    }
    if let JobState::Running(batch) | JobState::Succeeded(batch) | JobState::Failed(batch) = &observed.job {
        let times = batch.status.as_ref();
        next.start_time = times.and_then(|s| s.start_time.clone()).or(next.start_time);
    }
    let (verdict, completed) = match (plan, &observed.job) {
        (Plan::Wait(verdict), _) => {
            (verdict.clone(), Finding::no(condition::COMPLETED, "NotStarted", &verdict.message))
        }
        (Plan::Ended, JobState::Succeeded(batch)) => succeeded(job, &mut next, batch, now),
        (Plan::Ended, JobState::Failed(_)) => failed(job, &next, observed),
        (Plan::Start(_) | Plan::Running | Plan::Ended, _) => running(job, &next, observed),
    };
    let mut findings = verdict.findings();
    findings.push(completed);
    next.conditions = condition::conditions(&before.conditions, &findings, generation, now);
    next
}

fn count(status: &mut ProducerJobStatus, progress: &ProduceStatus) {
    let number = |n: u64| i64::try_from(n).ok();
    status.generated = number(progress.generated);
    status.acknowledged = number(progress.acknowledged);
    status.failed = number(progress.failed);
    status.bytes = number(progress.bytes);
    status.records_per_second = number(progress.records_per_second);
}

fn succeeded(job: &ProducerJob, next: &mut ProducerJobStatus, batch: &Job, now: &Time) -> (Verdict, Finding) {
    // The worker ends with 0 only when every record was acknowledged; its pod may be gone already.
    next.generated = Some(job.spec.records);
    next.acknowledged = Some(job.spec.records);
    next.failed = Some(0);
    // Kubernetes knows of success a moment before it notes the time.
    next.completion_time = ended(batch).or_else(|| Some(now.clone()));
    let message = format!(
        "All {} records were acknowledged by the brokers, {} per second.",
        job.spec.records,
        next.records_per_second.unwrap_or_default()
    );
    (
        Verdict::new(VerdictKind::Ready, "Completed", &message),
        Finding::yes(condition::COMPLETED, "Completed", message),
    )
}

/// When the Job succeeded. Kubernetes says that it did (`SuccessCriteriaMet`) a moment before it writes `completionTime`, and
/// a run that is over is not visited again.
fn ended(batch: &Job) -> Option<Time> {
    let status = batch.status.as_ref()?;
    let criteria = status.conditions.iter().flatten().find(|c| c.type_ == "SuccessCriteriaMet");
    status.completion_time.clone().or_else(|| criteria?.last_transition_time.clone())
}

fn failed(job: &ProducerJob, next: &ProducerJobStatus, observed: &Observed) -> (Verdict, Finding) {
    let fault = observed.progress.as_ref().map(|p| p.fault.as_str()).filter(|f| !f.is_empty());
    let fault = fault.unwrap_or("The worker's pod was ended from outside.");
    let message = format!(
        "The run ended with {} of {} records acknowledged. {fault} Create another ProducerJob for the rest; see kubectl logs \
         job/{}.",
        next.acknowledged.unwrap_or_default(),
        job.spec.records,
        job.name_any()
    );
    (
        Verdict::new(VerdictKind::Stalled, "Failed", &message),
        Finding::no(condition::COMPLETED, "Failed", message),
    )
}

fn running(job: &ProducerJob, next: &ProducerJobStatus, observed: &Observed) -> (Verdict, Finding) {
    let acknowledged = next.acknowledged.unwrap_or_default();
    let completed =
        Finding::no(condition::COMPLETED, "Running", "The run is not over; see acknowledged and records.");
    if let Some(trouble) = &observed.trouble {
        return (Verdict::new(VerdictKind::Failing, trouble.reason, &trouble.message), completed);
    }
    let fault = observed.progress.as_ref().map(|p| p.fault.clone()).filter(|f| !f.is_empty());
    let verdict = match fault {
        Some(fault) => Verdict::new(
            VerdictKind::Failing,
            "ProducerFault",
            format!("{acknowledged} of {} records are acknowledged. {fault}", job.spec.records),
        ),
        None => Verdict::new(
            VerdictKind::Progressing,
            "Running",
            format!("{} records are being written to the topic.", job.spec.records),
        ),
    };
    (verdict, completed)
}
