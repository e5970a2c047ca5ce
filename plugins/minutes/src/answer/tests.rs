use schemars::generate::SchemaSettings;
use serde_json::json;
use teammy_kernel::{AnswerError, parse_answer};

use super::*;

fn read(answer: &serde_json::Value) -> DraftMinutes {
    parse_answer(&answer.to_string()).unwrap()
}

#[test]
fn no_more_is_required_than_is_needed() {
    let generator = SchemaSettings::draft2020_12().for_deserialize().into_generator();
    let schema = generator.into_root_schema_for::<DraftMinutes>();
    let text = json!({"type": ["string", "null"]});
    let list = json!({"type": ["array", "null"], "items": {"type": "string"}});
    let task = json!({
        "type": "object",
        "properties": {"task": {"type": "string"}, "owner": text, "due": text, "due_date": text},
        "required": ["task"],
    });
    let asked = json!({
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "title": "Minutes",
        "description": "The minutes of a meeting.",
        "type": "object",
        "properties": {
            "title": text,
            "summary": {"type": "string"},
            "decisions": list,
            "action_items": {"type": ["array", "null"], "items": task},
            "open_questions": list,
            "language": text,
        },
        "required": ["summary"],
    });
    assert_eq!(*schema.as_value(), asked);
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
    let problem = |answer: &str| match parse_answer::<DraftMinutes>(answer) {
        Err(AnswerError::OtherShape { problem }) => problem,
        other => panic!("{other:?}"),
    };
    assert_eq!(parse_answer::<DraftMinutes>("Sorry, no."), Err(AnswerError::NoJson));
    assert_eq!(problem(r#"{"decisions": []}"#), "missing field `summary`");
    let no_task = r#"{"summary": "Talk.", "action_items": [{"owner": "Bo"}]}"#;
    assert_eq!(problem(no_task), "missing field `task` of an action item");
    let no_summary = "invalid value: string, expected a summary of what was talked about";
    assert_eq!(problem(r#"{"summary": " "}"#), no_summary);
    assert_eq!(problem(PLACEHOLDERS), no_summary);
    let long = json!({"summary": "x".repeat(MAX_BYTES - 20), "title": "x".repeat(20)}).to_string();
    assert!(parse_answer::<DraftMinutes>(&long).is_ok());
    let longer = long.replacen("xx", "xxx", 1);
    assert_eq!(problem(&longer), "invalid length 65537, expected at most 65536 bytes of text");
    for many in [
        json!({"summary": "Talk.", "decisions": vec!["x"; 5_000]}),
        json!({"summary": "Talk.", "open_questions": vec!["x"; 5_000]}),
        json!({"summary": "Talk.", "action_items": vec!["x"; 5_000]}),
        json!({"summary": "Talk.", "action_items": vec![json!({"task": "x", "due": "y"}); 2_500]}),
    ] {
        assert!(problem(&many.to_string()).starts_with("invalid length 80016, "));
    }
}

const PLACEHOLDERS: &str = r#"{"title": "Sync", "summary": "what was talked about, in a few sentences"}"#;

#[test]
fn minutes_after_the_copied_form_are_read() {
    let answer = parse_answer::<DraftMinutes>(&format!("{PLACEHOLDERS}\n{{\"summary\": \"Talk.\"}}"));
    assert_eq!(answer.unwrap().summary, "Talk.");
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
    assert!(parse_answer::<DraftMinutes>(form).is_err());
    let mut answer = raw.clone();
    answer["summary"] = json!("Talk.");
    assert_eq!(read(&answer), DraftMinutes { summary: "Talk.".into(), ..DraftMinutes::default() });
}
