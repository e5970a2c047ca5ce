//! What a browser may not do on a machine whose address needs no key.
//!
//! A web page can send requests to loopback, and can have a name of its own point there (DNS rebinding). So a request is
//! rejected if its `Host` is a name other than `localhost`, or if it has an `Origin` that is not this service's own.

use std::net::IpAddr;

use axum::{
    extract::Request,
    http::{HeaderValue, StatusCode, Uri, header, uri::Authority},
};
use teammy_kernel::{ErrorClass, ErrorKind};

use crate::problem::Problem;

/// Whether a request comes from this machine's programs or this service's own pages, as far as its headers tell.
pub(super) fn check(request: &Request) -> Result<(), Problem> {
    let forbidden = |title: String| {
        let class = ErrorClass::new("foreign-origin", ErrorKind::Invalid);
        Problem::new(class, title).with_status(StatusCode::FORBIDDEN)
    };
    let Some(host) = host(request) else { return Err(Problem::malformed("the request names no host")) };
    if !is_local(host.host()) {
        return Err(forbidden(format!(
            "the request is for host {host}; without keys, only localhost is served"
        )));
    }
    match request.headers().get(header::ORIGIN) {
        Some(origin) if !is_own(request, origin) => {
            Err(forbidden("a page of another origin sent the request".to_owned()))
        }
        _ => Ok(()),
    }
}

fn host(request: &Request) -> Option<Authority> {
    let header = || request.headers().get(header::HOST)?.to_str().ok()?.parse().ok();
    request.uri().authority().cloned().or_else(header)
}

/// Whether an origin is the host that a request is for.
pub(super) fn is_own(request: &Request, origin: &HeaderValue) -> bool {
    let origin = origin.to_str().ok().and_then(|origin| origin.parse::<Uri>().ok());
    let authority = origin.as_ref().and_then(Uri::authority);
    authority.is_some() && authority == host(request).as_ref()
}

fn is_local(host: &str) -> bool {
    let address = host.trim_start_matches('[').trim_end_matches(']');
    host.eq_ignore_ascii_case("localhost") || address.parse::<IpAddr>().is_ok()
}
