//! Producing against librdkafka's mock brokers.

use std::collections::HashMap;

use rdkafka::{
    Message, Offset, TopicPartitionList,
    consumer::{BaseConsumer, Consumer as _},
    mocking::MockCluster,
};
use weir_model::worker_config::{Encoding, GeneratorConfig, KeyConfig, ProduceDelivery};

use super::*;

const TOPIC: &str = "orders";
const PARTITIONS: i32 = 3;

fn task(records: u64) -> ProduceConfig {
    ProduceConfig {
        topic: TOPIC.to_owned(),
        records,
        run_id: "test".to_owned(),
        generator: GeneratorConfig { size_bytes: 100, keys: KeyConfig::Uniform { cardinality: 50 }, seed: 1 },
        encoding: Encoding::Json,
        records_per_second_thousandths: None,
        bytes_per_second: None,
        delivery: ProduceDelivery {
            acks: Acks::All,
            idempotent: true,
            compression: Compression::Lz4,
            linger_ms: 5,
        },
    }
}

fn cluster() -> (MockCluster<'static, rdkafka::producer::DefaultProducerContext>, ClientConfig) {
    let cluster = MockCluster::new(3).expect("mock brokers start");
    cluster.create_topic(TOPIC, PARTITIONS, 3).expect("the topic is new");
    let mut client = ClientConfig::new();
    client.set("bootstrap.servers", cluster.bootstrap_servers());
    client.set("statistics.interval.ms", "200");
    (cluster, client)
}

/// How often each sequence number is in the topic.
fn written(client: &ClientConfig) -> HashMap<u64, u32> {
    let mut client = client.clone();
    client.set("group.id", "reader").set("enable.partition.eof", "true");
    let reader: BaseConsumer = client.create().expect("the settings are good");
    let mut all = TopicPartitionList::new();
    for partition in 0..PARTITIONS {
        all.add_partition_offset(TOPIC, partition, Offset::Beginning).expect("a valid offset");
    }
    reader.assign(&all).expect("the partitions exist");
    let mut counts = HashMap::new();
    let mut ended = 0;
    let deadline = Instant::now() + Duration::from_secs(10);
    while ended < PARTITIONS {
        assert!(Instant::now() < deadline, "the topic cannot be read");
        match reader.poll(Duration::from_millis(100)) {
            Some(Ok(message)) => {
                let value: serde_json::Value =
                    serde_json::from_slice(message.payload().expect("a value")).expect("JSON");
                *counts.entry(value["sequence"].as_u64().expect("a number")).or_insert(0) += 1;
            }
            Some(Err(KafkaError::PartitionEOF(_))) => ended += 1,
            Some(Err(_)) | None => {}
        }
    }
    counts
}

fn await_until(what: &str, mut condition: impl FnMut() -> bool) {
    let deadline = Instant::now() + Duration::from_secs(10);
    while !condition() {
        assert!(Instant::now() < deadline, "{what} did not happen within 10 s");
        std::thread::sleep(Duration::from_millis(5));
    }
}

#[test]
fn every_record_is_written_exactly_once_while_a_broker_is_away() {
    let (cluster, client) = cluster();
    let mut task = task(20_000);
    task.records_per_second_thousandths = Some(20_000_000);
    let progress = Arc::new(Progress::default());
    let run = Run {
        task: &task,
        progress: Arc::clone(&progress),
        heartbeat: Arc::default(),
        shutdown: Shutdown::default(),
    };
    let ending = std::thread::scope(|scope| {
        let running = scope.spawn(|| run.execute(client.clone()));
        await_until("the first records", || progress.acknowledged.get() > 3_000);
        cluster.broker_down(1).expect("broker 1 exists");
        await_until("records that wait for broker 1", || {
            progress.generated.get() > progress.acknowledged.get() + 2_000
        });
        cluster.broker_up(1).expect("broker 1 exists");
        running.join().expect("the run does not panic")
    });
    assert_eq!(ending, Ending::Complete);
    let status = progress.status();
    assert_eq!((status.acknowledged, status.failed, status.finished), (20_000, 0, true));
    let counts = written(&client);
    assert_eq!(counts.len(), 20_000);
    assert!(counts.values().all(|count| *count == 1), "no duplicates");
}

#[test]
fn a_record_that_is_refused_for_good_ends_the_run_with_a_sentence() {
    let (_cluster, mut client) = cluster();
    client.set("message.max.bytes", "1500");
    let mut task = task(10);
    task.generator.size_bytes = 3_000;
    let run = Run {
        task: &task,
        progress: Arc::default(),
        heartbeat: Arc::default(),
        shutdown: Shutdown::default(),
    };
    let Ending::Failed(sentence) = run.execute(client) else { panic!("3,000 bytes do not fit") };
    assert!(sentence.contains("record 0") && sentence.contains("larger"), "{sentence}");
    assert_eq!(run.progress.status().failed, 1);
}

#[test]
fn a_stopped_run_acknowledges_what_it_generated_and_no_more() {
    let (_cluster, client) = cluster();
    let mut task = task(1_000_000);
    task.records_per_second_thousandths = Some(50_000_000);
    let run = Run {
        task: &task,
        progress: Arc::default(),
        heartbeat: Arc::default(),
        shutdown: Shutdown::default(),
    };
    let ending = std::thread::scope(|scope| {
        let running = scope.spawn(|| run.execute(client.clone()));
        await_until("some records", || run.progress.acknowledged.get() > 1_000);
        run.shutdown.request();
        running.join().expect("the run does not panic")
    });
    assert_eq!((ending.exit_code(), ending), (143, Ending::Stopped));
    let status = run.progress.status();
    assert_eq!(status.acknowledged, status.generated);
    assert_eq!(u64::try_from(written(&client).len()).expect("small"), status.acknowledged);
}
