//! One handle to one cluster, for administration and offsets.
//!
//! Calls are asynchronous, bounded in time, and may be dropped at any await: librdkafka cannot cancel a request, so its
//! late answer is thrown away and the request may still have its effect. Nothing here retries or decides.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
    time::{Duration, Instant},
};

use futures::{StreamExt, TryStreamExt, stream};
use tokio::time;
use weir_model::{Offset, TopicPartition, worker_config::Isolation};

use crate::{
    ClusterDescription, ConfigEntry, ConnectionSettings, Fault, GroupDescription, GroupState, KafkaError,
    NewTopic, OffsetSpec, TopicDescription,
    coordinator::{Coordinators, Next, Search, Verdict},
    error::code,
    ffi::{AdminCall, Event, Native, Options, code_message, code_name},
    service::Service,
};

/// Time for one call unless [`Cluster::with_timeout`] says otherwise.
pub const DEFAULT_TIMEOUT: Duration = Duration::from_secs(10);

/// Longest pause between connection attempts of this handle; a repaired fault is noticed within it.
const RECONNECT: Duration = Duration::from_secs(2);
/// A call under a fault that needs a change waits this long for a new connection attempt to succeed.
const GRACE: Duration = Duration::from_secs(3);
/// librdkafka ends a call by its own clock; this much later we no longer wait for that.
const SLACK: Duration = Duration::from_millis(250);
/// Partitions per ListOffsets: librdkafka merges answers in time that grows with the square of it.
const OFFSETS_PER_CALL: usize = 500;

/// Group id of the handle itself. Brokers see one question about its coordinator and no member.
const NEVER_JOINED: &str = "weir-never-joined";

/// Each item's own result, by the item's name.
pub type PerItem<K, V> = BTreeMap<K, Result<V, KafkaError>>;

/// A handle to one cluster. Clones share it; the last one dropped closes it in the background.
#[derive(Clone)]
pub struct Cluster {
    service: Arc<Service>,
    coordinators: Arc<Coordinators>,
    timeout: Duration,
}

impl std::fmt::Debug for Cluster {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Cluster").field("timeout", &self.timeout).finish_non_exhaustive()
    }
}

impl Cluster {
    /// Makes a handle and its thread. Connects with the first call, not before.
    ///
    /// # Errors
    /// librdkafka refuses the settings, for example a certificate authority that is not PEM.
    pub fn connect(settings: &ConnectionSettings, client_id: &str) -> Result<Self, KafkaError> {
        Self::open(settings, client_id, &[])
    }

    /// The same with further librdkafka properties.
    pub(crate) fn open(
        settings: &ConnectionSettings,
        client_id: &str,
        further: &[(&str, &str)],
    ) -> Result<Self, KafkaError> {
        let reconnect = RECONNECT.as_millis().to_string();
        let own = [
            ("client.id", client_id),
            ("reconnect.backoff.max.ms", reconnect.as_str()),
            ("socket.timeout.ms", "10000"),
            // A moved leader or coordinator is noticed within this time. Only topics that are asked for are fetched.
            ("metadata.max.age.ms", "5000"),
            // Who answers for the controller, too, or calls wait for a dead broker.
            ("topic.metadata.refresh.interval.ms", "5000"),
            // A group that is never joined; see `ffi::Native`.
            ("group.id", NEVER_JOINED),
            ("enable.auto.commit", "false"),
            ("log.queue", "true"),
            // With connections on demand every broker's state change makes a waiting call ask for its broker at once,
            // past the backoff: while a broker is down that spins on half a core (librdkafka 2.12.1).
            ("enable.sparse.connections", "false"),
            // Broken connections that are nobody's fault yet are logged as information; `service` reads them.
            ("log_level", "6"),
        ];
        let mut properties = settings.client_properties();
        properties
            .extend(own.iter().chain(further).map(|(key, value)| ((*key).to_owned(), (*value).to_owned())));
        let native = Native::open(&properties)?;
        Ok(Self {
            service: Arc::new(Service::start(native, client_id)?),
            coordinators: Arc::default(),
            timeout: DEFAULT_TIMEOUT,
        })
    }

