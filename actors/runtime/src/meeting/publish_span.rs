//! The span of a publish: from when a packet comes until it has its place, so with the wait for room.

use teammy_kernel::{MeetingId, Name, Publish, PublishError, Span, SpanOutcome};

use super::ingress::Accepted;

/// The span of one publish.
pub(super) struct PublishSpan {
    span: Span,
    source: Name,
}

impl PublishSpan {
    /// Begins a span if the packet's trace is recorded, or begins a trace for such a share of the packets without one. The
    /// packet is below it from then on.
    #[inline]
    pub(super) fn begin(publish: &mut Publish, new_traces: f64) -> Option<Self> {
        let span = match publish.trace {
            Some(context) => Span::below("publish", context)?,
            None if new_traces > 0.0 => Span::root("publish", new_traces)?,
            None => return None,
        };
        publish.trace = Some(span.context());
        Some(Self { span, source: publish.source.clone() })
    }

    /// Ends it as the packet was accepted, or not.
    pub(super) fn end(self, meeting: &MeetingId, result: Result<Accepted, &PublishError>) {
        let error = result.as_ref().err().map(|error| error.class().code());
        self.span.end(SpanOutcome {
            meeting: Some(meeting.as_str()),
            source: Some(self.source.as_str()),
            seq: result.ok().map(|accepted| accepted.seq.0),
            error,
            ..SpanOutcome::default()
        });
    }
}
