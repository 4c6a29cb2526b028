//! The whole product on a real cluster. One lab serves all cases: run them with `--test-threads=1`, or `make e2e`, which takes the lab down afterwards.

#![allow(
    clippy::indexing_slicing,
    clippy::expect_used,
    reason = "helpers of tests are tests, though clippy only knows functions marked so"
)]

mod adopt;
mod bad_input;
mod conversation;
mod faults;
mod network_policy;
mod ownership;
mod seed_page;

use catalyst_e2e::stage::Stage;
use catalyst_lab::Progress;
use tokio::sync::OnceCell;

/// The lab of the tests, with the operator in it.
async fn stage() -> &'static Stage {
    static STAGE: OnceCell<Stage> = OnceCell::const_new();
    STAGE.get_or_init(|| async { Stage::up("e2e", &Progress::stderr()).await.expect("the stage") }).await
}
