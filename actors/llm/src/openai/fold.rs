//! Adds up an answer, from one object or from a stream of chunks, as servers really give them.
//!
//! OpenAI's reference is the smallest part of it. Servers leave fields out, give `null` for numbers, negative counts of
//! tokens, content in parts, thoughts in fields of three names or in the text, and an error in place of an answer.
//! What a server says beside its answer never costs the answer; what is no answer is never taken for one.

use std::borrow::Cow;

use serde::Deserialize;
use serde_json::Value;
use teammy_kernel::{Finish, LlmResponse, ToolCall, Usage};

use super::{error::in_answer, thoughts::Thoughts, usage::read_usage};
use crate::policy::{Class, Problem};

/// The most bytes of an answer's text and thoughts.
pub(super) const MAX_ANSWER_BYTES: usize = 8 << 20;

/// The most calls of functions in one answer.
const MAX_TOOL_CALLS: usize = 128;

/// An answer that is being put together.
#[derive(Debug, Default)]
pub(super) struct Fold {
    text: Thoughts,
    reasoning: String,
    tool_calls: Vec<ToolCall>,
    finish: Option<String>,
    is_refused: bool,
    usage: Option<Usage>,
    bytes: usize,
    has_choice: bool,
    /// Whether anything has brought the answer on.
    has_begun: bool,
}

/// What one object adds.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct Added<'a> {
    /// What it adds to the answer's text.
    pub(super) text: &'a str,
    /// Whether it brings the answer on, so that the server is at work: text, thoughts, a function's call, or the end.
    pub(super) is_useful: bool,
}

impl Fold {
    /// Adds a whole answer, or a chunk of a stream.
    ///
    /// # Errors
    /// If the object is an error, or the answer becomes too large.
    pub(super) fn add(&mut self, object: &Value) -> Result<Added<'_>, Problem> {
        if let Some(error) = object.get("error").filter(|error| !error.is_null()) {
            return Err(in_answer(error));
        }
        if let Some(usage) = object.get("usage").and_then(read_usage) {
            self.usage = Some(usage);
        }
        let choice = object.get("choices").and_then(|choices| choices.get(0));
        let Some(choice) = choice else { return Ok(Added::default()) };
        self.has_choice = true;
        let message =
            ["delta", "message"].iter().find_map(|key| choice.get(*key).filter(|it| it.is_object()));
        let mut is_useful = false;
        let mut text = Cow::Borrowed("");
        if let Some(message) = message {
            // Servers that know two of these names give the same thoughts under both.
            let names = ["reasoning_content", "reasoning", "thinking"].into_iter();
            let mut thoughts = names.filter_map(|key| message.get(key).map(content));
            if let Some(thought) = thoughts.find(|thought| !thought.is_empty()) {
                is_useful = true;
                self.count(thought.len())?;
                self.reasoning.push_str(&thought);
            }
            text = message.get("content").map(content).unwrap_or_default();
            self.is_refused |=
                message.get("refusal").and_then(Value::as_str).is_some_and(|refusal| !refusal.is_empty());
            for call in message.get("tool_calls").and_then(Value::as_array).into_iter().flatten() {
                is_useful |= self.add_tool_call(call)?;
            }
        } else if let Some(said) = choice.get("text").and_then(Value::as_str) {
            // The older API of completions.
            text = said.into();
        }
        if let Some(finish) = choice.get("finish_reason").and_then(Value::as_str) {
            self.finish = Some(finish.to_owned());
            is_useful = true;
        }
        self.say(&text, is_useful)
    }

    /// As [`add`](Self::add) for a chunk of a stream that is text and nothing else, which most are. None if it is another one.
    pub(super) fn add_text(&mut self, chunk: &str) -> Option<Result<Added<'_>, Problem>> {
        let TextChunk { choices: [Choice { delta: Delta { content, .. }, .. }], .. } =
            serde_json::from_str(chunk).ok()?;
        self.has_choice = true;
        Some(self.say(&content, false))
    }

    fn say(&mut self, text: &str, is_useful: bool) -> Result<Added<'_>, Problem> {
        self.count(text.len())?;
        let is_useful = is_useful || !text.is_empty();
        self.has_begun |= is_useful;
        Ok(Added { is_useful, text: self.text.push(text) })
    }

    fn count(&mut self, bytes: usize) -> Result<(), Problem> {
        self.bytes += bytes;
        if self.bytes > MAX_ANSWER_BYTES {
            let text = format!("its answer is larger than {} MiB; set `max_tokens`", MAX_ANSWER_BYTES >> 20);
            return Err(Problem::new(Class::Refused, text));
        }
        Ok(())
    }

    /// Adds a call, or a piece of one: in a stream the pieces have the call's index.
    fn add_tool_call(&mut self, call: &Value) -> Result<bool, Problem> {
        let index = call.get("index").and_then(Value::as_u64).and_then(|index| usize::try_from(index).ok());
        let index = index.unwrap_or(self.tool_calls.len());
        if index >= MAX_TOOL_CALLS {
            return Err(Problem::new(
                Class::Malformed,
                format!("it asks for more than {MAX_TOOL_CALLS} calls"),
            ));
        }
        if self.tool_calls.len() <= index {
            self.tool_calls.resize_with(index + 1, ToolCall::default);
        }
        let text = |value: Option<&Value>| value.and_then(Value::as_str).unwrap_or_default().to_owned();
        let function = call.get("function");
        let arguments = function.and_then(|function| function.get("arguments"));
        let arguments = match arguments {
            // Some servers give the object itself.
            Some(object @ Value::Object(_)) => object.to_string(),
            arguments => text(arguments),
        };
        self.count(arguments.len())?;
        let known = &mut self.tool_calls[index];
        let (id, name) = (text(call.get("id")), text(function.and_then(|function| function.get("name"))));
        let is_useful = !arguments.is_empty() || !name.is_empty();
        if known.id.is_empty() {
            known.id = id;
        }
        if known.name.is_empty() {
            known.name = name;
        }
        known.arguments.push_str(&arguments);
        Ok(is_useful)
    }

    /// Whether the server has said that the answer is over.
    pub(super) fn is_finished(&self) -> bool {
        self.finish.is_some()
    }

    /// What is known of the cost so far.
    pub(super) fn usage(&self) -> Option<Usage> {
        self.usage
    }

    /// How many bytes of an answer have come, if one has begun.
    pub(super) fn answered(&self) -> Option<u64> {
        self.has_begun.then_some(self.bytes as u64)
    }

    /// The answer, and what its end adds to its text.
    ///
    /// # Errors
    /// If there is no answer, or the server withheld it.
    pub(super) fn finish(self) -> Result<(LlmResponse, String), Problem> {
        let usage = self.usage.unwrap_or_default();
        // What a whole answer cost is known if its server counts.
        let answered = self.answered().filter(|_| self.usage.is_none());
        let problem =
            |class, text: &str| Err(Problem { usage, answered, ..Problem::new(class, text.to_owned()) });
        if !self.has_choice {
            return problem(Class::Malformed, "it answered without a choice");
        }
        if self.is_refused {
            return problem(Class::Refused, "it declined to answer");
        }
        let sorted = self.text.finish();
        let finish = match self.finish.as_deref() {
            Some("content_filter") => {
                return problem(Class::Refused, "its content filter withheld the answer");
            }
            Some("length" | "max_tokens" | "model_length") => Finish::Length,
            Some("tool_calls" | "function_call") => Finish::ToolCalls,
            _ if !self.tool_calls.is_empty() => Finish::ToolCalls,
            Some("error") => return problem(Class::Unavailable, "it broke the answer off"),
            _ => Finish::Stop,
        };
        if sorted.answer.is_empty() && self.tool_calls.is_empty() {
            return match finish {
                Finish::Length => problem(
                    Class::CutOff,
                    "its answer was cut off before it began: thoughts, or a long prompt, used all tokens; allow more \
                     with `max_tokens`",
                ),
                _ => problem(Class::Malformed, "it answered without text"),
            };
        }
        let reasoning = self.reasoning + &sorted.thoughts;
        let mut response = LlmResponse::new(sorted.answer);
        response.finish = finish;
        response.tool_calls = self.tool_calls;
        response.usage = self.usage;
        response.reasoning = (!reasoning.is_empty()).then_some(reasoning);
        Ok((response, sorted.rest))
    }
}

