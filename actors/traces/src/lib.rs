//! Exports the [spans](teammy_kernel::Span) of traces to a collector: OTLP over HTTP, in protobuf.
//!
//! ```text
//! Span::end ──event──▶ Spans (a layer of tracing) ──bounded queue──▶ Exporter (a thread) ──▶ collector
//! ```
//!
//! # Invariants
//! * No meeting waits for a collector: while the queue is full, spans are dropped and counted.
//! * Spans hold names, numbers and codes, and no words of a meeting.

mod convert;
mod exporter;
mod layer;

use tokio::sync::mpsc;

pub use exporter::{Error, Exporter};
pub use layer::Spans;

/// How many spans wait for the collector.
const QUEUE: usize = 8_192;

/// What takes the spans, for a subscriber of `tracing`, and what exports them. None if no `endpoint` is configured.
///
/// # Errors
/// [`Error`] if the exporter cannot be made of the configuration.
pub fn export(config: &teammy_config::Traces) -> Result<Option<(Spans, Exporter)>, Error> {
    let Some(endpoint) = &config.endpoint else { return Ok(None) };
    let (sender, receiver) = mpsc::channel(QUEUE);
    let spans = Spans::new(sender);
    let exporter = Exporter::start(endpoint.as_str(), config, receiver, spans.dropped())?;
    Ok(Some((spans, exporter)))
}
