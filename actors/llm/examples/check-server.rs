//! Checks that a server's models can be used: text, pieces as they come, JSON of a type, and what they cost.
//!
//! `cargo run -p teammy-llm --example check-server -- http://127.0.0.1:8080/v1 [MODEL]`; a key is taken from `MODEL_KEY`.

use std::{process::ExitCode, sync::Arc, time::Duration};

use futures::{FutureExt, StreamExt};
use schemars::JsonSchema;
use serde::Deserialize;
use serde_json::{Value, json};
use teammy_config::Loader;
use teammy_kernel::{
    DataPacket, EngineControl, History, Llm, LlmError, LlmMessage, MeetingId, Name, PersistenceProvider,
    ReadFuture, Seq,
};

/// How often the server is asked for JSON.
const ROUNDS: usize = 10;

/// A datastore without anything.
struct Nothing;

impl PersistenceProvider for Nothing {
    fn get<'a>(&'a self, _: &'a str) -> ReadFuture<'a, Option<Arc<str>>> {
        async { Ok(None) }.boxed()
    }

    fn list<'a>(&'a self, _: &'a str) -> ReadFuture<'a, Vec<(String, Arc<str>)>> {
        async { Ok(Vec::new()) }.boxed()
    }

    fn history(&self, _: History, _: Seq) -> ReadFuture<'_, Vec<Arc<DataPacket>>> {
        async { Ok(Vec::new()) }.boxed()
    }
}

/// What somebody is to do. The texts are bounded: a small model may not stop by itself.
#[derive(Debug, Deserialize, JsonSchema)]
#[allow(dead_code, reason = "it is read to see whether it can be")]
struct Todo {
    /// Who does it.
    #[schemars(length(max = 40))]
    owner: String,
    /// What is to be done.
    #[schemars(length(max = 120))]
    task: String,
    /// By when, if it was said.
    #[schemars(length(max = 40))]
    due: Option<String>,
}

#[tokio::main(flavor = "current_thread")]
async fn main() -> ExitCode {
    let mut arguments = std::env::args().skip(1);
    let Some(url) = arguments.next() else {
        eprintln!("usage: check-server BASE_URL [MODEL]");
        return ExitCode::from(2);
    };
    let model = arguments.next().unwrap_or_else(|| "default".to_owned());
    let engine = match engine(&url, &model) {
        Ok(engine) => engine,
        Err(error) => {
            eprintln!("{error}");
            return ExitCode::from(2);
        }
    };
    let llm = engine.engine().llm();
    let mut is_well = true;
    let mut report = |what: &str, found: Result<String, String>| {
        let (mark, text) = match found {
            Ok(text) => ("ok", text),
            Err(text) => {
                is_well = false;
                ("FAILED", text)
            }
        };
        println!("{what:<8} {mark:<7} {text}");
    };
    report("text", text(llm).await);
    report("stream", stream(llm).await);
    report("json", json_of_a_type(llm).await);
    report("usage", usage(llm, &url, &model).await);
    ExitCode::from(u8::from(!is_well))
}

fn engine(url: &str, model: &str) -> Result<EngineControl, String> {
    let model = json!({"name": "it", "model": model, "base_url": url, "max_tokens_field": "max_tokens"});
    let mut toml = "[[llm.model]]\n".to_owned();
    for (key, value) in model.as_object().into_iter().flatten() {
        toml.extend([key, " = ", &value.to_string(), "\n"]);
    }
    let key = std::env::var("MODEL_KEY").ok();
    if key.is_some() {
        toml += "api_key_env = \"MODEL_KEY\"\n";
    }
    let variables = key.map(|key| ("MODEL_KEY".to_owned(), key));
    let loaded = Loader::default().text("the arguments", toml).env(variables).load();
    let config = loaded.map_err(|error| error.to_string())?.config;
    let models = teammy_llm::configured(&config.llm, true).map_err(|error| error.to_string())?;
    let [meeting, instance] = ["check-server", "check-server"];
    let meeting = MeetingId::new(meeting).map_err(|error| error.to_string())?;
    let instance = Name::new(instance).map_err(|error| error.to_string())?;
    Ok(EngineControl::new(models, Arc::new(Nothing), meeting, instance, Some(Duration::from_mins(10))))
}

