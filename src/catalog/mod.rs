//! Who uses what: a pure index, fed by the watches, asked by the controllers.
//!
//! It answers which object owns a topic or a group id (by cluster id and name, the oldest object wins), and who must be
//! visited when a Connection or a Topic changes. It does no I/O and reads no clock, so tests drive it directly.

mod index;

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

use index::Index;
use k8s_openapi::jiff::Timestamp;
use kube::{
    Resource, ResourceExt,
    core::NamespaceResourceScope,
    runtime::reflector::{ObjectRef, Store},
};
use weir_api::{Connection, ConsumerGroup, ProducerJob, Topic, fields::TopicSelector};

/// Namespace and name of an object.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) struct Key {
    pub(crate) namespace: String,
    pub(crate) name: String,
}

impl Key {
    /// A key from its two parts.
    pub(crate) fn new(namespace: impl Into<String>, name: impl Into<String>) -> Self {
        Self { namespace: namespace.into(), name: name.into() }
    }

    /// The object as a store last saw it.
    pub(crate) fn find<K>(&self, store: &Store<K>) -> Option<Arc<K>>
    where
        K: Resource<DynamicType = (), Scope = NamespaceResourceScope> + Clone + 'static,
    {
        store.get(&ObjectRef::new(&self.name).within(&self.namespace))
    }

    /// The key of an object.
    pub(crate) fn of<K: Resource>(object: &K) -> Self {
        Self::new(object.namespace().unwrap_or_default(), object.name_any())
    }
}

impl std::fmt::Display for Key {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}/{}", self.namespace, self.name)
    }
}

/// An object that uses a Connection or a Topic.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) enum User {
    Topic(Key),
    Job(Key),
    Group(Key),
}

/// A claim to a name in Kafka. Ordered by age: the first of a set owns the name.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
struct Claim {
    created: Option<Timestamp>,
    uid: String,
    key: Key,
    connection: Key,
}

impl Claim {
    fn of<K: Resource>(object: &K, connection: &str) -> Self {
        let key = Key::of(object);
        Self {
            created: object.meta().creation_timestamp.as_ref().map(|t| t.0),
            uid: object.uid().unwrap_or_default(),
            connection: Key::new(key.namespace.clone(), connection),
            key,
        }
    }
}

/// The index.
#[derive(Debug, Default)]
pub(crate) struct Catalog {
    /// Connection → cluster id, once it is known.
    clusters: BTreeMap<Key, String>,
    topics: Index,
    groups: Index,
    by_connection: BTreeMap<Key, BTreeSet<User>>,
    by_topic: BTreeMap<Key, BTreeSet<User>>,
}

impl Catalog {
    /// Takes a Connection as it is. Returns whom its change concerns.
    pub(crate) fn apply_connection(&mut self, connection: &Connection) -> BTreeSet<User> {
        let key = Key::of(connection);
        if let Some(id) = connection.status.as_ref().and_then(|s| s.cluster_id.clone()) {
            self.clusters.insert(key.clone(), id);
        }
        self.users_of_connection(&key)
    }

    /// Forgets a Connection. Returns whom that concerns.
    pub(crate) fn delete_connection(&mut self, connection: &Connection) -> BTreeSet<User> {
        let key = Key::of(connection);
        self.clusters.remove(&key);
        self.users_of_connection(&key)
    }

    /// Takes a Topic as it is. Returns who waits for it: its users, and other claimants of its name.
    pub(crate) fn apply_topic(&mut self, topic: &Topic) -> BTreeSet<User> {
        let claim = Claim::of(topic, &topic.spec.connection_ref.name);
        let key = claim.key.clone();
        self.link(&claim.connection, User::Topic(key.clone()));
        self.topics.insert(topic.topic_name(), claim);
        self.users_of_topic(&key)
    }

    /// Forgets a Topic. Returns its users and the next claimants of its name.
    pub(crate) fn delete_topic(&mut self, topic: &Topic) -> BTreeSet<User> {
        let key = Key::of(topic);
        let name = topic.topic_name();
        self.topics.remove(&name, &key);
        self.unlink(&User::Topic(key.clone()));
        let mut concerned = self.users_of_topic(&key);
        concerned.extend(self.topics.claims(&name).map(|c| User::Topic(c.key.clone())));
        concerned
    }

    /// Takes a ProducerJob as it is.
    pub(crate) fn apply_job(&mut self, job: &ProducerJob) {
        let key = Key::of(job);
        let user = User::Job(key.clone());
        self.link(&Key::new(key.namespace.clone(), &job.spec.connection_ref.name), user.clone());
        self.link_topics(&key.namespace, std::slice::from_ref(&job.spec.topic), &user);
    }

    /// Forgets a ProducerJob.
    pub(crate) fn delete_job(&mut self, job: &ProducerJob) {
        self.unlink(&User::Job(Key::of(job)));
    }

    /// Takes a ConsumerGroup as it is.
    pub(crate) fn apply_group(&mut self, group: &ConsumerGroup) {
        let claim = Claim::of(group, &group.spec.connection_ref.name);
        let user = User::Group(claim.key.clone());
        self.unlink(&user);
        self.link(&claim.connection.clone(), user.clone());
        self.link_topics(&claim.key.namespace, &group.spec.topics, &user);
        self.groups.insert(group.group_id(), claim);
    }

    /// Forgets a ConsumerGroup. Returns the next claimants of its group id.
    pub(crate) fn delete_group(&mut self, group: &ConsumerGroup) -> BTreeSet<User> {
        let key = Key::of(group);
        self.groups.remove(&group.group_id(), &key);
        self.unlink(&User::Group(key));
        self.groups.claims(&group.group_id()).map(|c| User::Group(c.key.clone())).collect()
    }

