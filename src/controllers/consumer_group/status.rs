//! What a visit of a ConsumerGroup says. Pure.

use k8s_openapi::{api::apps::v1::Deployment, apimachinery::pkg::apis::meta::v1::Time};
use kube::ResourceExt;
use weir_api::{
    ConsumerGroup,
    condition::{self, Finding},
    consumer_group::{AutoscalingMode, ConsumerGroupStatus, DecisionStatus, LagStatus},
};
use weir_autoscaler::{Limit, Reason};
use weir_model::{Lag, UnknownLag};

use super::{
    observe::Observed,
    plan::{Plan, effective},
    workload::is_rolled_out,
};
use crate::{
    controllers::{
        pod::{GROUP_KIND, labels},
        verdict::{Verdict, VerdictKind},
    },
    scaling::{Move, View},
};

/// Time between two writes of a lag that nobody decided on, in seconds.
const LAG_INTERVAL: i64 = 55;
const REMEMBERED: usize = 3;

/// The status after a visit.
pub(crate) fn status(
    group: &ConsumerGroup,
    before: &ConsumerGroupStatus,
    observed: &Observed,
    plan: &Plan,
    view: &View,
    now: &Time,
) -> ConsumerGroupStatus {
    let generation = group.metadata.generation.unwrap_or_default();
    let workload = workload(group, observed);
    let verdict = match plan {
        Plan::Keep(keep) => keep.verdict.clone(),
        Plan::Run(_) => absent_topic(view).unwrap_or_else(|| running(before, &workload)),
    };
    let mut findings = verdict.findings();
    findings.push(workload.finding.clone());
    findings.push(lag_available(before, plan, view));
    findings.extend(scaling(group, before, plan, view));
    let decisions = decisions(before, view);
    let decided = decisions != before.decisions;
    let mut next = ConsumerGroupStatus {
        observed_generation: generation,
        group_id: Some(group.group_id()),
        replicas: Some(workload.replicas),
        ready_replicas: Some(workload.ready),
        selector: Some(selector(group)),
        desired_replicas: Some(workload.desired),
        recommended_replicas: recommended(group, view),
        decisions,
        effective: effective(group),
        conditions: condition::conditions(&before.conditions, &findings, generation, now),
        ..before.clone()
    };
    if let Plan::Run(run) = plan {
        next.topics.clone_from(&run.topics);
    }
    lag(before, &mut next, view, decided, now);
    next
}

/// The workload as far as a status tells.
#[derive(Debug, Clone)]
struct Workload {
    desired: i32,
    replicas: i32,
    ready: i32,
    rolled_out: bool,
    finding: Finding,
}

fn workload(group: &ConsumerGroup, observed: &Observed) -> Workload {
    let Some(deployment) = observed.deployment.as_deref() else {
        let finding = Finding::no(condition::WORKLOAD_READY, "NotStarted", "There is no Deployment yet.");
        return Workload { desired: 0, replicas: 0, ready: 0, rolled_out: false, finding };
    };
    let (desired, replicas, ready) = counts(deployment);
    let rolled_out = is_rolled_out(deployment);
    let finding = match &observed.trouble {
        Some(trouble) => Finding::no(condition::WORKLOAD_READY, trouble.reason, &trouble.message),
        None if desired == 0 => {
            Finding::yes(condition::WORKLOAD_READY, "Sleeping", "No consumer is wanted right now.")
        }
        None if ready >= desired && rolled_out => {
            Finding::yes(condition::WORKLOAD_READY, "Ready", "Every wanted consumer is ready.")
        }
        None if overdue(deployment) => Finding::no(
            condition::WORKLOAD_READY,
            "NotStarting",
            format!(
                "Consumers do not get ready in time; see kubectl describe deployment {} and its pods.",
                group.name_any()
            ),
        ),
        None => Finding::no(condition::WORKLOAD_READY, "Starting", "Consumers are starting."),
    };
    Workload { desired, replicas, ready, rolled_out, finding }
}

fn counts(deployment: &Deployment) -> (i32, i32, i32) {
    let status = deployment.status.as_ref();
    (
        deployment.spec.as_ref().and_then(|s| s.replicas).unwrap_or(1),
        status.and_then(|s| s.replicas).unwrap_or_default(),
        status.and_then(|s| s.ready_replicas).unwrap_or_default(),
    )
}

fn overdue(deployment: &Deployment) -> bool {
    let conditions = deployment.status.as_ref().and_then(|s| s.conditions.as_ref()).into_iter().flatten();
    conditions.into_iter().any(|c| c.reason.as_deref() == Some("ProgressDeadlineExceeded"))
}

