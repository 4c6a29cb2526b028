//! Who did what: one line an act, with the log's target `audit`, so that it can be told from the rest and kept for longer.
//! What people write, and what Claude answers, is never in it.

use std::net::IpAddr;

use crate::auth::cookie::Session;

/// Longest part of what a client sent that is logged.
const LONGEST: usize = 100;

/// Somebody did something with an idea, named as the client named it, or with what lies in the trash.
pub fn act(who: &Session, act: &'static str, on: &str) {
    let on = shown(on);
    tracing::info!(target: "audit", act, session = who.id, user = who.user.as_deref(), on, "{act}");
}

/// Somebody answered a request for permission: which one, how (without what was written), and whether that counts (`taken`),
/// came too late (`late`) or did not get there (`failed`).
pub fn answer(who: &Session, on: &str, request: &str, decision: &'static str, outcome: &'static str) {
    let (on, request) = (shown(on), shown(request));
    tracing::info!(
        target: "audit",
        act = "answer",
        session = who.id,
        user = who.user.as_deref(),
        on,
        request,
        decision,
        outcome,
        "answer {outcome}"
    );
}

fn shown(sent: &str) -> String {
    sent.chars().filter(|c| !c.is_control()).take(LONGEST).collect()
}

/// Somebody signed in with the secret, or failed to.
pub fn sign_in(outcome: &'static str, address: IpAddr, session: Option<&Session>) {
    let session = session.map(|session| session.id.as_str());
    tracing::info!(target: "audit", act = "sign-in", outcome, address = %address, session, "sign-in {outcome}");
}
