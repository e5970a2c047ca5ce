//! The form of what goes to the model and comes back: the tags that data stands between, and the minutes'
//! JSON.

// What the data stands between.
pub(crate) const MEETING: (&str, &str) = ("<meeting>", "</meeting>");
pub(crate) const NOTES: (&str, &str) = ("<notes>", "</notes>");
pub(crate) const TRANSCRIPT: (&str, &str) = ("<transcript>", "</transcript>");

// What the form of the minutes says in its places.
const TITLE: &str = "what the meeting was about, in a few words";
const SUMMARY: &str = "what was talked about, in a few sentences";
const DECISION: &str = "what was decided";
const TASK: &str = "what is to be done";
const OWNER: &str = "who does it";
const DUE: &str = "by when";
const QUESTION: &str = "what was asked and not answered";

/// Whether a text is one that the form says, which a model has left standing.
pub(crate) fn is_of_the_form(text: &str) -> bool {
    [TITLE, SUMMARY, DECISION, TASK, OWNER, DUE, QUESTION].contains(&text)
}

/// Whether a line is a tag of ours, which a model has copied.
pub(crate) fn is_tag(line: &str) -> bool {
    [MEETING, NOTES, TRANSCRIPT].iter().any(|(open, close)| [*open, *close].contains(&line.trim()))
}

/// The form of the minutes, with what each place is for.
pub(crate) fn form() -> String {
    format!(
        r#"{{
  "title": "{TITLE}",
  "summary": "{SUMMARY}",
  "decisions": ["{DECISION}"],
  "action_items": [{{"task": "{TASK}", "owner": "{OWNER}", "due": "{DUE}", "due_date": "YYYY-MM-DD"}}],
  "open_questions": ["{QUESTION}"],
  "language": "the tag of the language that you write in, such as en"
}}"#
    )
}
