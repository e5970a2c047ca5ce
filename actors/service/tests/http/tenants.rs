//! Keys, and that no tenant sees another's meetings.

use serde_json::json;
use teammy_kernel::Name;
use teammy_runtime::keys::{NewKey, Scope};

use super::{Client, Running, chat, numbered, run, run_with};

async fn key(running: &Running, tenant: &str, scopes: &[Scope]) -> Client {
    let new = NewKey::new(Name::new(tenant).unwrap(), scopes.iter().copied());
    running.client.with_key(running.node.keys().create(new).await.unwrap().0.reveal())
}

/// What all streams say when their key ends.
const KEY_ENDED: &str = "the key or token has ended";

const ALL: [Scope; 3] = [Scope::Publish, Scope::Read, Scope::Admin];

#[tokio::test]
async fn each_request_needs_a_key_once_there_is_one() {
    let running = run().await;
    assert_eq!(running.client.get("/v1/meetings").await.status, 200);
    let acme = key(&running, "acme", &[Scope::Read]).await;
    let without = running.client.get("/v1/meetings").await;
    assert_eq!((without.status, without.header("www-authenticate")), (401, Some("Bearer")));
    assert_eq!(without.json()["code"], "no-key");
    let wrong = running.client.with_key("tmy_0000000000000000_00").get("/v1/meetings").await;
    assert_eq!((wrong.status, &wrong.json()["code"]), (401, &json!("invalid-key")));
    assert_eq!(acme.get("/v1/meetings").await.status, 200);
    let forbidden = acme.json("POST", "/v1/meetings", &json!({"id": "m"})).await;
    assert_eq!((forbidden.status, &forbidden.json()["code"]), (403, &json!("no-scope")));
    for (path, status) in
        [("/livez", 200), ("/readyz", 200), ("/openapi.json", 200), ("/metrics", 401), ("/v1/status", 401)]
    {
        assert_eq!(running.client.get(path).await.status, status, "{path}");
    }
    assert_eq!(acme.get("/v1/status").await.status, 403);
    assert_eq!(key(&running, "acme", &[Scope::Node]).await.get("/v1/status").await.status, 200);
}

#[tokio::test]
async fn a_tenant_sees_its_own_meetings_alone() {
    let running = run().await;
    let (acme, other) = (key(&running, "acme", &ALL).await, key(&running, "other", &ALL).await);
    let opening = json!({"id": "standup", "labels": {"team": "maps"}, "plugins": ["loud"]});
    for (client, text) in [(&acme, "for acme"), (&other, "for other")] {
        let opened = client.json("POST", "/v1/meetings", &opening).await;
        assert_eq!(opened.status, 201, "the same id is another meeting: {opened:?}");
        let shown = opened.json();
        assert_eq!((&shown["id"], &shown["labels"]), (&json!("standup"), &json!({"team": "maps"})));
        let published = client.json("POST", "/v1/meetings/standup/packets?durable=true", &chat(text)).await;
        assert_eq!(published.status, 200);
    }
    other.json("POST", "/v1/meetings", &json!({"id": "theirs"})).await;
    let listed = acme.get("/v1/meetings").await.json();
    assert_eq!(listed["meetings"].as_array().unwrap().len(), 1, "{listed}");
    assert_eq!(acme.get("/v1/meetings?label=tenant:other").await.json()["meetings"], json!([]));
    for path in ["theirs", "other/theirs", "other%2Ftheirs", "acme%2Fstandup", "..%2Fother%2Ftheirs"] {
        let got = acme.get(&format!("/v1/meetings/{path}")).await;
        assert_eq!(got.status, 404, "{path}: {got:?}");
    }
    let (missing, theirs) = (acme.get("/v1/meetings/none").await, acme.get("/v1/meetings/theirs").await);
    assert_eq!(missing.text().replace("none", "X"), theirs.text().replace("theirs", "X"), "no way to guess");
    assert!(!theirs.text().contains("acme/"), "{theirs:?}");
    let packets = acme.get("/v1/meetings/standup/packets?sources=chat").await.json();
    assert_eq!(packets["packets"][0]["payload"]["text"], "for acme");
    assert_eq!(
        (packets["packets"].as_array().unwrap().len(), &packets["packets"][0]["meeting"]),
        (1, &json!("standup"))
    );
    let place = async |client: &Client| client.get("/v1/meetings/standup/producers/backend").await;
    acme.json("POST", "/v1/meetings/standup/packets", &numbered(1)).await;
    assert_eq!(place(&acme).await.json()["next"], "2");
    assert_eq!(place(&other).await.json()["next"], "1");
    assert_eq!(place(&key(&running, "acme", &[Scope::Read]).await).await.status, 403);
    let mut events = acme.try_events("/v1/meetings/standup/events?outputs=true", None).await.unwrap();
    assert_eq!(events.next().await.unwrap().json()["meeting"], "standup");
    let label = json!({"id": "x", "labels": {"tenant": "other"}});
    assert_eq!(acme.json("POST", "/v1/meetings", &label).await.status, 422);
    // The pages of a list go on within the tenant.
    acme.json("POST", "/v1/meetings", &json!({"id": "second/one"})).await;
    let page = acme.get("/v1/meetings?limit=1").await.json();
    let next = super::client::escaped(page["next"].as_str().unwrap());
    let rest = acme.get(&format!("/v1/meetings?limit=1&after={next}")).await.json();
    assert_eq!(
        (&page["meetings"][0]["id"], &rest["meetings"][0]["id"]),
        (&json!("second/one"), &json!("standup"))
    );
    assert_eq!(rest["next"], json!(null));
}

