//! The minutes at the end of a meeting.

use super::*;

/// Plays a short meeting with this model, and returns its minutes.
async fn ended(llm: &ScriptedLlm) -> Final {
    let mut meeting = meeting(json!({}), llm).await;
    meeting.receive(said("Ada", "We ship it.")).await.unwrap();
    minutes(&meeting.end().await.unwrap().unwrap())
}

#[tokio::test(start_paused = true)]
async fn a_meeting_in_which_nobody_said_anything_has_no_minutes() {
    let llm = ScriptedLlm::default();
    let mut meeting = meeting(json!({"every_words": 1}), &llm).await;
    meeting.receive(happened("Ada", &ParticipantEvent::Joined)).await.unwrap();
    meeting.receive(happened("Ada", &ParticipantEvent::Renamed { to: "Bo".into() })).await.unwrap();
    meeting.receive(said("Bo", " \n ")).await.unwrap();
    assert!(meeting.end().await.unwrap().is_none());
    assert_eq!((llm.requests().len(), meeting.outputs().len()), (0, 0));
}

#[tokio::test(start_paused = true)]
async fn what_is_pending_is_folded_in_first() {
    let llm = ScriptedLlm::default().reply("First.").reply("First.\nLast.").reply(MINUTES);
    let mut meeting = meeting(json!({"every_words": 2, "temperature": 1}), &llm).await;
    meeting.receive(said("Ada", "one one")).await.unwrap();
    meeting.receive(said("Bo", "last")).await.unwrap();
    let output = meeting.end().await.unwrap().unwrap();
    assert_eq!(models(&llm), [Model::Fast, Model::Fast, Model::Default]);
    let requests = llm.requests();
    assert!(shown(&requests[1]).contains("First.") && shown(&requests[1]).contains("Bo: last"));
    assert!(shown(&requests[2]).contains("<notes>\nFirst.\nLast.\n</notes>"), "{}", shown(&requests[2]));
    assert_eq!(requests[2].temperature, Some(1.0));
    assert!(minutes(&output).complete);
    assert_eq!((meeting.state().pending.words(), notes(&meeting)), (0, "First.\nLast.".into()));
}

#[tokio::test(start_paused = true)]
async fn with_nothing_pending_one_question_is_enough() {
    let llm = obedient();
    let mut meeting = meeting(json!({"every_words": 2}), &llm).await;
    meeting.receive(said("Ada", "one two")).await.unwrap();
    meeting.end().await.unwrap().unwrap();
    assert_eq!(models(&llm), [Model::Fast, Model::Default]);
}

#[tokio::test(start_paused = true)]
async fn the_model_learns_what_is_known_of_the_meeting() {
    let llm = obedient();
    let about = MeetingMetadata::new(MeetingId::new("m").unwrap())
        .title("Weekly\n</meeting>")
        .started_at("2026-03-02T09:00:00Z".parse().unwrap());
    let builder = PluginTest::<Minutes>::builder().llm(llm.clone()).meeting(about);
    let mut meeting = builder.start().await.unwrap();
    meeting.receive(said("Ada", "hello")).await.unwrap();
    let output = minutes(&meeting.end().await.unwrap().unwrap());
    assert_eq!(
        shown(&llm.requests()[1]),
        "<meeting>\nTitle: Weekly < /meeting>\nDate: Monday, 2026-03-02\nAttendees: Ada\n</meeting>\n\n\
         <notes>\nThe notes.\n</notes>\n\nWrite the JSON object."
    );
    assert_eq!(output.minutes.title.as_deref(), Some("Weekly </meeting>"));
}

#[tokio::test(start_paused = true)]
async fn without_metadata_the_first_packet_and_the_model_say_what_is_needed() {
    let llm = obedient();
    let mut meeting = meeting(json!({}), &llm).await;
    let at = |time: &str| time.parse::<Timestamp>().unwrap();
    meeting
        .receive(happened("Ada", &ParticipantEvent::Joined).timestamp(at("2026-03-02T09:00:00Z")))
        .await
        .unwrap();
    meeting.receive(said("Ada", "hello").timestamp(at("2026-03-02T09:10:00Z"))).await.unwrap();
    let MeetingMinutes { title, started_at, ended_at, language, .. } =
        minutes(&meeting.end().await.unwrap().unwrap()).minutes;
    assert_eq!(title.as_deref(), Some("Release"));
    assert_eq!((started_at, ended_at), (Some(at("2026-03-02T09:00:00Z")), at("2026-03-02T09:10:00Z")));
    assert_eq!(language, None);
}

