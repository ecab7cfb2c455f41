//! Builds the Job and the worker's document. Pure.

use std::time::Duration;

use k8s_openapi::{
    api::{
        batch::v1::{Job, JobSpec},
        core::v1::ConfigMap,
    },
    apimachinery::pkg::apis::meta::v1::ObjectMeta,
};
use kube::{Resource, ResourceExt};
use weir_api::{
    ProducerJob,
    connection::ConnectionSpec,
    fields::QuantityText,
    producer_job::{self as api, KeyDistribution},
};
use weir_model::{
    Quantity, UnitError,
    worker_config::{
        Acks, Compression, Encoding, GeneratorConfig, KeyConfig, ProduceConfig, ProduceDelivery, Task,
    },
};

use crate::controllers::pod::{
    JOB_KIND,
    build::{Parts, config_map, worker_config, worker_pod},
    labels,
};

/// Label of a run's pods: the uid of the ProducerJob.
pub(crate) const RUN_LABEL: &str = "kafka.weir.dev/run";
const DEFAULT_LINGER: Duration = Duration::from_millis(5);

/// What is created for a run.
pub(crate) struct Workload {
    pub(crate) config_map: ConfigMap,
    pub(crate) job: Job,
    pub(crate) topic: String,
}

/// Builds it.
pub(crate) fn build(
    job: &ProducerJob,
    connection: &ConnectionSpec,
    secret_versions: &str,
    topic: &str,
    image: &str,
    image_pull_policy: &str,
) -> Result<Workload, UnitError> {
    let (namespace, name) = (job.namespace().unwrap_or_default(), job.name_any());
    let uid = job.uid().unwrap_or_default();
    let owner = job.controller_owner_ref(&()).expect("an object of the API server has a name and a uid");
    let mut labels = labels(JOB_KIND, &name);
    labels.insert(RUN_LABEL.to_owned(), uid.clone());
    let task = Task::Produce(produce(job, topic, uid)?);
    let config = worker_config(&namespace, &name, connection, task);
    let config_map = config_map(&config, labels.clone(), owner.clone());
    let parts = Parts {
        template: job.spec.template.as_ref(),
        connection,
        labels: labels.clone(),
        secret_versions,
        image,
        image_pull_policy,
    };
    let mut pod = worker_pod(&parts, "produce", &config_map.name_any());
    if let Some(spec) = pod.spec.as_mut() {
        spec.restart_policy = Some("Never".to_owned());
    }
    let job = Job {
        metadata: ObjectMeta {
            name: Some(name),
            namespace: Some(namespace),
            labels: Some(labels),
            owner_references: Some(vec![owner]),
            ..ObjectMeta::default()
        },
        spec: Some(JobSpec {
            // A second pod would begin from the first record again.
            backoff_limit: Some(0),
            completions: Some(1),
            parallelism: Some(1),
            template: pod,
            ..JobSpec::default()
        }),
        status: None,
    };
    Ok(Workload { config_map, job, topic: topic.to_owned() })
}

fn produce(job: &ProducerJob, topic: &str, run_id: String) -> Result<ProduceConfig, UnitError> {
    let spec = &job.spec;
    let rate = spec.rate.as_ref();
    let per_second = positive("rate.recordsPerSecond", rate.and_then(|r| r.records_per_second.as_ref()))?;
    let bytes = positive("rate.bytesPerSecond", rate.and_then(|r| r.bytes_per_second.as_ref()))?;
    Ok(ProduceConfig {
        topic: topic.to_owned(),
        records: u64::try_from(spec.records).unwrap_or_default(),
        run_id,
        generator: generator(&spec.source.generator),
        encoding: match spec.encoding.type_ {
            api::EncodingType::Json => Encoding::Json,
            api::EncodingType::Raw => Encoding::Raw,
        },
        records_per_second_thousandths: per_second.map(Quantity::thousandths),
        bytes_per_second: bytes.map(|q| q.thousandths().div_ceil(1000)),
        delivery: delivery(&spec.delivery.clone().unwrap_or_default())?,
    })
}

/// A rate of zero would never end; leaving it out means no bound.
fn positive(field: &str, rate: Option<&QuantityText>) -> Result<Option<Quantity>, UnitError> {
    let Some(rate) = rate.map(QuantityText::get).transpose()? else { return Ok(None) };
    if rate.is_zero() {
        return Err(UnitError::new(format!(
            "{field} is 0; give a positive rate, or leave it out for no bound"
        )));
    }
    Ok(Some(rate))
}

fn generator(generator: &api::Generator) -> GeneratorConfig {
    let keys = generator.keys.as_ref();
    let cardinality = keys.and_then(|k| k.cardinality).and_then(|c| u64::try_from(c).ok()).unwrap_or(1);
    GeneratorConfig {
        size_bytes: u32::try_from(generator.size_bytes).unwrap_or_default(),
        keys: match keys.map(|k| k.distribution) {
            Some(KeyDistribution::Uniform) => KeyConfig::Uniform { cardinality },
            Some(KeyDistribution::Sequential) => KeyConfig::Sequential { cardinality },
            Some(KeyDistribution::None) | None => KeyConfig::None,
        },
        seed: generator.seed.and_then(|s| u64::try_from(s).ok()).unwrap_or_default(),
    }
}

fn delivery(delivery: &api::ProducerDelivery) -> Result<ProduceDelivery, UnitError> {
    let linger = delivery.linger.as_ref().map(|l| l.get()).transpose()?.unwrap_or(DEFAULT_LINGER);
    Ok(ProduceDelivery {
        acks: match delivery.acks {
            Some(api::Acks::All) | None => Acks::All,
            Some(api::Acks::Leader) => Acks::Leader,
            Some(api::Acks::None) => Acks::None,
        },
        idempotent: delivery.idempotent.unwrap_or(true),
        compression: match delivery.compression {
            Some(api::Compression::None) | None => Compression::None,
            Some(api::Compression::Gzip) => Compression::Gzip,
            Some(api::Compression::Snappy) => Compression::Snappy,
            Some(api::Compression::Lz4) => Compression::Lz4,
            Some(api::Compression::Zstd) => Compression::Zstd,
        },
        linger_ms: u32::try_from(linger.as_millis()).unwrap_or(u32::MAX),
    })
}
