//! The whole product on a real cluster. One lab serves all cases, one at a time; those that only wait let another go on, so two threads run
//! them. `make e2e` takes the lab down afterwards.

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
mod reconnect;
mod rollout;
mod seed_page;

use std::time::Duration;

use catalyst_e2e::stage::Stage;
use catalyst_lab::Progress;
use tokio::sync::{Mutex, MutexGuard, OnceCell};

/// The lab of the tests, with the operator in it, for one case alone until this is dropped.
struct Turn {
    stage: &'static Stage,
    guard: Option<MutexGuard<'static, ()>>,
}

static TURN: Mutex<()> = Mutex::const_new(());

/// Awaits its turn. The lab is `e2e`, or the one that `CATALYST_E2E_LAB` names, for two runs at once.
async fn turn() -> Turn {
    static STAGE: OnceCell<Stage> = OnceCell::const_new();
    let guard = Some(TURN.lock().await);
    let up = async || {
        let name = std::env::var("CATALYST_E2E_LAB").unwrap_or_else(|_| "e2e".to_owned());
        Stage::up(&name, &Progress::stderr()).await.expect("the stage")
    };
    Turn { stage: STAGE.get_or_init(up).await, guard }
}

impl Turn {
    /// Lets others have their turns for so long, and then awaits its own: for a case whose objects nobody else touches.
    async fn let_others(&mut self, span: Duration) {
        self.guard = None;
        tokio::time::sleep(span).await;
        self.guard = Some(TURN.lock().await);
    }
}
