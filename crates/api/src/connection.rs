//! `Connection`: how to reach and authenticate to one Kafka cluster.

use k8s_openapi::apimachinery::pkg::apis::meta::v1::Condition;
use kube::{CustomResource, KubeSchema};
use serde::{Deserialize, Serialize};

use crate::fields::{SecretKeyReference, never_observed, observed_generation};

/// How to reach and authenticate to one Kafka cluster.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, CustomResource, KubeSchema)]
#[serde(rename_all = "camelCase")]
#[kube(
    group = "kafka.weir.dev",
    version = "v1alpha1",
    kind = "Connection",
    plural = "connections",
    namespaced,
    category = "weir",
    doc = "How to reach and authenticate to one Kafka cluster.",
    status = "ConnectionStatus",
    derive = "PartialEq",
    printcolumn(
        name = "Ready",
        type_ = "string",
        json_path = ".status.conditions[?(@.type==\"Ready\")].status"
    ),
    printcolumn(name = "Auth", type_ = "string", json_path = ".spec.authentication.type"),
    printcolumn(name = "Brokers", type_ = "integer", json_path = ".status.brokers"),
    printcolumn(name = "Cluster", type_ = "string", json_path = ".status.clusterId", priority = 1),
    printcolumn(
        name = "Reason",
        type_ = "string",
        json_path = ".status.conditions[?(@.type==\"Ready\")].reason",
        priority = 1
    ),
    printcolumn(name = "Age", type_ = "date", json_path = ".metadata.creationTimestamp")
)]
#[x_kube(validation = (
    "self.authentication.type != 'Plain' || !has(self.tls) || !has(self.tls.mode) || self.tls.mode == 'Required'",
    "authentication type Plain sends the password itself and therefore needs tls.mode Required"
))]
pub struct ConnectionSpec {
    /// `host:port` of brokers to ask first; the others are learned from them.
    #[schemars(
        length(min = 1, max = 32),
        inner(
            length(min = 3, max = 261),
            regex(pattern = "^(\\[[0-9a-fA-F:]+\\]|[A-Za-z0-9._-]+):[0-9]{1,5}$")
        )
    )]
    pub bootstrap_servers: Vec<String>,
    /// Encryption. Absent means required, with the system's certificate authorities.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tls: Option<Tls>,
    /// Who we are.
    pub authentication: Authentication,
}

/// Encryption of the connections.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
#[x_kube(validation = (
    "!(has(self.caSecretRef) && has(self.mode) && self.mode == 'Disabled')",
    "caSecretRef has no meaning with mode Disabled"
))]
pub struct Tls {
    /// `Required` (default) or `Disabled`. `Disabled` also needs the administrator's consent in the chart's values.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub mode: Option<TlsMode>,
    /// PEM certificates of the authorities that sign the brokers' certificates; the system's if absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ca_secret_ref: Option<SecretKeyReference>,
}

/// Whether connections are encrypted.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, schemars::JsonSchema)]
pub enum TlsMode {
    /// Encrypted, and the broker's certificate and host name are verified.
    Required,
    /// In clear text.
    Disabled,
}

/// Who we are to the brokers.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
#[x_kube(validation = (
    "self.type == 'None' ? !has(self.usernameSecretRef) && !has(self.passwordSecretRef) : has(self.usernameSecretRef) && has(self.passwordSecretRef)",
    "usernameSecretRef and passwordSecretRef are required, except for type None, which allows neither"
))]
pub struct Authentication {
    /// The mechanism.
    #[serde(rename = "type")]
    pub type_: AuthenticationType,
    /// Key of a Secret that holds the user name.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub username_secret_ref: Option<SecretKeyReference>,
    /// Key of a Secret that holds the password.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub password_secret_ref: Option<SecretKeyReference>,
}

/// Mechanisms of authentication.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, schemars::JsonSchema)]
pub enum AuthenticationType {
    /// SASL SCRAM-SHA-512.
    ScramSha512,
    /// SASL SCRAM-SHA-256.
    ScramSha256,
    /// SASL PLAIN, over TLS only.
    Plain,
    /// No authentication.
    None,
}

/// What Weir found at the other end.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
pub struct ConnectionStatus {
    /// Generation of the spec that this status is about; −1 before the first visit.
    #[serde(default = "never_observed")]
    #[schemars(schema_with = "observed_generation")]
    pub observed_generation: i64,
    /// Id of the Kafka cluster.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cluster_id: Option<String>,
    /// How many brokers the cluster had at the last contact.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub brokers: Option<i32>,
    /// `Ready`, `Reconciling`, `Stalled`, `Connected`, `Authenticated`, `InsecureTransport`.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[x_kube(merge_strategy = kube::core::ListMerge::Map(vec!["type".into()]))]
    pub conditions: Vec<Condition>,
}

impl Default for ConnectionStatus {
    fn default() -> Self {
        Self {
            observed_generation: never_observed(),
            cluster_id: None,
            brokers: None,
            conditions: Vec::new(),
        }
    }
}

impl ConnectionSpec {
    /// Whether connections are encrypted.
    #[must_use]
    pub fn encrypted(&self) -> bool {
        self.tls.as_ref().and_then(|tls| tls.mode) != Some(TlsMode::Disabled)
    }
}
