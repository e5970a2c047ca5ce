//! The client against a server that cuts connections, refuses, and is away.

#![allow(clippy::unwrap_used, reason = "a test may stop at the first thing that is not so")]

#[path = "loopback/server.rs"]
mod server;

use std::{collections::BTreeMap, time::Duration};

use futures::{StreamExt, TryStreamExt, stream};
use serde_json::{Value, json};
use server::{Reply, Request, Server};
use teammy_client::{Client, Error, MeetingId, Name, Opening, Publish, Seq, Status};
use tokio::sync::mpsc;

fn note(text: &str) -> Publish {
    Publish::text("notes", text).unwrap()
}

/// A packet as an event.
fn event(seq: u64) -> String {
    let packet = json!({
        "type": "packet", "meeting": "standup", "seq": seq, "source": "notes", "timestamp": "2026-01-05T09:00:00Z",
        "received_at": "2026-01-05T09:00:00Z", "participant": "Jürgen 🦀", "payload_text": format!("Grüße {seq}"), "causes": [],
    });
    format!("id: {seq}\ndata: {packet}\n\n")
}

fn events(text: &str) -> Reply {
    // In pieces that break characters.
    Reply::pieces("text/event-stream", text.as_bytes().chunks(7))
}

fn after(request: &Request) -> u64 {
    request.header("last-event-id").map_or(0, |id| id.parse().unwrap())
}

async fn seqs(packets: teammy_client::Packets) -> Result<Vec<u64>, Error> {
    packets.map_ok(|packet| packet.seq.0).try_collect().await
}

#[tokio::test]
async fn a_reader_comes_back_after_its_last_packet_until_the_end() {
    let server = Server::script([
        Reply::problem(503, "not-ready", true, None),
        events(&format!(": hello\n\n{}{}", event(3), event(4))),
        Reply::nothing(),
        Reply::problem(409, "not-running", false, None),
        Reply::new(502, "", "<html>a proxy</html>"),
        events(&format!("{}event: again\ndata: {{}}\n\n", event(5))),
        events("event: error\ndata: {\"title\": \"the store is away\"}\n\n"),
        events(&format!("{}{}event: end\ndata: {{}}\n\n", event(5), event(6))),
    ])
    .await;
    let reader = server.meeting().events().after(Seq(2)).outputs_only();
    let sources = ["notes", "chat"].map(|name| Name::new(name).unwrap());
    assert_eq!(seqs(reader.sources(sources).follow()).await.unwrap(), [3, 4, 5, 6]);
    let seen = server.seen();
    assert_eq!(seen.iter().map(after).collect::<Vec<_>>(), [2, 2, 4, 4, 4, 4, 5, 5]);
    assert!(
        seen.iter().all(|it| it.target == "/v1/meetings/standup/events?outputs=true&sources=notes%2Cchat")
    );
}

