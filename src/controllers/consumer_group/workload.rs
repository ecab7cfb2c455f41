//! Builds the Deployment and the worker's document. Pure.

use std::time::Duration;

use k8s_openapi::{
    api::{
        apps::v1::{Deployment, DeploymentSpec, DeploymentStrategy, RollingUpdateDeployment},
        core::v1::{ConfigMap, EnvVar},
    },
    apimachinery::pkg::{
        apis::meta::v1::{LabelSelector, ObjectMeta},
        util::intstr::IntOrString,
    },
};
use kube::{Resource, ResourceExt};
use weir_api::{
    ConsumerGroup,
    connection::{AuthenticationType, ConnectionSpec},
    consumer_group::{self as api, ConsumerDelivery, StartFromType},
    fields::{DurationText, TextMap},
};
use weir_model::{
    UnitError,
    names::{FIELD_MANAGER, SCALER_FIELD_MANAGER, WORKER_CREDENTIALS_FOLDER},
    worker_config::{ConsumeConfig, Handler, HttpHandler, Isolation, Order, StartFrom, Task},
};

use crate::{
    context::Settings,
    controllers::pod::{
        GROUP_KIND,
        build::{self, config_map, from_secret, literal, own_pod, worker_config, worker_pod},
        labels,
    },
    kubernetes::apply::owns_replicas,
};

const DEFAULT_SESSION_TIMEOUT: Duration = Duration::from_secs(45);
const DEFAULT_HTTP_TIMEOUT: Duration = Duration::from_secs(10);
const DEFAULT_COMMIT_INTERVAL: Duration = Duration::from_secs(1);
const DEFAULT_INITIAL_BACKOFF: Duration = Duration::from_millis(100);
const DEFAULT_MAX_BACKOFF: Duration = Duration::from_secs(30);
const DEFAULT_CONCURRENCY: u32 = 256;
const DEFAULT_IN_FLIGHT: u32 = 500;

/// What a group is built from.
pub(crate) struct Parts<'a> {
    pub(crate) group: &'a ConsumerGroup,
    pub(crate) connection: &'a ConnectionSpec,
    pub(crate) secret_versions: &'a str,
    pub(crate) topics: &'a [String],
    /// Consumers that a new Deployment begins with.
    pub(crate) initial_replicas: u32,
    pub(crate) existing: Option<&'a Deployment>,
    pub(crate) settings: &'a Settings,
}

/// What is applied for a group.
pub(crate) struct Workload {
    /// Absent with your own image.
    pub(crate) config_map: Option<ConfigMap>,
    pub(crate) deployment: Deployment,
}

/// Builds it.
pub(crate) fn build(parts: &Parts<'_>) -> Result<Workload, UnitError> {
    let Parts { group, connection, settings, .. } = parts;
    let (namespace, name) = (group.namespace().unwrap_or_default(), group.name_any());
    let owner = group.controller_owner_ref(&()).expect("an object of the API server has a name and a uid");
    let labels = labels(GROUP_KIND, &name);
    let pod_parts = build::Parts {
        template: group.spec.template.as_ref(),
        connection,
        labels: labels.clone(),
        secret_versions: parts.secret_versions,
        image: &settings.worker_image,
        image_pull_policy: &settings.worker_image_pull_policy,
    };
    let (config_map, pod) = match &group.spec.handler {
        Some(handler) => {
            let task = Task::Consume(consume(parts, handler)?);
            let config = worker_config(&namespace, &name, connection, task);
            let config_map = config_map(&config, labels.clone(), owner.clone());
            let pod = worker_pod(&pod_parts, "consume", &config_map.name_any());
            (Some(config_map), pod)
        }
        None => (None, own_pod(&pod_parts, environment(parts))),
    };
    let deployment = Deployment {
        metadata: ObjectMeta {
            name: Some(name),
            namespace: Some(namespace),
            labels: Some(labels.clone()),
            owner_references: Some(vec![owner]),
            ..ObjectMeta::default()
        },
        spec: Some(DeploymentSpec {
            replicas: template_replicas(parts.existing, parts.initial_replicas),
            selector: LabelSelector { match_labels: Some(labels), match_expressions: None },
            strategy: Some(DeploymentStrategy {
                type_: Some("RollingUpdate".to_owned()),
                rolling_update: Some(RollingUpdateDeployment {
                    max_surge: Some(IntOrString::String("25%".to_owned())),
                    max_unavailable: Some(IntOrString::String("25%".to_owned())),
                }),
            }),
            progress_deadline_seconds: Some(300),
            template: pod,
            ..DeploymentSpec::default()
        }),
        status: None,
    };
    Ok(Workload { config_map, deployment })
}

