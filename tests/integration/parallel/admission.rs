//! What the real API server makes of the definitions: rules, defaults, explanations, columns.

use anyhow::{Context, ensure};
use kube::{
    Api,
    api::{DynamicObject, PostParams},
    core::{ApiResource, GroupVersionKind},
};
use serde_json::{Value, json};
use weir_model::names::{GROUP, VERSION};
use weir_test_support::{
    TestNamespace,
    kstatus::{self, KStatus},
};

use crate::{
    lane::cases,
    objects::{group, job, object, topic},
    statuses::KINDS,
};

cases![
    manifests_that_can_mean_nothing_are_refused,
    what_identifies_an_object_cannot_be_changed,
    a_new_object_says_that_nobody_looked_at_it,
    every_kind_is_explained_and_listed_with_its_columns,
];

fn api(ns: &TestNamespace, kind: &str) -> anyhow::Result<Api<DynamicObject>> {
    let (_, plural) = KINDS.iter().find(|(name, _)| *name == kind).context("no such kind")?;
    let resource = ApiResource::from_gvk_with_plural(&GroupVersionKind::gvk(GROUP, VERSION, kind), plural);
    Ok(Api::namespaced_with(ns.client.clone(), &ns.name, &resource))
}

/// Has the API server check a manifest without keeping it.
async fn tried(ns: &TestNamespace, manifest: &Value) -> anyhow::Result<Result<Value, String>> {
    let kind = manifest["kind"].as_str().unwrap_or_default();
    let object: DynamicObject = serde_json::from_value(manifest.clone())?;
    let params = PostParams { dry_run: true, ..PostParams::default() };
    match api(ns, kind)?.create(&params, &object).await {
        Ok(created) => Ok(Ok(serde_json::to_value(created)?)),
        Err(kube::Error::Api(status)) => Ok(Err(status.message)),
        Err(error) => Err(error.into()),
    }
}

fn valid(ns: &TestNamespace) -> [Value; 4] {
    let handler = json!({"handler": {"discard": {}}});
    [
        ns.connection(),
        topic(ns, "orders", &json!({"partitions": 1})),
        job(ns, "fill", "orders", 1, &json!({})),
        group(ns, "billing", "orders", &handler),
    ]
}

/// Sets the member at `pointer` of a manifest; `Null` removes it.
fn changed(manifest: &Value, pointer: &str, value: &Value) -> Value {
    let mut manifest = manifest.clone();
    let (parent, member) = pointer.rsplit_once('/').unwrap_or(("", pointer));
    if let Some(parent) = manifest.pointer_mut(parent).and_then(Value::as_object_mut) {
        if value.is_null() {
            parent.remove(member);
        } else {
            parent.insert(member.to_owned(), value.clone());
        }
    }
    manifest
}

