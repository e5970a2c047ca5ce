//! The format of prompts and answers: the tags around data, and the JSON of the minutes.

// The tags around data in a prompt.
pub(crate) const MEETING: (&str, &str) = ("<meeting>", "</meeting>");
pub(crate) const NOTES: (&str, &str) = ("<notes>", "</notes>");
pub(crate) const TRANSCRIPT: (&str, &str) = ("<transcript>", "</transcript>");

// The placeholders in the JSON of the minutes.
const TITLE: &str = "what the meeting was about, in a few words";
const SUMMARY: &str = "what was talked about, in a few sentences";
const DECISION: &str = "what was decided";
const TASK: &str = "what is to be done";
const OWNER: &str = "who does it";
const DUE: &str = "by when";
const QUESTION: &str = "what was asked and not answered";

/// Whether the model has copied a placeholder instead of replacing it.
pub(crate) fn is_placeholder(text: &str) -> bool {
    [TITLE, SUMMARY, DECISION, TASK, OWNER, DUE, QUESTION].contains(&text)
}

/// Whether the model has copied a tag of the prompt into this line.
pub(crate) fn is_tag(line: &str) -> bool {
    [MEETING, NOTES, TRANSCRIPT].iter().any(|(open, close)| [*open, *close].contains(&line.trim()))
}

/// Returns the JSON of the minutes, with placeholders that explain each value.
pub(crate) fn minutes_json() -> String {
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
