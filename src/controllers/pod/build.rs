//! Builds worker pods from a spec's template: restricted, with the configuration and the credentials as files.

use k8s_openapi::{
    api::core::v1 as core,
    apimachinery::pkg::{
        api::resource::Quantity, apis::meta::v1::ObjectMeta, apis::meta::v1::OwnerReference,
        util::intstr::IntOrString,
    },
};
use weir_api::{
    connection::{AuthenticationType, ConnectionSpec},
    fields::SecretKeyReference,
    template::{Container, ImagePullPolicy, PodTemplate, PodTemplateSpec, TaintEffect, TolerationOperator},
};
use weir_model::{
    names::{WORKER_CONFIG_FOLDER, WORKER_CONTAINER, WORKER_CREDENTIALS_FOLDER, WORKER_PORT},
    worker_config::{CONFIG_VERSION, ConnectionConfig, SaslMechanism, Task, WorkerConfig},
};

/// Annotation of pods: which versions of the Secrets they mount, so that a rotation rolls them.
pub(crate) const CREDENTIALS_ANNOTATION: &str = "kafka.weir.dev/credentials";

/// Everything that a pod is built from.
pub(crate) struct Parts<'a> {
    pub(crate) template: Option<&'a PodTemplate>,
    pub(crate) connection: &'a ConnectionSpec,
    pub(crate) labels: std::collections::BTreeMap<String, String>,
    /// Versions of the Secrets.
    pub(crate) secret_versions: &'a str,
    pub(crate) image: &'a str,
    pub(crate) image_pull_policy: &'a str,
}

/// The operator's document for a worker.
pub(crate) fn worker_config(
    namespace: &str,
    name: &str,
    connection: &ConnectionSpec,
    task: Task,
) -> WorkerConfig {
    WorkerConfig {
        version: CONFIG_VERSION,
        namespace: namespace.to_owned(),
        name: name.to_owned(),
        connection: ConnectionConfig {
            bootstrap_servers: connection.bootstrap_servers.clone(),
            tls: connection.encrypted(),
            ca_file: ca(connection).is_some(),
            sasl: match connection.authentication.type_ {
                AuthenticationType::ScramSha512 => Some(SaslMechanism::ScramSha512),
                AuthenticationType::ScramSha256 => Some(SaslMechanism::ScramSha256),
                AuthenticationType::Plain => Some(SaslMechanism::Plain),
                AuthenticationType::None => None,
            },
        },
        task,
    }
}

/// An immutable ConfigMap, named by its content, that holds the document.
pub(crate) fn config_map(
    config: &WorkerConfig,
    labels: std::collections::BTreeMap<String, String>,
    owner: OwnerReference,
) -> core::ConfigMap {
    let json = serde_json::to_string_pretty(config).expect("the document has text keys only");
    core::ConfigMap {
        metadata: ObjectMeta {
            name: Some(format!("{}-{}", config.name, digest(&json))),
            namespace: Some(config.namespace.clone()),
            labels: Some(labels),
            owner_references: Some(vec![owner]),
            ..ObjectMeta::default()
        },
        immutable: Some(true),
        data: Some([("config.json".to_owned(), json)].into()),
        ..core::ConfigMap::default()
    }
}

/// Ten hexadecimal digits that change with the text (FNV-1a; a name, not a protection).
pub(crate) fn digest(text: &str) -> String {
    let hash = text.bytes().fold(0xcbf2_9ce4_8422_2325_u64, |hash, byte| {
        (hash ^ u64::from(byte)).wrapping_mul(0x0000_0100_0000_01b3)
    });
    format!("{:010x}", hash & 0xff_ffff_ffff)
}

