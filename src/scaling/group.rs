//! The task of one group: sample → decision → `/scale`.

use std::time::{Duration, Instant};

use k8s_openapi::api::apps::v1::Deployment;
use kube::ResourceExt;
use tokio::sync::watch;
use weir_autoscaler::{Autoscaler, Decision, Direction, Observation};
use weir_kafka::GroupSample;
use weir_model::{GroupLag, Lag, PartitionLag, TopicPartition, UnknownLag};

use super::{GroupScaling, LagView, Mode, Move, Tools, View};
use crate::{
    catalog::Key,
    kubernetes::{apply::owns_replicas, events::Notice, now},
};

/// Without a sample for this long, the lag counts as unknown.
const SILENCE: Duration = Duration::from_secs(5);
/// An unknown lag is told in the status only after this long.
const BLINK: Duration = Duration::from_secs(10);
/// How long a store may lag behind our own write before it is believed again.
const STORE_DELAY: Duration = Duration::from_secs(5);

/// Runs until aborted.
pub(super) async fn run(
    key: Key,
    mut settings: watch::Receiver<GroupScaling>,
    publish: watch::Sender<View>,
    tools: Tools,
    epoch: Instant,
) {
    let mut group =
        Group { key, tools, epoch, autoscaler: None, written: None, unknown_since: None, publish };
    loop {
        let wanted = settings.borrow_and_update().clone();
        let mut samples = match (&wanted.handle, &wanted.watch) {
            (Some(handle), Some(watch)) => Some(handle.sampler.watch(watch.clone())),
            _ => None,
        };
        group.adopt(&wanted.mode);
        loop {
            // Settings first: a decision must not follow a policy that was just replaced.
            let sample = tokio::select! {
                biased;
                changed = settings.changed() => match changed {
                    Ok(()) => break,
                    Err(_) => return,
                },
                sample = next(&mut samples) => sample,
            };
            group.take(sample, &wanted).await;
        }
    }
}

/// The next sample; `None` when there was silence, so that an unknown lag is noticed.
async fn next(samples: &mut Option<watch::Receiver<Option<GroupSample>>>) -> Option<GroupSample> {
    let Some(receiver) = samples else {
        tokio::time::sleep(SILENCE).await;
        return None;
    };
    match tokio::time::timeout(SILENCE, receiver.changed()).await {
        Ok(Ok(())) => receiver.borrow_and_update().clone(),
        Ok(Err(_)) => {
            *samples = None;
            None
        }
        Err(_) => None,
    }
}

struct Group {
    key: Key,
    tools: Tools,
    epoch: Instant,
    autoscaler: Option<Autoscaler>,
    /// Our last write, believed until the store shows it or is late.
    written: Option<(u32, Instant)>,
    /// Since when the lag is unknown, if it was known before.
    unknown_since: Option<Instant>,
    publish: watch::Sender<View>,
}

/// The workload as it is asked to be.
struct Workload {
    replicas: u32,
    ready: u32,
    /// Whether the scaler is a field manager of `replicas` already.
    ours: bool,
}

impl Group {
    fn adopt(&mut self, mode: &Mode) {
        match (mode.policy().cloned(), &mut self.autoscaler) {
            (Some(policy), Some(autoscaler)) => autoscaler.set_policy(policy),
            (Some(policy), none) => *none = Some(Autoscaler::new(policy)),
            (None, some) => *some = None,
        }
    }

    async fn take(&mut self, sample: Option<GroupSample>, wanted: &GroupScaling) {
        let before = self.publish.borrow().headline();
        let (lag, partitions) = match &sample {
            Some(sample) => (sample.lag.clone(), known_partitions(sample, wanted)),
            None => (silence(wanted), None),
        };
        self.tools.metrics.group_sampled(&self.key.namespace, &self.key.name, &lag);
        let blink = self.blinks(&lag);
        let workload = self.workload();
        let decision = workload.as_ref().and_then(|w| self.decide(&lag, partitions, w));
        let change = workload.as_ref().and_then(|w| self.change(w, decision.as_ref(), &wanted.mode));
        let mut failure = None;
        let mut moved = None;
        if let (Some(workload), Some((replicas, reason, message))) = (&workload, change)
            && self.tools.leadership.is_leader()
        {
            match self.scale(replicas).await {
                Ok(()) if replicas != workload.replicas => {
                    moved =
                        Some(Move { time: now(), from: workload.replicas, to: replicas, reason, message });
                }
                Ok(()) => {}
                Err(error) => failure = Some(error),
            }
        }
        if let Some(change) = &moved {
            self.announce(change).await;
        }
        self.publish.send_modify(|view| {
            view.lag = Some(LagView::of(&lag, partitions, blink));
            view.decision = decision;
            view.failure = failure;
            if let Some(change) = moved {
                view.moved(change);
            }
        });
        if self.publish.borrow().headline() != before {
            self.tools.trigger.visit_named(&self.key.namespace, &self.key.name);
        }
    }

