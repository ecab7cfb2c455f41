//! Waiting for something to become true: on one object through a watch, on anything else by asking again. Every wait has a
//! deadline and a sentence that says what was waited for and what was there instead.

use std::{
    fmt::Debug,
    time::{Duration, Instant},
};

use anyhow::{Context, anyhow, bail};
use futures::{StreamExt, pin_mut};
use kube::{Api, Resource, ResourceExt, runtime::WatchStreamExt, runtime::watcher};
use serde::{Serialize, de::DeserializeOwned};
use tokio::time;

/// Waits until `holds` is true of the object `name`, as a watch reports it, and returns the object.
///
/// # Errors
/// The deadline passed; the message holds the object's conditions, or says that it does not exist.
pub async fn until<K>(
    api: &Api<K>,
    name: &str,
    what: &str,
    within: Duration,
    holds: impl Fn(&K) -> bool,
) -> anyhow::Result<K>
where
    K: Resource + Clone + Debug + Serialize + DeserializeOwned + Send + 'static,
{
    let mut last = None;
    let watch = async {
        let changes = watcher::watch_object(api.clone(), name).default_backoff();
        pin_mut!(changes);
        while let Some(change) = changes.next().await {
            // A watch that broke is taken up again: tests restart the API server.
            let Ok(state) = change else { continue };
            if let Some(object) = state.as_ref().filter(|object| holds(object)) {
                return Ok(object.clone());
            }
            last = state;
        }
        bail!("the watch of {name} ended")
    };
    match time::timeout(within, watch).await {
        Ok(found) => found,
        Err(_) => Err(anyhow!("waited {within:?} for {what} of {name} in vain; {}", describe(last.as_ref()))),
    }
}

/// Waits until the object `name` does not exist any more.
///
/// # Errors
/// The deadline passed.
pub async fn until_gone<K>(api: &Api<K>, name: &str, within: Duration) -> anyhow::Result<()>
where
    K: Resource + Clone + Debug + Serialize + DeserializeOwned + Send + 'static,
{
    eventually(&format!("the end of {name}"), within, Duration::from_millis(200), async || {
        match api.get_opt(name).await {
            Ok(None) => Ok(()),
            Ok(Some(object)) => Err(anyhow!(
                "it is there, with deletionTimestamp {:?} and finalizers {:?}",
                object.meta().deletion_timestamp,
                object.finalizers()
            )),
            Err(error) => Err(error.into()),
        }
    })
    .await
}

/// Waits until the condition `type_` of the object `name` has `status` (`"True"`, `"False"` or `"Unknown"`) for the current
/// generation, and returns the object.
///
/// # Errors
/// The deadline passed; the message holds the object's conditions.
pub async fn until_condition<K>(
    api: &Api<K>,
    name: &str,
    type_: &str,
    status: &str,
    within: Duration,
) -> anyhow::Result<K>
where
    K: Resource + Clone + Debug + Serialize + DeserializeOwned + Send + 'static,
{
    let what = format!("{type_}={status}");
    until(api, name, &what, within, |object| {
        let current = object.meta().generation;
        condition(object, type_)
            .is_some_and(|found| found["status"] == status && found["observedGeneration"].as_i64() == current)
    })
    .await
}

/// The condition `type_` of any object, as JSON.
#[must_use]
pub fn condition<K: Serialize>(object: &K, type_: &str) -> Option<serde_json::Value> {
    let json = serde_json::to_value(object).ok()?;
    let conditions = json.pointer("/status/conditions")?.as_array()?;
    conditions.iter().find(|condition| condition["type"] == type_).cloned()
}

/// Asks again, `every` so often, until `attempt` succeeds, and returns what it found.
///
/// # Errors
/// The deadline passed; the message holds the last error of `attempt`.
pub async fn eventually<T>(
    what: &str,
    within: Duration,
    every: Duration,
    mut attempt: impl AsyncFnMut() -> anyhow::Result<T>,
) -> anyhow::Result<T> {
    let deadline = Instant::now() + within;
    loop {
        match attempt().await {
            Ok(found) => return Ok(found),
            Err(error) if Instant::now() >= deadline => {
                return Err(error).with_context(|| format!("waited {within:?} for {what} in vain"));
            }
            Err(_) => time::sleep(every).await,
        }
    }
}

fn describe<K: Resource + Serialize>(object: Option<&K>) -> String {
    let Some(object) = object else { return "it does not exist".to_owned() };
    let json = serde_json::to_value(object).unwrap_or_default();
    let status = json.get("status").map_or_else(|| "no status".to_owned(), |status| format!("{status:#}"));
    format!("generation {:?}, status: {status}", object.meta().generation)
}
