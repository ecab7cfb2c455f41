//! The rig as the tests see it: where its cluster and its brokers are, and the faults that it can make.
//!
//! Reads the `rig.json` that `tests/rig/rig.sh up` writes, and calls `rig.sh` for everything that changes the rig.

use std::{
    collections::BTreeMap,
    env, fs,
    path::{Path, PathBuf},
};

use anyhow::{Context, anyhow};
use kube::{
    Client, Config,
    config::{KubeConfigOptions, Kubeconfig},
};
use serde::Deserialize;
use tokio::process::Command;

use crate::program;

/// A running rig.
#[derive(Debug, Clone, Deserialize)]
pub struct Rig {
    /// Credentials of the cluster's administrator.
    pub kubeconfig: PathBuf,
    /// Folder with kubectl, helm and Kafka's tools.
    pub bin: PathBuf,
    /// Folder with the rig's logs and data.
    pub state: PathBuf,
    /// The node's address; the brokers' too.
    pub node_address: String,
    /// Every request to the API server, one JSON object per line.
    pub audit_log: PathBuf,
    /// The brokers.
    pub kafka: RigKafka,
}

/// The rig's brokers.
#[derive(Debug, Clone, Deserialize)]
pub struct RigKafka {
    /// `host:port` of the three brokers, separated by commas: no authentication, super user, from this machine only.
    pub plain: String,
    /// The same with SASL_SSL, from this machine and from pods.
    pub sasl_ssl: String,
    /// The same without authentication, from pods too.
    pub plain_pods: String,
    /// Certificate of the authority that signed the brokers' certificates.
    pub ca: PathBuf,
    /// Certificate of an authority that signed nothing.
    pub other_ca: PathBuf,
    /// Id of the Kafka cluster.
    pub cluster_id: String,
    /// Passwords by principal.
    pub principals: BTreeMap<String, String>,
}

/// What can happen to a broker or to the API server.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fault {
    /// Asked to end, and awaited.
    Stop,
    /// Started and awaited.
    Start,
    /// Both.
    Restart,
    /// Ended without a chance to say so.
    Kill,
    /// Frozen: connections stay open and nobody answers.
    Pause,
    /// Thawed.
    Resume,
}

impl Fault {
    fn word(self) -> &'static str {
        match self {
            Self::Stop => "stop",
            Self::Start => "start",
            Self::Restart => "restart",
            Self::Kill => "kill",
            Self::Pause => "pause",
            Self::Resume => "resume",
        }
    }
}

impl Rig {
    /// Finds the rig that runs on this machine, in `WEIR_RIG` or the user's cache folder.
    ///
    /// # Errors
    /// No rig runs.
    pub fn find() -> anyhow::Result<Self> {
        let state = state_folder().context("failed to find the rig: neither WEIR_RIG nor HOME is set")?;
        let file = state.join("rig.json");
        let text = fs::read_to_string(&file).with_context(|| {
            format!("failed to read {}: start the rig with 'make rig-up'", file.display())
        })?;
        serde_json::from_str(&text).with_context(|| format!("failed to understand {}", file.display()))
    }