/// A pod whose main container is Weir's worker.
pub(crate) fn worker_pod(parts: &Parts<'_>, verb: &str, config_map: &str) -> core::PodTemplateSpec {
    let own = parts.containers().iter().find(|c| c.name == WORKER_CONTAINER);
    let mut worker = core::Container {
        name: WORKER_CONTAINER.to_owned(),
        image: Some(parts.image.to_owned()),
        image_pull_policy: Some(parts.image_pull_policy.to_owned()),
        command: Some(vec!["/usr/local/bin/weir-worker".to_owned()]),
        args: Some(vec![verb.to_owned()]),
        ports: Some(vec![core::ContainerPort {
            name: Some("http".to_owned()),
            container_port: i32::from(WORKER_PORT),
            ..core::ContainerPort::default()
        }]),
        env: own.map(environment).filter(|env| !env.is_empty()),
        resources: own.and_then(resources).or_else(|| Some(default_resources())),
        readiness_probe: Some(probe("/readyz", 1)),
        liveness_probe: Some(probe("/livez", 10)),
        volume_mounts: Some(vec![
            mount("config", WORKER_CONFIG_FOLDER),
            mount("credentials", WORKER_CREDENTIALS_FOLDER),
        ]),
        security_context: Some(restricted_container()),
        termination_message_policy: Some("FallbackToLogsOnError".to_owned()),
        ..core::Container::default()
    };
    if let Some(context) = worker.security_context.as_mut() {
        context.read_only_root_filesystem = Some(true);
    }
    let sidecars = parts.containers().iter().filter(|c| c.name != WORKER_CONTAINER).map(container);
    let mut volumes = vec![credentials(parts.connection)];
    volumes.push(core::Volume {
        name: "config".to_owned(),
        config_map: Some(core::ConfigMapVolumeSource {
            name: config_map.to_owned(),
            ..core::ConfigMapVolumeSource::default()
        }),
        ..core::Volume::default()
    });
    let mut pod = pod(parts, std::iter::once(worker).chain(sidecars).collect(), volumes);
    if let Some(spec) = pod.spec.as_mut() {
        spec.automount_service_account_token = Some(false);
    }
    pod
}

/// A pod of the user's own containers; the first one gets `environment`, all find the credentials as files.
pub(crate) fn own_pod(parts: &Parts<'_>, environment: Vec<core::EnvVar>) -> core::PodTemplateSpec {
    let mut containers: Vec<core::Container> = parts.containers().iter().map(container).collect();
    for container in &mut containers {
        container.volume_mounts = Some(vec![mount("credentials", WORKER_CREDENTIALS_FOLDER)]);
    }
    if let Some(first) = containers.first_mut() {
        let mut env = environment;
        let mine: Vec<String> = env.iter().map(|e| e.name.clone()).collect();
        env.extend(first.env.take().unwrap_or_default().into_iter().filter(|e| !mine.contains(&e.name)));
        first.env = Some(env);
    }
    pod(parts, containers, vec![credentials(parts.connection)])
}

/// An environment variable with a literal value.
pub(crate) fn literal(name: &str, value: impl Into<String>) -> core::EnvVar {
    core::EnvVar { name: name.to_owned(), value: Some(value.into()), value_from: None }
}

/// An environment variable from a Secret.
pub(crate) fn from_secret(name: &str, reference: &SecretKeyReference) -> core::EnvVar {
    core::EnvVar {
        name: name.to_owned(),
        value: None,
        value_from: Some(core::EnvVarSource {
            secret_key_ref: Some(core::SecretKeySelector {
                name: reference.name.clone(),
                key: reference.key.clone(),
                optional: None,
            }),
            ..core::EnvVarSource::default()
        }),
    }
}

/// Where the authority's certificate is, if the Connection names one.
pub(crate) fn ca(connection: &ConnectionSpec) -> Option<&SecretKeyReference> {
    connection.tls.as_ref().and_then(|tls| tls.ca_secret_ref.as_ref())
}

impl Parts<'_> {
    fn spec(&self) -> Option<&PodTemplateSpec> {
        self.template.and_then(|t| t.spec.as_ref())
    }
    fn containers(&self) -> &[Container] {
        self.spec().map_or(&[], |s| s.containers.as_slice())
    }
}

