//! The whole product on a real cluster. One lab serves all cases: run them with `--test-threads=1`, or `make e2e`, which takes the lab down afterwards.

#![allow(
    clippy::indexing_slicing,
    clippy::expect_used,
    reason = "helpers of tests are tests, though clippy only knows functions marked so"
)]

mod adopt;
mod bad_input;
mod conversation;
mod demo;
mod faults;
mod network_policy;
mod ownership;
mod rollout;
mod seed_page;

use catalyst_e2e::stage::Stage;
use catalyst_lab::Progress;
use tokio::sync::OnceCell;

/// The lab of the tests, with the operator in it: `e2e`, or the one that `CATALYST_E2E_LAB` names, for two runs at once.
async fn stage() -> &'static Stage {
    static STAGE: OnceCell<Stage> = OnceCell::const_new();
    let up = async || {
        let name = std::env::var("CATALYST_E2E_LAB").unwrap_or_else(|_| "e2e".to_owned());
        Stage::up(&name, &Progress::stderr()).await.expect("the stage")
    };
    STAGE.get_or_init(up).await
}
