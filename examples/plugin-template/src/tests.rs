use serde_json::{Value, json};
use teammy_kernel::{
    Publish,
    testing::{self, PluginTest, ScriptedLlm},
};

use super::*;

fn said(by: &str, text: &str) -> Publish {
    Publish::json("transcription", &Transcription::new(text, 0, 900)).unwrap().participant(by)
}

fn wrote(text: &str) -> Publish {
    Publish::json("chat", &Chat::new(text)).unwrap().participant("Bo")
}

async fn meeting() -> PluginTest<QuestionLog> {
    PluginTest::start_default().await.unwrap()
}

#[tokio::test(start_paused = true)]
async fn a_question_is_put_out_with_what_was_said_before() {
    let mut meeting = meeting().await;
    for text in ["The map is done.", "The legend isn't.", "I could do it."] {
        assert!(meeting.receive(said("Ada", text)).await.unwrap().is_none());
    }
    let output = meeting.receive(said("Bo", " Is there a deadline? ")).await.unwrap().unwrap();
    assert_eq!(
        testing::json::<Value>(&output),
        json!({
            "event": "asked",
            "question": {"number": 1, "by": "Bo", "text": "Is there a deadline?"},
            "before": ["The legend isn't.", "I could do it."],
        })
    );
    assert_eq!(meeting.keys(), ["question/0000000001"]);
    assert_eq!(meeting.state(), State { asked: 1, answered: 0 });
}

#[tokio::test(start_paused = true)]
async fn what_is_not_final_is_no_question_and_no_context() {
    let mut meeting = meeting().await;
    meeting.receive(said("Ada", "It is late.")).await.unwrap();
    let mut partial = Transcription::new("Is there?", 0, 400);
    partial.is_final = false;
    for _ in 0..10 {
        let partial = Publish::json("transcription", &partial).unwrap();
        assert!(meeting.receive(partial).await.unwrap().is_none());
    }
    let output = meeting.receive(said("Bo", "Is there a deadline?")).await.unwrap().unwrap();
    assert_eq!(testing::json::<Value>(&output)["before"], json!(["It is late."]));
}

#[tokio::test(start_paused = true)]
async fn context_can_be_left_out() {
    let mut meeting = PluginTest::<QuestionLog>::start_with(json!({"context": 0})).await.unwrap();
    meeting.receive(said("Ada", "It is late.")).await.unwrap();
    let output = meeting.receive(said("Bo", "Is there a deadline?")).await.unwrap().unwrap();
    assert_eq!(testing::json::<Value>(&output).get("before"), None);
}

#[tokio::test(start_paused = true)]
async fn context_is_of_the_last_minute() {
    let mut meeting = meeting().await;
    meeting.receive(said("Ada", "Long ago.")).await.unwrap();
    meeting.advance(CONTEXT_WINDOW).await.unwrap();
    meeting.advance(Duration::from_secs(1)).await.unwrap();
    meeting.receive(said("Ada", "Just now.")).await.unwrap();
    let output = meeting.receive(said("Bo", "What now?")).await.unwrap().unwrap();
    assert_eq!(testing::json::<Value>(&output)["before"], json!(["Just now."]));
}

#[tokio::test(start_paused = true)]
async fn commands_that_queued_up_are_one_output() {
    let mut meeting = meeting().await;
    for text in ["One?", "Two?", "三？", "Four?"] {
        meeting.receive(said("Ada", text)).await.unwrap();
    }
    let outputs = meeting
        .receive_batch([
            wrote("answered 2"),
            wrote("I answered 4 of them"),
            wrote("Answered #1, 2, 9 and 4294967296."),
        ])
        .await
        .unwrap();
    let [output] = &outputs[..] else { panic!("{outputs:?}") };
    assert_eq!(testing::json::<Event>(output), Event::Answered { numbers: vec![2, 1] });
    assert_eq!(output.causes.len(), 3);
    assert_eq!(meeting.state(), State { asked: 4, answered: 2 });
    assert_eq!(meeting.keys(), ["question/0000000003", "question/0000000004"]);

    assert!(
        meeting.receive(wrote("answered 2")).await.unwrap().is_none(),
        "question 2 was crossed out before"
    );
}

