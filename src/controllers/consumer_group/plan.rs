//! Decides what a group needs: its workload and its scaling, or why it must wait. Pure.

use std::time::Duration;

use weir_api::{
    ConsumerGroup,
    consumer_group::{Autoscaling, AutoscalingMode, StartFromType},
};
use weir_autoscaler::{Policy, PolicySettings};
use weir_kafka::GroupWatch;
use weir_model::worker_config::StartFrom;

use super::{
    observe::Observed,
    workload::{self, Workload},
};
use crate::{
    context::Settings,
    controllers::{
        pod::Topics,
        verdict::{Verdict, VerdictKind, sentence},
    },
    kubernetes::KubernetesError,
    scaling::{GroupScaling, Mode},
};

const DEFAULT_DRAIN_TARGET: Duration = Duration::from_secs(60);
const DEFAULT_IDLE: Duration = Duration::from_secs(300);
const DEFAULT_WINDOW: Duration = Duration::from_secs(300);

/// What to do.
pub(crate) enum Plan {
    /// Everything is there.
    Run(Box<Run>),
    /// Something is missing or wrong; what runs goes on.
    Keep(Keep),
}

/// What a group needs.
pub(crate) struct Run {
    pub(crate) workload: Workload,
    pub(crate) scaling: GroupScaling,
    pub(crate) topics: Vec<String>,
}

/// Why a group must wait.
pub(crate) struct Keep {
    pub(crate) verdict: Verdict,
}

impl Plan {
    /// The API server does not accept what was built from the spec.
    pub(crate) fn refused(error: &KubernetesError) -> Self {
        let said = error.server_message().unwrap_or_else(|| error.to_string());
        let message = format!(
            "The API server refuses what the spec asks for: {} Change spec.template.",
            sentence(&said)
        );
        Self::Keep(Keep { verdict: Verdict::new(VerdictKind::Stalled, "InvalidWorkload", message) })
    }
}

/// Decides.
pub(crate) fn plan(group: &ConsumerGroup, observed: &Observed, settings: &Settings) -> Plan {
    match check(group, observed, settings) {
        Ok(run) => Plan::Run(Box::new(run)),
        Err(verdict) => Plan::Keep(Keep { verdict }),
    }
}

fn check(group: &ConsumerGroup, observed: &Observed, settings: &Settings) -> Result<Run, Verdict> {
    let mode = mode(group).map_err(|message| Verdict::new(VerdictKind::Stalled, "InvalidSpec", message))?;
    if let Some(owner) = &observed.owner {
        return Err(Verdict::new(
            VerdictKind::Stalled,
            "GroupConflict",
            format!(
                "Consumer group {} is owned by the older ConsumerGroup object {owner}; delete one of the two or give this one \
                 another groupId.",
                group.group_id()
            ),
        ));
    }
    if observed.foreign {
        let name = group.metadata.name.as_deref().unwrap_or_default();
        let message =
            format!("A Deployment {name} exists that does not belong to this object; rename one of the two.");
        return Err(Verdict::new(VerdictKind::Stalled, "WorkloadConflict", message));
    }
    let waiting = not_connected(group);
    let (connection, connected) =
        observed.connection.as_ref().zip(observed.connected.as_ref()).ok_or(waiting)?;
    let topics = resolved(&observed.topics, observed.young)?;
    let workload = workload::build(&workload::Parts {
        group,
        connection: &connection.spec,
        secret_versions: &connected.secret_versions,
        topics: &topics,
        initial_replicas: initial(&mode),
        existing: observed.deployment.as_deref(),
        settings,
    })
    .map_err(|error| Verdict::new(VerdictKind::Stalled, "InvalidSpec", format!("{error}.")))?;
    let watch = GroupWatch {
        group_id: group.group_id(),
        topics: topics.clone(),
        start_from: match group.spec.start_from.type_ {
            StartFromType::Earliest => StartFrom::Earliest,
            StartFromType::Latest => StartFrom::Latest,
        },
    };
    let scaling = GroupScaling { handle: Some(connected.handle.clone()), watch: Some(watch), mode };
    Ok(Run { workload, scaling, topics })
}

fn not_connected(group: &ConsumerGroup) -> Verdict {
    let name = &group.spec.connection_ref.name;
    let message = format!(
        "Connection {name} has not reached its Kafka cluster yet; see kubectl describe connection {name}."
    );
    Verdict::new(VerdictKind::Progressing, "ConnectionNotReady", message)
}

