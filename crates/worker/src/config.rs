//! Reads and checks `config.json` and the connection's files. Opens no connection. Called by `main`, once.

use std::{
    error::Error,
    fs, io,
    path::{Path, PathBuf},
};

use rdkafka::ClientConfig;
use serde::Deserialize;
use weir_kafka::settings::{ConnectionSettings, SettingsError};
use weir_model::worker_config::{
    CONFIG_VERSION, ConsumeConfig, Handler, KeyConfig, ProduceConfig, Task, WorkerConfig,
};

use crate::client;

/// The configuration cannot be used.
#[derive(Debug, thiserror::Error)]
pub(crate) enum ConfigError {
    #[error("failed to read {}", path.display())]
    Read { path: PathBuf, source: io::Error },
    #[error("failed to understand {}", path.display())]
    Parse { path: PathBuf, source: serde_json::Error },
    #[error(
        "failed to use the configuration: it has version {0}, this worker knows version {CONFIG_VERSION} only; run the worker image of the operator's release"
    )]
    Version(u64),
    #[error("failed to use the configuration: {0}")]
    Invalid(String),
    #[error(transparent)]
    Connection(#[from] SettingsError),
}

/// The error with its causes, as a sentence.
pub(crate) fn explain(error: &ConfigError) -> String {
    let mut sentence = format!("The worker cannot start: {error}");
    let mut cause = error.source();
    while let Some(error) = cause {
        sentence.push_str(": ");
        sentence.push_str(&error.to_string());
        cause = error.source();
    }
    sentence + "."
}

/// Everything that a worker needs to begin.
pub(crate) struct Loaded {
    pub(crate) config: WorkerConfig,
    /// Properties common to every client: addresses, credentials, identity.
    pub(crate) client: ClientConfig,
}

/// Read before the whole document, because another version may have another shape.
#[derive(Deserialize)]
struct Versioned {
    version: u64,
}

impl Loaded {
    pub(crate) fn read(folder: &Path, credentials: &Path) -> Result<Self, ConfigError> {
        let path = folder.join("config.json");
        let text = match fs::read_to_string(&path) {
            Ok(text) => text,
            Err(source) => return Err(ConfigError::Read { path, source }),
        };
        let config = parse(&text, &path)?;
        let connection = ConnectionSettings::from_worker_files(&config.connection, credentials)?;
        let client = client::base_config(&connection, &config);
        Ok(Self { config, client })
    }
}

fn parse(text: &str, path: &Path) -> Result<WorkerConfig, ConfigError> {
    let unreadable = |source| ConfigError::Parse { path: path.to_owned(), source };
    let Versioned { version } = serde_json::from_str(text).map_err(unreadable)?;
    if version != u64::from(CONFIG_VERSION) {
        return Err(ConfigError::Version(version));
    }
    let config: WorkerConfig = serde_json::from_str(text).map_err(unreadable)?;
    match &config.task {
        Task::Produce(task) => check_produce(task),
        Task::Consume(task) => check_consume(task),
    }
    .map_err(ConfigError::Invalid)?;
    Ok(config)
}

fn check_produce(task: &ProduceConfig) -> Result<(), String> {
    if let KeyConfig::Sequential { cardinality: 0 } | KeyConfig::Uniform { cardinality: 0 } =
        task.generator.keys
    {
        return Err("the keys' cardinality is 0, it must be at least 1".to_owned());
    }
    if task.records_per_second_thousandths == Some(0) || task.bytes_per_second == Some(0) {
        return Err("a rate of 0 would never end, leave it out or set it above 0".to_owned());
    }
    Ok(())
}

fn check_consume(task: &ConsumeConfig) -> Result<(), String> {
    if task.topics.is_empty() {
        return Err("it names no topic to consume".to_owned());
    }
    if task.max_concurrency == 0 || task.in_flight_records == 0 {
        return Err("maxConcurrency and inFlightRecords must be at least 1".to_owned());
    }
    if let Handler::Http(http) = &task.handler
        && http.timeout_ms == 0
    {
        return Err("the handler's timeout is 0 ms, it must be at least 1 ms".to_owned());
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn document(version: u32, cardinality: u64) -> String {
        format!(
            r#"{{"version":{version},"namespace":"shop","name":"load","connection":{{"bootstrapServers":["k:9092"],
            "tls":false,"caFile":false}},"task":{{"produce":{{"topic":"orders","records":5,"runId":"1",
            "generator":{{"sizeBytes":100,"keys":{{"uniform":{{"cardinality":{cardinality}}}}},"seed":1}},
            "encoding":"Json","delivery":{{"acks":"All","idempotent":true,"compression":"Lz4","lingerMs":5}}}}}}}}"#
        )
    }

    #[test]
    fn an_unknown_version_is_refused_with_both_numbers() {
        let error = parse(&document(7, 3), Path::new("c")).expect_err("version 7 does not exist");
        assert!(
            error.to_string().contains("version 7") && error.to_string().contains("version 1"),
            "{error}"
        );
    }

    #[test]
    fn a_document_of_this_version_is_read_and_checked() {
        assert!(parse(&document(1, 3), Path::new("c")).is_ok());
        let error = parse(&document(1, 0), Path::new("c")).expect_err("no key can be drawn from none");
        assert!(error.to_string().contains("cardinality"), "{error}");
    }

    #[test]
    fn a_refusal_names_the_file_and_the_place_in_it() {
        let error = parse("{", Path::new("/x/config.json")).expect_err("half a document");
        let sentence = explain(&error);
        assert!(sentence.contains("/x/config.json") && sentence.contains("line 1"), "{sentence}");
    }
}
