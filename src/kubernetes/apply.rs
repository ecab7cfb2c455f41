//! Writes: server-side apply of whole children, a status only when it differs, replicas only through `/scale`.
//!
//! Nothing is written that is already so, because every needless write wakes every watcher of the cluster.

use std::{
    collections::HashMap,
    fmt::Debug,
    hash::{DefaultHasher, Hash, Hasher},
    sync::Mutex,
};

use kube::{
    Api, Client, Resource, ResourceExt,
    api::{DeleteParams, Patch, PatchParams},
    core::NamespaceResourceScope,
};
use serde::{Serialize, de::DeserializeOwned};
use serde_json::json;
use weir_model::names::{FIELD_MANAGER, SCALER_FIELD_MANAGER};

use super::{KubernetesError, request};

/// The writer of the operator.
pub(crate) struct Applier {
    client: Client,
    /// What was applied last, by kind, namespace and name. Protects a short look-up that never waits.
    applied: Mutex<HashMap<String, Applied>>,
}

/// The state in which a child was left by our last apply.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Applied {
    /// Hash of what was sent.
    sent: u64,
    /// Who it was sent to; another object of the same name gets it again.
    uid: Option<String>,
    /// `metadata.generation` after the apply; another one means that somebody edited the child.
    generation: Option<i64>,
}

impl Applier {
    /// A writer that remembers nothing yet.
    pub(crate) fn new(client: Client) -> Self {
        Self { client, applied: Mutex::new(HashMap::new()) }
    }

    /// Applies a whole child unless `existing` is just as our last apply of the same content left it.
    /// Returns whether a request was made.
    pub(crate) async fn child<K>(
        &self,
        desired: &K,
        existing: Option<&K>,
        action: &'static str,
    ) -> Result<bool, KubernetesError>
    where
        K: Resource<DynamicType = (), Scope = NamespaceResourceScope>
            + Clone
            + Debug
            + DeserializeOwned
            + Serialize,
    {
        let namespace = desired.namespace().unwrap_or_default();
        let key = format!("{}/{namespace}/{}", K::kind(&()), desired.name_any());
        let body = serde_json::to_value(desired).unwrap_or_default();
        let mut hasher = DefaultHasher::new();
        body.to_string().hash(&mut hasher);
        let sent = hasher.finish();
        let expected =
            existing.map(|e| Applied { sent, uid: e.meta().uid.clone(), generation: e.meta().generation });
        if expected.is_some()
            && self.applied.lock().expect("no holder can panic").get(&key) == expected.as_ref()
        {
            return Ok(false);
        }
        let api: Api<K> = Api::namespaced(self.client.clone(), &namespace);
        let params = PatchParams::apply(FIELD_MANAGER).force();
        let result = request(action, api.patch(&desired.name_any(), &params, &Patch::Apply(&body))).await?;
        let left = Applied { sent, uid: result.meta().uid.clone(), generation: result.meta().generation };
        self.applied.lock().expect("no holder can panic").insert(key, left);
        Ok(true)
    }

    /// Writes the status unless it is the one that the object already has. Returns whether a request was made.
    pub(crate) async fn status<K, S>(
        &self,
        object: &K,
        current: Option<&S>,
        next: &S,
    ) -> Result<bool, KubernetesError>
    where
        K: Resource<DynamicType = (), Scope = NamespaceResourceScope> + Clone + Debug + DeserializeOwned,
        S: Serialize + PartialEq,
    {
        if current == Some(next) {
            return Ok(false);
        }
        let api: Api<K> = Api::namespaced(self.client.clone(), &object.namespace().unwrap_or_default());
        let body = json!({
            "apiVersion": K::api_version(&()),
            "kind": K::kind(&()),
            "metadata": {"name": object.name_any(), "uid": object.meta().uid},
            "status": next,
        });
        let params = PatchParams::apply(FIELD_MANAGER).force();
        let patch = Patch::Apply(&body);
        match request("write the status", api.patch_status(&object.name_any(), &params, &patch)).await {
            Ok(_) => Ok(true),
            Err(error) if error.is_not_found() => Ok(false),
            Err(error) => Err(error),
        }
    }

    /// Sets the number of replicas through `/scale`, as the scaler's own field manager.
    pub(crate) async fn scale<K>(
        &self,
        namespace: &str,
        name: &str,
        replicas: i32,
    ) -> Result<(), KubernetesError>
    where
        K: Resource<DynamicType = (), Scope = NamespaceResourceScope> + Clone + Debug + DeserializeOwned,
    {
        let api: Api<K> = Api::namespaced(self.client.clone(), namespace);
        let body = json!({
            "apiVersion": "autoscaling/v1",
            "kind": "Scale",
            "metadata": {"name": name, "namespace": namespace},
            "spec": {"replicas": replicas},
        });
        let params = PatchParams::apply(SCALER_FIELD_MANAGER).force();
        request("set the number of replicas", api.patch_scale(name, &params, &Patch::Apply(&body))).await?;
        Ok(())
    }

    /// Adds or removes a finalizer; the resource version in the patch makes a concurrent change a conflict.
    pub(crate) async fn finalizer<K>(
        &self,
        object: &K,
        finalizer: &str,
        present: bool,
    ) -> Result<(), KubernetesError>
    where
        K: Resource<DynamicType = (), Scope = NamespaceResourceScope> + Clone + Debug + DeserializeOwned,
    {
        let mut finalizers = object.finalizers().to_vec();
        finalizers.retain(|f| f != finalizer);
        if present {
            finalizers.push(finalizer.to_owned());
        }
        let api: Api<K> = Api::namespaced(self.client.clone(), &object.namespace().unwrap_or_default());
        let body = json!({"metadata": {
            "finalizers": finalizers,
            "resourceVersion": object.resource_version(),
            "uid": object.meta().uid,
        }});
        let patch = Patch::Merge(&body);
        let params = PatchParams { field_manager: Some(FIELD_MANAGER.to_owned()), ..PatchParams::default() };
        match request("change the finalizers", api.patch(&object.name_any(), &params, &patch)).await {
            Ok(_) => Ok(()),
            Err(error) if error.is_not_found() => Ok(()),
            Err(error) => Err(error),
        }
    }

    /// Deletes a child in the background; one that is gone already is fine.
    pub(crate) async fn delete<K>(
        &self,
        namespace: &str,
        name: &str,
        action: &'static str,
    ) -> Result<(), KubernetesError>
    where
        K: Resource<DynamicType = (), Scope = NamespaceResourceScope> + Clone + Debug + DeserializeOwned,
    {
        let api: Api<K> = Api::namespaced(self.client.clone(), namespace);
        match request(action, api.delete(name, &DeleteParams::background())).await {
            Ok(_) => Ok(()),
            Err(error) if error.is_not_found() => Ok(()),
            Err(error) => Err(error),
        }
    }

    /// The client, for reads.
    pub(crate) fn client(&self) -> Client {
        self.client.clone()
    }
}

/// Whether `manager` is a field manager of `spec.replicas`.
pub(crate) fn owns_replicas(
    managed_fields: &[k8s_openapi::apimachinery::pkg::apis::meta::v1::ManagedFieldsEntry],
    manager: &str,
) -> bool {
    managed_fields.iter().any(|entry| {
        entry.manager.as_deref() == Some(manager)
            && entry.fields_v1.as_ref().is_some_and(|f| f.0.pointer("/f:spec/f:replicas").is_some())
    })
}
