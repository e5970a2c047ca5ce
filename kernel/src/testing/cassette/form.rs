//! The form in which a recording holds a request: what its answer depends on, and nothing of who asks, until
//! when or on whose account.

use serde::Serialize;
use serde_json::Value;

use crate::{Audio, EmbedRequest, LlmFormat, LlmMessage, LlmRequest, Model, TranscribeRequest};

/// A request as it is written and compared.
#[derive(Serialize)]
#[serde(tag = "kind", rename_all = "lowercase")]
pub(super) enum Form<'a> {
    Complete(Text<'a>),
    Stream(Text<'a>),
    Embed {
        texts: &'a [String],
    },
    Transcribe {
        audio: Sound<'a>,
        #[serde(skip_serializing_if = "Option::is_none")]
        language: Option<&'a str>,
        #[serde(skip_serializing_if = "Option::is_none")]
        hint: Option<&'a str>,
    },
    Budgets,
    /// The check of a value against a schema, of which a recording holds a fingerprint.
    Check {
        schema: String,
        value: &'a Value,
    },
}

/// A request for text.
#[derive(Serialize)]
pub(super) struct Text<'a> {
    model: Model,
    messages: &'a [LlmMessage],
    #[serde(skip_serializing_if = "Option::is_none")]
    temperature: Option<f32>,
    #[serde(skip_serializing_if = "Option::is_none")]
    max_tokens: Option<u32>,
    #[serde(skip_serializing_if = "<[_]>::is_empty")]
    stop: &'a [String],
    #[serde(skip_serializing_if = "Option::is_none")]
    seed: Option<u64>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    tools: Vec<Function<'a>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    format: Option<Json<'a>>,
}

#[derive(Serialize)]
struct Function<'a> {
    name: &'a str,
    description: &'a str,
    parameters: &'a Value,
}

#[derive(Serialize)]
struct Json<'a> {
    name: &'a str,
    schema: &'a Value,
}

/// Sound: how much there is of it, and a fingerprint, so that a recording stays small.
#[derive(Serialize)]
#[serde(untagged)]
pub(super) enum Sound<'a> {
    Samples { rate: u32, samples: usize, fnv1a: String },
    File { name: &'a str, bytes: usize, fnv1a: String },
}

impl<'a> Text<'a> {
    pub(super) fn of(request: &'a LlmRequest) -> Self {
        let LlmRequest { model, messages, temperature, max_tokens, stop, seed, tools, format, caller: _ } =
            request;
        let function = |tool: &'a crate::Tool| Function {
            name: &tool.name,
            description: &tool.description,
            parameters: tool.parameters.as_value(),
        };
        Self {
            model: *model,
            messages,
            temperature: *temperature,
            max_tokens: *max_tokens,
            stop,
            seed: *seed,
            tools: tools.iter().map(function).collect(),
            format: match format {
                LlmFormat::Text => None,
                LlmFormat::Json { name, schema } => Some(Json { name, schema: schema.as_value() }),
            },
        }
    }
}

impl<'a> Form<'a> {
    pub(super) fn embed(request: &'a EmbedRequest) -> Self {
        let EmbedRequest { texts, caller: _ } = request;
        Self::Embed { texts }
    }

    pub(super) fn transcribe(request: &'a TranscribeRequest) -> Self {
        let TranscribeRequest { audio, language, hint, caller: _ } = request;
        let audio = match audio {
            Audio::Samples { rate, samples } => Sound::Samples {
                rate: *rate,
                samples: samples.len(),
                fnv1a: fnv1a(samples.iter().flat_map(|sample| sample.to_le_bytes())),
            },
            Audio::File { name, content } => {
                Sound::File { name, bytes: content.len(), fnv1a: fnv1a(content.iter().copied()) }
            }
        };
        Self::Transcribe { audio, language: language.as_deref(), hint: hint.as_deref() }
    }

    pub(super) fn check(schema: &Value, value: &'a Value) -> Self {
        Self::Check { schema: fnv1a(schema.to_string().bytes()), value }
    }

    /// The request as JSON. It goes through text, so that a number is the one that is read from a file: `0.2`
    /// is not the same as a double and as a float.
    pub(super) fn to_value(&self) -> Value {
        let json = serde_json::to_string(self).expect("invariant: a request has a JSON form");
        serde_json::from_str(&json).expect("invariant: it was just written")
    }
}

/// The 64-bit FNV-1a hash of bytes, in hexadecimal: short, and the same on every machine and in every
/// version.
fn fnv1a(bytes: impl IntoIterator<Item = u8>) -> String {
    const OFFSET: u64 = 0xcbf2_9ce4_8422_2325;
    const PRIME: u64 = 0x0100_0000_01b3;
    let hash = bytes.into_iter().fold(OFFSET, |hash, byte| (hash ^ u64::from(byte)).wrapping_mul(PRIME));
    format!("{hash:016x}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_fingerprint_is_the_one_that_others_compute() {
        // From the test suite of the hash's authors.
        for (text, hash) in
            [("", "cbf29ce484222325"), ("a", "af63dc4c8601ec8c"), ("foobar", "85944171f73967e8")]
        {
            assert_eq!(fnv1a(text.bytes()), hash);
        }
    }
}
