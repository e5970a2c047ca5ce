//! The client of several nodes, of which some cut connections, stop, or are away.

#![allow(clippy::unwrap_used, reason = "a test may stop at the first thing that is not so")]
#![allow(dead_code, reason = "the server can do more than these tests ask for")]

#[path = "loopback/server.rs"]
mod server;

use std::time::Duration;

use futures::{StreamExt, TryStreamExt, stream};
use serde_json::json;
use server::{Reply, Server};
use teammy_client::{Client, Error, Publish, Seq};

/// An address where nobody listens.
const NOBODY: &str = "http://127.0.0.1:1";

fn client<'a>(urls: impl IntoIterator<Item = &'a str>) -> Client {
    Client::any_of(urls).unwrap().waits(Duration::from_millis(1), Duration::from_millis(4))
}

fn note(text: &str) -> Publish {
    Publish::text("notes", text).unwrap()
}

fn meeting() -> Reply {
    Reply::json(
        &json!({"id": "m", "title": null, "status": "running", "created": null, "started_at": null, "last_seq": "0"}),
    )
}

fn end() -> Reply {
    Reply::pieces("text/event-stream", [&b"event: end\ndata: {}\n\n"[..]])
}

/// The results of the packets that one request holds.
fn results(first: u64, count: u64) -> Reply {
    let lines: String = (first..first + count)
        .map(|seq| json!({"seq": seq.to_string(), "duplicate": false}).to_string() + "\n")
        .collect();
    Reply::pieces("application/x-ndjson", [lines.as_bytes()])
}

#[tokio::test]
async fn another_address_is_used_when_one_fails_and_stays_in_use() {
    let dies = Server::script([meeting(), Reply::nothing()]).await;
    let lives = Server::script([meeting(), meeting()]).await;
    let client = client([dies.url(), NOBODY, lives.url()]);
    let meeting = client.meeting("m".parse().unwrap());
    for _ in 0..3 {
        meeting.show().await.unwrap();
    }
    assert_eq!((dies.seen().len(), lives.seen().len()), (2, 2));
    assert_eq!(client.address(), lives.url());
    let failed: Vec<_> = client.failures().into_iter().map(|it| (it.address, it.why)).collect();
    assert_eq!([&failed[0].0, &failed[1].0], [dies.url(), NOBODY]);
    assert!(failed[1].1.starts_with("cannot reach the node: "), "{failed:?}");
}

#[tokio::test]
async fn what_no_address_answers_ends_with_each_ones_failure() {
    let refuses = Server::start(|_| Reply::problem(503, "not-reached", true, None)).await;
    let client = client([NOBODY, refuses.url()]).give_up_after(Duration::from_millis(20));
    let error = client.instances().await.unwrap_err();
    assert!(error.can_retry(), "{error:?}");
    let failed: Vec<_> = client.failures().into_iter().map(|it| it.address).collect();
    assert_eq!(failed, [NOBODY, refuses.url()]);
    // What another node would say as well is no reason to leave one.
    let knows = Server::script([Reply::problem(401, "no-key", false, None)]).await;
    let error = self::client([knows.url(), refuses.url()]).instances().await.unwrap_err();
    assert!(matches!(error, Error::Problem { status: 401, .. }), "{error:?}");
}

/// Packets that a node takes no more, because it stops, go to another one under the same numbers.
#[tokio::test]
async fn a_producer_goes_on_at_another_node() {
    let stopping =
        json!({"problem": {"status": 503, "title": "it stops", "code": "not-ready", "can_retry": true}});
    let lines = format!("{}\n{stopping}\n{stopping}\n", json!({"seq": "1", "duplicate": false}));
    let place = Reply::json(&json!({"producer": "p", "next": "1", "last_seq": null}));
    let stops = Server::script([place, Reply::pieces("application/x-ndjson", [lines.as_bytes()])]).await;
    let goes_on = Server::script([results(2, 2)]).await;
    let meeting = client([stops.url(), goes_on.url()]).meeting("m".parse().unwrap());
    let mut producer = meeting.producer("p");
    let published = producer.publish_all(stream::iter(["a", "b", "c"].map(note)));
    let seqs: Vec<_> = published.map_ok(|it| it.seq).try_collect().await.unwrap();
    assert_eq!(seqs, [1, 2, 3].map(Seq));
    let again: Vec<_> = goes_on.seen()[0].lines().iter().map(|it| it["producer"]["number"].clone()).collect();
    assert_eq!(again, [2, 3]);
}

#[tokio::test]
async fn a_reader_goes_on_at_another_node() {
    let stops =
        Server::script([Reply::pieces("text/event-stream", [&b"event: again\ndata: {}\n\n"[..]])]).await;
    let goes_on = Server::script([end()]).await;
    let meeting = client([stops.url(), goes_on.url()]).meeting("m".parse().unwrap());
    assert!(meeting.events().follow().next().await.is_none());
    assert_eq!((stops.seen().len(), goes_on.seen().len()), (1, 1));
}

#[tokio::test]
async fn a_packet_without_a_number_is_sent_again_only_if_it_cannot_be_there() {
    let cuts = Server::script([Reply::problem(429, "busy", true, None), Reply::nothing()]).await;
    let meeting = client([NOBODY, cuts.url()]).meeting("m".parse().unwrap());
    let error = meeting.publish_at_most_once(note("a")).await.unwrap_err();
    assert!(matches!(error, Error::Unknown(_)), "{error:?}");
    assert_eq!(cuts.seen().len(), 2);
}
