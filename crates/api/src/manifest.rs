//! The manifests of the four kinds, as YAML, from the Rust types.

use k8s_openapi::apiextensions_apiserver::pkg::apis::apiextensions::v1::CustomResourceDefinition;
use kube::CustomResourceExt;
use schemars::schema_for;
use serde_json::{Value, json};

use crate::{
    Connection, ConsumerGroup, ProducerJob, Topic,
    connection::{ConnectionSpec, ConnectionStatus},
    consumer_group::{ConsumerGroupSpec, ConsumerGroupStatus},
    producer_job::{ProducerJobSpec, ProducerJobStatus},
    topic::{TopicSpec, TopicStatus},
};

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
    let schemas = [
        (schema_for!(ConnectionSpec), schema_for!(ConnectionStatus)),
        (schema_for!(TopicSpec), schema_for!(TopicStatus)),
        (schema_for!(ProducerJobSpec), schema_for!(ProducerJobStatus)),
        (schema_for!(ConsumerGroupSpec), schema_for!(ConsumerGroupStatus)),
    ];
    definitions()
        .into_iter()
        .zip(schemas)
        .map(|(crd, (spec, status))| {
            let mut value = serde_json::to_value(&crd)?;
            complete(&mut value);
            let properties = &mut value["spec"]["versions"][0]["schema"]["openAPIV3Schema"]["properties"];
            for (name, schema) in [("spec", spec.to_value()), ("status", status.to_value())] {
                describe_fields(&mut properties[name], &schema, &schema["$defs"]);
            }
            Ok(value)
        })
        .collect()
}

/// The derive gives a field whose type is an enumeration the enumeration's description, and loses the field's own, which
/// says what the default is. This puts it back, from the schema before the derive flattened it.
fn describe_fields(target: &mut Value, schema: &Value, definitions: &Value) {
    let reference = [schema, &schema["anyOf"][0]].into_iter().find_map(|s| s["$ref"].as_str());
    let schema = match reference.and_then(|path| path.strip_prefix("#/$defs/")) {
        Some(name) => &definitions[name],
        None => schema,
    };
    for (name, field) in target.get_mut("properties").and_then(Value::as_object_mut).into_iter().flatten() {
        let own = &schema["properties"][name];
        if own["description"].is_string() {
            field["description"] = own["description"].clone();
        }
        describe_fields(field, own, definitions);
    }
    if let Some(items) = target.get_mut("items") {
        describe_fields(items, &schema["items"], definitions);
    }
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
    fn a_field_of_an_enumeration_keeps_its_own_description() {
        let topic = &complete_definitions().expect("the types are valid")[1];
        let schema = &topic["spec"]["versions"][0]["schema"]["openAPIV3Schema"];
        let description = &schema["properties"]["spec"]["properties"]["deletionPolicy"]["description"];
        assert!(description.as_str().is_some_and(|text| text.contains("Default `Retain`.")), "{description}");
    }

    #[test]
    fn a_manifest_stays_below_150_kilobytes() {
        for manifest in manifests().expect("the types are valid") {
            assert!(manifest.yaml.len() < 150_000, "{} has {} bytes", manifest.file, manifest.yaml.len());
        }
    }
}