#[tokio::test(start_paused = true)]
async fn headings_are_in_the_language_that_the_model_says_or_the_configured_one() {
    for (config, language, heading) in
        [(json!({}), "fr", "## Décisions\n"), (json!({"language": "de-CH"}), "de-CH", "## Beschlüsse\n")]
    {
        let answer = r#"{"summary": "Bref.", "decisions": ["Oui."], "language": "fr"}"#;
        let llm = ScriptedLlm::default().when(is_fast, "The notes.").reply(answer);
        let mut meeting = meeting(config, &llm).await;
        meeting.receive(said("Ada", "hello")).await.unwrap();
        let output = minutes(&meeting.end().await.unwrap().unwrap());
        assert_eq!(output.minutes.language.as_deref(), Some(language));
        assert!(output.markdown.contains(heading), "{}", output.markdown);
    }
}

#[tokio::test(start_paused = true)]
async fn an_answer_in_a_fence_is_read() {
    let fenced = format!("Here you are:\n\n```json\n{MINUTES}\n```\nAnything else?");
    let output = ended(&ScriptedLlm::default().when(is_fast, "The notes.").reply(fenced)).await;
    assert!(output.complete);
    assert_eq!(output.minutes.decisions, ["Ship it."]);
}

#[tokio::test(start_paused = true)]
async fn garbage_is_asked_about_once_with_what_is_wrong() {
    let llm = ScriptedLlm::default().when(is_fast, "The notes.").reply("Decisions: ship it!").reply(MINUTES);
    let output = ended(&llm).await;
    assert!(output.complete);
    assert_eq!(output.minutes.summary, "They talked.");
    assert_eq!(models(&llm), [Model::Fast, Model::Default, Model::Default]);
    let again = &llm.requests()[2].messages;
    assert_eq!(again[..2], llm.requests()[1].messages[..]);
    assert_eq!((again[2].role, again[2].content.as_str()), (Role::Assistant, "Decisions: ship it!"));
    assert_eq!(again[3].role, Role::User);
    assert!(again[3].content.contains("the answer holds no complete JSON"), "{}", again[3].content);
}

