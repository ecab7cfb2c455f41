//! Decides what to do about one topic. Pure: a table of situations, each with its answer.

use std::collections::{BTreeMap, BTreeSet};

use weir_api::{Topic, topic::TopicStatus};
use weir_model::names::check_topic_name;

use super::observe::{Observed, Present};
use crate::controllers::verdict::{Verdict, VerdictKind, sentence};

/// What to do.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Plan {
    /// The brokers cannot be asked, and the topic was settled: everything stays as it was said last. The Connection tells
    /// about the outage; ten thousand topics are not rewritten because one broker blinked.
    Keep,
    /// Nothing can be done now; the verdict says why.
    Wait(Verdict),
    /// Create the topic.
    Create,
    /// Change the topic; nothing to change means that all is as it should be.
    Change(Changes),
}

/// Differences between the topic and the spec.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Changes {
    /// Whether the topic becomes ours with this visit.
    pub(crate) adopt: bool,
    /// Partitions to grow to.
    pub(crate) grow_to: Option<i32>,
    /// Configuration to set.
    pub(crate) set: BTreeMap<String, String>,
    /// Configuration to return to the brokers' default.
    pub(crate) reset: BTreeSet<String>,
    /// What the spec asks for and Kafka cannot give, as sentences.
    pub(crate) impossible: Vec<(&'static str, String)>,
}

impl Changes {
    /// Whether Kafka has to be changed.
    pub(crate) fn is_empty(&self) -> bool {
        self.grow_to.is_none() && self.set.is_empty() && self.reset.is_empty()
    }
}

/// Decides.
pub(crate) fn plan(topic: &Topic, before: &TopicStatus, observed: &Observed) -> Plan {
    let name = topic.topic_name();
    if let Err(why) = check_topic_name(&name) {
        let message = format!("{why} Set spec.topicName.");
        return Plan::Wait(Verdict::new(VerdictKind::Stalled, "InvalidTopicName", message));
    }
    if name.starts_with("__") {
        let message =
            format!("Topic {name} belongs to the brokers themselves; Weir does not manage such topics.");
        return Plan::Wait(Verdict::new(VerdictKind::Stalled, "InternalTopic", message));
    }
    match observed {
        Observed::NotConnected => unreachable(topic, before, not_connected(topic)),
        Observed::OwnedBy(owner) => Plan::Wait(Verdict::new(
            VerdictKind::Stalled,
            "TopicConflict",
            format!(
                "Topic {name} is owned by the older Topic object {owner}; delete one of the two. \
                 The topic itself stays when its owner is deleted with deletionPolicy Retain."
            ),
        )),
        Observed::Failed(error) => failed(topic, before, error),
        Observed::Missing { cluster_id } => missing(before, &name, cluster_id),
        Observed::Present(present) => existing(topic, before, present, &name),
    }
}

fn not_connected(topic: &Topic) -> Verdict {
    Verdict::new(
        VerdictKind::Progressing,
        "ConnectionNotReady",
        format!(
            "Connection {0} has not reached its Kafka cluster yet; see kubectl describe connection {0}.",
            topic.spec.connection_ref.name
        ),
    )
}

fn failed(topic: &Topic, before: &TopicStatus, error: &weir_kafka::KafkaError) -> Plan {
    if error.is_unauthorized() {
        let message = format!(
            "The brokers refuse to describe the topic: {}. Give the principal the right.",
            error.detail()
        );
        return Plan::Wait(Verdict::new(VerdictKind::Stalled, "Unauthorized", message));
    }
    let message = format!(
        "The brokers could not be asked about the topic: {} Weir tries again by itself.",
        sentence(&error.detail())
    );
    unreachable(topic, before, Verdict::new(VerdictKind::Progressing, "KafkaUnreachable", message))
}

/// An outage leaves a topic as it was said last, unless this spec was never looked at.
fn unreachable(topic: &Topic, before: &TopicStatus, otherwise: Verdict) -> Plan {
    let seen = topic.metadata.generation == Some(before.observed_generation);
    if seen && before.topic_id.is_some() { Plan::Keep } else { Plan::Wait(otherwise) }
}

fn missing(before: &TopicStatus, name: &str, cluster_id: &str) -> Plan {
    if let Some(verdict) = cluster_changed(before, name, cluster_id) {
        return Plan::Wait(verdict);
    }
    match &before.topic_id {
        None => Plan::Create,
        Some(id) => Plan::Wait(Verdict::new(
            VerdictKind::Stalled,
            "TopicLost",
            format!(
                "Topic {name} with id {id} existed and was deleted by somebody else, with its data. Weir does not create an \
                 empty one in its place; delete this object and create it again if an empty topic is what you want."
            ),
        )),
    }
}

