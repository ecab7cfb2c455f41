//! The handle and the sampler against the rig's three real brokers.
//!
//! Needs the feature `rig` and the environment that `tests/rig/rig.sh env` prints; without it every test fails with the
//! sentence that says so. Each test works on topics and groups of its own and deletes them.

use std::{
    collections::{BTreeMap, BTreeSet},
    env, fs,
    sync::atomic::{AtomicU32, Ordering},
    time::{Duration, Instant},
};

use anyhow::{Context, Result, ensure};
use rdkafka::{
    ClientConfig, Offset as NativeOffset, TopicPartitionList,
    consumer::{BaseConsumer, CommitMode, Consumer},
    producer::{BaseProducer, BaseRecord, Producer},
};
use tokio::{
    sync::watch,
    time::{sleep, timeout},
};
use weir_kafka::{
    Cluster, ConfigEntry, ConfigSource, ConnectionSettings, Fault, GroupSample, GroupState, GroupWatch,
    KafkaError, LagSampler, NewTopic, OffsetSpec, Sasl, Tls, TopicDescription,
};
use weir_model::{
    Lag, Offset, TopicPartition, UnknownLag,
    worker_config::{Isolation, SaslMechanism, StartFrom},
};

fn variable(name: &str) -> Result<String> {
    env::var(name).with_context(|| {
        format!("{name} is not set; start the rig and run `source <(tests/rig/rig.sh env)` first")
    })
}

fn servers(variable_name: &str) -> Result<Vec<String>> {
    Ok(variable(variable_name)?.split(',').map(str::to_owned).collect())
}

fn plain() -> Result<ConnectionSettings> {
    Ok(ConnectionSettings { bootstrap_servers: servers("KAFKA_PLAIN")?, tls: None, sasl: None })
}

/// Settings of one of the rig's principals, whose password is its name with `-secret`.
fn secure(principal: &str, mechanism: SaslMechanism) -> Result<ConnectionSettings> {
    let ca_pem = Some(fs::read_to_string(variable("KAFKA_CA")?)?);
    Ok(ConnectionSettings {
        bootstrap_servers: servers("KAFKA_SASL_SSL")?,
        tls: Some(Tls { ca_pem }),
        sasl: Some(Sasl::new(mechanism, principal, &format!("{principal}-secret"))),
    })
}

fn administrator() -> Result<Cluster> {
    Ok(Cluster::connect(&secure("admin", SaslMechanism::ScramSha512)?, "weir-contract-test")?)
}

fn unique(what: &str) -> String {
    static NUMBER: AtomicU32 = AtomicU32::new(0);
    format!("contract-{what}-{}-{}", std::process::id(), NUMBER.fetch_add(1, Ordering::Relaxed))
}

fn new_topic(name: &str, partitions: i32) -> NewTopic {
    NewTopic {
        name: name.to_owned(),
        partitions: Some(partitions),
        replication_factor: Some(3),
        config: BTreeMap::new(),
    }
}

fn offset(raw: i64) -> Offset {
    Offset::from_kafka(raw).expect("tests use real offsets")
}

/// Brokers learn of a change a moment after the controller: asks until the topic is as wanted.
async fn topic_where(
    cluster: &Cluster,
    name: &str,
    accept: impl Fn(&Result<TopicDescription, KafkaError>) -> bool,
) -> Result<Result<TopicDescription, KafkaError>> {
    let deadline = Instant::now() + Duration::from_secs(15);
    loop {
        let mut topics = cluster.describe_topics(&[name.to_owned()]).await?;
        let topic = topics.remove(name).context("an answer for the topic")?;
        if accept(&topic) {
            return Ok(topic);
        }
        ensure!(Instant::now() < deadline, "topic {name} stays {topic:?}");
        sleep(Duration::from_millis(50)).await;
    }
}

fn is_led(partitions: usize) -> impl Fn(&Result<TopicDescription, KafkaError>) -> bool {
    move |topic| {
        topic.as_ref().is_ok_and(|topic| {
            topic.partitions.len() == partitions && topic.partitions.iter().all(|p| p.leader.is_some())
        })
    }
}

