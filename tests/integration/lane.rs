//! From async functions to trials: a test is a function that takes a fresh namespace, listed once in its module with `cases!`.
//! A function that is not listed is dead code, which the lints refuse.

use std::time::Duration;

use anyhow::anyhow;
use futures::future::LocalBoxFuture;
use libtest_mimic::{Failed, Trial};
use tokio::runtime::Runtime;
use weir_test_support::{TestNamespace, in_namespace};

/// No test takes this long, unless something hangs.
const LONGEST: Duration = Duration::from_secs(300);

type Body = fn(TestNamespace) -> LocalBoxFuture<'static, anyhow::Result<()>>;

/// One test.
pub(crate) struct Case {
    name: String,
    body: Body,
}

impl Case {
    /// A test of a module, by the names that the compiler knows.
    pub(crate) fn new(module: &str, name: &str, body: Body) -> Self {
        let module = module.split_once("::").map_or(module, |(_, rest)| rest);
        Self { name: format!("{module}::{name}"), body }
    }
}

/// Lists the tests of a module.
macro_rules! cases {
    ($($test:ident),* $(,)?) => {
        pub(crate) fn cases() -> Vec<crate::lane::Case> {
            vec![$(crate::lane::Case::new(
                module_path!(),
                stringify!($test),
                |namespace| Box::pin($test(namespace)),
            )),*]
        }
    };
}
pub(crate) use cases;

/// Trials that run on `runtime`.
pub(crate) fn trials(cases: Vec<Case>, runtime: &'static Runtime) -> Vec<Trial> {
    let trial = |case: Case| Trial::test(case.name, move || runtime.block_on(run(case.body)));
    cases.into_iter().map(trial).collect()
}

async fn run(body: Body) -> Result<(), Failed> {
    let bounded = |namespace| async move {
        tokio::time::timeout(LONGEST, body(namespace))
            .await
            .unwrap_or_else(|_| Err(anyhow!("the test did not end within {LONGEST:?}")))
    };
    in_namespace("it", bounded).await.map_err(|error| Failed::from(format!("{error:?}")))
}