/// `replicas` of the template: present at creation, or Kubernetes would start one pod; gone as soon as the scaler is the
/// field manager of the number (earlier would reset it to 1).
fn template_replicas(existing: Option<&Deployment>, initial: u32) -> Option<i32> {
    let Some(existing) = existing else { return i32::try_from(initial).ok() };
    let managers = existing.managed_fields();
    let ours_still = owns_replicas(managers, FIELD_MANAGER) && !owns_replicas(managers, SCALER_FIELD_MANAGER);
    existing.spec.as_ref().and_then(|s| s.replicas).filter(|_| ours_still)
}

/// Whether the Deployment's pods mount this ConfigMap.
pub(crate) fn mounts(deployment: &Deployment, config_map: &ConfigMap) -> bool {
    let pod = deployment.spec.as_ref().and_then(|s| s.template.spec.as_ref());
    let volumes = pod.and_then(|p| p.volumes.as_ref()).into_iter().flatten();
    volumes.filter_map(|v| v.config_map.as_ref()).any(|c| c.name == config_map.name_any())
}

/// Whether no pod of a former template is left.
pub(crate) fn is_rolled_out(deployment: &Deployment) -> bool {
    let Some(status) = &deployment.status else { return false };
    let (replicas, updated) =
        (status.replicas.unwrap_or_default(), status.updated_replicas.unwrap_or_default());
    status.observed_generation == deployment.metadata.generation && replicas == updated
}

fn consume(parts: &Parts<'_>, handler: &api::Handler) -> Result<ConsumeConfig, UnitError> {
    let spec = &parts.group.spec;
    let delivery = spec.delivery.clone().unwrap_or_default();
    let retries = delivery.retries.as_ref();
    let count = |n: Option<i32>, default| n.and_then(|n| u32::try_from(n).ok()).unwrap_or(default);
    Ok(ConsumeConfig {
        group_id: parts.group.group_id(),
        topics: parts.topics.to_vec(),
        start_from: match spec.start_from.type_ {
            StartFromType::Earliest => StartFrom::Earliest,
            StartFromType::Latest => StartFrom::Latest,
        },
        isolation: match spec.isolation {
            Some(api::Isolation::ReadUncommitted) => Isolation::ReadUncommitted,
            Some(api::Isolation::ReadCommitted) | None => Isolation::ReadCommitted,
        },
        session_timeout_ms: milliseconds(spec.session_timeout.as_ref(), DEFAULT_SESSION_TIMEOUT)?,
        handler: match &handler.http {
            Some(http) => Handler::Http(HttpHandler {
                url: http.url.clone(),
                timeout_ms: milliseconds(http.timeout.as_ref(), DEFAULT_HTTP_TIMEOUT)?,
            }),
            None if handler.log.is_some() => Handler::Log,
            None => Handler::Discard,
        },
        order: match delivery.order {
            Some(api::Order::Key) | None => Order::Key,
            Some(api::Order::Partition) => Order::Partition,
            Some(api::Order::None) => Order::None,
        },
        max_concurrency: count(delivery.concurrency.and_then(|c| c.max), DEFAULT_CONCURRENCY),
        in_flight_records: count(delivery.in_flight.and_then(|i| i.records), DEFAULT_IN_FLIGHT),
        commit_interval_ms: milliseconds(
            delivery.commit.as_ref().and_then(|c| c.interval.as_ref()),
            DEFAULT_COMMIT_INTERVAL,
        )?,
        retry_initial_backoff_ms: milliseconds(
            retries.and_then(|r| r.initial_backoff.as_ref()),
            DEFAULT_INITIAL_BACKOFF,
        )?,
        retry_max_backoff_ms: milliseconds(
            retries.and_then(|r| r.max_backoff.as_ref()),
            DEFAULT_MAX_BACKOFF,
        )?,
    })
}

