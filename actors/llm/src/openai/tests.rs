use serde_json::{Value, json};
use teammy_config::{Config, Loader};
use teammy_kernel::{Caller, LlmError, LlmMessage, MeetingId, Model, Name, SharedLlm, Usage};

use super::*;
use server::{CannedAnswer, FakeServer, ReceivedRequest};

mod audio;
mod embeddings;
mod faults;
mod raw_server;
mod server;
mod traces;

const KEY: &str = "sk-very-secret";

fn config(toml: &str) -> Config {
    let variables = [("MODEL_KEY".to_owned(), KEY.to_owned())];
    Loader::default().text("test", toml).env(variables).load().unwrap().config
}

fn models(toml: &str) -> SharedLlm {
    crate::configured(&config(toml).llm, false).unwrap()
}

/// One model that is asked once.
fn one_model(base_url: &str) -> SharedLlm {
    let toml = format!(
        "llm.tries = 1\n[[llm.model]]\nname = \"big\"\nmodel = \"big-1\"\nbase_url = \"{base_url}\"\napi_key_env = \"MODEL_KEY\""
    );
    models(&toml)
}

fn question(model: Model) -> LlmRequest {
    let messages = vec![LlmMessage::system("Be brief."), LlmMessage::user("Hello?")];
    let caller = Caller::new(MeetingId::new("m").unwrap(), Name::new("i").unwrap());
    let mut request = LlmRequest::new(model, messages, caller);
    request.temperature = Some(0.5);
    request
}

async fn answer_to(answer: CannedAnswer) -> Result<LlmResponse, LlmError> {
    let server = FakeServer::start(move |_| answer.clone());
    one_model(&server.base_url()).complete(question(Model::Default)).await
}

#[tokio::test]
async fn a_question_has_the_form_that_the_api_defines() {
    let server = FakeServer::start(|_: &ReceivedRequest| CannedAnswer::text("Hi."));
    let response = one_model(&server.base_url()).complete(question(Model::Default)).await.unwrap();
    assert_eq!(response.text, "Hi.");
    assert_eq!(response.usage, Some(Usage { prompt: 11, completion: 7, ..Usage::default() }));

    let asked = &server.asked()[0];
    assert_eq!(asked.path, "/v1/chat/completions");
    assert_eq!(asked.authorization.as_deref(), Some("Bearer sk-very-secret"));
    let body = serde_json::json!({
        "model": "big-1",
        "messages": [{"role": "system", "content": "Be brief."}, {"role": "user", "content": "Hello?"}],
        "temperature": 0.5,
        "stream": true,
        "stream_options": {"include_usage": true},
    });
    assert_eq!(asked.body, body);
}

#[tokio::test]
async fn each_role_has_its_model_and_a_server_without_key_gets_none() {
    let server = FakeServer::start(|asked: &ReceivedRequest| {
        CannedAnswer::text(asked.body["model"].as_str().unwrap())
    });
    let url = server.base_url();
    let toml = format!(
        "[llm]\ndefault = \"big\"\nfast = \"small\"\n[[llm.model]]\nname = \"small\"\nbase_url = \"{url}\"\n\
         [[llm.model]]\nname = \"big\"\nbase_url = \"{url}/\"\napi_key_env = \"MODEL_KEY\""
    );
    let models = models(&toml);
    assert_eq!(models.complete(question(Model::Default)).await.unwrap().text, "big");
    assert_eq!(models.complete(question(Model::Fast)).await.unwrap().text, "small");
    let authorizations: Vec<_> =
        server.asked().into_iter().map(|asked| asked.authorization.is_some()).collect();
    assert_eq!(authorizations, [true, false]);
}

#[tokio::test]
async fn a_server_is_told_what_its_model_wants() {
    let server = FakeServer::start(|_: &ReceivedRequest| CannedAnswer::text("Hi."));
    let toml = format!(
        "[[llm.model]]\nname = \"big\"\nbase_url = \"{}\"\nextra_body = {{ temperature = 1, max_tokens = 9 }}",
        server.base_url()
    );
    let models = models(&toml);
    models.complete(question(Model::Default)).await.unwrap();
    let body = &server.asked()[0].body;
    assert_eq!((&body["temperature"], &body["max_tokens"]), (&1.into(), &9.into()));
}

