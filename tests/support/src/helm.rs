//! Installs and removes the operator with real Helm, from the chart in this checkout.

use anyhow::{Context, ensure};

use crate::{program, rig::Rig};

/// Namespace that the operator is installed in.
pub const NAMESPACE: &str = "weir-system";
/// Name of the Helm release; the Deployment, the service account and the Lease are called the same.
pub const RELEASE: &str = "weir";

/// The image of the operator and its workers: `WEIR_IMAGE`, which `make` sets to the one that it just built and loaded.
#[must_use]
pub fn image() -> String {
    std::env::var("WEIR_IMAGE").unwrap_or_else(|_| "localhost/weir:dev".to_owned())
}

/// `helm upgrade --install --wait` with further values (`name=value`); values that were set before are forgotten.
///
/// # Errors
/// Helm failed, or the operator is not ready within two minutes.
pub async fn install(rig: &Rig, values: &[&str]) -> anyhow::Result<()> {
    let image = image();
    let (name, tag) = image.rsplit_once(':').context("WEIR_IMAGE must be NAME:TAG")?;
    let (registry, repository) = name.rsplit_once('/').unwrap_or(("", name));
    let mut command = rig.command("helm");
    command.args(["upgrade", "--install", RELEASE, "charts/weir", "--namespace", NAMESPACE]);
    command.args(["--create-namespace", "--wait", "--timeout", "2m", "--reset-values"]);
    // As text: a tag of digits alone is no number.
    for value in [
        format!("image.registry={registry}"),
        format!("image.repository={repository}"),
        format!("image.tag={tag}"),
    ] {
        command.args(["--set-string", &value]);
    }
    for value in values {
        command.args(["--set", value]);
    }
    program::run(command).await.map(drop)
}

/// `helm uninstall`, and the operator's namespace with it. The definitions stay, as the chart promises.
///
/// # Errors
/// Helm failed; a release that does not exist is no failure.
pub async fn uninstall(rig: &Rig) -> anyhow::Result<()> {
    let mut command = rig.command("helm");
    command.args(["uninstall", RELEASE, "--namespace", NAMESPACE, "--wait", "--ignore-not-found"]);
    program::run(command).await?;
    rig.kubectl(&["delete", "namespace", NAMESPACE, "--ignore-not-found", "--wait=false"]).await?;
    let definitions = rig.kubectl(&["get", "crd", "-o", "name"]).await?;
    let kept = definitions.lines().filter(|name| name.ends_with(".kafka.weir.dev")).count();
    ensure!(kept == 4, "the chart promises to keep its 4 definitions, but {kept} are left");
    Ok(())
}
