//! The description of the API says what is sent.

use std::time::Duration;

use serde_json::{Value, json};

use super::{chat, run, run_with};

const TRACEPARENT: &str = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01";

/// The schema of a status of an operation, in the whole description, so that its references resolve.
fn schema(description: &Value, path: &str, method: &str, status: &str) -> Option<Value> {
    let response = &description["paths"][path][method]["responses"];
    let response = response.get(status).unwrap_or(&response["default"]);
    let content = response.get("content")?.as_object()?;
    let schema = content.iter().find(|(kind, _)| kind.contains("json"))?.1["schema"].clone();
    Some(json!({"allOf": [schema], "components": description["components"]}))
}

#[tokio::test]
async fn answers_are_as_they_are_described() {
    let running = run().await;
    let client = &running.client;
    let description = client.get("/openapi.json").await.json();
    assert!(description["openapi"].as_str().unwrap().starts_with("3.1"), "{}", description["openapi"]);
    let one = "/v1/meetings/{meeting}";
    let cases: Vec<(&str, String, String, Value)> = vec![
        (
            "post",
            "/v1/meetings".into(),
            "/v1/meetings".into(),
            json!({"id": "m", "title": "t", "plugins": ["loud"]}),
        ),
        ("post", "/v1/meetings".into(), "/v1/meetings".into(), json!({"id": "m"})),
        ("post", "/v1/meetings".into(), "/v1/meetings".into(), json!({"id": ""})),
        ("get", "/v1/meetings".into(), "/v1/meetings".into(), json!({})),
        ("post", format!("{one}/packets"), "/v1/meetings/m/packets?durable=true".into(), chat("x")),
        ("post", format!("{one}/packets"), "/v1/meetings/m/packets".into(), json!([chat("fail"), 1])),
        ("post", format!("{one}/packets"), "/v1/meetings/m/packets".into(), json!({"source": 1})),
        ("get", format!("{one}/packets"), "/v1/meetings/m/packets".into(), json!({})),
        ("get", format!("{one}/producers/{{producer}}"), "/v1/meetings/m/producers/p".into(), json!({})),
        ("get", one.into(), "/v1/meetings/m".into(), json!({})),
        ("get", one.into(), "/v1/meetings/none".into(), json!({})),
        ("put", format!("{one}/instances/{{instance}}"), "/v1/meetings/m/instances/second".into(), json!({})),
        (
            "delete",
            format!("{one}/instances/{{instance}}"),
            "/v1/meetings/m/instances/second".into(),
            json!({}),
        ),
        (
            "post",
            format!("{one}/instances/{{instance}}/resume"),
            "/v1/meetings/m/instances/loud/resume".into(),
            json!({}),
        ),
        ("post", format!("{one}/tokens"), "/v1/meetings/m/tokens".into(), json!({})),
        ("get", "/v1/plugins".into(), "/v1/plugins".into(), json!({})),
        ("get", "/v1/usage".into(), "/v1/usage".into(), json!({})),
        ("get", "/v1/status".into(), "/v1/status".into(), json!({})),
        ("post", format!("{one}/end"), "/v1/meetings/m/end".into(), json!({"wait": true})),
        ("get", format!("{one}/dead-letters"), "/v1/meetings/m/dead-letters".into(), json!({})),
        ("post", format!("{one}/dead-letters"), "/v1/meetings/m/dead-letters".into(), json!({})),
        ("get", one.into(), "/v1/meetings/m".into(), json!({})),
        ("delete", one.into(), "/v1/meetings/m".into(), json!({})),
    ];
    for (method, route, path, body) in cases {
        assert!(description["paths"][&route][method].is_object(), "{method} {route} is not described");
        let answer = client.json(&method.to_uppercase(), &path, &body).await;
        let Some(schema) = schema(&description, &route, method, &answer.status.to_string()) else {
            assert!(answer.text().is_empty(), "{method} {path}: {answer:?}");
            continue;
        };
        let answered = answer.json();
        let validator = jsonschema::options().build(&schema).unwrap();
        let errors: Vec<_> = validator.iter_errors(&answered).map(|error| error.to_string()).collect();
        assert!(errors.is_empty(), "{method} {path}: {errors:?}: {answered}");
    }
}