/// A topic of the same name in another cluster is another topic, and its absence there says nothing about ours.
pub(crate) fn cluster_changed(before: &TopicStatus, name: &str, cluster_id: &str) -> Option<Verdict> {
    let cluster = before.cluster_id.as_ref().filter(|cluster| *cluster != cluster_id)?;
    let message = format!(
        "Topic {name} was in Kafka cluster {cluster}, but the Connection now leads to {cluster_id}. Nothing is changed there; \
         let the Connection lead back, or delete this object and create it again."
    );
    Some(Verdict::new(VerdictKind::Stalled, "ClusterChanged", message))
}

fn existing(topic: &Topic, before: &TopicStatus, present: &Present, name: &str) -> Plan {
    if let Some(verdict) = cluster_changed(before, name, &present.cluster_id) {
        return Plan::Wait(verdict);
    }
    match &before.topic_id {
        Some(id) if *id != present.id => Plan::Wait(Verdict::new(
            VerdictKind::Stalled,
            "TopicReplaced",
            format!(
                "Topic {name} had id {id} and was deleted and created again by somebody else; it now has id {}. \
                 Weir does not touch it; delete this object and create it again to adopt the new topic.",
                present.id
            ),
        )),
        Some(_) => Plan::Change(changes(topic, before, present)),
        None => {
            let ours = before.pending_create == Some(true);
            let differences = differences(topic, present);
            if ours || differences.is_empty() {
                Plan::Change(Changes { adopt: !ours, ..changes(topic, before, present) })
            } else {
                Plan::Wait(Verdict::new(
                    VerdictKind::Stalled,
                    "TopicExists",
                    format!(
                        "Topic {name} already exists and differs from the spec: {}. Weir adopts only a topic that matches; \
                         change the spec to what exists, and change it again afterwards.",
                        differences.join("; ")
                    ),
                ))
            }
        }
    }
}

/// How an existing topic differs from what the spec names.
fn differences(topic: &Topic, present: &Present) -> Vec<String> {
    let spec = &topic.spec;
    let mut found = Vec::new();
    if let Some(wanted) = spec.partitions.filter(|p| *p != present.partitions) {
        found.push(format!("it has {} partitions, the spec says {wanted}", present.partitions));
    }
    if let Some(wanted) = spec.replication_factor.filter(|r| *r != present.replication_factor) {
        found.push(format!(
            "its replication factor is {}, the spec says {wanted}",
            present.replication_factor
        ));
    }
    for (key, wanted) in &spec.config {
        match present.config.get(key) {
            Some(value) if same_value(value, wanted) => {}
            Some(value) => found.push(format!("its {key} is {value}, the spec says {wanted}")),
            None => found.push(format!("its {key} is the brokers' default, the spec says {wanted}")),
        }
    }
    found
}

fn changes(topic: &Topic, before: &TopicStatus, present: &Present) -> Changes {
    let spec = &topic.spec;
    let mut changes = Changes::default();
    match spec.partitions {
        Some(wanted) if wanted > present.partitions => changes.grow_to = Some(wanted),
        Some(wanted) if wanted < present.partitions => changes.impossible.push((
            "PartitionsCannotShrink",
            format!(
                "The topic has {} partitions and the spec says {wanted}; Kafka cannot remove partitions. Set partitions to {} \
                 or move to a new topic.",
                present.partitions, present.partitions
            ),
        )),
        Some(_) | None => {}
    }
    if let Some(wanted) = spec.replication_factor.filter(|r| *r != present.replication_factor) {
        changes.impossible.push((
            "ReplicationFactorDiffers",
            format!(
                "The topic's replication factor is {} and the spec says {wanted}; Weir does not move replicas. Set \
                 replicationFactor to {}, or reassign the partitions with Kafka's own tools.",
                present.replication_factor, present.replication_factor
            ),
        ));
    }
    for (key, wanted) in &spec.config {
        if !present.config.get(key).is_some_and(|value| same_value(value, wanted)) {
            changes.set.insert(key.clone(), wanted.clone());
        }
    }
    for key in &before.managed_config_keys {
        if !spec.config.contains_key(key) && present.config.contains_key(key) {
            changes.reset.insert(key.clone());
        }
    }
    changes
}

