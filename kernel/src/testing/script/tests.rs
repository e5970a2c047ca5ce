use tokio::time::Instant;

use super::*;
use crate::{Audio, Budget, Llm, LlmMessage, MeetingId, Name, SharedLlm, Spend, Usage};

/// The models of an instance that follow a script.
fn models(llm: &ScriptedLlm) -> Llm {
    let (meeting, instance) = (MeetingId::new("m").unwrap(), Name::new("i").unwrap());
    Llm::new(SharedLlm::new(llm.clone()), meeting, instance, None)
}

#[tokio::test(start_paused = true)]
async fn a_script_has_lines_for_vectors() {
    let script = ScriptedLlm::default()
        .embedding([vec![1.0], vec![2.0]])
        .fail_embedding(LlmError::Failed("away".to_owned()))
        .delay(Duration::from_secs(2))
        .embedding([vec![3.0]]);
    let llm = models(&script);
    assert_eq!(script.remaining(), 3);
    assert_eq!(llm.embed(["a", "b"]).await.unwrap(), [[1.0], [2.0]]);
    assert!(llm.embed(["a"]).await.unwrap_err().is_temporary());
    let began = Instant::now();
    let wrong = llm.embed(["a", "b"]).await.unwrap_err().to_string();
    assert!(wrong.ends_with("the script's line has vectors for 1 of the request's 2 texts"), "{wrong}");
    assert_eq!(began.elapsed(), Duration::from_secs(2));
    let none = llm.embed(["Why?"]).await.unwrap_err();
    assert!(!none.is_temporary());
    let says = "no line left for request 4 for vectors, whose first text of 1 is \"Why?\"";
    assert!(none.to_string().ends_with(says), "{none}");

    #[allow(clippy::cast_precision_loss, reason = "the texts are short")]
    let script = ScriptedLlm::default().embed_with(|text| vec![text.len() as f32]).embedding([vec![0.0]]);
    let llm = models(&script);
    assert_eq!(llm.embed(["lines come first"]).await.unwrap(), [[0.0]]);
    assert_eq!(llm.embed(["a", "bc"]).await.unwrap(), [[1.0], [2.0]]);
    assert_eq!(script.embed_requests()[1].texts, ["a", "bc"]);
    assert!(script.requests().is_empty(), "these are for text");
}

#[tokio::test(start_paused = true)]
async fn a_script_has_lines_for_transcripts() {
    let script = ScriptedLlm::default()
        .transcript(Transcript::new("Good morning."))
        .fail_transcript(LlmError::Refused("too long".to_owned()));
    let llm = models(&script);
    let sound = || Audio::samples(8_000, [1, 2, 3]);
    let heard = llm.transcribe(sound()).language("en").transcript().await.unwrap();
    assert_eq!((heard.text.as_str(), script.remaining()), ("Good morning.", 1));
    assert!(llm.transcribe(sound()).transcript().await.unwrap_err().to_string().ends_with("too long"));
    let none = llm.transcribe(sound()).transcript().await.unwrap_err().to_string();
    assert!(none.contains("no line left for request 3 for the text of sound"), "{none}");
    assert!(none.ends_with("Samples { rate: 8000, samples: 3 }"), "it says how much, and not what: {none}");
    assert_eq!(script.transcribe_requests()[0].language.as_deref(), Some("en"));

    let script = ScriptedLlm::default().transcribe_with(|request| match &request.audio {
        Audio::Samples { samples, .. } => Transcript::new(format!("{} samples", samples.len())),
        Audio::File { name, .. } => Transcript::new(name.as_str()),
    });
    let llm = models(&script);
    assert_eq!(llm.transcribe(sound()).transcript().await.unwrap().text, "3 samples");
    assert_eq!(llm.transcribe(Audio::file("a.mp3", "…")).transcript().await.unwrap().text, "a.mp3");
}

#[tokio::test(start_paused = true)]
async fn a_script_says_what_a_request_costs_and_what_is_left() {
    let mut response = LlmResponse::new("yes");
    response.usage = Some(Usage { prompt: 7, completion: 1, ..Usage::default() });
    let half = Budgets(vec![Budget {
        spent: Spend { tokens: 50, ..Default::default() },
        ..Budget::new("node", Some(100), None)
    }]);
    let script = ScriptedLlm::default().respond(response.clone()).budgets(half.clone());
    let llm = models(&script);
    assert_eq!(llm.ask([LlmMessage::user("?")]).response().await.unwrap(), response);
    assert_eq!(llm.budget().await.unwrap(), half);
}