fn pod(
    parts: &Parts<'_>,
    containers: Vec<core::Container>,
    volumes: Vec<core::Volume>,
) -> core::PodTemplateSpec {
    let metadata = parts.template.and_then(|t| t.metadata.clone()).unwrap_or_default();
    let mut labels = metadata.labels;
    labels.extend(parts.labels.clone());
    let mut annotations = metadata.annotations;
    if !parts.secret_versions.is_empty() {
        annotations.insert(CREDENTIALS_ANNOTATION.to_owned(), parts.secret_versions.to_owned());
    }
    let spec = parts.spec().cloned().unwrap_or_default();
    let secrets = spec.image_pull_secrets.iter();
    core::PodTemplateSpec {
        metadata: Some(ObjectMeta {
            labels: Some(labels),
            annotations: Some(annotations).filter(|a| !a.is_empty()),
            ..ObjectMeta::default()
        }),
        spec: Some(core::PodSpec {
            containers,
            volumes: Some(volumes),
            node_selector: Some(spec.node_selector.clone()).filter(|s| !s.is_empty()),
            tolerations: Some(spec.tolerations.iter().map(toleration).collect::<Vec<_>>())
                .filter(|t: &Vec<_>| !t.is_empty()),
            service_account_name: spec.service_account_name.clone(),
            image_pull_secrets: Some(
                secrets.map(|s| core::LocalObjectReference { name: s.name.clone() }).collect::<Vec<_>>(),
            )
            .filter(|s| !s.is_empty()),
            termination_grace_period_seconds: Some(spec.termination_grace_period_seconds.unwrap_or(30)),
            enable_service_links: Some(false),
            security_context: Some(core::PodSecurityContext {
                run_as_non_root: Some(true),
                seccomp_profile: Some(core::SeccompProfile {
                    type_: "RuntimeDefault".to_owned(),
                    localhost_profile: None,
                }),
                ..core::PodSecurityContext::default()
            }),
            ..core::PodSpec::default()
        }),
    }
}

/// The Connection's Secrets under fixed names in one folder.
fn credentials(connection: &ConnectionSpec) -> core::Volume {
    let authentication = &connection.authentication;
    let sources = [
        (ca(connection), "ca.crt"),
        (authentication.username_secret_ref.as_ref(), "username"),
        (authentication.password_secret_ref.as_ref(), "password"),
    ];
    let sources = sources.into_iter().filter_map(|(reference, file)| {
        let reference = reference?;
        Some(core::VolumeProjection {
            secret: Some(core::SecretProjection {
                name: reference.name.clone(),
                items: Some(vec![core::KeyToPath {
                    key: reference.key.clone(),
                    path: file.to_owned(),
                    mode: None,
                }]),
                optional: None,
            }),
            ..core::VolumeProjection::default()
        })
    });
    core::Volume {
        name: "credentials".to_owned(),
        projected: Some(core::ProjectedVolumeSource { sources: Some(sources.collect()), default_mode: None }),
        ..core::Volume::default()
    }
}

fn container(container: &Container) -> core::Container {
    core::Container {
        name: container.name.clone(),
        image: container.image.clone(),
        image_pull_policy: container.image_pull_policy.map(|policy| {
            match policy {
                ImagePullPolicy::Always => "Always",
                ImagePullPolicy::IfNotPresent => "IfNotPresent",
                ImagePullPolicy::Never => "Never",
            }
            .to_owned()
        }),
        command: Some(container.command.clone()).filter(|c| !c.is_empty()),
        args: Some(container.args.clone()).filter(|a| !a.is_empty()),
        env: Some(environment(container)).filter(|e| !e.is_empty()),
        resources: resources(container),
        security_context: Some(restricted_container()),
        ..core::Container::default()
    }
}

fn environment(container: &Container) -> Vec<core::EnvVar> {
    let from = |source: &weir_api::template::EnvVarSource| core::EnvVarSource {
        secret_key_ref: source.secret_key_ref.as_ref().map(|s| core::SecretKeySelector {
            name: s.name.clone(),
            key: s.key.clone(),
            optional: None,
        }),
        config_map_key_ref: source.config_map_key_ref.as_ref().map(|c| core::ConfigMapKeySelector {
            name: c.name.clone(),
            key: c.key.clone(),
            optional: None,
        }),
        ..core::EnvVarSource::default()
    };
    let variables = container.env.iter().map(|e| core::EnvVar {
        name: e.name.clone(),
        value: e.value.clone(),
        value_from: e.value_from.as_ref().map(from),
    });
    variables.collect()
}

