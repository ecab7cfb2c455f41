//! The one error of this crate, and the faults of a connection behind it.
//!
//! Texts of librdkafka and of brokers are kept word for word; they may hold addresses, never credentials.

use std::{fmt, time::Duration};

/// Why a cluster cannot be used right now, as the client's own connection attempts saw it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Fault {
    /// The brokers refused the user name, the password or the mechanism.
    Authentication(String),
    /// The encrypted connection could not be made: unknown authority, wrong host name, no TLS on that port.
    Tls(String),
    /// A broker's host name has no address.
    Resolve(String),
    /// A connection was refused, broken or never answered.
    Transport(String),
    /// No broker is connected.
    AllBrokersDown,
}

impl Fault {
    /// A short name of bounded variety, for metrics and conditions.
    #[must_use]
    pub fn category(&self) -> &'static str {
        match self {
            Self::Authentication(_) => "authentication",
            Self::Tls(_) => "tls",
            Self::Resolve(_) => "resolve",
            Self::Transport(_) => "transport",
            Self::AllBrokersDown => "all-brokers-down",
        }
    }

    /// Whether waiting cannot help: somebody must change a secret, a certificate or an address.
    #[must_use]
    pub fn needs_a_change(&self) -> bool {
        match self {
            Self::Authentication(_) | Self::Tls(_) | Self::Resolve(_) => true,
            Self::Transport(_) | Self::AllBrokersDown => false,
        }
    }

    /// How much a fault explains; a vaguer one does not replace a more telling one.
    pub(crate) fn rank(&self) -> u8 {
        match self {
            Self::Authentication(_) | Self::Tls(_) => 3,
            Self::Resolve(_) => 2,
            Self::Transport(_) => 1,
            Self::AllBrokersDown => 0,
        }
    }

    /// Reads librdkafka's local error codes; `None` if the code is not about a connection.
    pub(crate) fn from_code(code: i32, text: &str) -> Option<Self> {
        let text = steady(text);
        match code {
            code::AUTHENTICATION | code::SASL_AUTHENTICATION_FAILED => {
                Some(Self::Authentication(text.to_owned()))
            }
            code::SSL => Some(Self::Tls(text.to_owned())),
            code::RESOLVE => Some(Self::Resolve(text.to_owned())),
            code::TRANSPORT => Some(Self::Transport(text.to_owned())),
            code::ALL_BROKERS_DOWN => Some(Self::AllBrokersDown),
            _ => None,
        }
    }
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Authentication(text) => write!(f, "the brokers refused the credentials: {text}"),
            Self::Tls(text) => write!(f, "the encrypted connection failed: {text}"),
            Self::Resolve(text) => write!(f, "a host name has no address: {text}"),
            Self::Transport(text) => write!(f, "a broker could not be reached: {text}"),
            Self::AllBrokersDown => f.write_str("no broker is connected"),
        }
    }
}

/// What can go wrong with a call to a cluster.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum KafkaError {
    /// No answer in time. The call may have had its effect: describe, then decide.
    #[error("failed to {operation} within {after:?}{}", because(.fault.as_ref()))]
    Timeout {
        /// What was asked, such as `create the topic`.
        operation: &'static str,
        /// How long the call waited.
        after: Duration,
        /// The connection's fault at that time, if there was one.
        fault: Option<Fault>,
    },
    /// A broker answered with an error.
    #[error("failed to {operation}: {message} ({name})")]
    Broker {
        /// What was asked.
        operation: &'static str,
        /// Kafka's error code.
        code: i32,
        /// Kafka's name of the code, such as `INVALID_CONFIG`.
        name: String,
        /// The broker's own words; librdkafka's text for the code where the broker gave none.
        message: String,
    },
    /// The connection has a fault that waiting does not cure.
    #[error("failed to reach Kafka: {0}")]
    Fault(Fault),
    /// The handle is being closed.
    #[error("failed to ask Kafka: the handle is closed")]
    Closed,
    /// librdkafka refused the settings or the request before sending anything.
    #[error("failed to use the Kafka client: {0}")]
    Client(String),
}

/// Leaves out how long and how often, which librdkafka appends: `(after 443ms in state AUTH_REQ, 1 identical error(s)
/// suppressed)`. The same fault must read the same, or every attempt would be news.
fn steady(text: &str) -> &str {
    match text.rfind(" (after ") {
        Some(at) if text[at..].contains("ms in state ") => &text[..at],
        Some(_) | None => text,
    }
}

fn because(fault: Option<&Fault>) -> String {
    fault.map_or_else(String::new, |fault| format!(": {fault}"))
}

impl KafkaError {
    /// Sorts an error code of librdkafka (negative) or of a broker (positive).
    pub(crate) fn from_code(operation: &'static str, code: i32, name: String, message: String) -> Self {
        match code {
            code::TIMED_OUT | code::TIMED_OUT_QUEUE => {
                // The caller knows how long it waited and what the connection's fault is.
                Self::Timeout { operation, after: Duration::ZERO, fault: None }
            }
            code::DESTROY => Self::Closed,
            code::UNKNOWN_TOPIC | code::UNKNOWN_PARTITION => Self::Broker { operation, code, name, message },
            code if code > 0 && code != code::SASL_AUTHENTICATION_FAILED => {
                Self::Broker { operation, code, name, message }
            }
            code => match Fault::from_code(code, &message) {
                Some(fault) => Self::Fault(fault),
                None => Self::Client(format!("{message} ({name})")),
            },
        }
    }

