//! The io thread: owns the consumer and all state of partitions, so that nothing here needs a lock. It sleeps until
//! the client has records, a handler is done, or something is due. It does not process records.
//!
//! A turn: serve the client (rebalances, answers to commits), take finished attempts, wake retries, take records of
//! partitions with room in their window, start what has a permit, commit what is due.

use std::{
    collections::{BTreeMap, VecDeque, hash_map::RandomState},
    hash::BuildHasher,
    sync::{
        Arc,
        atomic::Ordering,
        mpsc::{Receiver, sync_channel},
    },
    thread,
    time::{Duration, Instant},
};

use rdkafka::{
    ClientConfig, Message, TopicPartitionList,
    consumer::{BaseConsumer, Consumer as _},
    error::KafkaError,
    message::BorrowedMessage,
};
use tokio::{runtime::Handle, sync::mpsc};
use weir_model::worker_config::ConsumeConfig;

use super::{
    Job, Shared,
    assignment::{self, Epoch, Partition},
    commit::{self, Answer, Committer},
    handler::{self, Attempt, Completions, Handler},
    rebalance::{Context, Note},
    retry::{Backoff, Retries},
    state::gauge_value,
};
use crate::{fault::Cause, observability::RateMeter};

/// Sleeps end by then, whatever else happens: wake-ups of the client's queues are known to get lost at times.
const LONGEST_SLEEP: Duration = Duration::from_millis(20);
/// Records that one partition gives per turn, so that no partition starves the others.
const RECORDS_PER_TURN: usize = 256;

pub(super) struct IoThread {
    pub(super) consumer: Arc<BaseConsumer<Context>>,
    task: ConsumeConfig,
    pub(super) partitions: BTreeMap<Epoch, Partition>,
    last_epoch: u64,
    /// Records that may start as soon as there is a permit.
    pub(super) ready: VecDeque<Job>,
    pub(super) retries: Retries<Job>,
    /// Records in the handler: permits in use.
    pub(super) running: usize,
    permits: usize,
    jobs: mpsc::Sender<Vec<Job>>,
    attempts: Receiver<Vec<Attempt>>,
    backoff: Backoff,
    jitter: RandomState,
    pub(super) committer: Committer,
    /// Nothing new starts any more.
    pub(super) stopping: bool,
    /// Whether the handler's last word was a refusal.
    handler_refused: bool,
    meter: RateMeter,
    metered: Duration,
    started: Instant,
    fatal: Option<String>,
    pub(super) shared: Shared,
}

impl IoThread {
    /// Must be called on the thread that then runs it. Creates the client and subscribes.
    ///
    /// # Errors
    /// The client refuses its settings or the topics: a sentence.
    pub(super) fn new(
        runtime: &Handle,
        client: &ClientConfig,
        task: ConsumeConfig,
        handler: Handler,
        shared: Shared,
    ) -> Result<Self, String> {
        let context = Context::new(Arc::clone(&shared.state.faults));
        let mut consumer: BaseConsumer<Context> = client
            .create_with_context(context)
            .map_err(|error| format!("The client refuses its settings: {error}."))?;
        let io_thread = thread::current();
        let waker = io_thread.clone();
        consumer.set_nonempty_callback(move || waker.unpark());
        let topics: Vec<&str> = task.topics.iter().map(String::as_str).collect();
        consumer.subscribe(&topics).map_err(|error| {
            format!("The client refuses the subscription to {}: {error}.", topics.join(", "))
        })?;
        let permits = usize::try_from(task.max_concurrency).unwrap_or(usize::MAX).max(1);
        // Both hold at most one message per permit, so neither is ever full.
        let (jobs, work) = mpsc::channel(permits);
        let (done, attempts) = sync_channel(permits);
        let completions = Completions { channel: done, io_thread: io_thread.clone() };
        runtime.spawn(handler::run(Arc::new(handler), work, completions));
        let now = Instant::now();
        let millis = |ms: u32| Duration::from_millis(u64::from(ms));
        let consumer = Arc::new(consumer);
        let committer = Committer::start(&consumer, io_thread, millis(task.commit_interval_ms), now);
        Ok(Self {
            consumer,
            partitions: BTreeMap::new(),
            last_epoch: 0,
            ready: VecDeque::new(),
            retries: Retries::default(),
            running: 0,
            permits,
            jobs,
            attempts,
            backoff: Backoff::new(millis(task.retry_initial_backoff_ms), millis(task.retry_max_backoff_ms)),
            jitter: RandomState::new(),
            committer,
            stopping: false,
            handler_refused: false,
            meter: RateMeter::starting_at_zero(),
            metered: Duration::ZERO,
            started: now,
            fatal: None,
            task,
            shared,
        })
    }