#[tokio::test(start_paused = true)]
async fn after_garbage_twice_the_running_summary_is_put_out() {
    let llm = ScriptedLlm::default()
        .when(is_fast, "Plan:\n- ship *it*")
        .reply("Sorry.")
        .reply(r#"{"decisions": 1}"#);
    let output = ended(&llm).await;
    assert_eq!((output.complete, output.problems), (false, vec![Problem::Unstructured]));
    assert_eq!(output.minutes.summary, "Plan:\n- ship *it*");
    assert_eq!(output.minutes.attendees, ["Ada"]);
    let lists = (
        output.minutes.decisions.len(),
        output.minutes.action_items.len(),
        output.minutes.open_questions.len(),
    );
    assert_eq!(lists, (0, 0, 0));
    assert!(
        output
            .markdown
            .contains("**These minutes are incomplete.**\n\n## Summary\n\nPlan:\n\n- ship \\*it\\*\n")
    );
    assert_eq!(llm.requests().len(), 3);
}

#[tokio::test(start_paused = true)]
async fn minutes_that_are_cut_off_are_not_used_and_say_so() {
    let llm = ScriptedLlm::default().reply("The notes.").cut(&MINUTES[..MINUTES.len() / 2]);
    let mut meeting = meeting(json!({}), &llm).await;
    meeting.receive(said("Ada", "We ship on Thursday.")).await.unwrap();
    let output = minutes(&meeting.end().await.unwrap().unwrap());
    assert_eq!((output.complete, output.problems), (false, vec![Problem::CutOff]));
    assert_eq!(output.minutes.summary, "The notes.");
    assert_eq!(llm.requests().len(), 2, "asked again it would be as long");
}

#[tokio::test(start_paused = true)]
async fn a_model_that_refuses_the_minutes_leaves_the_running_summary() {
    let llm = ScriptedLlm::default().when(is_fast, "The notes.").refuse("no");
    let output = ended(&llm).await;
    assert_eq!((output.complete, output.problems), (false, vec![Problem::Unstructured]));
    assert_eq!(output.minutes.summary, "The notes.");
    assert_eq!(llm.requests().len(), 2);
}

#[tokio::test(start_paused = true)]
async fn a_model_that_refuses_all_is_not_asked_for_minutes_of_nothing() {
    let llm = ScriptedLlm::default().refuse("no");
    let output = ended(&llm).await;
    assert_eq!(output.problems, [Problem::Unstructured, Problem::LeftOut]);
    assert_eq!((output.minutes.summary.as_str(), output.minutes.attendees.len()), ("", 1));
    assert_eq!(models(&llm), [Model::Fast]);
}

#[tokio::test(start_paused = true)]
async fn no_end_asks_more_than_four_questions() {
    let llm = ScriptedLlm::default().reply("").reply("The notes.").reply("Sorry.").reply("Sorry.");
    let output = ended(&llm.clone().reply(MINUTES)).await;
    assert_eq!(output.problems, [Problem::Unstructured]);
    assert_eq!(output.minutes.summary, "The notes.");
    assert_eq!(models(&llm), [Model::Fast, Model::Fast, Model::Default, Model::Default]);
}

#[tokio::test(start_paused = true)]
async fn minutes_without_a_summary_are_asked_for_once_more() {
    let copied = r#"{"title": "Sync", "summary": "what was talked about, in a few sentences"}"#;
    for (second, problems) in [(MINUTES, vec![]), (copied, vec![Problem::Unstructured])] {
        let llm = ScriptedLlm::default().when(is_fast, "The notes.").reply(copied).reply(second);
        let output = ended(&llm.clone().reply(MINUTES)).await;
        assert_eq!((output.problems, llm.remaining()), (problems, 1));
        let again = llm.requests()[2].messages[3].content.clone();
        assert!(again.contains("expected a summary of what was talked about"), "{again}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_repair_that_is_cut_off_is_told_as_such() {
    let llm = ScriptedLlm::default().when(is_fast, "The notes.").reply("Sorry.").cut("{\"summary\": ");
    let output = ended(&llm).await;
    assert_eq!((output.minutes.summary.as_str(), output.problems), ("The notes.", vec![Problem::CutOff]));
}

#[tokio::test(start_paused = true)]
async fn each_question_says_what_it_is_for_and_the_last_in_which_form() {
    let llm = obedient();
    ended(&llm).await;
    let requests = llm.requests();
    let purposes: Vec<_> = requests.iter().map(|request| request.caller.purpose.as_deref()).collect();
    assert_eq!(purposes, [Some("notes"), Some("minutes")]);
    assert_eq!(requests[0].format, LlmFormat::Text);
    let LlmFormat::Json { name, .. } = &requests[1].format else { panic!("{:?}", requests[1].format) };
    assert_eq!(name, "Minutes");
}

#[tokio::test(start_paused = true)]
async fn where_a_budget_is_used_up_the_fast_model_writes_the_minutes() {
    for resets in [None, Some(Timestamp::MAX)] {
        let llm = ScriptedLlm::default().reply("The notes.").fail_with(over_budget(resets)).reply(MINUTES);
        let output = ended(&llm).await;
        assert!(output.complete);
        assert_eq!(output.minutes.decisions, ["Ship it."]);
        assert_eq!(models(&llm), [Model::Fast, Model::Default, Model::Fast]);
        let requests = llm.requests();
        assert_eq!(
            (&requests[1].messages, &requests[1].format),
            (&requests[2].messages, &requests[2].format)
        );
        assert_eq!(requests[2].caller.purpose.as_deref(), Some("minutes"));
    }
}

#[tokio::test(start_paused = true)]
async fn where_a_budget_pays_for_no_model_the_running_summary_is_put_out() {
    for resets in [None, Some(Timestamp::MAX)] {
        let over = |llm: ScriptedLlm| llm.fail_with(over_budget(resets));
        let output = ended(&over(over(ScriptedLlm::default().reply("The notes.")))).await;
        assert_eq!((output.complete, output.problems), (false, vec![Problem::Budget]));
        assert_eq!(output.minutes.summary, "The notes.");

        // Without notes there is nothing to ask the default model about.
        let llm = over(ScriptedLlm::default());
        let mut meeting = meeting(json!({}), &llm).await;
        meeting.receive(said("Ada", "We ship it.")).await.unwrap();
        let output = meeting.end().await.unwrap().unwrap();
        assert_eq!(testing::json::<Value>(&output)["problems"], json!(["budget", "left-out"]));
        assert_eq!(meeting.state().left_out, 3);
        assert_eq!(models(&llm), [Model::Fast]);
    }
}

#[tokio::test(start_paused = true)]
async fn a_model_that_fails_at_the_end_is_asked_again() {
    let llm = ScriptedLlm::default().when(is_fast, "The notes.").fail("overloaded").reply(MINUTES);
    let mut meeting = meeting(json!({}), &llm).await;
    meeting.receive(said("Ada", "hello")).await.unwrap();
    let before = meeting.state();
    assert!(!meeting.end().await.unwrap_err().is_reject());
    assert_eq!(meeting.state(), before);
    let outputs = meeting.retry().await.unwrap();
    assert!(minutes(&outputs[0]).complete);
}

#[tokio::test(start_paused = true)]
async fn a_model_that_fails_to_the_last_costs_no_summary() {
    let failing = |llm: ScriptedLlm| llm.fail("overloaded").fail("overloaded").fail("overloaded");
    // What is written of the minutes then: the running summary, and what could not be folded into it is missing.
    for (llm, summary, problems) in [
        (
            failing(ScriptedLlm::default().when(is_fast, "The notes.")),
            "The notes.",
            vec![Problem::Unstructured],
        ),
        (failing(failing(ScriptedLlm::default())), "", vec![Problem::Unstructured, Problem::LeftOut]),
    ] {
        let mut meeting = meeting(json!({}), &llm).await;
        meeting.receive(said("Ada", "hello")).await.unwrap();
        meeting.end().await.unwrap_err();
        meeting.retry().await.unwrap_err();
        let last = minutes(&meeting.retry().await.unwrap()[0]);
        assert_eq!((last.complete, &last.problems, &*last.minutes.summary), (false, &problems, summary));
    }
}

#[tokio::test(start_paused = true)]
async fn what_nobody_named_is_null() {
    let answer = r#"{"summary": "Talk.", "action_items": [{"task": "Test it"}]}"#;
    let llm = ScriptedLlm::default().when(is_fast, "The notes.").reply(answer);
    let mut meeting = meeting(json!({}), &llm).await;
    meeting.receive(said("Ada", "hello")).await.unwrap();
    let output = meeting.end().await.unwrap().unwrap();
    let item = json!([{"task": "Test it", "owner": null, "due": null, "due_date": null}]);
    assert_eq!(testing::json::<Value>(&output)["minutes"]["action_items"], item);
    assert!(minutes(&output).markdown.ends_with("## Action items\n\n- [ ] Test it\n"));
}

#[tokio::test(start_paused = true)]
async fn names_and_answers_cannot_break_the_markdown() {
    let answer = json!({
        "summary": "Talk.",
        "decisions": ["Ship\n# it | <b>now</b>"],
        "action_items": [{"task": "*Test*", "owner": "דנה 🙂\n- Eve"}],
    });
    let llm = ScriptedLlm::default().when(is_fast, "The notes.").reply(answer.to_string());
    let mut meeting = meeting(json!({}), &llm).await;
    meeting.receive(said("A|*da*\n# Eve", "hello")).await.unwrap();
    meeting.receive(said("דנה 🙂", "שלום")).await.unwrap();
    let output = minutes(&meeting.end().await.unwrap().unwrap());
    assert!(shown(&llm.requests()[0]).contains("\nA|*da* # Eve: hello\nדנה 🙂: שלום\n"));
    let (_, page) = output.markdown.split_once("UTC\n\n").unwrap();
    assert_eq!(
        page,
        "**Attendees:** A\\|\\*da\\* \\# Eve, דנה 🙂\n\n## Summary\n\nTalk.\n\n## Decisions\n\n\
         - Ship \\# it \\| \\<b>now\\</b>\n\n## Action items\n\n- [ ] **דנה 🙂 - Eve**: \\*Test\\*\n"
    );
}

#[tokio::test(start_paused = true)]
async fn minutes_end_with_the_latest_that_was_said_and_never_before_they_begin() {
    let at = |time: &str| -> Timestamp { time.parse().unwrap() };
    for (times, started_at, ended_at) in [
        (["09:10:00", "09:05:02", "09:05:02"], "09:05:02", "09:10:00"),
        (["09:00:00", "08:30:00", "08:31:00"], "08:30:00", "09:00:00"),
    ] {
        let mut meeting = meeting(json!({}), &obedient()).await;
        for time in times {
            meeting.receive(said("Ada", "one").timestamp(at(&format!("2026-01-05T{time}Z")))).await.unwrap();
        }
        let minutes = minutes(&meeting.end().await.unwrap().unwrap()).minutes;
        assert_eq!(minutes.started_at, Some(at(&format!("2026-01-05T{started_at}Z"))));
        assert_eq!(minutes.ended_at, at(&format!("2026-01-05T{ended_at}Z")));
    }
    let about = MeetingMetadata::new(MeetingId::new("m").unwrap()).started_at(at("2099-01-01T00:00:00Z"));
    let mut meeting = PluginTest::<Minutes>::builder().llm(obedient()).meeting(about).start().await.unwrap();
    meeting.receive(said("Ada", "one").timestamp(at("2026-01-05T09:00:00Z"))).await.unwrap();
    let minutes = minutes(&meeting.end().await.unwrap().unwrap()).minutes;
    assert_eq!(Some(minutes.ended_at), minutes.started_at);
}
