//! Why pods do not run, in words. Pure.

use std::sync::Arc;

use k8s_openapi::api::core::v1::{ContainerState, ContainerStateTerminated, ContainerStatus, Pod};
use kube::ResourceExt;

use crate::controllers::verdict::sentence;

/// Something that keeps a pod from working.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Trouble {
    /// One word, from a bounded list.
    pub(crate) reason: &'static str,
    /// A full sentence that names the pod.
    pub(crate) message: String,
}

/// The first trouble among the pods, the gravest kind first.
pub(crate) fn trouble(pods: &[Arc<Pod>]) -> Option<Trouble> {
    let alive = pods.iter().filter(|pod| pod.metadata.deletion_timestamp.is_none());
    let mut found: Vec<Trouble> = alive.filter_map(|pod| of_pod(pod)).collect();
    found.sort_by_key(|t| (rank(t.reason), t.message.clone()));
    found.into_iter().next()
}

fn rank(reason: &str) -> usize {
    let order = ["ImageUnavailable", "ContainerConfigInvalid", "Crashing", "Unschedulable"];
    order.iter().position(|r| *r == reason).unwrap_or(order.len())
}

fn of_pod(pod: &Pod) -> Option<Trouble> {
    let status = pod.status.as_ref()?;
    let containers = status.init_container_statuses.iter().chain(&status.container_statuses).flatten();
    let in_container = containers.filter_map(|c| of_container(pod, c)).next();
    in_container.or_else(|| unschedulable(pod))
}

fn of_container(pod: &Pod, container: &ContainerStatus) -> Option<Trouble> {
    let (name, container_name) = (pod.name_any(), &container.name);
    let state = container.state.as_ref()?;
    let waiting = state.waiting.as_ref();
    let detail = sentence(cause(waiting.and_then(|w| w.message.as_deref()).unwrap_or_default()));
    match waiting.and_then(|w| w.reason.as_deref()) {
        Some("ErrImagePull" | "ImagePullBackOff" | "InvalidImageName" | "ErrImageNeverPull") => {
            Some(Trouble {
                reason: "ImageUnavailable",
                message: format!(
                    "The image {} of container {container_name} in pod {name} cannot be had: {detail} Check the image's name, \
                 its registry and the pull secrets.",
                    container.image
                ),
            })
        }
        Some("CreateContainerConfigError" | "CreateContainerError" | "RunContainerError") => Some(Trouble {
            reason: "ContainerConfigInvalid",
            message: format!("Container {container_name} in pod {name} cannot be started: {detail}"),
        }),
        _ if crashing(container) => Some(Trouble {
            reason: "Crashing",
            message: format!(
                "Container {container_name} in pod {name} ended {} times{}; see kubectl logs {name} -c {container_name} \
                 --previous.",
                container.restart_count.max(1),
                ending(container)
            ),
        }),
        _ => None,
    }
}

/// Whether a container ends again and again: also while it waits for its next try, or has just begun it.
fn crashing(container: &ContainerStatus) -> bool {
    !container.ready && last_end(container).is_some_and(|ended| ended.exit_code != 0)
}

/// How a container ended last, be it just now or before its present run.
fn last_end(container: &ContainerStatus) -> Option<&ContainerStateTerminated> {
    let ended =
        |state: &'_ Option<ContainerState>| state.as_ref().and_then(|s| s.terminated.as_ref()).is_some();
    let state = if ended(&container.state) { &container.state } else { &container.last_state };
    state.as_ref().and_then(|s| s.terminated.as_ref())
}

/// The cause in the kubelet's words, which wraps it anew at every pause.
fn cause(message: &str) -> &str {
    message.rsplit("ErrImagePull: ").next().unwrap_or(message)
}

/// How a container ended last, in words.
fn ending(container: &ContainerStatus) -> String {
    last_end(container).map_or_else(String::new, |ended| {
        let said = ended.message.as_deref().map(str::trim).filter(|m| !m.is_empty());
        let said = said.map_or_else(String::new, |m| {
            let tail: Vec<char> = m.chars().rev().take(200).collect();
            format!(", saying: {}", tail.into_iter().rev().collect::<String>())
        });
        format!(", the last time with exit code {}{said}", ended.exit_code)
    })
}

fn unschedulable(pod: &Pod) -> Option<Trouble> {
    let conditions = pod.status.as_ref()?.conditions.as_ref()?;
    let scheduled = conditions.iter().find(|c| c.type_ == "PodScheduled" && c.status == "False")?;
    (scheduled.reason.as_deref() == Some("Unschedulable")).then(|| Trouble {
        reason: "Unschedulable",
        message: format!(
            "Pod {} finds no node: {}",
            pod.name_any(),
            scheduled.message.clone().unwrap_or_default()
        ),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pod(waiting: &str) -> Arc<Pod> {
        let pod = serde_json::json!({
            "metadata": {"name": "billing-1"},
            "status": {"containerStatuses": [{
                "name": "worker", "image": "nowhere/x:1", "imageID": "", "ready": false, "restartCount": 4,
                "state": {"waiting": {"reason": waiting, "message": "not found"}},
                "lastState": {"terminated": {"exitCode": 3, "message": "no configuration"}}
            }]}
        });
        Arc::new(serde_json::from_value(pod).expect("a valid pod"))
    }

    #[test]
    fn an_image_that_cannot_be_had_is_named() {
        let found = trouble(&[pod("ImagePullBackOff")]).expect("trouble");
        assert_eq!(found.reason, "ImageUnavailable");
        assert!(found.message.contains("nowhere/x:1"), "{}", found.message);
    }

    #[test]
    fn a_crash_tells_how_often_and_with_what_code() {
        let found = trouble(&[pod("CrashLoopBackOff")]).expect("trouble");
        assert_eq!(found.reason, "Crashing");
        assert!(
            found.message.contains("4 times") && found.message.contains("exit code 3"),
            "{}",
            found.message
        );
    }

    #[test]
    fn starting_is_no_trouble() {
        let mut fresh = pod("ContainerCreating").as_ref().clone();
        let status = fresh.status.as_mut().and_then(|s| s.container_statuses.as_mut()).expect("set above");
        status[0].last_state = None;
        assert_eq!(trouble(&[Arc::new(fresh)]), None);
    }

    #[test]
    fn the_kubelets_wrapping_does_not_change_the_cause() {
        let plain = "failed to pull and unpack image";
        assert_eq!(cause(plain), cause(&format!("Back-off pulling image \"x\": ErrImagePull: {plain}")));
    }
}
