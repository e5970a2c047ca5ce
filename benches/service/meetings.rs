//! What the bench asks a node over HTTP: to open meetings, and what they lost.

use std::net::SocketAddr;

use futures::{StreamExt, stream};
use reqwest::Client;
use serde_json::{Value, json};

/// How many meetings are opened at once.
const AT_ONCE: usize = 16;

/// The id of a meeting by its number.
pub fn id(number: usize) -> String {
    format!("m{number}")
}

fn client() -> Client {
    // The client takes the process' provider of TLS, although it needs none here.
    let _ = rustls::crypto::ring::default_provider().install_default();
    Client::new()
}

/// Opens meetings with these instances.
pub async fn open(address: SocketAddr, count: usize, instances: &[&str]) {
    let client = client();
    let opening = stream::iter(0..count).map(|number| {
        let body = json!({"id": id(number), "plugins": instances}).to_string();
        let request = client.post(format!("http://{address}/v1/meetings"));
        request.header("content-type", "application/json").body(body).send()
    });
    let mut opening = opening.buffer_unordered(AT_ONCE);
    while let Some(answer) = opening.next().await {
        answer.and_then(reqwest::Response::error_for_status).expect("the meeting opens");
    }
}

/// The packets that instances of all meetings lost.
pub async fn lost(address: SocketAddr) -> u64 {
    let asked = client().get(format!("http://{address}/v1/status")).send().await;
    let body = asked.expect("the node answers").text().await.expect("the node answers");
    let status: Value = serde_json::from_str(&body).expect("the status is JSON");
    let meetings = status["status"]["meetings"].as_array().expect("the status has meetings");
    let instances = meetings.iter().filter_map(|meeting| meeting["instances"].as_array()).flatten();
    instances.filter_map(|instance| instance["lost"].as_u64()).sum()
}
