//! Where a request is in a trace.

use axum::http::HeaderMap;
use teammy_kernel::TraceContext;

/// What the header `traceparent` says. As W3C Trace Context has it, a text that cannot be read counts as none, and so do two.
pub(crate) fn position(headers: &HeaderMap) -> Option<TraceContext> {
    let mut values = headers.get_all("traceparent").iter();
    let (only, None) = (values.next()?, values.next()) else { return None };
    only.to_str().ok()?.parse().ok()
}
