//! Who asks, and whether they may.
//!
//! Without a single key in the store, everybody who reaches the address may do everything; [`guard`](mod@guard) then keeps web
//! pages out. With keys, each request gives one, as `Authorization: Bearer`, and sees the meetings of the key's tenant alone:
//! the service keeps the meeting `standup` of tenant `acme` under the id `acme/standup`, and shows it as `standup`.

mod caller;
mod guard;
mod scope;

use std::sync::Arc;

use axum::{
    extract::{MatchedPath, Request, State},
    http::{HeaderMap, HeaderValue, Method, StatusCode, header},
    middleware::Next,
    response::{IntoResponse, Response},
};
use teammy_runtime::keys::{Access, Keys};
use tracing::info;

pub(crate) use caller::Caller;

use crate::{limits::held_by, problem::Problem, shared::Shared, trace::position};

/// Paths that need no key.
const OPEN: [&str; 3] = ["/livez", "/readyz", "/openapi.json"];

/// Finds out who asks, keeps out who may not, writes the access log, and shows problems as the tenant knows its meetings.
pub(crate) async fn access(State(shared): State<Shared>, mut request: Request, next: Next) -> Response {
    let began = tokio::time::Instant::now();
    let method = request.method().clone();
    let path = request.extensions().get::<MatchedPath>().map(|path| path.as_str().to_owned());
    let origin = request.headers().get(header::ORIGIN).cloned();
    let trace = position(request.headers());
    let (caller, response) = match admit(&shared, &request, path.as_deref()) {
        Err(problem) => (Caller::default(), problem.into_response()),
        // No route answers it: it needs no key, so it must tell nothing.
        Ok(caller) if method == Method::OPTIONS => (caller, StatusCode::NO_CONTENT.into_response()),
        Ok(caller) => match shared.slots.take(caller.access(), shared.settings.service.requests_per_key) {
            Err(problem) => (caller, problem.into_response()),
            Ok(slot) => {
                let slot = Arc::new(slot);
                request.extensions_mut().insert(caller.clone());
                // A WebSocket holds it itself: the body of its answer is over at once.
                request.extensions_mut().insert(slot.clone());
                let response = next.run(request).await;
                // The slot is free once the body, which may be a stream, is gone.
                (caller, response.map(|body| held_by(slot, body)))
            }
        },
    };
    let mut response = caller.shown(response, &shared.stop);
    if let Some(origin) = origin.filter(|origin| shared.is_allowed(origin)) {
        allow(&mut response, origin, method == Method::OPTIONS);
    }
    // Never the path itself and its parameters: they may hold a token.
    info!(
        target: "teammy_service::access",
        %method,
        path = path.as_deref().unwrap_or("unknown"),
        status = response.status().as_u16(),
        key = caller.access().map(|access| tracing::field::display(&access.key)),
        tenant = caller.tenant(),
        trace_id = trace.map(|trace| tracing::field::display(trace.shown_id())),
        micros = u64::try_from(began.elapsed().as_micros()).unwrap_or(u64::MAX),
        "request"
    );
    response
}

fn admit(shared: &Shared, request: &Request, path: Option<&str>) -> Result<Caller, Problem> {
    let keys = shared.node.keys();
    let is_open = path.is_some_and(|path| OPEN.contains(&path));
    if keys.is_empty() {
        let checked = guard::check(request).map(|()| Caller::default());
        // A probe may come under any name, and learns nothing of meetings.
        return if is_open && path != Some("/openapi.json") { Ok(Caller::default()) } else { checked };
    }
    if is_open {
        return Ok(Caller::default());
    }
    if let Some(origin) = request.headers().get(header::ORIGIN)
        && !guard::is_own(request, origin)
        && !shared.is_allowed(origin)
    {
        let title = "a page of another origin sent the request; service.origins allows origins";
        return Err(Problem::forbidden("foreign-origin", title));
    }
    // A browser asks before it sends a request whether it may, without the key.
    if request.method() == Method::OPTIONS {
        return Ok(Caller::default());
    }
    let access = identify(keys, request)?;
    scope::check(&access, request.method(), path.unwrap_or_default())?;
    Ok(Caller::of(access))
}

fn identify(keys: &Keys, request: &Request) -> Result<Access, Problem> {
    let given = match bearer(request.headers()) {
        Some(given) => Some(given),
        // A browser cannot give an event source or a WebSocket a header. URLs are logged by many, so no key is taken there.
        None => token_of_query(request.uri().query()).filter(|token| token.starts_with("tmt_")),
    };
    let Some(given) = given else {
        return Err(Problem::unauthorized(
            "no-key",
            "a key is asked for: send `Authorization: Bearer tmy_…`",
        ));
    };
    keys.access(given).map_err(|denied| Problem::unauthorized("invalid-key", &denied.to_string()))
}

fn bearer(headers: &HeaderMap) -> Option<&str> {
    let (scheme, key) = headers.get(header::AUTHORIZATION)?.to_str().ok()?.split_once(' ')?;
    scheme.eq_ignore_ascii_case("bearer").then_some(key.trim())
}

fn token_of_query(query: Option<&str>) -> Option<&str> {
    query?.split('&').find_map(|pair| pair.strip_prefix("token="))
}

/// Tells a browser that a page of this origin may read the answer (Fetch standard, CORS protocol).
fn allow(response: &mut Response, origin: HeaderValue, is_preflight: bool) {
    let headers = response.headers_mut();
    headers.insert(header::ACCESS_CONTROL_ALLOW_ORIGIN, origin);
    headers.append(header::VARY, HeaderValue::from_static("origin"));
    if is_preflight {
        const METHODS: HeaderValue = HeaderValue::from_static("GET, POST, PUT, DELETE");
        const NAMES: HeaderValue = HeaderValue::from_static(
            "authorization, content-type, idempotency-key, last-event-id, teammy-source, teammy-participant, \
             teammy-timestamp, teammy-producer, teammy-number, traceparent",
        );
        headers.insert(header::ACCESS_CONTROL_ALLOW_METHODS, METHODS);
        headers.insert(header::ACCESS_CONTROL_ALLOW_HEADERS, NAMES);
        headers.insert(header::ACCESS_CONTROL_MAX_AGE, HeaderValue::from_static("3600"));
    } else {
        const EXPOSED: HeaderValue = HeaderValue::from_static("retry-after");
        headers.insert(header::ACCESS_CONTROL_EXPOSE_HEADERS, EXPOSED);
    }
}