async fn created(cluster: &Cluster, what: &str, partitions: i32) -> Result<String> {
    let name = unique(what);
    cluster.create_topic(&new_topic(&name, partitions), false).await?;
    topic_where(cluster, &name, is_led(usize::try_from(partitions)?)).await??;
    Ok(name)
}

fn entry<'a>(entries: &'a [ConfigEntry], name: &str) -> Result<&'a ConfigEntry> {
    entries.iter().find(|entry| entry.name == name).with_context(|| format!("no key {name}"))
}

fn produce(topic: &str, partition: i32, records: u32) -> Result<()> {
    let producer: BaseProducer = client()?.create()?;
    for _ in 0..records {
        producer
            .send(BaseRecord::<(), str>::to(topic).partition(partition).payload("x"))
            .map_err(|(error, _)| error)?;
    }
    Ok(producer.flush(Duration::from_secs(10))?)
}

fn client() -> Result<ClientConfig> {
    let mut config = ClientConfig::new();
    for (key, value) in plain()?.client_properties() {
        config.set(key, value);
    }
    Ok(config)
}

fn commit(group: &str, topic: &str, partition: i32, offset: i64) -> Result<()> {
    let consumer: BaseConsumer = client()?.set("group.id", group).create()?;
    let mut list = TopicPartitionList::new();
    list.add_partition_offset(topic, partition, NativeOffset::Offset(offset))?;
    Ok(consumer.commit(&list, CommitMode::Sync)?)
}

#[tokio::test]
async fn every_mechanism_reaches_the_cluster() -> Result<()> {
    for mechanism in [SaslMechanism::ScramSha512, SaslMechanism::ScramSha256, SaslMechanism::Plain] {
        let cluster = Cluster::connect(&secure("weir", mechanism)?, "weir-contract-test")?;
        let description = cluster.describe_cluster().await.with_context(|| format!("{mechanism:?}"))?;
        assert_eq!(description.brokers.iter().map(|broker| broker.id).collect::<Vec<_>>(), [1, 2, 3]);
        ensure!(!description.cluster_id.is_empty() && description.controller.is_some(), "{description:?}");
        assert_eq!(cluster.last_fault(), None);
    }
    Ok(())
}

#[tokio::test]
async fn a_topic_is_created_grown_and_deleted() -> Result<()> {
    let cluster = administrator()?;
    let name = unique("life");
    let wanted = new_topic(&name, 2);
    cluster.create_topic(&wanted, true).await?;
    let missing = topic_where(&cluster, &name, |_| true).await?.expect_err("validating creates nothing");
    assert!(missing.is_unknown_topic(), "{missing}");

    cluster.create_topic(&wanted, false).await?;
    let topic = topic_where(&cluster, &name, is_led(2)).await??;
    assert_eq!((topic.name.as_str(), topic.id.len(), topic.internal), (name.as_str(), 22, false));
    assert!(topic.partitions.iter().all(|p| p.replicas.len() == 3), "{topic:?}");
    let again = cluster.create_topic(&wanted, false).await.expect_err("it exists");
    assert!(again.is_topic_exists(), "{again}");

    cluster.create_partitions(&name, 5, true).await?;
    cluster.create_partitions(&name, 5, false).await?;
    let grown = topic_where(&cluster, &name, is_led(5)).await??;
    assert_eq!(grown.id, topic.id);
    for total in [5, 3] {
        let refused = cluster.create_partitions(&name, total, false).await.expect_err("not an increase");
        assert!(refused.is_invalid_partitions() && refused.detail().contains('5'), "{refused}");
    }

    cluster.delete_topic(&name).await?;
    topic_where(&cluster, &name, |topic| topic.as_ref().is_err_and(KafkaError::is_unknown_topic))
        .await?
        .expect_err("it is gone");
    let gone = cluster.delete_topic(&name).await.expect_err("it is gone");
    assert!(gone.is_unknown_topic(), "{gone}");
    Ok(())
}

