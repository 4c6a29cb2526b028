//! The lab's stand-in for the Messages API: what the real Claude Code CLI talks to where no service can be reached.
//!
//! It says in its own words that it is a stand-in, streams in pieces like the service, uses the tools that it is offered,
//! and is deterministic: one conversation always gets one answer (but for errors that a script ends after some attempts). What it answers is decided in [`script`].

mod conversation;
mod script;
mod stream;

use std::collections::{HashMap, VecDeque};
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use anyhow::Context;
use axum::body::{Body, Bytes};
use axum::extract::{DefaultBodyLimit, State};
use axum::http::{HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
use axum::{Json, Router};
use serde_json::{Value, json};
use tokio::net::TcpListener;
use tokio::task::JoinHandle;

use self::conversation::Conversation;
use self::script::Reply;

/// What stands in every answer that is not scripted by a test, so that nobody takes it for Claude.
pub const DISCLOSURE: &str = "This is the lab's stand-in for the Messages API, not Claude.";

/// Requests remembered for [`StandIn::requests`]; the oldest are forgotten first.
const REMEMBERED_REQUESTS: usize = 64;
/// The service's own limit on a request's size.
const LARGEST_REQUEST: usize = 32 * 1024 * 1024;

/// A running stand-in; it ends when this is dropped.
pub struct StandIn {
    address: SocketAddr,
    memory: Arc<Mutex<Memory>>,
    task: JoinHandle<()>,
}

/// What is kept from one request to the next; bounded.
#[derive(Default)]
struct Memory {
    /// Bodies of the last requests, where somebody in this process can ask for them.
    requests: Option<VecDeque<Value>>,
    /// How often each conversation was refused since it was last answered. The CLI does not say which attempt a request is.
    refusals: HashMap<u64, u32>,
}

impl StandIn {
    /// Listens on `address` (port 0: any free port) and serves until dropped.
    ///
    /// # Errors
    /// When the address cannot be bound.
    pub async fn start(address: SocketAddr) -> anyhow::Result<StandIn> {
        let listener = bind(address).await?;
        let address = listener.local_addr().context("read the stand-in's address")?;
        let memory = Arc::new(Mutex::new(Memory { requests: Some(VecDeque::new()), ..Memory::default() }));
        let routes = routes(Arc::clone(&memory));
        let task = tokio::spawn(async move {
            if let Err(error) = axum::serve(listener, routes).await {
                tracing::error!(%error, "the stand-in of the Messages API ended");
            }
        });
        Ok(StandIn { address, memory, task })
    }

    /// Where it listens.
    #[must_use]
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// The bodies of the last requests to `/v1/messages`, oldest first, at most 64.
    #[must_use]
    pub fn requests(&self) -> Vec<Value> {
        self.memory.lock().map(|memory| memory.requests.iter().flatten().cloned().collect()).unwrap_or_default()
    }
}

impl Drop for StandIn {
    fn drop(&mut self) {
        self.task.abort();
    }
}

/// Serves on `address` for ever; no request is kept.
///
/// # Errors
/// When the address cannot be bound, or the listener fails.
pub async fn serve(address: SocketAddr) -> anyhow::Result<()> {
    let listener = bind(address).await?;
    axum::serve(listener, routes(Arc::default())).await.context("serve the stand-in of the Messages API")
}

async fn bind(address: SocketAddr) -> anyhow::Result<TcpListener> {
    TcpListener::bind(address)
        .await
        .with_context(|| format!("listen on {address} for the stand-in of the Messages API"))
}

fn routes(memory: Arc<Mutex<Memory>>) -> Router {
    Router::new()
        .route("/", get(async || format!("{DISCLOSURE}\n")))
        .route("/v1/messages", post(messages))
        .route("/v1/messages/count_tokens", post(count_tokens))
        .fallback(async || Refusal { status: 404, kind: "not_found_error", message: "Not found".into() })
        .layer(DefaultBodyLimit::max(LARGEST_REQUEST))
        .with_state(memory)
}

impl Memory {
    /// The most conversations whose refusals are counted; the counts start anew after that.
    const COUNTED_CONVERSATIONS: usize = 1024;

    fn keep(&mut self, request: Value) {
        if let Some(requests) = &mut self.requests {
            if requests.len() == REMEMBERED_REQUESTS {
                requests.pop_front();
            }
            requests.push_back(request);
        }
    }

    fn reply(&mut self, conversation: &mut Conversation) -> Reply {
        conversation.attempt = self.refusals.get(&conversation.fingerprint).copied().unwrap_or(0);
        let reply = script::reply(conversation);
        if matches!(reply, Reply::Refuse(_)) {
            if self.refusals.len() == Memory::COUNTED_CONVERSATIONS {
                self.refusals.clear();
            }
            self.refusals.insert(conversation.fingerprint, conversation.attempt.saturating_add(1));
        } else {
            self.refusals.remove(&conversation.fingerprint);
        }
        reply
    }
}

async fn messages(State(memory): State<Arc<Mutex<Memory>>>, body: Bytes) -> Response {
    let request: Value = match serde_json::from_slice(&body) {
        Ok(request) => request,
        Err(error) => return Refusal::malformed(&error).into_response(),
    };
    let mut conversation = Conversation::read(&request);
    let reply = {
        let mut memory = memory.lock().unwrap_or_else(PoisonError::into_inner);
        memory.keep(request);
        memory.reply(&mut conversation)
    };
    match reply {
        Reply::Refuse(status) => Refusal::scripted(status).into_response(),
        Reply::Message(message) if conversation.streaming => {
            let events = stream::events(&conversation, message);
            let mut response = Body::from_stream(events).into_response();
            response.headers_mut().insert(header::CONTENT_TYPE, HeaderValue::from_static("text/event-stream"));
            response.headers_mut().insert("request-id", HeaderValue::from_static("req_lab_stand_in"));
            response
        }
        Reply::Message(message) => Json(stream::whole(&conversation, &message)).into_response(),
    }
}

async fn count_tokens(body: Bytes) -> Response {
    match serde_json::from_slice::<Value>(&body) {
        // Four characters a token is what people reckon with; nothing depends on the number.
        Ok(_) => Json(json!({ "input_tokens": body.len().div_ceil(4) })).into_response(),
        Err(error) => Refusal::malformed(&error).into_response(),
    }
}

/// An error in the service's shape.
struct Refusal {
    status: u16,
    kind: &'static str,
    message: String,
}

impl Refusal {
    fn malformed(error: &serde_json::Error) -> Refusal {
        Refusal {
            status: 400,
            kind: "invalid_request_error",
            message: format!("The request body is not valid JSON: {error}"),
        }
    }

    fn scripted(status: u16) -> Refusal {
        let kind = match status {
            401 => "authentication_error",
            403 => "permission_error",
            404 => "not_found_error",
            413 => "request_too_large",
            429 => "rate_limit_error",
            529 => "overloaded_error",
            500.. => "api_error",
            _ => "invalid_request_error",
        };
        Refusal { status, kind, message: format!("The lab's stand-in was asked to answer with status {status}.") }
    }
}

impl IntoResponse for Refusal {
    fn into_response(self) -> Response {
        let body = json!({ "type": "error", "error": { "type": self.kind, "message": self.message } });
        let status = StatusCode::from_u16(self.status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
        (status, Json(body)).into_response()
    }
}

/// The pause between two pieces of an answer that a person reads: quick, but seen to arrive in pieces.
const PACE: Duration = Duration::from_millis(35);
