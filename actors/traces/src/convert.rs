//! From an event to OpenTelemetry's span.

use std::{fmt, time::Duration};

use opentelemetry::{
    InstrumentationScope, KeyValue, SpanId, TraceFlags, TraceId,
    trace::{Link, SpanContext, SpanKind, Status, TraceState},
};
use opentelemetry_sdk::trace::{SpanData, SpanEvents, SpanLinks};
use teammy_kernel::{Timestamp, TraceContext};
use tracing::field::{Field, Visit};

/// The fields of an event.
#[derive(Debug, Default)]
pub(crate) struct Ended {
    name: String,
    trace_id: String,
    span_id: String,
    parent_id: String,
    took_us: u64,
    links: String,
    error: Option<String>,
    instance: Option<String>,
    operation: Option<String>,
    model: Option<String>,
    attributes: Vec<KeyValue>,
}

/// The name of an attribute: those of models as in the conventions for generative AI
/// (<https://opentelemetry.io/docs/specs/semconv/gen-ai/>), our own under `teammy`.
fn attribute(field: &str) -> Option<&'static str> {
    Some(match field {
        "meeting" => "teammy.meeting",
        "instance" => "teammy.instance",
        "source" => "teammy.source",
        "seq" => "teammy.seq",
        "operation" => "gen_ai.operation.name",
        "model" => "gen_ai.request.model",
        "input_tokens" => "gen_ai.usage.input_tokens",
        "output_tokens" => "gen_ai.usage.output_tokens",
        "error" => "error.type",
        _ => return None,
    })
}

impl Ended {
    fn text(&mut self, field: &str, text: String) {
        if let Some(name) = attribute(field) {
            self.attributes.push(KeyValue::new(name, text.clone()));
        }
        match field {
            "name" => self.name = text,
            "trace_id" => self.trace_id = text,
            "span_id" => self.span_id = text,
            "parent_id" => self.parent_id = text,
            "links" => self.links = text,
            "error" => self.error = Some(text),
            "instance" => self.instance = Some(text),
            "operation" => self.operation = Some(text),
            "model" => self.model = Some(text),
            _ => {}
        }
    }
}

impl Visit for Ended {
    fn record_str(&mut self, field: &Field, value: &str) {
        self.text(field.name(), value.to_owned());
    }

    fn record_u64(&mut self, field: &Field, value: u64) {
        if let Some(name) = attribute(field.name()) {
            self.attributes.push(KeyValue::new(name, i64::try_from(value).unwrap_or(i64::MAX)));
        }
        if field.name() == "took_us" {
            self.took_us = value;
        }
    }

    fn record_debug(&mut self, field: &Field, value: &dyn fmt::Debug) {
        self.text(field.name(), format!("{value:?}"));
    }
}

fn link(text: &str) -> Option<Link> {
    let context: TraceContext = text.parse().ok()?;
    let flags = if context.is_sampled() { TraceFlags::SAMPLED } else { TraceFlags::NOT_SAMPLED };
    let (trace_id, span_id) = (TraceId::from(context.trace_id()), SpanId::from(context.span_id()));
    Some(Link::with_context(SpanContext::new(trace_id, span_id, flags, true, TraceState::NONE)))
}

impl Ended {
    /// The span that ended just now; none if it has no ids.
    pub(crate) fn into_span(self) -> Option<SpanData> {
        // A collector wants the machine's time.
        let end_time = Timestamp::now();
        let start_time = end_time.checked_sub(Duration::from_micros(self.took_us)).unwrap_or(end_time);
        let trace_id = TraceId::from_hex(&self.trace_id).ok()?;
        let span_id = SpanId::from_hex(&self.span_id).ok()?;
        let (kind, of) = match &*self.name {
            "publish" => (SpanKind::Server, None),
            "hook" => (SpanKind::Consumer, self.instance),
            "model" => (SpanKind::Client, self.model),
            _ => (SpanKind::Internal, None),
        };
        let name = self.operation.unwrap_or(self.name);
        let name = of.map_or(name.clone(), |of| format!("{name} {of}"));
        let mut links = SpanLinks::default();
        links.links.extend(self.links.split_whitespace().filter_map(link));
        Some(SpanData {
            span_context: SpanContext::new(trace_id, span_id, TraceFlags::SAMPLED, false, TraceState::NONE),
            parent_span_id: SpanId::from_hex(&self.parent_id).unwrap_or(SpanId::INVALID),
            // What is above a publish is a client's; the others are below spans of this node.
            parent_span_is_remote: kind == SpanKind::Server,
            span_kind: kind,
            name: name.into(),
            start_time: start_time.into(),
            end_time: end_time.into(),
            attributes: self.attributes,
            dropped_attributes_count: 0,
            events: SpanEvents::default(),
            links,
            status: self.error.map_or(Status::Unset, Status::error),
            instrumentation_scope: InstrumentationScope::builder("teammy").build(),
        })
    }
}
