//! Looks at the Connection, the topic, the Job, its pod, and asks the worker how far it is.

use std::sync::Arc;

use k8s_openapi::api::{batch::v1::Job, core::v1::Pod};
use kube::{Api, ResourceExt};
use weir_api::{Connection, ProducerJob};
use weir_kafka::KafkaError;
use weir_model::{
    names::{KIND_LABEL, NAME_LABEL, WORKER_CONTAINER, WORKER_PORT},
    worker_status::ProduceStatus,
};

use crate::{
    catalog::Key,
    context::Context,
    controllers::pod::{
        JOB_KIND, Topics,
        trouble::{Trouble, trouble},
    },
    controllers::verdict::is_young,
    kubernetes::{KubernetesError, request},
};

/// What a visit found.
pub(crate) struct Observed {
    /// The Connection object and the versions of its Secrets, once it reached its cluster.
    pub(crate) connection: Option<(Arc<Connection>, String)>,
    pub(crate) topic: TopicState,
    pub(crate) job: JobState,
    /// What the worker says: live while it runs, from its termination message afterwards.
    pub(crate) progress: Option<ProduceStatus>,
    pub(crate) trouble: Option<Trouble>,
    pub(crate) image: String,
    pub(crate) image_pull_policy: String,
    /// Created a moment ago: what it names may come with the same `kubectl apply`.
    pub(crate) young: bool,
}

/// Where the topic stands.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum TopicState {
    Exists(String),
    Missing(String),
    NoSuchObject(String),
    NotReady { name: String, message: String },
    Unauthorized(String),
    Unknown(String),
}

/// Where the Job stands.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum JobState {
    Absent,
    /// A Job of that name exists that is not ours.
    Foreign,
    Running(Arc<Job>),
    Succeeded(Arc<Job>),
    Failed(Arc<Job>),
}

/// Looks at everything; once the Job exists, Kafka is not asked any more.
pub(crate) async fn observe(job: &ProducerJob, context: &Context) -> Result<Observed, KubernetesError> {
    let key = Key::of(job);
    let connection_key = Key::new(key.namespace.clone(), &job.spec.connection_ref.name);
    let connected = context.handles.get(&connection_key);
    let connection = context.find(&context.stores().connections, &connection_key);
    let state = job_state(job, &key, context).await?;
    let pods = pods(&key, job, context);
    let (topic, progress) = match &state {
        JobState::Absent | JobState::Foreign => {
            let resolve = Topics::resolve(std::slice::from_ref(&job.spec.topic), |name| {
                context.find(&context.stores().topics, &Key::new(key.namespace.clone(), name))
            });
            let cluster = connected.as_ref().map(|c| c.handle.cluster.clone());
            (topic_state(resolve, cluster).await, None)
        }
        JobState::Running(_) => (TopicState::Unknown(String::new()), live(&pods, context).await),
        JobState::Succeeded(_) | JobState::Failed(_) => {
            (TopicState::Unknown(String::new()), pods.iter().find_map(|pod| last_words(pod)))
        }
    };
    Ok(Observed {
        connection: connection.zip(connected.map(|c| c.secret_versions)),
        topic,
        job: state,
        progress,
        trouble: trouble(&pods),
        image: context.settings.worker_image.clone(),
        image_pull_policy: context.settings.worker_image_pull_policy.clone(),
        young: is_young(job),
    })
}

async fn job_state(job: &ProducerJob, key: &Key, context: &Context) -> Result<JobState, KubernetesError> {
    let found = match context.find(&context.stores().batch_jobs, key) {
        Some(found) => Some(found),
        None => {
            let api: Api<Job> = Api::namespaced(context.applier.client(), &key.namespace);
            request("look for the Job", api.get_opt(&key.name)).await?.map(Arc::new)
        }
    };
    let Some(found) = found else { return Ok(JobState::Absent) };
    if !found.owner_references().iter().any(|o| Some(&o.uid) == job.metadata.uid.as_ref()) {
        return Ok(JobState::Foreign);
    }
    let holds = |type_: &str| {
        let conditions = found.status.as_ref().and_then(|s| s.conditions.as_ref());
        conditions.is_some_and(|all| all.iter().any(|c| c.type_ == type_ && c.status == "True"))
    };
    Ok(if holds("Complete") || holds("SuccessCriteriaMet") {
        JobState::Succeeded(found.clone())
    } else if holds("Failed") {
        JobState::Failed(found.clone())
    } else {
        JobState::Running(found.clone())
    })
}

async fn topic_state(resolved: Topics, cluster: Option<weir_kafka::Cluster>) -> TopicState {
    let names = match resolved {
        Topics::NoSuchObject(name) => return TopicState::NoSuchObject(name),
        Topics::NotReady { name, message } => return TopicState::NotReady { name, message },
        Topics::Resolved(names) => names,
    };
    let (Some(name), Some(cluster)) = (names.first().cloned(), cluster) else {
        return TopicState::Unknown("the Connection has not reached its Kafka cluster yet".to_owned());
    };
    match cluster.describe_topics(&names).await.map(|mut all| all.remove(&name)) {
        Ok(Some(Ok(_))) => TopicState::Exists(name),
        Ok(None) => TopicState::Missing(name),
        Ok(Some(Err(error))) | Err(error) => topic_error(name, &error),
    }
}

fn topic_error(name: String, error: &KafkaError) -> TopicState {
    if error.is_unknown_topic() {
        TopicState::Missing(name)
    } else if error.is_unauthorized() {
        TopicState::Unauthorized(name)
    } else {
        TopicState::Unknown(error.detail())
    }
}

fn pods(key: &Key, job: &ProducerJob, context: &Context) -> Vec<Arc<Pod>> {
    let uid = job.metadata.uid.clone();
    context.stores().pods.state_filter(|pod| {
        pod.namespace().as_deref() == Some(&key.namespace)
            && pod.labels().get(KIND_LABEL).map(String::as_str) == Some(JOB_KIND)
            && pod.labels().get(NAME_LABEL) == Some(&key.name)
            && pod.labels().get(super::workload::RUN_LABEL) == uid.as_ref()
    })
}

async fn live(pods: &[Arc<Pod>], context: &Context) -> Option<ProduceStatus> {
    let ip = pods.iter().find_map(|pod| pod.status.as_ref()?.pod_ip.clone())?;
    let address = std::net::SocketAddr::new(ip.parse().ok()?, WORKER_PORT);
    context.workers.status(address).await
}

fn last_words(pod: &Pod) -> Option<ProduceStatus> {
    let containers = pod.status.as_ref()?.container_statuses.as_ref()?;
    let worker = containers.iter().find(|c| c.name == WORKER_CONTAINER)?;
    serde_json::from_str(worker.state.as_ref()?.terminated.as_ref()?.message.as_ref()?).ok()
}
