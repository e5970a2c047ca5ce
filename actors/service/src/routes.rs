//! The routes.
//!
//! | request | does |
//! |---|---|
//! | `POST /v1/meetings` | opens a meeting: starts, resumes or joins it |
//! | `GET /v1/meetings` | lists meetings, the newest first |
//! | `GET`, `DELETE /v1/meetings/{meeting}` | shows it; forgets it |
//! | `POST /v1/meetings/{meeting}/end` | ends it |
//! | `PUT`, `DELETE /v1/meetings/{meeting}/instances/{instance}` | has an instance join it, or leave it |
//! | `POST /v1/meetings/{meeting}/instances/{instance}/resume` | delivers to a suspended instance again |
//! | `GET`, `POST /v1/meetings/{meeting}/dead-letters` | lists what instances gave up; delivers it again |
//! | `POST /v1/meetings/{meeting}/packets` | publishes |
//! | `GET /v1/meetings/{meeting}/packets` | reads what is stored, page by page |
//! | `GET /v1/meetings/{meeting}/producers/{producer}` | shows how far a producer is |
//! | `GET /v1/meetings/{meeting}/events` | follows it, as server-sent events |
//! | `GET /v1/meetings/{meeting}/ws` | publishes and follows it, over a WebSocket |
//! | `POST /v1/meetings/{meeting}/tokens` | makes a token that reads it |
//! | `GET`, `POST /v1/events` | follows all meetings |
//! | `GET /openapi.json`, `/metrics` | describes the API; how the node is, for Prometheus |
//! | `GET /v1/plugins`, `/v1/usage`, `/v1/status` | what is configured, what models cost, how the node is |
//! | `GET /livez`, `/readyz` | whether the process lives, and whether it takes requests |

mod all_events;
mod events;
mod meetings;
mod node;
mod openapi;
mod packets;
mod producers;
mod publish;
mod ws;

use axum::{
    Router,
    extract::DefaultBodyLimit,
    http::Uri,
    middleware::from_fn_with_state,
    routing::{get, post, put},
};
use teammy_kernel::{ErrorClass, ErrorKind};

use crate::{access::access, params::MAX_BODY, problem::Problem, shared::Shared};

pub(crate) fn router(shared: Shared) -> Router {
    let meeting = Router::new()
        .route("/", get(meetings::show).delete(meetings::forget))
        .route("/end", post(meetings::end))
        .route("/instances/{instance}", put(meetings::assign).delete(meetings::unassign))
        .route("/instances/{instance}/resume", post(meetings::resume_instance))
        .route("/dead-letters", get(meetings::dead_letters).post(meetings::redrive))
        .route("/packets", get(packets::history).post(publish::publish))
        .route("/producers/{producer}", get(producers::show))
        .route("/events", get(events::events))
        .route("/tokens", post(meetings::token))
        .route("/ws", get(ws::open));
    Router::new()
        .route("/v1/meetings", get(meetings::list).post(meetings::open))
        .nest("/v1/meetings/{meeting}", meeting)
        .route("/v1/plugins", get(node::plugins))
        .route("/v1/usage", get(node::usage))
        .route("/v1/status", get(node::status))
        .route("/v1/events", get(all_events::get).post(all_events::post))
        .route("/openapi.json", openapi::route())
        .route("/metrics", get(node::metrics))
        .route("/livez", get(node::live))
        .route("/readyz", get(node::ready))
        .fallback(not_found)
        .method_not_allowed_fallback(wrong_method)
        .layer(DefaultBodyLimit::max(MAX_BODY))
        .layer(from_fn_with_state(shared.clone(), access))
        .with_state(shared)
}

async fn not_found(uri: Uri) -> Problem {
    let class = ErrorClass::new("no-route", ErrorKind::NotFound);
    Problem::new(class, format!("there is nothing at {}; docs/http.md lists the routes", uri.path()))
}

async fn wrong_method(uri: Uri) -> Problem {
    let class = ErrorClass::new("no-method", ErrorKind::Invalid);
    Problem::new(class, format!("{} does not take this method", uri.path()))
        .with_status(axum::http::StatusCode::METHOD_NOT_ALLOWED)
}