    /// The same handle with another time limit for each of its calls; clones made before keep theirs.
    #[must_use]
    pub fn with_timeout(self, timeout: Duration) -> Self {
        Self { timeout, ..self }
    }

    /// The connection's last fault since a broker last answered; `None` when all is well or nothing was asked yet.
    #[must_use]
    pub fn last_fault(&self) -> Option<Fault> {
        self.service.board().fault()
    }

    /// The cluster's identity and live brokers.
    ///
    /// # Errors
    /// See [`KafkaError`].
    pub async fn describe_cluster(&self) -> Result<ClusterDescription, KafkaError> {
        let kind = AdminCall::DescribeCluster;
        let event = self
            .call(kind, |native, options| {
                native.describe_cluster(options);
                Ok(())
            })
            .await?;
        event.cluster().ok_or_else(|| unexpected(kind.operation()))
    }

    /// Topics by name; a topic that does not exist is an item's error.
    ///
    /// # Errors
    /// The call as a whole failed.
    pub async fn describe_topics(
        &self,
        names: &[String],
    ) -> Result<PerItem<String, TopicDescription>, KafkaError> {
        if names.is_empty() {
            return Ok(BTreeMap::new());
        }
        let names: BTreeSet<&str> = names.iter().map(String::as_str).collect();
        let kind = AdminCall::DescribeTopics;
        let event = self.call(kind, |native, options| native.describe_topics(&names, options)).await?;
        Ok(event.topics(kind.operation()))
    }

    /// All configuration keys of topics, with their effective values and where these come from.
    ///
    /// # Errors
    /// The call as a whole failed.
    pub async fn describe_topic_configs(
        &self,
        names: &[String],
    ) -> Result<PerItem<String, Vec<ConfigEntry>>, KafkaError> {
        if names.is_empty() {
            return Ok(BTreeMap::new());
        }
        let names: BTreeSet<&str> = names.iter().map(String::as_str).collect();
        let kind = AdminCall::DescribeConfigs;
        let event = self.call(kind, |native, options| native.describe_topic_configs(&names, options)).await?;
        Ok(event.topic_configs(kind.operation()))
    }

    /// Creates a topic, or only asks whether it could be created. The controller has it when this returns; brokers
    /// learn of it a moment later.
    ///
    /// # Errors
    /// See [`KafkaError`]; after a timeout the topic may exist.
    pub async fn create_topic(&self, topic: &NewTopic, validate_only: bool) -> Result<(), KafkaError> {
        let kind = AdminCall::CreateTopic { validate_only };
        let event = self.call(kind, |native, options| native.create_topic(topic, options)).await?;
        event.created_topic(kind.operation())
    }

    /// Grows a topic to `new_total` partitions. The present number is an error (`is_invalid_partitions`).
    ///
    /// # Errors
    /// See [`KafkaError`].
    pub async fn create_partitions(
        &self,
        topic: &str,
        new_total: i32,
        validate_only: bool,
    ) -> Result<(), KafkaError> {
        let new_total = usize::try_from(new_total)
            .map_err(|_| KafkaError::Client(format!("{new_total} is not a number of partitions")))?;
        let kind = AdminCall::CreatePartitions { validate_only };
        let event =
            self.call(kind, |native, options| native.create_partitions(topic, new_total, options)).await?;
        event.created_partitions(kind.operation())
    }

    /// Sets and resets configuration keys of a topic; keys that are not named stay as they are (KIP-339).
    ///
    /// # Errors
    /// See [`KafkaError`]; either all changes are made or none.
    pub async fn alter_topic_config(
        &self,
        topic: &str,
        set: &BTreeMap<String, String>,
        delete: &BTreeSet<String>,
        validate_only: bool,
    ) -> Result<(), KafkaError> {
        let kind = AdminCall::AlterConfig { validate_only };
        let event =
            self.call(kind, |native, options| native.alter_topic_config(topic, set, delete, options)).await?;
        event.altered_config(kind.operation())
    }

    /// Deletes a topic and its records, by name: check its id immediately before.
    ///
    /// # Errors
    /// See [`KafkaError`].
    pub async fn delete_topic(&self, topic: &str) -> Result<(), KafkaError> {
        let kind = AdminCall::DeleteTopic;
        let event = self.call(kind, |native, options| native.delete_topic(topic, options)).await?;
        event.deleted_topic(kind.operation())
    }

