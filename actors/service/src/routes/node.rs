//! The node itself.

use axum::{
    Json,
    extract::State,
    http::StatusCode,
    response::{IntoResponse, Response},
};
use serde_json::{Value, json};
use teammy_kernel::{ErrorClass, ErrorKind, MeetingId};
use teammy_runtime::admin::{Request, StoreStatus};

use crate::{
    params::Params,
    problem::Problem,
    shared::{Shared, ask},
};

/// The instances that are configured: what a meeting can be opened with.
pub(super) async fn plugins(State(shared): State<Shared>, params: Params) -> Result<Json<Value>, Problem> {
    params.end()?;
    let instances: Vec<Value> = shared
        .node
        .graph()
        .instances()
        .map(|instance| {
            let setup = instance.setup();
            let sources: Vec<_> = instance.subscriptions.keys().map(teammy_kernel::Name::as_str).collect();
            json!({"name": instance.name, "kind": setup.kind, "version": setup.version, "sources": sources})
        })
        .collect();
    Ok(Json(json!({"plugins": instances})))
}

/// What requests to language models have cost.
pub(super) async fn usage(State(shared): State<Shared>, mut params: Params) -> Result<Json<Value>, Problem> {
    let meeting = params.all("meeting").pop().map(MeetingId::new).transpose()?;
    let since = params.one("since", "a time, such as 2026-01-05T09:00:00Z")?;
    params.end()?;
    ask(&shared.node, Request::Usage { meeting, since }).await
}

pub(super) async fn status(State(shared): State<Shared>, params: Params) -> Result<Json<Value>, Problem> {
    params.end()?;
    ask(&shared.node, Request::Status).await
}

/// Whether requests are welcome: the node has resumed its meetings, is not stopping, and its store answers.
pub(super) async fn ready(State(shared): State<Shared>) -> Response {
    let unready = |title: &str| {
        let class = ErrorClass::new("not-ready", ErrorKind::Unavailable);
        Problem::new(class, title).into_response()
    };
    if shared.stop.is_stopping() {
        return unready("the node is stopping");
    }
    if !shared.stop.is_ready() {
        return unready("the node is resuming its meetings");
    }
    match shared.node.status().await.store {
        StoreStatus::Failing => unready("the store is unavailable"),
        _ => (StatusCode::OK, "ok\n").into_response(),
    }
}
