//! What a visit of a Connection says. Pure.

use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use weir_api::{
    Connection,
    condition::{self, Finding},
    connection::{AuthenticationType, ConnectionStatus},
};
use weir_kafka::{Fault, KafkaError};

use super::observe::Observed;
use crate::controllers::verdict::{Verdict, VerdictKind, sentence};

/// The status after a visit.
pub(crate) fn status(
    connection: &Connection,
    before: &ConnectionStatus,
    observed: &Observed,
    now: &Time,
) -> ConnectionStatus {
    let generation = connection.metadata.generation.unwrap_or_default();
    let mut findings = verdict(connection, observed).findings();
    findings.extend(details(connection, observed));
    let (cluster_id, brokers) = match observed {
        Observed::Answered { description, .. } => {
            (Some(description.cluster_id.clone()), i32::try_from(description.brokers.len()).ok())
        }
        Observed::Refused { .. } | Observed::Failed { .. } => (before.cluster_id.clone(), before.brokers),
    };
    ConnectionStatus {
        observed_generation: generation,
        cluster_id,
        brokers,
        conditions: condition::conditions(&before.conditions, &findings, generation, now),
    }
}

fn verdict(connection: &Connection, observed: &Observed) -> Verdict {
    let servers = connection.spec.bootstrap_servers.join(",");
    match observed {
        Observed::Answered { description, .. } => Verdict::new(
            VerdictKind::Ready,
            "Connected",
            format!(
                "Kafka cluster {} answers with {} brokers.",
                description.cluster_id,
                description.brokers.len()
            ),
        ),
        Observed::Refused { reason, message } => Verdict::new(VerdictKind::Stalled, reason, message),
        Observed::Failed { error } => {
            let (kind, reason, advice) = judge(error);
            let message = format!("{servers} cannot be used: {} {advice}", sentence(&error.detail()));
            Verdict::new(kind, reason, message)
        }
    }
}

/// What a failure means and what to do about it.
fn judge(error: &KafkaError) -> (VerdictKind, &'static str, &'static str) {
    match error.fault() {
        Some(Fault::Authentication(_)) => (
            VerdictKind::Stalled,
            "AuthenticationFailed",
            "Check the user name and password in the Secrets that the Connection names; Weir tries again by itself.",
        ),
        Some(Fault::Tls(_)) => (
            VerdictKind::Stalled,
            "TlsFailed",
            "Check that tls.caSecretRef holds the authority of the brokers' certificates and that the host names match; \
             Weir tries again by itself.",
        ),
        Some(Fault::Resolve(_)) => (
            VerdictKind::Failing,
            "HostNotFound",
            "Check the host names in bootstrapServers; Weir tries again by itself.",
        ),
        Some(Fault::Transport(_) | Fault::AllBrokersDown) => (
            VerdictKind::Failing,
            "Unreachable",
            "Check that the brokers run and that the network lets Weir reach them; Weir tries again by itself.",
        ),
        None if error.is_unauthorized() => (
            VerdictKind::Stalled,
            "Unauthorized",
            "Give the principal the right to describe the cluster; Weir tries again by itself.",
        ),
        None if error.is_transient() => (VerdictKind::Failing, "Unreachable", "Weir tries again by itself."),
        None => (VerdictKind::Stalled, "InvalidSettings", "Change the Connection."),
    }
}

fn accepted(connection: &Connection) -> &'static str {
    match connection.spec.authentication.type_ {
        AuthenticationType::None => "The brokers ask for no credentials.",
        AuthenticationType::ScramSha512 | AuthenticationType::ScramSha256 | AuthenticationType::Plain => {
            "The brokers accept the credentials."
        }
    }
}

fn details(connection: &Connection, observed: &Observed) -> Vec<Finding> {
    let mut findings = match observed {
        Observed::Answered { description, .. } => vec![
            Finding::yes(
                condition::CONNECTED,
                "Connected",
                format!("{} brokers answer.", description.brokers.len()),
            ),
            Finding::yes(condition::AUTHENTICATED, "Accepted", accepted(connection)),
        ],
        Observed::Refused { message, .. } => vec![
            Finding::unknown(condition::CONNECTED, "NotTried", message),
            Finding::unknown(condition::AUTHENTICATED, "NotTried", message),
        ],
        Observed::Failed { error } => match error.fault() {
            Some(Fault::Authentication(why)) => vec![
                Finding::yes(condition::CONNECTED, "Connected", "The brokers answer."),
                Finding::no(
                    condition::AUTHENTICATED,
                    "AuthenticationFailed",
                    format!("The brokers refuse: {}", sentence(why)),
                ),
            ],
            Some(Fault::Tls(_) | Fault::Resolve(_) | Fault::Transport(_) | Fault::AllBrokersDown) | None => {
                let message = sentence(&error.detail());
                vec![
                    Finding::no(condition::CONNECTED, judge(error).1, message),
                    Finding::unknown(
                        condition::AUTHENTICATED,
                        "NotConnected",
                        "The brokers could not be asked.",
                    ),
                ]
            }
        },
    };
    if !connection.spec.encrypted() {
        findings.push(Finding::yes(
            condition::INSECURE_TRANSPORT,
            "Plaintext",
            "Records travel in clear text, because tls.mode is Disabled.",
        ));
    }
    findings
}

#[cfg(test)]
mod tests {
    use k8s_openapi::jiff::Timestamp;

    use super::*;

    fn connection() -> Connection {
        let mut connection: Connection = serde_json::from_value(serde_json::json!({
            "apiVersion": "kafka.weir.dev/v1alpha1", "kind": "Connection", "metadata": {"name": "kafka"},
            "spec": {"bootstrapServers": ["kafka:9093"], "authentication": {"type": "None"}}
        }))
        .expect("a valid object");
        connection.metadata.generation = Some(3);
        connection
    }

    fn ready_reason(observed: &Observed) -> (Option<bool>, String, bool) {
        let now = Time(Timestamp::from_second(1).expect("in range"));
        let next = status(&connection(), &ConnectionStatus::default(), observed, &now);
        assert_eq!(next.observed_generation, 3);
        let reason = next.conditions[0].reason.clone();
        let stalled = condition::status_of(&next.conditions, condition::STALLED) == Some(true);
        (condition::status_of(&next.conditions, condition::READY), reason, stalled)
    }

    fn failed(fault: Fault) -> Observed {
        Observed::Failed { error: KafkaError::Fault(fault) }
    }

    #[test]
    fn each_fault_has_its_own_reason() {
        let cases = [
            (failed(Fault::Authentication("no".into())), "AuthenticationFailed", true),
            (failed(Fault::Tls("no".into())), "TlsFailed", true),
            (failed(Fault::Resolve("no".into())), "HostNotFound", false),
            (failed(Fault::AllBrokersDown), "Unreachable", false),
            (Observed::Refused { reason: "SecretMissing", message: "m".into() }, "SecretMissing", true),
        ];
        for (observed, reason, stalled) in cases {
            assert_eq!(ready_reason(&observed), (Some(false), reason.to_owned(), stalled));
        }
    }
}
