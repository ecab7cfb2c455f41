//! `ConsumerGroup`: a Deployment of consumers, as many as the lag needs, and a status that says why.

mod observe;
mod plan;
mod status;
mod workload;

use std::{sync::Arc, time::Duration};

use k8s_openapi::api::core::v1::ConfigMap;
use kube::{Api, ResourceExt, api::ListParams};
use weir_api::{ConsumerGroup, consumer_group::ConsumerGroupStatus};
use weir_model::names::{KIND_LABEL, NAME_LABEL};

use super::{
    pod::GROUP_KIND,
    verdict::{is_paused, newly_stalled, paused},
};
use crate::{
    catalog::Key,
    context::Context,
    kubernetes::{KubernetesError, events::Notice, now, request, runner::Next},
};

/// Time between two writes of a lag that nobody decided on.
const STATUS_INTERVAL: Duration = Duration::from_secs(60);
/// Longest pause between looks at what is missing.
const LONGEST_RETRY: Duration = Duration::from_secs(20);

/// One visit.
pub(crate) async fn reconcile(
    group: Arc<ConsumerGroup>,
    context: Arc<Context>,
) -> Result<Next, KubernetesError> {
    let key = Key::of(group.as_ref());
    let before = group.status.clone().unwrap_or_default();
    if group.metadata.deletion_timestamp.is_some() {
        context.scaling.forget(&key);
        return Ok(Next::OnChange);
    }
    if is_paused(group.as_ref()) {
        context.scaling.forget(&key);
        let generation = group.metadata.generation.unwrap_or_default();
        let conditions = paused(&before.conditions, generation);
        let next = ConsumerGroupStatus { observed_generation: generation, conditions, ..before };
        context.applier.status(group.as_ref(), group.status.as_ref(), &next).await?;
        return Ok(Next::OnChange);
    }
    let observed = observe::observe(&group, &key, &context).await?;
    let mut plan = plan::plan(&group, &observed, &context.settings);
    match act(&group, &key, &observed, &plan, &context).await {
        Err(error) if error.is_invalid() => plan = plan::Plan::refused(&error),
        done => done?,
    }
    let view = context.scaling.view(&key);
    let next = status::status(&group, &before, &observed, &plan, &view, &now());
    if let Some(stalled) = newly_stalled(&before.conditions, &next.conditions) {
        let notice = Notice::warning("GroupStalled", stalled.message.clone());
        context.events.publish(group.as_ref(), notice).await;
    }
    context.applier.status(group.as_ref(), group.status.as_ref(), &next).await?;
    Ok(match plan {
        plan::Plan::Run(_) => Next::After(STATUS_INTERVAL),
        plan::Plan::Keep(_) => Next::Retry(LONGEST_RETRY),
    })
}

async fn act(
    group: &ConsumerGroup,
    key: &Key,
    observed: &observe::Observed,
    plan: &plan::Plan,
    context: &Arc<Context>,
) -> Result<(), KubernetesError> {
    match plan {
        plan::Plan::Run(run) => {
            if let Some(config_map) = &run.workload.config_map {
                // Immutable and named by content: it needs to be written only with the Deployment that mounts it.
                let mounted = observed.deployment.as_deref().is_some_and(|d| workload::mounts(d, config_map));
                if !mounted {
                    context.applier.child(config_map, None, "apply the worker's ConfigMap").await?;
                }
            }
            let deployment = &run.workload.deployment;
            context.applier.child(deployment, observed.deployment.as_deref(), "apply the Deployment").await?;
            context.scaling.ensure(key, run.scaling.clone(), context.scaling_tools());
            sweep(group, key, observed, run, context).await
        }
        // What runs goes on running: the last good state is kept.
        plan::Plan::Keep(keep) => {
            tracing::debug!(reason = keep.verdict.reason, "the group is left as it is");
            Ok(())
        }
    }
}

/// Deletes ConfigMaps of former configurations once no pod of theirs can be left.
async fn sweep(
    group: &ConsumerGroup,
    key: &Key,
    observed: &observe::Observed,
    run: &plan::Run,
    context: &Context,
) -> Result<(), KubernetesError> {
    let Some(current) = &run.workload.config_map else { return Ok(()) };
    let Some(deployment) = observed.deployment.as_deref().filter(|d| workload::is_rolled_out(d)) else {
        return Ok(());
    };
    let swept =
        group.status.as_ref().is_some_and(|s| Some(s.observed_generation) == group.metadata.generation);
    if swept || !workload::mounts(deployment, current) {
        return Ok(());
    }
    let api: Api<ConfigMap> = Api::namespaced(context.applier.client(), &key.namespace);
    let selector = format!("{KIND_LABEL}={GROUP_KIND},{NAME_LABEL}={}", key.name);
    let list = request("list the ConfigMaps", api.list(&ListParams::default().labels(&selector))).await?;
    for old in list.items.iter().filter(|c| c.name_any() != current.name_any()) {
        context
            .applier
            .delete::<ConfigMap>(&key.namespace, &old.name_any(), "delete a former ConfigMap")
            .await?;
    }
    Ok(())
}