#[tokio::test]
async fn configuration_changes_leave_unnamed_keys_alone() -> Result<()> {
    let cluster = administrator()?;
    let name = unique("config");
    let mut topic = new_topic(&name, 1);
    topic.config = [("retention.ms", "3600000"), ("segment.bytes", "1048576")]
        .map(|(key, value)| (key.to_owned(), value.to_owned()))
        .into();
    cluster.create_topic(&topic, false).await?;
    topic_where(&cluster, &name, is_led(1)).await??;

    let set = BTreeMap::from([("max.message.bytes".to_owned(), "2000000".to_owned())]);
    let delete = BTreeSet::from(["segment.bytes".to_owned()]);
    cluster.alter_topic_config(&name, &set, &delete, true).await?;
    cluster.alter_topic_config(&name, &set, &delete, false).await?;
    let deadline = Instant::now() + Duration::from_secs(10);
    let entries = loop {
        let entries = cluster
            .describe_topic_configs(std::slice::from_ref(&name))
            .await?
            .remove(&name)
            .context("an answer")??;
        if entry(&entries, "max.message.bytes")?.value.as_deref() == Some("2000000") {
            break entries;
        }
        ensure!(Instant::now() < deadline, "the change does not appear: {entries:?}");
        sleep(Duration::from_millis(50)).await;
    };
    let kept = entry(&entries, "retention.ms")?;
    assert_eq!((kept.value.as_deref(), kept.source), (Some("3600000"), ConfigSource::DynamicTopic));
    let reset = entry(&entries, "segment.bytes")?;
    assert_ne!(reset.source, ConfigSource::DynamicTopic);
    // Configured for the brokers, in their files or (with eligible leader replicas) at run time; not on the topic.
    let brokers = [ConfigSource::StaticBroker, ConfigSource::DynamicDefaultBroker];
    assert!(brokers.contains(&entry(&entries, "min.insync.replicas")?.source), "{entries:?}");
    assert_eq!(entry(&entries, "cleanup.policy")?.source, ConfigSource::Default);

    let nonsense = BTreeMap::from([("foo".to_owned(), "1".to_owned())]);
    for validate_only in [true, false] {
        let refused = cluster
            .alter_topic_config(&name, &nonsense, &BTreeSet::new(), validate_only)
            .await
            .expect_err("no such key");
        assert!(refused.is_invalid_config() && refused.detail().contains("foo"), "{refused}");
    }
    cluster.delete_topic(&name).await?;
    Ok(())
}

#[tokio::test]
async fn impossible_topics_are_refused_in_the_brokers_words() -> Result<()> {
    let cluster = administrator()?;
    let mut unknown_key = new_topic(&unique("refused"), 1);
    unknown_key.config.insert("foo".to_owned(), "bar".to_owned());
    let error = cluster.create_topic(&unknown_key, false).await.expect_err("no such key");
    assert!(error.is_invalid_config(), "{error}");
    assert_eq!(error.detail(), "Unknown topic config name: foo");

    let mut too_many_copies = new_topic(&unique("refused"), 1);
    too_many_copies.replication_factor = Some(4);
    let error = cluster.create_topic(&too_many_copies, false).await.expect_err("there are three brokers");
    assert!(error.is_invalid_replication_factor() && error.detail().contains('4'), "{error}");

    let error = cluster.create_topic(&new_topic("a b", 1), false).await.expect_err("illegal name");
    assert!(error.is_invalid_topic(), "{error:?}");
    Ok(())
}

#[tokio::test]
async fn missing_topics_are_items_with_an_error() -> Result<()> {
    let cluster = administrator()?;
    let name = unique("missing");
    let described = cluster.describe_topics(std::slice::from_ref(&name)).await?;
    assert!(described[&name].as_ref().is_err_and(KafkaError::is_unknown_topic), "{described:?}");
    let configs = cluster.describe_topic_configs(std::slice::from_ref(&name)).await?;
    assert!(configs[&name].as_ref().is_err_and(KafkaError::is_unknown_topic), "{configs:?}");
    let partition = TopicPartition::new(name.as_str(), 0);
    let offsets = cluster
        .list_offsets(std::slice::from_ref(&partition), OffsetSpec::Latest, Isolation::ReadCommitted)
        .await?;
    assert!(offsets[&partition].as_ref().is_err_and(KafkaError::is_unknown_topic), "{offsets:?}");
    let delete = cluster.delete_topic(&name).await.expect_err("no such topic");
    assert!(delete.is_unknown_topic(), "{delete}");
    Ok(())
}

