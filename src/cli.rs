//! The command line of `weir`: raw arguments in, settings out. Nothing is done here.

use std::{net::SocketAddr, path::PathBuf, time::Duration};

use clap::{Parser, Subcommand};
use weir_model::parse_duration;

/// Weir: a Kubernetes operator for the producer and consumer side of Apache Kafka.
#[derive(Debug, Parser)]
#[command(version, about, arg_required_else_help = true)]
pub(crate) struct Arguments {
    #[command(subcommand)]
    pub(crate) command: Command,
}

/// What to do.
#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Run the operator until SIGTERM. Inside a cluster it finds the API server by itself; outside it uses KUBECONFIG.
    #[command(
        after_help = "Example (outside of a cluster):\n  KUBECONFIG=~/.kube/config weir operator --namespace default --identity me \\\n    --worker-image localhost/weir:dev"
    )]
    Operator(OperatorArguments),
    /// Write the custom resource definitions as YAML files.
    #[command(after_help = "Example:\n  weir crds --output crds && kubectl apply --server-side -f crds")]
    Crds {
        /// Folder to write to; it is created if it does not exist.
        #[arg(long, value_name = "FOLDER")]
        output: PathBuf,
    },
    /// Write the reference of the kinds and of this command line as Markdown files.
    #[command(after_help = "Example:\n  weir reference --output docs/reference")]
    Reference {
        /// Folder to write to; it is created if it does not exist.
        #[arg(long, value_name = "FOLDER")]
        output: PathBuf,
    },
}

/// Settings of the operator.
#[derive(Debug, Clone, clap::Args)]
pub(crate) struct OperatorArguments {
    /// Address of /livez, /readyz and /metrics.
    #[arg(long, env = "WEIR_LISTEN", default_value = "0.0.0.0:8080")]
    pub(crate) listen: SocketAddr,
    /// Watch this namespace only. Empty: all namespaces.
    #[arg(long, env = "WEIR_WATCH_NAMESPACE", default_value = "")]
    pub(crate) watch_namespace: String,
    /// Let Connections do without TLS (tls.mode Disabled).
    #[arg(
        long,
        env = "WEIR_ALLOW_PLAINTEXT",
        default_value_t = false,
        num_args = 0..=1,
        default_missing_value = "true",
        action = clap::ArgAction::Set
    )]
    pub(crate) allow_plaintext: bool,
    /// Image that holds weir-worker.
    #[arg(long, env = "WEIR_WORKER_IMAGE")]
    pub(crate) worker_image: String,
    /// Pull policy of that image: Always, IfNotPresent or Never.
    #[arg(long, env = "WEIR_WORKER_IMAGE_PULL_POLICY", default_value = "IfNotPresent")]
    pub(crate) worker_image_pull_policy: String,
    /// Time between two looks at a topic that nobody touched, such as 10m.
    #[arg(long, env = "WEIR_RESYNC", default_value = "10m", value_parser = duration)]
    pub(crate) resync: Duration,
    /// Name of the lease that operators compete for.
    #[arg(long, env = "WEIR_LEASE_NAME", default_value = "weir")]
    pub(crate) lease_name: String,
    /// Namespace of the lease: the operator's own.
    #[arg(long, env = "POD_NAMESPACE", default_value = "default")]
    pub(crate) namespace: String,
    /// Who this operator is: the pod's name.
    #[arg(long, env = "POD_NAME", default_value = "weir")]
    pub(crate) identity: String,
    /// What is logged, such as info or weir=debug,info.
    #[arg(long, env = "WEIR_LOG", default_value = "info")]
    pub(crate) log: String,
}

fn duration(text: &str) -> Result<Duration, String> {
    parse_duration(text).map_err(|error| error.to_string())
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory;

    use super::Arguments;

    #[test]
    fn the_command_line_is_consistent() {
        Arguments::command().debug_assert();
    }
}