/// Whether two texts mean the same value: the brokers trim spaces, spell booleans in lower case and lists without spaces.
fn same_value(actual: &str, wanted: &str) -> bool {
    fn canonical(text: &str) -> String {
        let text = text.trim();
        if text.eq_ignore_ascii_case("true") || text.eq_ignore_ascii_case("false") {
            return text.to_ascii_lowercase();
        }
        if let Ok(number) = text.parse::<i128>() {
            return number.to_string();
        }
        text.split(',').map(str::trim).collect::<Vec<_>>().join(",")
    }
    canonical(actual) == canonical(wanted)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::catalog::Key;

    fn topic(spec: serde_json::Value) -> Topic {
        let mut spec = spec;
        spec["connectionRef"] = serde_json::json!({"name": "kafka"});
        let object = serde_json::json!({"apiVersion": "kafka.weir.dev/v1alpha1", "kind": "Topic",
            "metadata": {"name": "orders", "generation": 1}, "spec": spec});
        serde_json::from_value(object).expect("a valid topic")
    }

    fn present(partitions: i32) -> Present {
        Present {
            cluster_id: "c".into(),
            id: "id".into(),
            partitions,
            replication_factor: 3,
            online: true,
            config: BTreeMap::from([("retention.ms".to_owned(), "1000".to_owned())]),
        }
    }

    fn ours() -> TopicStatus {
        TopicStatus { topic_id: Some("id".into()), cluster_id: Some("c".into()), ..TopicStatus::default() }
    }

    fn reason(plan: &Plan) -> &'static str {
        match plan {
            Plan::Keep => "(keep)",
            Plan::Wait(verdict) => verdict.reason,
            Plan::Create => "(create)",
            Plan::Change(changes) if changes.is_empty() => "(nothing)",
            Plan::Change(_) => "(change)",
        }
    }

    #[test]
    fn every_situation_has_its_answer() {
        let six = topic(serde_json::json!({"partitions": 6}));
        let known = |p| Observed::Present(present(p));
        let missing = Observed::Missing { cluster_id: "c".into() };
        let other = Observed::OwnedBy(Key::new("a", "b"));
        let replaced = TopicStatus { topic_id: Some("former".into()), ..ours() };
        let moved = TopicStatus { cluster_id: Some("elsewhere".into()), ..ours() };
        let intended = TopicStatus { pending_create: Some(true), ..TopicStatus::default() };
        let new = TopicStatus::default();
        let cases = [
            (&new, &missing, "(create)"),
            (&new, &known(6), "(nothing)"),
            (&new, &known(3), "TopicExists"),
            (&intended, &known(3), "(change)"),
            (&ours(), &known(6), "(nothing)"),
            (&ours(), &known(3), "(change)"),
            (&ours(), &missing, "TopicLost"),
            (&replaced, &known(6), "TopicReplaced"),
            (&moved, &known(6), "ClusterChanged"),
            (&moved, &missing, "ClusterChanged"),
            (&new, &other, "TopicConflict"),
            (&new, &Observed::NotConnected, "ConnectionNotReady"),
        ];
        for (before, observed, expected) in cases {
            assert_eq!(reason(&plan(&six, before, observed)), expected, "{before:?} {observed:?}");
        }
    }

    #[test]
    fn fewer_partitions_than_exist_change_nothing_and_are_said() {
        let Plan::Change(changes) =
            plan(&topic(serde_json::json!({"partitions": 2})), &ours(), &Observed::Present(present(6)))
        else {
            panic!("the topic exists");
        };
        assert!(changes.is_empty());
        assert_eq!(changes.impossible[0].0, "PartitionsCannotShrink");
    }

    #[test]
    fn only_keys_that_weir_set_are_reset() {
        let status = TopicStatus { managed_config_keys: vec!["retention.ms".into()], ..ours() };
        let spec = serde_json::json!({"config": {"segment.bytes": "1048576"}});
        let Plan::Change(changes) = plan(&topic(spec.clone()), &status, &Observed::Present(present(6)))
        else {
            panic!("the topic exists");
        };
        assert_eq!(changes.reset, BTreeSet::from(["retention.ms".to_owned()]));
        assert_eq!(changes.set.keys().collect::<Vec<_>>(), ["segment.bytes"]);
        let Plan::Change(changes) = plan(&topic(spec), &ours(), &Observed::Present(present(6))) else {
            panic!("the topic exists");
        };
        assert!(changes.reset.is_empty(), "somebody else set retention.ms");
    }

    #[test]
    fn an_outage_leaves_a_settled_topic_as_it_was() {
        let failed = Observed::Failed(weir_kafka::KafkaError::Closed);
        let settled = TopicStatus { observed_generation: 1, ..ours() };
        let edited = TopicStatus { observed_generation: 0, ..ours() };
        let topic = topic(serde_json::json!({}));
        assert_eq!(reason(&plan(&topic, &settled, &failed)), "(keep)");
        assert_eq!(reason(&plan(&topic, &settled, &Observed::NotConnected)), "(keep)");
        assert_eq!(reason(&plan(&topic, &edited, &failed)), "KafkaUnreachable");
        assert_eq!(reason(&plan(&topic, &TopicStatus::default(), &failed)), "KafkaUnreachable");
    }

    #[test]
    fn spelling_is_not_a_difference() {
        for (a, b) in [("true", "True"), ("compact,delete", "compact, delete"), ("1000", " 1000 ")] {
            assert!(same_value(a, b), "{a} {b}");
        }
        assert!(!same_value("1000", "1001"));
    }
}