#[tokio::test]
async fn a_limit_in_the_settings_is_what_a_budget_sets_aside_and_the_only_one_that_is_sent() {
    for (settings, most, sent) in [
        ("", 4_096, json!({"max_tokens": 4_096})),
        ("max_tokens = 50", 50, json!({"max_tokens": 50})),
        ("extra_body = { max_tokens = 32000 }", 32_000, json!({"max_tokens": 32_000})),
        ("extra_body = { max_completion_tokens = 1000 }", 1000, json!({"max_completion_tokens": 1000})),
        ("max_tokens_field = \"omit\"\nmax_tokens = 50", 50, json!({})),
    ] {
        // The prompt has up to 200 tokens.
        for (tokens, is_paid) in [(most, false), (most + 200, true)] {
            let server = FakeServer::start(|_: &ReceivedRequest| CannedAnswer::text("Hi."));
            let models = models(&format!(
                "[[llm.model]]\nname = \"big\"\nbase_url = \"{}\"\n{settings}\n\
                 [[llm.budget]]\nname = \"b\"\ntokens = {tokens}",
                server.base_url()
            ));
            let mut asked = question(Model::Default);
            asked.max_tokens = None;
            let answer = models.complete(asked).await;
            let fields = server.asked().into_iter().map(|asked| {
                let mut body = asked.body;
                let fields = body.as_object_mut().unwrap();
                fields.retain(|field, _| field.starts_with("max_"));
                body
            });
            let fields: Vec<Value> = fields.collect();
            if is_paid {
                assert_eq!(
                    (answer.unwrap().text.as_str(), fields),
                    ("Hi.", vec![sent.clone()]),
                    "{settings}"
                );
            } else {
                assert!(matches!(answer, Err(LlmError::BudgetExceeded { .. })), "{settings}: {answer:?}");
                assert_eq!(fields, [json!(null); 0], "{settings}");
            }
        }
    }
    // A plugin that asks for fewer is not heard where the settings have the last word.
    let server = FakeServer::start(|_: &ReceivedRequest| CannedAnswer::text("Hi."));
    let models = models(&format!(
        "[[llm.model]]\nname = \"big\"\nbase_url = \"{}\"\nextra_body = {{ max_completion_tokens = 1000 }}\n\
         [[llm.budget]]\nname = \"b\"\ntokens = 1000",
        server.base_url()
    ));
    let mut asked = question(Model::Default);
    asked.max_tokens = Some(5);
    assert!(matches!(models.complete(asked).await, Err(LlmError::BudgetExceeded { .. })));
}

