//! Which scope a request needs: one table, so that it can be read at a glance.

use axum::http::Method;
use teammy_runtime::keys::{Access, Scope};

use crate::problem::Problem;

/// The scope for a route; what is not listed needs `admin`. None: any key will do.
fn needed(method: &Method, path: &str) -> Option<Scope> {
    match (method.as_str(), path) {
        ("GET" | "HEAD", "/v1/status" | "/metrics") => Some(Scope::Node),
        ("GET" | "HEAD", "/v1/plugins") => None,
        ("GET" | "HEAD", "/v1/usage" | "/v1/meetings/{meeting}/dead-letters") => Some(Scope::Admin),
        ("GET" | "HEAD", "/v1/meetings/{meeting}/producers/{producer}") => Some(Scope::Publish),
        ("GET" | "HEAD", _) | ("POST", "/v1/events" | "/v1/meetings/{meeting}/tokens") => Some(Scope::Read),
        ("POST", "/v1/meetings" | "/v1/meetings/{meeting}/packets" | "/v1/meetings/{meeting}/end") => {
            Some(Scope::Publish)
        }
        _ => Some(Scope::Admin),
    }
}

/// Whether this may be asked. Which meeting it concerns is checked where its id is read.
pub(super) fn check(access: &Access, method: &Method, path: &str) -> Result<(), Problem> {
    let of_meeting = path.starts_with("/v1/meetings/{meeting}");
    if access.meeting.is_some() && !(of_meeting && [Method::GET, Method::HEAD].contains(method)) {
        return Err(Problem::forbidden("only-reads", "a token reads one meeting, and does nothing else"));
    }
    match needed(method, path) {
        Some(scope) if !access.scopes.has(scope) => {
            let title = format!("the key does not have scope {}; it has {}", scope.as_str(), access.scopes);
            Err(Problem::forbidden("no-scope", &title))
        }
        _ => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_changes_a_meeting_is_never_read() {
        for (method, path, scope) in [
            ("GET", "/v1/meetings", Scope::Read),
            ("GET", "/v1/meetings/{meeting}/ws", Scope::Read),
            ("POST", "/v1/meetings/{meeting}/packets", Scope::Publish),
            ("GET", "/v1/meetings/{meeting}/producers/{producer}", Scope::Publish),
            ("DELETE", "/v1/meetings/{meeting}", Scope::Admin),
            ("PUT", "/v1/meetings/{meeting}/instances/{instance}", Scope::Admin),
            ("PATCH", "/v1/something/new", Scope::Admin),
            ("GET", "/metrics", Scope::Node),
        ] {
            assert_eq!(needed(&method.parse().unwrap(), path), Some(scope), "{method} {path}");
        }
    }
}