#[tokio::test]
async fn a_wrong_password_ends_the_call_at_once_and_every_time() -> Result<()> {
    for mechanism in [SaslMechanism::ScramSha512, SaslMechanism::Plain] {
        let mut settings = secure("weir", mechanism)?;
        settings.sasl = Some(Sasl::new(mechanism, "weir", "guessed-wrong"));
        let cluster = Cluster::connect(&settings, "weir-contract-test")?;
        for attempt in 1..=3 {
            let began = Instant::now();
            let error = cluster.describe_cluster().await.expect_err("the password is wrong");
            assert!(matches!(&error, KafkaError::Fault(Fault::Authentication(_))), "{attempt}: {error:?}");
            ensure!(began.elapsed() < Duration::from_secs(4), "attempt {attempt} took {:?}", began.elapsed());
            assert!(!format!("{error} {error:?}").contains("guessed-wrong"), "{error:?}");
        }
        assert!(matches!(cluster.last_fault(), Some(Fault::Authentication(_))));
    }
    Ok(())
}

#[tokio::test]
async fn a_wrong_authority_is_a_fault_of_encryption() -> Result<()> {
    for ca_pem in [Some(fs::read_to_string(variable("KAFKA_OTHER_CA")?)?), None] {
        let mut settings = secure("weir", SaslMechanism::ScramSha512)?;
        settings.tls = Some(Tls { ca_pem });
        let cluster = Cluster::connect(&settings, "weir-contract-test")?;
        let began = Instant::now();
        let error = cluster.describe_cluster().await.expect_err("the authority did not sign this");
        assert!(matches!(&error, KafkaError::Fault(Fault::Tls(_))), "{error:?}");
        ensure!(began.elapsed() < Duration::from_secs(4), "took {:?}", began.elapsed());
    }
    Ok(())
}

#[tokio::test]
async fn an_unknown_host_is_a_fault_of_its_name() -> Result<()> {
    let mut settings = plain()?;
    settings.bootstrap_servers = vec!["no-such-host.invalid:9092".to_owned()];
    let cluster = Cluster::connect(&settings, "weir-contract-test")?;
    let error = cluster.describe_cluster().await.expect_err("there is no such host");
    assert!(
        matches!(&error, KafkaError::Fault(Fault::Resolve(text)) if text.contains("no-such-host")),
        "{error:?}"
    );
    Ok(())
}

#[tokio::test]
async fn plain_text_to_an_encrypted_listener_fails_with_a_hint() -> Result<()> {
    let mut settings = plain()?;
    settings.bootstrap_servers = servers("KAFKA_SASL_SSL")?;
    let cluster = Cluster::connect(&settings, "weir-contract-test")?.with_timeout(Duration::from_secs(2));
    let error = cluster.describe_cluster().await.expect_err("the listener expects TLS");
    assert!(error.to_string().contains("expects TLS"), "{error}");
    Ok(())
}

#[tokio::test]
async fn a_principal_without_rights_is_told_so() -> Result<()> {
    let admin = administrator()?;
    let topic = created(&admin, "forbidden", 1).await?;
    let nobody = Cluster::connect(&secure("nobody", SaslMechanism::ScramSha512)?, "weir-contract-test")?;
    nobody.describe_cluster().await.context("every principal may ask for the brokers")?;
    let create = nobody.create_topic(&new_topic(&unique("forbidden"), 1), false).await;
    let describe =
        nobody.describe_topics(std::slice::from_ref(&topic)).await?.remove(&topic).context("an answer")?;
    let config = nobody
        .describe_topic_configs(std::slice::from_ref(&topic))
        .await?
        .remove(&topic)
        .context("an answer")?;
    let alter = nobody
        .alter_topic_config(
            &topic,
            &BTreeMap::from([("retention.ms".to_owned(), "1".to_owned())]),
            &BTreeSet::new(),
            false,
        )
        .await;
    let offsets = nobody.group_offsets("anything").await;
    let group = nobody.describe_group("anything").await;
    for (what, error) in [
        ("create", create.err()),
        ("describe", describe.err()),
        ("configuration", config.err()),
        ("alter", alter.err()),
        ("offsets", offsets.err()),
        ("group", group.err()),
    ] {
        let error = error.with_context(|| format!("{what} was allowed"))?;
        assert!(error.is_unauthorized(), "{what}: {error:?}");
    }
    // Kafka hides what one may not see: a topic that nobody may delete is unknown or forbidden to them, not deleted.
    let delete = nobody.delete_topic(&topic).await.expect_err("not allowed");
    assert!(delete.is_unauthorized() || delete.is_unknown_topic(), "{delete}");
    topic_where(&admin, &topic, is_led(1)).await??;
    admin.delete_topic(&topic).await?;
    Ok(())
}

