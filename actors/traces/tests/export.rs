//! Spans on their way to a collector over a real socket.

// Helpers may unwrap, as tests may; clippy recognises only the tests themselves.
#![allow(clippy::unwrap_used)]

use std::{sync::mpsc, thread};

use opentelemetry_proto::tonic::{
    collector::trace::v1::ExportTraceServiceRequest,
    common::v1::{KeyValue, any_value::Value},
    trace::v1::{Span as Exported, span::SpanKind},
};
use prost::Message;
use teammy_config::Config;
use teammy_kernel::{Span, SpanOutcome, TraceContext};
use tracing_subscriber::{Layer, layer::SubscriberExt};

/// A request as the collector got it.
struct Received {
    path: String,
    headers: Vec<(String, String)>,
    body: ExportTraceServiceRequest,
}

/// A collector that answers each request with this status. It ends with the process.
fn collector(status: u16) -> (String, mpsc::Receiver<Received>) {
    let server = tiny_http::Server::http("127.0.0.1:0").unwrap();
    let url = format!("http://{}", server.server_addr().to_ip().unwrap());
    let (sender, requests) = mpsc::channel();
    thread::spawn(move || {
        for mut request in server.incoming_requests() {
            let mut body = Vec::new();
            request.as_reader().read_to_end(&mut body).unwrap();
            let header = |header: &tiny_http::Header| {
                (header.field.as_str().as_str().to_lowercase(), header.value.as_str().to_owned())
            };
            let received = Received {
                path: request.url().to_owned(),
                headers: request.headers().iter().map(header).collect(),
                body: ExportTraceServiceRequest::decode(&*body).unwrap(),
            };
            let _ = sender.send(received);
            let _ = request.respond(tiny_http::Response::empty(status));
        }
    });
    (url, requests)
}

fn config(url: &str) -> teammy_config::Traces {
    let toml = format!(
        "[traces]\nendpoint = \"{url}\"\nauthorization = \"Bearer secret\"\nservice_name = \"meetings\"\n[log]\nfilter = \"off\""
    );
    Config::from_toml(&toml).unwrap().traces
}

fn client() -> TraceContext {
    "00-000000000000000000000000000000ab-0000000000000007-01".parse().unwrap()
}

fn text(attributes: &[KeyValue], key: &str) -> Option<String> {
    let found = attributes.iter().find(|attribute| attribute.key == key)?;
    Some(match found.value.clone()?.value? {
        Value::StringValue(text) => text,
        Value::IntValue(number) => number.to_string(),
        other => panic!("{other:?}"),
    })
}

#[test]
fn spans_arrive_as_the_protocol_has_them() {
    let (url, received) = collector(200);
    let (spans, exporter) = teammy_traces::export(&config(&url)).unwrap().unwrap();
    let subscriber = tracing_subscriber::registry().with(spans.with_filter(teammy_traces::Spans::only()));
    tracing::subscriber::with_default(subscriber, || {
        tracing::error!("what is only logged is not exported");
        let publish = Span::below("publish", client()).unwrap();
        let hook = Span::below("hook", publish.context()).unwrap();
        let model = Span::below("model", hook.context()).unwrap();
        let asked = SpanOutcome { operation: Some("chat"), model: Some("big"), ..SpanOutcome::default() };
        model.end(SpanOutcome { input_tokens: Some(11), output_tokens: Some(7), ..asked });
        hook.end(SpanOutcome {
            meeting: Some("m"),
            instance: Some("helper"),
            links: &[client()],
            error: Some("rejected"),
            ..SpanOutcome::default()
        });
        publish.end(SpanOutcome { source: Some("chat"), seq: Some(65_541), ..SpanOutcome::default() });
    });
    drop(exporter);

    let received: Vec<Received> = received.try_iter().collect();
    let header =
        |name: &str| received[0].headers.iter().find(|(key, _)| key == name).map(|(_, value)| &**value);
    assert_eq!(received[0].path, "/v1/traces");
    assert_eq!(header("content-type"), Some("application/x-protobuf"));
    assert_eq!(header("authorization"), Some("Bearer secret"));
    let resource = received[0].body.resource_spans[0].resource.clone().unwrap();
    assert_eq!(text(&resource.attributes, "service.name").as_deref(), Some("meetings"));

    let of = |request: &Received| request.body.resource_spans[0].scope_spans[0].spans.clone();
    let all: Vec<Exported> = received.iter().flat_map(of).collect();
    let named = |name: &str| all.iter().find(|span| span.name == name).unwrap();
    let (publish, hook, model) = (named("publish"), named("hook helper"), named("chat big"));
    assert_eq!(all.len(), 3);
    assert!(all.iter().all(|span| span.trace_id == 0xab_u128.to_be_bytes()));
    assert_eq!(publish.parent_span_id, 7_u64.to_be_bytes());
    assert_eq!((&hook.parent_span_id, &model.parent_span_id), (&publish.span_id, &hook.span_id));
    let kinds = [publish, hook, model].map(Exported::kind);
    assert_eq!(kinds, [SpanKind::Server, SpanKind::Consumer, SpanKind::Client]);
    assert!(all.iter().all(|span| span.start_time_unix_nano <= span.end_time_unix_nano));
    assert_eq!(text(&publish.attributes, "teammy.seq").as_deref(), Some("65541"));
    assert_eq!(text(&hook.attributes, "teammy.meeting").as_deref(), Some("m"));
    assert_eq!(text(&hook.attributes, "error.type").as_deref(), Some("rejected"));
    assert_eq!(hook.status.as_ref().map(|status| status.code), Some(2), "an error");
    assert_eq!(hook.links[0].span_id, 7_u64.to_be_bytes());
    assert_eq!(text(&model.attributes, "gen_ai.request.model").as_deref(), Some("big"));
    assert_eq!(text(&model.attributes, "gen_ai.usage.output_tokens").as_deref(), Some("7"));
}

/// More spans than the queue has room for do not stop who makes them.
#[test]
fn a_collector_that_refuses_stops_nobody() {
    let (url, received) = collector(503);
    let (spans, exporter) = teammy_traces::export(&config(&url)).unwrap().unwrap();
    let subscriber = tracing_subscriber::registry().with(spans.with_filter(teammy_traces::Spans::only()));
    tracing::subscriber::with_default(subscriber, || {
        for _ in 0..20_000 {
            Span::below("publish", client()).unwrap().end(SpanOutcome::default());
        }
    });
    drop(exporter);
    assert!(received.try_iter().count() > 0);
}

#[test]
fn nothing_is_exported_without_a_collector() {
    assert!(teammy_traces::export(&Config::default().traces).unwrap().is_none());
    let mut traces = config("http://127.0.0.1:1");
    traces.authorization = Some("a\nb".into());
    let error = teammy_traces::export(&traces).unwrap_err();
    assert!(error.to_string().starts_with("traces.authorization cannot be sent"), "{error}");
}
