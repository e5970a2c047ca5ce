//! Takes spans out of the log's events.

use std::sync::{
    Arc,
    atomic::{AtomicU64, Ordering},
};

use opentelemetry_sdk::trace::SpanData;
use teammy_kernel::Span;
use tokio::sync::mpsc::Sender;
use tracing::{Event, Metadata, Subscriber, level_filters::LevelFilter, subscriber::Interest};
use tracing_subscriber::layer::{Context, Filter, Layer};

use crate::convert::Ended;

/// A layer that takes spans. It must have [`Spans::only`] as its filter, so that nothing else is made for it.
#[derive(Debug)]
pub struct Spans {
    queue: Sender<SpanData>,
    dropped: Arc<AtomicU64>,
}

impl Spans {
    pub(crate) fn new(queue: Sender<SpanData>) -> Self {
        Self { queue, dropped: Arc::default() }
    }

    /// How many spans were dropped.
    pub(crate) fn dropped(&self) -> Arc<AtomicU64> {
        self.dropped.clone()
    }

    /// The filter that lets spans through, and nothing else.
    pub fn only<S>() -> impl Filter<S> + Send + Sync + 'static {
        OnlySpans
    }
}

impl<S: Subscriber> Layer<S> for Spans {
    fn on_event(&self, event: &Event<'_>, _: Context<'_, S>) {
        let mut ended = Ended::default();
        event.record(&mut ended);
        let is_lost = ended.into_span().is_none_or(|span| self.queue.try_send(span).is_err());
        if is_lost {
            self.dropped.fetch_add(1, Ordering::Relaxed);
        }
    }
}

struct OnlySpans;

impl<S> Filter<S> for OnlySpans {
    fn enabled(&self, metadata: &Metadata<'_>, _: &Context<'_, S>) -> bool {
        metadata.target() == Span::TARGET
    }

    fn callsite_enabled(&self, metadata: &'static Metadata<'static>) -> Interest {
        if metadata.target() == Span::TARGET { Interest::always() } else { Interest::never() }
    }

    fn max_level_hint(&self) -> Option<LevelFilter> {
        Some(LevelFilter::TRACE)
    }
}
