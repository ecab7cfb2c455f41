//! The handle and the sampler against librdkafka's mock brokers: offsets, time limits, abandoned calls, closing.
//!
//! The mock names no controller, without which topics can be neither described nor changed, and has no security;
//! `contract` tests all that, and sampling, against real brokers.

use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use rdkafka::{
    ClientConfig,
    mocking::MockCluster,
    producer::{BaseProducer, BaseRecord, DefaultProducerContext, Producer},
};
use tokio::{sync::watch, time::timeout};
use weir_kafka::{
    Cluster, ConnectionSettings, Fault, GroupSample, GroupWatch, KafkaError, LagSampler, OffsetSpec,
};
use weir_model::{
    Lag, Offset, TopicPartition, UnknownLag,
    worker_config::{Isolation, StartFrom},
};

type Mock = MockCluster<'static, DefaultProducerContext>;

fn mock(topic: &str, partitions: i32) -> Result<Mock> {
    let mock = MockCluster::new(3)?;
    mock.create_topic(topic, partitions, 1)?;
    Ok(mock)
}

fn cluster(bootstrap: &str) -> Result<Cluster> {
    let settings = ConnectionSettings {
        bootstrap_servers: bootstrap.split(',').map(str::to_owned).collect(),
        tls: None,
        sasl: None,
    };
    Ok(Cluster::connect(&settings, "weir-mock-test")?)
}

fn produce(mock: &Mock, topic: &str, partition: i32, records: u64) -> Result<()> {
    let producer: BaseProducer =
        ClientConfig::new().set("bootstrap.servers", mock.bootstrap_servers()).create()?;
    for _ in 0..records {
        producer
            .send(BaseRecord::<(), str>::to(topic).partition(partition).payload("x"))
            .map_err(|(error, _)| error)?;
    }
    Ok(producer.flush(Duration::from_secs(10))?)
}

fn offset(raw: i64) -> Offset {
    Offset::from_kafka(raw).expect("tests use real offsets")
}

#[tokio::test]
async fn offsets_come_per_partition_and_an_unknown_one_is_an_error_of_its_own() -> Result<()> {
    let mock = mock("orders", 2)?;
    produce(&mock, "orders", 0, 7)?;
    let cluster = cluster(&mock.bootstrap_servers())?;
    let (filled, empty, none) = (
        TopicPartition::new("orders", 0),
        TopicPartition::new("orders", 1),
        TopicPartition::new("orders", 9),
    );
    let asked = [filled.clone(), empty.clone(), none.clone(), filled.clone()];
    let latest = cluster.list_offsets(&asked, OffsetSpec::Latest, Isolation::ReadCommitted).await?;
    assert_eq!(latest.get(&filled), Some(&Ok(offset(7))));
    assert_eq!(latest.get(&empty), Some(&Ok(offset(0))));
    let error =
        latest.get(&none).context("an answer for each partition")?.clone().expect_err("no such partition");
    assert!(error.is_unknown_topic(), "{error}");
    let earliest =
        cluster.list_offsets(&asked[..1], OffsetSpec::Earliest, Isolation::ReadUncommitted).await?;
    assert_eq!(earliest.get(&filled), Some(&Ok(Offset::ZERO)));
    Ok(())
}

#[tokio::test]
async fn a_call_to_brokers_that_are_gone_ends_in_its_time_and_says_why() -> Result<()> {
    let limit = Duration::from_secs(1);
    let cluster = cluster("127.0.0.1:1")?.with_timeout(limit);
    let began = Instant::now();
    let error = cluster.describe_cluster().await.expect_err("nobody listens on port 1");
    ensure!(began.elapsed() < limit + Duration::from_secs(1), "took {:?}", began.elapsed());
    assert!(error.is_transient(), "{error}");
    assert!(matches!(&error, KafkaError::Timeout { fault: Some(Fault::Transport(_)), .. }), "{error:?}");
    assert!(error.to_string().contains("describe the cluster"), "{error}");
    Ok(())
}