/// A text, or the texts of a list of parts.
fn content(value: &Value) -> Cow<'_, str> {
    match value {
        Value::String(text) => text.into(),
        Value::Array(parts) => parts.iter().map(content).collect::<String>().into(),
        Value::Object(part) => match part.get("type").and_then(Value::as_str) {
            // Parts that are thoughts have their text under other keys, which are not read here.
            Some("thinking" | "reasoning") => Cow::default(),
            _ => part.get("text").map(content).unwrap_or_default(),
        },
        _ => Cow::default(),
    }
}

/// A chunk with a piece of text. What would mean anything else is missing or null.
#[derive(Deserialize)]
struct TextChunk<'a> {
    #[serde(default, rename = "error")]
    _error: (),
    #[serde(default, rename = "usage")]
    _usage: (),
    #[serde(borrow)]
    choices: [Choice<'a>; 1],
}

#[derive(Deserialize)]
struct Choice<'a> {
    #[serde(borrow)]
    delta: Delta<'a>,
    #[serde(default, rename = "finish_reason")]
    _finish_reason: (),
}

#[derive(Deserialize)]
struct Delta<'a> {
    #[serde(borrow)]
    content: Cow<'a, str>,
    #[serde(default, rename = "reasoning_content")]
    _reasoning_content: (),
    #[serde(default, rename = "reasoning")]
    _reasoning: (),
    #[serde(default, rename = "thinking")]
    _thinking: (),
    #[serde(default, rename = "refusal")]
    _refusal: (),
    #[serde(default, rename = "tool_calls")]
    _tool_calls: (),
}

#[cfg(test)]
mod tests;
