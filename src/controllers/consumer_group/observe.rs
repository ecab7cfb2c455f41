//! Looks at what a group depends on and at what it has. Reads stores; asks the API server only before a Deployment is
//! created, lest a stranger's be taken over.

use std::sync::Arc;

use k8s_openapi::api::{apps::v1::Deployment, core::v1::Pod};
use kube::{Api, ResourceExt};
use weir_api::{Connection, ConsumerGroup};
use weir_model::names::{KIND_LABEL, NAME_LABEL};

use crate::{
    catalog::Key,
    context::Context,
    controllers::pod::{
        GROUP_KIND, Topics,
        trouble::{Trouble, trouble},
    },
    controllers::verdict::is_young,
    handles::Connected,
    kubernetes::{KubernetesError, request},
};

/// What a visit found.
pub(crate) struct Observed {
    pub(crate) connection: Option<Arc<Connection>>,
    /// The handle, once the Connection reached its cluster.
    pub(crate) connected: Option<Connected>,
    pub(crate) topics: Topics,
    /// The older object that owns the group id, if this one does not.
    pub(crate) owner: Option<Key>,
    pub(crate) deployment: Option<Arc<Deployment>>,
    /// A Deployment of that name exists that is not ours.
    pub(crate) foreign: bool,
    pub(crate) trouble: Option<Trouble>,
    /// Created a moment ago: what it names may come with the same `kubectl apply`.
    pub(crate) young: bool,
}

/// Looks.
pub(crate) async fn observe(
    group: &ConsumerGroup,
    key: &Key,
    context: &Context,
) -> Result<Observed, KubernetesError> {
    let connection_key = Key::new(key.namespace.clone(), &group.spec.connection_ref.name);
    let owner = context.catalog(|catalog| catalog.group_owner(&connection_key, &group.group_id()));
    let stores = context.stores();
    let ours =
        |d: &Deployment| d.owner_references().iter().any(|o| Some(&o.uid) == group.metadata.uid.as_ref());
    let mut found = context.find(&stores.deployments, key);
    if found.is_none() {
        let api: Api<Deployment> = Api::namespaced(context.applier.client(), &key.namespace);
        found = request("look for the Deployment", api.get_opt(&key.name)).await?.map(Arc::new);
    }
    let foreign = found.as_deref().is_some_and(|d| !ours(d));
    Ok(Observed {
        connection: context.find(&stores.connections, &connection_key),
        connected: context.handles.get(&connection_key),
        topics: Topics::resolve(&group.spec.topics, |name| {
            context.find(&stores.topics, &Key::new(key.namespace.clone(), name))
        }),
        owner: owner.filter(|owner| owner != key),
        deployment: found.filter(|d| ours(d)),
        foreign,
        trouble: trouble(&pods(key, context)),
        young: is_young(group),
    })
}

fn pods(key: &Key, context: &Context) -> Vec<Arc<Pod>> {
    context.stores().pods.state_filter(|pod| {
        pod.namespace().as_deref() == Some(&key.namespace)
            && pod.labels().get(KIND_LABEL).map(String::as_str) == Some(GROUP_KIND)
            && pod.labels().get(NAME_LABEL) == Some(&key.name)
    })
}
