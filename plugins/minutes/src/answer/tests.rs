use serde_json::json;

use super::*;

fn read(answer: &serde_json::Value) -> DraftMinutes {
    DraftMinutes::read(&answer.to_string()).unwrap()
}

#[test]
fn the_form_that_was_asked_for_is_read() {
    let answer = read(&json!({
        "title": "Release\nsync",
        "summary": "First line.\r\nSecond  line.",
        "decisions": ["Ship\non Thursday."],
        "action_items": [
            {"task": "Test it", "owner": "Bo", "due": "by Wednesday", "due_date": "2026-03-04"},
            {"task": "Write it up", "owner": null, "due": null, "due_date": null},
        ],
        "open_questions": ["Who announces it?"],
        "language": "en",
    }));
    assert_eq!(answer.title.as_deref(), Some("Release sync"));
    assert_eq!(answer.summary, "First line.\nSecond line.");
    assert_eq!(answer.decisions, ["Ship on Thursday."]);
    assert_eq!(
        answer.action_items,
        [
            ActionItem {
                task: "Test it".into(),
                owner: Some("Bo".into()),
                due: Some("by Wednesday".into()),
                due_date: Some(jiff::civil::date(2026, 3, 4)),
            },
            ActionItem { task: "Write it up".into(), owner: None, due: None, due_date: None },
        ]
    );
    assert_eq!(answer.open_questions, ["Who announces it?"]);
    assert_eq!(answer.language.as_deref(), Some("en"));
}

#[test]
fn lists_may_be_missing_and_tasks_may_be_plain() {
    let answer = read(
        &json!({"summary": "Talk.", "decisions": null, "action_items": ["Test it", {"task": "Ship it"}]}),
    );
    let tasks: Vec<_> = answer.action_items.iter().map(|item| (item.task.as_str(), &item.owner)).collect();
    assert_eq!(tasks, [("Test it", &None), ("Ship it", &None)]);
    assert_eq!((answer.decisions.len(), answer.open_questions.len()), (0, 0));
}

#[test]
fn fillers_and_placeholders_count_as_missing() {
    let answer = read(&json!({
        "title": "N/A",
        "summary": "Talk.",
        "decisions": ["None.", " ", "what was decided", "None of it ships."],
        "action_items": [
            {"task": "Test it", "owner": "Unassigned", "due": "TBD", "due_date": "YYYY-MM-DD"},
            {"task": "none", "owner": "Bo"},
            {"task": "Ship it", "owner": "who does it", "due": "", "due_date": ""},
        ],
        "language": "English",
    }));
    assert_eq!((answer.title, answer.language), (None, None));
    assert_eq!(answer.decisions, ["None of it ships."]);
    let bare = |task: &str| ActionItem { task: task.into(), owner: None, due: None, due_date: None };
    assert_eq!(answer.action_items, [bare("Test it"), bare("Ship it")]);
}

#[test]
fn a_date_is_one_of_the_calendar_in_one_form() {
    assert_eq!(date("2028-02-29"), Some(jiff::civil::date(2028, 2, 29)));
    assert_eq!(date(" 2026-03-04 "), Some(jiff::civil::date(2026, 3, 4)));
    for bad in [
        "2026-02-29",
        "2026-13-01",
        "2026-00-10",
        "20260304",
        "2026-3-4",
        "04.03.2026",
        "2026-03-04T10:00",
        "2026-W10-5",
        "Friday",
        "2026/03/04",
        "+026-03-04",
        "２０２６-０３-０４",
        "",
    ] {
        assert_eq!(date(bad), None, "{bad}");
    }
}

#[test]
fn an_answer_of_no_use_says_why() {
    assert_eq!(DraftMinutes::read(" \n"), Err(UnusableAnswer::Empty));
    assert_eq!(DraftMinutes::read("Sorry, no."), Err(UnusableAnswer::Json(AnswerError::NoJson)));
    assert!(matches!(
        DraftMinutes::read(r#"{"decisions": []}"#),
        Err(UnusableAnswer::Json(AnswerError::OtherShape { .. }))
    ));
    assert_eq!(DraftMinutes::read(r#"{"summary": " "}"#), Err(UnusableAnswer::NoSummary));
    let form = r#"{"title": "Sync", "summary": "what was talked about, in a few sentences"}"#;
    assert_eq!(DraftMinutes::read(form), Err(UnusableAnswer::NoSummary));
    let endless = format!(r#"{{"summary": "{}"}}"#, "x".repeat(MAX_BYTES));
    assert_eq!(DraftMinutes::read(&endless), Err(UnusableAnswer::TooLong { bytes: endless.len() }));
}

#[test]
fn notes_are_what_is_neither_thought_nor_copied_nor_repeated() {
    assert_eq!(notes("<notes>\na\nb\nb\nb\na\n</notes> ", 10).unwrap(), "a\nb\na");
    assert_eq!(notes("<notes>\n<notes>\n", 10), Err(UnusableAnswer::Empty));
    assert_eq!(notes(" a\n\n\n- b\n", 10).unwrap(), "a\n\n- b");
    assert_eq!(notes("<think>hm</think>\na", 10).unwrap(), "a");
    assert_eq!(notes("hm\n</think>\na", 10).unwrap(), "a");
    assert_eq!(notes("<think>hm", 10), Err(UnusableAnswer::Empty));
    assert_eq!(notes("\n", 10), Err(UnusableAnswer::Empty));
    assert_eq!(notes("a b\nc d", 3).unwrap(), "a b\nc […]");
}

#[test]
fn the_format_with_its_placeholders_reads_as_empty_minutes() {
    let about = crate::prompt::MeetingFacts { title: None, started_at: None, attendees: &[] };
    let asked = &crate::prompt::minutes(&crate::Config::default(), &about, "-")[0].content;
    let form = &asked[asked.find('{').unwrap()..=asked.rfind('}').unwrap()];
    let raw: serde_json::Value = serde_json::from_str(form).unwrap();
    assert_eq!(DraftMinutes::read(form), Err(UnusableAnswer::NoSummary));
    let mut answer = raw.clone();
    answer["summary"] = json!("Talk.");
    assert_eq!(read(&answer), DraftMinutes { summary: "Talk.".into(), ..DraftMinutes::default() });
}
