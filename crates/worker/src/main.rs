//! `weir-worker`: the data plane. This file only wires; it decides nothing.

mod cli;
mod client;
mod config;
mod consume;
mod fault;
mod observability;
mod produce;
mod server;
mod shutdown;
mod termination;

use std::process::ExitCode;

use clap::Parser;
use weir_model::worker_config::Task;

use crate::{
    cli::{Cli, Role},
    config::Loaded,
};

fn main() -> ExitCode {
    let cli = Cli::parse();
    let options = cli.role.options();
    let loaded = match Loaded::read(&options.config, &options.credentials) {
        Ok(loaded) => loaded,
        Err(error) => return refuse(&cli, &config::explain(&error)),
    };
    observability::init(&loaded.config.namespace, &loaded.config.name);
    let runtime = match tokio::runtime::Builder::new_multi_thread().enable_all().build() {
        Ok(runtime) => runtime,
        Err(error) => return refuse(&cli, &format!("The worker's threads cannot be started: {error}.")),
    };
    let ended = match (&cli.role, &loaded.config.task) {
        (Role::Produce(_), Task::Produce(task)) => produce::run(&runtime, &loaded, task, options),
        (Role::Consume(_), Task::Consume(task)) => consume::run(&runtime, &loaded, task, options),
        (Role::Produce(_), Task::Consume(_)) => {
            return refuse(&cli, "The configuration describes a consumer; start `weir-worker consume`.");
        }
        (Role::Consume(_), Task::Produce(_)) => {
            return refuse(&cli, "The configuration describes a producer; start `weir-worker produce`.");
        }
    };
    runtime.shutdown_background();
    // Not a return: a handler that hangs, or a client that waits for brokers, must not keep the process.
    match ended {
        Ok(code) => std::process::exit(code),
        Err(error) => refuse(&cli, &error.to_string()),
    }
}

/// Tells why the worker cannot even start: on standard error and in the termination message. Exit code 2.
fn refuse(cli: &Cli, sentence: &str) -> ExitCode {
    cli::complain(sentence);
    termination::write_refusal(&cli.role, sentence);
    ExitCode::from(2)
}
