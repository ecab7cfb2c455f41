//! The command line. Parses and explains; starts nothing. Used by `main` and the rooms for their options.

use std::{net::SocketAddr, path::PathBuf};

use clap::{Args, Parser, Subcommand};
use weir_model::names;

/// The data plane of Weir: produces or consumes records of Apache Kafka as one configuration file says.
///
/// The operator starts it in pods; by hand it is started the same way, with a folder that holds `config.json`
/// and a folder that holds the connection's files (`ca.crt`, `username`, `password`, as far as the configuration
/// promises them).
#[derive(Debug, Parser)]
#[command(name = "weir-worker", version, after_help = AFTER_HELP)]
pub(crate) struct Cli {
    #[command(subcommand)]
    pub(crate) role: Role,
}

const AFTER_HELP: &str = "\
Exit codes:
  0    produce: every record was acknowledged.  consume: stopped as asked, positions committed.
  1    The task failed for good; the last log line and the termination message say why.
  2    The command line, the configuration or the connection's files cannot be used.
  143  produce: stopped by SIGTERM before the end; the termination message holds the counts.

While it runs it answers on --listen:
  /livez    200 while the thread that talks to Kafka turns (503 after 10 s without a turn)
  /readyz   200 while the worker does its task
  /metrics  Prometheus, names begin with weir_worker_
  /status   progress and the last fault as JSON

Logs are JSON lines on standard output; WEIR_LOG sets the level (error, warn, info, debug or trace).";

#[derive(Debug, Subcommand)]
pub(crate) enum Role {
    /// Write an exact number of generated records to a topic, then end.
    Produce(Options),
    /// Consume topics as a member of a group until SIGTERM; every record is processed at least once.
    Consume(Options),
}

impl Role {
    pub(crate) fn options(&self) -> &Options {
        match self {
            Self::Produce(options) | Self::Consume(options) => options,
        }
    }
}

#[derive(Debug, Clone, Args)]
pub(crate) struct Options {
    /// Folder with `config.json`, the document that says what to do.
    #[arg(long, value_name = "FOLDER", default_value = names::WORKER_CONFIG_FOLDER)]
    pub(crate) config: PathBuf,
    /// Folder with the connection's files: `ca.crt`, `username`, `password`.
    #[arg(long, value_name = "FOLDER", default_value = names::WORKER_CREDENTIALS_FOLDER)]
    pub(crate) credentials: PathBuf,
    /// Address of `/livez`, `/readyz`, `/metrics` and `/status`.
    #[arg(long, value_name = "ADDRESS", default_value = "0.0.0.0:8080")]
    pub(crate) listen: SocketAddr,
    /// File that receives the final counts as JSON. The default is written only where Kubernetes provides it.
    #[arg(long, value_name = "PATH", default_value = names::TERMINATION_MESSAGE_PATH)]
    pub(crate) termination_message: PathBuf,
}

/// Writes a sentence to standard error, for the time before logging exists.
#[allow(clippy::print_stderr, reason = "this is the way to speak to a person who types the command")]
pub(crate) fn complain(sentence: &str) {
    eprintln!("weir-worker: {sentence}");
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::CommandFactory;

    #[test]
    fn the_command_line_is_consistent() {
        Cli::command().debug_assert();
        let port = Cli::try_parse_from(["weir-worker", "consume"])
            .map(|cli| cli.role.options().listen.port())
            .expect("every option has a default");
        assert_eq!(port, names::WORKER_PORT);
    }
}
