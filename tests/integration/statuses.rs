//! Records every status of the four kinds that appears in the tests' namespaces while tests run, and at the end has kstatus
//! read each, and the status contract check it.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::{Arc, Mutex, MutexGuard},
};

use futures::{StreamExt, pin_mut};
use kube::{
    Api, Client,
    core::{ApiResource, DynamicObject, GroupVersionKind},
    runtime::{WatchStreamExt, watcher},
};
use libtest_mimic::{Failed, Trial};
use serde_json::Value;
use weir_model::names::{GROUP, VERSION};
use weir_test_support::kstatus::{self, KStatus};

/// The kinds, with their plurals.
pub(crate) const KINDS: [(&str, &str); 4] = [
    ("Connection", "connections"),
    ("Topic", "topics"),
    ("ProducerJob", "producerjobs"),
    ("ConsumerGroup", "consumergroups"),
];

/// Everything that was seen. Cheap to clone.
#[derive(Clone, Default)]
pub(crate) struct Statuses {
    /// The watches add, the last test reads; nobody waits while holding it.
    seen: Arc<Mutex<Seen>>,
}

#[derive(Default)]
struct Seen {
    count: usize,
    by_result: BTreeMap<(String, KStatus), usize>,
    /// Reasons of `Ready`, by kind.
    reasons: BTreeSet<String>,
    violations: Vec<String>,
}

impl Statuses {
    /// Begins to record, on the runtime that runs now.
    pub(crate) fn record(&self, client: &Client) {
        for (kind, plural) in KINDS {
            let resource =
                ApiResource::from_gvk_with_plural(&GroupVersionKind::gvk(GROUP, VERSION, kind), plural);
            let api: Api<DynamicObject> = Api::all_with(client.clone(), &resource);
            let statuses = self.clone();
            tokio::spawn(async move {
                let objects = watcher(api, watcher::Config::default()).default_backoff().applied_objects();
                pin_mut!(objects);
                while let Some(object) = objects.next().await {
                    // A watch that broke is taken up again: tests restart the API server.
                    let Ok(object) = object else { continue };
                    let json = serde_json::to_value(&object).expect("an object is JSON");
                    statuses.lock().take(kind, &json);
                }
            });
        }
    }

    /// The test that reads them all. It runs last.
    pub(crate) fn trial(self) -> Trial {
        Trial::test("finally::every_status_ever_written_keeps_the_contract", move || self.lock().judge())
    }

    fn lock(&self) -> MutexGuard<'_, Seen> {
        self.seen.lock().expect("no holder can panic")
    }
}

impl Seen {
    fn take(&mut self, kind: &str, object: &Value) {
        let namespace = object.pointer("/metadata/namespace").and_then(Value::as_str).unwrap_or_default();
        if !namespace.starts_with("it-") {
            return;
        }
        self.count += 1;
        *self.by_result.entry((kind.to_owned(), kstatus::compute(object))).or_default() += 1;
        for condition in kstatus::conditions(object).iter().filter(|c| c["type"] == "Ready") {
            self.reasons.insert(format!("{kind}/{}", condition["reason"].as_str().unwrap_or("?")));
        }
        for violation in violations(object) {
            let name = object.pointer("/metadata/name").and_then(Value::as_str).unwrap_or_default();
            self.violations.push(format!("{kind} {namespace}/{name}: {violation}\n{}", object["status"]));
        }
    }

    fn judge(&self) -> Result<(), Failed> {
        println!("kstatus read {} statuses: {:?}", self.count, self.by_result);
        println!("reasons of Ready: {:?}", self.reasons);
        if self.violations.is_empty() {
            return Ok(());
        }
        let first: Vec<_> = self.violations.iter().take(10).map(String::as_str).collect();
        Err(format!(
            "{} of {} statuses break the contract; the first:\n{}",
            self.violations.len(),
            self.count,
            first.join("\n")
        )
        .into())
    }
}

/// What the contract forbids, as sentences.
fn violations(object: &Value) -> Vec<String> {
    let conditions = kstatus::conditions(object);
    let generation = object.pointer("/metadata/generation").and_then(Value::as_i64).unwrap_or_default();
    let observed = object.pointer("/status/observedGeneration").and_then(Value::as_i64);
    let status_of =
        |type_: &str| conditions.iter().find(|c| c["type"] == type_).and_then(|c| c["status"].as_str());
    let mut found = Vec::new();
    match observed {
        None => found.push("observedGeneration is missing".to_owned()),
        Some(observed) if observed > generation => {
            found.push(format!("observedGeneration {observed} is beyond generation {generation}"));
        }
        // Nobody looked yet; an intent to create may be recorded before.
        Some(-1) if conditions.is_empty() => return found,
        Some(_) => {}
    }
    if status_of("Ready").is_none() {
        found.push("there is no condition Ready".to_owned());
    }
    if status_of("Reconciling").is_some() && status_of("Stalled").is_some() {
        found.push("Reconciling and Stalled stand together".to_owned());
    }
    for type_ in ["Reconciling", "Stalled", "Paused"] {
        if status_of(type_).is_some_and(|status| status != "True") {
            found.push(format!("{type_} is there without being true"));
        }
    }
    let types: BTreeSet<_> = conditions.iter().map(|c| c["type"].to_string()).collect();
    if types.len() != conditions.len() {
        found.push("a condition is there twice".to_owned());
    }
    found.extend(conditions.iter().flat_map(incomplete));
    found.extend(misread(object, status_of("Ready"), status_of("Stalled")));
    found
}

/// What a condition lacks.
fn incomplete(condition: &Value) -> Vec<String> {
    let text = |field: &str| condition[field].as_str().unwrap_or_default();
    let mut found = Vec::new();
    if text("reason").is_empty() || text("lastTransitionTime").is_empty() {
        found.push(format!("{} has no reason or no time", text("type")));
    }
    // A message is cut at 1024 characters; everything shorter is full sentences.
    if !text("message").ends_with('.') && text("message").chars().count() < 1024 {
        found.push(format!("the message of {} is no sentence: {:?}", text("type"), text("message")));
    }
    if text("message").contains("..") {
        found.push(format!("the message of {} ends twice: {:?}", text("type"), text("message")));
    }
    found
}

/// Where kstatus would tell something else than `Ready` does.
fn misread(object: &Value, ready: Option<&str>, stalled: Option<&str>) -> Option<String> {
    let result = kstatus::compute(object);
    let right = match result {
        KStatus::Current => ready == Some("True"),
        KStatus::Failed => ready == Some("False") && stalled == Some("True"),
        KStatus::InProgress | KStatus::Terminating => true,
    };
    (!right).then(|| format!("kstatus says {result:?} while Ready is {ready:?}"))
}