#[tokio::test]
async fn a_stream_that_is_cut_at_any_byte_loses_and_doubles_nothing() {
    let reply = |after: u64| {
        events(&format!("{}event: end\ndata: {{}}\n\n", (after + 1..4).map(event).collect::<String>()))
    };
    for at in (0..=reply(0).len()).step_by(3) {
        let mut cut = Some(at);
        let server = Server::start(move |request| {
            let whole = reply(after(request));
            match cut.take() {
                Some(at) => whole.cut(at),
                None => whole,
            }
        })
        .await;
        assert_eq!(seqs(server.meeting().events().follow()).await.unwrap(), [1, 2, 3], "cut at {at}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_stream_without_heartbeats_is_left() {
    let server = Server::start(|request| match after(request) {
        0 => events(&event(1)).open(),
        _ => events("event: end\ndata: {}\n\n"),
    })
    .await;
    assert_eq!(seqs(server.meeting().events().follow()).await.unwrap(), [1]);
}

#[tokio::test]
async fn a_reader_ends_with_what_will_not_pass() {
    for (reply, is_so) in [
        (Reply::problem(404, "no-meeting", false, None), "there is none"),
        (Reply::new(200, "content-type: text/html\r\n", "log in"), "no events"),
        (events("data: {\"seq\": 1}\n\n"), "no packet"),
    ] {
        let server = Server::script([reply]).await;
        let mut packets = server.meeting().events().follow();
        let first = packets.next().await;
        assert!(
            matches!(first, Some(Err(Error::Problem { .. } | Error::Malformed { .. }))),
            "{is_so}: {first:?}"
        );
        assert!(packets.next().await.is_none(), "{is_so}");
    }
    let server = Server::start(|_| Reply::nothing()).await;
    let vain = server.meeting().events().give_up_after(Duration::from_millis(20)).follow();
    assert!(matches!(seqs(vain).await, Err(Error::Unknown(_))));
}

#[tokio::test]
async fn a_packet_without_a_number_is_sent_once() {
    let server = Server::script([
        Reply::nothing(),
        Reply::json(&json!({"seq": "7", "duplicate": false})).cut(60),
        Reply::problem(429, "busy", true, None),
        Reply::json(&json!({"seq": "8", "duplicate": false})),
    ])
    .await;
    let meeting = server.meeting().durable();
    for _ in 0..2 {
        assert!(matches!(meeting.publish(note("a")).await, Err(Error::Unknown(_))));
    }
    let busy = meeting.publish(note("a")).await.unwrap_err();
    assert!(busy.can_retry() && matches!(busy, Error::Problem { status: 429, .. }), "{busy:?}");
    let published = meeting.publish(note("a")).await.unwrap();
    assert_eq!((published.seq, published.duplicate), (Seq(8), false));
    let seen = server.seen();
    assert_eq!(seen.len(), 4);
    assert_eq!(seen[3].target, "/v1/meetings/standup/packets?durable=true");
    assert_eq!(
        seen[3].lines(),
        [json!({"type": "packet", "source": "notes", "participant": null, "payload_text": "a"})]
    );
    let away = Client::new("http://127.0.0.1:1").unwrap().meeting(MeetingId::new("m").unwrap());
    assert!(matches!(away.publish(note("a")).await, Err(Error::Unreachable(_))));
}

/// Results as lines.
fn results(results: &[Value]) -> Reply {
    let text = results.iter().fold(String::new(), |text, result| text + &result.to_string() + "\n");
    Reply::pieces("application/x-ndjson", text.as_bytes().chunks(5))
}

/// How far a producer is.
fn place(next: u64) -> Reply {
    Reply::json(&json!({"producer": "p", "next": next.to_string(), "last_seq": null}))
}

fn taken(seq: u64, duplicate: bool) -> Value {
    json!({"seq": seq.to_string(), "duplicate": duplicate})
}

#[tokio::test]
async fn a_producer_learns_its_number_and_sends_a_packet_until_it_is_there() {
    let server = Server::script([
        Reply::nothing(),
        place(7),
        Reply::nothing(),
        Reply::problem(503, "unavailable", true, None),
        Reply::problem(429, "busy", true, None),
        results(&[taken(30, false)]).cut(70),
        results(&[taken(30, true)]),
        results(&[taken(31, false)]),
    ])
    .await;
    let mut producer = server.meeting().producer("backend-7").durable();
    let first = producer.publish(note("a")).await.unwrap();
    assert_eq!((first.seq, first.duplicate), (Seq(30), true));
    assert_eq!(producer.publish(note("b")).await.unwrap().seq, Seq(31));
    let seen = server.seen();
    let (asked, sent) = seen.split_at(2);
    assert!(
        asked.iter().all(|it| it.target == "/v1/meetings/standup/producers/backend-7?durable=true"),
        "{asked:?}"
    );
    let numbers: Vec<_> =
        sent.iter().map(|it| it.lines()[0]["producer"]["number"].as_u64().unwrap()).collect();
    assert_eq!(numbers, [7, 7, 7, 7, 7, 8]);
    assert!(sent.iter().all(|it| it.target.ends_with("/packets?durable=true")));
}

#[tokio::test]
async fn a_producer_gives_up_when_it_is_told_to() {
    let mut has_asked = false;
    let server = Server::start(move |_| {
        let first = !std::mem::replace(&mut has_asked, true);
        if first { place(1) } else { Reply::nothing() }
    })
    .await;
    let mut producer = server.meeting().producer("p").give_up_after(Duration::from_millis(20));
    assert!(matches!(producer.publish(note("a")).await, Err(Error::Unknown(_))));
    let away = Client::new("http://127.0.0.1:1").unwrap().meeting(MeetingId::new("m").unwrap());
    let mut producer = away.producer("p").give_up_after(Duration::from_millis(20));
    assert!(matches!(producer.publish(note("a")).await, Err(Error::Unreachable(_))));
}

/// A meeting that knows its producer's numbers.
#[derive(Default)]
struct Meeting {
    log: Vec<String>,
}

impl Meeting {
    fn answer(&mut self, packet: &Value) -> Value {
        let next = self.log.len() as u64 + 1;
        let text = packet["payload_text"].as_str().unwrap_or_default();
        if text == "bad" {
            return json!({"problem": {"status": 422, "title": "no", "code": "unknown-source", "can_retry": false}});
        }
        match packet["producer"]["number"].as_u64().unwrap() {
            number if number < next => taken(number, true),
            number if number == next => {
                self.log.push(text.to_owned());
                taken(number, false)
            }
            _ => {
                let next = next.to_string();
                json!({"problem": {"status": 409, "title": "no", "code": "number-gap", "can_retry": false, "next": next}})
            }
        }
    }

    fn reply(&mut self, request: &Request) -> Reply {
        if request.target.contains("/producers/") {
            return place(self.log.len() as u64 + 1);
        }
        let answers: Vec<_> = request.lines().iter().map(|packet| self.answer(packet)).collect();
        results(&answers)
    }
}

#[tokio::test]
async fn many_packets_are_published_once_wherever_the_answer_is_cut() {
    let texts = ["a", "bad", "b", "c", "bad", "bad", "d"];
    for at in (0..600).step_by(11) {
        let (mut meeting, mut cuts) = (Meeting::default(), [at, usize::MAX, at + 60, at / 2].into_iter());
        let (tell, mut log) = mpsc::unbounded_channel();
        let server = Server::start(move |request| {
            let reply = meeting.reply(request).cut(cuts.next().unwrap_or(usize::MAX));
            tell.send(meeting.log.clone()).unwrap();
            reply
        })
        .await;
        let mut producer = server.meeting().producer("p");
        let packets = stream::iter(texts.map(note));
        let results: Vec<_> = producer.publish_all(packets).collect().await;
        let seqs: Vec<_> = results.iter().map(|result| result.as_ref().ok().map(|it| it.seq.0)).collect();
        assert_eq!(seqs, [Some(1), None, Some(2), Some(3), None, None, Some(4)], "cut at {at}: {results:?}");
        let mut last = Vec::new();
        while let Ok(now) = log.try_recv() {
            last = now;
        }
        assert_eq!(last, ["a", "b", "c", "d"], "cut at {at}");
    }
}

#[tokio::test]
async fn a_producer_goes_on_after_a_packet_that_nobody_waited_for() {
    let mut meeting = Meeting::default();
    let (tell, mut arrived) = mpsc::unbounded_channel();
    let server = Server::start(move |request| {
        let was_empty = meeting.log.is_empty();
        let reply = meeting.reply(request);
        let is_first = was_empty && meeting.log == ["a"];
        tell.send(is_first).unwrap();
        // The answer of the first packet never comes.
        if is_first { Reply::pieces("application/x-ndjson", []).open() } else { reply }
    })
    .await;
    let mut producer = server.meeting().producer("p");
    tokio::select! {
        published = producer.publish(note("a")) => panic!("{published:?}"),
        () = async { while !arrived.recv().await.unwrap() {} } => {}
    }
    let published = producer.publish(note("b")).await.unwrap();
    assert_eq!((published.seq, published.duplicate), (Seq(2), false));
    assert_eq!(producer.next().await.unwrap(), 3);
}

#[tokio::test]
async fn a_meeting_without_an_id_is_opened_once() {
    let info = json!({"id": "m-1", "title": null, "status": "running", "created": "2026-01-05T09:00:00Z", "started_at": null,
        "last_seq": "0", "labels": {}, "plugins": ["minutes"], "opened": "started", "running": {"backlog": 0}});
    let ended = json!({"id": "m-1", "title": null, "status": "ended", "created": null, "started_at": null, "last_seq": 9});
    let server = Server::script([
        Reply::nothing(),
        Reply::problem(503, "unavailable", true, None),
        Reply::json(&info),
        Reply::json(&ended).cut(50),
        Reply::json(&ended),
        Reply::problem(404, "no-meeting", false, None),
    ])
    .await;
    let client = server.client().key("secret").unwrap();
    let opening = Opening::new().title("Stand-up").label("team", "maps").plugin("minutes");
    let meeting = client.open(opening).await.unwrap();
    assert_eq!(meeting.id().as_str(), "m-1");
    let shown = meeting.end_and_wait().await.unwrap();
    assert_eq!((shown.status, shown.last_seq, shown.labels), (Status::Ended, Seq(9), BTreeMap::new()));
    let error = meeting.show().await.unwrap_err();
    assert!(matches!(&error, Error::Problem { code, .. } if code == "no-meeting"), "{error:?}");
    let seen = server.seen();
    let keys: Vec<_> = seen[..3].iter().map(|it| it.header("idempotency-key").unwrap()).collect();
    assert!(keys[0].len() == 32 && keys.iter().all(|key| *key == keys[0]), "{keys:?}");
    assert!(seen.iter().all(|it| it.header("authorization") == Some("Bearer secret")));
    assert_eq!(
        seen[0].lines(),
        [json!({"title": "Stand-up", "labels": {"team": "maps"}, "plugins": ["minutes"]})]
    );
    assert_eq!(
        (seen[4].target.as_str(), seen[4].body.as_str()),
        ("/v1/meetings/m-1/end", r#"{"wait":true}"#)
    );
}

#[tokio::test]
async fn meetings_come_page_by_page() {
    let meeting = |id: &str| json!({"id": id, "title": null, "status": "paused?", "created": null, "started_at": null, "last_seq": 3});
    let next = json!({"created": null, "id": "b c"});
    let server = Server::script([
        Reply::json(&json!({"meetings": [meeting("a"), meeting("b c")], "next": next})),
        Reply::json(&json!({"meetings": [meeting("d")], "next": null})),
    ])
    .await;
    let query = server.client().meetings().status(Status::Running).label("team", "maps");
    let meetings: Vec<_> = query.list().try_collect().await.unwrap();
    assert_eq!(meetings.iter().map(|it| it.id.as_str()).collect::<Vec<_>>(), ["a", "b c", "d"]);
    assert_eq!(meetings[0].status, Status::Other);
    assert_eq!(
        server.seen()[1].target,
        "/v1/meetings?status=running&label=team%3Amaps&after=%7B%22created%22%3Anull%2C%22id%22%3A%22b+c%22%7D"
    );
}
