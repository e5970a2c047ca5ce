//! Spans: what this node does for a trace.

use std::fmt;

use tokio::time::Instant;

use super::TraceContext;

/// What a node does for a trace, from when it begins until it [ends](Span::end).
///
/// A span that ended is an event of `tracing` with the target [`Span::TARGET`] at level TRACE, so that who subscribes to that
/// target gets them all. While nobody does, no span begins, and packets keep the context that they came with.
///
/// | field | what it holds |
/// |---|---|
/// | `name` | what was done: `publish`, `hook` or `model` |
/// | `trace_id`, `span_id`, `parent_id` | 32 and 16 lower-case digits; a parent of zeros for the first span of a trace |
/// | `took_us` | how long it took, in microseconds |
/// | `links` | other positions in traces that led to it, as `traceparent`s with spaces between |
/// | `error` | what went wrong, if it failed |
/// | the others | as in [`Outcome`], if it was for such a thing |
#[derive(Debug)]
pub struct Span {
    name: &'static str,
    context: TraceContext,
    parent: u64,
    began: Instant,
    is_over: bool,
}

/// What is told of a span that ended. All may be left out; nothing of it is said in a meeting.
#[derive(Debug, Default, Clone, Copy)]
pub struct Outcome<'a> {
    /// The meeting's id.
    pub meeting: Option<&'a str>,
    /// The instance's name.
    pub instance: Option<&'a str>,
    /// The source of the packet.
    pub source: Option<&'a str>,
    /// The packet's seq.
    pub seq: Option<u64>,
    /// What a model was asked for: `chat`, `embeddings` or `transcription`.
    pub operation: Option<&'a str>,
    /// The model.
    pub model: Option<&'a str>,
    /// The tokens of a request to a model.
    pub input_tokens: Option<u64>,
    /// The tokens of a model's answer.
    pub output_tokens: Option<u64>,
    /// Other packets of a batch.
    pub links: &'a [TraceContext],
    /// What went wrong.
    pub error: Option<&'a str>,
}

impl Span {
    /// The target of the events.
    pub const TARGET: &'static str = "teammy::span";

    /// Whether anybody wants spans.
    #[inline]
    pub fn is_wanted() -> bool {
        tracing::enabled!(target: Span::TARGET, tracing::Level::TRACE)
    }

    /// Begins a span below this position, if its trace is recorded and anybody wants spans.
    pub fn below(name: &'static str, parent: TraceContext) -> Option<Self> {
        if !parent.is_sampled() || !Self::is_wanted() {
            return None;
        }
        let context = parent.with_span(fastrand::u64(1..))?;
        Some(Self { name, context, parent: parent.span_id(), began: Instant::now(), is_over: false })
    }

    /// Begins a trace in such a share of the calls, if anybody wants spans.
    pub fn root(name: &'static str, share: f64) -> Option<Self> {
        if !Self::is_wanted() || fastrand::f64() >= share {
            return None;
        }
        let context = TraceContext::sampled(fastrand::u128(1..), fastrand::u64(1..))?;
        Some(Self { name, context, parent: 0, began: Instant::now(), is_over: false })
    }

    /// Its position: what happens because of it is below that.
    pub fn context(&self) -> TraceContext {
        self.context
    }

    /// Ends it. One that is dropped ends as cancelled.
    pub fn end(mut self, outcome: Outcome<'_>) {
        self.tell(outcome);
    }

    fn tell(&mut self, outcome: Outcome<'_>) {
        self.is_over = true;
        let took = self.began.elapsed().as_micros();
        let Outcome { meeting, instance, source, seq, operation, model, .. } = outcome;
        let Outcome { input_tokens, output_tokens, links, error, .. } = outcome;
        tracing::trace!(
            target: Span::TARGET,
            name = self.name,
            trace_id = %format_args!("{:032x}", self.context.trace_id()),
            span_id = %format_args!("{:016x}", self.context.span_id()),
            parent_id = %format_args!("{:016x}", self.parent),
            took_us = u64::try_from(took).unwrap_or(u64::MAX),
            links = (!links.is_empty()).then(|| tracing::field::display(Links(links))),
            error,
            meeting,
            instance,
            source,
            seq,
            operation,
            model,
            input_tokens,
            output_tokens,
        );
    }
}

impl Drop for Span {
    fn drop(&mut self) {
        if !self.is_over {
            self.tell(Outcome { error: Some("cancelled"), ..Outcome::default() });
        }
    }
}

struct Links<'a>(&'a [TraceContext]);

impl fmt::Display for Links<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, link) in self.0.iter().enumerate() {
            let space = if index > 0 { " " } else { "" };
            write!(f, "{space}{link}")?;
        }
        Ok(())
    }
}
