//! Consuming from librdkafka's mock brokers. Its group coordinator waits 3 s before it gives out partitions.

use std::{
    collections::{HashMap, HashSet},
    sync::atomic::{AtomicU64, Ordering},
};

use rdkafka::{
    Offset, TopicPartitionList,
    consumer::{BaseConsumer, Consumer as _},
    mocking::MockCluster,
    producer::{BaseProducer, BaseRecord, DefaultProducerContext, Producer as _},
};
use weir_model::worker_config::{self, Order};

use super::{
    handler::probe::{Probe, Verdict},
    *,
};

const TOPIC: &str = "orders";
const GROUP: &str = "billing";

type Cluster = MockCluster<'static, DefaultProducerContext>;

fn task(order: Order) -> ConsumeConfig {
    ConsumeConfig {
        group_id: GROUP.to_owned(),
        topics: vec![TOPIC.to_owned()],
        start_from: StartFrom::Earliest,
        isolation: Isolation::ReadCommitted,
        session_timeout_ms: 6000,
        handler: worker_config::Handler::Discard,
        order,
        max_concurrency: 32,
        in_flight_records: 100,
        commit_interval_ms: 100,
        retry_initial_backoff_ms: 1,
        retry_max_backoff_ms: 10,
    }
}

/// Brokers with `records` records of 20 keys in `partitions` partitions; values are sequence numbers.
fn cluster(partitions: i32, records: u64) -> (Cluster, ClientConfig) {
    let cluster = MockCluster::new(1).expect("mock brokers start");
    cluster.create_topic(TOPIC, partitions, 1).expect("the topic is new");
    let mut client = ClientConfig::new();
    client.set("bootstrap.servers", cluster.bootstrap_servers());
    let producer: BaseProducer = client.create().expect("the settings are good");
    for n in 0..records {
        let (key, value) = (format!("key-{}", n % 20), n.to_string());
        producer.send(BaseRecord::to(TOPIC).key(&key).payload(&value)).expect("the queue is large enough");
    }
    producer.flush(Duration::from_secs(10)).expect("the brokers answer");
    (cluster, client)
}

struct Worker {
    shared: Shared,
    ended: Receiver<Result<(), String>>,
    runtime: Runtime,
}

impl Worker {
    fn start(client: &ClientConfig, task: &ConsumeConfig, probe: &Probe) -> Self {
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .worker_threads(1)
            .enable_all()
            .build()
            .expect("threads can be started");
        let shared = Shared::default();
        let client = client_config(client.clone(), task);
        let ended = start(runtime.handle(), client, task, Handler::Probe(probe.clone()), &shared);
        Self { shared, ended, runtime }
    }

    fn stop(self) -> Arc<State> {
        self.shared.shutdown.request();
        let outcome = self.ended.recv_timeout(Duration::from_secs(15)).expect("it stops in time");
        assert_eq!(outcome, Ok(()));
        self.runtime.shutdown_background();
        self.shared.state
    }
}

fn await_until(what: &str, mut condition: impl FnMut() -> bool) {
    let deadline = Instant::now() + Duration::from_secs(15);
    while !condition() {
        assert!(Instant::now() < deadline, "{what} did not happen within 15 s");
        thread::sleep(Duration::from_millis(5));
    }
}

/// Committed position and log end of every partition.
fn positions(client: &ClientConfig, partitions: i32) -> Vec<(Option<i64>, i64)> {
    let mut client = client.clone();
    client.set("group.id", GROUP);
    let reader: BaseConsumer = client.create().expect("the settings are good");
    let mut all = TopicPartitionList::new();
    for partition in 0..partitions {
        all.add_partition(TOPIC, partition);
    }
    let committed = reader.committed_offsets(all, Duration::from_secs(5)).expect("the coordinator answers");
    let end = |partition| {
        reader.fetch_watermarks(TOPIC, partition, Duration::from_secs(5)).expect("the broker answers").1
    };
    let offset = |offset| if let Offset::Offset(offset) = offset { Some(offset) } else { None };
    committed.elements().iter().map(|e| (offset(e.offset()), end(e.partition()))).collect()
}

