//! Exports traces, in a build with feature `otel`.

use teammy::config::Traces;

use super::error::Error;

#[cfg(feature = "otel")]
pub(super) use teammy_traces::{Exporter, Spans};

/// Takes spans out of the log.
#[cfg(not(feature = "otel"))]
pub(super) enum Spans {}

/// Exports spans until it is dropped.
#[cfg(not(feature = "otel"))]
pub(super) enum Exporter {}

/// What takes and exports spans, if `traces.endpoint` is set.
#[cfg(feature = "otel")]
pub(super) fn export(traces: &Traces) -> Result<Option<(Spans, Exporter)>, Error> {
    Ok(teammy_traces::export(traces)?)
}

/// What takes and exports spans, if `traces.endpoint` is set.
#[cfg(not(feature = "otel"))]
pub(super) fn export(traces: &Traces) -> Result<Option<(Spans, Exporter)>, Error> {
    match &traces.endpoint {
        None => Ok(None),
        Some(_) => Err(Error::NoOtel),
    }
}