    /// Whether an unknown lag was known a moment ago.
    fn blinks(&mut self, lag: &GroupLag) -> bool {
        if matches!(lag.total(), Lag::Known(_)) {
            self.unknown_since = None;
            return false;
        }
        let known_before = self.publish.borrow().lag.as_ref().is_some_and(LagView::valid);
        if known_before {
            self.unknown_since = Some(Instant::now());
        }
        self.unknown_since.is_some_and(|since| since.elapsed() < BLINK)
    }

    fn decide(&mut self, lag: &GroupLag, partitions: Option<u32>, workload: &Workload) -> Option<Decision> {
        let observation = Observation {
            now: self.epoch.elapsed(),
            lag,
            partitions,
            current: workload.replicas,
            ready: workload.ready,
        };
        let decision = self.autoscaler.as_mut()?.decide(&observation);
        let (namespace, name) = (&self.key.namespace, &self.key.name);
        self.tools.metrics.group_replicas(namespace, name, decision.replicas, workload.replicas);
        Some(decision)
    }

    /// The replicas to write, with the reason; `None` if all is as it should be.
    fn change(
        &self,
        workload: &Workload,
        decision: Option<&Decision>,
        mode: &Mode,
    ) -> Option<(u32, &'static str, String)> {
        let (replicas, reason, message) = match (mode, decision) {
            (Mode::Automatic(_), Some(decision)) if decision.direction != Direction::Hold => {
                (decision.replicas, decision.reason.as_str(), decision.message.clone())
            }
            (Mode::Automatic(_), _) => (workload.replicas, "", String::new()),
            (Mode::Fixed(replicas) | Mode::Recommend(_, replicas), _) => {
                (*replicas, "SpecReplicas", format!("spec.replicas asks for {replicas} consumers."))
            }
        };
        // Also when the number is right already: whoever writes it through /scale becomes its field manager.
        (replicas != workload.replicas || !workload.ours).then_some((replicas, reason, message))
    }

    fn workload(&mut self) -> Option<Workload> {
        let deployment = self.key.find(&self.tools.deployments)?;
        let mut workload = read(&deployment);
        if let Some((written, at)) = self.written {
            if workload.replicas == written || at.elapsed() > STORE_DELAY {
                self.written = None;
            } else {
                workload.replicas = written;
                workload.ours = true;
            }
        }
        Some(workload)
    }

    async fn scale(&mut self, replicas: u32) -> Result<(), String> {
        let count = i32::try_from(replicas).unwrap_or(i32::MAX);
        let Key { namespace, name } = &self.key;
        match self.tools.applier.scale::<Deployment>(namespace, name, count).await {
            Ok(()) => {
                self.written = Some((replicas, Instant::now()));
                Ok(())
            }
            Err(error) => {
                let said = error.server_message().unwrap_or_else(|| error.to_string());
                tracing::warn!(namespace, name, replicas, %error, said, "failed to set the number of consumers");
                Err(said)
            }
        }
    }

    async fn announce(&self, change: &Move) {
        let Move { from, to, reason, message, .. } = change;
        tracing::info!(
            namespace = self.key.namespace,
            name = self.key.name,
            from,
            to,
            reason,
            message,
            "scaled"
        );
        let direction = if to > from { "Up" } else { "Down" };
        self.tools.metrics.scaler_decided(direction, reason);
        let event = match (*from, *to) {
            (0, _) => "ActivatedFromZero",
            (_, 0) => "DeactivatedToZero",
            (from, to) if to > from => "ScaledUp",
            _ => "ScaledDown",
        };
        if let Some(group) = self.key.find(&self.tools.groups) {
            let note = format!("From {from} to {to} consumers: {message}");
            self.tools.events.publish(group.as_ref(), Notice::normal(event, note)).await;
        }
    }
}

fn read(deployment: &Deployment) -> Workload {
    let count = |n: Option<i32>| n.and_then(|n| u32::try_from(n).ok());
    Workload {
        replicas: deployment.spec.as_ref().and_then(|s| count(s.replicas)).unwrap_or(1),
        ready: deployment.status.as_ref().and_then(|s| count(s.ready_replicas)).unwrap_or_default(),
        ours: owns_replicas(deployment.managed_fields(), weir_model::names::SCALER_FIELD_MANAGER),
    }
}

/// The partitions of all topics; `None` while one topic is not known.
fn known_partitions(sample: &GroupSample, wanted: &GroupScaling) -> Option<u32> {
    let topics = &wanted.watch.as_ref()?.topics;
    topics.iter().map(|topic| sample.partition_count.get(topic).copied()).sum()
}

/// The lag of a group that nobody measures right now.
fn silence(wanted: &GroupScaling) -> GroupLag {
    let topics = wanted.watch.as_ref().map(|w| w.topics.clone()).unwrap_or_default();
    let topics = if topics.is_empty() { vec!["?".to_owned()] } else { topics };
    let partitions = topics.into_iter().map(|topic| PartitionLag {
        partition: TopicPartition::new(topic, 0),
        lag: Lag::Unknown(UnknownLag::NotSampled),
        end: None,
        committed: None,
    });
    GroupLag { partitions: partitions.collect() }
}
