//! Decides whether the Job can be started, and builds it. Pure.

use weir_api::{ProducerJob, producer_job::ProducerJobStatus};

use super::{
    observe::{JobState, Observed, TopicState},
    workload::{self, Workload},
};
use crate::{
    controllers::verdict::{Verdict, VerdictKind, sentence},
    kubernetes::KubernetesError,
};

/// What to do.
pub(crate) enum Plan {
    /// Something is missing.
    Wait(Verdict),
    /// Everything is there: start.
    Start(Box<Workload>),
    /// It runs.
    Running,
    /// It is over, well or not.
    Ended,
}

impl Plan {
    /// The API server does not accept what was built from the spec.
    pub(crate) fn refused(error: &KubernetesError) -> Self {
        let said = error.server_message().unwrap_or_else(|| error.to_string());
        let message = format!(
            "The API server refuses what the spec asks for: {} Create another ProducerJob.",
            sentence(&said)
        );
        wait(VerdictKind::Stalled, "InvalidWorkload", message)
    }
}

/// Decides.
pub(crate) fn plan(job: &ProducerJob, before: &ProducerJobStatus, observed: &Observed) -> Plan {
    match &observed.job {
        JobState::Running(_) => return Plan::Running,
        JobState::Succeeded(_) | JobState::Failed(_) => return Plan::Ended,
        JobState::Foreign => return wait(
            VerdictKind::Stalled,
            "JobConflict",
            "A Job of the same name exists that does not belong to this object; delete one of the two. If a former ProducerJob \
             of this name was just deleted, its Job is about to go."
                .to_owned(),
        ),
        // A run that once began is never repeated behind the user's back: its records would be there twice.
        JobState::Absent if before.start_time.is_some() => return wait(
            VerdictKind::Stalled,
            "JobLost",
            format!(
                "The Job was deleted after {} records were acknowledged. Weir does not begin anew, because these records would be \
                 written twice; create another ProducerJob for the rest.",
                before.acknowledged.unwrap_or_default()
            ),
        ),
        JobState::Absent => {}
    }
    let Some((connection, secret_versions)) = &observed.connection else {
        let name = &job.spec.connection_ref.name;
        return wait(
            VerdictKind::Progressing,
            "ConnectionNotReady",
            format!(
                "Connection {name} has not reached its Kafka cluster yet; see kubectl describe connection {name}."
            ),
        );
    };
    let topic = match &observed.topic {
        TopicState::Exists(topic) => topic,
        TopicState::Missing(name) => {
            return wait(
                VerdictKind::Stalled,
                "TopicMissing",
                format!(
                    "Topic {name} does not exist; create it, for example with a Topic object. The job then starts by itself."
                ),
            );
        }
        TopicState::Unauthorized(name) => {
            return wait(
                VerdictKind::Stalled,
                "Unauthorized",
                format!(
                    "The brokers do not let the Connection's principal describe topic {name}; grant it Describe and Write on \
                     the topic. The job then starts by itself."
                ),
            );
        }
        TopicState::NoSuchObject(name) => {
            return wait(
                if observed.young { VerdictKind::Progressing } else { VerdictKind::Stalled },
                "TopicMissing",
                format!(
                    "Topic object {name} does not exist in this namespace; create it. The job then starts by itself."
                ),
            );
        }
        TopicState::NotReady { name, message } => {
            return wait(
                VerdictKind::Progressing,
                "TopicNotReady",
                format!("Topic object {name} is not ready: {message}"),
            );
        }
        TopicState::Unknown(why) => {
            return wait(
                VerdictKind::Progressing,
                "KafkaUnreachable",
                format!(
                    "The brokers could not be asked about the topic: {} Weir tries again by itself.",
                    sentence(why)
                ),
            );
        }
    };
    match workload::build(
        job,
        &connection.spec,
        secret_versions,
        topic,
        &observed.image,
        &observed.image_pull_policy,
    ) {
        Ok(workload) => Plan::Start(Box::new(workload)),
        Err(error) => wait(VerdictKind::Stalled, "InvalidSpec", format!("{error}.")),
    }
}

fn wait(kind: VerdictKind, reason: &'static str, message: String) -> Plan {
    Plan::Wait(Verdict::new(kind, reason, message))
}