fn question() -> [LlmMessage; 1] {
    [LlmMessage::user("Name three colors, and nothing else.")]
}

async fn text(llm: &Llm) -> Result<String, String> {
    let answer = or_cut(llm.ask(question()).temperature(0.0).max_tokens(64).text().await)?;
    Ok(format!("{} characters", answer.chars().count()))
}

/// The pieces add up to the whole answer.
async fn stream(llm: &Llm) -> Result<String, String> {
    let mut stream = llm.ask(question()).temperature(0.0).max_tokens(64).stream();
    let (mut pieces, mut sum) = (0, String::new());
    while let Some(piece) = stream.next().await {
        match piece {
            Ok(piece) => {
                pieces += 1;
                sum += &piece;
            }
            Err(LlmError::CutOff { text }) if text == sum => break,
            Err(error) => return Err(error.to_string()),
        }
    }
    match stream.response() {
        Some(response) if response.text == sum => {
            Ok(format!("{pieces} pieces, {} characters", sum.chars().count()))
        }
        _ => Err("the pieces do not add up to the answer".to_owned()),
    }
}

async fn json_of_a_type(llm: &Llm) -> Result<String, String> {
    let said =
        ["Ada books the room by Friday.", "Bo writes to the customer.", "Cy tests the update on Monday."];
    let mut valid = 0;
    let mut problem = String::new();
    for round in 0..ROUNDS {
        let messages = [
            LlmMessage::system("Say who has taken on which task."),
            LlmMessage::user(said[round % said.len()]),
        ];
        match llm.ask(messages).temperature(0.7).max_tokens(200).json::<Todo>().await {
            Ok(_) => valid += 1,
            Err(error) => problem = format!("; {error}"),
        }
    }
    let found = format!("{valid} of {ROUNDS} valid{problem}");
    if valid == ROUNDS { Ok(found) } else { Err(found) }
}

/// What the server says of the same request without us.
async fn usage(llm: &Llm, url: &str, model: &str) -> Result<String, String> {
    let ours = llm
        .ask(question())
        .temperature(0.0)
        .max_tokens(16)
        .response()
        .await
        .map_err(|error| error.to_string())?;
    let ours = ours.usage.ok_or("the server does not say what a request costs")?;
    let body = json!({
        "model": model, "messages": question(), "temperature": 0.0, "max_tokens": 16,
    });
    // Only one crypto provider is in the build, and nobody else has installed it.
    let _ = rustls::crypto::ring::default_provider().install_default();
    let mut request = reqwest::Client::new().post(format!("{url}/chat/completions")).body(body.to_string());
    request = request.header("content-type", "application/json");
    if let Ok(key) = std::env::var("MODEL_KEY") {
        request = request.bearer_auth(key);
    }
    let answer = request.send().await.map_err(|error| error.to_string())?;
    let answer = answer.text().await.map_err(|error| error.to_string())?;
    let answer: Value = serde_json::from_str(&answer).map_err(|error| error.to_string())?;
    let server = |key: &str| answer["usage"][key].as_u64().unwrap_or_default();
    let (prompt, completion) = (server("prompt_tokens"), server("completion_tokens"));
    let found =
        format!("{} + {} tokens, the server's own {prompt} + {completion}", ours.prompt, ours.completion);
    if (ours.prompt, ours.completion) == (prompt, completion) { Ok(found) } else { Err(found) }
}

/// A short limit cuts long answers off, which is what it is for.
fn or_cut(answer: Result<String, LlmError>) -> Result<String, String> {
    match answer {
        Ok(text) | Err(LlmError::CutOff { text }) => Ok(text),
        Err(error) => Err(error.to_string()),
    }
}
