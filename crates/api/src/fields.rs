//! Field types that several kinds share: references, durations, quantities and bounded maps.
//!
//! Every string, list and map is bounded, because the API server charges a CEL rule for the largest value that could appear.

use std::{borrow::Cow, collections::BTreeMap, time::Duration};

use kube::KubeSchema;
use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::{Deserialize, Serialize};
use weir_model::{Quantity, UnitError, parse_duration};

/// Names an object in the same namespace.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize, KubeSchema)]
pub struct LocalReference {
    /// Name of the object.
    #[schemars(length(min = 1, max = 253))]
    pub name: String,
}

/// Names one key of a Secret in the same namespace.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize, KubeSchema)]
pub struct SecretKeyReference {
    /// Name of the Secret.
    #[schemars(length(min = 1, max = 253))]
    pub name: String,
    /// Key in the Secret's data.
    #[schemars(length(min = 1, max = 253))]
    pub key: String,
}

/// A topic: either a Topic object or, by name, a topic that Weir does not manage. Exactly one member is set.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
#[x_kube(validation = ("has(self.topicRef) != has(self.name)", "set exactly one of topicRef and name"))]
pub struct TopicSelector {
    /// A Topic object in the same namespace; waited for until it is ready.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub topic_ref: Option<LocalReference>,
    /// The topic's name in Kafka.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 249), regex(pattern = "^[A-Za-z0-9._-]+$"))]
    pub name: Option<String>,
}

/// A duration such as `500ms`, `90s`, `5m` or `1h30m`.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct DurationText(pub String);

impl DurationText {
    /// The duration that the text means.
    ///
    /// # Errors
    /// A sentence for the user; cannot happen for a value that the API server's pattern let through, unless it overflows.
    pub fn get(&self) -> Result<Duration, UnitError> {
        parse_duration(&self.0)
    }
}

impl JsonSchema for DurationText {
    fn schema_name() -> Cow<'static, str> {
        "Duration".into()
    }
    fn inline_schema() -> bool {
        true
    }
    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({"type": "string", "maxLength": 32, "pattern": "^([0-9]{1,9}(ms|s|m|h|d))+$"})
    }
}

/// A Kubernetes quantity such as `0.5`, `200`, `10k` or `64Mi`.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct QuantityText(pub String);

impl QuantityText {
    /// The amount that the text means.
    ///
    /// # Errors
    /// A sentence for the user; cannot happen for a value that the API server's pattern let through, unless it overflows.
    pub fn get(&self) -> Result<Quantity, UnitError> {
        Quantity::parse(&self.0)
    }
}

impl JsonSchema for QuantityText {
    fn schema_name() -> Cow<'static, str> {
        "Quantity".into()
    }
    fn inline_schema() -> bool {
        true
    }
    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({"type": "string", "maxLength": 24, "pattern": "^[0-9]{1,15}(\\.[0-9]{1,9})?(m|k|M|G|T|Ki|Mi|Gi|Ti)?$"})
    }
}

/// A bounded map from text to text.
pub type TextMap = BTreeMap<String, String>;

/// Schema of a [`TextMap`] with at most 128 entries of at most 4096 characters.
pub fn text_map(_: &mut SchemaGenerator) -> Schema {
    json_schema!({"type": "object", "maxProperties": 128, "additionalProperties": {"type": "string", "maxLength": 4096}})
}

/// Schema of `status.observedGeneration`: −1 before the first visit, so that a reader never takes silence for success.
pub fn observed_generation(_: &mut SchemaGenerator) -> Schema {
    json_schema!({"type": "integer", "format": "int64", "default": -1})
}

/// The value of `status.observedGeneration` before the first visit.
#[must_use]
pub fn never_observed() -> i64 {
    -1
}
