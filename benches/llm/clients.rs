//! The sides: what each of them does for one request.

use std::sync::Arc;

use async_openai::{
    Client,
    config::OpenAIConfig,
    types::chat::{
        ChatCompletionRequestSystemMessage, ChatCompletionRequestUserMessage, ChatCompletionStreamOptions,
        CreateChatCompletionRequest,
    },
};
use futures::StreamExt;
use teammy_config::Config;
use teammy_kernel::{Caller, LlmMessage, LlmRequest, MeetingId, Model, Name, SharedLlm};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
    time::Instant,
};

use crate::server::Answers;

/// The form in which the server gives its answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Form {
    /// Token by token, as Teammy asks for it unless `stream = false`.
    Streamed,
    /// In one piece.
    Whole,
}

/// The instructions of each request.
const INSTRUCTIONS: &str = "You read what is said in a meeting, and say which of the actions below it calls for, in \
    the order in which they were named. Answer with nothing else.";

/// The end of each request: as many words as `llm-action` sends of a meeting.
const WORDS: &str = "We should look at the numbers of the last quarter again before we decide about the two new \
    places in the team, and somebody has to ask the customer whether the end of March is early enough. ";

/// The tokens that an answer may have.
const MAX_TOKENS: u32 = 256;

/// A side would share the answers of equal requests at temperature 0.
const TEMPERATURE: f32 = 0.7;

/// What is asked in the request of this number: no two ask the same.
pub fn words(number: u64) -> String {
    format!("{number}: {}", WORDS.repeat(6))
}

/// async-openai alone, with an HTTP client of its own.
#[derive(Clone)]
pub struct AsyncOpenAi(Client<OpenAIConfig>);

impl AsyncOpenAi {
    pub fn new(url: &str) -> Self {
        let http = reqwest::Client::builder().no_proxy().build().expect("an HTTP client can be made");
        let config = OpenAIConfig::new().with_api_base(url).with_api_key("none");
        Self(Client::with_config(config).with_http_client(http))
    }

    /// Asks, and returns the answer's text.
    pub async fn ask(&self, model: &str, form: Form, words: &str) -> Result<String, String> {
        let streams = form == Form::Streamed;
        let request = CreateChatCompletionRequest {
            model: model.to_owned(),
            messages: vec![
                ChatCompletionRequestSystemMessage::from(INSTRUCTIONS).into(),
                ChatCompletionRequestUserMessage::from(words).into(),
            ],
            temperature: Some(TEMPERATURE),
            max_completion_tokens: Some(MAX_TOKENS),
            stream: streams.then_some(true),
            stream_options: streams.then_some(ChatCompletionStreamOptions {
                include_usage: Some(true),
                include_obfuscation: None,
            }),
            ..CreateChatCompletionRequest::default()
        };
        let failed = |error: async_openai::error::OpenAIError| error.to_string();
        if !streams {
            let answer = self.0.chat().create(request).await.map_err(failed)?;
            let choice = answer.choices.into_iter().next().ok_or("an answer without a choice")?;
            return choice.message.content.ok_or_else(|| "an answer without a text".to_owned());
        }
        let mut chunks = self.0.chat().create_stream(request).await.map_err(failed)?;
        let mut text = String::new();
        while let Some(chunk) = chunks.next().await {
            let chunk = chunk.map_err(failed)?;
            if let Some(piece) = chunk.choices.first().and_then(|choice| choice.delta.content.as_deref()) {
                text.push_str(piece);
            }
        }
        text.truncate(text.trim_end().len());
        Ok(text)
    }
}

/// Teammy's client of one model, behind its actor.
pub async fn teammy(url: &str, form: Form) -> SharedLlm {
    let stream = form == Form::Streamed;
    let config = format!(
        "[[llm.model]]\nname = \"bench\"\nbase_url = \"{url}\"\nmax_tokens_field = \"max_completion_tokens\"\n\
         stream = {stream}\n"
    );
    let config = Config::from_toml(&config).expect("the configuration is right");
    let provider = teammy_llm::configured(&config.llm, true).expect("the client can be made");
    teammy_llm::behind_actor(provider).await.expect("the actor starts")
}

/// One of those that ask at the same time.
pub enum Asker {
    /// Writes a request to a connection of its own and reads the answer's bytes: the server's own time.
    Bare {
        connection: TcpStream,
        head: String,
        form: Form,
    },
    AsyncOpenAi {
        client: AsyncOpenAi,
        model: String,
        form: Form,
    },
    Teammy {
        llm: SharedLlm,
        caller: Caller,
        limit: std::time::Duration,
    },
}

impl Asker {
    pub async fn bare(port: u16, time: u64, form: Form) -> Self {
        let connection = TcpStream::connect(("127.0.0.1", port)).await.expect("the server accepts");
        connection.set_nodelay(true).expect("a connection of TCP");
        let head = format!(
            "POST /{time}/v1/chat/completions HTTP/1.1\r\nhost: 127.0.0.1\r\ncontent-type: application/json\r\n"
        );
        Self::Bare { connection, head, form }
    }

    /// One that asks as an instance does, in a meeting of its own.
    pub fn teammy(llm: SharedLlm, number: usize) -> Self {
        let meeting = MeetingId::new(format!("meeting-{number}")).expect("a well-formed id");
        let caller = Caller::new(meeting, Name::new("bench").expect("a well-formed name"));
        Self::Teammy { llm, caller, limit: Config::default().hooks.deadline }
    }

    /// Asks once. Panics if the answer is not the server's.
    pub async fn ask(&mut self, number: u64, answers: &Arc<Answers>) {
        let words = words(number);
        let text = match self {
            Self::Bare { connection, head, form } => {
                let stream = *form == Form::Streamed;
                let body = format!("{{\"stream\":{stream},\"content\":\"{words}\"}}");
                let request = format!("{head}content-length: {}\r\n\r\n{body}", body.len());
                connection.write_all(request.as_bytes()).await.expect("the server reads");
                let expected = if stream { &answers.streamed } else { &answers.whole };
                let mut answer = vec![0; expected.len()];
                connection.read_exact(&mut answer).await.expect("the server answers");
                assert!(answer == *expected, "the bare answer is another one");
                return;
            }
            Self::AsyncOpenAi { client, model, form } => client.ask(model, *form, &words).await,
            Self::Teammy { llm, caller, limit } => {
                let mut caller = caller.clone();
                caller.deadline = Some(Instant::now() + *limit);
                let messages = vec![LlmMessage::system(INSTRUCTIONS), LlmMessage::user(words)];
                let mut request = LlmRequest::new(Model::Default, messages, caller);
                request.temperature = Some(TEMPERATURE);
                request.max_tokens = Some(MAX_TOKENS);
                llm.complete(request).await.map(|answer| answer.text).map_err(|error| error.to_string())
            }
        };
        let text = text.unwrap_or_else(|error| panic!("a request failed: {error}"));
        assert!(text == answers.text, "the answer is another one: {text}");
    }
}
