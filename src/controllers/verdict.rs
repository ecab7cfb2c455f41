//! The outcome of a visit in the words of kstatus: `Ready`, `Reconciling`, `Stalled`. Pure.

use k8s_openapi::apimachinery::pkg::apis::meta::v1::Condition;
use kube::{Resource, ResourceExt};
use weir_api::condition::{self, Finding};
use weir_model::names::PAUSED_ANNOTATION;

use crate::kubernetes::now;

/// What a visit found about the object as a whole.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Verdict {
    pub(crate) kind: VerdictKind,
    /// One word in CamelCase, from the documented list.
    pub(crate) reason: &'static str,
    /// A full sentence.
    pub(crate) message: String,
}

/// How the object stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum VerdictKind {
    /// It does its job.
    Ready,
    /// It does its job, while something is being changed.
    ReadyChanging,
    /// On the way there for the first time; nothing is wrong.
    Progressing,
    /// Something is wrong that Weir keeps trying to get over.
    Failing,
    /// Nothing helps but a change of the spec, or of what it names.
    Stalled,
}

impl Verdict {
    /// A verdict.
    pub(crate) fn new(kind: VerdictKind, reason: &'static str, message: impl Into<String>) -> Self {
        Self { kind, reason, message: message.into() }
    }

    /// The summary conditions.
    pub(crate) fn findings(&self) -> Vec<Finding> {
        let Self { kind, reason, message } = self;
        match kind {
            VerdictKind::Ready => vec![Finding::yes(condition::READY, reason, message)],
            VerdictKind::ReadyChanging => vec![
                Finding::yes(condition::READY, reason, message),
                Finding::yes(condition::RECONCILING, reason, message),
            ],
            VerdictKind::Progressing => vec![
                Finding::unknown(condition::READY, reason, message),
                Finding::yes(condition::RECONCILING, reason, message),
            ],
            VerdictKind::Failing => vec![
                Finding::no(condition::READY, reason, message),
                Finding::yes(condition::RECONCILING, reason, message),
            ],
            VerdictKind::Stalled => vec![
                Finding::no(condition::READY, reason, message),
                Finding::yes(condition::STALLED, reason, message),
            ],
        }
    }
}

/// Whether the object is paused by annotation.
pub(crate) fn is_paused<K: Resource>(object: &K) -> bool {
    object.annotations().get(PAUSED_ANNOTATION).is_some_and(|v| v == "true")
}

/// The conditions of a paused object: what was known, and that nobody looks any more.
pub(crate) fn paused(previous: &[Condition], generation: i64) -> Vec<Condition> {
    let mut conditions: Vec<Condition> = previous
        .iter()
        .filter(|c| c.type_ != condition::PAUSED && c.type_ != condition::RECONCILING)
        .cloned()
        .collect();
    let message =
        format!("The object is paused; remove the annotation {PAUSED_ANNOTATION} to let Weir continue.");
    let mut findings = Vec::new();
    if !conditions.iter().any(|c| c.type_ == condition::READY) {
        // Paused before the first visit: silence would read as success.
        findings.push(Finding::unknown(condition::READY, "Paused", &message));
    }
    findings.push(Finding::yes(condition::PAUSED, "Paused", message));
    conditions.extend(condition::conditions(previous, &findings, generation, &now()));
    conditions
}

/// Whether an object was created less than ten seconds ago.
pub(crate) fn is_young<K: Resource>(object: &K) -> bool {
    let created = object.meta().creation_timestamp.as_ref();
    created.is_some_and(|created| now().0.as_second() - created.0.as_second() < 10)
}

/// Somebody else's words as the end of a sentence: with one period.
pub(crate) fn sentence(words: &str) -> String {
    let words = words.trim();
    if words.ends_with(['.', '!', '?']) { words.to_owned() } else { format!("{words}.") }
}

/// Whether `next` says `Stalled` for another reason than `previous` did: the moment for an event.
pub(crate) fn newly_stalled<'a>(previous: &[Condition], next: &'a [Condition]) -> Option<&'a Condition> {
    let stalled = next.iter().find(|c| c.type_ == condition::STALLED)?;
    let same = previous.iter().any(|c| c.type_ == condition::STALLED && c.reason == stalled.reason);
    (!same).then_some(stalled)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_object_paused_before_its_first_visit_is_not_taken_for_ready() {
        let conditions = paused(&[], 1);
        assert!(conditions.iter().any(|c| c.type_ == condition::READY && c.status == "Unknown"));
        assert_eq!(paused(&conditions, 2).len(), 2, "each condition stands there once");
    }

    #[test]
    fn reconciling_and_stalled_never_stand_together() {
        for kind in [
            VerdictKind::Ready,
            VerdictKind::ReadyChanging,
            VerdictKind::Progressing,
            VerdictKind::Failing,
            VerdictKind::Stalled,
        ] {
            let findings = Verdict::new(kind, "Because", "A sentence.").findings();
            let has = |t: &str| findings.iter().any(|f| f.type_ == t);
            assert!(!(has(condition::RECONCILING) && has(condition::STALLED)), "{kind:?}");
            assert!(has(condition::READY), "{kind:?}");
        }
    }
}