#[tokio::test]
async fn a_key_that_is_revoked_ends_its_streams() {
    let running = run().await;
    let acme = key(&running, "acme", &ALL).await;
    acme.json("POST", "/v1/meetings", &json!({"id": "m", "plugins": ["loud"]})).await;
    let mut events = acme.try_events("/v1/meetings/m/events", None).await.unwrap();
    assert!(events.next().await.unwrap().name.is_none());
    let id = running.node.keys().list().await.unwrap().swap_remove(0).id;
    running.node.keys().revoke(&id).await.unwrap();
    let mut last = events.next().await;
    while last.as_ref().is_some_and(|event| event.name.is_none()) {
        last = events.next().await;
    }
    let last = last.unwrap();
    assert_eq!((last.name.as_deref(), &last.json()["code"]), (Some("error"), &json!("invalid-key")));
    assert_eq!(last.json()["title"], KEY_ENDED);
    assert!(events.next().await.is_none());
    assert_eq!(acme.get("/v1/meetings/m").await.status, 401);
}

#[tokio::test]
async fn a_token_reads_its_meeting_and_does_nothing_else() {
    let running = run_with("[service]\nlisten = \"127.0.0.1:0\"\norigins = [\"https://app.example\"]").await;
    let acme = key(&running, "acme", &ALL).await;
    for id in ["m", "n"] {
        acme.json("POST", "/v1/meetings", &json!({"id": id, "plugins": ["loud"]})).await;
    }
    acme.json("POST", "/v1/meetings/m/packets?durable=true", &chat("hello")).await;
    assert_eq!(acme.json("POST", "/v1/meetings/none/tokens", &json!({})).await.status, 404);
    assert_eq!(acme.json("POST", "/v1/meetings/m/tokens", &json!({"seconds": 0})).await.status, 422);
    let made = acme.json("POST", "/v1/meetings/m/tokens", &json!({"seconds": 60})).await;
    assert_eq!(made.status, 201);
    let token = made.json()["token"].as_str().unwrap().to_owned();
    let page = [("origin", "https://app.example")];
    let path = format!("/v1/meetings/m/packets?sources=chat&token={token}");
    let read = running.client.send("GET", &path, &page, b"").await;
    assert_eq!((read.status, read.header("access-control-allow-origin")), (200, Some("https://app.example")));
    assert_eq!(read.json()["packets"][0]["meeting"], "m");
    let browser = running.client.with_key(&token);
    assert_eq!(browser.get("/v1/meetings/m").await.status, 200);
    for (method, path) in [
        ("GET", "/v1/meetings/n"),
        ("GET", "/v1/meetings"),
        ("GET", "/v1/plugins"),
        ("POST", "/v1/meetings/m/packets"),
        ("POST", "/v1/meetings/m/tokens"),
        ("DELETE", "/v1/meetings/m"),
        ("POST", "/v1/events"),
        ("GET", "/v1/events"),
    ] {
        assert_eq!(browser.json(method, path, &json!({})).await.status, 403, "{method} {path}");
    }
    let foreign = running.client.send("GET", &path, &[("origin", "https://evil.example")], b"").await;
    assert_eq!((foreign.status, foreign.header("access-control-allow-origin")), (403, None));
    let preflight = running.client.send("OPTIONS", "/v1/meetings/m/events", &page, b"").await;
    assert_eq!((preflight.status, preflight.header("access-control-max-age")), (204, Some("3600")));
    // A key in a URL ends in many logs.
    let key = running.node.keys().list().await.unwrap().swap_remove(0).id;
    assert_eq!(running.client.get(&format!("/v1/meetings?token=tmy_{key}_00")).await.status, 401);
}

