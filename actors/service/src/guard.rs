//! What a browser may not do on a machine whose address needs no key.
//!
//! A web page can send requests to loopback, and can have a name of its own point there (DNS rebinding). So a request is
//! rejected if its `Host` is a name other than `localhost`, or if it has an `Origin` that is not this service's own.

use std::net::IpAddr;

use axum::{
    extract::Request,
    http::{StatusCode, Uri, header, uri::Authority},
    middleware::Next,
    response::{IntoResponse, Response},
};
use teammy_kernel::{ErrorClass, ErrorKind};

use crate::problem::Problem;

pub(crate) async fn guard(request: Request, next: Next) -> Response {
    match check(&request) {
        Ok(()) => next.run(request).await,
        Err(problem) => problem.into_response(),
    }
}

fn check(request: &Request) -> Result<(), Problem> {
    let forbidden = |title: String| {
        let class = ErrorClass::new("foreign-origin", ErrorKind::Invalid);
        Problem::new(class, title).with_status(StatusCode::FORBIDDEN)
    };
    let text = |name| request.headers().get(name).and_then(|value| value.to_str().ok());
    let host = request.uri().authority().cloned().or_else(|| text(header::HOST)?.parse::<Authority>().ok());
    let Some(host) = host else { return Err(Problem::malformed("the request names no host")) };
    if !is_local(host.host()) {
        return Err(forbidden(format!(
            "the request is for host {host}; without keys, only localhost is served"
        )));
    }
    let Some(origin) = request.headers().get(header::ORIGIN) else { return Ok(()) };
    let origin = origin.to_str().ok().and_then(|origin| origin.parse::<Uri>().ok());
    let is_own = origin.as_ref().and_then(Uri::authority).is_some_and(|origin| *origin == host);
    if is_own { Ok(()) } else { Err(forbidden("a page of another origin sent the request".to_owned())) }
}

fn is_local(host: &str) -> bool {
    let address = host.trim_start_matches('[').trim_end_matches(']');
    host.eq_ignore_ascii_case("localhost") || address.parse::<IpAddr>().is_ok()
}
