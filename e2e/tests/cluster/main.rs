//! The whole product on a real cluster. One lab serves all cases, two at a time; those that strike what others stand on have it alone, and those that
//! only wait let another go on, so three threads run them. `make e2e` takes the lab down afterwards.

#![allow(
    clippy::indexing_slicing,
    clippy::expect_used,
    reason = "helpers of tests are tests, though clippy only knows functions marked so"
)]

mod adopt;
mod away;
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
use tokio::sync::{OnceCell, Semaphore, SemaphorePermit};

/// How many cases the machine bears at once, each with a browser and pods that start.
const ROOM: u32 = 2;

/// The lab of the tests, with the operator in it, until this is dropped.
struct Turn {
    stage: &'static Stage,
    places: u32,
    room: Option<SemaphorePermit<'static>>,
}

/// Awaits its turn beside others, whose VM and operator it has to leave as they are.
async fn turn() -> Turn {
    Turn::take(1).await
}

/// Awaits that no other case has its turn: for what breaks the VM of all, or would be slowed by others.
async fn alone() -> Turn {
    Turn::take(ROOM).await
}

impl Turn {
    /// The lab is `e2e`, or the one that `CATALYST_E2E_LAB` names, for two runs at once.
    async fn take(places: u32) -> Turn {
        // Also that it did not come up, so that the cases after the first do not each wait for it again.
        static STAGE: OnceCell<Result<Stage, String>> = OnceCell::const_new();
        let room = Some(Self::room(places).await);
        let up = async || {
            let name = std::env::var("CATALYST_E2E_LAB").unwrap_or_else(|_| "e2e".to_owned());
            Stage::up(&name, &Progress::stderr()).await.map_err(|error| format!("{error:#}"))
        };
        Turn { stage: STAGE.get_or_init(up).await.as_ref().expect("the stage"), places, room }
    }

    /// First come, first served, so who wants all of it is not kept waiting by those who want little.
    async fn room(places: u32) -> SemaphorePermit<'static> {
        static ALL: Semaphore = Semaphore::const_new(ROOM as usize);
        ALL.acquire_many(places).await.expect("it is never closed")
    }

    /// Lets others have their turns for so long, and then awaits its own: for a case whose objects nobody else touches.
    async fn let_others(&mut self, span: Duration) {
        self.room = None;
        tokio::time::sleep(span).await;
        self.room = Some(Self::room(self.places).await);
    }
}