fn resolved(topics: &Topics, young: bool) -> Result<Vec<String>, Verdict> {
    match topics {
        Topics::Resolved(names) => Ok(names.clone()),
        Topics::NoSuchObject(name) => Err(Verdict::new(
            if young { VerdictKind::Progressing } else { VerdictKind::Stalled },
            "TopicMissing",
            format!(
                "Topic object {name} does not exist in this namespace; create it. The group then starts by itself."
            ),
        )),
        Topics::NotReady { name, message } => Err(Verdict::new(
            VerdictKind::Progressing,
            "TopicNotReady",
            format!("Topic object {name} is not ready: {message}"),
        )),
    }
}

/// How many consumers a new Deployment begins with.
fn initial(mode: &Mode) -> u32 {
    match mode {
        Mode::Automatic(policy) => policy.settings().min_replicas,
        Mode::Fixed(replicas) | Mode::Recommend(_, replicas) => *replicas,
    }
}

/// Who decides how many consumers there are.
fn mode(group: &ConsumerGroup) -> Result<Mode, String> {
    let replicas = group.spec.replicas.and_then(|r| u32::try_from(r).ok()).unwrap_or(1);
    let Some(autoscaling) = &group.spec.autoscaling else { return Ok(Mode::Fixed(replicas)) };
    Ok(match autoscaling.mode {
        Some(AutoscalingMode::External) => Mode::Fixed(replicas),
        Some(AutoscalingMode::Recommend) => Mode::Recommend(policy(autoscaling)?, replicas),
        Some(AutoscalingMode::Automatic) | None => Mode::Automatic(policy(autoscaling)?),
    })
}

fn policy(autoscaling: &Autoscaling) -> Result<Policy, String> {
    let duration = |text: &Option<weir_api::fields::DurationText>, default| {
        text.as_ref().map_or(Ok(default), weir_api::fields::DurationText::get).map_err(|e| format!("{e}."))
    };
    let capacity = autoscaling.capacity_per_replica.as_ref().map(|c| c.records_per_second.get());
    let settings = PolicySettings {
        min_replicas: autoscaling.min_replicas.and_then(|n| u32::try_from(n).ok()).unwrap_or(1),
        max_replicas: u32::try_from(autoscaling.max_replicas).unwrap_or_default(),
        drain_target: duration(&autoscaling.drain_target, DEFAULT_DRAIN_TARGET)?,
        capacity_per_replica: capacity.transpose().map_err(|e| format!("{e}."))?,
        activation_lag: autoscaling.activation_lag.and_then(|n| u64::try_from(n).ok()).unwrap_or_default(),
        idle_for: duration(&autoscaling.idle_for, DEFAULT_IDLE)?,
        scale_down_window: duration(&autoscaling.scale_down_window, DEFAULT_WINDOW)?,
        consumers_per_replica: autoscaling
            .consumers_per_replica
            .and_then(|n| u32::try_from(n).ok())
            .unwrap_or(1),
    };
    Policy::new(settings).map_err(|error| error.to_string())
}

/// The settings that the spec leaves out, with the values in effect.
pub(crate) fn effective(group: &ConsumerGroup) -> weir_api::fields::TextMap {
    let mut values = weir_api::fields::TextMap::new();
    if group.spec.session_timeout.is_none() && group.spec.handler.is_some() {
        values.insert("sessionTimeout".to_owned(), "45s".to_owned());
    }
    if group.spec.handler.is_some() {
        values.extend(workload::effective(group.spec.delivery.as_ref()));
    }
    match &group.spec.autoscaling {
        None if group.spec.replicas.is_none() => {
            values.insert("replicas".to_owned(), "1".to_owned());
        }
        None => {}
        Some(autoscaling) => {
            let absent = [
                ("minReplicas", autoscaling.min_replicas.is_none(), "1"),
                ("drainTarget", autoscaling.drain_target.is_none(), "60s"),
                ("idleFor", autoscaling.idle_for.is_none(), "5m"),
                ("scaleDownWindow", autoscaling.scale_down_window.is_none(), "5m"),
                ("consumersPerReplica", autoscaling.consumers_per_replica.is_none(), "1"),
            ];
            for (name, _, value) in absent.into_iter().filter(|(_, absent, _)| *absent) {
                values.insert(format!("autoscaling.{name}"), value.to_owned());
            }
        }
    }
    values
}
