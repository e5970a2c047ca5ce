//! Where the running hook is in a trace.

use std::sync::{
    Arc,
    atomic::{AtomicBool, Ordering},
};

use parking_lot::Mutex;
use teammy_kernel::{DataPacket, MeetingId, Name, Seq, Span, SpanOutcome, TraceContext};

/// The most packets of a batch that a span names beside the one that it is below.
const MOST_LINKS: usize = 32;

/// Where the running hook of an instance is in a trace. Packets that no trace knows cost one reading of a flag.
#[derive(Debug)]
pub(super) struct HookTrace {
    meeting: MeetingId,
    instance: Name,
    /// Whether anything is in `running`.
    is_traced: AtomicBool,
    running: Mutex<Running>,
}

#[derive(Debug, Default)]
struct Running {
    /// What the hook's outputs and its requests to models get.
    context: Option<TraceContext>,
    span: Option<RunningSpan>,
}

#[derive(Debug)]
struct RunningSpan {
    span: Span,
    source: Name,
    seq: Seq,
    links: Vec<TraceContext>,
}

impl HookTrace {
    pub(super) fn new(meeting: MeetingId, instance: Name) -> Arc<Self> {
        Arc::new(Self { meeting, instance, is_traced: AtomicBool::new(false), running: Mutex::default() })
    }

    /// A hook begins on these packets: its span is below the last one that is traced, and linked to the others.
    #[inline]
    pub(super) fn begin(&self, packets: &[Arc<DataPacket>]) {
        if self.is_traced.load(Ordering::Relaxed) || packets.iter().any(|packet| packet.trace.is_some()) {
            self.begin_traced(packets);
        }
    }

    #[cold]
    fn begin_traced(&self, packets: &[Arc<DataPacket>]) {
        let mut traced =
            packets.iter().rev().filter_map(|packet| packet.trace.map(|context| (packet, context)));
        let last = traced.next();
        let span = last.and_then(|(packet, context)| {
            let span = Span::below("hook", context)?;
            let mut links: Vec<TraceContext> = Vec::new();
            for (_, other) in traced.filter(|(_, other)| *other != context) {
                if links.len() < MOST_LINKS && !links.contains(&other) {
                    links.push(other);
                }
            }
            Some(RunningSpan { span, source: packet.source.clone(), seq: packet.seq, links })
        });
        let context = span.as_ref().map(|running| running.span.context());
        let context = context.or(last.map(|(_, context)| context));
        self.is_traced.store(context.is_some(), Ordering::Relaxed);
        *self.running.lock() = Running { context, span };
    }

    /// What the running hook's outputs and requests get.
    #[inline]
    pub(super) fn context(&self) -> Option<TraceContext> {
        if self.is_traced.load(Ordering::Relaxed) { self.running.lock().context } else { None }
    }

    /// The hook has ended, or failed. Its outputs may still be made.
    #[inline]
    pub(super) fn end(&self, error: Option<&str>) {
        if self.is_traced.load(Ordering::Relaxed)
            && let Some(running) = self.running.lock().span.take()
        {
            running.span.end(SpanOutcome {
                meeting: Some(self.meeting.as_str()),
                instance: Some(self.instance.as_str()),
                source: Some(running.source.as_str()),
                seq: Some(running.seq.0),
                links: &running.links,
                error,
                ..SpanOutcome::default()
            });
        }
    }
}