    /// The Topic object that owns a topic: the oldest one that names it in the same Kafka cluster.
    pub(crate) fn topic_owner(&self, connection: &Key, topic: &str) -> Option<Key> {
        self.owner(&self.topics, connection, topic)
    }

    /// The ConsumerGroup object that owns a group id: the oldest one that names it in the same Kafka cluster.
    pub(crate) fn group_owner(&self, connection: &Key, group_id: &str) -> Option<Key> {
        self.owner(&self.groups, connection, group_id)
    }

    /// Everything that uses a Connection.
    pub(crate) fn users_of_connection(&self, connection: &Key) -> BTreeSet<User> {
        self.by_connection.get(connection).cloned().unwrap_or_default()
    }

    /// Everything that names a Topic object.
    fn users_of_topic(&self, topic: &Key) -> BTreeSet<User> {
        self.by_topic.get(topic).cloned().unwrap_or_default()
    }

    fn owner(&self, index: &Index, connection: &Key, name: &str) -> Option<Key> {
        let cluster = self.cluster(connection);
        index.claims(name).find(|c| self.cluster(&c.connection) == cluster).map(|c| c.key.clone())
    }

    /// The identity of a cluster: its id once known, before that the Connection itself.
    fn cluster<'a>(&'a self, connection: &'a Key) -> Result<&'a str, &'a Key> {
        self.clusters.get(connection).map(String::as_str).ok_or(connection)
    }

    fn link(&mut self, connection: &Key, user: User) {
        self.by_connection.entry(connection.clone()).or_default().insert(user);
    }

    fn link_topics(&mut self, namespace: &str, topics: &[TopicSelector], user: &User) {
        for reference in topics.iter().filter_map(|t| t.topic_ref.as_ref()) {
            let topic = Key::new(namespace, &reference.name);
            self.by_topic.entry(topic).or_default().insert(user.clone());
        }
    }

    fn unlink(&mut self, user: &User) {
        for users in self.by_connection.values_mut().chain(self.by_topic.values_mut()) {
            users.remove(user);
        }
        self.by_connection.retain(|_, users| !users.is_empty());
        self.by_topic.retain(|_, users| !users.is_empty());
    }
}

#[cfg(test)]
mod tests {
    use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
    use weir_api::{connection, fields::LocalReference, topic::TopicSpec};

    use super::*;

    fn connection(namespace: &str, name: &str, cluster: &str) -> Connection {
        let spec: connection::ConnectionSpec = serde_json::from_value(serde_json::json!({
            "bootstrapServers": ["kafka:9092"], "authentication": {"type": "None"}
        }))
        .expect("a valid spec");
        let mut connection = Connection::new(name, spec);
        connection.metadata.namespace = Some(namespace.to_owned());
        connection.status =
            Some(connection::ConnectionStatus { cluster_id: Some(cluster.to_owned()), ..Default::default() });
        connection
    }

    fn topic(namespace: &str, name: &str, created: i64) -> Topic {
        let spec = TopicSpec {
            connection_ref: LocalReference { name: "kafka".to_owned() },
            topic_name: Some("orders".to_owned()),
            partitions: None,
            replication_factor: None,
            config: BTreeMap::new(),
            deletion_policy: None,
        };
        let mut topic = Topic::new(name, spec);
        topic.metadata.namespace = Some(namespace.to_owned());
        topic.metadata.uid = Some(format!("{namespace}-{name}"));
        topic.metadata.creation_timestamp = Some(Time(Timestamp::from_second(created).expect("in range")));
        topic
    }

    #[test]
    fn the_oldest_object_owns_a_topic_across_namespaces_of_one_cluster() {
        let mut catalog = Catalog::default();
        catalog.apply_connection(&connection("a", "kafka", "c1"));
        catalog.apply_connection(&connection("b", "kafka", "c1"));
        catalog.apply_topic(&topic("a", "young", 20));
        catalog.apply_topic(&topic("b", "old", 10));
        let owner = catalog.topic_owner(&Key::new("a", "kafka"), "orders");
        assert_eq!(owner, Some(Key::new("b", "old")));
    }

    #[test]
    fn the_same_name_in_two_clusters_is_two_topics() {
        let mut catalog = Catalog::default();
        catalog.apply_connection(&connection("a", "kafka", "c1"));
        catalog.apply_connection(&connection("b", "kafka", "c2"));
        catalog.apply_topic(&topic("a", "young", 20));
        catalog.apply_topic(&topic("b", "old", 10));
        assert_eq!(catalog.topic_owner(&Key::new("a", "kafka"), "orders"), Some(Key::new("a", "young")));
    }

    #[test]
    fn when_the_owner_goes_the_next_claimant_is_visited_and_owns() {
        let mut catalog = Catalog::default();
        let (old, young) = (topic("a", "old", 10), topic("a", "young", 20));
        catalog.apply_topic(&old);
        catalog.apply_topic(&young);
        let concerned = catalog.delete_topic(&old);
        assert!(concerned.contains(&User::Topic(Key::new("a", "young"))));
        assert_eq!(catalog.topic_owner(&Key::new("a", "kafka"), "orders"), Some(Key::new("a", "young")));
    }

    #[test]
    fn a_connection_concerns_everything_that_names_it() {
        let mut catalog = Catalog::default();
        catalog.apply_topic(&topic("a", "one", 1));
        catalog.apply_topic(&topic("b", "two", 2));
        let concerned = catalog.apply_connection(&connection("a", "kafka", "c1"));
        assert_eq!(concerned, BTreeSet::from([User::Topic(Key::new("a", "one"))]));
    }
}
