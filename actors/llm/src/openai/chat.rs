//! The body of a request, as <https://platform.openai.com/docs/api-reference/chat/create> defines it, in the form that a
//! model's server takes.

use serde::Serialize;
use serde_json::{Map, Value, json};
use teammy_config::{JsonMode, SystemRole, TemperatureMode};
use teammy_kernel::{LlmFormat, LlmMessage, LlmRequest, Role};

/// Keys that the configuration adds to each request to a model.
pub(super) type ExtraBody = Map<String, Value>;

/// How a server takes requests.
#[derive(Debug, Clone)]
pub(super) struct Dialect {
    /// The model's name at its server.
    pub(super) model: String,
    pub(super) temperature: TemperatureMode,
    /// Where a request says how long its answer may be, if it does.
    pub(super) limit_field: Option<&'static str>,
    pub(super) system_role: SystemRole,
    pub(super) json: JsonMode,
    pub(super) stream: bool,
    pub(super) extra: ExtraBody,
}

/// What a server has rejected before, and is not sent again.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Learned {
    pub(super) no_response_format: bool,
    pub(super) no_stream_options: bool,
}

#[derive(Serialize)]
struct WireMessage<'a> {
    role: &'a str,
    content: &'a str,
}

/// The body of a request.
pub(super) fn body(request: &LlmRequest, dialect: &Dialect, learned: Learned) -> Value {
    let json_mode = if learned.no_response_format { JsonMode::Prompt } else { dialect.json };
    let instructions = match &request.format {
        LlmFormat::Json { schema, .. } => Some(instructions(schema.as_value())),
        _ => None,
    };
    let mut body = Map::new();
    body.insert("model".to_owned(), json!(dialect.model));
    body.insert("messages".to_owned(), messages(&request.messages, instructions, dialect.system_role));
    let mut set = |key: &str, value: Option<Value>| {
        if let Some(value) = value {
            body.insert(key.to_owned(), value);
        }
    };
    let temperature = request.temperature.filter(|_| dialect.temperature == TemperatureMode::Send);
    set("temperature", temperature.map(|temperature| json!(temperature)));
    if let Some(field) = dialect.limit_field {
        set(field, request.max_tokens.map(|tokens| json!(tokens)));
    }
    set("stop", (!request.stop.is_empty()).then(|| json!(request.stop)));
    set("seed", request.seed.map(|seed| json!(seed)));
    let tools: Vec<Value> = request
        .tools
        .iter()
        .map(|tool| {
            let (name, description, parameters) = (&tool.name, &tool.description, tool.parameters.as_value());
            let function = json!({"name": name, "description": description, "parameters": parameters});
            json!({"type": "function", "function": function})
        })
        .collect();
    set("tools", (!tools.is_empty()).then_some(Value::Array(tools)));
    if let LlmFormat::Json { name, schema } = &request.format {
        let schema = schema.as_value();
        set(
            "response_format",
            match json_mode {
                // Only an object may be the whole of a structured answer.
                JsonMode::Schema if schema["type"] == "object" => Some(
                    json!({"type": "json_schema", "json_schema": {"name": plain(name), "schema": schema}}),
                ),
                JsonMode::Object if schema["type"] == "object" => Some(json!({"type": "json_object"})),
                _ => None,
            },
        );
    }
    if dialect.stream {
        set("stream", Some(json!(true)));
        set("stream_options", (!learned.no_stream_options).then(|| json!({"include_usage": true})));
    }
    // The configuration has the last word.
    body.extend(dialect.extra.clone());
    Value::Object(body)
}

/// The messages in the roles that the server takes, with what the answer's form needs.
fn messages(messages: &[LlmMessage], instructions: Option<String>, role: SystemRole) -> Value {
    let mut all: Vec<LlmMessage> = messages.to_vec();
    if let Some(instructions) = instructions {
        match all.iter_mut().find(|message| message.role == Role::System) {
            Some(system) => {
                system.content.push_str("\n\n");
                system.content.push_str(&instructions);
            }
            None => all.insert(0, LlmMessage::system(instructions)),
        }
    }
    if role == SystemRole::User {
        // A system message becomes the beginning of the next user message: roles alternate.
        let mut merged: Vec<LlmMessage> = Vec::new();
        for message in all {
            let message =
                if message.role == Role::System { LlmMessage::user(message.content) } else { message };
            match merged.last_mut() {
                Some(last) if last.role == message.role && message.role == Role::User => {
                    last.content.push_str("\n\n");
                    last.content.push_str(&message.content);
                }
                _ => merged.push(message),
            }
        }
        all = merged;
    }
    let name = |given: Role| match (given, role) {
        (Role::System, SystemRole::Developer) => "developer",
        (Role::System, _) => "system",
        (Role::User, _) => "user",
        (Role::Assistant, _) => "assistant",
    };
    json!(
        all.iter()
            .map(|message| WireMessage { role: name(message.role), content: &message.content })
            .collect::<Vec<_>>()
    )
}

/// What tells a model the form of its answer, also where its server forces it: it writes better what it was told.
fn instructions(schema: &Value) -> String {
    format!("Answer with JSON and nothing else, of this JSON Schema:\n{schema}")
}

/// A name as servers take it: letters, digits, `_` and `-`, 64 at most.
fn plain(name: &str) -> String {
    let plain = |c: char| if c.is_ascii_alphanumeric() || matches!(c, '_' | '-') { c } else { '_' };
    name.chars().map(plain).take(64).collect()
}
