//! The reference of the four kinds as Markdown, from the same definitions as the manifests, so that it cannot disagree
//! with them. It describes fields, limits, rules and columns; it explains no concepts. `weir reference` writes the pages.

use std::{collections::BTreeMap, fmt::Write as _};

use schemars::{JsonSchema, schema_for};
use serde_json::{Map, Value};

use crate::{
    connection::ConnectionSpec,
    consumer_group::ConsumerGroupSpec,
    fields::{DurationText, QuantityText},
    manifest::{ManifestError, complete_definitions},
    producer_job::ProducerJobSpec,
    topic::TopicSpec,
};

/// One page: file name and Markdown text.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Page {
    /// Name of the file, such as `topic.md`.
    pub file: String,
    /// The text.
    pub markdown: String,
}

/// First line of every generated page.
pub const GENERATED: &str = "<!-- Written by `make crds` from the Rust types. Do not edit. -->\n";

/// The pages of the four kinds.
///
/// # Errors
/// If a definition cannot be read as JSON, which would be a defect of the types.
pub fn pages() -> Result<Vec<Page>, ManifestError> {
    let words = Words::of_all_kinds();
    let definitions = complete_definitions()?;
    Ok(definitions.iter().map(|definition| page(definition, &words)).collect())
}

fn page(definition: &Value, words: &Words) -> Page {
    let kind = text(definition, "/spec/names/kind");
    let plural = text(definition, "/spec/names/plural");
    let version = &definition["spec"]["versions"][0];
    let schema = &version["schema"]["openAPIV3Schema"];
    let mut out = GENERATED.to_owned();
    let api = format!("{}/{}", text(definition, "/spec/group"), text(version, "/name"));
    let _ = writeln!(out, "# {kind}\n\n{}\n", text(schema, "/description"));
    let _ = writeln!(
        out,
        "`apiVersion: {api}`, `kind: {kind}`, namespaced. `kubectl get {plural}` lists them, `kubectl get weir` lists all kinds.\n"
    );
    scale(&mut out, version);
    let _ = writeln!(out, "{INTRODUCTION}");
    let _ = writeln!(out, "## spec\n");
    fields(&mut out, &schema["properties"]["spec"], words);
    let _ = writeln!(out, "\n## Rules\n");
    rules(&mut out, schema);
    let _ = writeln!(out, "\n## status\n\nWritten by Weir only.\n");
    fields(&mut out, &schema["properties"]["status"], words);
    let _ = writeln!(out, "\nTypes and reasons of the conditions: [conditions.md](../conditions.md).");
    columns(&mut out, version);
    Page { file: format!("{}.md", kind.to_lowercase()), markdown: out }
}

const INTRODUCTION: &str = "\
A field is *required* if its parent is present. `[]` stands for the entries of a list. A *duration* is text such as `500ms`, `90s`, `5m` or
`1h30m`; a *quantity* is a Kubernetes quantity without sign, such as `0.5`, `20k` or `64Mi`.
";

fn scale(out: &mut String, version: &Value) {
    let scale = &version["subresources"]["scale"];
    if scale.is_object() {
        let _ = writeln!(
            out,
            "Has `/scale`: `{}` is written, `{}` and `{}` are read.\n",
            text(scale, "/specReplicasPath"),
            text(scale, "/statusReplicasPath"),
            text(scale, "/labelSelectorPath")
        );
    }
}

fn columns(out: &mut String, version: &Value) {
    let Some(columns) = version["additionalPrinterColumns"].as_array() else { return };
    let _ = writeln!(out, "\n## Columns of kubectl get\n\n| Column | Shows | With |\n|---|---|---|");
    for column in columns {
        let wide = column["priority"].as_i64().unwrap_or_default() > 0;
        let _ = writeln!(
            out,
            "| {} | {} | {} |",
            text(column, "/name").to_uppercase(),
            code(text(column, "/jsonPath")),
            if wide { "`-o wide`" } else { "" }
        );
    }
}

/// One row per field, parents before children.
fn fields(out: &mut String, schema: &Value, words: &Words) {
    let _ = writeln!(out, "| Field | Type | Required | Limits | Meaning |\n|---|---|---|---|---|");
    for field in walk(schema) {
        let Field { path, schema, required } = &field;
        let _ = writeln!(
            out,
            "| `{path}` | {} | {} | {} | {} |",
            words.type_name(schema),
            if *required { "yes" } else { "" },
            words.limits(schema),
            words.meaning(schema)
        );
    }
}

