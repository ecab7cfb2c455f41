//! What producer jobs and consumer groups share: how a worker's pod is built and what its troubles mean. Pure.

pub(crate) mod build;
pub(crate) mod trouble;

use kube::ResourceExt;
use weir_model::names::{KIND_LABEL, MANAGED_BY, MANAGED_BY_LABEL, NAME_LABEL};

use crate::catalog::{Key, User};

/// Value of the kind label of a group's children.
pub(crate) const GROUP_KIND: &str = "consumergroup";
/// Value of the kind label of a job's children.
pub(crate) const JOB_KIND: &str = "producerjob";
/// Selects everything that Weir made.
pub(crate) const SELECTOR: &str = "app.kubernetes.io/managed-by=weir";

/// Labels of a child, and the selector of its pods.
pub(crate) fn labels(kind: &str, name: &str) -> std::collections::BTreeMap<String, String> {
    [(MANAGED_BY_LABEL, MANAGED_BY), (KIND_LABEL, kind), (NAME_LABEL, name)]
        .map(|(k, v)| (k.to_owned(), v.to_owned()))
        .into()
}

/// The object that a child serves, from its labels.
pub(crate) fn served<K: kube::Resource>(child: &K) -> Option<User> {
    let key = Key::new(child.namespace()?, child.labels().get(NAME_LABEL)?);
    match child.labels().get(KIND_LABEL)?.as_str() {
        GROUP_KIND => Some(User::Group(key)),
        JOB_KIND => Some(User::Job(key)),
        _ => None,
    }
}

/// Where the topics of a spec stand.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Topics {
    /// All can be named.
    Resolved(Vec<String>),
    /// A Topic object does not exist.
    NoSuchObject(String),
    /// A Topic object is not ready; its own message says why.
    NotReady { name: String, message: String },
}

impl Topics {
    /// Names the topics, following references to Topic objects.
    pub(crate) fn resolve(
        selectors: &[weir_api::fields::TopicSelector],
        find: impl Fn(&str) -> Option<std::sync::Arc<weir_api::Topic>>,
    ) -> Self {
        let mut names = Vec::new();
        for selector in selectors {
            if let Some(name) = &selector.name {
                names.push(name.clone());
            }
            let Some(reference) = &selector.topic_ref else { continue };
            let Some(topic) = find(&reference.name) else {
                return Self::NoSuchObject(reference.name.clone());
            };
            let status = topic.status.as_ref();
            // Known to exist is enough: a topic with a wish that Kafka refused still takes and gives records.
            if status.is_none_or(|s| s.topic_id.is_none()) {
                let message = status
                    .and_then(|s| s.conditions.first())
                    .map_or_else(|| "Weir has not looked at it yet.".to_owned(), |c| c.message.clone());
                return Self::NotReady { name: reference.name.clone(), message };
            }
            names.push(topic.topic_name());
        }
        names.sort();
        names.dedup();
        Self::Resolved(names)
    }
}