/// Kind by its place in [`valid`], what is changed, and a part of what the API server answers.
fn refusals() -> Vec<(usize, &'static str, Value, &'static str)> {
    let (connection, topic, job, group) = (0, 1, 2, 3);
    let container = |container: Value| json!({"spec": {"containers": [container]}});
    vec![
        (connection, "/spec/bootstrapServers", json!([]), "bootstrapServers"),
        (connection, "/spec/bootstrapServers", json!(["kafka"]), "bootstrapServers"),
        (connection, "/spec/authentication/type", json!("Kerberos"), "Unsupported value"),
        (connection, "/spec/authentication/passwordSecretRef", Value::Null, "passwordSecretRef are required"),
        (connection, "/spec/authentication/usernameSecretRef", Value::Null, "usernameSecretRef and"),
        (connection, "/spec/authentication/type", json!("None"), "allows neither"),
        (
            connection,
            "/spec/tls",
            json!({"mode": "Disabled", "caSecretRef": {"name": "a", "key": "b"}}),
            "no meaning",
        ),
        (connection, "/spec/authentication/passwordSecretRef", json!({"name": "a"}), "Required value"),
        (topic, "/spec/topicName", json!("a b"), "topicName"),
        (topic, "/spec/topicName", json!("x".repeat(250)), "topicName"),
        (topic, "/spec/partitions", json!(0), "partitions"),
        (topic, "/spec/replicationFactor", json!(0), "replicationFactor"),
        (topic, "/spec/connectionRef", Value::Null, "connectionRef"),
        (topic, "/spec/deletionPolicy", json!("Perhaps"), "Unsupported value"),
        (topic, "/spec/config", json!({"retention.ms": 1}), "config"),
        (
            job,
            "/spec/topic",
            json!({"name": "a", "topicRef": {"name": "b"}}),
            "exactly one of topicRef and name",
        ),
        (job, "/spec/topic", json!({}), "exactly one of topicRef and name"),
        (job, "/spec/records", json!(0), "records"),
        (job, "/spec/rate", json!({"recordsPerSecond": "fast"}), "recordsPerSecond"),
        (job, "/spec/rate", json!({"bytesPerSecond": "-1"}), "bytesPerSecond"),
        (job, "/spec/delivery", json!({"acks": "Leader"}), "idempotent delivery needs acks All"),
        (job, "/spec/delivery", json!({"linger": "5 minutes"}), "linger"),
        (job, "/spec/source/generator/keys", json!({"distribution": "Uniform"}), "cardinality is required"),
        (job, "/spec/source/generator/sizeBytes", json!(1), "sizeBytes"),
        (
            job,
            "/spec/template",
            container(json!({"name": "worker", "image": "x"})),
            "neither image, command nor args",
        ),
        (job, "/metadata/name", json!("j".repeat(53)), "52 characters"),
        (group, "/spec/handler", json!({"log": {}, "discard": {}}), "exactly one of http, log and discard"),
        (group, "/spec/handler", json!({}), "exactly one of http, log and discard"),
        (group, "/spec/handler", Value::Null, "say who consumes"),
        (group, "/spec/handler", json!({"http": {"url": "ftp://x/y"}}), "url"),
        (group, "/spec/topics", json!([]), "topics"),
        (
            group,
            "/spec/topics",
            json!([{"name": "a", "topicRef": {"name": "b"}}]),
            "exactly one of topicRef and name",
        ),
        (group, "/spec/startFrom", Value::Null, "startFrom"),
        (group, "/spec/sessionTimeout", json!("soon"), "sessionTimeout"),
        (
            group,
            "/spec/autoscaling",
            json!({"minReplicas": 3, "maxReplicas": 2}),
            "must not exceed maxReplicas",
        ),
        (group, "/spec/autoscaling", json!({"minReplicas": 1}), "maxReplicas"),
        (
            group,
            "/spec/autoscaling",
            json!({"maxReplicas": 2, "capacityPerReplica": {"recordsPerSecond": "x"}}),
            "recordsPerSecond",
        ),
        (
            group,
            "/spec/template",
            container(json!({"name": "worker", "image": "x"})),
            "containers need an image, except",
        ),
        (group, "/spec/template", container(json!({"name": "sidecar"})), "containers need an image, except"),
        (group, "/metadata/name", json!("g".repeat(53)), "52 characters"),
    ]
}

async fn manifests_that_can_mean_nothing_are_refused(ns: TestNamespace) -> anyhow::Result<()> {
    let valid = valid(&ns);
    for manifest in &valid {
        let answer = tried(&ns, manifest).await?;
        ensure!(answer.is_ok(), "a valid manifest is refused: {answer:?}");
    }
    let mut wrong = Vec::new();
    let mut refused = async |manifest: &Value, fragment: &str| {
        match tried(&ns, manifest).await? {
            Ok(_) => wrong.push(format!("accepted, where {fragment:?} was expected: {}", manifest["spec"])),
            Err(message) if !message.contains(fragment) => {
                wrong.push(format!("{fragment:?} is missing in: {message}"));
            }
            Err(_) => {}
        }
        anyhow::Ok(())
    };
    for (kind, pointer, value, fragment) in refusals() {
        refused(&changed(&valid[kind], pointer, &value), fragment).await?;
    }
    let mut plain = ns.connection();
    plain["spec"]["authentication"]["type"] = json!("Plain");
    plain["spec"]["tls"] = json!({"mode": "Disabled"});
    refused(&plain, "needs tls.mode Required").await?;
    for mode in [json!({"maxReplicas": 2}), json!({"maxReplicas": 2, "mode": "Automatic"})] {
        let mut group = changed(&valid[3], "/spec/replicas", &json!(2));
        group["spec"]["autoscaling"] = mode;
        refused(&group, "replicas cannot be set while autoscaling.mode is Automatic").await?;
    }
    let mut own = changed(&valid[3], "/spec/handler", &Value::Null);
    own["spec"]["template"] = json!({"spec": {"containers": [{"name": "app", "image": "x"}]}});
    own["spec"]["delivery"] = json!({"order": "Key"});
    refused(&own, "delivery needs a handler").await?;
    ensure!(wrong.is_empty(), "{} rules do not hold:\n{}", wrong.len(), wrong.join("\n"));
    Ok(())
}