struct Field<'a> {
    path: String,
    schema: &'a Value,
    required: bool,
}

fn walk(schema: &Value) -> Vec<Field<'_>> {
    let mut found = Vec::new();
    descend("", schema, &mut found);
    found
}

fn descend<'a>(parent: &str, schema: &'a Value, found: &mut Vec<Field<'a>>) {
    let required: Vec<&str> =
        schema["required"].as_array().into_iter().flatten().filter_map(Value::as_str).collect();
    for (name, child) in schema["properties"].as_object().into_iter().flatten() {
        let path = if parent.is_empty() { name.clone() } else { format!("{parent}.{name}") };
        found.push(Field { path: path.clone(), schema: child, required: required.contains(&name.as_str()) });
        if path == "conditions" {
            // The shape of a condition is Kubernetes' own.
            continue;
        }
        if child["items"].is_object() {
            descend(&format!("{path}[]"), &child["items"], found);
        } else {
            descend(&path, child, found);
        }
    }
}

/// What the API server checks beyond types and limits.
fn rules(out: &mut String, schema: &Value) {
    let mut rows = Vec::new();
    collect_rules("", schema, &mut rows);
    if rows.is_empty() {
        let _ = writeln!(out, "None beyond types and limits.");
        return;
    }
    let _ = writeln!(
        out,
        "The API server refuses an object that breaks one of these, with the sentence.\n\n| Where | Sentence | CEL |\n|---|---|---|"
    );
    for (path, rule) in rows {
        let place = if path.is_empty() { "the object".to_owned() } else { code(&path) };
        let _ =
            writeln!(out, "| {place} | {} | {} |", cell(&text(rule, "/message")), code(text(rule, "/rule")));
    }
}

fn collect_rules<'a>(path: &str, schema: &'a Value, rows: &mut Vec<(String, &'a Value)>) {
    let own = schema["x-kubernetes-validations"].as_array().into_iter().flatten();
    rows.extend(own.map(|rule| (path.to_owned(), rule)));
    for (name, child) in schema["properties"].as_object().into_iter().flatten() {
        let path = if path.is_empty() { name.clone() } else { format!("{path}.{name}") };
        collect_rules(&path, child, rows);
        collect_rules(&format!("{path}[]"), &child["items"], rows);
    }
}

/// What cannot be read from the definitions alone, because Kubernetes' dialect of schemas has no room for it: the meaning of
/// each value of an enumeration, and which texts are durations and quantities.
struct Words {
    /// The values of an enumeration → the meaning of each.
    values: BTreeMap<Vec<String>, Vec<String>>,
    duration: String,
    quantity: String,
}

impl Words {
    fn of_all_kinds() -> Self {
        let mut words = Self {
            values: BTreeMap::new(),
            duration: pattern_of::<DurationText>(),
            quantity: pattern_of::<QuantityText>(),
        };
        words.learn::<ConnectionSpec>();
        words.learn::<TopicSpec>();
        words.learn::<ProducerJobSpec>();
        words.learn::<ConsumerGroupSpec>();
        words
    }

    fn learn<T: JsonSchema>(&mut self) {
        let schema = schema_for!(T).to_value();
        for definition in schema["$defs"].as_object().into_iter().flat_map(Map::values) {
            let variants: Vec<&Value> = definition["oneOf"].as_array().into_iter().flatten().collect();
            let names: Vec<String> =
                variants.iter().filter_map(|v| v["const"].as_str()).map(str::to_owned).collect();
            if !names.is_empty() && names.len() == variants.len() {
                self.values.insert(names, variants.iter().map(|v| text(v, "/description")).collect());
            }
        }
    }

    fn type_name(&self, schema: &Value) -> String {
        let pattern = schema["pattern"].as_str().unwrap_or_default();
        match schema["type"].as_str().unwrap_or("any") {
            "array" => format!("list of {}s", self.type_name(&schema["items"])),
            "object" if schema["additionalProperties"].is_object() => "map of texts".to_owned(),
            "string" if pattern == self.duration => "duration".to_owned(),
            "string" if pattern == self.quantity => "quantity".to_owned(),
            "string" if schema["enum"].is_array() => "one of".to_owned(),
            "string" if schema["format"] == "date-time" => "time".to_owned(),
            "string" => "text".to_owned(),
            other => other.to_owned(),
        }
    }

