//! What a visit of a Topic says, and when the next one is due. Pure.

use std::time::Duration;

use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use weir_api::{
    Topic,
    condition::{self, Finding},
    topic::TopicStatus,
};
use weir_kafka::KafkaError;

use super::{
    act::Outcome,
    observe::{Observed, Present},
    plan::{Changes, Plan},
};
use crate::{
    controllers::verdict::{Verdict, VerdictKind, sentence},
    kubernetes::runner::Next,
};

/// The status after a visit.
pub(crate) fn status(
    topic: &Topic,
    before: &TopicStatus,
    observed: &Observed,
    plan: &Plan,
    outcome: &Outcome,
    now: &Time,
) -> TopicStatus {
    let generation = topic.metadata.generation.unwrap_or_default();
    let Some(verdict) = verdict(topic, plan, outcome) else { return before.clone() };
    let mut findings = verdict.findings();
    findings.push(synced(&verdict));
    let mut next = TopicStatus {
        observed_generation: generation,
        topic_name: Some(topic.topic_name()),
        pending_create: match plan {
            Plan::Create => (outcome.creating).then_some(true),
            Plan::Keep | Plan::Wait(_) => before.pending_create,
            Plan::Change(_) => None,
        },
        conditions: condition::conditions(&before.conditions, &findings, generation, now),
        ..before.clone()
    };
    if let Some(present) = ours(observed, plan, outcome) {
        next.topic_id = Some(present.id.clone());
        next.cluster_id = Some(present.cluster_id.clone());
        next.partitions = Some(present.partitions);
        next.replication_factor = Some(present.replication_factor);
        next.managed_config_keys = managed(topic, before, present);
    }
    next
}

/// The topic as it is now, provided that it is ours.
fn ours<'a>(observed: &'a Observed, plan: &Plan, outcome: &'a Outcome) -> Option<&'a Present> {
    match (plan, observed) {
        (Plan::Create, _) => outcome.present.as_ref(),
        (Plan::Change(_), Observed::Present(present)) => outcome.present.as_ref().or(Some(present)),
        (Plan::Change(_) | Plan::Keep | Plan::Wait(_), _) => None,
    }
}

/// Keys of the spec that took effect, and keys whose reset has not succeeded yet.
fn managed(topic: &Topic, before: &TopicStatus, present: &Present) -> Vec<String> {
    let mut keys: Vec<String> =
        topic.spec.config.keys().filter(|key| present.config.contains_key(*key)).cloned().collect();
    let waiting = before.managed_config_keys.iter().filter(|key| present.config.contains_key(*key));
    keys.extend(waiting.cloned());
    keys.sort();
    keys.dedup();
    keys
}

/// What to say; nothing new while everything is kept.
fn verdict(topic: &Topic, plan: &Plan, outcome: &Outcome) -> Option<Verdict> {
    let name = topic.topic_name();
    if let Some(error) = outcome.errors.first() {
        return Some(refused(&name, error));
    }
    let settled = || Verdict::new(VerdictKind::Ready, "Synced", format!("Topic {name} is as specified."));
    match plan {
        Plan::Keep => None,
        Plan::Wait(verdict) => Some(verdict.clone()),
        Plan::Create if outcome.present.is_none() => Some(Verdict::new(
            VerdictKind::Progressing,
            "Creating",
            format!("Topic {name} is being created; not every partition has a leader yet."),
        )),
        Plan::Create => Some(settled()),
        Plan::Change(Changes { impossible, .. }) => Some(match impossible.first() {
            Some((reason, message)) => Verdict::new(VerdictKind::Stalled, reason, message),
            None => settled(),
        }),
    }
}

fn refused(name: &str, error: &KafkaError) -> Verdict {
    let detail = error.detail();
    let (kind, reason, advice) = if error.is_invalid_config() {
        (
            VerdictKind::Stalled,
            "InvalidConfig",
            "Change spec.config; what was in effect before stays in effect.",
        )
    } else if error.is_invalid_replication_factor() {
        (
            VerdictKind::Stalled,
            "InsufficientBrokers",
            "Lower replicationFactor or add brokers; Weir tries again by itself.",
        )
    } else if error.is_invalid_partitions() {
        (VerdictKind::Stalled, "InvalidPartitions", "Change spec.partitions.")
    } else if error.is_invalid_topic() {
        (VerdictKind::Stalled, "InvalidTopicName", "Set another spec.topicName in a new Topic.")
    } else if error.is_unauthorized() {
        (
            VerdictKind::Stalled,
            "Unauthorized",
            "Give the Connection's principal the right; Weir tries again by itself.",
        )
    } else if error.is_policy_violation() {
        (VerdictKind::Stalled, "PolicyViolation", "Change the spec to what the brokers' policy allows.")
    } else if error.is_transient() {
        (VerdictKind::Failing, "KafkaUnavailable", "Weir tries again by itself.")
    } else {
        (VerdictKind::Failing, "KafkaError", "Weir tries again by itself.")
    };
    Verdict::new(kind, reason, format!("The brokers refused topic {name}: {} {advice}", sentence(&detail)))
}

fn synced(verdict: &Verdict) -> Finding {
    let Verdict { kind, reason, message } = verdict;
    match kind {
        VerdictKind::Ready | VerdictKind::ReadyChanging => {
            Finding::yes(condition::TOPIC_SYNCED, reason, message)
        }
        VerdictKind::Progressing => Finding::unknown(condition::TOPIC_SYNCED, reason, message),
        VerdictKind::Failing | VerdictKind::Stalled => Finding::no(condition::TOPIC_SYNCED, reason, message),
    }
}

/// When to look again.
pub(crate) fn next_visit(plan: &Plan, outcome: &Outcome, resync: Duration, retry: Duration) -> Next {
    if !outcome.errors.is_empty() || outcome.creating {
        return Next::Retry(retry);
    }
    match plan {
        Plan::Keep | Plan::Wait(_) => Next::Retry(retry),
        Plan::Create | Plan::Change(_) => Next::After(resync),
    }
}