    /// One end of the logs of partitions. With `ReadCommitted` the latest offset is the last stable one.
    ///
    /// A leader that does not answer costs the whole time limit and leaves an error at its partitions only.
    ///
    /// # Errors
    /// The call as a whole failed.
    pub async fn list_offsets(
        &self,
        partitions: &[TopicPartition],
        spec: OffsetSpec,
        isolation: Isolation,
    ) -> Result<PerItem<TopicPartition, Offset>, KafkaError> {
        let partitions: Vec<_> = partitions.iter().cloned().collect::<BTreeSet<_>>().into_iter().collect();
        let calls =
            partitions.chunks(OFFSETS_PER_CALL).map(|chunk| self.list_offsets_once(chunk, spec, isolation));
        let parts: Vec<_> = stream::iter(calls.collect::<Vec<_>>()).buffered(8).try_collect().await?;
        Ok(parts.into_iter().flatten().collect())
    }

    async fn list_offsets_once(
        &self,
        partitions: &[TopicPartition],
        spec: OffsetSpec,
        isolation: Isolation,
    ) -> Result<PerItem<TopicPartition, Offset>, KafkaError> {
        let kind = AdminCall::ListOffsets(isolation);
        match self.call(kind, |native, options| native.list_offsets(partitions, spec, options)).await {
            Ok(event) => {
                let fault = self.last_fault();
                let present = |(partition, offset): (_, Result<Option<Offset>, _>)| {
                    let offset = offset.and_then(|offset| {
                        offset.ok_or_else(|| self.timed_out(kind.operation(), fault.clone()))
                    });
                    (partition, offset)
                };
                Ok(event.offsets(kind.operation()).into_iter().map(present).collect())
            }
            Err(KafkaError::Client(text)) if text.contains(&code_name(code::NO_LEADERS)) => {
                self.why_no_leaders(partitions, kind).await
            }
            Err(error) => Err(error),
        }
    }

    /// librdkafka does not say which of the partitions lacks a leader when all do; the brokers know.
    async fn why_no_leaders(
        &self,
        partitions: &[TopicPartition],
        kind: AdminCall,
    ) -> Result<PerItem<TopicPartition, Offset>, KafkaError> {
        let names: BTreeSet<String> = partitions.iter().map(|p| p.topic.to_string()).collect();
        let topics = self.describe_topics(&names.into_iter().collect::<Vec<_>>()).await?;
        let why = |partition: &TopicPartition| {
            let known = match topics.get(&*partition.topic) {
                Some(Err(error)) => return error.clone(),
                Some(Ok(topic)) => topic.partitions.iter().any(|p| p.id == partition.partition),
                None => false,
            };
            let code = if known { code::LEADER_NOT_AVAILABLE } else { code::UNKNOWN_TOPIC_OR_PARTITION };
            KafkaError::from_code(kind.operation(), code, code_name(code), code_message(code))
        };
        Ok(partitions.iter().map(|partition| (partition.clone(), Err(why(partition)))).collect())
    }

    /// Every offset that a group has committed, in whatever topic. Offsets inside open transactions are not waited
    /// for: the last stable one counts. A group that does not exist has none.
    ///
    /// # Errors
    /// The call as a whole failed.
    pub async fn group_offsets(
        &self,
        group: &str,
    ) -> Result<PerItem<TopicPartition, Option<Offset>>, KafkaError> {
        let read = |event: &Event, operation| Ok(event.group_offsets(operation));
        let kind = |coordinator| AdminCall::GroupOffsets { coordinator };
        match self.at_coordinator(group, kind, Native::group_offsets, read).await {
            Err(error) if error.code() == Some(code::GROUP_ID_NOT_FOUND) => Ok(BTreeMap::new()),
            outcome => outcome,
        }
    }

    /// State and members of a group. One that does not exist is [`GroupState::Dead`], as Kafka has always said.
    ///
    /// # Errors
    /// See [`KafkaError`].
    pub async fn describe_group(&self, group: &str) -> Result<GroupDescription, KafkaError> {
        let read =
            |event: &Event, operation| event.group(operation).unwrap_or_else(|| Err(unexpected(operation)));
        let kind = |coordinator| AdminCall::DescribeGroup { coordinator };
        match self.at_coordinator(group, kind, Native::describe_group, read).await {
            Err(error) if error.code() == Some(code::GROUP_ID_NOT_FOUND) => {
                Ok(GroupDescription { state: GroupState::Dead, assignor: String::new(), members: Vec::new() })
            }
            outcome => outcome,
        }
    }