/// A topic that was named by its name in Kafka and is not there: only the measuring finds out.
fn absent_topic(view: &View) -> Option<Verdict> {
    match &view.lag.as_ref().filter(|lag| !lag.blink)?.total {
        Lag::Unknown(UnknownLag::TopicMissing(topic)) => Some(Verdict::new(
            VerdictKind::Stalled,
            "TopicMissing",
            format!("Topic {topic} does not exist; create it. The group then goes on by itself."),
        )),
        Lag::Unknown(_) | Lag::Known(_) | Lag::NotApplicable => None,
    }
}

/// Numbers stay out of these sentences: they change with every pod, and a status is not rewritten for that.
fn running(before: &ConsumerGroupStatus, workload: &Workload) -> Verdict {
    let was_ready = condition::status_of(&before.conditions, condition::READY) == Some(true);
    let Finding { status, reason, message, .. } = &workload.finding;
    match (status, *reason) {
        (Some(true), "Sleeping") => {
            Verdict::new(VerdictKind::Ready, "Sleeping", "There is nothing to do; no consumer is wanted.")
        }
        (Some(true), _) => Verdict::new(VerdictKind::Ready, "Consuming", message),
        (_, "Starting") if was_ready && workload.rolled_out => {
            Verdict::new(VerdictKind::Ready, "Consuming", "More consumers are starting.")
        }
        (_, "Starting") if was_ready => {
            Verdict::new(VerdictKind::ReadyChanging, "RollingOut", "A changed configuration is rolled out.")
        }
        (_, "Starting" | "NotStarted") => Verdict::new(VerdictKind::Progressing, "Starting", message),
        (_, reason) => Verdict::new(VerdictKind::Failing, reason, message),
    }
}

fn lag_available(before: &ConsumerGroupStatus, plan: &Plan, view: &View) -> Finding {
    let Some(lag) = view.lag.as_ref().filter(|lag| !lag.blink) else {
        // For a moment nothing is known, after a restart of the operator or of a broker; what was said before still stands.
        let known = condition::status_of(&before.conditions, condition::LAG_AVAILABLE);
        return match (known, plan) {
            (Some(true), _) => Finding::yes(condition::LAG_AVAILABLE, "Measured", MEASURED),
            (_, Plan::Keep(keep)) => {
                Finding::unknown(condition::LAG_AVAILABLE, "NotMeasured", &keep.verdict.message)
            }
            (_, Plan::Run(_)) => {
                Finding::unknown(condition::LAG_AVAILABLE, "NotMeasured", "The lag was not measured yet.")
            }
        };
    };
    match &lag.total {
        Lag::Known(_) => Finding::yes(condition::LAG_AVAILABLE, "Measured", MEASURED),
        Lag::Unknown(why) => Finding::no(
            condition::LAG_AVAILABLE,
            "LagUnknown",
            format!("The lag is not known: {why}. The number of consumers is left as it is."),
        ),
        Lag::NotApplicable => {
            Finding::no(condition::LAG_AVAILABLE, "NoPartitions", "The topics have no partitions.")
        }
    }
}

const MEASURED: &str = "The lag of every partition is known.";

fn scaling(group: &ConsumerGroup, before: &ConsumerGroupStatus, plan: &Plan, view: &View) -> Vec<Finding> {
    let automatic = group
        .spec
        .autoscaling
        .as_ref()
        .is_some_and(|a| matches!(a.mode, None | Some(AutoscalingMode::Automatic)));
    if !automatic {
        return vec![Finding::no(
            condition::SCALING_ACTIVE,
            "NotAutomatic",
            "spec.replicas says how many consumers there are.",
        )];
    }
    if let Some(why) = &view.failure {
        let message = format!("The number of consumers could not be set: {why}.");
        return vec![Finding::no(condition::SCALING_ACTIVE, "ScaleFailed", message)];
    }
    let blink = view.lag.as_ref().is_some_and(|lag| lag.blink);
    let Some(decision) = view.decision.as_ref().filter(|_| !blink) else {
        return match (condition::status_of(&before.conditions, condition::SCALING_ACTIVE), plan) {
            (Some(true), Plan::Run(_)) => vec![Finding::yes(condition::SCALING_ACTIVE, "Automatic", ACTIVE)],
            _ => vec![Finding::unknown(
                condition::SCALING_ACTIVE,
                "NotMeasured",
                "The lag was not measured yet.",
            )],
        };
    };
    if decision.reason == Reason::LagUnknown {
        let message = "The lag is not known, so the number of consumers is left as it is; see LagAvailable.";
        return vec![Finding::no(condition::SCALING_ACTIVE, "LagUnknown", message)];
    }
    let limited = match decision.limited {
        Some(Limit::ByPartitions(n)) => Finding::yes(
            condition::SCALING_LIMITED,
            "CappedByPartitions",
            format!("The lag asks for more than {n} consumers, but the topics have partitions for {n} only."),
        ),
        Some(Limit::ByMax(n)) => Finding::yes(
            condition::SCALING_LIMITED,
            "CappedByMax",
            format!("The lag asks for more than {n} consumers, but maxReplicas allows {n}."),
        ),
        Some(Limit::ByMin(n)) => Finding::yes(
            condition::SCALING_LIMITED,
            "RaisedToMin",
            format!("The lag asks for fewer than {n} consumers, but minReplicas asks for {n}."),
        ),
        None => Finding::no(
            condition::SCALING_LIMITED,
            "NotLimited",
            "There are as many consumers as the lag asks for.",
        ),
    };
    vec![Finding::yes(condition::SCALING_ACTIVE, "Automatic", ACTIVE), limited]
}

