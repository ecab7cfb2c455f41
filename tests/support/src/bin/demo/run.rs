//! One run: apply, watch until everything that should happen has happened or its time is over, then do the sums.

use std::time::{Duration, Instant};

use anyhow::Context;
use jiff::Timestamp;
use kube::{Api, Client};
use tokio::{task, time};
use weir_api::{
    ConsumerGroup, ProducerJob, Topic,
    condition::{COMPLETED, READY, status_of},
};
use weir_test_support::{Rig, Witness, sink::Sink, sink::SinkCounts, wait};

use crate::{
    quickstart::{self, HANDLER, NAMESPACE, Quickstart},
    table::{Row, Table},
    timeline::{Report, Timeline, seconds},
    witness::{LagWatch, ReplicaWatch},
};

/// More than a slow machine needs for everything.
const WITHIN: Duration = Duration::from_secs(300);

/// Runs the example and returns the figures, and a sentence for everything that did not happen.
pub(crate) async fn run(
    rig: &Rig,
    client: &Client,
    quickstart: &Quickstart,
) -> anyhow::Result<(Report, Vec<String>)> {
    let topic = quickstart.topic.topic_name();
    let group = quickstart.group.metadata.name.clone().context("the example's group has no name")?;
    let replicas = ReplicaWatch::start(client.clone(), NAMESPACE, &group);
    let lags = LagWatch::start(rig, &topic, &quickstart.group.group_id())?;

    let mut timeline = Timeline { applied: Timestamp::now().as_millisecond(), ..Timeline::default() };
    quickstart::apply(rig).await?;
    let ready = task::spawn(topic_ready(client.clone(), quickstart.topic.clone()));
    let mut cluster = Cluster::new(client, quickstart);
    let last = cluster.follow(&replicas, &lags, timeline.applied).await;
    timeline.topic_ready = if ready.is_finished() { ready.await?.ok() } else { None };

    timeline.replicas = replicas.history.all();
    timeline.lags = lags.history.all();
    drop((replicas, lags));
    let (partitions, appended) = appended(rig.clone(), topic).await?;
    timeline.appended = appended;
    let counts = last.counts;
    let signed = |count: u64| i64::try_from(count).context("the handler counted more than 2^63");
    let report =
        timeline.report(quickstart.goal, partitions, signed(counts.distinct)?, signed(counts.duplicated)?);
    let complaints = complaints(quickstart, &report, &last);
    Ok((report, complaints))
}

async fn topic_ready(client: Client, topic: Topic) -> anyhow::Result<i64> {
    let api: Api<Topic> = Api::namespaced(client, NAMESPACE);
    let name = topic.metadata.name.context("the example's topic has no name")?;
    wait::until_condition(&api, &name, READY, "True", WITHIN).await?;
    Ok(Timestamp::now().as_millisecond())
}

/// When the brokers appended each record, sorted; and how many partitions there are.
async fn appended(rig: Rig, topic: String) -> anyhow::Result<(i32, Vec<i64>)> {
    task::spawn_blocking(move || {
        let witness = Witness::new(&rig, "demo-witness")?;
        let partitions = i32::try_from(witness.partitions(&topic)?.len()).context("too many partitions")?;
        let mut times = Vec::new();
        witness.read_all(&topic, Duration::from_secs(60), |record| times.push(record.timestamp))?;
        times.sort_unstable();
        Ok((partitions, times))
    })
    .await
    .context("the reading of the topic was cancelled")?
}

/// What was true when the run ended.
#[derive(Debug, Clone, Default)]
struct Last {
    counts: SinkCounts,
    job_completed: bool,
    acknowledged: i64,
    row: Row,
    sentence: String,
}

/// The objects of the example, as the API server and the handler tell them.
struct Cluster<'a> {
    topics: Api<Topic>,
    jobs: Api<ProducerJob>,
    groups: Api<ConsumerGroup>,
    sink: Sink,
    quickstart: &'a Quickstart,
    last: Last,
}

impl<'a> Cluster<'a> {
    fn new(client: &Client, quickstart: &'a Quickstart) -> Self {
        Self {
            topics: Api::namespaced(client.clone(), NAMESPACE),
            jobs: Api::namespaced(client.clone(), NAMESPACE),
            groups: Api::namespaced(client.clone(), NAMESPACE),
            sink: Sink::new(client.clone(), NAMESPACE, HANDLER),
            quickstart,
            last: Last::default(),
        }
    }

