use std::io;

use futures::stream;
use reqwest::Body;
use serde_json::json;
use teammy_kernel::Usage;

use super::{super::transport::client, *};
use crate::policy::Deadlines;

/// Has a stream read that gives these events after these times, and no more for ever. Returns how it ended, how long
/// that took, and what the answer cost.
async fn streamed(
    events: Vec<(Duration, Value)>,
    deadlines: Deadlines,
) -> (Result<(), Problem>, Duration, Option<Usage>) {
    let later = stream::iter(events).then(|(after, object)| async move {
        tokio::time::sleep(after).await;
        Ok::<_, io::Error>(format!("data: {object}\n\n"))
    });
    let body = Body::wrap_stream(later.chain(stream::pending()));
    let began = Instant::now();
    let client = client(Duration::from_secs(1)).unwrap();
    let watch = Watch::new(deadlines, began, None, true);
    let mut reader = Reader::new(Call { client: &client, watch, has_version: true }, None);
    let outcome = reader.stream(http::Response::new(body).into()).await;
    (outcome, began.elapsed(), reader.fold.usage())
}

#[tokio::test(start_paused = true)]
async fn a_finished_answer_waits_briefly_for_its_cost() {
    let seconds = Duration::from_secs;
    let deadlines = Deadlines { first_token: seconds(30), between_tokens: seconds(15), total: None };
    let text = json!({"choices": [{"delta": {"content": "yes"}}]});
    let end = json!({"choices": [{"delta": {}, "finish_reason": "stop"}]});
    let cost = json!({"choices": [], "usage": {"prompt_tokens": 10, "completion_tokens": 2}});
    let all = |rest: &[(u64, &Value)]| {
        let told = [(1, &text), (1, &end)];
        told.iter().chain(rest).map(|(after, object)| (seconds(*after), (*object).clone())).collect()
    };

    let (outcome, time, usage) = streamed(all(&[(1, &cost)]), deadlines).await;
    assert_eq!((outcome, time), (Ok(()), seconds(2) + AFTER_END));
    assert_eq!(usage, Some(Usage { prompt: 10, completion: 2, ..Usage::default() }));

    let (outcome, time, usage) = streamed(all(&[(1, &json!({})), (60, &cost)]), deadlines).await;
    assert_eq!((outcome, time, usage), (Ok(()), seconds(2) + AFTER_END, None), "it waits no longer");

    let short = Deadlines { between_tokens: seconds(1), ..deadlines };
    let (outcome, time, _) = streamed(all(&[]), short).await;
    assert_eq!((outcome, time), (Ok(()), seconds(3)), "as long as between two tokens at most");

    let (outcome, time, _) = streamed(vec![(seconds(1), text)], deadlines).await;
    assert_eq!((outcome.unwrap_err().class, time), (Class::Stalled, seconds(16)));
}