#[tokio::test]
async fn transient_errors_are_told_from_permanent_ones() {
    let error = |status, body: &str| answer_to(CannedAnswer::Raw(status, body.to_owned()));
    let refusal = r#"{"choices": [{"message": {"content": null, "refusal": "no"}}]}"#;
    let filtered = r#"{"choices": [{"message": {"content": ""}, "finish_reason": "content_filter"}]}"#;
    for (status, body, says) in [
        (413, "", "big: HTTP 413 Payload Too Large"),
        (400, r#"{"error": {"message": "bad: Hello?", "code": 7}}"#, "big: HTTP 400 Bad Request"),
        (
            400,
            r#"{"error": {"code": "context_length_exceeded"}}"#,
            "big: HTTP 400 Bad Request (context_length_exceeded)",
        ),
        (422, "you said: Hello?", "big: HTTP 422 Unprocessable Entity"),
        (200, refusal, "big: it declined to answer"),
        (200, filtered, "big: its content filter withheld the answer"),
    ] {
        match error(status, body).await {
            Err(LlmError::Refused(said)) => assert_eq!(said, says),
            other => panic!("{status} {body}: {other:?}"),
        }
    }
    for (status, body, says) in [
        (429, r#"{"error": "slow down"}"#, "big: HTTP 429 Too Many Requests"),
        (500, "out of memory\nat line 3", "big: HTTP 500 Internal Server Error"),
        (503, "", "big: HTTP 503 Service Unavailable"),
        (200, "a page", "big: its answer does not follow the API: syntax error at line 1, column 1"),
        (200, r#"{"choices": "none"}"#, "big: it answered without a choice"),
        (200, r#"{"choices": []}"#, "big: it answered without a choice"),
        (200, r#"{"choices": [{"message": {}}]}"#, "big: it answered without text"),
    ] {
        match error(status, body).await {
            Err(LlmError::Failed(said)) => assert_eq!(said, says),
            other => panic!("{status} {body}: {other:?}"),
        }
    }
}

#[tokio::test]
async fn a_server_is_asked_once_and_long_answers_end() {
    let server = FakeServer::start(|_: &ReceivedRequest| CannedAnswer::Raw(503, String::new()));
    one_model(&server.base_url()).complete(question(Model::Default)).await.unwrap_err();
    assert_eq!(server.asked().len(), 1, "the client does not retry");

    let long = CannedAnswer::Raw(200, format!("{{\"choices\": [], \"x\": \"{}\"}}", "x".repeat(9 << 20)));
    match answer_to(long).await {
        Err(LlmError::Refused(said)) => {
            assert_eq!(said, "big: its answer is larger than 8388608 bytes; set `max_tokens`");
        }
        other => panic!("{other:?}"),
    }
}

#[tokio::test]
async fn an_unreachable_server_is_a_transient_error() {
    // No system hands out a port this low on its own, so nothing listens on it.
    match one_model("http://127.0.0.1:1/v1").complete(question(Model::Default)).await {
        Err(LlmError::Failed(said)) => {
            assert!(said.starts_with("big: ") && said.contains("onnect"), "{said}");
            assert!(!said.contains("/v1"), "{said}");
        }
        other => panic!("{other:?}"),
    }
}

#[tokio::test]
async fn a_key_that_is_wrong_or_missing_is_configuration() {
    let toml = "[[llm.model]]\nname = \"big\"\napi_key_env = \"OTHER_KEY\"";
    let says = "model big needs its API key: the environment variable OTHER_KEY is not set";
    assert_eq!(crate::configured(&config(toml).llm, true).unwrap_err().to_string(), says);
    match models(toml).complete(question(Model::Fast)).await {
        Err(LlmError::Misconfigured(said)) => {
            assert_eq!(said, "big: it needs its API key: the environment variable OTHER_KEY is not set");
        }
        other => panic!("{other:?}"),
    }
    let body = r#"{"error": {"message": "no such key: sk-very-secret", "code": "sk-very-secret", "type": "invalid_api_key"}}"#;
    match answer_to(CannedAnswer::Raw(401, body.to_owned())).await {
        Err(LlmError::Misconfigured(said)) => {
            assert!(
                said.starts_with("big: HTTP 401 Unauthorized (invalid_api_key): check its key"),
                "{said}"
            );
            assert!(!said.contains("very-secret"), "{said}");
        }
        other => panic!("{other:?}"),
    }
    assert!(!crate::configured(&Config::default().llm, true).unwrap().is_configured());
}

#[test]
fn a_key_that_cannot_be_sent_is_refused_without_being_shown() {
    let variables = [("MODEL_KEY".to_owned(), "sk-\nsecret".to_owned())];
    let toml = "[[llm.model]]\nname = \"big\"\napi_key_env = \"MODEL_KEY\"";
    let config = Loader::default().text("test", toml).env(variables).load().unwrap().config;
    let error = crate::configured(&config.llm, true).unwrap_err().to_string();
    assert!(error.contains("the API key of model big") && !error.contains("secret"), "{error}");
}

#[tokio::test]
async fn a_key_follows_no_redirect() {
    let other = FakeServer::start(|_: &ReceivedRequest| CannedAnswer::text("Come in."));
    let target = format!("{}/chat/completions", other.base_url());
    let server = FakeServer::start(move |_: &ReceivedRequest| CannedAnswer::Raw(307, target.clone()));
    match one_model(&server.base_url()).complete(question(Model::Default)).await {
        Err(LlmError::Misconfigured(said)) => {
            assert_eq!(said, "big: HTTP 307 Temporary Redirect: it is elsewhere; correct `base_url`");
        }
        other => panic!("{other:?}"),
    }
    assert!(other.asked().is_empty());
}

#[tokio::test]
async fn a_large_page_about_an_error_is_that_error() {
    match answer_to(CannedAnswer::Raw(503, "x".repeat(9 << 20))).await {
        Err(LlmError::Failed(said)) => assert_eq!(said, "big: HTTP 503 Service Unavailable"),
        other => panic!("{other:?}"),
    }
}
