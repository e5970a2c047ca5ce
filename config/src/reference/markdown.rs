//! Markdown as GitHub reads it: tables, and texts in their cells.

use crate::section::Fallback;

/// A table. Its cells are Markdown already.
pub(super) fn table(columns: &[&str], rows: impl IntoIterator<Item = Vec<String>>) -> String {
    let line = |cells: Vec<String>| format!("| {} |\n", cells.join(" | "));
    let mut table = line(columns.iter().map(|&column| column.to_owned()).collect());
    table.push_str(&line(vec!["---".to_owned(); columns.len()]));
    table.extend(rows.into_iter().map(line));
    table
}

/// A plain text with code spans, for a table's cell. Everything but the code spans is escaped; line breaks
/// become `<br>`.
pub(super) fn text(text: &str) -> String {
    spans(text, |c, markdown| match c {
        '\\' | '`' | '*' | '_' | '[' | ']' | '~' => markdown.extend(['\\', c]),
        _ => in_cell(c, markdown),
    })
}

/// Markdown for a table's cell: paragraphs and items of lists are put on one line.
pub(super) fn flattened(markdown: &str) -> String {
    let mut lines = String::new();
    let mut broken = false;
    for line in markdown.lines().map(str::trim) {
        let is_item = line.starts_with("- ") || line.starts_with("* ");
        if !lines.is_empty() && !line.is_empty() {
            lines.push(if is_item || broken { '\n' } else { ' ' });
        }
        lines.push_str(line);
        broken = line.is_empty();
    }
    spans(&lines, in_cell)
}

/// A text as code, in a table's cell.
pub(super) fn code(text: &str) -> String {
    // A code span cannot hold these; an element can.
    if text.contains(['|', '\n', '\r', '`']) || text.trim() != text || text.is_empty() {
        let mut element = String::from("<code>");
        for c in text.chars() {
            if "&<>|`*_[]~$\\".contains(c) || c.is_ascii_control() {
                element.extend(["&#", &u32::from(c).to_string(), ";"]);
            } else {
                element.push(c);
            }
        }
        return element + "</code>";
    }
    format!("`{text}`")
}

/// What holds where a key is not given.
pub(super) fn fallback(fallback: &Fallback) -> String {
    match fallback {
        Fallback::Required => "required".to_owned(),
        Fallback::None => "none".to_owned(),
        Fallback::Value(value) => code(value),
        Fallback::Words(words) => text(words),
    }
}

fn in_cell(c: char, markdown: &mut String) {
    match c {
        '|' => markdown.push_str("\\|"),
        '<' => markdown.push_str("&lt;"),
        '>' => markdown.push_str("&gt;"),
        '&' => markdown.push_str("&amp;"),
        '\n' => markdown.push_str("<br>"),
        c => markdown.push(c),
    }
}

/// Passes each character outside of code spans to `outside`, and copies code spans.
fn spans(text: &str, mut outside: impl FnMut(char, &mut String)) -> String {
    let mut markdown = String::new();
    let mut rest = text;
    while let Some(c) = rest.chars().next() {
        if let Some((content, after)) = code_span(rest) {
            markdown.push_str(&code(content));
            rest = after;
        } else {
            // In a run of backticks that is never closed, none opens a span.
            let run = rest.bytes().take_while(|byte| *byte == b'`').count().max(c.len_utf8());
            rest[..run].chars().for_each(|c| outside(c, &mut markdown));
            rest = &rest[run..];
        }
    }
    markdown
}

/// The content of the code span that a text starts with, and the text after the span.
fn code_span(text: &str) -> Option<(&str, &str)> {
    let run = |text: &str| text.bytes().take_while(|byte| *byte == b'`').count();
    let opening = run(text);
    let body = text.get(opening..).filter(|_| opening > 0)?;
    let mut at = 0;
    while let Some(found) = body[at..].find('`') {
        let closing = run(&body[at + found..]);
        if closing == opening {
            let content = &body[..at + found];
            let stripped = content.strip_prefix(' ').and_then(|content| content.strip_suffix(' '));
            let content = stripped.filter(|content| !content.trim().is_empty()).unwrap_or(content);
            return Some((content, &body[at + found + closing..]));
        }
        at += found + closing;
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn texts_stay_what_they_are() {
        for (plain, markdown) in [
            ("plain, with \"quotes\" and 1.5 - 2", "plain, with \"quotes\" and 1.5 - 2"),
            ("a|b", "a\\|b"),
            ("*a* _b_ [c](d) ~~e~~ \\", "\\*a\\* \\_b\\_ \\[c\\](d) \\~\\~e\\~\\~ \\\\"),
            ("<name> & more", "&lt;name&gt; &amp; more"),
            ("one\ntwo", "one<br>two"),
            ("`a*b` * `c`", "`a*b` \\* `c`"),
            ("``a`b``", "<code>a&#96;b</code>"),
            ("`a|b`", "<code>a&#124;b</code>"),
            ("`open", "\\`open"),
            ("``open` é", "\\`\\`open\\` é"),
            ("``", "\\`\\`"),
        ] {
            assert_eq!(text(plain), markdown, "{plain}");
        }
    }

    #[test]
    fn documentation_is_put_on_one_line() {
        for (paragraphs, line) in [
            ("One\ntwo.", "One two."),
            ("One.\n\nTwo *three*.", "One.<br>Two *three*."),
            ("Either:\n- a|b\n- `c|d`\n", "Either:<br>- a\\|b<br>- <code>c&#124;d</code>"),
            ("A <name>.", "A &lt;name&gt;."),
        ] {
            assert_eq!(flattened(paragraphs), line, "{paragraphs}");
        }
    }

    #[test]
    fn code_is_a_span_where_it_can_be() {
        for (text, markdown) in [
            ("[[plugin]] \\ <a> _*_", "`[[plugin]] \\ <a> _*_`"),
            ("\"\"", "`\"\"`"),
            ("a|b", "<code>a&#124;b</code>"),
            ("`", "<code>&#96;</code>"),
            (" a", "<code> a</code>"),
            ("a\nb", "<code>a&#10;b</code>"),
            ("", "<code></code>"),
        ] {
            assert_eq!(code(text), markdown, "{text}");
        }
    }

    #[test]
    fn tables_have_a_row_each() {
        let rows = [vec!["1".to_owned(), "2".to_owned()]];
        assert_eq!(table(&["A", "B"], rows), "| A | B |\n| --- | --- |\n| 1 | 2 |\n");
    }
}
