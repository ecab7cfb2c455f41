//! kstatus, as Flux and `helm --wait` read any object: a port of `Compute` of sigs.k8s.io/cli-utils `pkg/kstatus/status` for
//! kinds without rules of their own (`generic.go`, then `checkReadyCondition` of `core.go`).
//!
//! Pure. The recorder of the integration tests calls it for every status that is ever written.

use serde_json::Value;

/// What kstatus makes of an object.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum KStatus {
    /// It is what its spec says.
    Current,
    /// It is on the way there.
    InProgress,
    /// It does not get there.
    Failed,
    /// It is being deleted.
    Terminating,
}

/// Reads an object, in the order in which kstatus asks.
#[must_use]
pub fn compute(object: &Value) -> KStatus {
    if text(object, "/metadata/deletionTimestamp").is_some_and(|time| !time.is_empty()) {
        return KStatus::Terminating;
    }
    let generation = object.pointer("/metadata/generation").and_then(Value::as_i64);
    let observed = object.pointer("/status/observedGeneration").and_then(Value::as_i64);
    if let (Some(generation), Some(observed)) = (generation, observed)
        && generation != observed
    {
        return KStatus::InProgress;
    }
    // The first of the two in the order of the list decides.
    for condition in conditions(object) {
        match (text(condition, "/type"), text(condition, "/status")) {
            (Some("Reconciling"), Some("True")) => return KStatus::InProgress,
            (Some("Stalled"), Some("True")) => return KStatus::Failed,
            _ => {}
        }
    }
    let ready = conditions(object).iter().find(|condition| text(condition, "/type") == Some("Ready"));
    match ready.map(|condition| text(condition, "/status")) {
        // Nothing said at all counts as success, which is why the definitions default observedGeneration to -1.
        None | Some(Some("True")) => KStatus::Current,
        Some(_) => KStatus::InProgress,
    }
}

/// The conditions in an object's status, in their order.
#[must_use]
pub fn conditions(object: &Value) -> &[Value] {
    object.pointer("/status/conditions").and_then(Value::as_array).map_or(&[], Vec::as_slice)
}

fn text<'a>(value: &'a Value, pointer: &str) -> Option<&'a str> {
    value.pointer(pointer).and_then(Value::as_str)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn object(generation: i64, observed: i64, conditions: &[(&str, &str)]) -> Value {
        let conditions: Vec<_> =
            conditions.iter().map(|(type_, status)| json!({"type": type_, "status": status})).collect();
        json!({
            "metadata": {"generation": generation},
            "status": {"observedGeneration": observed, "conditions": conditions},
        })
    }

    #[test]
    fn an_object_that_nobody_looked_at_is_in_progress() {
        assert_eq!(compute(&object(1, -1, &[])), KStatus::InProgress);
    }

    #[test]
    fn silence_counts_as_success() {
        assert_eq!(compute(&json!({"metadata": {"generation": 1}})), KStatus::Current);
        assert_eq!(compute(&object(1, 1, &[])), KStatus::Current);
    }

    #[test]
    fn a_status_about_an_older_generation_says_nothing() {
        assert_eq!(compute(&object(2, 1, &[("Ready", "True")])), KStatus::InProgress);
        assert_eq!(compute(&object(2, 1, &[("Stalled", "True")])), KStatus::InProgress);
    }

    #[test]
    fn stalled_and_reconciling_go_before_ready_and_the_first_of_them_wins() {
        let cases = [
            (vec![("Ready", "False"), ("Stalled", "True")], KStatus::Failed),
            (vec![("Ready", "True"), ("Reconciling", "True")], KStatus::InProgress),
            (vec![("Stalled", "True"), ("Reconciling", "True")], KStatus::Failed),
            (vec![("Reconciling", "True"), ("Stalled", "True")], KStatus::InProgress),
            (vec![("Reconciling", "False"), ("Ready", "True")], KStatus::Current),
        ];
        for (conditions, expected) in cases {
            assert_eq!(compute(&object(1, 1, &conditions)), expected, "{conditions:?}");
        }
    }

    #[test]
    fn ready_alone_decides_otherwise() {
        for (status, expected) in
            [("True", KStatus::Current), ("False", KStatus::InProgress), ("Unknown", KStatus::InProgress)]
        {
            assert_eq!(compute(&object(1, 1, &[("Ready", status)])), expected, "{status}");
        }
    }

    #[test]
    fn deletion_goes_before_everything() {
        let mut deleted = object(1, 1, &[("Ready", "True")]);
        deleted["metadata"]["deletionTimestamp"] = json!("2026-01-01T00:00:00Z");
        assert_eq!(compute(&deleted), KStatus::Terminating);
    }
}
