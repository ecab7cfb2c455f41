//! Which handle to Kafka serves which Connection: one handle, and one lag sampler, per cluster id and principal.
//!
//! Ten Connections with the same principal share sockets and threads. The Connection controller publishes; all others
//! only look up. A handle stays until its successor has authenticated.

use std::{
    collections::HashMap,
    sync::{Arc, RwLock, Weak},
    time::Duration,
};

use weir_kafka::{Cluster, ClusterDescription, ConnectionSettings, KafkaError, LagSampler};

use crate::catalog::Key;

/// Time between two samples of lag.
const SAMPLE_INTERVAL: Duration = Duration::from_secs(1);

/// A cluster that answered at least once.
pub(crate) struct Handle {
    /// For administration.
    pub(crate) cluster: Cluster,
    /// For lag.
    pub(crate) sampler: LagSampler,
    /// The cluster's identity.
    pub(crate) cluster_id: String,
}

/// What a Connection leads to.
#[derive(Clone)]
pub(crate) struct Connected {
    /// The handle, perhaps shared with other Connections.
    pub(crate) handle: Arc<Handle>,
    /// Versions of the Secrets that it was built from; a change rolls the pods that mount them.
    pub(crate) secret_versions: String,
    fingerprint: u64,
}

/// All handles.
#[derive(Default)]
pub(crate) struct Handles {
    /// Protects short look-ups and replacements; no I/O happens while it is held.
    state: RwLock<State>,
}

#[derive(Default)]
struct State {
    by_connection: HashMap<Key, Connected>,
    by_principal: HashMap<(String, String), Weak<Handle>>,
    /// Handles that have not answered yet; kept, so that a retry does not start from nothing.
    attempts: HashMap<Key, (u64, Cluster)>,
    /// How many contacts in a row failed.
    misses: HashMap<Key, u32>,
}

impl Handles {
    /// What the Connection leads to, if it ever answered.
    pub(crate) fn get(&self, connection: &Key) -> Option<Connected> {
        self.state.read().expect("no holder can panic").by_connection.get(connection).cloned()
    }

    /// Whether the Connection is served by a handle with just these settings.
    pub(crate) fn serves(&self, connection: &Key, settings: &ConnectionSettings) -> bool {
        self.get(connection).is_some_and(|c| c.fingerprint == settings.fingerprint())
    }

    /// Asks the cluster who it is, through the present handle or a new one, and publishes a handle that answered.
    pub(crate) async fn contact(
        &self,
        connection: &Key,
        settings: &ConnectionSettings,
        secret_versions: &str,
    ) -> Result<ClusterDescription, KafkaError> {
        let contacted = self.ask(connection, settings, secret_versions).await;
        let mut state = self.state.write().expect("no holder can panic");
        match &contacted {
            Ok(_) => state.misses.remove(connection),
            Err(_) => {
                let misses = state.misses.get(connection).copied().unwrap_or_default();
                state.misses.insert(connection.clone(), misses.saturating_add(1))
            }
        };
        contacted
    }

    /// How many contacts in a row failed.
    pub(crate) fn misses(&self, connection: &Key) -> u32 {
        self.state.read().expect("no holder can panic").misses.get(connection).copied().unwrap_or_default()
    }

    async fn ask(
        &self,
        connection: &Key,
        settings: &ConnectionSettings,
        secret_versions: &str,
    ) -> Result<ClusterDescription, KafkaError> {
        let fingerprint = settings.fingerprint();
        if let Some(present) = self.get(connection).filter(|c| c.fingerprint == fingerprint) {
            return present.handle.cluster.describe_cluster().await;
        }
        let cluster = self.attempt(connection, fingerprint, settings)?;
        let description = cluster.describe_cluster().await?;
        self.publish(connection, settings, secret_versions, cluster, &description.cluster_id);
        Ok(description)
    }

    /// Forgets a Connection; its handle closes when the last user is gone.
    pub(crate) fn forget(&self, connection: &Key) {
        let mut state = self.state.write().expect("no holder can panic");
        state.by_connection.remove(connection);
        state.attempts.remove(connection);
        state.misses.remove(connection);
        state.by_principal.retain(|_, handle| handle.strong_count() > 0);
    }

    fn attempt(
        &self,
        connection: &Key,
        fingerprint: u64,
        settings: &ConnectionSettings,
    ) -> Result<Cluster, KafkaError> {
        let mut state = self.state.write().expect("no holder can panic");
        if let Some((same, cluster)) = state.attempts.get(connection)
            && *same == fingerprint
        {
            return Ok(cluster.clone());
        }
        let cluster = Cluster::connect(settings, "weir")?;
        state.attempts.insert(connection.clone(), (fingerprint, cluster.clone()));
        Ok(cluster)
    }

    fn publish(
        &self,
        connection: &Key,
        settings: &ConnectionSettings,
        secret_versions: &str,
        cluster: Cluster,
        cluster_id: &str,
    ) {
        let mut state = self.state.write().expect("no holder can panic");
        state.attempts.remove(connection);
        let identity = (cluster_id.to_owned(), principal(settings));
        let before = state.by_connection.get(connection).map(|c| Arc::downgrade(&c.handle));
        let shared = state
            .by_principal
            .get(&identity)
            .and_then(Weak::upgrade)
            // Our own former handle holds the former password: it must go.
            .filter(|h| before.as_ref().is_none_or(|b| !Weak::ptr_eq(b, &Arc::downgrade(h))));
        let handle = shared.unwrap_or_else(|| {
            let sampler = LagSampler::start(cluster.clone(), SAMPLE_INTERVAL);
            Arc::new(Handle { cluster, sampler, cluster_id: cluster_id.to_owned() })
        });
        state.by_principal.insert(identity, Arc::downgrade(&handle));
        let connected = Connected {
            handle,
            secret_versions: secret_versions.to_owned(),
            fingerprint: settings.fingerprint(),
        };
        state.by_connection.insert(connection.clone(), connected);
    }
}

/// Who the brokers take us for.
fn principal(settings: &ConnectionSettings) -> String {
    settings.sasl.as_ref().map_or_else(String::new, |sasl| format!("{:?}/{}", sasl.mechanism, sasl.username))
}
