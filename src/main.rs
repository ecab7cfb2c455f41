//! `weir`: the operator and its offline tools. Parses, dispatches, and turns the result into an exit code.

mod catalog;
mod cli;
mod context;
mod controllers;
mod handles;
mod kubernetes;
mod leadership;
mod observability;
mod operator;
mod reference;
mod scaling;
mod shutdown;
mod workers;

use std::{path::Path, process::ExitCode};

use anyhow::Context as _;
use clap::Parser;
use cli::{Arguments, Command};

#[tokio::main(worker_threads = 2)]
async fn main() -> ExitCode {
    let result = match Arguments::parse().command {
        Command::Operator(arguments) => operator::run(arguments).await,
        Command::Crds { output } => write_definitions(&output),
        Command::Reference { output } => reference::write(&output),
    };
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("weir: {error:#}");
            ExitCode::FAILURE
        }
    }
}

fn write_definitions(folder: &Path) -> anyhow::Result<()> {
    std::fs::create_dir_all(folder).with_context(|| format!("failed to create {}", folder.display()))?;
    for manifest in weir_api::manifest::manifests()? {
        let path = folder.join(&manifest.file);
        std::fs::write(&path, &manifest.yaml)
            .with_context(|| format!("failed to write {}", path.display()))?;
    }
    Ok(())
}