    /// Prints the table until the backlog came and went and the consumers too, or until the time is over.
    async fn follow(&mut self, replicas: &ReplicaWatch, lags: &LagWatch, applied: i64) -> Last {
        let deadline = Instant::now() + WITHIN;
        let mut table = Table::default();
        let mut tick = time::interval(Duration::from_secs(1));
        Table::begin();
        while Instant::now() < deadline {
            tick.tick().await;
            self.look(replicas, lags).await;
            let elapsed = seconds(Timestamp::now().as_millisecond() - applied);
            table.show(elapsed, self.last.row.clone(), &self.last.sentence);
            if self.is_over() {
                break;
            }
        }
        self.last.clone()
    }

    /// What cannot be asked keeps its last value; the table then stands still instead of showing zeros.
    async fn look(&mut self, replicas: &ReplicaWatch, lags: &LagWatch) {
        let name = |object: &Option<String>| object.clone().unwrap_or_default();
        let row = &mut self.last.row;
        if let Ok(topic) = self.topics.get(&name(&self.quickstart.topic.metadata.name)).await {
            let conditions = topic.status.unwrap_or_default().conditions;
            row.topic =
                conditions.iter().find(|c| c.type_ == READY).map(|c| c.reason.clone()).unwrap_or_default();
        }
        if let Ok(job) = self.jobs.get(&name(&self.quickstart.job.metadata.name)).await {
            let status = job.status.unwrap_or_default();
            self.last.job_completed = status_of(&status.conditions, COMPLETED) == Some(true);
            self.last.acknowledged = status.acknowledged.unwrap_or(0);
            if let Some(run_id) = status.run_id
                && let Ok(counts) = self.sink.counts(Some(&run_id)).await
            {
                self.last.counts = counts;
                row.handled = counts.distinct;
            }
        }
        if let Ok(group) = self.groups.get(&name(&self.quickstart.group.metadata.name)).await {
            let status = group.status.unwrap_or_default();
            let newest = status.decisions.first();
            row.reason = newest.map(|decision| decision.reason.clone()).unwrap_or_default();
            self.last.sentence = newest.map(|decision| decision.message.clone()).unwrap_or_default();
        }
        if let Some(sample) = lags.history.latest() {
            (row.produced, row.lag) = (sample.produced, sample.lag);
        }
        if let Some(change) = replicas.history.latest() {
            (row.wanted, row.running) = (change.wanted, change.ready);
        }
    }

    fn is_over(&self) -> bool {
        let row = &self.last.row;
        let min = self.quickstart.min_replicas();
        self.last.job_completed
            && row.produced >= self.quickstart.job.spec.records
            && row.handled >= u64::try_from(self.quickstart.job.spec.records).unwrap_or(u64::MAX)
            && row.lag == 0
            && row.wanted == min
            && row.running == min
    }
}

fn complaints(quickstart: &Quickstart, report: &Report, last: &Last) -> Vec<String> {
    let wanted = quickstart.job.spec.records;
    let min = quickstart.min_replicas();
    let checks = [
        (report.topic_ready_s.is_some(), "The Topic did not become ready.".to_owned()),
        (
            Some(report.partitions) == quickstart.topic.spec.partitions,
            format!(
                "The topic has {} partitions instead of {:?}.",
                report.partitions, quickstart.topic.spec.partitions
            ),
        ),
        (last.job_completed, "The ProducerJob did not complete.".to_owned()),
        (
            report.records_produced == wanted,
            format!("The topic holds {} records instead of {wanted}.", report.records_produced),
        ),
        (
            last.acknowledged == wanted,
            format!(
                "The ProducerJob's status says {} acknowledged records instead of {wanted}.",
                last.acknowledged
            ),
        ),
        (report.lost == 0, format!("{} records never reached the handler.", report.lost)),
        (
            last.counts.reordered == 0,
            format!("{} records came after a later one of the same key.", last.counts.reordered),
        ),
        (report.reaction_s.is_some(), "The consumers did not multiply when the backlog grew.".to_owned()),
        (
            report.replicas_peak > 1 && report.replicas_peak <= report.partitions,
            format!(
                "At most {} consumers were ready; 2 to {} should be.",
                report.replicas_peak, report.partitions
            ),
        ),
        (report.drained_s.is_some(), format!("The backlog did not drain; the lag is {}.", last.row.lag)),
        (
            report.replicas_end == min && last.row.running == min,
            format!(
                "{} consumers are wanted and {} run at the end instead of {min}.",
                report.replicas_end, last.row.running
            ),
        ),
    ];
    checks.into_iter().filter(|(happened, _)| !happened).map(|(_, sentence)| sentence).collect()
}
