mod bounds;
mod ending;
mod hearing;
mod large;
mod rolling;

use serde_json::{Value, json};
use teammy_kernel::{
    DataPacket, LlmFormat, LlmRequest, MeetingId, MeetingMetadata, Model, Publish, Role, Timestamp,
    testing::{self, PluginTest, ScriptedLlm},
};

use super::*;

/// A valid answer to the prompt for the minutes.
const MINUTES: &str = r#"{"title": "Release", "summary": "They talked.", "decisions": ["Ship it."],
    "action_items": [], "open_questions": []}"#;

fn said(by: &str, text: &str) -> Publish {
    Publish::json("transcription", &Transcription::new(text, 0, 1_000)).unwrap().participant(by)
}

fn written(by: &str, chat: &Chat) -> Publish {
    Publish::json("chat", chat).unwrap().participant(by)
}

fn happened(to: &str, event: &ParticipantEvent) -> Publish {
    Publish::json("participant", event).unwrap().participant(to)
}

/// Returns a text of `count` words.
fn words(count: usize) -> String {
    vec!["word"; count].join(" ")
}

fn is_fast(request: &LlmRequest) -> bool {
    request.model == Model::Fast
}

fn over_budget(resets: Option<Timestamp>) -> LlmError {
    LlmError::BudgetExceeded { name: "pilot".into(), resets }
}

/// A model that always answers as the prompts ask.
fn obedient() -> ScriptedLlm {
    ScriptedLlm::default().when(is_fast, "The notes.").when(|request| !is_fast(request), MINUTES)
}

async fn meeting(config: Value, llm: &ScriptedLlm) -> PluginTest<Minutes> {
    PluginTest::builder().config(config).llm(llm.clone()).start().await.unwrap()
}

fn rolling(packet: &DataPacket) -> Rolling {
    match testing::json(packet) {
        Output::Rolling(rolling) => rolling,
        other => panic!("{other:?}"),
    }
}

fn minutes(packet: &DataPacket) -> Final {
    match testing::json(packet) {
        Output::Final(minutes) => *minutes,
        other => panic!("{other:?}"),
    }
}

/// Returns the running summary as it is stored.
fn notes(meeting: &PluginTest<Minutes>) -> String {
    meeting.value("notes").unwrap_or_default()
}

/// Returns the attendees, from the state or from their key.
fn attendees(meeting: &PluginTest<Minutes>) -> Vec<String> {
    meeting.value("attendees").unwrap_or(meeting.state().attendees.names)
}

/// Returns the models that were asked, in order.
fn models(llm: &ScriptedLlm) -> Vec<Model> {
    llm.requests().iter().map(|request| request.model).collect()
}

/// Returns the system message of a request.
fn told(request: &LlmRequest) -> &str {
    &request.messages[0].content
}

/// Returns the user message of a request, which contains the transcript.
fn shown(request: &LlmRequest) -> &str {
    &request.messages[1].content
}