async fn what_identifies_an_object_cannot_be_changed(ns: TestNamespace) -> anyhow::Result<()> {
    let changes = [
        (1, "/spec/topicName", json!("other"), "topicName cannot be changed"),
        (1, "/spec/topicName", Value::Null, "topicName cannot be changed"),
        (1, "/spec/connectionRef", json!({"name": "other"}), "connectionRef cannot be changed"),
        (2, "/spec/records", json!(2), "a ProducerJob cannot be changed"),
        (2, "/spec/rate", json!({"recordsPerSecond": "1"}), "a ProducerJob cannot be changed"),
        (3, "/spec/groupId", json!("other"), "groupId cannot be changed"),
        (3, "/spec/groupId", Value::Null, "groupId cannot be changed"),
        (3, "/spec/connectionRef", json!({"name": "other"}), "connectionRef cannot be changed"),
    ];
    let mut valid = valid(&ns);
    for manifest in &mut valid[1..] {
        // A Connection that does not exist: nothing comes of these objects.
        manifest["spec"]["connectionRef"] = json!({"name": "nowhere"});
        manifest["spec"].as_object_mut().context("a spec is an object")?.remove("deletionPolicy");
        ns.apply(manifest).await?;
    }
    for (kind, pointer, value, fragment) in changes {
        let answer = ns.apply(&changed(&valid[kind], pointer, &value)).await;
        let said = answer.err().map(|error| format!("{error:#}")).unwrap_or_default();
        ensure!(said.contains(fragment), "{pointer} = {value} gives {said:?}");
    }
    Ok(())
}

async fn a_new_object_says_that_nobody_looked_at_it(ns: TestNamespace) -> anyhow::Result<()> {
    for manifest in valid(&ns) {
        let created = tried(&ns, &manifest).await?.map_err(|message| anyhow::anyhow!("{message}"))?;
        ensure!(created["status"]["observedGeneration"] == -1, "{}: {}", manifest["kind"], created["status"]);
        let read = kstatus::compute(&created);
        ensure!(read == KStatus::InProgress, "kstatus reads {read:?}: {created:#}");
    }
    Ok(())
}

async fn every_kind_is_explained_and_listed_with_its_columns(ns: TestNamespace) -> anyhow::Result<()> {
    let explained = [
        ("connection.spec.bootstrapServers", "brokers"),
        ("topics.kafka.weir.dev.spec.partitions", "Kafka cannot remove"),
        ("producerjob.spec.rate", "speed"),
        ("consumergroup.spec.autoscaling.drainTarget", "backlog"),
        ("consumergroup.status.lag", "not processed"),
    ];
    for (field, part) in explained {
        let text = ns.rig.kubectl(&["explain", field]).await?;
        ensure!(text.contains(part), "kubectl explain {field} does not say {part:?}: {text}");
    }
    let columns = [
        ("Connection", "NAME READY AUTH BROKERS CLUSTER REASON AGE"),
        ("Topic", "NAME TOPIC PARTITIONS RF READY CONNECTION REASON AGE"),
        ("ProducerJob", "NAME RECORDS ACKNOWLEDGED RATE READY COMPLETED REASON AGE"),
        ("ConsumerGroup", "NAME GROUP DESIRED CURRENT LAG READY SCALING MIN MAX REASON AGE"),
    ];
    for (kind, expected) in columns {
        let spec = valid(&ns).into_iter().find(|manifest| manifest["kind"] == kind).context("a kind")?;
        let mut manifest = object(&ns, kind, "listed", &spec["spec"]);
        if kind != "Connection" {
            manifest["spec"]["connectionRef"] = json!({"name": "nowhere"});
            manifest["spec"].as_object_mut().context("a spec is an object")?.remove("deletionPolicy");
        }
        ns.apply(&manifest).await?;
        let resource = format!("{}.kafka.weir.dev", kind.to_lowercase());
        let listed = ns.rig.kubectl(&["-n", &ns.name, "get", &resource, "-o", "wide"]).await?;
        let header = listed.lines().next().unwrap_or_default().split_whitespace().collect::<Vec<_>>();
        ensure!(header.join(" ") == expected, "{kind} is listed with {header:?}");
    }
    let all = ns.rig.kubectl(&["-n", &ns.name, "get", "weir", "-o", "name"]).await?;
    ensure!(all.lines().count() == 4, "the category weir lists {all}");
    Ok(())
}
