//! Names that several parts must spell alike: API group, labels, annotations, field managers, paths in the worker's pod.

/// API group of every kind.
pub const GROUP: &str = "kafka.weir.dev";
/// The one served version.
pub const VERSION: &str = "v1alpha1";

/// Field manager of children (templates) and of their statuses.
pub const FIELD_MANAGER: &str = "weir";
/// Field manager that writes replica counts, and nothing else, through `/scale`.
pub const SCALER_FIELD_MANAGER: &str = "weir-scaler";

/// Label on every child: the kind that it serves, such as `consumergroup`.
pub const KIND_LABEL: &str = "kafka.weir.dev/kind";
/// Label on every child: name of the object that it serves.
pub const NAME_LABEL: &str = "kafka.weir.dev/name";
/// Standard label that says who manages an object.
pub const MANAGED_BY_LABEL: &str = "app.kubernetes.io/managed-by";
/// Value of [`MANAGED_BY_LABEL`].
pub const MANAGED_BY: &str = "weir";

/// Annotation: `"true"` suspends every reconcile of the object.
pub const PAUSED_ANNOTATION: &str = "kafka.weir.dev/paused";
/// Annotation: any new value asks for a reconcile now.
pub const RECONCILE_AT_ANNOTATION: &str = "kafka.weir.dev/reconcile-at";
/// Annotation: `"true"` lets a deletion finish without touching Kafka.
pub const FORCE_ORPHAN_ANNOTATION: &str = "kafka.weir.dev/force-orphan";

/// Finalizer of a Connection that Topics with `deletionPolicy: Delete` still need for their deletion.
pub const CONNECTION_FINALIZER: &str = "kafka.weir.dev/connection";
/// Finalizer of a Topic whose `deletionPolicy` is `Delete`.
pub const TOPIC_FINALIZER: &str = "kafka.weir.dev/topic";

/// Name of the container that Weir runs in a worker's pod.
pub const WORKER_CONTAINER: &str = "worker";
/// Port of the worker's `/livez`, `/readyz`, `/metrics` and `/status`.
pub const WORKER_PORT: u16 = 8080;
/// Folder in the worker's pod that holds `config.json` (see [`crate::worker_config`]).
pub const WORKER_CONFIG_FOLDER: &str = "/etc/weir/config";
/// Folder in the worker's pod with the connection's files: `ca.crt`, `username`, `password`.
pub const WORKER_CREDENTIALS_FOLDER: &str = "/etc/weir/credentials";
/// Kubernetes' path for the message that a container leaves when it ends.
pub const TERMINATION_MESSAGE_PATH: &str = "/dev/termination-log";

/// Whether `name` is a legal topic name (1..249 of `[A-Za-z0-9._-]`, not `.` or `..`), by Kafka's own rule
/// (`org.apache.kafka.common.internals.Topic.validate`).
///
/// # Errors
/// A sentence that says what is wrong.
pub fn check_topic_name(name: &str) -> Result<(), String> {
    if name.is_empty() || name.len() > 249 {
        return Err(format!("Topic name has {} characters; Kafka allows 1 to 249.", name.len()));
    }
    if name == "." || name == ".." {
        return Err(format!("`{name}` is not a legal topic name in Kafka."));
    }
    match name.chars().find(|c| !(c.is_ascii_alphanumeric() || matches!(c, '.' | '_' | '-'))) {
        Some(c) => Err(format!(
            "Topic name `{name}` contains `{c}`; Kafka allows letters, digits, `.`, `_` and `-`."
        )),
        None => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::check_topic_name;

    #[test]
    fn topic_names_follow_kafkas_rule() {
        assert!(check_topic_name("orders.v1_a-b").is_ok());
        for bad in ["", ".", "..", "a b", "ä", "a/b"] {
            assert!(check_topic_name(bad).is_err(), "{bad}");
        }
        assert!(check_topic_name(&"a".repeat(250)).is_err());
    }
}