fn resources(container: &Container) -> Option<core::ResourceRequirements> {
    let wanted = container.resources.as_ref()?;
    let quantities = |map: &weir_api::fields::TextMap| {
        Some(
            map.iter()
                .map(|(k, v)| (k.clone(), Quantity(v.clone())))
                .collect::<std::collections::BTreeMap<_, _>>(),
        )
        .filter(|m| !m.is_empty())
    };
    Some(core::ResourceRequirements {
        requests: quantities(&wanted.requests),
        limits: quantities(&wanted.limits),
        claims: None,
    })
}

/// Enough for a worker with default limits; no CPU limit, because throttling looks like lag.
fn default_resources() -> core::ResourceRequirements {
    let quantity = |name: &str, value: &str| (name.to_owned(), Quantity(value.to_owned()));
    core::ResourceRequirements {
        requests: Some([quantity("cpu", "50m"), quantity("memory", "64Mi")].into()),
        limits: Some([quantity("memory", "256Mi")].into()),
        claims: None,
    }
}

fn toleration(toleration: &weir_api::template::Toleration) -> core::Toleration {
    core::Toleration {
        key: toleration.key.clone(),
        operator: toleration.operator.map(|operator| {
            match operator {
                TolerationOperator::Equal => "Equal",
                TolerationOperator::Exists => "Exists",
            }
            .to_owned()
        }),
        value: toleration.value.clone(),
        effect: toleration.effect.map(|effect| {
            match effect {
                TaintEffect::NoSchedule => "NoSchedule",
                TaintEffect::PreferNoSchedule => "PreferNoSchedule",
                TaintEffect::NoExecute => "NoExecute",
            }
            .to_owned()
        }),
        toleration_seconds: None,
    }
}

fn mount(volume: &str, path: &str) -> core::VolumeMount {
    core::VolumeMount {
        name: volume.to_owned(),
        mount_path: path.to_owned(),
        read_only: Some(true),
        ..core::VolumeMount::default()
    }
}

fn probe(path: &str, period_seconds: i32) -> core::Probe {
    core::Probe {
        http_get: Some(core::HTTPGetAction {
            path: Some(path.to_owned()),
            port: IntOrString::Int(i32::from(WORKER_PORT)),
            ..core::HTTPGetAction::default()
        }),
        period_seconds: Some(period_seconds),
        timeout_seconds: Some(5),
        failure_threshold: Some(3),
        ..core::Probe::default()
    }
}

fn restricted_container() -> core::SecurityContext {
    core::SecurityContext {
        allow_privilege_escalation: Some(false),
        capabilities: Some(core::Capabilities { drop: Some(vec!["ALL".to_owned()]), add: None }),
        ..core::SecurityContext::default()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn connection() -> ConnectionSpec {
        serde_json::from_value(serde_json::json!({
            "bootstrapServers": ["kafka:9093"],
            "tls": {"caSecretRef": {"name": "ca", "key": "ca.crt"}},
            "authentication": {"type": "ScramSha512",
                "usernameSecretRef": {"name": "user", "key": "username"},
                "passwordSecretRef": {"name": "user", "key": "password"}}
        }))
        .expect("a valid spec")
    }

    #[test]
    fn a_worker_mounts_every_credential_and_holds_none_in_its_environment() {
        let connection = connection();
        let parts = Parts {
            template: None,
            connection: &connection,
            labels: [("a".to_owned(), "b".to_owned())].into(),
            secret_versions: "user@7",
            image: "weir:1",
            image_pull_policy: "IfNotPresent",
        };
        let pod = worker_pod(&parts, "consume", "billing-0123456789");
        let spec = pod.spec.expect("built");
        let volume = &spec.volumes.expect("built")[0];
        let sources = volume.projected.as_ref().and_then(|p| p.sources.as_ref()).map(Vec::len);
        assert_eq!(sources, Some(3));
        assert!(spec.containers[0].env.is_none());
        assert_eq!(spec.automount_service_account_token, Some(false));
        let annotations = pod.metadata.and_then(|m| m.annotations).unwrap_or_default();
        assert_eq!(annotations.get(CREDENTIALS_ANNOTATION).map(String::as_str), Some("user@7"));
    }

    #[test]
    fn the_digest_changes_with_the_text() {
        assert_ne!(digest("a"), digest("b"));
        assert_eq!(digest("a").len(), 10);
    }
}