    /// Turns until asked to stop, then finishes what is in flight, commits and leaves the group.
    ///
    /// # Errors
    /// The client cannot go on: a sentence.
    pub(super) fn run(mut self) -> Result<(), String> {
        self.shared.ready.store(true, Ordering::Relaxed);
        while !self.shared.shutdown.requested() {
            if !self.turn() {
                self.sleep(LONGEST_SLEEP);
            }
            if let Some(sentence) = self.fatal.take() {
                self.stop();
                return Err(sentence);
            }
        }
        self.stop();
        Ok(())
    }

    /// One turn; false if there was nothing to do.
    fn turn(&mut self) -> bool {
        self.shared.heartbeat.beat();
        let mut busy = self.serve_client(Duration::ZERO);
        busy |= self.take_attempts();
        let now = Instant::now();
        self.wake_retries(now);
        busy |= self.take_records();
        self.start_ready();
        self.take_commit();
        if self.committer.is_due(now) {
            self.commit(now);
        }
        self.publish();
        busy
    }

    /// Sleeps until woken, until a retry is due, or for `longest`.
    pub(super) fn sleep(&self, longest: Duration) {
        let retry = self.retries.next_due().map(|due| due.saturating_duration_since(Instant::now()));
        let time = retry.map_or(longest, |retry| retry.min(longest));
        if !time.is_zero() {
            thread::park_timeout(time);
        }
    }

    /// Polls the main queue and acts on what the group decided. True if there was anything.
    pub(super) fn serve_client(&mut self, wait: Duration) -> bool {
        let consumer = Arc::clone(&self.consumer);
        let polled = match consumer.poll(wait) {
            None => false,
            Some(Ok(message)) => {
                self.admit_stray(&message);
                true
            }
            Some(Err(error)) => {
                self.client_error(&error);
                true
            }
        };
        let mut noted = false;
        while let Some(note) = consumer.context().take_note() {
            noted = true;
            self.act_on(note);
        }
        polled || noted
    }

    fn act_on(&mut self, note: Note) {
        match note {
            Note::Assigned(partitions) => self.assign(&partitions),
            Note::Revoked(partitions) => self.revoke(&partitions, false),
            Note::Lost(partitions) => self.revoke(&partitions, true),
        }
    }

    /// Acts on the answer to a commit, if there is one.
    pub(super) fn take_commit(&mut self) {
        match self.committer.take_answer() {
            None => {}
            Some(Answer::Committed(positions)) => {
                self.shared.state.commits.inc();
                self.shared.state.faults.clear(Cause::Commit);
                for (epoch, position) in positions {
                    if let Some(partition) = self.partitions.get_mut(&epoch) {
                        partition.committed = Some(position);
                    }
                }
            }
            Some(Answer::Failed(error)) if commit::is_empty_commit(&error) => {}
            Some(Answer::Failed(error)) => self.commit_fault(&error),
        }
    }

    fn commit_fault(&self, error: &KafkaError) {
        let sentence = format!(
            "Positions cannot be committed: {error}. They are committed with the next attempt; records since the last commit may be processed twice."
        );
        self.shared.state.faults.set(Cause::Commit, &sentence);
    }

    /// Takes over new partitions: their queues are split off before the first fetch.
    fn assign(&mut self, partitions: &TopicPartitionList) {
        for element in partitions.elements() {
            let (topic, number) = (element.topic(), element.partition());
            let Some(partition) = Partition::split(&self.consumer, topic, number, self.task.order) else {
                self.fatal = Some(format!("The client gave no queue for partition {topic}-{number}."));
                continue;
            };
            self.last_epoch += 1;
            self.partitions.insert(Epoch(self.last_epoch), partition);
        }
        if let Err(error) = assignment::accept(&self.consumer, partitions) {
            self.fatal = Some(format!("The client refuses the partitions that the group gave it: {error}."));
        }
        if partitions.count() > 0 {
            self.shared.state.faults.clear(Cause::Topic);
        }
        tracing::info!(
            added = partitions.count(),
            owned = self.partitions.len(),
            "Partitions were assigned."
        );
    }

