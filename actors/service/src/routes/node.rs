//! The node itself.

use axum::{
    Json,
    extract::State,
    http::{StatusCode, header},
    response::{IntoResponse, Response},
};
use serde_json::Value;
use teammy_kernel::{ErrorClass, ErrorKind, graph::Instance, store::MeetingQuery};
use teammy_runtime::{
    admin::{self, Request},
    node,
};

use crate::{
    access::Caller,
    bodies::{InstanceBody, PluginsBody, UsageBody},
    params::Params,
    problem::Problem,
    shared::{Shared, ask},
};

/// The instances that are configured: what a meeting can be opened with.
#[utoipa::path(get, path = "/v1/plugins", tag = "node", operation_id = "listPlugins",
    responses((status = 200, description = "the configured instances", body = PluginsBody)))]
pub(crate) async fn plugins(
    State(shared): State<Shared>,
    params: Params,
) -> Result<Json<PluginsBody>, Problem> {
    params.end()?;
    let has_llm = shared.node.has_llm();
    let body = |instance: &Instance| {
        let setup = instance.setup();
        InstanceBody {
            name: instance.name.to_string(),
            kind: setup.kind,
            version: setup.version,
            sources: instance.subscriptions.keys().map(ToString::to_string).collect(),
            lacks_llm: instance.factory.needs_llm() && !has_llm,
        }
    };
    Ok(Json(PluginsBody { plugins: shared.node.graph().instances().map(body).collect() }))
}

/// What requests to language models have cost: of a meeting, or of all of the caller's meetings together.
#[utoipa::path(get, path = "/v1/usage", tag = "node", operation_id = "usage",
    params(("meeting" = Option<String>, Query, description = "only this meeting"),
        ("since" = Option<String>, Query, description = "only hours that end later than this time")),
    responses((status = 200, description = "by hour, instance and model", body = UsageBody)))]
pub(crate) async fn usage(
    State(shared): State<Shared>,
    caller: Caller,
    mut params: Params,
) -> Result<Json<UsageBody>, Problem> {
    let meeting: Option<String> = params.one("meeting", "a meeting's id")?;
    let since = params.one("since", "a time, such as 2026-01-05T09:00:00Z")?;
    params.end()?;
    let meeting = meeting.map(|id| caller.inner(&id)).transpose()?;
    let store = &**shared.node.store();
    let rows = match (meeting, caller.tenant()) {
        (Some(meeting), _) => {
            if store.meeting(meeting.clone()).await.map_err(node::Error::Store)?.is_none() {
                return Err(admin::Error::NoMeeting(meeting).into());
            }
            admin::usage(store, Some(&meeting), since).await
        }
        (None, Some(tenant)) => {
            let query = MeetingQuery::default().label(shared.node.tenant_label(), tenant);
            admin::usage_of(store, query, since).await
        }
        (None, None) => admin::usage(store, None, since).await,
    };
    Ok(Json(UsageBody::of(rows.map_err(node::Error::Store)?, &caller)))
}

/// The state of the node and of the meetings that it runs.
#[utoipa::path(get, path = "/v1/status", tag = "node", operation_id = "status",
    responses((status = 200, description = "the state", body = Object)))]
pub(crate) async fn status(State(shared): State<Shared>, params: Params) -> Result<Json<Value>, Problem> {
    params.end()?;
    ask(&shared.node, Request::Status).await
}

/// The node's metrics, in the text format of Prometheus.
#[utoipa::path(get, path = "/metrics", tag = "node", operation_id = "metrics",
    responses((status = 200, description = "metrics", body = String, content_type = "text/plain")))]
pub(crate) async fn metrics(State(shared): State<Shared>) -> Result<Response, Problem> {
    let Some(render) = &shared.metrics else {
        let class = ErrorClass::new("no-metrics", ErrorKind::NotFound);
        return Err(Problem::new(class, "this build has no metrics; build it with feature `prometheus`"));
    };
    Ok(([(header::CONTENT_TYPE, "text/plain; version=0.0.4; charset=utf-8")], render()).into_response())
}

/// Whether the process answers.
#[utoipa::path(get, path = "/livez", tag = "node", operation_id = "livez", security(()),
    responses((status = 200, description = "it does", body = String, content_type = "text/plain")))]
pub(crate) async fn live() -> &'static str {
    "ok\n"
}

/// Whether requests are welcome: the node has resumed its meetings, is not stopping, and its store answers.
#[utoipa::path(get, path = "/readyz", tag = "node", operation_id = "readyz", security(()),
    responses((status = 200, description = "they are", body = String, content_type = "text/plain")))]
pub(crate) async fn ready(State(shared): State<Shared>) -> Response {
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
    let memory = shared.node.memory();
    if memory.used > memory.limit {
        return unready("more than node.memory is in use, so publishers wait");
    }
    if shared.node.are_all_threads_held() {
        return unready("hooks hold all of node.plugin_threads");
    }
    if shared.node.is_store_failing() {
        return unready("the store is unavailable");
    }
    (StatusCode::OK, "ok\n").into_response()
}