#[tokio::test]
async fn offsets_and_commits_are_what_was_written() -> Result<()> {
    let cluster = administrator()?;
    let (topic, group) = (created(&cluster, "offsets", 2).await?, unique("group"));
    produce(&topic, 0, 12)?;
    commit(&group, &topic, 0, 5)?;
    let partitions = [TopicPartition::new(topic.as_str(), 0), TopicPartition::new(topic.as_str(), 1)];
    for isolation in [Isolation::ReadCommitted, Isolation::ReadUncommitted] {
        let latest = cluster.list_offsets(&partitions, OffsetSpec::Latest, isolation).await?;
        assert_eq!(
            latest,
            BTreeMap::from([(partitions[0].clone(), Ok(offset(12))), (partitions[1].clone(), Ok(offset(0)))])
        );
    }
    let earliest =
        cluster.list_offsets(&partitions, OffsetSpec::Earliest, Isolation::ReadUncommitted).await?;
    assert_eq!(earliest.get(&partitions[0]), Some(&Ok(Offset::ZERO)));
    let committed = cluster.group_offsets(&group).await?;
    assert_eq!(committed, BTreeMap::from([(partitions[0].clone(), Ok(Some(offset(5))))]));
    assert_eq!(cluster.group_offsets(&unique("never")).await?, BTreeMap::new());
    assert_eq!(cluster.describe_group(&group).await?.state, GroupState::Empty);
    assert_eq!(cluster.describe_group(&unique("never")).await?.state, GroupState::Dead);
    cluster.delete_topic(&topic).await?;
    Ok(())
}

#[tokio::test]
async fn calls_about_groups_that_time_out_in_any_state_leave_the_process_alive() -> Result<()> {
    // librdkafka 2.12.1 aborts when a coordinator is found after the call that looked for it has timed out.
    let (impatient, group) = (administrator()?.with_timeout(Duration::from_millis(3)), unique("group"));
    let patient = impatient.clone().with_timeout(Duration::from_secs(10));
    for _ in 0..50 {
        drop(impatient.group_offsets(&group).await);
        drop(impatient.describe_group(&unique("group")).await);
    }
    assert_eq!(patient.group_offsets(&group).await?, BTreeMap::new());
    assert_eq!(patient.describe_group(&group).await?.state, GroupState::Dead);
    Ok(())
}

#[tokio::test]
async fn a_group_shows_its_members_and_what_they_own() -> Result<()> {
    let cluster = administrator()?;
    let (topic, group) = (created(&cluster, "members", 3).await?, unique("group"));
    let consumer: BaseConsumer = client()?.set("group.id", &group).set("client.id", "member-one").create()?;
    consumer.subscribe(&[&topic])?;
    let deadline = Instant::now() + Duration::from_secs(20);
    let description = loop {
        drop(consumer.poll(Duration::from_millis(50)));
        // The first group of a fresh cluster: for a moment no broker is its coordinator.
        let answer = cluster.describe_group(&group).await;
        match &answer {
            Ok(d) if d.state == GroupState::Stable && d.members.iter().any(|m| !m.partitions.is_empty()) => {
                break answer?;
            }
            Err(error) if !error.is_transient() => return Err(error.clone().into()),
            Ok(_) | Err(_) => ensure!(Instant::now() < deadline, "the group stays {answer:?}"),
        }
    };
    assert_eq!(description.members.len(), 1);
    let member = &description.members[0];
    assert_eq!((member.client_id.as_str(), member.partitions.len()), ("member-one", 3));
    ensure!(
        !member.member_id.is_empty() && !member.host.is_empty() && !description.assignor.is_empty(),
        "{description:?}"
    );
    drop(consumer);
    cluster.delete_topic(&topic).await?;
    Ok(())
}

