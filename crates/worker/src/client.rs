//! What every client of the worker has in common: its base configuration, its log, and the watch over its
//! connections. The contexts of producer and consumer forward to [`ConnectionWatch`].

use std::{
    collections::HashMap,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
};

use rdkafka::{
    ClientConfig,
    config::RDKafkaLogLevel,
    error::{KafkaError, RDKafkaErrorCode},
};
use serde::Deserialize;
use weir_kafka::settings::ConnectionSettings;
use weir_model::worker_config::WorkerConfig;

use crate::fault::{Cause, Faults};

/// Addresses, credentials and identity. The client id is the pod's name, by which the operator knows a member.
pub(crate) fn base_config(connection: &ConnectionSettings, config: &WorkerConfig) -> ClientConfig {
    let client_id = std::env::var("HOSTNAME")
        .ok()
        .filter(|name| !name.is_empty())
        .unwrap_or_else(|| format!("{}-{}", config.namespace, config.name));
    let mut client = ClientConfig::new();
    for (key, value) in connection.client_properties() {
        client.set(key, value);
    }
    client.set("client.id", client_id);
    client.set("allow.auto.create.topics", "false");
    // Carries the state of the connections; small enough at this interval even for hundreds of partitions.
    client.set("statistics.interval.ms", "5000");
    client
}

/// Turns the client's events into the connection fault: set when no broker can be used, cleared when one can.
pub(crate) struct ConnectionWatch {
    faults: Arc<Faults>,
    /// Brokers with a usable connection, by the last statistics.
    brokers_up: AtomicUsize,
}

#[derive(Deserialize)]
struct Statistics {
    #[serde(default)]
    brokers: HashMap<String, BrokerStatistics>,
}

#[derive(Deserialize)]
struct BrokerStatistics {
    state: String,
}

impl ConnectionWatch {
    pub(crate) fn new(faults: Arc<Faults>) -> Self {
        Self { faults, brokers_up: AtomicUsize::new(0) }
    }

    /// Statistics: the only place where the client tells that a broker is usable again.
    pub(crate) fn statistics(&self, json: &[u8]) {
        let Ok(statistics) = serde_json::from_slice::<Statistics>(json) else { return };
        let up = statistics.brokers.values().filter(|broker| broker.state == "UP").count();
        self.brokers_up.store(up, Ordering::Relaxed);
        if up > 0 {
            self.faults.clear(Cause::Connection);
        }
    }

    /// An error event of the client. Errors of single requests come here too; most of them are retried silently.
    pub(crate) fn error(&self, error: &KafkaError, reason: &str) {
        let Some(code) = error.rdkafka_error_code() else { return };
        // Durations and counts of the client's own bookkeeping would make every repetition a new sentence.
        let reason = reason.split_once(" (after ").map_or(reason, |(reason, _)| reason);
        if let Some((cause, sentence)) = self.judge(code, reason) {
            self.faults.set(cause, &sentence);
        } else {
            tracing::debug!(code = %code, "The client reports: {reason}.");
        }
    }

    #[allow(clippy::wildcard_enum_match_arm, reason = "the codes are librdkafka's, some two hundred")]
    fn judge(&self, code: RDKafkaErrorCode, reason: &str) -> Option<(Cause, String)> {
        use RDKafkaErrorCode as Code;
        let fault = match code {
            Code::AllBrokersDown => {
                // Often follows a more precise word, which stays.
                if !self.faults.current().is_empty() {
                    return None;
                }
                (Cause::Connection, format!("No broker can be reached: {reason}. The client keeps trying."))
            }
            Code::Authentication | Code::SaslAuthenticationFailed => (
                Cause::Connection,
                format!(
                    "The brokers refused the credentials: {reason}. Check the Secret of the connection; the client keeps trying."
                ),
            ),
            Code::SSL => (
                Cause::Connection,
                format!(
                    "No encrypted connection to the brokers can be made: {reason}. Check the certificate authority."
                ),
            ),
            Code::BrokerTransportFailure | Code::Resolve | Code::OperationTimedOut => {
                if self.brokers_up.load(Ordering::Relaxed) > 0 {
                    return None;
                }
                (
                    Cause::Connection,
                    format!("The brokers cannot be reached: {reason}. The client keeps trying."),
                )
            }
            Code::TopicAuthorizationFailed
            | Code::GroupAuthorizationFailed
            | Code::ClusterAuthorizationFailed => (
                Cause::Topic,
                format!("The brokers do not permit it: {reason}. Grant the principal the right."),
            ),
            Code::UnknownTopicOrPartition | Code::UnknownTopic | Code::UnknownPartition => {
                (Cause::Topic, format!("A topic does not exist: {reason}."))
            }
            _ => return None,
        };
        Some(fault)
    }
}

/// Forwards a line of librdkafka's own log. It may be called from the client's threads.
pub(crate) fn log(level: RDKafkaLogLevel, facility: &str, message: &str) {
    // Failed connections come as error events too, from which the fault is made and logged once.
    if facility == "FAIL" {
        tracing::debug!(facility, "{message}");
        return;
    }
    match level {
        RDKafkaLogLevel::Emerg
        | RDKafkaLogLevel::Alert
        | RDKafkaLogLevel::Critical
        | RDKafkaLogLevel::Error
        | RDKafkaLogLevel::Warning => tracing::warn!(facility, "{message}"),
        RDKafkaLogLevel::Notice | RDKafkaLogLevel::Info => tracing::info!(facility, "{message}"),
        RDKafkaLogLevel::Debug => tracing::debug!(facility, "{message}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_usable_broker_ends_the_connection_fault_and_hides_the_others() {
        let faults = Arc::new(Faults::default());
        let watch = ConnectionWatch::new(Arc::clone(&faults));
        let refused = KafkaError::Global(RDKafkaErrorCode::BrokerTransportFailure);
        watch.error(&refused, "k:9092: connection refused");
        assert!(faults.current().contains("connection refused"), "{}", faults.current());
        watch.statistics(br#"{"brokers":{"a":{"state":"UP","nodeid":1},"b":{"state":"DOWN"}}}"#);
        assert_eq!(faults.current(), "");
        watch.error(&refused, "b: connection refused");
        assert_eq!(faults.current(), "");
    }

    #[test]
    fn a_repeated_failure_is_the_same_sentence() {
        let faults = Arc::new(Faults::default());
        let watch = ConnectionWatch::new(Arc::clone(&faults));
        let refused = KafkaError::Global(RDKafkaErrorCode::Authentication);
        watch.error(&refused, "k: refused (after 322ms in state AUTH_REQ)");
        let first = faults.current();
        watch.error(&refused, "k: refused (after 5ms in state AUTH_REQ, 3 identical error(s) suppressed)");
        assert_eq!(faults.current(), first);
    }

    #[test]
    fn refused_credentials_say_what_to_check() {
        let faults = Arc::new(Faults::default());
        let watch = ConnectionWatch::new(Arc::clone(&faults));
        watch.error(&KafkaError::Global(RDKafkaErrorCode::Authentication), "SASL failed");
        watch.error(&KafkaError::Global(RDKafkaErrorCode::AllBrokersDown), "1/1 brokers are down");
        assert!(faults.current().contains("Secret"), "{}", faults.current());
    }
}
