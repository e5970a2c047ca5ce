//! What is measured of requests to models, under the names of OpenTelemetry's conventions for generative AI
//! (<https://opentelemetry.io/docs/specs/semconv/gen-ai/>). All names stand here. Nothing of a request's or an answer's
//! text is recorded.
//!
//! | metric | kind | labels | meaning |
//! |---|---|---|---|
//! | `gen_ai.client.operation.duration` | histogram | `gen_ai.operation.name`, `gen_ai.request.model`, `error.type` of those that failed | how long one try takes, in seconds |
//! | `gen_ai.client.token.usage` | histogram | `gen_ai.operation.name`, `gen_ai.request.model`, `gen_ai.token.type` (`input`, `output`) | tokens of an answer |
//!
//! A span of each try, named after its operation, has the fields `gen_ai.operation.name`, `gen_ai.request.model`,
//! `gen_ai.usage.input_tokens`, `gen_ai.usage.output_tokens`, `gen_ai.usage.cache_read.input_tokens`, `error.type`, and the
//! meeting, the instance and the purpose.

/// The names of the metrics.
const DURATION: &str = "gen_ai.client.operation.duration";
const TOKENS: &str = "gen_ai.client.token.usage";

/// The histograms, each with upper bounds of buckets that suit it, which are those of the conventions.
pub const HISTOGRAMS: &[(&str, &[f64])] = &[
    (DURATION, &[0.01, 0.02, 0.04, 0.08, 0.16, 0.32, 0.64, 1.28, 2.56, 5.12, 10.24, 20.48, 40.96, 81.92]),
    (
        TOKENS,
        &[
            1.0,
            4.0,
            16.0,
            64.0,
            256.0,
            1024.0,
            4096.0,
            16_384.0,
            65_536.0,
            262_144.0,
            1_048_576.0,
            4_194_304.0,
            16_777_216.0,
            67_108_864.0,
        ],
    ),
];

#[cfg(feature = "openai")]
pub(crate) use record::{describe, end, ended, span};

#[cfg(feature = "openai")]
mod record {
    use std::time::Duration;

    use metrics::{Unit, describe_histogram, histogram};
    use teammy_kernel::{Caller, Span as TraceSpan, SpanOutcome, Usage};
    use tracing::{Span, field::Empty, info_span};

    use super::{DURATION, TOKENS};
    use crate::policy::Class;

    const OPERATION: &str = "gen_ai.operation.name";
    const MODEL: &str = "gen_ai.request.model";
    const TOKEN_TYPE: &str = "gen_ai.token.type";
    const ERROR: &str = "error.type";

    /// Tells the recorder what the metrics mean.
    pub(crate) fn describe() {
        describe_histogram!(DURATION, Unit::Seconds, "how long one try of a request to a model takes");
        describe_histogram!(TOKENS, Unit::Count, "tokens of a model's answer");
    }

    /// The span of one try.
    pub(crate) fn span(operation: &'static str, model: &str, caller: &Caller) -> Span {
        info_span!(
            target: "teammy_llm",
            "gen_ai",
            otel.name = operation,
            gen_ai.operation.name = operation,
            gen_ai.request.model = model,
            meeting = %caller.meeting,
            instance = %caller.instance,
            purpose = caller.purpose,
            gen_ai.usage.input_tokens = Empty,
            gen_ai.usage.output_tokens = Empty,
            gen_ai.usage.cache_read.input_tokens = Empty,
            error.type = Empty,
        )
    }

    /// Ends what a trace knows of one try.
    pub(crate) fn end(
        span: TraceSpan,
        operation: &'static str,
        model: &str,
        caller: &Caller,
        outcome: Result<Option<Usage>, Class>,
    ) {
        let usage = outcome.ok().flatten();
        span.end(SpanOutcome {
            meeting: caller.is_in_meeting().then_some(caller.meeting.as_str()),
            instance: Some(caller.instance.as_str()),
            operation: Some(operation),
            model: Some(model),
            input_tokens: usage.map(|usage| usage.prompt),
            output_tokens: usage.map(|usage| usage.completion),
            error: outcome.err().map(Class::name),
            ..SpanOutcome::default()
        });
    }

    /// A try has ended.
    pub(crate) fn ended(
        span: &Span,
        operation: &'static str,
        model: &str,
        took: Duration,
        outcome: Result<Option<Usage>, Class>,
    ) {
        let model = model.to_owned();
        match outcome {
            Ok(usage) => {
                histogram!(DURATION, OPERATION => operation, MODEL => model.clone()).record(took);
                let Some(usage) = usage else { return };
                span.record("gen_ai.usage.input_tokens", usage.prompt);
                span.record("gen_ai.usage.output_tokens", usage.completion);
                span.record("gen_ai.usage.cache_read.input_tokens", usage.cached);
                for (kind, tokens) in [("input", usage.prompt), ("output", usage.completion)] {
                    #[allow(clippy::cast_precision_loss, reason = "a histogram's buckets are coarser")]
                    histogram!(TOKENS, OPERATION => operation, MODEL => model.clone(), TOKEN_TYPE => kind)
                        .record(tokens as f64);
                }
            }
            Err(class) => {
                let error = class.name();
                span.record("error.type", error);
                histogram!(DURATION, OPERATION => operation, MODEL => model, ERROR => error).record(took);
            }
        }
    }
}