async fn sample_where(
    samples: &mut watch::Receiver<Option<GroupSample>>,
    accept: impl Fn(&GroupSample) -> bool,
) -> Result<GroupSample> {
    let found = samples.wait_for(|sample| sample.as_ref().is_some_and(&accept));
    let found = timeout(Duration::from_secs(20), found).await.ok().map(|sample| sample.map(|s| s.clone()));
    let sample =
        found.with_context(|| format!("no such sample in 20 s; the last is {:?}", samples.borrow()))?;
    sample?.context("just found")
}

fn known(lag: u64) -> impl Fn(&GroupSample) -> bool {
    move |sample| sample.lag.total() == Lag::Known(lag)
}

#[tokio::test]
async fn the_lag_follows_records_commits_growth_and_deletion() -> Result<()> {
    let cluster = administrator()?;
    let (topic, group) = (created(&cluster, "lag", 2).await?, unique("group"));
    let sampler = LagSampler::start(cluster.clone(), Duration::from_secs(1));
    let mut samples = sampler.watch(GroupWatch {
        group_id: group.clone(),
        topics: vec![topic.clone()],
        start_from: StartFrom::Earliest,
    });
    sample_where(&mut samples, known(0)).await?;
    produce(&topic, 0, 20)?;
    let began = Instant::now();
    sample_where(&mut samples, known(20)).await?;
    ensure!(began.elapsed() < Duration::from_millis(1500), "new records showed after {:?}", began.elapsed());
    commit(&group, &topic, 0, 20)?;
    let drained = sample_where(&mut samples, known(0)).await?;
    assert_eq!(drained.committed_sum(), 20);

    // Two quiet samples later the group sleeps; a record must wake it within the second.
    let quiet = drained.taken + Duration::from_millis(3500);
    sample_where(&mut samples, |sample| sample.taken > quiet).await?;
    commit(&group, &topic, 0, 15)?; // while it sleeps nobody looks …
    produce(&topic, 1, 3)?; // … until something is written
    let began = Instant::now();
    sample_where(&mut samples, known(8)).await?;
    ensure!(began.elapsed() < Duration::from_millis(1500), "the group woke after {:?}", began.elapsed());

    cluster.create_partitions(&topic, 4, false).await?;
    sample_where(&mut samples, |sample| sample.partitions() == 4 && known(8)(sample)).await?;

    commit(&group, &topic, 0, 500)?;
    let beyond = |sample: &GroupSample| sample.lag.total() == Lag::Unknown(UnknownLag::BeyondEnd);
    sample_where(&mut samples, beyond).await?;

    cluster.delete_topic(&topic).await?;
    let missing =
        |sample: &GroupSample| matches!(sample.lag.total(), Lag::Unknown(UnknownLag::TopicMissing(_)));
    let gone = sample_where(&mut samples, missing).await?;
    ensure!(gone.partition_count.is_empty() || gone.lag.partitions.len() == 4, "{gone:?}");
    Ok(())
}

#[tokio::test]
async fn the_lag_of_topics_without_rights_is_unknown() -> Result<()> {
    let admin = administrator()?;
    let topic = created(&admin, "unseen", 1).await?;
    let nobody = Cluster::connect(&secure("nobody", SaslMechanism::ScramSha512)?, "weir-contract-test")?;
    let sampler = LagSampler::start(nobody, Duration::from_secs(1));
    let mut samples = sampler.watch(GroupWatch {
        group_id: unique("group"),
        topics: vec![topic.clone()],
        start_from: StartFrom::Latest,
    });
    let sample = sample_where(&mut samples, |_| true).await?;
    assert!(matches!(sample.lag.total(), Lag::Unknown(UnknownLag::Unauthorized(_))), "{sample:?}");
    admin.delete_topic(&topic).await?;
    Ok(())
}
