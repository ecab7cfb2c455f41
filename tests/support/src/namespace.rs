//! A fresh namespace per test: created, filled with the brokers' credentials, dumped when the test fails, deleted at the end.

use std::{
    future::Future,
    panic::{AssertUnwindSafe, resume_unwind},
    sync::atomic::{AtomicU32, Ordering},
    time::{SystemTime, UNIX_EPOCH},
};

use anyhow::Context;
use futures::FutureExt;
use k8s_openapi::api::core::v1::Namespace;
use kube::{
    Api, Client, Resource,
    api::{DeleteParams, PostParams},
};
use serde::{Serialize, de::DeserializeOwned};
use serde_json::json;

use crate::rig::Rig;

/// Name of the Secret that [`TestNamespace::create_credentials`] makes, with the keys `username`, `password` and `ca.crt`.
pub const CREDENTIALS: &str = "kafka-credentials";

/// A namespace of a test.
#[derive(Clone)]
pub struct TestNamespace {
    /// The rig that it lies in.
    pub rig: Rig,
    /// A client with the administrator's rights.
    pub client: Client,
    /// Its name: also a good prefix for topics and groups, because no other test has it.
    pub name: String,
}

/// Runs a test in a namespace of its own. When the test fails or panics, the namespace's objects, events and logs are printed;
/// the namespace is deleted either way.
///
/// # Errors
/// The error of `test`, or the rig does not run.
pub async fn in_namespace<F>(purpose: &str, test: impl FnOnce(TestNamespace) -> F) -> anyhow::Result<()>
where
    F: Future<Output = anyhow::Result<()>>,
{
    let namespace = TestNamespace::create(Rig::find()?, purpose).await?;
    let outcome = AssertUnwindSafe(test(namespace.clone())).catch_unwind().await;
    if !matches!(outcome, Ok(Ok(()))) {
        eprintln!("{}", namespace.dump().await);
    }
    namespace.delete().await?;
    outcome.unwrap_or_else(|panic| resume_unwind(panic))
}

impl TestNamespace {
    /// Creates a namespace whose name begins with `purpose` and that holds the Secret [`CREDENTIALS`] of the principal `weir`.
    ///
    /// # Errors
    /// The API server refused.
    pub async fn create(rig: Rig, purpose: &str) -> anyhow::Result<Self> {
        let client = rig.client().await?;
        let name = format!("{purpose}-{}", unique());
        let namespace = Namespace {
            metadata: kube::core::ObjectMeta { name: Some(name.clone()), ..Default::default() },
            ..Default::default()
        };
        Api::all(client.clone())
            .create(&PostParams::default(), &namespace)
            .await
            .with_context(|| format!("failed to create the namespace {name}"))?;
        let created = Self { rig, client, name };
        created.create_credentials("weir").await?;
        Ok(created)
    }

    /// Puts the name and password of one of the rig's principals, and the brokers' authority, into the Secret [`CREDENTIALS`].
    ///
    /// # Errors
    /// There is no such principal, or the API server refused.
    pub async fn create_credentials(&self, principal: &str) -> anyhow::Result<()> {
        let secret = credentials(&self.rig, &self.name, principal)?;
        self.rig.apply(&secret).await
    }

    /// A Connection `kafka` over SASL_SSL with the Secret [`CREDENTIALS`], as JSON to change and apply.
    #[must_use]
    pub fn connection(&self) -> serde_json::Value {
        json!({
            "apiVersion": "kafka.weir.dev/v1alpha1",
            "kind": "Connection",
            "metadata": {"name": "kafka", "namespace": self.name},
            "spec": {
                "bootstrapServers": self.rig.sasl_ssl_servers().collect::<Vec<_>>(),
                "tls": {"caSecretRef": {"name": CREDENTIALS, "key": "ca.crt"}},
                "authentication": {
                    "type": "ScramSha512",
                    "usernameSecretRef": {"name": CREDENTIALS, "key": "username"},
                    "passwordSecretRef": {"name": CREDENTIALS, "key": "password"},
                },
            },
        })
    }

    /// The objects of one kind in this namespace.
    #[must_use]
    pub fn api<K>(&self) -> Api<K>
    where
        K: Resource<Scope = k8s_openapi::NamespaceResourceScope> + DeserializeOwned,
        K::DynamicType: Default,
    {
        Api::namespaced(self.client.clone(), &self.name)
    }

    /// Applies one object, given as anything that serializes to its JSON.
    ///
    /// # Errors
    /// The API server refused the object; the message holds its words.
    pub async fn apply(&self, object: &impl Serialize) -> anyhow::Result<()> {
        self.rig.apply(object).await
    }

    /// Everything that helps to understand a failure: objects, events, the pods' logs and the operator's.
    pub async fn dump(&self) -> String {
        let scope = ["-n", &self.name];
        let commands: [&[&str]; 4] = [
            &["get", "weir,deployments,jobs,pods", "-o", "wide"],
            &["get", "weir", "-o", "yaml"],
            &["get", "events", "--sort-by=.lastTimestamp"],
            &["logs", "--selector=app.kubernetes.io/managed-by=weir", "--prefix", "--tail=40"],
        ];
        let mut dump = format!("===== what is in the namespace {} =====\n", self.name);
        for command in commands {
            dump += &self.said(&[&scope, command].concat()).await;
        }
        let selector = "--selector=app.kubernetes.io/component=operator";
        dump += &self.said(&["-n", crate::helm::NAMESPACE, "logs", selector, "--prefix", "--tail=60"]).await;
        dump
    }

    async fn said(&self, arguments: &[&str]) -> String {
        let said = self.rig.kubectl(arguments).await.unwrap_or_else(|error| format!("{error:#}"));
        format!("----- kubectl {}\n{said}\n", arguments.join(" "))
    }

    /// Deletes the namespace; Kubernetes removes what is in it in the background.
    ///
    /// # Errors
    /// The API server refused.
    pub async fn delete(&self) -> anyhow::Result<()> {
        Api::<Namespace>::all(self.client.clone())
            .delete(&self.name, &DeleteParams::default())
            .await
            .with_context(|| format!("failed to delete the namespace {}", self.name))?;
        Ok(())
    }
}

/// The Secret [`CREDENTIALS`] for `namespace` with one of the rig's principals.
///
/// # Errors
/// There is no such principal, or the authority's file cannot be read.
pub fn credentials(rig: &Rig, namespace: &str, principal: &str) -> anyhow::Result<serde_json::Value> {
    Ok(json!({
        "apiVersion": "v1",
        "kind": "Secret",
        "metadata": {"name": CREDENTIALS, "namespace": namespace},
        "stringData": {"username": principal, "password": rig.password(principal)?, "ca.crt": rig.ca_pem()?},
    }))
}

/// Different for every call on this machine: the time, and a number within this process.
fn unique() -> String {
    static CALLS: AtomicU32 = AtomicU32::new(0);
    let since = SystemTime::now().duration_since(UNIX_EPOCH).expect("it is after 1970");
    format!("{:x}-{}", since.as_millis() & 0xff_ffff_ffff, CALLS.fetch_add(1, Ordering::Relaxed))
}