#[tokio::test(start_paused = true)]
async fn one_message_crosses_out_a_limited_number() {
    let mut meeting = meeting().await;
    let mut command = vec!["answered".to_owned()];
    for number in 1..=MAX_LISTED + 1 {
        meeting.receive(said("Ada", "Really?")).await.unwrap();
        command.push(number.to_string());
    }
    meeting.receive(wrote(&command.join(" "))).await.unwrap();
    assert_eq!(meeting.keys().len(), 1);
}

#[tokio::test(start_paused = true)]
async fn there_is_a_list_from_the_start_on() {
    let mut meeting = PluginTest::<QuestionLog>::builder().start_up().await.unwrap();
    let output = meeting.start().await.unwrap().unwrap();
    let list = json!({"event": "open", "asked": 0, "answered": 0, "questions": []});
    assert_eq!(testing::json::<Value>(&output), list);
}

#[tokio::test(start_paused = true)]
async fn a_reminder_comes_while_something_is_open() {
    let mut meeting = meeting().await;
    assert!(meeting.advance(REMINDER).await.unwrap().is_empty());
    meeting.receive(said("Ada", "One?")).await.unwrap();
    let outputs = meeting.advance(REMINDER).await.unwrap();
    let open = testing::json::<Value>(&outputs[0]);
    assert_eq!(
        open,
        json!({
            "event": "open",
            "asked": 1,
            "answered": 0,
            "questions": [{"number": 1, "by": "Ada", "text": "One?"}],
        })
    );
}

#[tokio::test(start_paused = true)]
async fn a_hook_that_fails_changes_nothing_and_is_called_again() {
    let llm = ScriptedLlm::default().fail("overloaded").reply(" They are about the deadline.\n");
    let config = json!({"summary": true});
    let meeting = PluginTest::<QuestionLog>::builder().config(config).llm(llm.clone()).start().await;
    let mut meeting = meeting.unwrap();
    meeting.receive(said("Bo", "Is there a deadline?")).await.unwrap();
    let outputs = meeting.outputs().len();

    let error = meeting.end().await.unwrap_err();
    assert!(!error.is_reject(), "the runtime tries this error again: {error}");
    assert_eq!(meeting.outputs().len(), outputs);

    let outputs = meeting.retry().await.unwrap();
    let open = testing::json::<Value>(&outputs[0]);
    assert_eq!(open["summary"], "They are about the deadline.");
    assert_eq!(llm.requests()[1].messages[1].content, "Is there a deadline?");
}

#[tokio::test(start_paused = true)]
async fn a_crash_at_any_place_changes_nothing() {
    let crashes = testing::crash_everywhere(PluginTest::<QuestionLog>::builder, async |meeting| {
        meeting.receive(said("Ada", "Who has the key?")).await?;
        meeting.receive_batch([said("Bo", "Is it locked?"), wrote("answered 1")]).await?;
        meeting.advance(REMINDER).await?;
        meeting.end().await?;
        Ok(())
    });
    assert_eq!(crashes.await.unwrap(), 12);
}

#[tokio::test(start_paused = true)]
async fn at_the_last_try_the_list_does_without_a_summary() {
    let llm = ScriptedLlm::default().fail("overloaded").fail("overloaded").fail("overloaded");
    let builder = PluginTest::<QuestionLog>::builder().config(json!({"summary": true})).llm(llm);
    let mut meeting = builder.start().await.unwrap();
    meeting.receive(said("Bo", "Is there a deadline?")).await.unwrap();
    meeting.end().await.unwrap_err();
    meeting.retry().await.unwrap_err();
    let open = testing::json::<Value>(&meeting.retry().await.unwrap()[0]);
    assert_eq!((open["asked"].as_u64(), open.get("summary")), (Some(1), None));
}

#[tokio::test(start_paused = true)]
async fn without_an_answer_there_is_a_list_without_a_summary() {
    let models = [ScriptedLlm::default().refuse("not my subject"), ScriptedLlm::default().reply(" \n")];
    for llm in models.map(Some).into_iter().chain([None]) {
        let mut builder = PluginTest::<QuestionLog>::builder().config(json!({"summary": true}));
        if let Some(llm) = llm {
            builder = builder.llm(llm);
        }
        let mut meeting = builder.start().await.unwrap();
        meeting.receive(said("Bo", "Is there a deadline?")).await.unwrap();
        let output = meeting.end().await.unwrap().unwrap();
        assert_eq!(testing::json::<Value>(&output)["questions"][0]["number"], 1);
        assert_eq!(testing::json::<Value>(&output).get("summary"), None);
    }
}