    /// A short name of bounded variety, for metrics.
    #[must_use]
    pub fn category(&self) -> &'static str {
        match self {
            Self::Timeout { .. } => "timeout",
            Self::Broker { .. } if self.is_unauthorized() => "unauthorized",
            Self::Broker { .. } if self.is_transient() => "broker-transient",
            Self::Broker { .. } => "broker",
            Self::Fault(fault) => fault.category(),
            Self::Closed => "closed",
            Self::Client(_) => "client",
        }
    }

    /// The broker's or client's own words, without what was being done; for conditions.
    #[must_use]
    pub fn detail(&self) -> String {
        match self {
            Self::Broker { message, .. } | Self::Client(message) => message.clone(),
            Self::Fault(fault) | Self::Timeout { fault: Some(fault), .. } => fault.to_string(),
            Self::Timeout { fault: None, .. } | Self::Closed => self.to_string(),
        }
    }

    /// The connection's fault, if the error comes with one.
    #[must_use]
    pub fn fault(&self) -> Option<&Fault> {
        match self {
            Self::Fault(fault) | Self::Timeout { fault: Some(fault), .. } => Some(fault),
            Self::Timeout { fault: None, .. } | Self::Broker { .. } | Self::Closed | Self::Client(_) => None,
        }
    }

    /// Kafka's error code, if a broker answered.
    #[must_use]
    pub fn code(&self) -> Option<i32> {
        match self {
            Self::Broker { code, .. } => Some(*code),
            Self::Timeout { .. } | Self::Fault(_) | Self::Closed | Self::Client(_) => None,
        }
    }

    /// The topic or partition does not exist.
    #[must_use]
    pub fn is_unknown_topic(&self) -> bool {
        self.is(&[
            code::UNKNOWN_TOPIC_OR_PARTITION,
            code::UNKNOWN_TOPIC_ID,
            code::UNKNOWN_TOPIC,
            code::UNKNOWN_PARTITION,
        ])
    }

    /// A topic of that name exists already.
    #[must_use]
    pub fn is_topic_exists(&self) -> bool {
        self.is(&[code::TOPIC_ALREADY_EXISTS])
    }

    /// The principal may not do this to the topic, the group or the cluster.
    #[must_use]
    pub fn is_unauthorized(&self) -> bool {
        self.is(&[
            code::TOPIC_AUTHORIZATION_FAILED,
            code::GROUP_AUTHORIZATION_FAILED,
            code::CLUSTER_AUTHORIZATION_FAILED,
        ])
    }

    /// A configuration key or value was refused.
    #[must_use]
    pub fn is_invalid_config(&self) -> bool {
        self.is(&[code::INVALID_CONFIG])
    }

    /// The replication factor is impossible, usually because there are fewer brokers.
    #[must_use]
    pub fn is_invalid_replication_factor(&self) -> bool {
        self.is(&[code::INVALID_REPLICATION_FACTOR])
    }

    /// The partition count is impossible, or is the present one.
    #[must_use]
    pub fn is_invalid_partitions(&self) -> bool {
        self.is(&[code::INVALID_PARTITIONS])
    }

    /// The topic's name is not legal.
    #[must_use]
    pub fn is_invalid_topic(&self) -> bool {
        self.is(&[code::INVALID_TOPIC])
    }

    /// A policy of the brokers forbids it, or the request was too large.
    #[must_use]
    pub fn is_policy_violation(&self) -> bool {
        self.is(&[code::POLICY_VIOLATION])
    }

    /// The brokers are configured not to delete topics (`delete.topic.enable=false`).
    #[must_use]
    pub fn is_deletion_disabled(&self) -> bool {
        self.is(&[code::TOPIC_DELETION_DISABLED])
    }

    /// The same call may succeed later without anybody changing anything.
    #[must_use]
    pub fn is_transient(&self) -> bool {
        match self {
            Self::Timeout { .. } => true,
            Self::Fault(fault) => !fault.needs_a_change(),
            Self::Broker { code, .. } => code::TRANSIENT.contains(code),
            Self::Closed | Self::Client(_) => false,
        }
    }

    /// The broker that was asked does not coordinate the group.
    pub(crate) fn is_wrong_coordinator(&self) -> bool {
        self.is(&[code::NOT_COORDINATOR, code::COORDINATOR_NOT_AVAILABLE])
    }

    fn is(&self, codes: &[i32]) -> bool {
        self.code().is_some_and(|code| codes.contains(&code))
    }
}