#[tokio::test]
async fn abandoned_calls_leave_the_handle_usable() -> Result<()> {
    let mock = mock("orders", 1)?;
    let cluster = cluster(&mock.bootstrap_servers())?;
    let partitions = [TopicPartition::new("orders", 0)];
    for broker in 1..=3 {
        mock.broker_round_trip_time(broker, Duration::from_millis(300))?;
    }
    for _ in 0..50 {
        let call = cluster.list_offsets(&partitions, OffsetSpec::Latest, Isolation::ReadCommitted);
        ensure!(timeout(Duration::from_millis(1), call).await.is_err(), "a round trip takes 300 ms");
    }
    for broker in 1..=3 {
        mock.broker_round_trip_time(broker, Duration::ZERO)?;
    }
    let latest = cluster.list_offsets(&partitions, OffsetSpec::Latest, Isolation::ReadCommitted).await?;
    assert_eq!(latest.get(&partitions[0]), Some(&Ok(Offset::ZERO)));
    assert_eq!(cluster.last_fault(), None);
    Ok(())
}

#[tokio::test]
async fn dropping_a_handle_with_calls_on_their_way_does_not_block() -> Result<()> {
    let cluster = cluster("127.0.0.1:1")?;
    drop(timeout(Duration::from_millis(20), cluster.describe_cluster()).await);
    let began = Instant::now();
    drop(cluster);
    ensure!(began.elapsed() < Duration::from_millis(50), "took {:?}", began.elapsed());
    Ok(())
}

#[test]
fn settings_that_cannot_be_used_are_refused_without_their_secrets() {
    let mut settings = ConnectionSettings {
        bootstrap_servers: vec!["127.0.0.1:1".to_owned()],
        tls: Some(weir_kafka::Tls { ca_pem: Some("not a certificate".to_owned()) }),
        sasl: None,
    };
    let error = Cluster::connect(&settings, "test").expect_err("the authority is not PEM");
    assert!(matches!(&error, KafkaError::Fault(Fault::Tls(_))), "{error:?}");
    settings.tls = None;
    let mechanism = weir_model::worker_config::SaslMechanism::Plain;
    settings.sasl = Some(weir_kafka::Sasl::new(mechanism, "ann", "hunter2\0"));
    let error = Cluster::connect(&settings, "test").expect_err("a zero byte cannot be sent");
    assert!(!format!("{error} {error:?}").contains("hunter2"), "{error:?}");
}

async fn sample_where(
    samples: &mut watch::Receiver<Option<GroupSample>>,
    accept: impl Fn(&GroupSample) -> bool,
) -> Result<GroupSample> {
    let found = samples.wait_for(|sample| sample.as_ref().is_some_and(&accept));
    let sample =
        timeout(Duration::from_secs(15), found).await.context("no such sample within 15 s")??.clone();
    sample.context("just found")
}

fn watch_of(topics: &[&str], start_from: StartFrom) -> GroupWatch {
    GroupWatch {
        group_id: "billing".to_owned(),
        topics: topics.iter().map(|topic| (*topic).to_owned()).collect(),
        start_from,
    }
}

#[tokio::test]
async fn a_cluster_that_cannot_be_reached_gives_fresh_samples_that_know_nothing() -> Result<()> {
    let sampler = LagSampler::start(cluster("127.0.0.1:1")?, Duration::from_millis(100));
    let mut samples = sampler.watch(watch_of(&["orders"], StartFrom::Earliest));
    let unknown =
        |sample: &GroupSample| matches!(sample.lag.total(), Lag::Unknown(UnknownLag::Unreachable(_)));
    let first = sample_where(&mut samples, unknown).await?;
    assert_eq!(first.partition_count.len(), 0);
    sample_where(&mut samples, |sample| unknown(sample) && sample.taken > first.taken).await?;
    Ok(())
}

#[tokio::test]
async fn a_sampler_that_ends_closes_its_channels() -> Result<()> {
    let sampler = LagSampler::start(cluster("127.0.0.1:1")?, Duration::from_millis(100));
    let mut samples = sampler.watch(watch_of(&["orders"], StartFrom::Earliest));
    drop(sampler);
    let closed = async { while samples.changed().await.is_ok() {} };
    timeout(Duration::from_secs(5), closed).await.context("the channel stays open")?;
    Ok(())
}