    /// Takes finished attempts. True if there were any.
    pub(super) fn take_attempts(&mut self) -> bool {
        let mut any = false;
        while let Ok(batch) = self.attempts.try_recv() {
            any = true;
            let now = Instant::now();
            for attempt in batch {
                self.finish(attempt, now);
            }
        }
        any
    }

    fn finish(&mut self, Attempt { mut job, outcome, latency }: Attempt, now: Instant) {
        let state = &self.shared.state;
        self.running -= 1;
        let Some(partition) = self.partitions.get_mut(&job.epoch) else {
            state.stale.inc();
            return;
        };
        partition.running -= 1;
        state.latency.observe(latency.as_secs_f64());
        match outcome {
            Ok(()) => {
                state.completed.inc();
                partition.tracker.complete(job.slot);
                self.ready.extend(partition.lanes.leave(job.lane));
                if self.handler_refused && self.retries.len() == 0 {
                    self.handler_refused = false;
                    state.faults.clear(Cause::Handler);
                }
            }
            Err(refusal) => {
                state.retried.inc();
                self.handler_refused = true;
                state.faults.set(Cause::Handler, &refusal);
                if !partition.leaving && !self.stopping {
                    job.failures = job.failures.saturating_add(1);
                    let random = self.jitter.hash_one((state.retried.get(), job.record.offset));
                    let delay = self.backoff.delay(job.failures, random);
                    self.retries.push(now + delay, job);
                }
            }
        }
    }

    fn wake_retries(&mut self, now: Instant) {
        while let Some(job) = self.retries.pop_due(now) {
            self.ready.push_back(job);
        }
    }

    /// Takes records of partitions with room in their window. True if there were any.
    fn take_records(&mut self) -> bool {
        let window = usize::try_from(self.task.in_flight_records).unwrap_or(usize::MAX);
        let mut received = 0;
        let mut errors = Vec::new();
        for (epoch, partition) in &mut self.partitions {
            let room = window.saturating_sub(partition.tracker.len()).min(RECORDS_PER_TURN);
            if room > 0 && partition.take_signal() {
                received += partition.take(*epoch, room, &mut self.ready, &mut errors);
            }
        }
        for error in &errors {
            self.client_error(error);
        }
        self.shared.state.received.inc_by(u64::try_from(received).unwrap_or(u64::MAX));
        received > 0
    }

    /// A record on the main queue; split queues should make that impossible, but losing it would be worse.
    fn admit_stray(&mut self, message: &BorrowedMessage<'_>) {
        let owner = self
            .partitions
            .iter_mut()
            .find(|(_, p)| *p.id.topic == *message.topic() && p.id.partition == message.partition());
        if let Some((epoch, partition)) = owner {
            self.ready.extend(partition.admit(*epoch, message));
            self.shared.state.received.inc();
        }
    }

    /// Hands ready records to the handler while there are permits.
    pub(super) fn start_ready(&mut self) {
        let count = (self.permits - self.running).min(self.ready.len());
        if count == 0 {
            return;
        }
        let batch: Vec<Job> = self.ready.drain(..count).collect();
        for job in &batch {
            if let Some(partition) = self.partitions.get_mut(&job.epoch) {
                partition.start(job.slot);
            }
        }
        self.running += count;
        if self.jobs.try_send(batch).is_err() {
            self.fatal = Some("The handler's tasks ended unexpectedly.".to_owned());
        }
    }

    pub(super) fn commit(&mut self, now: Instant) {
        if let Err(error) = self.committer.send(&self.consumer, &self.partitions, now) {
            self.commit_fault(&error);
        }
    }

    /// Errors of the consumer; the context has already judged and reported them.
    fn client_error(&mut self, error: &KafkaError) {
        if let KafkaError::MessageConsumptionFatal(code) = error {
            self.fatal = Some(format!("The client cannot go on in this group: {code}."));
        } else {
            tracing::debug!("The consumer reports: {error}.");
        }
    }

    fn publish(&mut self) {
        let state = &self.shared.state;
        state.in_flight.set(gauge_value(self.running));
        state.waiting.set(gauge_value(self.retries.len()));
        state.assigned.set(gauge_value(self.partitions.len()));
        let now = self.started.elapsed();
        if now.saturating_sub(self.metered) >= Duration::from_secs(1) {
            self.metered = now;
            state.records_per_second.store(self.meter.sample(now, state.completed.get()), Ordering::Relaxed);
        }
    }
}