#[tokio::test(start_paused = true)]
async fn no_model_is_asked_without_open_questions_or_unless_configured() {
    for (config, text) in [(json!({"summary": true}), "No."), (json!({}), "Is there a deadline?")] {
        let llm = ScriptedLlm::default();
        let builder = PluginTest::<QuestionLog>::builder().config(config).llm(llm.clone());
        let mut meeting = builder.start().await.unwrap();
        meeting.receive(said("Bo", text)).await.unwrap();
        meeting.end().await.unwrap();
        assert_eq!(llm.requests(), []);
    }
}

#[tokio::test(start_paused = true)]
async fn a_question_costs_the_same_however_many_were_asked() {
    let mut meeting = meeting().await;
    for number in 0..500 {
        let before = meeting.store_cost();
        meeting.receive(said("Ada", "And when is it due?")).await.unwrap();
        let cost = meeting.store_cost() - before;
        assert!(cost.bytes() < 400, "question {number}: {cost:?}");
        assert_eq!((cost.key_writes, cost.reads), (1, 1), "question {number}");
    }
}

#[tokio::test(start_paused = true)]
async fn it_goes_on_after_a_restart() {
    let mut meeting = meeting().await;
    meeting.receive(said("Ada", "One?")).await.unwrap();
    meeting.restart().await.unwrap();
    let output = meeting.receive(said("Ada", "Two?")).await.unwrap().unwrap();
    assert_eq!(testing::json::<Value>(&output)["question"]["number"], 2);
    let list = meeting.end().await.unwrap().unwrap();
    assert_eq!(testing::json::<Value>(&list)["questions"].as_array().unwrap().len(), 2);
}

#[tokio::test(start_paused = true)]
async fn long_texts_are_cut_and_long_lists_show_the_newest() {
    let mut meeting = meeting().await;
    let long = format!("{}?", "é".repeat(10_000));
    for _ in 0..=MAX_LISTED {
        meeting.receive(said("Ada", &long)).await.unwrap();
    }
    let list = testing::json::<Value>(&meeting.end().await.unwrap().unwrap());
    let questions = list["questions"].as_array().unwrap();
    assert_eq!((questions.len(), &questions[0]["number"]), (MAX_LISTED, &json!(2)));
    assert_eq!(questions[0]["text"], "é".repeat(MAX_CHARS));
}

#[tokio::test(start_paused = true)]
async fn data_of_another_type_is_rejected() {
    let mut meeting = meeting().await;
    let error = meeting.receive(Publish::text("transcription", "Hello?").unwrap()).await.unwrap_err();
    assert!(error.is_reject());
    assert_eq!(meeting.state(), State::default());

    let messages = [wrote("answered 1"), Publish::text("chat", "answered 2").unwrap()];
    meeting.receive_batch(messages).await.unwrap();
    assert_eq!(meeting.rejected().len(), 1, "only the bad item of a batch is rejected");
}

#[tokio::test(start_paused = true)]
async fn a_configuration_that_makes_no_sense_is_refused() {
    for (table, said) in [
        (json!({"command": "is done"}), "`command` is not one word"),
        (json!({"command": ""}), "`command` is not one word"),
        (json!({"context": 11}), "`context` is 11; choose 0 to 10"),
        (json!({"contxt": 1}), "unknown field `contxt`, expected one of `command`, `context`, `summary`"),
    ] {
        let error = PluginTest::<QuestionLog>::start_with(&table).await.unwrap_err().to_string();
        assert!(error.starts_with(said), "{table}: {error}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_model_may_take_its_time() {
    let llm = ScriptedLlm::default()
        .delay(Duration::from_secs(50))
        .when(|request| request.messages[1].content.contains("deadline"), "They are about the deadline.");
    let config = json!({"summary": true});
    let meeting = PluginTest::<QuestionLog>::builder().config(config).llm(llm).start().await;
    let mut meeting = meeting.unwrap();
    meeting.receive(said("Bo", "Is there a deadline?")).await.unwrap();
    let began = tokio::time::Instant::now();
    let open = testing::json::<Value>(&meeting.end().await.unwrap().unwrap());
    assert_eq!(open["summary"], "They are about the deadline.");
    assert_eq!(began.elapsed(), Duration::from_secs(50));
}
