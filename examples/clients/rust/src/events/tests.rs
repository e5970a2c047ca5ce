use std::time::Duration;

use futures::{StreamExt, stream};

use super::*;

const TEXT: &str =
    ": hello\n\nid: 5\ndata: {\"payload\":\"Grüße 🦀\"}\n\nid: 6\r\ndata: b\r\n\r\nevent: end\ndata: {}\n\n";

async fn events(pieces: Vec<Bytes>) -> Vec<(Option<String>, Option<String>)> {
    let events = read(stream::iter(pieces.into_iter().map(Ok)));
    events.map(|event| event.map(|event| (event.event, event.data)).unwrap()).collect().await
}

#[tokio::test]
async fn events_are_read_however_their_bytes_are_cut() {
    let whole = events(vec![TEXT.into()]).await;
    let data: Vec<_> = whole.iter().map(|(_, data)| data.as_deref().unwrap()).collect();
    assert_eq!(data, ["{\"payload\":\"Grüße 🦀\"}", "b", "{}"]);
    for at in 0..=TEXT.len() {
        let (left, right) = TEXT.as_bytes().split_at(at);
        assert_eq!(events(vec![Bytes::from_static(left), Bytes::from_static(right)]).await, whole, "{at}");
        // What breaks off is a prefix, and nothing half.
        let prefix = events(vec![Bytes::from_static(left)]).await;
        assert_eq!(prefix, whole[..prefix.len()], "{at}");
    }
}

#[tokio::test]
async fn a_text_that_is_not_utf_8_is_an_error() {
    let events: Vec<_> = read(stream::iter([Ok(Bytes::from_static(b"data: \xff\n\n"))])).collect().await;
    assert!(matches!(events.as_slice(), [Err(Error::Malformed { .. })]), "{events:?}");
}

#[tokio::test]
async fn why_a_stream_broke_off_is_kept() {
    let error = Error::Unreachable("away".into());
    let events: Vec<_> = read(stream::iter([Err(error)])).collect().await;
    assert!(matches!(events.as_slice(), [Err(Error::Unreachable(_))]), "{events:?}");
    assert!(SILENCE > Duration::from_secs(30), "two heartbeats may be late");
}