/// Error codes: negative ones are librdkafka's (`rdkafka.h`), the others Kafka's (`org.apache.kafka.common.protocol.Errors`).
pub(crate) mod code {
    pub(crate) const TRANSPORT: i32 = -195;
    pub(crate) const DESTROY: i32 = -197;
    pub(crate) const RESOLVE: i32 = -193;
    pub(crate) const UNKNOWN_PARTITION: i32 = -190;
    pub(crate) const UNKNOWN_TOPIC: i32 = -188;
    pub(crate) const ALL_BROKERS_DOWN: i32 = -187;
    pub(crate) const TIMED_OUT: i32 = -185;
    pub(crate) const SSL: i32 = -181;
    pub(crate) const AUTHENTICATION: i32 = -169;
    pub(crate) const TIMED_OUT_QUEUE: i32 = -166;
    pub(crate) const NO_LEADERS: i32 = -156;

    pub(crate) const UNKNOWN_TOPIC_OR_PARTITION: i32 = 3;
    pub(crate) const LEADER_NOT_AVAILABLE: i32 = 5;
    pub(crate) const COORDINATOR_NOT_AVAILABLE: i32 = 15;
    pub(crate) const NOT_COORDINATOR: i32 = 16;
    pub(crate) const INVALID_TOPIC: i32 = 17;
    pub(crate) const TOPIC_AUTHORIZATION_FAILED: i32 = 29;
    pub(crate) const GROUP_AUTHORIZATION_FAILED: i32 = 30;
    pub(crate) const CLUSTER_AUTHORIZATION_FAILED: i32 = 31;
    pub(crate) const TOPIC_ALREADY_EXISTS: i32 = 36;
    pub(crate) const INVALID_PARTITIONS: i32 = 37;
    pub(crate) const INVALID_REPLICATION_FACTOR: i32 = 38;
    pub(crate) const INVALID_CONFIG: i32 = 40;
    pub(crate) const POLICY_VIOLATION: i32 = 44;
    pub(crate) const SASL_AUTHENTICATION_FAILED: i32 = 58;
    pub(crate) const GROUP_ID_NOT_FOUND: i32 = 69;
    pub(crate) const TOPIC_DELETION_DISABLED: i32 = 73;
    pub(crate) const UNKNOWN_TOPIC_ID: i32 = 100;

    /// Kafka's retriable errors, and quotas.
    pub(crate) const TRANSIENT: &[i32] = &[
        5,  // LEADER_NOT_AVAILABLE
        6,  // NOT_LEADER_OR_FOLLOWER
        7,  // REQUEST_TIMED_OUT
        8,  // BROKER_NOT_AVAILABLE
        9,  // REPLICA_NOT_AVAILABLE
        13, // NETWORK_EXCEPTION
        14, // COORDINATOR_LOAD_IN_PROGRESS
        15, // COORDINATOR_NOT_AVAILABLE
        16, // NOT_COORDINATOR
        19, // NOT_ENOUGH_REPLICAS
        41, // NOT_CONTROLLER
        56, // KAFKA_STORAGE_ERROR
        60, // REASSIGNMENT_IN_PROGRESS
        74, // FENCED_LEADER_EPOCH
        75, // UNKNOWN_LEADER_EPOCH
        78, // OFFSET_NOT_AVAILABLE
        88, // UNSTABLE_OFFSET_COMMIT
        89, // THROTTLING_QUOTA_EXCEEDED
    ];
}

#[cfg(test)]
mod tests {
    use super::*;

    fn error(code: i32, message: &str) -> KafkaError {
        KafkaError::from_code("create the topic", code, "NAME".to_owned(), message.to_owned())
    }

    #[test]
    fn the_brokers_words_survive() {
        let refused = error(40, "Unknown topic config name: foo");
        assert!(refused.is_invalid_config() && !refused.is_transient());
        assert_eq!(refused.to_string(), "failed to create the topic: Unknown topic config name: foo (NAME)");
        assert_eq!(refused.detail(), "Unknown topic config name: foo");
    }

    #[test]
    fn the_same_fault_reads_the_same_at_every_attempt() {
        let text = |ms: u32| {
            format!("broker: Connect failed (after {ms}ms in state CONNECT, 1 identical error(s) suppressed)")
        };
        assert_eq!(Fault::from_code(-195, &text(3)), Fault::from_code(-195, &text(12)));
        assert_eq!(steady("refused (no listener)"), "refused (no listener)");
    }

    #[test]
    fn codes_sort_into_answers_faults_and_timeouts() {
        assert!(error(3, "").is_unknown_topic() && error(-188, "").is_unknown_topic());
        assert!(error(36, "").is_topic_exists());
        assert!(error(29, "").is_unauthorized() && error(31, "").is_unauthorized());
        assert_eq!(error(29, "").category(), "unauthorized");
        assert_eq!(error(-169, "x"), KafkaError::Fault(Fault::Authentication("x".to_owned())));
        assert_eq!(error(58, "x"), KafkaError::Fault(Fault::Authentication("x".to_owned())));
        assert_eq!(error(-181, "x"), KafkaError::Fault(Fault::Tls("x".to_owned())));
        assert_eq!(error(-197, ""), KafkaError::Closed);
        assert!(error(-185, "").is_transient() && error(41, "").is_transient());
        assert!(matches!(error(-186, "bad argument"), KafkaError::Client(_)));
    }
}
