use jiff::civil::date;

use super::*;

fn at(time: &str) -> Timestamp {
    time.parse().unwrap()
}

fn nothing() -> MeetingMinutes {
    MeetingMinutes {
        title: None,
        started_at: None,
        ended_at: at("2026-03-02T09:25:40Z"),
        attendees: Vec::new(),
        more_attendees: false,
        summary: String::new(),
        decisions: Vec::new(),
        action_items: Vec::new(),
        open_questions: Vec::new(),
        language: None,
    }
}

fn item(task: &str) -> ActionItem {
    ActionItem { task: task.into(), owner: None, due: None, due_date: None }
}

#[test]
fn what_is_not_there_has_no_heading() {
    assert_eq!(
        render(&nothing(), false),
        "# Minutes\n\n2026-03-02, 09:25 UTC\n\n**These minutes are incomplete.**\n"
    );
}

#[test]
fn headings_are_in_the_language_of_the_minutes() {
    let minutes = MeetingMinutes {
        attendees: vec!["Jörg".into(), "Bo".into()],
        more_attendees: true,
        summary: "Kurz.".into(),
        decisions: vec!["Ja.".into()],
        action_items: vec![ActionItem { due: Some("morgen".into()), ..item("Testen") }],
        open_questions: vec!["Wer?".into()],
        language: Some("de-CH".into()),
        ..nothing()
    };
    assert_eq!(
        render(&minutes, true),
        "# Protokoll\n\n2026-03-02, 09:25 UTC\n\n**Anwesende:** Jörg, Bo und andere\n\n## Zusammenfassung\n\nKurz.\n\n\
         ## Beschlüsse\n\n- Ja.\n\n## Aufgaben\n\n- [ ] Testen (fällig: morgen)\n\n## Offene Fragen\n\n- Wer?\n"
    );
    let others = ["en", "es", "fr", "it", "nl", "pt"].map(|tag| Headings::of(Some(tag)));
    for (index, headings) in others.iter().enumerate() {
        assert!(others[..index].iter().all(|other| other.minutes != headings.minutes));
    }
    assert_eq!(Headings::of(Some("tlh")), Headings::of(None));
}

#[test]
fn an_action_item_shows_what_was_said_of_it() {
    let line = |item: &ActionItem| action(item, Headings::of(None));
    let day = Some(date(2026, 3, 4));
    assert_eq!(line(&item("Test it")), "[ ] Test it");
    let full = ActionItem {
        owner: Some("Bo".into()),
        due: Some("by Wednesday".into()),
        due_date: day,
        ..item("Test it")
    };
    assert_eq!(line(&full), "[ ] **Bo**: Test it (due: by Wednesday, 2026-03-04)");
    assert_eq!(line(&ActionItem { due_date: day, ..item("Test it") }), "[ ] Test it (due: 2026-03-04)");
    let said_so = ActionItem { due: Some("2026-03-04".into()), due_date: day, ..item("Test it") };
    assert_eq!(line(&said_so), "[ ] Test it (due: 2026-03-04)");
}

#[test]
fn the_times_are_those_of_the_meeting() {
    let end = at("2026-03-02T09:25:40Z");
    assert_eq!(time_range(Some(at("2026-03-02T09:00:00Z")), end), "2026-03-02, 09:00–09:25 UTC");
    assert_eq!(
        time_range(Some(at("2026-03-01T23:00:00Z")), end),
        "2026-03-01, 23:00 – 2026-03-02, 09:25 UTC"
    );
    assert_eq!(time_range(Some(at("2026-03-03T00:00:00Z")), end), "2026-03-02, 09:25 UTC");
}

#[test]
fn what_would_be_markup_is_escaped() {
    for (text, escaped) in [
        ("*Ada* `x` ~~y~~ [z](u) <b> a|b \\", r"\*Ada\* \`x\` \~\~y\~\~ \[z\](u) \<b> a\|b \\"),
        ("_a_ snake_case _", r"\_a\_ snake_case \_"),
        ("# one", r"\# one"),
        ("C# and #1, end #", r"C# and \#1, end \#"),
        ("- one", r"\- one"),
        ("+ one", r"\+ one"),
        ("> one", r"\> one"),
        ("===", r"\==="),
        ("a - b + c > d = e", "a - b + c > d = e"),
        ("1. one", r"1\. one"),
        ("12) one", r"12\) one"),
        ("at 1.5 (or 2)", "at 1.5 (or 2)"),
        ("R&D &amp; &#35; A & B", r"R\&D \&amp; \&#35; A & B"),
        ("https://a.example/b_c?d=e", "https://a.example/b_c?d=e"),
        ("two\n\n# lines\u{2028}or more", r"two \# lines or more"),
        ("👩‍👩‍👧 Ana", "👩‍👩‍👧 Ana"),
        ("דנה|عمر", r"דנה\|عمر"),
        ("\u{202E}turned", "turned"),
    ] {
        assert_eq!(escape(text), escaped, "{text:?}");
    }
}

#[test]
fn names_and_texts_stay_on_their_lines() {
    let minutes = MeetingMinutes {
        title: Some("A\n# B".into()),
        attendees: vec!["*Ada*\n\n- Eve".into(), "Bo|Bo".into(), "דנה 🙂".into()],
        decisions: vec!["One\n- two".into()],
        action_items: vec![ActionItem { owner: Some("**Bo**\n".into()), ..item("Do\n\n# it") }],
        ..nothing()
    };
    assert_eq!(
        render(&minutes, true),
        "# A \\# B\n\n2026-03-02, 09:25 UTC\n\n**Attendees:** \\*Ada\\* - Eve, Bo\\|Bo, דנה 🙂\n\n## Decisions\n\n- One - two\n\n\
         ## Action items\n\n- [ ] **\\*\\*Bo\\*\\***: Do \\# it\n"
    );
}

#[test]
fn the_lines_of_a_summary_stay_lines() {
    let summary = "Plan:\n- ship *it*\n• test it\n\n* tell\n# not a heading\nThe end.";
    let page = render(&MeetingMinutes { summary: summary.into(), ..nothing() }, true);
    let (_, shown) = page.split_once("## Summary\n\n").unwrap();
    assert_eq!(shown, "Plan:\n\n- ship \\*it\\*\n- test it\n- tell\n\n\\# not a heading\n\nThe end.\n");
}
