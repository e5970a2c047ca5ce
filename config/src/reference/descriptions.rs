//! Descriptions, cut from the comments of `default.toml`.
//!
//! A comment describes the one line right below it: a key, or a table's header. Either may itself be
//! commented out, by a `#` without a space. Lines of a comment are joined; those that are indented stay
//! lines.

use std::collections::BTreeMap;

/// What the comments of a text say of its keys (`hooks.tries`) and tables (`hooks`). Of what is there twice,
/// the first description counts.
pub(super) fn read(text: &str) -> BTreeMap<String, String> {
    let mut descriptions = BTreeMap::new();
    let mut table = "";
    let mut comment = Comment::default();
    for line in text.lines().map(str::trim_end) {
        if let Some(said) = comment_line(line) {
            comment.push(said);
            continue;
        }
        let line = line.strip_prefix('#').unwrap_or(line);
        let described = if let Some(header) = header(line) {
            table = header;
            Some(header.to_owned())
        } else {
            key(line).map(|key| if table.is_empty() { key.to_owned() } else { format!("{table}.{key}") })
        };
        let comment = std::mem::take(&mut comment);
        if let Some(described) = described.filter(|_| !comment.text.is_empty()) {
            descriptions.entry(described).or_insert(comment.text);
        }
    }
    descriptions
}

/// The words of a comment, with their indentation.
fn comment_line(line: &str) -> Option<&str> {
    if line == "#" { Some("") } else { line.strip_prefix("# ") }
}

fn header(line: &str) -> Option<&str> {
    let list = line.strip_prefix("[[").and_then(|rest| rest.strip_suffix("]]"));
    list.or_else(|| line.strip_prefix('[').and_then(|rest| rest.strip_suffix(']')))
}

fn key(line: &str) -> Option<&str> {
    let (key, _) = line.split_once('=')?;
    let key = key.trim();
    let is_bare = !key.is_empty() && key.chars().all(|c| c.is_ascii_alphanumeric() || matches!(c, '-' | '_'));
    is_bare.then_some(key)
}

#[derive(Default)]
struct Comment {
    text: String,
    /// Whether the next line starts anew.
    broken: bool,
}

impl Comment {
    fn push(&mut self, said: &str) {
        let is_indented = said.starts_with(' ');
        let said = said.trim();
        if !self.text.is_empty() && !said.is_empty() {
            self.text.push(if is_indented || self.broken { '\n' } else { ' ' });
        }
        self.text.push_str(said);
        self.broken = is_indented || said.is_empty();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(text: &str) -> Vec<(String, String)> {
        read(text).into_iter().collect()
    }

    fn are(expected: &[(&str, &str)]) -> Vec<(String, String)> {
        expected.iter().map(|(key, said)| ((*key).to_owned(), (*said).to_owned())).collect()
    }

    #[test]
    fn a_comment_describes_the_line_below_it() {
        let text = "# The table.\n[a]\n# One.\nb = 1\n# Two,\n# and more.\nc = \"# no comment\"\n";
        assert_eq!(of(text), are(&[("a", "The table."), ("a.b", "One."), ("a.c", "Two, and more.")]));
        assert_eq!(of("# At the top.\nx=1"), are(&[("x", "At the top.")]));
        assert_eq!(of(&text.replace('\n', "\r\n")), of(text));
    }

    #[test]
    fn what_is_commented_out_is_described_too() {
        let text = "# The list.\n#[[a.b]]\n# One: `c = 1`.\n#c = 1\n";
        assert_eq!(of(text), are(&[("a.b", "The list."), ("a.b.c", "One: `c = 1`.")]));
    }

    #[test]
    fn a_comment_goes_to_one_line_only() {
        assert_eq!(of("# Lost.\n\n[a]\nb = 1\n# One.\nc = 1\nd = 1"), are(&[("a.c", "One.")]));
        assert_eq!(of("# Lost.\n]\nb = 1"), []);
        assert_eq!(of("#\nb = 1"), []);
        assert_eq!(of("# At the end."), []);
    }

    #[test]
    fn the_first_description_counts() {
        let text = "# A.\n#[[a]]\n#b = 1\n\n# B.\n#[[a]]\n# First.\n#b = 2\n# Second.\n#b = 3";
        assert_eq!(of(text), are(&[("a", "A."), ("a.b", "First.")]));
    }

    #[test]
    fn indented_lines_and_paragraphs_stay_apart() {
        let text = "# One of:\n#   x\n#   y\n# Else z,\n# or so.\n#\n# And.\nb = 1";
        assert_eq!(of(text), are(&[("b", "One of:\nx\ny\nElse z, or so.\nAnd.")]));
    }
}