fn milliseconds(text: Option<&DurationText>, default: Duration) -> Result<u32, UnitError> {
    let duration = text.map_or(Ok(default), DurationText::get)?;
    Ok(u32::try_from(duration.as_millis()).unwrap_or(u32::MAX))
}

/// The settings of delivery that the spec leaves out, with the values in effect.
pub(crate) fn effective(delivery: Option<&ConsumerDelivery>) -> TextMap {
    let delivery = delivery.cloned().unwrap_or_default();
    let retries = delivery.retries.as_ref();
    let values = [
        ("order", delivery.order.is_none(), "Key".to_owned()),
        (
            "concurrency.max",
            delivery.concurrency.and_then(|c| c.max).is_none(),
            DEFAULT_CONCURRENCY.to_string(),
        ),
        (
            "inFlight.records",
            delivery.in_flight.and_then(|i| i.records).is_none(),
            DEFAULT_IN_FLIGHT.to_string(),
        ),
        ("commit.interval", delivery.commit.and_then(|c| c.interval).is_none(), "1s".to_owned()),
        (
            "retries.initialBackoff",
            retries.and_then(|r| r.initial_backoff.as_ref()).is_none(),
            "100ms".to_owned(),
        ),
        ("retries.maxBackoff", retries.and_then(|r| r.max_backoff.as_ref()).is_none(), "30s".to_owned()),
    ];
    let absent = values.into_iter().filter(|(_, absent, _)| *absent);
    absent.map(|(name, _, value)| (format!("delivery.{name}"), value)).collect()
}

/// What your own image is told. Names follow Kafka's properties in capitals.
fn environment(parts: &Parts<'_>) -> Vec<EnvVar> {
    let Parts { group, connection, topics, .. } = parts;
    let authentication = &connection.authentication;
    let sasl = match authentication.type_ {
        AuthenticationType::ScramSha512 => Some("SCRAM-SHA-512"),
        AuthenticationType::ScramSha256 => Some("SCRAM-SHA-256"),
        AuthenticationType::Plain => Some("PLAIN"),
        AuthenticationType::None => None,
    };
    let protocol = match (connection.encrypted(), sasl.is_some()) {
        (true, true) => "SASL_SSL",
        (true, false) => "SSL",
        (false, true) => "SASL_PLAINTEXT",
        (false, false) => "PLAINTEXT",
    };
    let mut variables = vec![
        literal("KAFKA_BOOTSTRAP_SERVERS", connection.bootstrap_servers.join(",")),
        literal("KAFKA_SECURITY_PROTOCOL", protocol),
        literal("KAFKA_GROUP_ID", group.group_id()),
        literal("KAFKA_TOPICS", topics.join(",")),
        literal(
            "KAFKA_AUTO_OFFSET_RESET",
            match group.spec.start_from.type_ {
                StartFromType::Earliest => "earliest",
                StartFromType::Latest => "latest",
            },
        ),
        literal(
            "KAFKA_ISOLATION_LEVEL",
            match group.spec.isolation {
                Some(api::Isolation::ReadUncommitted) => "read_uncommitted",
                Some(api::Isolation::ReadCommitted) | None => "read_committed",
            },
        ),
    ];
    if let Some(timeout) = group.spec.session_timeout.as_ref().and_then(|t| t.get().ok()) {
        variables.push(literal("KAFKA_SESSION_TIMEOUT_MS", timeout.as_millis().to_string()));
    }
    if build::ca(connection).is_some() {
        variables.push(literal("KAFKA_SSL_CA_LOCATION", format!("{WORKER_CREDENTIALS_FOLDER}/ca.crt")));
    }
    if let (Some(mechanism), Some(username), Some(password)) =
        (sasl, &authentication.username_secret_ref, &authentication.password_secret_ref)
    {
        variables.push(literal("KAFKA_SASL_MECHANISM", mechanism));
        variables.push(from_secret("KAFKA_SASL_USERNAME", username));
        variables.push(from_secret("KAFKA_SASL_PASSWORD", password));
    }
    variables
}