    /// The checkout that these tests were built from.
    #[must_use]
    pub fn checkout() -> &'static Path {
        // tests/support lies two folders below it.
        Path::new(concat!(env!("CARGO_MANIFEST_DIR"), "/../.."))
    }

    /// A client of the API server with the administrator's rights.
    ///
    /// # Errors
    /// The credentials cannot be read.
    pub async fn client(&self) -> anyhow::Result<Client> {
        let kubeconfig = Kubeconfig::read_from(&self.kubeconfig)?;
        let config = Config::from_custom_kubeconfig(kubeconfig, &KubeConfigOptions::default()).await?;
        Ok(Client::try_from(config)?)
    }

    /// The brokers' certificate authority, in PEM.
    ///
    /// # Errors
    /// The file cannot be read.
    pub fn ca_pem(&self) -> anyhow::Result<String> {
        fs::read_to_string(&self.kafka.ca).context("failed to read the brokers' certificate authority")
    }

    /// An authority in PEM that did not sign the brokers' certificates.
    ///
    /// # Errors
    /// The file cannot be read.
    pub fn other_ca_pem(&self) -> anyhow::Result<String> {
        fs::read_to_string(&self.kafka.other_ca).context("failed to read the other certificate authority")
    }

    /// The password of one of the rig's principals: `admin`, `weir`, `worker`, `app` or `nobody`.
    ///
    /// # Errors
    /// There is no such principal.
    pub fn password(&self, principal: &str) -> anyhow::Result<&str> {
        let found = self.kafka.principals.get(principal);
        found.map(String::as_str).ok_or_else(|| anyhow!("the rig has no principal {principal}"))
    }

    /// `host:port` of the brokers with SASL_SSL.
    pub fn sasl_ssl_servers(&self) -> impl Iterator<Item = &str> {
        self.kafka.sasl_ssl.split(',')
    }

    /// Runs one of Kafka's own tools by its class, such as `org.apache.kafka.tools.TopicCommand`, and returns what it printed.
    /// It speaks to the plain listeners as super user.
    ///
    /// # Errors
    /// The tool failed.
    pub async fn kafka_tool(&self, class: &str, arguments: &[&str]) -> anyhow::Result<String> {
        let server = ["kafka", class, "--bootstrap-server", &self.kafka.plain];
        self.call(&[&server, arguments].concat()).await
    }

    /// What the brokers' `TopicCommand --describe` says about a topic.
    ///
    /// # Errors
    /// The tool failed; for a topic that does not exist it does.
    pub async fn describe_topic(&self, topic: &str) -> anyhow::Result<String> {
        self.kafka_tool("org.apache.kafka.tools.TopicCommand", &["--describe", "--topic", topic]).await
    }

    /// The number of records ever written to a topic whose old records still exist, by Kafka's own `GetOffsetShell`.
    ///
    /// # Errors
    /// The tool failed or printed something else than `topic:partition:offset`.
    pub async fn written_records(&self, topic: &str) -> anyhow::Result<i64> {
        let class = "org.apache.kafka.tools.GetOffsetShell";
        let printed = self.kafka_tool(class, &["--topic", topic, "--time", "-1"]).await?;
        let offsets = printed.lines().filter(|line| line.starts_with(topic)).map(|line| {
            let offset = line.rsplit(':').next().unwrap_or_default();
            offset.parse::<i64>().with_context(|| format!("failed to understand {line:?} of GetOffsetShell"))
        });
        offsets.sum()
    }

    /// Does something to broker `id` (1, 2 or 3).
    ///
    /// # Errors
    /// The rig could not do it.
    pub async fn broker(&self, fault: Fault, id: u8) -> anyhow::Result<()> {
        self.call(&["broker", fault.word(), &id.to_string()]).await.map(drop)
    }

    /// Does something to the API server.
    ///
    /// # Errors
    /// The rig could not do it.
    pub async fn apiserver(&self, fault: Fault) -> anyhow::Result<()> {
        self.call(&["apiserver", fault.word()]).await.map(drop)
    }

    /// Starts whatever of the rig does not run. The way back from an outage of all brokers: one alone does not start, because
    /// it finds no quorum.
    ///
    /// # Errors
    /// The rig could not do it.
    pub async fn repair(&self) -> anyhow::Result<()> {
        self.call(&["up"]).await.map(drop)
    }

    async fn call(&self, arguments: &[&str]) -> anyhow::Result<String> {
        let mut command = Command::new(Self::checkout().join("tests/rig/rig.sh"));
        command.args(arguments).env("WEIR_RIG", &self.state);
        program::run(command).await
    }

    /// A command from the rig's own folder of programs that speaks to the rig's cluster.
    pub(crate) fn command(&self, name: &str) -> Command {
        let mut command = Command::new(self.bin.join(name));
        command.env("KUBECONFIG", &self.kubeconfig).current_dir(Self::checkout());
        command
    }
}

fn state_folder() -> Option<PathBuf> {
    if let Some(folder) = set("WEIR_RIG") {
        return Some(folder);
    }
    let cache = set("WEIR_CACHE")
        .or_else(|| Some(set("XDG_CACHE_HOME")?.join("weir")))
        .or_else(|| Some(set("HOME")?.join(".cache/weir")))?;
    Some(cache.join("rig"))
}

fn set(variable: &str) -> Option<PathBuf> {
    env::var_os(variable).filter(|value| !value.is_empty()).map(PathBuf::from)
}