/// Plays the meeting of the module's documentation.
#[tokio::test(start_paused = true)]
async fn the_documented_outputs_are_what_comes_out() {
    let at = |time: &str| time.parse::<Timestamp>().unwrap();
    let about = MeetingMetadata::new(MeetingId::new("weekly").unwrap())
        .title("Release sync")
        .started_at(at("2026-03-02T09:00:00Z"));
    let answer = json!({
        "title": "Something else",
        "summary": "The release is ready but for the update's test.",
        "decisions": ["The release moves to Thursday."],
        "action_items": [
            {"task": "Test the update", "owner": "Bo", "due": "by Wednesday", "due_date": "2026-03-04"},
        ],
        "open_questions": ["Who writes the announcement?"],
        "language": "en",
    });
    let llm = ScriptedLlm::default()
        .reply("Release moves to Thursday.\nBo tests the update.\n")
        .reply("Release moves to Thursday.\nBo tests the update.\nWho writes the announcement?")
        .reply(answer.to_string());
    let builder = PluginTest::<Minutes>::builder().config(json!({"every_words": 812, "language": "en"}));
    let mut meeting = builder.llm(llm.clone()).meeting(about).start().await.unwrap();

    let output = meeting.receive(said("Ada", &words(812))).await.unwrap().unwrap();
    assert_eq!(
        testing::json::<Value>(&output),
        json!({"kind": "rolling", "summary": "Release moves to Thursday.\nBo tests the update.", "words": 812})
    );
    let last = said("Bo", "And who writes the announcement?").timestamp(at("2026-03-02T09:25:00Z"));
    assert!(meeting.receive(last).await.unwrap().is_none());

    let output = meeting.end().await.unwrap().unwrap();
    let markdown = "# Release sync\n\n2026-03-02, 09:00–09:25 UTC\n\n**Attendees:** Ada, Bo\n\n## Summary\n\n\
                    The release is ready but for the update's test.\n\n## Decisions\n\n- The release moves to Thursday.\n\n\
                    ## Action items\n\n- [ ] **Bo**: Test the update (due: by Wednesday, 2026-03-04)\n\n\
                    ## Open questions\n\n- Who writes the announcement?\n";
    let summary = &answer["summary"];
    assert_eq!(
        testing::json::<Value>(&output),
        json!({
            "kind": "final",
            "complete": true,
            "minutes": {
                "title": "Release sync",
                "started_at": "2026-03-02T09:00:00Z",
                "ended_at": "2026-03-02T09:25:00Z",
                "attendees": ["Ada", "Bo"],
                "summary": summary,
                "decisions": answer["decisions"],
                "action_items": answer["action_items"],
                "open_questions": answer["open_questions"],
                "language": "en",
            },
            "markdown": markdown,
        })
    );
    assert_eq!(models(&llm), [Model::Fast, Model::Fast, Model::Default]);

    let docs = include_str!("lib.rs").lines().filter_map(|line| line.strip_prefix("//!"));
    let docs: Vec<_> = docs.map(|line| line.strip_prefix(' ').unwrap_or(line)).collect();
    let docs = docs.join("\n");
    assert!(docs.contains(&format!("```markdown\n{markdown}```")));
    let documented = |kind: &str| -> Value {
        let start = docs.find(&format!(r#"{{"kind":"{kind}""#)).unwrap();
        let (json, _) = docs[start..].split_once("```").unwrap();
        serde_json::from_str(json).unwrap()
    };
    assert_eq!(documented("rolling"), testing::json::<Value>(&meeting.outputs()[0]));
    let mut whole = documented("final");
    whole["markdown"] = json!(markdown);
    assert_eq!(whole, testing::json::<Value>(&output));
}

#[tokio::test(start_paused = true)]
async fn a_configuration_that_makes_no_sense_is_refused() {
    for (table, said) in [
        (json!({"every_words": 0}), "`every_words` is 0; set it to the number of words"),
        (json!({"every_words": 2_001}), "`every_words` is 2001, which is more than `chunk_words` (2000)"),
        (json!({"chunk_words": 99}), "`chunk_words` is 99; choose 100 to 8000"),
        (json!({"chunk_words": 8_001}), "`chunk_words` is 8001; choose 100 to 8000"),
        (json!({"summary_words": 49}), "`summary_words` is 49; choose 50 to 1500"),
        (json!({"summary_words": 1_501}), "`summary_words` is 1501; choose 50 to 1500"),
        (json!({"temperature": -0.1}), "`temperature` is -0.1; choose 0 to 2"),
        (json!({"temperature": 2.5}), "`temperature` is 2.5; choose 0 to 2"),
        (json!({"language": "German"}), "`language` is \"German\"; give a language tag, such as \"de\""),
        (json!({"evry_words": 5}), "unknown field `evry_words`, expected one of `every_words`"),
        (json!({"every_words": -1}), "every_words: invalid value: integer, expected u32"),
    ] {
        let error = PluginTest::<Minutes>::start_with(&table).await.unwrap_err();
        assert!(error.is_reject() && error.to_string().starts_with(said), "{table}: {error}");
    }
    for table in [
        json!({}),
        json!({"every_words": 1, "chunk_words": 100, "summary_words": 50, "temperature": 0}),
        json!({"every_words": 8_000, "chunk_words": 8_000, "summary_words": 1_500, "temperature": 2, "language": "pt-BR"}),
    ] {
        PluginTest::<Minutes>::start_with(&table).await.unwrap();
    }
}