#[tokio::test]
async fn what_is_published_is_refused_if_the_description_says_so() {
    let running = run().await;
    let client = &running.client;
    client.json("POST", "/v1/meetings", &json!({"id": "m"})).await;
    let description = client.get("/openapi.json").await.json();
    let schema = json!({"$ref": "#/components/schemas/PublishBody", "components": description["components"]});
    let validator = jsonschema::options().build(&schema).unwrap();
    for (packet, is_taken) in [
        (json!({"source": "chat", "payload": 1, "producer": {"id": "p", "number": 1}}), true),
        (json!({"source": "chat", "payload": 1, "producer": {"id": "p", "number": 2.0}}), true),
        (json!({"source": "chat", "payload": 1, "producer": {"id": "p", "number": 2.5}}), false),
        (json!({"source": "chat", "payload": 1, "producer": {"id": "p", "number": 0}}), false),
        (json!({"source": "audio", "payload": 1, "producer": null}), true),
        (json!({"source": "audio", "payload": 1}), true),
        (json!({"source": "audio", "payload": 1, "producer": {"id": "p", "number": 1}}), false),
        (json!({"source": "chat"}), false),
        (json!({"source": "chat", "payload": 1, "traceparent": null}), true),
        (json!({"source": "chat", "payload": 1, "traceparent": TRACEPARENT}), true),
        (json!({"source": "chat", "payload": 1, "traceparent": "none"}), false),
        (json!({"source": "nothing", "payload": 1}), false),
    ] {
        let answer = client.json("POST", "/v1/meetings/m/packets", &packet).await;
        assert_eq!(answer.status == 200, is_taken, "{packet}: {answer:?}");
        assert_eq!(validator.is_valid(&packet), is_taken, "{packet}");
    }
}

#[tokio::test]
async fn the_description_is_sent_to_those_that_do_not_have_it() {
    let running = run().await;
    let path = "/openapi.json";
    let first = running.client.get(path).await;
    let tag = first.header("etag").unwrap();
    assert!(tag.starts_with('"') && tag.len() > 20, "{tag}");
    let asked = async |tags: &str| running.client.send("GET", path, &[("if-none-match", tags)], b"").await;
    for tags in [tag, &format!("\"x\", W/{tag}"), "*"] {
        let again = asked(tags).await;
        assert_eq!((again.status, again.text(), again.header("etag")), (304, "", Some(tag)), "{tags}");
    }
    let other = asked("\"x\"").await;
    assert_eq!((other.status, other.text()), (200, first.text()));
}

#[tokio::test]
async fn a_unix_socket_answers_its_owner() {
    use std::os::unix::fs::PermissionsExt;

    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("http.sock");
    // A process that was killed has left one.
    drop(std::os::unix::net::UnixListener::bind(&path).unwrap());
    let socket = format!("[service]\nlisten = \"127.0.0.1:0\"\nsocket = {:?}", path.display().to_string());
    let running = run_with(&socket).await;
    assert_eq!(std::fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
    let mut stream = tokio::net::UnixStream::connect(&path).await.unwrap();
    stream.write_all(b"GET /livez HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\n\r\n").await.unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).await.unwrap();
    assert!(answer.ends_with("ok\n"), "{answer}");
    let config = teammy_config::Config::from_toml(&socket).unwrap();
    let error = teammy_service::Service::bind(&config).await.unwrap_err().to_string();
    assert!(error.contains("already"), "{error}");
    running.stop.stop();
    tokio::time::timeout(Duration::from_secs(10), running.serving).await.unwrap().unwrap().unwrap();
    assert!(!path.exists());
}