    /// Asks brokers until the group's coordinator answers: the one that did last time, then the others.
    async fn at_coordinator<T>(
        &self,
        group: &str,
        kind: impl Fn(i32) -> AdminCall,
        send: impl Fn(&Native, &str, &Options) -> Result<(), KafkaError>,
        read: impl Fn(&Event, &'static str) -> Result<T, KafkaError>,
    ) -> Result<T, KafkaError> {
        let began = Instant::now();
        let mut search = Search::default();
        loop {
            let broker = match self.coordinators.next(group, &mut search, Instant::now()) {
                Next::Ask(broker) => broker,
                Next::Learn => {
                    let brokers = self.describe_cluster().await?.brokers;
                    self.coordinators.learn(brokers.iter().map(|broker| broker.id).collect(), Instant::now());
                    continue;
                }
                Next::Nobody => return Err(search.refusal()),
            };
            let kind = kind(broker);
            let asked = Instant::now();
            let left = self.timeout.saturating_sub(asked.duration_since(began));
            let answer = self.call_within(left, kind, |native, options| send(native, group, options)).await;
            let outcome = answer.and_then(|event| read(&event, kind.operation()));
            match self.coordinators.judge(group, broker, &outcome, asked, Instant::now()) {
                Verdict::Coordinator => return outcome,
                Verdict::Stranger => search.refused(broker, outcome.err()),
            }
        }
    }

    async fn call(
        &self,
        kind: AdminCall,
        send: impl FnOnce(&Native, &Options) -> Result<(), KafkaError>,
    ) -> Result<Event, KafkaError> {
        self.call_within(self.timeout, kind, send).await
    }

    /// Sends a request and waits for its answer, for `limit` at most.
    async fn call_within(
        &self,
        limit: Duration,
        kind: AdminCall,
        send: impl FnOnce(&Native, &Options) -> Result<(), KafkaError>,
    ) -> Result<Event, KafkaError> {
        let mut pending = self.service.board().open();
        {
            // Not held across the await: options live no longer than the sending.
            let native = self.service.native()?;
            let options = Options::new(native, kind, pending.number, limit)?;
            send(native, &options)?;
        }
        let began = Instant::now();
        let deadline = limit + SLACK;
        if let Ok(outcome) = time::timeout(GRACE.min(deadline), &mut pending.answer).await {
            return self.outcome(kind, outcome);
        }
        if let Some(fault) = self.last_fault().filter(Fault::needs_a_change) {
            return Err(KafkaError::Fault(fault));
        }
        match time::timeout(deadline.saturating_sub(began.elapsed()), &mut pending.answer).await {
            Ok(outcome) => self.outcome(kind, outcome),
            Err(_) => Err(self.timed_out(kind.operation(), self.last_fault())),
        }
    }

    /// Completes what the handle's thread does not know of an error: what was asked and how long it took.
    fn outcome<E>(
        &self,
        kind: AdminCall,
        outcome: Result<Result<Event, KafkaError>, E>,
    ) -> Result<Event, KafkaError> {
        let operation = kind.operation();
        match outcome {
            Ok(Ok(event)) => Ok(event),
            Ok(Err(KafkaError::Timeout { .. })) => Err(self.timed_out(operation, self.last_fault())),
            Ok(Err(KafkaError::Broker { code, name, message, .. })) => {
                Err(KafkaError::Broker { operation, code, name, message })
            }
            Ok(Err(error)) => Err(error),
            // The sender is gone without a word only if the thread is.
            Err(_) => Err(KafkaError::Closed),
        }
    }

    fn timed_out(&self, operation: &'static str, fault: Option<Fault>) -> KafkaError {
        KafkaError::Timeout { operation, after: self.timeout, fault }
    }
}

fn unexpected(operation: &str) -> KafkaError {
    KafkaError::Client(format!("librdkafka gave no result when asked to {operation}"))
}