const ACTIVE: &str = "Weir decides how many consumers there are; see decisions.";

fn recommended(group: &ConsumerGroup, view: &View) -> Option<i32> {
    let mode = group.spec.autoscaling.as_ref().and_then(|a| a.mode);
    let decision = view.decision.as_ref().filter(|_| mode == Some(AutoscalingMode::Recommend))?;
    i32::try_from(decision.replicas).ok()
}

/// The newest decisions: those of this process, then those that a former one left in the status.
fn decisions(before: &ConsumerGroupStatus, view: &View) -> Vec<DecisionStatus> {
    let mut decisions: Vec<DecisionStatus> = view.moves.iter().map(decision).collect();
    let older = before.decisions.iter().filter(|d| !decisions.contains(d)).cloned().collect::<Vec<_>>();
    decisions.extend(older);
    decisions.sort_by_key(|d| std::cmp::Reverse(d.time.0));
    decisions.truncate(REMEMBERED);
    decisions
}

fn decision(change: &Move) -> DecisionStatus {
    let number = |n: u32| i32::try_from(n).unwrap_or(i32::MAX);
    DecisionStatus {
        time: change.time.clone(),
        from: number(change.from),
        to: number(change.to),
        reason: change.reason.to_owned(),
        message: change.message.clone(),
    }
}

fn selector(group: &ConsumerGroup) -> String {
    let labels = labels(GROUP_KIND, &group.name_any());
    labels.iter().map(|(k, v)| format!("{k}={v}")).collect::<Vec<_>>().join(",")
}

/// Writes the lag on a decision, when it becomes known or unknown, and otherwise at most once a minute.
fn lag(before: &ConsumerGroupStatus, next: &mut ConsumerGroupStatus, view: &View, decided: bool, now: &Time) {
    let Some(seen) = view.lag.as_ref().filter(|lag| !lag.blink) else { return };
    let rounded = |n: u64| i64::try_from(significant(n)).ok();
    let fresh = LagStatus {
        total: seen.total.known().and_then(rounded),
        max: seen.max.and_then(rounded),
        valid: seen.valid(),
    };
    let partitions = seen.partitions.and_then(|p| i32::try_from(p).ok());
    if partitions.is_some() {
        next.partitions = partitions;
    }
    let flipped = before.lag.as_ref().is_none_or(|lag| lag.valid != fresh.valid);
    let drained = fresh.total == Some(0) && before.lag.as_ref().and_then(|l| l.total) != Some(0);
    let due = before.lag_time.as_ref().is_none_or(|t| now.0.as_second() - t.0.as_second() >= LAG_INTERVAL);
    if before.lag.as_ref() != Some(&fresh) && (decided || flipped || drained || due) {
        next.lag = Some(fresh);
        next.lag_time = Some(now.clone());
    }
}

/// Two significant digits.
fn significant(n: u64) -> u64 {
    let mut unit = 1;
    while n / unit >= 100 {
        unit *= 10;
    }
    (n + unit / 2) / unit * unit
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lag_is_told_in_two_significant_digits() {
        for (n, told) in [(0, 0), (7, 7), (99, 99), (123, 120), (15_499, 15_000), (299_999, 300_000)] {
            assert_eq!(significant(n), told, "{n}");
        }
    }
}