#[tokio::test]
async fn a_tenant_uses_what_its_quota_allows() {
    let quota = "[[quota]]\nmeetings = 2\nstreams = 1\n[[quota]]\ntenant = \"big\"\nmeetings = 100";
    let running = run_with(quota).await;
    let (small, big) = (key(&running, "small", &ALL).await, key(&running, "big", &ALL).await);
    for (client, is_small) in [(&small, true), (&big, false)] {
        let mut statuses = Vec::new();
        for id in ["a", "b", "c", "a"] {
            statuses.push(
                client.json("POST", "/v1/meetings", &json!({"id": id, "plugins": ["loud"]})).await.status,
            );
        }
        assert_eq!(statuses, if is_small { [201, 201, 429, 200] } else { [201, 201, 201, 200] });
        let first = client.try_events("/v1/meetings/a/events", None).await.unwrap();
        let second = client.get("/v1/meetings/b/events?sources=nothing").await;
        assert_eq!(second.status, if is_small { 429 } else { 422 }, "{second:?}");
        drop(first);
    }
    let ended = small.json("POST", "/v1/meetings/a/end", &json!({"wait": true})).await;
    assert_eq!(ended.status, 200);
    assert_eq!(small.json("POST", "/v1/meetings", &json!({"id": "d"})).await.status, 201, "one has ended");
}

#[tokio::test]
async fn the_first_key_ends_what_began_without_one() {
    let running = run().await;
    running.open("m").await;
    let mut events = running.client.try_events("/v1/events", None).await.unwrap();
    assert!(events.next().await.unwrap().name.is_none());
    let acme = key(&running, "acme", &ALL).await;
    let mut last = events.next().await;
    while last.as_ref().is_some_and(|event| event.name.is_none()) {
        last = events.next().await;
    }
    assert_eq!(last.unwrap().json()["code"], "invalid-key");
    // What a browser asks before it sends a key tells nothing, whatever is there.
    acme.json("POST", "/v1/meetings", &json!({"id": "m"})).await;
    for path in ["/v1/meetings/acme%2Fm/ws", "/v1/meetings/none/ws", "/v1/meetings"] {
        let asked = running.client.send("OPTIONS", path, &[], b"").await;
        assert_eq!((asked.status, asked.text()), (204, ""), "{path}");
    }
}

#[tokio::test]
async fn lines_end_with_their_key() {
    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    let running = run().await;
    let new = NewKey::new(Name::new("acme").unwrap(), ALL);
    let (secret, info) = running.node.keys().create(new).await.unwrap();
    let acme = running.client.with_key(secret.reveal());
    acme.json("POST", "/v1/meetings", &json!({"id": "m", "plugins": ["loud"]})).await;
    let mut stream = tokio::net::TcpStream::connect(running.client.address()).await.unwrap();
    let head = format!(
        "POST /v1/meetings/m/packets HTTP/1.1\r\nhost: localhost\r\nauthorization: Bearer {}\r\n\
         content-type: application/x-ndjson\r\ntransfer-encoding: chunked\r\nconnection: close\r\n\r\n",
        secret.reveal()
    );
    let line = format!("{}\n", chat("hello"));
    stream.write_all(format!("{head}{:x}\r\n{line}\r\n", line.len()).as_bytes()).await.unwrap();
    let (mut answer, mut bytes) = (String::new(), [0; 1024]);
    while !answer.contains("\"duplicate\":false") {
        let count = stream.read(&mut bytes).await.unwrap();
        answer += str::from_utf8(&bytes[..count]).unwrap();
    }
    running.node.keys().revoke(&info.id).await.unwrap();
    while let Ok(count @ 1..) = stream.read(&mut bytes).await {
        answer += str::from_utf8(&bytes[..count]).unwrap();
    }
    assert!(answer.contains("invalid-key") && answer.contains(KEY_ENDED), "{answer}");
}

#[tokio::test]
async fn a_list_and_a_title_have_bounds() {
    let running = run().await;
    running.open("m").await;
    let list = format!("[{}]", vec!["0"; 10_001].join(","));
    let json_type = [("content-type", "application/json")];
    let answer = running.client.send("POST", "/v1/meetings/m/packets", &json_type, list.as_bytes()).await;
    assert!(answer.status == 422 && answer.text().contains("10000"), "{answer:?}");
    let opening = json!({"id": "n", "title": "x".repeat(20_000)});
    assert_eq!(running.client.json("POST", "/v1/meetings", &opening).await.status, 422);
    let page = running.client.get("/v1/meetings/m/packets?after=18446744073709551615").await;
    assert_eq!((page.status, page.json()["packets"].clone()), (200, json!([])));
}
