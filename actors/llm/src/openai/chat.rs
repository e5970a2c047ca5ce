//! The body of a question and of its answer, as
//! <https://platform.openai.com/docs/api-reference/chat/create> defines them.

use serde::{Deserialize, Serialize};
use teammy_kernel::{LlmError, LlmMessage, LlmRequest, LlmResponse, Usage};

/// Keys that the configuration adds to each question to a model.
pub(super) type ExtraBody = serde_json::Map<String, serde_json::Value>;

#[derive(Serialize)]
pub(super) struct ChatRequest<'a> {
    model: &'a str,
    messages: &'a [LlmMessage],
    #[serde(skip_serializing_if = "Option::is_none")]
    temperature: Option<f32>,
    #[serde(flatten)]
    extra: &'a ExtraBody,
}

impl<'a> ChatRequest<'a> {
    pub(super) fn new(model: &'a str, request: &'a LlmRequest, extra: &'a ExtraBody) -> Self {
        // The key may stand only once: servers differ in which of two they take.
        let temperature = (!extra.contains_key("temperature")).then_some(request.temperature);
        Self { model, messages: &request.messages, temperature, extra }
    }
}

/// The part of an answer that is used. Servers leave out much of what the reference promises, so nothing else
/// is required.
#[derive(Deserialize)]
pub(super) struct ChatCompletion {
    choices: Vec<ChatChoice>,
    #[serde(default)]
    usage: Option<ChatUsage>,
}

#[derive(Deserialize)]
struct ChatChoice {
    message: ChatMessage,
    #[serde(default)]
    finish_reason: Option<String>,
}

#[derive(Deserialize)]
struct ChatMessage {
    #[serde(default)]
    content: Option<String>,
    #[serde(default)]
    refusal: Option<String>,
}

#[derive(Deserialize)]
struct ChatUsage {
    #[serde(default)]
    prompt_tokens: u64,
    #[serde(default)]
    completion_tokens: u64,
}

impl ChatCompletion {
    pub(super) fn into_response(self) -> Result<LlmResponse, LlmError> {
        let usage = self
            .usage
            .map(|usage| Usage { prompt: usage.prompt_tokens, completion: usage.completion_tokens });
        let Some(ChatChoice { message, finish_reason }) = self.choices.into_iter().next() else {
            return Err(LlmError::Failed("it answered without a choice".to_owned()));
        };
        match message {
            ChatMessage { refusal: Some(_), .. } => {
                Err(LlmError::Refused("it declined to answer".to_owned()))
            }
            _ if finish_reason.as_deref() == Some("content_filter") => {
                Err(LlmError::Refused("its content filter withheld the answer".to_owned()))
            }
            ChatMessage { content: Some(text), .. } => {
                let mut response = LlmResponse::new(text);
                response.usage = usage;
                Ok(response)
            }
            ChatMessage { content: None, .. } => Err(LlmError::Failed("it answered without text".to_owned())),
        }
    }
}
