//! Connections: each fault has its condition and goes away with its cause.

use anyhow::ensure;
use serde_json::{Value, json};
use weir_api::Connection;
use weir_test_support::{
    TestNamespace,
    kstatus::{self, KStatus},
    namespace::CREDENTIALS,
    wait,
};

use crate::{
    lane::cases,
    objects::{PATIENCE, said},
};

cases![
    every_mechanism_connects,
    a_wrong_password_is_told_and_forgotten_once_the_secret_is_right,
    an_authority_that_did_not_sign_is_told_and_forgotten_once_it_is_right,
    a_missing_secret_or_key_is_told_and_forgotten_once_it_is_there,
    an_unknown_host_is_told_and_forgotten_once_the_address_is_right,
    clear_text_needs_the_administrators_consent,
];

/// The Connection `kafka` under another name, with a part of its spec changed.
fn connection(ns: &TestNamespace, name: &str, pointer: &str, value: &Value) -> Value {
    let mut connection = ns.connection();
    connection["metadata"]["name"] = json!(name);
    if let Some(place) = connection.pointer_mut(pointer) {
        *place = value.clone();
    }
    connection
}

fn secret(ns: &TestNamespace, name: &str, data: &Value) -> Value {
    json!({"apiVersion": "v1", "kind": "Secret", "metadata": {"name": name, "namespace": ns.name}, "stringData": data})
}

async fn connected(ns: &TestNamespace, name: &str) -> anyhow::Result<()> {
    let message = said::<Connection>(ns, name, "Ready", "True", "Connected").await?;
    ensure!(message.contains(&ns.rig.kafka.cluster_id) && message.contains("3 brokers"), "{message}");
    let connection = ns.api::<Connection>().get(name).await?;
    ensure!(connection.status.as_ref().and_then(|s| s.brokers) == Some(3), "{:?}", connection.status);
    Ok(())
}

/// Waits for the reason, and checks that kstatus reads the object as `expected`.
async fn refused(ns: &TestNamespace, name: &str, reason: &str, expected: KStatus) -> anyhow::Result<String> {
    let message = said::<Connection>(ns, name, "Ready", "False", reason).await?;
    let object = serde_json::to_value(ns.api::<Connection>().get(name).await?)?;
    let read = kstatus::compute(&object);
    ensure!(read == expected, "kstatus reads {read:?} where {expected:?} is right: {object:#}");
    Ok(message)
}

async fn every_mechanism_connects(ns: TestNamespace) -> anyhow::Result<()> {
    let mechanisms = [("scram-512", "ScramSha512"), ("scram-256", "ScramSha256"), ("plain", "Plain")];
    for (name, type_) in mechanisms {
        ns.apply(&connection(&ns, name, "/spec/authentication/type", &json!(type_))).await?;
    }
    for (name, _) in mechanisms {
        connected(&ns, name).await?;
        let object = ns.api::<Connection>().get(name).await?;
        ensure!(wait::condition(&object, "InsecureTransport").is_none(), "{:?}", object.status);
    }
    Ok(())
}

async fn a_wrong_password_is_told_and_forgotten_once_the_secret_is_right(
    ns: TestNamespace,
) -> anyhow::Result<()> {
    let password = |text: &str| secret(&ns, "password", &json!({"password": text}));
    ns.apply(&password("wrong")).await?;
    let pointer = "/spec/authentication/passwordSecretRef";
    let reference = json!({"name": "password", "key": "password"});
    ns.apply(&connection(&ns, "kafka", pointer, &reference)).await?;
    let message = refused(&ns, "kafka", "AuthenticationFailed", KStatus::Failed).await?;
    ensure!(!message.contains("wrong"), "the password is told: {message}");
    said::<Connection>(&ns, "kafka", "Authenticated", "False", "AuthenticationFailed").await?;
    ns.apply(&password(ns.rig.password("weir")?)).await?;
    connected(&ns, "kafka").await
}

async fn an_authority_that_did_not_sign_is_told_and_forgotten_once_it_is_right(
    ns: TestNamespace,
) -> anyhow::Result<()> {
    ns.apply(&secret(&ns, "authority", &json!({"ca.crt": ns.rig.other_ca_pem()?}))).await?;
    let reference = json!({"name": "authority", "key": "ca.crt"});
    ns.apply(&connection(&ns, "kafka", "/spec/tls/caSecretRef", &reference)).await?;
    let message = refused(&ns, "kafka", "TlsFailed", KStatus::Failed).await?;
    ensure!(message.contains("caSecretRef"), "{message}");
    ns.apply(&secret(&ns, "authority", &json!({"ca.crt": ns.rig.ca_pem()?}))).await?;
    connected(&ns, "kafka").await
}

async fn a_missing_secret_or_key_is_told_and_forgotten_once_it_is_there(
    ns: TestNamespace,
) -> anyhow::Result<()> {
    let pointer = "/spec/authentication/passwordSecretRef";
    ns.apply(&connection(&ns, "no-secret", pointer, &json!({"name": "absent", "key": "password"}))).await?;
    ns.apply(&connection(&ns, "no-key", pointer, &json!({"name": CREDENTIALS, "key": "passphrase"}))).await?;
    let message = refused(&ns, "no-secret", "SecretMissing", KStatus::Failed).await?;
    ensure!(message.contains("Secret absent does not exist"), "{message}");
    let message = refused(&ns, "no-key", "SecretMissing", KStatus::Failed).await?;
    ensure!(message.contains("has no key passphrase") && message.contains("password"), "{message}");
    let password = ns.rig.password("weir")?;
    ns.apply(&secret(&ns, "absent", &json!({"password": password}))).await?;
    ns.apply(&secret(
        &ns,
        CREDENTIALS,
        &json!({
            "username": "weir", "password": password, "passphrase": password, "ca.crt": ns.rig.ca_pem()?
        }),
    ))
    .await?;
    connected(&ns, "no-secret").await?;
    connected(&ns, "no-key").await
}

async fn an_unknown_host_is_told_and_forgotten_once_the_address_is_right(
    ns: TestNamespace,
) -> anyhow::Result<()> {
    let host = json!(["no-such-host.invalid:9093"]);
    ns.apply(&connection(&ns, "kafka", "/spec/bootstrapServers", &host)).await?;
    let message = refused(&ns, "kafka", "HostNotFound", KStatus::InProgress).await?;
    ensure!(message.contains("no-such-host.invalid"), "{message}");
    ns.apply(&ns.connection()).await?;
    connected(&ns, "kafka").await
}

/// The other half, with consent, is in the disruptive lane: it restarts the operator.
async fn clear_text_needs_the_administrators_consent(ns: TestNamespace) -> anyhow::Result<()> {
    ns.apply(&plaintext(&ns)).await?;
    let message = refused(&ns, "plain", "PlaintextNotAllowed", KStatus::Failed).await?;
    ensure!(message.contains("policy.allowPlaintext"), "{message}");
    wait::until_condition::<Connection>(&ns.api(), "plain", "InsecureTransport", "True", PATIENCE).await?;
    Ok(())
}

/// A Connection without encryption and authentication.
pub(crate) fn plaintext(ns: &TestNamespace) -> Value {
    let servers: Vec<_> = ns.rig.kafka.plain_pods.split(',').collect();
    crate::objects::object(
        ns,
        "Connection",
        "plain",
        &json!({"bootstrapServers": servers, "tls": {"mode": "Disabled"}, "authentication": {"type": "None"}}),
    )
}
