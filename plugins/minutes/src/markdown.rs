//! Renders minutes as Markdown.
//!
//! The plugin renders them, not the model, so the Markdown always agrees with the JSON and has one layout.
//! All text by people and by the model is escaped, and one line stays one line.

mod headings;

use std::fmt::Write;

use jiff::Timestamp;

use crate::{
    output::{ActionItem, MeetingMinutes},
    text,
};
use headings::Headings;

/// Renders the minutes, with headings in their language.
pub(crate) fn render(minutes: &MeetingMinutes, is_complete: bool) -> String {
    let headings = Headings::of(minutes.language.as_deref());
    let mut page = Page(String::new());
    page.block(&format!("# {}", escape(minutes.title.as_deref().unwrap_or(headings.minutes))));
    page.block(&time_range(minutes.started_at, minutes.ended_at));
    if !minutes.attendees.is_empty() {
        let names: Vec<_> = minutes.attendees.iter().map(|name| escape(name)).collect();
        let others = if minutes.more_attendees { headings.others } else { "" };
        page.block(&format!("**{}:** {}{others}", headings.attendees, names.join(", ")));
    }
    if !is_complete {
        page.block(&format!("**{}**", headings.incomplete));
    }
    if !minutes.summary.is_empty() {
        page.heading(headings.summary);
        page.lines(&minutes.summary);
    }
    page.list(headings.decisions, minutes.decisions.iter().map(|line| escape(line)));
    page.list(headings.actions, minutes.action_items.iter().map(|item| action(item, headings)));
    page.list(headings.questions, minutes.open_questions.iter().map(|line| escape(line)));
    page.0
}

/// A document of blocks with a blank line between them.
struct Page(String);

impl Page {
    fn block(&mut self, block: &str) {
        if !self.0.is_empty() {
            self.0.push('\n');
        }
        self.0.extend([block, "\n"]);
    }

    fn heading(&mut self, heading: &str) {
        self.block(&format!("## {heading}"));
    }

    /// Adds a heading and a list, unless the list is empty.
    fn list(&mut self, heading: &str, items: impl Iterator<Item = String>) {
        let items: Vec<_> = items.map(|item| format!("- {item}")).collect();
        if !items.is_empty() {
            self.heading(heading);
            self.block(&items.join("\n"));
        }
    }

    /// Adds each line of a text as a paragraph, or as a list item if it starts with a bullet.
    fn lines(&mut self, text: &str) {
        let mut in_list = false;
        for line in text.lines().map(text::line).filter(|line| !line.is_empty()) {
            let item = ["- ", "* ", "• "].iter().find_map(|bullet| line.strip_prefix(bullet));
            match item {
                Some(item) if in_list => self.0.extend(["- ", &escape(item), "\n"]),
                Some(item) => self.block(&format!("- {}", escape(item))),
                None => self.block(&escape(&line)),
            }
            in_list = item.is_some();
        }
    }
}

fn action(item: &ActionItem, headings: &Headings) -> String {
    let ActionItem { task, owner, due, due_date } = item;
    let mut line = String::from("[ ] ");
    if let Some(owner) = owner {
        line.extend(["**", &escape(owner), "**: "]);
    }
    line.push_str(&escape(task));
    let date = due_date.map(|date| date.to_string());
    let due = due.as_ref().filter(|due| Some(*due) != date.as_ref());
    let times: Vec<_> = due.map(|due| escape(due)).into_iter().chain(date).collect();
    if !times.is_empty() {
        write!(line, " ({}: {})", headings.due, times.join(", "))
            .expect("invariant: writing to a String never fails");
    }
    line
}

fn time_range(from: Option<Timestamp>, to: Timestamp) -> String {
    let Some(from) = from.filter(|from| *from <= to) else {
        return to.strftime("%Y-%m-%d, %H:%M UTC").to_string();
    };
    let day = |at: Timestamp| at.strftime("%Y-%m-%d").to_string();
    let end = if day(from) == day(to) { "–%H:%M UTC" } else { " – %Y-%m-%d, %H:%M UTC" };
    format!("{}{}", from.strftime("%Y-%m-%d, %H:%M"), to.strftime(end))
}

/// Escapes a line of text so that Markdown shows each character literally (`CommonMark`, and GitHub's tables
/// and strikethrough).
fn escape(text: &str) -> String {
    let text = text::line(text);
    let mut escaped = String::with_capacity(text.len() + 8);
    let mut chars = text.char_indices().peekable();
    let mut before = None;
    while let Some((at, c)) = chars.next() {
        let next = chars.peek().map(|(_, next)| *next);
        let is_markup = match c {
            '\\' | '`' | '*' | '[' | ']' | '<' | '|' | '~' => true,
            // Inside a word it is not markup, as in the names of files.
            '_' => !(before.is_some_and(char::is_alphanumeric) && next.is_some_and(char::is_alphanumeric)),
            // The start of an entity.
            '&' => next.is_some_and(|next| next == '#' || next.is_ascii_alphabetic()),
            // At the start of a line it makes a heading; at the end it closes one.
            '#' => before.is_none_or(|before| before == ' ' || before == '#'),
            '-' | '+' | '=' | '>' => before.is_none(),
            '.' | ')' => at > 0 && text[..at].bytes().all(|byte| byte.is_ascii_digit()),
            _ => false,
        };
        if is_markup {
            escaped.push('\\');
        }
        escaped.push(c);
        before = Some(c);
    }
    escaped
}

#[cfg(test)]
mod tests;