    fn limits(&self, schema: &Value) -> String {
        let mut parts = Vec::new();
        if let Some(values) = schema["enum"].as_array() {
            parts.push(values.iter().filter_map(Value::as_str).map(code).collect::<Vec<_>>().join(", "));
        }
        let ranges = [
            ("minimum", "maximum", ""),
            ("minLength", "maxLength", " characters"),
            ("minItems", "maxItems", " entries"),
            ("minProperties", "maxProperties", " entries"),
        ];
        let pattern = schema["pattern"].as_str().filter(|p| *p != self.duration && *p != self.quantity);
        for (least, most, unit) in ranges {
            // The bound of a duration's text says nothing to a reader.
            if unit == " characters" && pattern.is_none() && schema["pattern"].is_string() {
                continue;
            }
            parts.extend(range(&schema[least], &schema[most], unit));
        }
        parts.extend(pattern.map(code));
        let inner = [("an entry has ", &schema["items"]), ("a value has ", &schema["additionalProperties"])];
        for (prefix, inner) in inner.into_iter().filter(|(_, inner)| inner["type"] == "string") {
            let limits = self.limits(inner);
            parts.extend((!limits.is_empty()).then(|| format!("{prefix}{limits}")));
        }
        if let Some(default) = schema.get("default").filter(|d| !d.is_object()) {
            parts.push(format!("default `{default}`"));
        }
        parts.join("; ")
    }

    fn meaning(&self, schema: &Value) -> String {
        let mut out = cell(&text(schema, "/description"));
        let names: Vec<String> = schema["enum"]
            .as_array()
            .into_iter()
            .flatten()
            .filter_map(Value::as_str)
            .map(str::to_owned)
            .collect();
        for (name, meaning) in
            names.iter().zip(self.values.get(&names).into_iter().flatten()).filter(|(_, m)| !m.is_empty())
        {
            let _ = write!(out, "<br>`{name}`: {}", cell(meaning));
        }
        out
    }
}

fn pattern_of<T: JsonSchema>() -> String {
    text(&schema_for!(T).to_value(), "/pattern")
}

fn range(least: &Value, most: &Value, unit: &str) -> Option<String> {
    Some(match (number(least), number(most)) {
        (Some(least), Some(most)) => format!("{least} to {most}{unit}"),
        (Some(least), None) => format!("at least {least}{unit}"),
        (None, Some(most)) => format!("at most {most}{unit}"),
        (None, None) => return None,
    })
}

/// Bounds are written as floats by some generators; people read integers.
fn number(value: &Value) -> Option<String> {
    let shown = value.as_number()?.to_string();
    Some(shown.strip_suffix(".0").map_or(shown.clone(), str::to_owned))
}

fn text(value: &Value, pointer: &str) -> String {
    value.pointer(pointer).and_then(Value::as_str).unwrap_or_default().to_owned()
}

/// Text that stays within one cell of a table.
fn cell(text: &str) -> String {
    text.replace('|', "\\|").replace('\n', " ")
}

fn code(text: impl AsRef<str>) -> String {
    format!("`{}`", cell(text.as_ref()))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn page_of(file: &str) -> String {
        let pages = pages().expect("the types are valid");
        pages.into_iter().find(|page| page.file == file).expect("one page per kind").markdown
    }

    #[test]
    fn a_field_shows_its_type_its_limits_and_the_meaning_of_its_values() {
        let page = page_of("topic.md");
        assert!(page.contains("| `partitions` | integer |  | 1 to 100000 |"), "{page}");
        assert!(page.contains("`Retain`: The topic and its data stay."), "{page}");
    }

    #[test]
    fn every_field_has_a_meaning() {
        for page in pages().expect("the types are valid") {
            for row in page.markdown.lines().filter(|line| line.starts_with("| `")) {
                let cells: Vec<&str> = row.trim_end_matches('|').split(" | ").collect();
                let is_field = cells.len() == 5;
                assert!(!is_field || !cells[4].trim().is_empty(), "{}: {row}", page.file);
            }
        }
    }

    #[test]
    fn rules_of_nested_fields_are_listed_with_their_place() {
        let page = page_of("consumergroup.md");
        assert!(page.contains("| `spec.topics[]` | set exactly one of topicRef and name |"), "{page}");
        assert!(page.contains("Has `/scale`"), "{page}");
    }
}
