//! The tests on the rig: one process, two lanes. `parallel` runs tests side by side, each in a namespace of its own; `disruptive`
//! runs one at a time, because it kills operators, brokers and the API server. In the end, kstatus reads every status that
//! was written meanwhile.
//!
//! The rig must be up and the image of `WEIR_IMAGE` loaded (`make test` does both). The operator is installed with Helm once.
//! Arguments are those of `cargo test`: a filter, `--list`, `--test-threads`.

#![allow(clippy::print_stdout, reason = "what was measured belongs in the output of the tests")]

mod disruptive;
mod lane;
mod objects;
mod parallel;
mod statuses;

use std::process::ExitCode;

use libtest_mimic::{Arguments, Trial};
use tokio::runtime::Runtime;
use weir_test_support::{Rig, helm, operator};

use crate::{lane::trials, statuses::Statuses};

/// Tests of the parallel lane that run side by side: they mostly wait, on two cores.
const SIDE_BY_SIDE: usize = 6;

fn main() -> ExitCode {
    let mut arguments = Arguments::from_args();
    let runtime: &'static Runtime =
        Box::leak(Box::new(Runtime::new().expect("this machine has threads to give")));
    let statuses = Statuses::default();
    let side_by_side = trials(parallel::cases(), runtime);
    let one_by_one = trials(disruptive::cases(), runtime);
    let last = vec![statuses.clone().trial()];
    let wanted = |trials: &[Trial]| trials.iter().any(|trial| !arguments.is_filtered_out(trial));
    let begins = !arguments.list && (wanted(&side_by_side) || wanted(&one_by_one));
    if begins {
        let begun = runtime.block_on(async {
            let rig = Rig::find()?;
            helm::install(&rig, &[]).await?;
            let client = rig.client().await?;
            operator::await_ready(&client, 1, objects::PATIENCE).await?;
            statuses.record(&client);
            anyhow::Ok(())
        });
        if let Err(error) = begun {
            println!("The tests on the rig cannot begin: {error:#}");
            return ExitCode::FAILURE;
        }
    }
    let threads = arguments.test_threads;
    arguments.test_threads = Some(threads.unwrap_or(SIDE_BY_SIDE));
    let mut failed = libtest_mimic::run(&arguments, side_by_side).has_failed();
    arguments.test_threads = Some(1);
    failed |= libtest_mimic::run(&arguments, one_by_one).has_failed();
    if begins {
        // Whatever was asked for: what it wrote is read.
        (arguments.filter, arguments.skip, arguments.exact) = (None, Vec::new(), false);
    }
    failed |= libtest_mimic::run(&arguments, last).has_failed();
    if failed { ExitCode::FAILURE } else { ExitCode::SUCCESS }
}
