//! The manifests of the four kinds, as YAML, from the Rust types.

use k8s_openapi::apiextensions_apiserver::pkg::apis::apiextensions::v1::CustomResourceDefinition;
use kube::CustomResourceExt;
use serde_json::{Value, json};

use crate::{Connection, ConsumerGroup, ProducerJob, Topic};

/// One manifest: file name and YAML text.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Manifest {
    /// Name of the file, such as `topics.kafka.weir.dev.yaml`.
    pub file: String,
    /// The document.
    pub yaml: String,
}

/// Names of the four custom resource definitions, such as `topics.kafka.weir.dev`.
#[must_use]
pub fn definition_names() -> Vec<String> {
    definitions().iter().filter_map(|crd| crd.metadata.name.clone()).collect()
}

/// The manifests, in the order in which their documents explain each other.
///
/// # Errors
/// If a definition cannot be written as YAML, which would be a defect of the types.
pub fn manifests() -> Result<Vec<Manifest>, ManifestError> {
    let write = |definition: &Value| {
        let name = definition["metadata"]["name"].as_str().unwrap_or_default();
        let yaml = serde_saphyr::to_string(definition).map_err(|e| ManifestError::Yaml(e.to_string()))?;
        Ok(Manifest { file: format!("{name}.yaml"), yaml })
    };
    complete_definitions()?.iter().map(write).collect()
}

/// The definitions as they are installed.
pub(crate) fn complete_definitions() -> Result<Vec<Value>, ManifestError> {
    definitions()
        .into_iter()
        .map(|crd| {
            let mut value = serde_json::to_value(&crd)?;
            complete(&mut value);
            Ok(value)
        })
        .collect()
}

/// Why a manifest could not be written.
#[derive(Debug, thiserror::Error)]
pub enum ManifestError {
    /// A definition is not JSON.
    #[error("failed to serialize a custom resource definition")]
    Json(#[from] serde_json::Error),
    /// A definition is not YAML.
    #[error("failed to write YAML: {0}")]
    Yaml(String),
}

fn definitions() -> [CustomResourceDefinition; 4] {
    [Connection::crd(), Topic::crd(), ProducerJob::crd(), ConsumerGroup::crd()]
}

/// Adds what the derive cannot say: `status` defaults to `{}`, so that `observedGeneration: -1` appears at creation, and
/// integer formats that Kubernetes does not know are removed.
fn complete(crd: &mut Value) {
    if let Some(versions) = crd.pointer_mut("/spec/versions").and_then(Value::as_array_mut) {
        for version in versions {
            if let Some(status) = version.pointer_mut("/schema/openAPIV3Schema/properties/status") {
                status["default"] = json!({});
                if let Some(object) = status.as_object_mut() {
                    object.remove("nullable");
                }
            }
        }
    }
    remove_unknown_formats(crd);
}

fn remove_unknown_formats(value: &mut Value) {
    match value {
        Value::Object(map) => {
            if matches!(map.get("format").and_then(Value::as_str), Some(f) if f.starts_with("uint")) {
                map.remove("format");
            }
            map.values_mut().for_each(remove_unknown_formats);
        }
        Value::Array(items) => items.iter_mut().for_each(remove_unknown_formats),
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => {}
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_status_defaults_to_an_observed_generation_of_minus_one() {
        for manifest in manifests().expect("the types are valid") {
            assert!(manifest.yaml.contains("default: -1"), "{}", manifest.file);
            assert!(manifest.yaml.contains("default: {}"), "{}", manifest.file);
        }
    }

    #[test]
    fn a_manifest_stays_below_150_kilobytes() {
        for manifest in manifests().expect("the types are valid") {
            assert!(manifest.yaml.len() < 150_000, "{} has {} bytes", manifest.file, manifest.yaml.len());
        }
    }
}