fn assert_all_committed(client: &ClientConfig, partitions: i32) {
    for (committed, end) in positions(client, partitions) {
        assert_eq!(committed.unwrap_or(0), end);
    }
}

fn distinct(probes: &[&Probe]) -> usize {
    let sequences = probes.iter().flat_map(|p| p.completed()).map(|(_, _, _, sequence)| sequence);
    sequences.collect::<HashSet<_>>().len()
}

#[test]
fn a_handler_that_refuses_now_and_then_loses_nothing_and_keeps_the_order_of_keys() {
    let (_cluster, client) = cluster(3, 3_000);
    let calls = AtomicU64::new(0);
    let probe = Probe::new(Duration::ZERO, move |_| {
        if calls.fetch_add(1, Ordering::Relaxed) % 7 == 3 { Verdict::Refuse } else { Verdict::Complete }
    });
    let worker = Worker::start(&client, &task(Order::Key), &probe);
    await_until("every record", || probe.completed().len() >= 3_000);
    let state = worker.stop();
    assert_eq!(distinct(&[&probe]), 3_000);
    assert!(state.retried.get() > 300, "{} refusals", state.retried.get());
    let mut last: HashMap<String, u64> = HashMap::new();
    for (_, _, key, sequence) in probe.completed() {
        if let Some(earlier) = last.insert(key, sequence) {
            assert!(earlier < sequence, "{sequence} was completed after {earlier}");
        }
    }
    assert_all_committed(&client, 3);
}

#[test]
fn nothing_is_committed_beyond_a_record_that_is_not_done() {
    let (_cluster, client) = cluster(1, 80);
    let hangs = Offset::Offset(5);
    let probe = Probe::new(Duration::ZERO, move |record| {
        if Offset::Offset(record.offset.to_kafka()) == hangs { Verdict::Hang } else { Verdict::Complete }
    });
    let worker = Worker::start(&client, &task(Order::None), &probe);
    await_until("all but one", || probe.completed().len() == 79);
    await_until("a commit", || positions(&client, 1)[0].0 == Some(5));
    probe.open_gate();
    await_until("the whole commit", || positions(&client, 1)[0].0 == Some(80));
    worker.stop();
}

#[test]
fn a_window_that_is_full_of_a_hanging_record_takes_no_more() {
    let (_cluster, client) = cluster(1, 1_000);
    let probe = Probe::new(Duration::ZERO, |record| {
        if record.offset == weir_model::Offset::ZERO { Verdict::Hang } else { Verdict::Complete }
    });
    let worker = Worker::start(&client, &task(Order::None), &probe);
    await_until("the rest of the window", || probe.completed().len() == 99);
    assert_eq!(worker.shared.state.received.get(), 100);
    probe.open_gate();
    await_until("every record", || probe.completed().len() == 1_000);
    worker.stop();
    assert_all_committed(&client, 1);
}

#[test]
fn a_second_member_takes_over_partitions_and_no_record_is_lost() {
    let (_cluster, client) = cluster(4, 6_000);
    let pause = Duration::from_millis(10);
    let (first, second) =
        (Probe::new(pause, |_| Verdict::Complete), Probe::new(pause, |_| Verdict::Complete));
    let mut task = task(Order::Key);
    task.session_timeout_ms = 3000;
    let one = Worker::start(&client, &task, &first);
    await_until("the first records", || first.completed().len() > 100);
    let two = Worker::start(&client, &task, &second);
    await_until("records of the second member", || !second.completed().is_empty());
    assert_eq!(one.shared.state.status().assigned + two.shared.state.status().assigned, 4);
    await_until("every record", || distinct(&[&first, &second]) == 6_000);
    one.stop();
    await_until("the whole commit", || {
        positions(&client, 4).iter().all(|(committed, end)| committed.unwrap_or(0) == *end)
    });
    two.stop();
    let handled = first.completed().len() + second.completed().len();
    assert_eq!(handled, 6_000, "a peaceful handover processes nothing twice");
}
