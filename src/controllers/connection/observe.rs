//! Reads Secrets and asks the brokers. The only part of this controller that does I/O besides writing the status.

use k8s_openapi::api::core::v1::Secret;
use kube::{Api, ResourceExt};
use weir_api::{Connection, connection::AuthenticationType, fields::SecretKeyReference};
use weir_kafka::{ClusterDescription, ConnectionSettings, KafkaError, Password, Sasl, Tls};
use weir_model::worker_config::SaslMechanism;

use crate::{
    catalog::Key,
    context::Context,
    kubernetes::{KubernetesError, request},
};

/// What a visit found.
#[derive(Debug)]
pub(crate) enum Observed {
    /// The brokers answered.
    Answered {
        description: ClusterDescription,
        /// Whether the handle is a new one: whoever uses it must look again.
        changed: bool,
        /// Whether only the Secrets changed since the last answer.
        rotated: bool,
        secret_versions: String,
    },
    /// The settings cannot be used as they are.
    Refused { reason: &'static str, message: String },
    /// The brokers did not answer, or not as they should.
    Failed { error: KafkaError },
}

/// Reads the Secrets, then asks the brokers.
pub(crate) async fn observe(
    connection: &Connection,
    key: &Key,
    context: &Context,
) -> Result<Observed, KubernetesError> {
    if !connection.spec.encrypted() && !context.settings.allow_plaintext {
        let message = "tls.mode is Disabled, but this installation does not allow clear text; set tls.mode to Required, or \
                       ask the administrator to set policy.allowPlaintext in the chart's values.";
        return Ok(Observed::Refused { reason: "PlaintextNotAllowed", message: message.to_owned() });
    }
    let (settings, secret_versions) = match read(connection, key, context).await? {
        Ok(read) => read,
        Err(message) => return Ok(Observed::Refused { reason: "SecretMissing", message }),
    };
    let served = context.handles.get(key).is_some();
    let same = context.handles.serves(key, &settings);
    match context.handles.contact(key, &settings, &secret_versions).await {
        Ok(description) => {
            let (changed, rotated) = (!same, served && !same);
            Ok(Observed::Answered { description, changed, rotated, secret_versions })
        }
        Err(error) => {
            context.metrics.kafka_failed("describe_cluster", error.category());
            Ok(Observed::Failed { error })
        }
    }
}

type Settings = (ConnectionSettings, String);

/// The settings and the versions of the Secrets behind them; a sentence if a Secret or key is missing.
async fn read(
    connection: &Connection,
    key: &Key,
    context: &Context,
) -> Result<Result<Settings, String>, KubernetesError> {
    let spec = &connection.spec;
    let mut secrets = Secrets { key, context, versions: Vec::new() };
    let mut settings = ConnectionSettings {
        bootstrap_servers: spec.bootstrap_servers.clone(),
        tls: spec.encrypted().then_some(Tls { ca_pem: None }),
        sasl: None,
    };
    if let Some(ca) = spec.tls.as_ref().and_then(|tls| tls.ca_secret_ref.as_ref()) {
        match secrets.get(ca).await? {
            Ok(pem) => settings.tls = Some(Tls { ca_pem: Some(pem) }),
            Err(message) => return Ok(Err(message)),
        }
    }
    let authentication = &spec.authentication;
    if let (Some(mechanism), Some(username), Some(password)) = (
        mechanism(authentication.type_),
        authentication.username_secret_ref.as_ref(),
        authentication.password_secret_ref.as_ref(),
    ) {
        let username = match secrets.get(username).await? {
            Ok(username) => username,
            Err(message) => return Ok(Err(message)),
        };
        match secrets.get(password).await? {
            Ok(password) => {
                settings.sasl = Some(Sasl { mechanism, username, password: Password::new(password) });
            }
            Err(message) => return Ok(Err(message)),
        }
    }
    secrets.versions.sort();
    secrets.versions.dedup();
    Ok(Ok((settings, secrets.versions.join(","))))
}

fn mechanism(type_: AuthenticationType) -> Option<SaslMechanism> {
    match type_ {
        AuthenticationType::ScramSha512 => Some(SaslMechanism::ScramSha512),
        AuthenticationType::ScramSha256 => Some(SaslMechanism::ScramSha256),
        AuthenticationType::Plain => Some(SaslMechanism::Plain),
        AuthenticationType::None => None,
    }
}

struct Secrets<'a> {
    key: &'a Key,
    context: &'a Context,
    /// `name@resourceVersion` of what was read.
    versions: Vec<String>,
}

impl Secrets<'_> {
    /// The text under a key; a sentence if there is none.
    async fn get(
        &mut self,
        reference: &SecretKeyReference,
    ) -> Result<Result<String, String>, KubernetesError> {
        let SecretKeyReference { name, key } = reference;
        let namespace = &self.key.namespace;
        let api: Api<Secret> = Api::namespaced(self.context.applier.client(), namespace);
        let Some(secret) = request("read a Secret", api.get_opt(name)).await? else {
            return Ok(Err(format!(
                "Secret {name} does not exist in namespace {namespace}; create it with the key {key}."
            )));
        };
        self.versions.push(format!("{name}@{}", secret.resource_version().unwrap_or_default()));
        let Some(value) = secret.data.as_ref().and_then(|data| data.get(key)) else {
            let keys: Vec<_> = secret.data.iter().flatten().map(|(k, _)| k.as_str()).collect();
            return Ok(Err(format!(
                "Secret {name} has no key {key}; it has: {}.",
                if keys.is_empty() { "nothing".to_owned() } else { keys.join(", ") }
            )));
        };
        Ok(String::from_utf8(value.0.clone())
            .map_err(|_| format!("Key {key} of Secret {name} is not UTF-8 text.")))
    }
}
